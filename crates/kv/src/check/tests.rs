//! Tables of requests that are refused before they are proposed.

use bytes::Bytes;

use super::*;
use crate::request::{Compare, CompareResult, CompareTarget, KeyRange};
use OperationError::{DuplicateKey, EmptyKey, LeaseProvided, TooManyOps, ValueProvided};

fn put(key: &str) -> RequestOp {
    RequestOp::Put(PutRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..PutRequest::default() })
}

fn keys(key: &str, end: &str) -> KeyRange {
    KeyRange { key: Bytes::copy_from_slice(key.as_bytes()), range_end: Bytes::copy_from_slice(end.as_bytes()) }
}

fn delete(key: &str, end: &str) -> RequestOp {
    RequestOp::DeleteRange(DeleteRangeRequest { range: keys(key, end), prev_kv: false })
}

fn range(key: &str) -> RequestOp {
    RequestOp::Range(RangeRequest { range: keys(key, ""), ..RangeRequest::default() })
}

fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
    RequestOp::Txn(TxnRequest { compare: vec![], success, failure })
}

fn compares(count: usize, key: &str) -> TxnRequest {
    let compare = Compare { range: keys(key, ""), result: CompareResult::Equal, target: CompareTarget::Version(0) };
    TxnRequest { compare: vec![compare; count], ..TxnRequest::default() }
}

#[test]
fn single_requests() {
    let full = PutRequest { key: "k".into(), value: "v".into(), lease: 1, ..PutRequest::default() };
    assert_eq!(check_put(&full), Ok(()));
    assert_eq!(check_put(&PutRequest { key: Bytes::new(), ..full.clone() }), Err(EmptyKey));
    assert_eq!(check_put(&PutRequest { ignore_value: true, ..full.clone() }), Err(ValueProvided));
    assert_eq!(check_put(&PutRequest { ignore_lease: true, ..full.clone() }), Err(LeaseProvided));
    let keeping = PutRequest { ignore_value: true, ignore_lease: true, value: Bytes::new(), lease: 0, ..full };
    assert_eq!(check_put(&keeping), Ok(()));
    assert_eq!(check_range(&RangeRequest::default()), Err(EmptyKey));
    assert_eq!(check_delete_range(&DeleteRangeRequest::default()), Err(EmptyKey));
    assert_eq!(check_lease_ttl(LEASE_TTL_MAX), Ok(()));
    assert_eq!(check_lease_ttl(LEASE_TTL_MAX + 1), Err(OperationError::LeaseTtlTooLarge));
}

#[test]
fn parts_of_a_transaction() {
    let empty_put = RequestOp::Put(PutRequest::default());
    for bad in [empty_put, range(""), delete("", "z"), txn(vec![range("")], vec![]), txn(vec![], vec![delete("", "")])]
    {
        let request = TxnRequest { failure: vec![bad.clone()], ..TxnRequest::default() };
        assert_eq!(check(&request, 128), Err(EmptyKey), "{bad:?}");
    }
    assert_eq!(check(&compares(1, ""), 128), Err(EmptyKey));
    assert_eq!(check(&TxnRequest::default(), 0), Ok(()));
}

#[test]
fn the_largest_part_counts_and_what_is_within_gets_the_rest() {
    let many = |count| vec![range("k"); count];
    let nested = |outer: usize, inner: usize| {
        let mut success = many(outer - 1);
        success.push(txn(many(inner), vec![]));
        TxnRequest { success, ..TxnRequest::default() }
    };
    let cases = [
        (compares(4, "k"), Ok(())),
        (compares(5, "k"), Err(TooManyOps)),
        (TxnRequest { success: many(4), failure: many(4), ..compares(4, "k") }, Ok(())),
        (TxnRequest { failure: many(5), ..TxnRequest::default() }, Err(TooManyOps)),
        (nested(1, 3), Ok(())),
        (nested(1, 4), Err(TooManyOps)),
        (nested(3, 1), Ok(())),
        (nested(4, 1), Err(TooManyOps)),
    ];
    for (request, expected) in cases {
        assert_eq!(check(&request, 4), expected, "{request:?}");
    }
}

#[test]
fn nesting_is_bounded_whatever_the_budget() {
    let mut request = TxnRequest::default();
    for _ in 0..DEPTH_MAX {
        request = TxnRequest { success: vec![RequestOp::Txn(request)], ..TxnRequest::default() };
    }
    assert_eq!(check(&request, usize::MAX), Err(TooManyOps));
}

#[test]
fn no_key_is_written_twice_on_any_path() {
    let cases = [
        (vec![put("a"), put("b")], Ok(())),
        (vec![put("a"), put("a")], Err(DuplicateKey)),
        (vec![put("b"), delete("a", "c")], Err(DuplicateKey)),
        (vec![delete("a", "\0"), put("b")], Err(DuplicateKey)),
        (vec![delete("a", ""), put("b")], Ok(())),
        (vec![delete("a", "b"), put("b")], Ok(())),
        (vec![delete("c", "a"), put("b")], Ok(())), // deletes nothing
        (vec![delete("a", "c"), delete("b", "d")], Ok(())),
        (vec![put("a"), txn(vec![put("a")], vec![])], Err(DuplicateKey)),
        (vec![txn(vec![put("a")], vec![]), txn(vec![], vec![put("a")])], Err(DuplicateKey)),
        (vec![txn(vec![put("a")], vec![put("a")])], Ok(())),
        (vec![txn(vec![put("a")], vec![delete("a", "")])], Ok(())),
        (vec![txn(vec![delete("a", "c")], vec![]), put("b")], Err(DuplicateKey)),
        (vec![delete("a", "c"), txn(vec![], vec![put("b")])], Err(DuplicateKey)),
        (vec![txn(vec![delete("a", "")], vec![]), txn(vec![put("a")], vec![])], Err(DuplicateKey)),
        (vec![txn(vec![put("a")], vec![]), txn(vec![delete("a", "")], vec![])], Ok(())), // etcd lets this order pass
    ];
    for (operations, expected) in cases {
        let success = TxnRequest { success: operations.clone(), failure: vec![put("a")], ..TxnRequest::default() };
        assert_eq!(check(&success, 128), expected, "{operations:?}");
        let failure = TxnRequest { failure: operations, ..TxnRequest::default() };
        assert_eq!(check(&failure, 128), expected);
    }
}

#[test]
fn costs() {
    let request = PutRequest { key: "key".into(), value: "value".into(), ..PutRequest::default() };
    let small = txn(vec![put("k")], vec![]);
    let RequestOp::Txn(branches) = txn(vec![put("a"), put("b")], vec![small, delete("a", "z")]) else { panic!() };
    let cases = [
        (Command::Put(request), 264),
        (Command::Txn(branches), 514),
        (Command::LeaseGrant { id: 1, ttl: 1 }, 64),
        (Command::LeaseRevoke { id: 1 }, 0),
        (Command::Compact { revision: 1 }, 0),
        (Command::Txn(TxnRequest { success: vec![range("a")], ..TxnRequest::default() }), 0),
    ];
    for (command, expected) in cases {
        assert_eq!(cost(&command), expected, "{command:?}");
    }
}
