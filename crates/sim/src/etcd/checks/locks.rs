//! Locks by etcd's recipe: a holder creates a key that was not there, bound to its lease; under a common prefix the key that
//! was created first holds the lock. So there is one holder at a time, as long as the key stands while its lease is relied on.
//!
//! What is done under a lock names the key's creation as its condition: it succeeds only for who holds the lock.

use std::collections::BTreeMap;

use bytes::Bytes;
use kontiki_kv::{
    Command, Compare, CompareResult, CompareTarget, KeyRange, PutRequest, RangeRequest, Reply, RequestOp, SortOrder,
    SortTarget, TxnRequest,
};

use super::Limits;
use super::lease_lives::LeaseLives;
use crate::etcd::history::History;
use crate::etcd::model::Moment;
use crate::etcd::replay::{Replay, Step};
use crate::observation::Violation;

const PROPERTY: &str = "locks";

/// Checks it.
///
/// # Errors
/// Where it does not hold.
pub fn check(history: &History, replay: &Replay, limits: &Limits) -> Result<(), Violation> {
    // By key: the lease that it was created with, and when. By lease: its keys.
    let mut places: BTreeMap<Bytes, (i64, i64)> = BTreeMap::new();
    let mut by_lease: BTreeMap<i64, Vec<Bytes>> = BTreeMap::new();
    let lives = LeaseLives::of(history, replay);
    for (number, step) in replay.steps.iter().enumerate() {
        match (&step.command, &step.result) {
            (Command::Txn(txn), Ok(Reply::Txn(reply))) if reply.succeeded => {
                if let Some(put) = taken(txn) {
                    places.insert(put.key.clone(), (put.lease, step.revision));
                    by_lease.entry(put.lease).or_default().push(put.key.clone());
                } else if let Some((key, created)) = guard(txn) {
                    let place = places.get(key).filter(|(_, revision)| *revision == created);
                    place.map_or(Ok(()), |(lease, _)| holds(replay, step, key, *lease, created))?;
                }
            }
            (Command::LeaseRevoke { id } | Command::LeaseExpire { id, .. }, Ok(_))
                if replay.matching.call_of[number].is_none() =>
            {
                let kept = |key: &&Bytes| {
                    let before = replay.model.key_at(key, step.revision - 1);
                    before.is_some_and(|kv| places.get(*key) == Some(&(*id, kv.create_revision)))
                };
                let relied = lives.ended_by(number).is_some_and(|life| life.is_relied_on(step.at, limits));
                let key = by_lease.remove(id).unwrap_or_default().iter().find(kept).cloned();
                if let Some(key) = key.filter(|_| relied) {
                    let what =
                        format!("entry {} takes {key:?} from its holder, who still relied on lease {id}", step.index);
                    return Err(Violation { property: PROPERTY, at: step.at, what });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The put of a transaction that takes a place: a key that is not there, with a lease.
fn taken(txn: &TxnRequest) -> Option<&PutRequest> {
    let key = txn.compare.iter().find_map(|compare| created(compare).filter(|(_, revision)| *revision == 0))?.0;
    txn.success.iter().find_map(|operation| match operation {
        RequestOp::Put(put) if put.key == key && put.lease != 0 => Some(put),
        _ => None,
    })
}

/// The place that a transaction names as its condition, where it writes something else.
fn guard(txn: &TxnRequest) -> Option<(&Bytes, i64)> {
    let (key, revision) =
        txn.compare.iter().find_map(|compare| created(compare).filter(|(_, revision)| *revision > 0))?;
    let writes = |operation: &RequestOp| matches!(operation, RequestOp::Put(put) if put.key != *key);
    txn.success.iter().any(writes).then_some((key, revision))
}

/// A condition on the creation of a key.
fn created(compare: &Compare) -> Option<(&Bytes, i64)> {
    match compare.target {
        CompareTarget::CreateRevision(revision)
            if compare.result == CompareResult::Equal && compare.range.range_end.is_empty() =>
        {
            Some((&compare.range.key, revision))
        }
        _ => None,
    }
}

/// Whoever writes under a lock stands first in its line.
fn holds(replay: &Replay, step: &Step, key: &Bytes, lease: i64, created: i64) -> Result<(), Violation> {
    let Some(range) = line(key, lease) else { return Ok(()) };
    let first = RangeRequest {
        range,
        limit: 1,
        sort_order: SortOrder::Ascend,
        sort_target: SortTarget::Create,
        ..RangeRequest::default()
    };
    let moment = Moment { revision: step.revision - 1, compacted: -1 };
    let found = replay.model.range(&first, moment).map(|found| found.to_result()).unwrap_or_default();
    match found.kvs.first() {
        Some(holder) if holder.create_revision != created => {
            let what = format!("entry {} writes under the lock of {key:?}, which {holder:?} holds", step.index);
            Err(Violation { property: PROPERTY, at: step.at, what })
        }
        _ => Ok(()),
    }
}

/// The line that a place belongs to, where the key has the shape that the recipe gives it: prefix, slash, lease.
fn line(key: &Bytes, lease: i64) -> Option<KeyRange> {
    let slash = key.iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = key.split_at(slash + 1);
    let mut end = prefix.to_vec();
    *end.last_mut()? = b'/' + 1;
    let range = KeyRange { key: key.slice(..prefix.len()), range_end: end.into() };
    (name == format!("{lease:x}").as_bytes()).then_some(range)
}
