//! Transactions: conditions first, all against the state before; then the path that they choose is verified; then it is
//! carried out in order, each operation seeing those before it. The same code serves the log and reads beside it.

use crate::command::{DeleteRangeReply, ResponseOp, TxnReply};
use crate::error::{Failure, KvError, OperationError};
use crate::key::{self, Span};
use crate::layers::Table;
use crate::range::Moment;
use crate::record::Version;
use crate::request::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RangeResult,
    RequestOp, TxnRequest,
};
use crate::visible::Visible;

/// Carries out the operations of a transaction.
pub(crate) trait Executor {
    /// Reads; also the revision for the answer's header.
    fn range(&mut self, request: &RangeRequest) -> Result<(RangeResult, i64), Failure>;
    /// Writes a key.
    fn put(&mut self, request: &PutRequest) -> Result<(Option<KeyValue>, i64), Failure>;
    /// Deletes keys.
    fn delete_range(&mut self, request: &DeleteRangeRequest) -> Result<(DeleteRangeReply, i64), Failure>;
    /// The revision that answers show now: one more than at the beginning once something was written.
    fn revision(&self) -> i64;
}

/// Whether the conditions hold of a transaction and of those within the branches chosen, outermost first, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path(Vec<bool>);

impl Path {
    /// Evaluates the conditions against the state before.
    pub(crate) fn choose(moment: Moment<'_>, request: &TxnRequest) -> Result<Path, KvError> {
        let mut path = Path(Vec::new());
        path.extend(moment, request)?;
        Ok(path)
    }

    fn extend(&mut self, moment: Moment<'_>, request: &TxnRequest) -> Result<(), KvError> {
        let mut succeeded = true;
        for compare in &request.compare {
            if !holds(moment, compare)? {
                succeeded = false;
                break;
            }
        }
        self.0.push(succeeded);
        for operation in branch(request, succeeded) {
            if let RequestOp::Txn(txn) = operation {
                self.extend(moment, txn)?;
            }
        }
        Ok(())
    }

    /// Checks the operations on the path in order, before any is carried out.
    pub(crate) fn verify(&self, moment: Moment<'_>, request: &TxnRequest) -> Result<(), Failure> {
        self.visit(request, &mut |operation| match operation {
            RequestOp::Put(put) => {
                verify_kept(moment, put)?;
                verify_lease(moment, put)
            }
            RequestOp::Range(range) => verify_revision(moment, range.revision).map_err(Failure::from),
            RequestOp::DeleteRange(_) | RequestOp::Txn(_) => Ok(()),
        })
    }

    fn visit(
        &self,
        request: &TxnRequest,
        visitor: &mut dyn FnMut(&RequestOp) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        fn descend(
            request: &TxnRequest,
            path: &mut std::slice::Iter<'_, bool>,
            visitor: &mut dyn FnMut(&RequestOp) -> Result<(), Failure>,
        ) -> Result<(), Failure> {
            for operation in branch(request, step(path)) {
                visitor(operation)?;
                if let RequestOp::Txn(txn) = operation {
                    descend(txn, path, visitor)?;
                }
            }
            Ok(())
        }
        descend(request, &mut self.0.iter(), visitor)
    }

    /// Carries out the operations on the path.
    pub(crate) fn execute(&self, request: &TxnRequest, executor: &mut impl Executor) -> Result<TxnReply, Failure> {
        execute(request, &mut self.0.iter(), executor)
    }
}

fn execute(
    request: &TxnRequest,
    path: &mut std::slice::Iter<'_, bool>,
    executor: &mut impl Executor,
) -> Result<TxnReply, Failure> {
    let succeeded = step(path);
    let operations = branch(request, succeeded);
    let mut responses = Vec::with_capacity(operations.len());
    for operation in operations {
        responses.push(match operation {
            RequestOp::Range(range) => {
                executor.range(range).map(|(reply, revision)| ResponseOp::Range(reply, revision))?
            }
            RequestOp::Put(put) => executor.put(put).map(|(reply, revision)| ResponseOp::Put(reply, revision))?,
            RequestOp::DeleteRange(delete) => {
                executor.delete_range(delete).map(|(reply, revision)| ResponseOp::DeleteRange(reply, revision))?
            }
            RequestOp::Txn(txn) => ResponseOp::Txn(execute(txn, path, executor)?),
        });
    }
    Ok(TxnReply { succeeded, revision: executor.revision(), responses })
}

