//! Revisions are one line that everybody sees grow: per client, per member, and over all writes; and what was compacted
//! stays away, as what is not written yet does.
//!
//! This looks at the answers alone, without the log, except where it must know what was compacted at all.

use std::collections::BTreeMap;

use kontiki_kv::{OperationError, RangeRequest, Reply, RequestOp, ResponseOp, TxnReply, TxnRequest};
use kontiki_raft::NodeId;

use super::known::Growing;
use super::{known, shown_by};
use crate::etcd::history::{Answer, Call, History, Request};
use crate::etcd::replay::Replay;
use crate::observation::Violation;

const PROPERTY: &str = "order of revisions";

/// Checks it.
///
/// # Errors
/// Where it does not hold.
pub fn check(history: &History, replay: &Replay) -> Result<(), Violation> {
    check_clients(history)?;
    check_writes(history)?;
    check_members(history)?;
    check_readable(history, replay)
}

/// What a client is shown never gets older, whichever member it asks.
fn check_clients(history: &History) -> Result<(), Violation> {
    let mut seen: BTreeMap<u64, i64> = BTreeMap::new();
    for call in history.calls.iter().filter(|call| known::is_linearizable(call)) {
        let Some(revision) = known::revision(call) else { continue };
        let newest = seen.entry(call.client).or_default();
        if revision < *newest {
            return Err(shown_by(PROPERTY, call, format_args!("this client had been shown revision {newest}")));
        }
        *newest = revision;
    }
    Ok(())
}

/// Each write that changes something has a revision of its own, greater than all that were known when it was asked for.
fn check_writes(history: &History) -> Result<(), Violation> {
    let revisions = known::revisions(history);
    let mut writes: BTreeMap<i64, &Call> = BTreeMap::new();
    for call in &history.calls {
        let Answer::Written(reply, revision) = &call.answer else { continue };
        if !changes(reply) {
            continue;
        }
        if let Some(other) = writes.insert(*revision, call) {
            let why = format_args!("client {} was told the same revision at {:?}", other.client, other.ended);
            return Err(shown_by(PROPERTY, call, why));
        }
        let least = revisions.before(call.invoked, 1);
        if *revision <= least {
            return Err(shown_by(PROPERTY, call, format_args!("revision {least} was there before the question")));
        }
    }
    Ok(())
}

/// Whether a reply says for certain that something changed.
fn changes(reply: &Reply) -> bool {
    fn txn_changes(reply: &TxnReply) -> bool {
        reply.responses.iter().any(|response| match response {
            ResponseOp::Put(..) => true,
            ResponseOp::DeleteRange(reply, _) => reply.deleted > 0,
            ResponseOp::Txn(reply) => txn_changes(reply),
            ResponseOp::Range(..) => false,
        })
    }
    match reply {
        Reply::Put(_) => true,
        Reply::DeleteRange(reply) => reply.deleted > 0,
        Reply::Txn(reply) => txn_changes(reply),
        Reply::Compact
        | Reply::LeaseGrant { .. }
        | Reply::LeaseRevoke
        | Reply::Alarm(_)
        | Reply::MemberAttributes
        | Reply::LeaseCheckpoint
        | Reply::ClusterVersion
        | Reply::Downgrade
        | Reply::Auth(_)
        | Reply::Membership => false,
    }
}

