//! etcd's rules, one by one, by the sections of its contract: ranges, puts and deletions, transactions, compaction,
//! events, leases, alarms.

use super::*;
use OperationError::{Compacted, Corrupt, FutureRevision, KeyNotFound, LeaseExists, LeaseNotFound, NoSpace};

fn names(result: &RangeResult) -> Vec<&str> {
    result.kvs.iter().map(|kv| std::str::from_utf8(&kv.key).unwrap()).collect()
}

/// Revisions 2 to 5 create a, b, c, d; 6 overwrites a, 7 deletes b, 8 creates it again.
fn letters() -> Machine {
    let mut machine = Machine::new();
    for (key, value) in [("a", "4"), ("b", "3"), ("c", "2"), ("d", "1")] {
        machine.put(key, value);
    }
    machine.put("a", "5");
    machine.must(&delete("b", ""));
    machine.put("b", "6");
    machine
}

#[test]
fn a_range_end_says_which_keys() {
    let machine = letters();
    let cases: [(&str, &str, &[&str]); 9] = [
        ("a", "", &["a"]),
        ("x", "", &[]),
        ("b", "d", &["b", "c"]),
        ("b", "\0", &["b", "c", "d"]),
        ("\0", "\0", &["a", "b", "c", "d"]),
        ("c", "a", &[]),
        ("c", "c", &[]),
        ("a\0", "c\0", &["b", "c"]),
        ("e", "\0", &[]),
    ];
    for (key, end, expected) in cases {
        let result = machine.range(&get(key, end)).unwrap();
        assert_eq!(names(&result), expected, "{key:?}..{end:?}");
        assert_eq!((result.count, result.more), (expected.len() as i64, false));
    }
}

#[test]
fn a_revision_shows_the_keys_of_then() {
    let mut machine = letters();
    let cases: [(i64, Result<&[&str], OperationError>); 7] = [
        (1, Ok(&[])),
        (4, Ok(&["a", "b", "c"])),
        (7, Ok(&["a", "c", "d"])),
        (8, Ok(&["a", "b", "c", "d"])),
        (0, Ok(&["a", "b", "c", "d"])),
        (-3, Ok(&["a", "b", "c", "d"])),
        (9, Err(FutureRevision)),
    ];
    for (revision, expected) in cases {
        let result = machine.range(&at(revision, get("\0", "\0")));
        assert_eq!(result.as_ref().map(names), expected.as_ref().map(|names| names.to_vec()), "at {revision}");
    }
    assert_eq!(machine.range(&at(5, get("a", ""))).unwrap().kvs[0].value, "4");
    machine.must(&Command::Compact { revision: 6 });
    assert_eq!(machine.range(&at(5, get("a", ""))), Err(Compacted));
    assert_eq!(machine.range(&at(6, get("a", ""))).unwrap().kvs[0].value, "5");
}

#[test]
fn limit_count_and_more() {
    let machine = letters();
    // limit, count only → names, more; the count is always that of all keys
    let cases: [(i64, bool, &[&str], bool); 6] = [
        (0, false, &["a", "b", "c", "d"], false),
        (-1, false, &["a", "b", "c", "d"], false),
        (3, false, &["a", "b", "c"], true),
        (4, false, &["a", "b", "c", "d"], false),
        (i64::MAX, false, &["a", "b", "c", "d"], false),
        (1, true, &[], false),
    ];
    for (limit, count_only, expected, more) in cases {
        let result = machine.range(&RangeRequest { limit, count_only, ..get("\0", "\0") }).unwrap();
        assert_eq!((names(&result), result.more, result.count), (expected.to_vec(), more, 4));
    }
}