fn step(path: &mut std::slice::Iter<'_, bool>) -> bool {
    *path.next().expect("a path has a step for every transaction on it")
}

fn branch(request: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded { &request.success } else { &request.failure }
}

/// A put that keeps value or lease needs a key to keep them of.
pub(crate) fn verify_kept(moment: Moment<'_>, put: &PutRequest) -> Result<(), Failure> {
    if (put.ignore_value || put.ignore_lease) && moment.view.live(&put.key, moment.revision)?.is_none() {
        return Err(OperationError::KeyNotFound.into());
    }
    Ok(())
}

/// A put's lease must exist.
pub(crate) fn verify_lease(moment: Moment<'_>, put: &PutRequest) -> Result<(), Failure> {
    if put.lease != 0 && moment.view.get(Table::Leases, &key::lease(put.lease))?.is_none() {
        return Err(OperationError::LeaseNotFound.into());
    }
    Ok(())
}

/// Inside a transaction a revision below zero is not the latest but a compacted one, as in etcd.
fn verify_revision(moment: Moment<'_>, revision: i64) -> Result<(), OperationError> {
    if revision < 0 {
        return Err(OperationError::Compacted);
    }
    moment.resolve(revision).map(|_| ())
}

/// Whether every existing key of the range satisfies the condition. Where there is none, zeros are compared: an empty
/// range does not satisfy everything. A missing value satisfies nothing.
fn holds(moment: Moment<'_>, compare: &Compare) -> Result<bool, KvError> {
    let at = moment.revision;
    match key::span(&compare.range) {
        Span::One(one) => {
            let found = moment.view.live(one, at)?;
            Ok(found.map_or_else(|| missing_satisfies(compare), |version| satisfies(&version, compare)))
        }
        Span::Many(start, end) => {
            if end.is_some_and(|end| end <= start) {
                return Ok(missing_satisfies(compare));
            }
            let values = matches!(compare.target, CompareTarget::Value(_));
            let to = end.map(key::prefix);
            let mut scan = Visible::new(moment.view, &key::prefix(start), to, at, 64, values);
            let mut some = false;
            while let Some((_, version)) = scan.next()? {
                some = true;
                if !satisfies(version, compare) {
                    return Ok(false);
                }
            }
            Ok(some || missing_satisfies(compare))
        }
    }
}

fn missing_satisfies(compare: &Compare) -> bool {
    match &compare.target {
        CompareTarget::Value(_) => false,
        CompareTarget::Version(given)
        | CompareTarget::CreateRevision(given)
        | CompareTarget::ModRevision(given)
        | CompareTarget::Lease(given) => relates(&0, compare.result, given),
    }
}

fn satisfies(version: &Version, compare: &Compare) -> bool {
    match &compare.target {
        CompareTarget::Value(given) => relates(&version.value, compare.result, given),
        CompareTarget::Version(given) => relates(&version.version, compare.result, given),
        CompareTarget::CreateRevision(given) => relates(&version.create_revision, compare.result, given),
        CompareTarget::ModRevision(given) => relates(&version.main, compare.result, given),
        CompareTarget::Lease(given) => relates(&version.lease, compare.result, given),
    }
}

fn relates<T: Ord>(stored: &T, result: CompareResult, given: &T) -> bool {
    match result {
        CompareResult::Equal => stored == given,
        CompareResult::Greater => stored > given,
        CompareResult::Less => stored < given,
        CompareResult::NotEqual => stored != given,
    }
}