/// A member does not forget what it has shown, as long as it lives: not even to those who ask it for no more than its own
/// state.
fn check_members(history: &History) -> Result<(), Violation> {
    let mut births: BTreeMap<NodeId, Vec<_>> = BTreeMap::new();
    for (member, at) in &history.lives {
        births.entry(*member).or_default().push(*at);
    }
    let life = |call: &Call| {
        let births = births.get(&call.member)?;
        let (first, last) = (call.invoked, call.ended);
        let life = births.partition_point(|at| *at <= first);
        (births.partition_point(|at| *at <= last) == life).then_some((call.member, life))
    };
    let mut told: BTreeMap<(NodeId, usize), Vec<_>> = BTreeMap::new();
    for call in &history.calls {
        if let (Some(revision), Some(life)) = (known::revision(call), life(call)) {
            told.entry(life).or_default().push((call.ended, revision));
        }
    }
    let told: BTreeMap<_, Growing> = told.into_iter().map(|(life, told)| (life, Growing::of(told))).collect();
    for call in &history.calls {
        let (Some(revision), Some(life)) = (known::revision(call), life(call)) else { continue };
        let newest = told.get(&life).map_or(1, |told| told.before(call.invoked, 1));
        if revision < newest {
            return Err(shown_by(PROPERTY, call, format_args!("this member had shown revision {newest} in this life")));
        }
    }
    Ok(())
}

/// Reads of the past and the future are answered or refused by etcd's rules.
fn check_readable(history: &History, replay: &Replay) -> Result<(), Violation> {
    let (revisions, compactions) = (known::revisions(history), known::compactions(history));
    for call in &history.calls {
        let Some(wanted) = wanted(call) else { continue };
        let must_be_new = known::is_linearizable(call);
        match &call.answer {
            Answer::Range(..) | Answer::TxnRead(..) if must_be_new => {
                let compacted = compactions.before(call.invoked, -1);
                if wanted.iter().any(|revision| *revision < compacted) {
                    return Err(shown_by(PROPERTY, call, format_args!("all below {compacted} was compacted before")));
                }
            }
            Answer::Refused(OperationError::Compacted) => {
                let compacted = replay.compacted_at(call.ended);
                // Below zero is compacted by etcd's rule for transactions.
                if !wanted.iter().any(|revision| *revision < compacted.max(0)) {
                    return Err(shown_by(PROPERTY, call, format_args!("only what is below {compacted} was compacted")));
                }
            }
            Answer::Refused(OperationError::FutureRevision) => {
                let least = if must_be_new { revisions.before(call.invoked, 1) } else { 1 };
                if !wanted.iter().any(|revision| *revision > least) {
                    return Err(shown_by(
                        PROPERTY,
                        call,
                        format_args!("revision {least} was there before the question"),
                    ));
                }
            }
            Answer::Refused(refusal) if !is_of_the_request(*refusal) => {
                return Err(shown_by(PROPERTY, call, "a read is not refused so"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The revisions that a read asks for by number. None where the call is no read.
fn wanted(call: &Call) -> Option<Vec<i64>> {
    match (&call.request, &call.answer) {
        (Request::Range { range, .. }, _) => {
            Some(explicit(range).filter(|revision| *revision > 0).into_iter().collect())
        }
        (Request::TxnRead(txn), Answer::TxnRead(reply, _)) => {
            Some(all_explicit(if reply.succeeded { &txn.success } else { &txn.failure }))
        }
        (Request::TxnRead(TxnRequest { success, failure, .. }), _) => {
            Some([success, failure].into_iter().flat_map(|branch| all_explicit(branch)).collect())
        }
        (Request::Write(_) | Request::KeepAlive(_) | Request::TimeToLive(_), _) => None,
    }
}

fn explicit(range: &RangeRequest) -> Option<i64> {
    Some(range.revision).filter(|revision| *revision != 0)
}

fn all_explicit(operations: &[RequestOp]) -> Vec<i64> {
    let of = |operation: &RequestOp| match operation {
        RequestOp::Range(range) => explicit(range),
        RequestOp::Put(_) | RequestOp::DeleteRange(_) | RequestOp::Txn(_) => None,
    };
    operations.iter().filter_map(of).collect()
}

/// Whether a refusal is about how the request is made, whatever the state.
fn is_of_the_request(refusal: OperationError) -> bool {
    matches!(
        refusal,
        OperationError::EmptyKey
            | OperationError::TooManyOps
            | OperationError::DuplicateKey
            | OperationError::InvalidSortOption
    )
}