#[test]
fn order_and_target() {
    use SortOrder::{Ascend, Descend};
    use SortTarget::{Create, Key, Mod, Value, Version};
    let machine = letters(); // versions 2 1 1 1, created 2 8 4 5, modified 6 8 4 5, values 5 6 2 1
    let cases: [(SortOrder, SortTarget, i64, &[&str]); 10] = [
        (SortOrder::None, Key, 0, &["a", "b", "c", "d"]),
        (Ascend, Key, 2, &["a", "b"]),
        (Descend, Key, 2, &["d", "c"]),
        (Ascend, Value, 0, &["d", "c", "a", "b"]),
        (Descend, Value, 1, &["b"]),
        (Ascend, Mod, 3, &["c", "d", "a"]),
        (Ascend, Create, 2, &["a", "c"]),
        (Descend, Version, 1, &["a"]),
        (SortOrder::None, Create, 0, &["a", "c", "d", "b"]),
        // Without an order, the first three keys (one more than the limit) are cut off by key, sorted, and cut again.
        (SortOrder::None, Value, 2, &["c", "a"]),
    ];
    for (sort_order, sort_target, limit, expected) in cases {
        let request = RangeRequest { sort_order, sort_target, limit, ..get("\0", "\0") };
        assert_eq!(names(&machine.range(&request).unwrap()), expected, "{sort_order:?} {sort_target:?} {limit}");
    }
}

#[test]
fn filters_apply_before_the_limit_and_not_to_the_count() {
    let machine = letters();
    let base = get("\0", "\0");
    let cases: [(RangeRequest, &[&str], bool); 5] = [
        (RangeRequest { min_mod_revision: 5, ..base.clone() }, &["a", "b", "d"], false),
        (RangeRequest { max_mod_revision: 5, ..base.clone() }, &["c", "d"], false),
        (RangeRequest { min_create_revision: 5, ..base.clone() }, &["b", "d"], false),
        (RangeRequest { max_create_revision: 4, limit: 1, ..base.clone() }, &["a"], true),
        (RangeRequest { min_mod_revision: 5, limit: 3, ..base.clone() }, &["a", "b", "d"], false),
    ];
    for (request, expected, more) in cases {
        let result = machine.range(&request).unwrap();
        assert_eq!((names(&result), result.more, result.count), (expected.to_vec(), more, 4), "{request:?}");
    }
}

#[test]
fn keys_only_leaves_out_values_but_sorts_by_them() {
    let machine = letters();
    let request = RangeRequest { keys_only: true, sort_target: SortTarget::Value, ..get("\0", "\0") };
    let result = machine.range(&request).unwrap();
    assert_eq!(names(&result), ["d", "c", "a", "b"]);
    assert!(result.kvs.iter().all(|kv| kv.value.is_empty() && kv.mod_revision > 0));
}

#[test]
fn keys_only_shows_leases_only_where_values_were_fetched() {
    let mut machine = letters();
    machine.must(&Command::LeaseGrant { id: 7, ttl: 5 });
    machine.must(&Command::Put(PutRequest { lease: 7, ..put_request("a", "1") }));
    for (sort_target, lease) in [(SortTarget::Key, 0), (SortTarget::Mod, 0), (SortTarget::Value, 7)] {
        let request = RangeRequest { keys_only: true, sort_target, ..get("a", "") };
        assert_eq!(machine.range(&request).unwrap().kvs[0].lease, lease, "{sort_target:?}");
    }
}

#[test]
fn the_first_refused_operation_of_a_transaction_is_the_one_told() {
    let mut machine = letters();
    let future = || RequestOp::Range(RangeRequest { revision: 1000, ..get("a", "") });
    let missing = || RequestOp::Put(PutRequest { ignore_value: true, ..put_request("none", "") });
    for (success, told) in [
        (vec![future(), missing()], OperationError::FutureRevision),
        (vec![missing(), future()], OperationError::KeyNotFound),
    ] {
        assert_eq!(machine.refusal(&Command::Txn(TxnRequest { success, ..TxnRequest::default() })), told);
    }
}

#[test]
fn marks_of_a_key_through_its_incarnations() {
    let machine = letters();
    let marks = |revision, key: &str| {
        let kv = machine.range(&at(revision, get(key, ""))).unwrap().kvs[0].clone();
        (kv.create_revision, kv.mod_revision, kv.version)
    };
    assert_eq!(marks(5, "a"), (2, 2, 1));
    assert_eq!(marks(6, "a"), (2, 6, 2));
    assert_eq!(marks(8, "b"), (8, 8, 1));
}

