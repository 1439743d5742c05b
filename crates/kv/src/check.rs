//! What can be said of a request without looking at the state: done before it is proposed. And what it will cost.

use std::collections::BTreeSet;

use crate::codec::DEPTH_MAX;
use crate::command::Command;
use crate::error::OperationError;
use crate::key::{Span, span};
use crate::request::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};

/// Longest time to live of a lease, in seconds.
pub const LEASE_TTL_MAX: i64 = 9_000_000_000;

/// Checks a range.
///
/// # Errors
/// `EmptyKey`.
pub fn check_range(request: &RangeRequest) -> Result<(), OperationError> {
    if request.range.key.is_empty() { Err(OperationError::EmptyKey) } else { Ok(()) }
}

/// Checks a put.
///
/// # Errors
/// `EmptyKey`, `ValueProvided`, `LeaseProvided`.
pub fn check_put(request: &PutRequest) -> Result<(), OperationError> {
    if request.key.is_empty() {
        return Err(OperationError::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(OperationError::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(OperationError::LeaseProvided);
    }
    Ok(())
}

/// Checks a deletion.
///
/// # Errors
/// `EmptyKey`.
pub fn check_delete_range(request: &DeleteRangeRequest) -> Result<(), OperationError> {
    if request.range.key.is_empty() { Err(OperationError::EmptyKey) } else { Ok(()) }
}

/// Checks the time to live that a lease is wanted for.
///
/// # Errors
/// `LeaseTtlTooLarge`.
pub fn check_lease_ttl(ttl: i64) -> Result<(), OperationError> {
    if ttl > LEASE_TTL_MAX { Err(OperationError::LeaseTtlTooLarge) } else { Ok(()) }
}

/// Checks a transaction: sizes, each operation, and that no key is written twice on any path through it.
///
/// # Errors
/// `TooManyOps`, `EmptyKey`, `ValueProvided`, `LeaseProvided`, `DuplicateKey`.
pub fn check(request: &TxnRequest, operations_max: usize) -> Result<(), OperationError> {
    check_operations(request, operations_max, DEPTH_MAX)?;
    for branch in [&request.success, &request.failure] {
        Written::of(branch)?;
    }
    Ok(())
}

/// Whether a transaction can be answered by reading alone: every operation of both branches is a range. One that holds
/// another transaction goes through the log even if that only reads, as in etcd.
#[must_use]
pub fn is_read_only(request: &TxnRequest) -> bool {
    request.success.iter().chain(&request.failure).all(|operation| matches!(operation, RequestOp::Range(_)))
}

/// Bytes that a command may add to the database, as etcd reckons for its quota. Zero for what is let through when the
/// quota is used up.
#[must_use]
pub fn cost(command: &Command) -> u64 {
    match command {
        Command::Put(put) => put_cost(put),
        Command::Txn(txn) => txn_cost(txn),
        Command::LeaseGrant { .. } => 64,
        Command::DeleteRange(_)
        | Command::Compact { .. }
        | Command::LeaseRevoke { .. }
        | Command::Alarm { .. }
        | Command::MemberAttributes(_)
        | Command::LeaseCheckpoint { .. }
        | Command::LeaseExpire { .. }
        | Command::ClusterVersion(_)
        | Command::Downgrade(_)
        | Command::Auth(_)
        | Command::Membership(_) => 0,
    }
}

fn put_cost(put: &PutRequest) -> u64 {
    256 + put.key.len() as u64 + put.value.len() as u64
}

fn txn_cost(txn: &TxnRequest) -> u64 {
    let branch = |operations: &[RequestOp]| {
        let cost = |operation: &RequestOp| match operation {
            RequestOp::Put(put) => put_cost(put),
            RequestOp::Txn(txn) => txn_cost(txn),
            RequestOp::Range(_) | RequestOp::DeleteRange(_) => 0,
        };
        operations.iter().map(cost).sum::<u64>()
    };
    branch(&txn.success).max(branch(&txn.failure))
}

/// A transaction within gets what its surroundings leave of the budget.
fn check_operations(request: &TxnRequest, operations_max: usize, depth: usize) -> Result<(), OperationError> {
    let depth = depth.checked_sub(1).ok_or(OperationError::TooManyOps)?;
    let largest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = operations_max.checked_sub(largest).ok_or(OperationError::TooManyOps)?;
    if request.compare.iter().any(|compare| compare.range.key.is_empty()) {
        return Err(OperationError::EmptyKey);
    }
    for operation in request.success.iter().chain(&request.failure) {
        match operation {
            RequestOp::Range(range) => check_range(range)?,
            RequestOp::Put(put) => check_put(put)?,
            RequestOp::DeleteRange(delete) => check_delete_range(delete)?,
            RequestOp::Txn(txn) => check_operations(txn, left, depth)?,
        }
    }
    Ok(())
}

/// What a branch may write.
#[derive(Default)]
struct Written<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<Span<'a>>,
}

impl<'a> Written<'a> {
    /// Collects a branch and refuses a put of a key that something else in the branch writes. The two sides of one
    /// transaction within exclude each other, so they may share keys.
    fn of(operations: &'a [RequestOp]) -> Result<Written<'a>, OperationError> {
        let mut all = Written::default();
        for operation in operations {
            if let RequestOp::DeleteRange(delete) = operation {
                all.deletes.push(span(&delete.range));
            }
        }
        for operation in operations {
            if let RequestOp::Txn(txn) = operation {
                let success = Written::of(&txn.success)?;
                let failure = Written::of(&txn.failure)?;
                for key in success.puts.union(&failure.puts) {
                    all.refuse_if_written(key)?;
                }
                all.puts.extend(success.puts.union(&failure.puts));
                all.deletes.extend(success.deletes.into_iter().chain(failure.deletes));
            }
        }
        for operation in operations {
            if let RequestOp::Put(put) = operation {
                all.refuse_if_written(&put.key)?;
                all.puts.insert(&put.key);
            }
        }
        Ok(all)
    }

    fn refuse_if_written(&self, key: &[u8]) -> Result<(), OperationError> {
        if self.puts.contains(key) || self.deletes.iter().any(|span| span.contains(key)) {
            return Err(OperationError::DuplicateKey);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
