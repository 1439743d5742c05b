//! Lies about leases, and about the locks that hang on them.

use std::time::Duration;

use kontiki_kv::{Command, KeyValue, RangeRequest, RangeResult, RequestOp, TxnRequest};
use kontiki_raft::{NodeId, Term};
use kontiki_store::LeaseTimeToLive;

use super::super::{Limits, leases, locks};
use super::book::{Book, put, take};
use super::{ELECTION_TIMEOUT, limits, requests};
use crate::etcd::history::{Answer, Reign, Request};
use crate::etcd::replay::Replay;

const GRANT: Command = Command::LeaseGrant { id: 7, ttl: 2 };
const REVOKE: Command = Command::LeaseRevoke { id: 7 };

fn is_found_within(book: &Book, limits: &Limits) -> bool {
    leases::check(&book.history, &Replay::of(&book.history).unwrap(), limits).is_err()
}

fn is_found(book: &Book) -> bool {
    is_found_within(book, &limits())
}

/// A lease of two seconds, of which a client was told; a leader from the beginning.
fn granted() -> Book {
    let mut book = Book::default();
    book.history.reigns.push(Reign { term: Term(1), leader: NodeId(1), from: Duration::ZERO });
    book.write(1, 100, 110, GRANT);
    book
}

fn keeps_alive(book: &mut Book, from: u64, to: u64, ttl: i64) {
    book.call(1, from, to, Request::KeepAlive(7), Answer::KeepAlive(ttl));
}