#[test]
fn what_makes_a_revision_and_what_does_not() {
    let mut machine = letters();
    machine.must(&Command::LeaseGrant { id: 1, ttl: 5 });
    let read = TxnRequest { success: vec![RequestOp::Range(get("a", ""))], ..TxnRequest::default() };
    let nothing =
        TxnRequest { success: vec![RequestOp::DeleteRange(delete_request("x", ""))], ..TxnRequest::default() };
    let cases = [
        (put("a", "5"), 9), // an unchanged value too
        (delete("x", "z"), 9),
        (Command::Txn(read), 9),
        (Command::Txn(nothing), 9),
        (Command::Txn(TxnRequest::default()), 9),
        (Command::LeaseRevoke { id: 1 }, 9),
        (delete("a", "c"), 10),
    ];
    for (command, revision) in cases {
        assert_eq!(machine.apply(&command).revision, revision, "{command:?}");
    }
}

#[test]
fn puts_that_keep_something_or_return_what_was() {
    let mut machine = Machine::new();
    machine.must(&Command::LeaseGrant { id: 7, ttl: 5 });
    let missing =
        |ignore_value, ignore_lease| Command::Put(PutRequest { ignore_value, ignore_lease, ..put_request("k", "") });
    assert_eq!(machine.refusal(&missing(true, false)), KeyNotFound);
    assert_eq!(machine.refusal(&missing(false, true)), KeyNotFound);
    assert_eq!(machine.refusal(&put_leased("k", 8)), LeaseNotFound);
    let both = Command::Put(PutRequest { lease: 8, ignore_value: true, ..put_request("k", "") });
    assert_eq!(machine.refusal(&both), LeaseNotFound, "a plain put looks for the lease first");

    machine.must(&put_leased("k", 7));
    machine.must(&Command::Put(PutRequest { ignore_lease: true, ..put_request("k", "new") }));
    let reply = machine.must(&Command::Put(PutRequest { ignore_value: true, prev_kv: true, ..put_request("k", "") }));
    let Reply::Put(Some(previous)) = reply else { panic!("{reply:?}") };
    assert_eq!((previous.value, previous.lease, previous.version), (bytes("new"), 7, 2));
    let kv = machine.range(&get("k", "")).unwrap().kvs[0].clone();
    assert_eq!((kv.value, kv.lease, kv.version), (bytes("new"), 0, 3));
    assert_eq!(machine.must(&put("k", "x")), Reply::Put(None));
}

#[test]
fn a_deletion_tells_how_many_and_which() {
    let mut machine = letters();
    let Reply::DeleteRange(reply) = machine.must(&delete("a", "c")) else { panic!() };
    assert_eq!((reply.deleted, reply.prev_kvs.len()), (2, 0));
    let rest = Command::DeleteRange(DeleteRangeRequest { prev_kv: true, ..delete_request("\0", "\0") });
    let outcome = machine.apply(&rest);
    let Ok(Reply::DeleteRange(reply)) = outcome.result else { panic!() };
    assert_eq!(reply.prev_kvs.iter().map(|kv| &kv.value[..]).collect::<Vec<_>>(), [b"2", b"1"]);
    let deleted = KeyValue { key: bytes("c"), mod_revision: 10, ..KeyValue::default() };
    assert_eq!(outcome.events[0].kv, deleted, "only key and revision");
    assert_eq!(outcome.events[0].prev_kv.as_ref(), Some(&reply.prev_kvs[0]));
    assert!(outcome.events.iter().all(|event| event.kind == EventKind::Delete));
    assert_eq!(machine.must(&rest), Reply::DeleteRange(DeleteRangeReply::default()));
}

fn compare(key: &str, range_end: &str, result: CompareResult, target: CompareTarget) -> Compare {
    Compare { range: keys(key, range_end), result, target }
}

