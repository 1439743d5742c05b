//! Transactions: guarded increments, several operations at once, transactions within, and such as only read.

use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{Command, Compare, CompareResult, CompareTarget, RangeRequest, RequestOp, TxnRequest};

use crate::etcd::Request;
use crate::etcd::client::Client;
use crate::etcd::requests::{KeySpace, delete_op, equals, one, put, read};

/// How often an increment that met another one is tried again.
const INCREMENTS_MAX: u32 = 4;

/// Transacts.
pub(crate) async fn run(mut client: Client, space: KeySpace, thinks: Duration) {
    while client.thinks(thinks).await {
        match client.chance.below(10) {
            0..=3 => increment(&mut client, &space).await,
            4 | 5 => read_only(&mut client, &space).await,
            _ => {
                let txn = several(&mut client, &space);
                client.write(Command::Txn(txn)).await;
            }
        }
    }
}

/// Adds one to a counter, on condition that nobody else did meanwhile. The condition makes it safe to try again.
async fn increment(client: &mut Client, space: &KeySpace) {
    let key: Bytes = format!("{}count/{}", space.prefix, client.chance.below(3)).into();
    for _ in 0..INCREMENTS_MAX {
        let Some((found, _)) = client.read(read(one(key.clone())), false).await else { return };
        let (count, seen) = found.kvs.first().map_or((0, 0), |kv| (count_of(&kv.value), kv.mod_revision));
        let own = client.value(0);
        let value = [(count + 1).to_string().as_bytes(), b" ", own.as_ref()].concat().into();
        let txn = TxnRequest {
            compare: vec![equals(key.clone(), CompareTarget::ModRevision(seen))],
            success: vec![RequestOp::Put(put(key.clone(), value, 0))],
            failure: vec![RequestOp::Range(read(one(key.clone())))],
        };
        match client.transact(txn).await {
            Some((reply, _)) if !reply.succeeded => {}
            _ => return,
        }
    }
}

/// What stands in front of the space in a counter's value; zero in one that no counter wrote.
fn count_of(value: &[u8]) -> u64 {
    let digits: Vec<u8> = value.iter().copied().take_while(u8::is_ascii_digit).collect();
    String::from_utf8_lossy(&digits).parse().unwrap_or(0)
}

async fn read_only(client: &mut Client, space: &KeySpace) {
    let past = i64::try_from(client.chance.below(20)).unwrap_or(0);
    let revision = if client.chance.one_in(4) { (client.site.revision() - past).max(1) } else { 0 };
    let compare = vec![condition(client, space)];
    let success = vec![
        RequestOp::Range(read(one(space.key(&mut client.chance)))),
        RequestOp::Range(RangeRequest { revision, ..read(space.all()) }),
    ];
    let failure = vec![RequestOp::Range(read(space.some(&mut client.chance)))];
    client.call(Request::TxnRead(TxnRequest { compare, success, failure })).await;
}

/// Several operations under several conditions, sometimes with a transaction within.
fn several(client: &mut Client, space: &KeySpace) -> TxnRequest {
    let mut txn = simple(client, space);
    if client.chance.one_in(3) {
        // Keys of its own: a key must not be written twice.
        let within = simple(client, &KeySpace { prefix: "within/", ..space.clone() });
        txn.success.push(RequestOp::Txn(within));
    }
    if client.chance.one_in(6) {
        // About what was just compacted: all members must refuse it, or none.
        let revision = (client.site.compacted() - 2 + i64::try_from(client.chance.below(6)).unwrap_or(0)).max(1);
        txn.success.push(RequestOp::Range(RangeRequest { revision, ..read(space.all()) }));
    }
    if client.chance.one_in(40)
        && let Some(first) = txn.success.first().cloned()
    {
        txn.success.push(first); // refused where it puts
    }
    txn
}

fn simple(client: &mut Client, space: &KeySpace) -> TxnRequest {
    let compare = (0..1 + client.chance.below(3)).map(|_| condition(client, space)).collect();
    let first = client.chance.below(space.keys);
    let value = client.value(0);
    let other = client.value(0);
    let mut success = vec![
        RequestOp::Put(put(space.nth(first), value, 0)),
        RequestOp::Range(read(one(space.nth(first)))),
        delete_op(one(space.nth(first + 1))),
    ];
    if client.chance.one_in(2) {
        success.push(RequestOp::Range(read(space.all())));
    }
    let failure = match client.chance.below(3) {
        0 => Vec::new(),
        1 => vec![RequestOp::Range(read(space.some(&mut client.chance)))],
        _ => vec![RequestOp::Put(put(space.nth(first + 2), other, 0))],
    };
    TxnRequest { compare, success, failure }
}

fn condition(client: &mut Client, space: &KeySpace) -> Compare {
    let known = client.site.revision();
    let chance = &mut client.chance;
    let around = known - i64::try_from(chance.below(30)).unwrap_or(0);
    let range = if chance.one_in(6) { space.some(chance) } else { one(space.key(chance)) };
    let target = match chance.below(5) {
        0 => CompareTarget::Version(i64::try_from(chance.below(4)).unwrap_or(0)),
        1 => CompareTarget::CreateRevision(if chance.one_in(2) { 0 } else { around }),
        2 => CompareTarget::Value(Bytes::from_static(b"c2")),
        3 => CompareTarget::Lease(0),
        _ => CompareTarget::ModRevision(around),
    };
    let results = [CompareResult::Greater, CompareResult::Less, CompareResult::NotEqual, CompareResult::Equal];
    let result = results[usize::try_from(chance.below(4)).unwrap_or(0)];
    Compare { range, result, target }
}