fn time_to_live(book: &mut Book, at: u64, ttl: i64, granted_ttl: i64, keys: &[&'static str]) {
    let keys = keys.iter().map(|key| (*key).into()).collect();
    let answer = Answer::TimeToLive(LeaseTimeToLive { ttl, granted_ttl, keys });
    book.call(2, at, at + 1, Request::TimeToLive(7), answer);
}

#[test]
fn a_lease_that_ends_early_or_late() {
    // Granted when asked at 100 ms, applied then; clocks may be wrong by a thousandth.
    for (end, is_lie) in [(1_000, true), (2_090, true), (2_100, false), (3_600, false), (3_700, true), (60_000, true)] {
        let mut book = granted();
        book.entry(end, &REVOKE);
        assert_eq!(is_found(&book), is_lie, "{end}");
    }
}

#[test]
fn a_lease_that_ends_early_or_late_after_it_was_renewed() {
    for (end, is_lie) in [(2_500, true), (3_490, true), (3_500, false), (5_000, false), (5_300, true)] {
        let mut book = granted();
        keeps_alive(&mut book, 1_500, 1_700, 2);
        book.entry(end, &REVOKE);
        assert_eq!(is_found(&book), is_lie, "{end}");
    }
}

#[test]
fn a_lease_that_lasts_longer_for_a_reason() {
    let late = || {
        let mut book = granted();
        book.entry(5_000, &REVOKE);
        book
    };
    assert!(is_found(&late()));
    // A leader that begins gives it its time again.
    let mut book = late();
    book.history.reigns.push(Reign { term: Term(2), leader: NodeId(2), from: Duration::from_millis(2_000) });
    assert!(!is_found(&book));
    // While nobody leads it cannot end.
    let ms = Duration::from_millis;
    let unavailable = vec![ms(500)..ms(1_500), ms(1_000)..ms(2_500)];
    assert!(!is_found_within(&late(), &Limits { unavailable, ..limits() }));
    // A renewal of which nobody was told.
    let mut book = late();
    book.call(1, 1_800, 2_000, Request::KeepAlive(7), Answer::Unknown("no answer".into()));
    assert!(!is_found(&book));
}

#[test]
fn a_renewal_that_is_on_its_way_when_its_client_gives_up() {
    // Given up at 2,000 ms, and done at the latest when the question arrives.
    for (way, end, is_lie) in [(0, 5_400, false), (0, 5_600, true), (300, 5_600, false), (300, 5_900, true)] {
        let mut book = granted();
        book.call(1, 1_800, 2_000, Request::KeepAlive(7), Answer::Unknown("no answer".into()));
        book.entry(end, &REVOKE);
        let limits = Limits { question_way: Duration::from_millis(way), ..limits() };
        assert_eq!(is_found_within(&book, &limits), is_lie, "{way} {end}");
    }
}

#[test]
fn what_a_new_leader_adds_is_by_its_own_clock() {
    // 110 ms, then 2.5 s by a clock that is slow by a tenth, and a second.
    for (end, is_lie) in [(3_850, false), (3_870, true)] {
        let mut book = granted();
        book.entry(end, &REVOKE);
        let limits = Limits { clock_drift_permille: 100, ..limits() };
        assert_eq!(is_found_within(&book, &limits), is_lie, "{end}");
    }
}

#[test]
fn a_lease_that_never_ends() {
    for (end, is_lie) in [(3_000, false), (9_000, true)] {
        let mut book = granted();
        book.write(2, end, end + 1, put("k", "a", 0));
        assert_eq!(is_found(&book), is_lie, "{end}");
    }
}

#[test]
fn a_lease_that_was_revoked_and_is_kept_alive() {
    for at in [200, 400, 600] {
        let mut kept = granted();
        kept.write(2, 150, 160, REVOKE);
        keeps_alive(&mut kept, at, at + 10, 2);
        let mut shown = granted();
        shown.write(2, 150, 160, REVOKE);
        time_to_live(&mut shown, at, 1, 2, &[]);
        for book in [kept, shown] {
            assert!(is_found(&book), "{at}");
            // Where it is permitted that a leader that was cut off does not know.
            let doubt = Limits { leader_doubt: ELECTION_TIMEOUT, ..limits() };
            assert_eq!(is_found_within(&book, &doubt), at > 500, "{at}");
        }
    }
}

#[test]
fn a_lease_that_is_said_to_be_over() {
    for (at, is_lie) in [(105, false), (120, true), (1_900, true), (2_200, false)] {
        let mut book = granted();
        keeps_alive(&mut book, at, at + 10, 0);
        assert_eq!(is_found(&book), is_lie, "{at}");
        let mut book = granted();
        time_to_live(&mut book, at, -1, 0, &[]);
        assert_eq!(is_found(&book), is_lie, "{at}");
    }
    let mut book = granted();
    book.history.reigns.push(Reign { term: Term(2), leader: NodeId(2), from: Duration::from_millis(150) });
    keeps_alive(&mut book, 200, 210, 0);
    assert!(is_found(&book));
    assert!(!is_found_within(&book, &Limits { leader_doubt: ELECTION_TIMEOUT, ..limits() }));
}

#[test]
fn a_lease_with_another_time_or_that_never_was() {
    let mut book = granted();
    keeps_alive(&mut book, 200, 210, 3);
    assert!(is_found(&book));
    for (ttl, granted_ttl, is_lie) in [(1, 2, false), (3, 2, true), (1, 5, true), (-1, 2, true)] {
        let mut book = granted();
        time_to_live(&mut book, 200, ttl, granted_ttl, &[]);
        assert_eq!(is_found(&book), is_lie, "{ttl} {granted_ttl}");
    }
    let mut book = granted();
    book.call(1, 200, 210, Request::KeepAlive(8), Answer::KeepAlive(2));
    assert!(is_found(&book));
}

#[test]
fn keys_of_a_lease_that_are_not_so() {
    let cases: [(&[&str], bool); 4] = [(&["k"], false), (&[], true), (&["k", "x"], true), (&["x"], true)];
    for (keys, is_lie) in cases {
        let mut book = granted();
        book.write(1, 120, 130, put("k", "a", 7));
        book.write(1, 140, 150, put("x", "b", 0));
        time_to_live(&mut book, 200, 1, 2, keys);
        assert_eq!(is_found(&book), is_lie, "{keys:?}");
    }
}

#[test]
fn a_key_that_outlives_its_lease() {
    for (revision, is_lie) in [(2, false), (3, true)] {
        let mut book = granted();
        book.write(1, 120, 130, put("k", "a", 7));
        book.write(1, 140, 150, REVOKE);
        let kv = KeyValue { key: "k".into(), lease: 7, ..KeyValue::default() };
        let answer = Answer::Range(RangeResult { kvs: vec![kv], more: false, count: 1 }, revision);
        let range = RangeRequest { range: requests::one("k".into()), ..RangeRequest::default() };
        book.call(2, 200, 210, Request::Range { range, serializable: false }, answer);
        assert_eq!(is_found(&book), is_lie, "{revision}");
    }
}

fn breaks_locks(book: &Book) -> bool {
    locks::check(&book.history, &Replay::of(&book.history).unwrap(), &limits()).is_err()
}

/// What is done under a lock.
fn guarded(place: &'static str, created: i64) -> Command {
    let compare = vec![requests::created_at(place.into(), created)];
    let success = vec![RequestOp::Put(requests::put("guarded".into(), "a".into(), 0))];
    Command::Txn(TxnRequest { compare, success, failure: Vec::new() })
}

#[test]
fn a_lock_that_is_taken_from_its_holder() {
    for (end, is_lie) in [(1_000, true), (2_090, true), (2_200, false)] {
        let mut book = granted();
        book.write(1, 120, 130, take("line/7", "a", 7));
        book.entry(end, &REVOKE);
        assert_eq!(breaks_locks(&book), is_lie, "{end}");
    }
    for (end, is_lie) in [(2_200, true), (3_600, false)] {
        let mut book = granted();
        book.write(1, 120, 130, take("lock", "a", 7));
        keeps_alive(&mut book, 1_500, 1_510, 2);
        book.entry(end, &REVOKE);
        assert_eq!(breaks_locks(&book), is_lie, "{end}");
    }
}

#[test]
fn a_lock_with_two_holders() {
    let line = || {
        let mut book = granted();
        book.write(2, 115, 118, Command::LeaseGrant { id: 8, ttl: 2 });
        book.write(1, 120, 130, take("line/7", "a", 7));
        book.write(2, 140, 150, take("line/8", "a", 8));
        book
    };
    let mut book = line();
    book.write(1, 160, 170, guarded("line/7", 2));
    assert!(!breaks_locks(&book));
    let mut book = line();
    book.write(2, 160, 170, guarded("line/8", 3));
    assert!(breaks_locks(&book), "the second in line writes");
    let mut book = line();
    book.write(1, 160, 170, REVOKE);
    book.write(2, 180, 190, guarded("line/8", 3));
    assert!(!breaks_locks(&book));
    book.write(1, 200, 210, guarded("line/7", 2));
    assert!(!breaks_locks(&book), "who lost the lock writes nothing");
}