#[test]
fn conditions() {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    use CompareTarget::{CreateRevision, Lease, ModRevision, Value, Version};
    let mut machine = letters(); // versions 2 1 1 1, created 2 8 4 5, modified 6 8 4 5, values 5 6 2 1
    let value = |text: &str| Value(bytes(text));
    let cases = [
        ("a", "", Equal, Version(2), true),
        ("a", "", Equal, Version(1), false),
        ("a", "", Greater, CreateRevision(1), true),
        ("a", "", Less, ModRevision(7), true),
        ("a", "", NotEqual, Lease(0), false),
        ("a", "", Greater, value("4"), true),
        ("a", "", Greater, value("40"), true), // bytewise
        ("a", "", NotEqual, value("5"), false),
        // A missing key has zeros, but no value that could be compared.
        ("x", "", Equal, Version(0), true),
        ("x", "", Equal, ModRevision(0), true),
        ("x", "", Less, CreateRevision(1), true),
        ("x", "", Equal, Lease(0), true),
        ("x", "", Greater, Version(0), false),
        ("x", "", Equal, value(""), false),
        ("x", "", NotEqual, value("1"), false),
        ("x", "", Less, value("1"), false),
        ("x", "", Greater, value(""), false),
        // Every existing key of a range; an empty range is like a missing key.
        ("a", "e", Greater, Version(0), true),
        ("a", "e", Equal, Version(1), false),
        ("b", "e", Equal, Version(1), true),
        ("b", "\0", Equal, Version(1), true),
        ("x", "z", Equal, Version(0), true),
        ("x", "z", Equal, Version(1), false),
        ("x", "z", NotEqual, value(""), false),
        ("d", "a", Equal, Version(0), true),
    ];
    for (key, end, result, target, expected) in cases {
        let compare = vec![compare(key, end, result, target)];
        let Reply::Txn(reply) =
            machine.must(&Command::Txn(TxnRequest { compare: compare.clone(), ..TxnRequest::default() }))
        else {
            panic!()
        };
        assert_eq!(reply.succeeded, expected, "{compare:?}");
    }
}

#[test]
fn operations_see_those_before_them_and_conditions_do_not() {
    let mut machine = letters();
    let missing = |key: &str| compare(key, "", CompareResult::Equal, CompareTarget::Version(0));
    let inner = TxnRequest {
        compare: vec![missing("new")], // still true: evaluated before the put
        success: vec![RequestOp::Range(get("new", "")), RequestOp::Put(put_request("inner", "2"))],
        failure: vec![],
    };
    let txn = TxnRequest {
        compare: vec![missing("new")],
        success: vec![
            RequestOp::Range(get("\0", "\0")),
            RequestOp::DeleteRange(delete_request("x", "")),
            RequestOp::Put(put_request("new", "1")),
            RequestOp::Txn(inner),
            RequestOp::DeleteRange(delete_request("a", "c")),
            RequestOp::Range(get("\0", "\0")),
            RequestOp::Range(at(7, get("\0", "\0"))),
        ],
        failure: vec![],
    };
    let outcome = machine.apply(&Command::Txn(txn));
    let Ok(Reply::Txn(reply)) = &outcome.result else { panic!() };
    assert_eq!((reply.succeeded, reply.revision, outcome.revision), (true, 9, 9));
    let shown: Vec<(i64, i64)> = reply
        .responses
        .iter()
        .map(|response| match response {
            ResponseOp::Range(result, revision) => (result.count, *revision),
            ResponseOp::Put(_, revision) => (1, *revision),
            ResponseOp::DeleteRange(reply, revision) => (reply.deleted, *revision),
            ResponseOp::Txn(reply) => (reply.responses.len() as i64, reply.revision),
        })
        .collect();
    // Before the first change answers show the revision of before.
    assert_eq!(shown, [(4, 8), (0, 8), (1, 9), (2, 9), (2, 9), (4, 9), (3, 9)]);
    let ResponseOp::Txn(inner) = &reply.responses[3] else { panic!() };
    assert!(matches!(&inner.responses[0], ResponseOp::Range(result, 9) if result.kvs[0].value == "1"));
    let events: Vec<_> = outcome.events.iter().map(|event| (&event.kv.key[..], event.kv.mod_revision)).collect();
    assert_eq!(events, [(&b"new"[..], 9), (b"inner", 9), (b"a", 9), (b"b", 9)]);
}

