//! Linearizability once more, by search and without a look at revisions or the log: a cross-check of the check that is
//! guided by both.
//!
//! Only calls of a single key take part, and only keys that nothing else writes: no transaction of several keys, no range,
//! no lease that ends.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{Command, CompareResult, CompareTarget, KeyRange, RangeRequest, Reply, RequestOp, TxnRequest};
use kontiki_lincheck::{
    Checker, Compare, Found, History as Calls, Kv, KvCall, KvInput, KvOutput, Operation, Return, Verdict,
};

use crate::etcd::history::{Answer, Call, History, Request};
use crate::etcd::replay::Replay;
use crate::observation::Violation;

const PROPERTY: &str = "linearizability of each key";

/// Bounds the search for each key, for many calls at the same time whose outcome nobody knows.
const STEPS_MAX: u64 = 200_000;

type Input = KvInput<Bytes, Bytes>;
type Output = KvOutput<Bytes>;

/// Checks it.
///
/// # Errors
/// Where it does not hold.
pub fn check(history: &History, replay: &Replay) -> Result<(), Violation> {
    let foreign = foreign_keys(replay);
    let operations = history.calls.iter().filter_map(operation);
    let operations = operations.filter(|operation| !foreign.contains(&operation.input.key)).collect();
    let end = history.calls.last().map_or(Duration::ZERO, |call| call.ended);
    let violation = |at, what| Err(Violation { property: PROPERTY, at, what });
    let calls = match Calls::from_operations(operations) {
        Ok(calls) => calls,
        Err(error) => return violation(end, error.to_string()),
    };
    match Checker::new(Kv::<Bytes, Bytes>::default()).steps(STEPS_MAX).check(&calls) {
        Verdict::Ok | Verdict::Unknown(_) => Ok(()),
        Verdict::Illegal(witness) => {
            let at = witness.refused.returned().map_or(end, Duration::from_nanos);
            violation(at, witness.to_string())
        }
    }
}

/// Keys that are changed by what is no call of a single key.
fn foreign_keys(replay: &Replay) -> BTreeSet<Bytes> {
    let mut foreign = BTreeSet::new();
    let mut revision = 1;
    for step in &replay.steps {
        let changes = step.revision > revision;
        revision = step.revision;
        if changes && write(&step.command).is_none() {
            foreign.extend(replay.model.events(revision).iter().map(|event| event.kv.key.clone()));
        }
    }
    foreign
}

fn operation(call: &Call) -> Option<Operation<Input, Output>> {
    let input = match &call.request {
        Request::Range { range, serializable: false } => read(range)?,
        Request::Write(command) => write(command)?,
        Request::Range { .. } | Request::TxnRead(_) | Request::KeepAlive(_) | Request::TimeToLive(_) => return None,
    };
    let result = match &call.answer {
        Answer::Unknown(_) => Return::Unknown,
        answer => Return::Done { time: nanos(call.ended), output: output(answer)? },
    };
    Some(Operation { client: call.client, invoke: nanos(call.invoked), input, result })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A read of the latest state of a key, with its value.
fn read(range: &RangeRequest) -> Option<Input> {
    let key = one(&range.range)?;
    let plain = RangeRequest {
        range: range.range.clone(),
        limit: range.limit,
        sort_order: range.sort_order,
        sort_target: range.sort_target,
        ..RangeRequest::default()
    };
    (*range == plain).then_some(KvInput { key, call: KvCall::Get })
}

fn write(command: &Command) -> Option<Input> {
    match command {
        Command::Put(put) if !put.ignore_value => {
            Some(KvInput { key: put.key.clone(), call: KvCall::Put(put.value.clone()) })
        }
        Command::DeleteRange(delete) => Some(KvInput { key: one(&delete.range)?, call: KvCall::Delete }),
        Command::Txn(txn) => compare_and_put(txn),
        _ => None,
    }
}

fn one(range: &KeyRange) -> Option<Bytes> {
    range.range_end.is_empty().then(|| range.key.clone())
}

/// A transaction that puts a key if that same key is as expected, and otherwise does nothing.
fn compare_and_put(txn: &TxnRequest) -> Option<Input> {
    let ([compare], [RequestOp::Put(put)]) = (&txn.compare[..], &txn.success[..]) else { return None };
    let changes = |operation: &RequestOp| !matches!(operation, RequestOp::Range(_));
    let key = one(&compare.range)?;
    if compare.result != CompareResult::Equal || put.key != key || put.ignore_value || txn.failure.iter().any(changes) {
        return None;
    }
    let expected = match &compare.target {
        CompareTarget::Version(0) | CompareTarget::CreateRevision(0) | CompareTarget::ModRevision(0) => Compare::Absent,
        CompareTarget::ModRevision(revision) => Compare::ModRevision(u64::try_from(*revision).ok()?),
        CompareTarget::Value(value) => Compare::Value(value.clone()),
        CompareTarget::Version(_) | CompareTarget::CreateRevision(_) | CompareTarget::Lease(_) => return None,
    };
    Some(KvInput { key, call: KvCall::CompareAndPut { expected, new: put.value.clone() } })
}

/// None where nothing was done.
fn output(answer: &Answer) -> Option<Output> {
    Some(match answer {
        Answer::Range(result, _) => {
            let found = result.kvs.first().map(|kv| Found { value: kv.value.clone(), mod_revision: None });
            KvOutput::Got(found)
        }
        Answer::Written(Reply::Put(_), _) => KvOutput::Put { revision: None },
        Answer::Written(Reply::DeleteRange(reply), _) if reply.deleted > 0 => KvOutput::Deleted { revision: None },
        Answer::Written(Reply::DeleteRange(_), _) => KvOutput::NothingToDelete,
        Answer::Written(Reply::Txn(reply), _) if reply.succeeded => KvOutput::Swapped { revision: None },
        Answer::Written(Reply::Txn(_), _) => KvOutput::NotSwapped,
        _ => return None,
    })
}
