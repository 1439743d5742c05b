//! Random requests over a few keys, so that they meet.

use bytes::Bytes;
use kontiki_kv::*;
use kontiki_world::Random;

use crate::etcd::history::Request;

pub(super) fn key(chance: &mut Random) -> Bytes {
    format!("k{}", chance.below(6)).into()
}

pub(super) fn one(key: Bytes) -> KeyRange {
    KeyRange { key, range_end: Bytes::new() }
}

pub(super) fn range(chance: &mut Random) -> KeyRange {
    match chance.below(6) {
        0 => KeyRange { key: "k".into(), range_end: "l".into() },
        1 => KeyRange { key: key(chance), range_end: key(chance) },
        2 => KeyRange { key: Bytes::from_static(&[0]), range_end: Bytes::from_static(&[0]) },
        _ => one(key(chance)),
    }
}

pub(super) fn put(key: Bytes, value: Bytes, lease: i64) -> PutRequest {
    PutRequest { key, value, lease, ..PutRequest::default() }
}

/// A read, at a revision up to a little beyond `newest`.
pub(super) fn read(chance: &mut Random, newest: i64) -> RangeRequest {
    let targets = [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value];
    let orders = [SortOrder::None, SortOrder::Ascend, SortOrder::Descend];
    let mut request = RangeRequest { range: range(chance), ..RangeRequest::default() };
    if chance.one_in(4) {
        request.revision = 1 + chance.below(newest as u64 + 1) as i64;
    }
    if chance.one_in(3) {
        request.limit = chance.below(4) as i64;
        request.sort_order = orders[chance.below(3) as usize];
        request.sort_target = targets[chance.below(5) as usize];
        request.keys_only = chance.one_in(3);
        request.count_only = chance.one_in(5);
    }
    if chance.one_in(8) {
        request.min_mod_revision = chance.below(newest as u64) as i64;
        request.max_create_revision = chance.below(newest as u64) as i64;
    }
    request
}

fn compare(chance: &mut Random, newest: i64) -> Compare {
    let some = chance.below(newest as u64 + 1) as i64;
    let target = match chance.below(5) {
        0 => CompareTarget::Version(chance.below(3) as i64),
        1 => CompareTarget::CreateRevision(if chance.one_in(2) { 0 } else { some }),
        2 => CompareTarget::ModRevision(some),
        3 => CompareTarget::Value(format!("c{}-{}", chance.below(5), chance.below(40)).into()),
        _ => CompareTarget::Lease(0),
    };
    let results = [CompareResult::Equal, CompareResult::Greater, CompareResult::Less, CompareResult::NotEqual];
    Compare { range: range(chance), result: results[chance.below(4) as usize], target }
}

fn operations(chance: &mut Random, newest: i64, value: &Bytes, depth: u32) -> Vec<RequestOp> {
    let operation = |chance: &mut Random| match chance.below(6) {
        0 | 1 => RequestOp::Range(read(chance, newest)),
        2 | 3 => RequestOp::Put(put(key(chance), value.clone(), 0)),
        4 if depth > 0 => RequestOp::Txn(txn(chance, newest, value, depth - 1)),
        _ => RequestOp::DeleteRange(DeleteRangeRequest { range: range(chance), prev_kv: chance.one_in(2) }),
    };
    (0..chance.below(4)).map(|_| operation(chance)).collect()
}

pub(super) fn txn(chance: &mut Random, newest: i64, value: &Bytes, depth: u32) -> TxnRequest {
    TxnRequest {
        compare: (0..chance.below(3)).map(|_| compare(chance, newest)).collect(),
        success: operations(chance, newest, value, depth),
        failure: operations(chance, newest, value, depth),
    }
}

fn txn_read(chance: &mut Random, newest: i64) -> TxnRequest {
    let compare = (0..chance.below(2)).map(|_| compare(chance, newest)).collect();
    let mut branch = || (0..chance.below(3)).map(|_| RequestOp::Range(read(chance, newest))).collect();
    TxnRequest { compare, success: branch(), failure: branch() }
}

pub(super) fn created_at(key: Bytes, revision: i64) -> Compare {
    let target = CompareTarget::CreateRevision(revision);
    Compare { range: one(key), result: CompareResult::Equal, target }
}

/// A write of any kind; `leases` are those that there are.
pub(super) fn command(chance: &mut Random, newest: i64, value: Bytes, leases: &[i64]) -> Command {
    let lease = leases.get(chance.below(leases.len() as u64 + 1) as usize).copied().unwrap_or(0);
    let key = key(chance);
    match chance.below(20) {
        0..6 => Command::Put(put(key, value, if chance.one_in(3) { lease } else { 0 })),
        6 => Command::Put(PutRequest { prev_kv: true, ignore_lease: chance.one_in(2), ..put(key, value, 0) }),
        7 => Command::Put(PutRequest { ignore_value: true, ..put(key, Bytes::new(), 0) }),
        8 => Command::DeleteRange(DeleteRangeRequest { range: one(key), prev_kv: chance.one_in(2) }),
        9 => Command::DeleteRange(DeleteRangeRequest { range: range(chance), prev_kv: chance.one_in(2) }),
        10 | 11 => {
            let txn = txn(chance, newest, &value, 1);
            if check(&txn, 128).is_ok() && !is_read_only(&txn) {
                Command::Txn(txn)
            } else {
                Command::Put(put(key, value, 0))
            }
        }
        12 => Command::Compact { revision: chance.below(newest as u64 + 2) as i64 },
        13 => Command::LeaseRevoke { id: lease },
        14 => Command::LeaseGrant { id: chance.below(5) as i64, ttl: 1 + chance.below(2) as i64 },
        15 | 16 if lease != 0 => {
            let place: Bytes = format!("line/{lease:x}").into();
            Command::Txn(TxnRequest {
                compare: vec![created_at(place.clone(), 0)],
                success: vec![RequestOp::Put(put(place, value, lease))],
                failure: Vec::new(),
            })
        }
        _ => {
            let target = CompareTarget::ModRevision(chance.below(newest as u64 + 1) as i64);
            let compare = vec![Compare { range: one(key.clone()), result: CompareResult::Equal, target }];
            let success = vec![RequestOp::Put(put(key, value, 0))];
            Command::Txn(TxnRequest { compare, success, failure: Vec::new() })
        }
    }
}

/// A request of any kind.
pub(super) fn request(chance: &mut Random, newest: i64, value: Bytes, leases: &[i64]) -> Request {
    match chance.below(10) {
        0..3 => Request::Range { range: read(chance, newest), serializable: chance.one_in(3) },
        3 => Request::TxnRead(txn_read(chance, newest)),
        4 | 5 if !leases.is_empty() => {
            let id = leases[chance.below(leases.len() as u64) as usize];
            if chance.one_in(3) { Request::TimeToLive(id) } else { Request::KeepAlive(id) }
        }
        _ => Request::Write(command(chance, newest, value, leases)),
    }
}