#[test]
fn a_transaction_that_cannot_be_carried_out_whole_does_nothing() {
    let mut machine = letters();
    machine.must(&Command::Compact { revision: 4 });
    let good = RequestOp::Put(put_request("a", "x"));
    let ignoring = PutRequest { ignore_value: true, ..put_request("x", "") };
    let leased = PutRequest { lease: 5, ..put_request("y", "") };
    let cases = [
        (RequestOp::Put(ignoring.clone()), KeyNotFound),
        (RequestOp::Put(leased.clone()), LeaseNotFound),
        (RequestOp::Put(PutRequest { lease: 5, ..ignoring }), KeyNotFound), // here the key comes first
        (RequestOp::Range(at(3, get("a", ""))), Compacted),
        (RequestOp::Range(at(-1, get("a", ""))), Compacted),
        (RequestOp::Range(at(9, get("a", ""))), FutureRevision), // although the put before makes that revision
    ];
    for (bad, refusal) in cases {
        let txn = TxnRequest { success: vec![good.clone(), bad.clone()], ..TxnRequest::default() };
        assert_eq!(machine.refusal(&Command::Txn(txn)), refusal, "{bad:?}");
        let inner = TxnRequest { success: vec![bad.clone()], ..TxnRequest::default() };
        let txn = TxnRequest { success: vec![good.clone(), RequestOp::Txn(inner)], ..TxnRequest::default() };
        assert_eq!(machine.refusal(&Command::Txn(txn)), refusal, "within, {bad:?}");
        let untaken = TxnRequest { success: vec![good.clone()], failure: vec![bad], ..TxnRequest::default() };
        machine.must(&Command::Txn(untaken));
        machine = letters();
        machine.must(&Command::Compact { revision: 4 });
    }
}

#[test]
fn a_transaction_that_only_reads_is_the_same_beside_the_log() {
    let mut machine = letters();
    let txn = TxnRequest {
        compare: vec![compare("a", "", CompareResult::Equal, CompareTarget::Version(2))],
        success: vec![
            RequestOp::Range(RangeRequest { limit: 2, ..get("\0", "\0") }),
            RequestOp::Range(at(3, get("a", "\0"))),
        ],
        failure: vec![],
    };
    assert!(is_read_only(&txn));
    let read = operation(machine.kv.reader().txn_read(&txn)).unwrap();
    assert_eq!(machine.must(&Command::Txn(txn)), Reply::Txn(read));
    let future = TxnRequest { success: vec![RequestOp::Range(at(99, get("a", "")))], ..TxnRequest::default() };
    assert_eq!(operation(machine.kv.reader().txn_read(&future)), Err(FutureRevision));
}

#[test]
fn compaction_has_bounds() {
    let mut machine = letters();
    assert_eq!(machine.refusal(&Command::Compact { revision: 9 }), FutureRevision);
    assert_eq!(machine.refusal(&Command::Compact { revision: -1 }), Compacted);
    machine.must(&Command::Compact { revision: 0 });
    machine.must(&Command::Compact { revision: 7 });
    for revision in [0, 6, 7] {
        assert_eq!(machine.refusal(&Command::Compact { revision }), Compacted);
    }
    machine.must(&Command::Compact { revision: 8 });
    assert_eq!((machine.kv.compacted(), machine.kv.revision()), (8, 8));
    assert_eq!(names(&machine.range(&get("\0", "\0")).unwrap()), ["a", "b", "c", "d"]);
}

#[test]
fn history_as_events() {
    let mut machine = letters();
    let reader = machine.kv.reader();
    let read = |from, revisions| operation(reader.events(from, revisions, usize::MAX));
    let page = read(6, 2).unwrap();
    assert_eq!((page.events.len(), page.next_revision, page.revision), (2, 8, 8));
    assert_eq!(page.events[0].prev_kv.as_ref().unwrap().value, "4");
    let deleted = KeyValue { key: bytes("b"), mod_revision: 7, ..KeyValue::default() };
    assert_eq!((page.events[1].kind, &page.events[1].kv), (EventKind::Delete, &deleted));
    assert_eq!(page.events[1].prev_kv.as_ref().unwrap().value, "3");
    let page = read(8, 2).unwrap();
    assert_eq!((page.events[0].prev_kv.as_ref(), page.next_revision), (None, 9), "created anew");
    assert_eq!(read(9, 1).unwrap().next_revision, 9);
    assert_eq!(read(50, 1).unwrap().next_revision, 50);
    assert_eq!(read(0, 100).unwrap().events.len(), 7);
    machine.must(&Command::Compact { revision: 6 });
    assert_eq!(read(5, 1), Err(Compacted));
    assert_eq!(read(6, 1).unwrap().events[0].prev_kv, None, "what was before is compacted");
    assert_eq!(read(7, 1).unwrap().events[0].prev_kv.as_ref().unwrap().value, "3");
}

#[test]
fn a_page_of_events_never_splits_a_revision() {
    let mut machine = Machine::new();
    let puts = (0..9).map(|n| RequestOp::Put(put_request(&format!("k{n}"), "v"))).collect();
    machine.must(&Command::Txn(TxnRequest { success: puts, ..TxnRequest::default() }));
    machine.must(&delete("\0", "\0"));
    let page = operation(machine.kv.reader().events(1, 10, 1)).unwrap();
    assert_eq!((page.events.len(), page.next_revision), (9, 3));
}

#[test]
fn keys_follow_their_lease() {
    let mut machine = Machine::new();
    let reader = machine.kv.reader();
    let held = |id| reader.lease_keys(id).unwrap();
    machine.must(&Command::LeaseGrant { id: 1, ttl: 5 });
    machine.must(&Command::LeaseGrant { id: 2, ttl: 6 });
    assert_eq!(machine.refusal(&Command::LeaseGrant { id: 1, ttl: 9 }), LeaseExists);
    assert_eq!(reader.leases().unwrap(), [(1, 5), (2, 6)]);
    assert_eq!((reader.lease(2).unwrap(), reader.lease(3).unwrap()), (Some(6), None));
    for key in ["c", "a", "b", "d"] {
        machine.must(&put_leased(key, 1));
    }
    machine.must(&put_leased("b", 2)); // moves
    machine.must(&put("c", "")); // detaches
    machine.must(&delete("d", "")); // detaches
    machine.put("d", "");
    assert_eq!((held(1), held(2)), (vec![bytes("a")], vec![bytes("b")]));
    machine.must(&put_leased("z", 1));
    machine.checkpoint();
    let outcome = machine.apply(&Command::LeaseRevoke { id: 1 });
    let gone: Vec<_> = outcome.events.iter().map(|event| &event.kv.key[..]).collect();
    assert_eq!(gone, [b"a", b"z"], "in key order, in one revision");
    assert!(outcome.events.iter().all(|event| event.kv.mod_revision == outcome.revision));
    assert_eq!(machine.refusal(&Command::LeaseRevoke { id: 1 }), LeaseNotFound);
    assert_eq!((held(1), reader.lease(1).unwrap()), (vec![], None));
    machine.must(&Command::LeaseGrant { id: 1, ttl: 5 });
    assert!(held(1).is_empty());
}

#[test]
fn alarms_refuse_what_would_make_things_worse() {
    let mut machine = letters();
    machine.must(&Command::LeaseGrant { id: 1, ttl: 5 });
    let alarm = |raise, alarm| Command::Alarm { raise, member: 4, alarm };
    let txn = |operation| Command::Txn(TxnRequest { failure: vec![operation], ..TxnRequest::default() });
    assert_eq!(machine.must(&alarm(true, Alarm::NoSpace)), Reply::Alarm(vec![(4, Alarm::NoSpace)]));
    assert_eq!(machine.must(&alarm(true, Alarm::NoSpace)), Reply::Alarm(vec![(4, Alarm::NoSpace)]));
    machine.checkpoint();
    machine = machine.crash();
    assert_eq!(machine.kv.reader().alarms().unwrap(), [(4, Alarm::NoSpace)]);
    let growing = [put("a", "x"), txn(RequestOp::Put(put_request("a", ""))), Command::LeaseGrant { id: 2, ttl: 5 }];
    for command in &growing {
        assert_eq!(machine.refusal(command), NoSpace);
    }
    machine.must(&delete("a", ""));
    machine.must(&txn(RequestOp::DeleteRange(delete_request("b", ""))));
    machine.must(&Command::LeaseRevoke { id: 1 });
    machine.must(&Command::Compact { revision: 3 });
    assert_eq!(machine.must(&alarm(false, Alarm::NoSpace)), Reply::Alarm(vec![(4, Alarm::NoSpace)]));
    assert_eq!(machine.must(&alarm(false, Alarm::NoSpace)), Reply::Alarm(vec![]));
    machine.must(&growing[0]);

    machine.must(&alarm(true, Alarm::Corrupt));
    let mutating = [
        put("a", "x"),
        delete("x", ""),
        Command::Txn(TxnRequest::default()),
        Command::Compact { revision: 5 },
        Command::LeaseGrant { id: 9, ttl: 5 },
        Command::LeaseRevoke { id: 9 },
    ];
    for command in &mutating {
        assert_eq!(machine.refusal(command), Corrupt);
    }
    assert_eq!(machine.range(&get("\0", "\0")).unwrap().count, 4, "reads go on");
    machine.must(&alarm(false, Alarm::Corrupt));
    machine.must(&mutating[0]);
}

#[test]
fn members_are_known_by_what_they_said_last() {
    let mut machine = Machine::new();
    let member =
        |id, name: &str| Member { id, name: name.into(), client_urls: vec!["http://a:1".into()], ..Member::default() };
    for said in [member(9, "nine"), member(3, "three"), member(9, "new")] {
        machine.must(&Command::MemberAttributes(said));
    }
    machine.checkpoint();
    assert_eq!(machine.kv.reader().members().unwrap(), [member(3, "three"), member(9, "new")]);
}

#[test]
fn checksums_of_keys_have_the_bounds_of_ranges() {
    let mut machine = letters();
    let reader = machine.kv.reader();
    let hash = |revision| operation(reader.hash_kv(revision));
    let all = hash(0).unwrap();
    assert_eq!((all.compact_revision, all.hash_revision), (-1, 8));
    assert_eq!(hash(8), Ok(all));
    assert_ne!(hash(7).unwrap().hash, all.hash);
    assert_eq!(hash(9), Err(FutureRevision));
    machine.must(&Command::Compact { revision: 6 });
    assert_eq!(hash(5), Err(Compacted));
    let compacted = hash(0).unwrap();
    assert_eq!(compacted.compact_revision, 6);
    assert_ne!(compacted.hash, all.hash, "what cannot be read is left out");
    machine.checkpoint();
    assert_eq!(hash(0), Ok(compacted));
}

#[test]
fn what_a_lease_has_left_is_kept_of_the_life_that_it_was_said_of() {
    let mut machine = Machine::new();
    machine.must(&Command::LeaseGrant { id: 1, ttl: 600 }); // entry 1
    machine.must(&Command::LeaseGrant { id: 2, ttl: 600 });
    let left = |machine: &Machine, id| machine.kv.reader().lease_row(id).unwrap().unwrap().left;
    machine.must(&Command::LeaseCheckpoint { applied: 1, leases: vec![(1, Some(300)), (2, Some(300)), (3, Some(1))] });
    assert_eq!((left(&machine, 1), left(&machine, 2)), (Some(300), None), "the second was not there when it was said");
    machine.checkpoint();
    machine = machine.crash();
    assert_eq!(left(&machine, 1), Some(300));
    assert_eq!(machine.kv.reader().leases().unwrap(), [(1, 600), (2, 600)], "granted is granted");
    machine.must(&Command::LeaseCheckpoint { applied: 3, leases: vec![(1, None)] });
    assert_eq!(left(&machine, 1), None);
    // The first life ended on its way: neither what was said of it nor its end touch the second.
    machine.must(&Command::LeaseRevoke { id: 1 }); // entry 5
    machine.must(&Command::LeaseGrant { id: 1, ttl: 9 });
    machine.must(&Command::LeaseCheckpoint { applied: 4, leases: vec![(1, Some(2))] });
    assert_eq!(left(&machine, 1), None);
    assert_eq!(machine.refusal(&Command::LeaseExpire { applied: 4, id: 1 }), LeaseNotFound);
    machine.must(&put_leased("a", 1));
    let ended = machine.apply(&Command::LeaseExpire { applied: 9, id: 1 });
    assert_eq!((ended.result, ended.events.len()), (Ok(Reply::LeaseRevoke), 1));
    assert_eq!(machine.kv.reader().lease_rows(i64::MIN, 9).unwrap().len(), 1);
}

#[test]
fn the_version_of_the_cluster_and_a_downgrade_are_remembered() {
    let mut machine = Machine::new();
    let known = |machine: &Machine| {
        let reader = machine.kv.reader();
        (reader.cluster_version().unwrap(), reader.downgrade_target().unwrap())
    };
    let level = |minor| FeatureLevel { major: 3, minor };
    assert_eq!(known(&machine), (None, None));
    machine.must(&Command::ClusterVersion(level(7)));
    machine.must(&Command::Downgrade(Some(level(6))));
    machine.checkpoint();
    machine = machine.crash();
    assert_eq!(known(&machine), (Some(level(7)), Some(level(6))));
    machine.must(&Command::Downgrade(None));
    assert_eq!(known(&machine), (Some(level(7)), None));
}
