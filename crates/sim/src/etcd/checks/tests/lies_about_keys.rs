//! Lies that show without revisions, key by key.

use kontiki_kv::{Command, DeleteRangeReply, DeleteRangeRequest, KeyValue, RangeRequest, RangeResult, Reply, TxnReply};

use super::super::per_key;
use super::book::{Book, put, take};
use super::requests;
use crate::etcd::history::{Answer, Request};
use crate::etcd::replay::Replay;

fn is_found(book: &Book) -> bool {
    per_key::check(&book.history, &Replay::of(&book.history).unwrap()).is_err()
}

fn reads(book: &mut Book, at: u64, found: Option<&'static str>) {
    let range = RangeRequest { range: requests::one("k".into()), ..RangeRequest::default() };
    let kvs: Vec<KeyValue> = found
        .map(|value| KeyValue { key: "k".into(), value: value.into(), ..KeyValue::default() })
        .into_iter()
        .collect();
    let answer = Answer::Range(RangeResult { count: kvs.len() as i64, kvs, more: false }, 1);
    book.call(9, at, at + 1, Request::Range { range, serializable: false }, answer);
}

/// Two puts, one after the other.
fn puts() -> Book {
    let mut book = Book::default();
    book.write(1, 0, 10, put("k", "a", 0));
    book.write(2, 20, 30, put("k", "b", 0));
    book
}

#[test]
fn a_value_that_was_replaced() {
    for (value, is_lie) in [(Some("b"), false), (Some("a"), true), (None, true), (Some("never"), true)] {
        let mut book = puts();
        reads(&mut book, 40, value);
        assert_eq!(is_found(&book), is_lie, "{value:?}");
    }
}

#[test]
fn a_value_that_comes_back() {
    let mut book = Book::default();
    let command = put("k", "b", 0);
    book.write(1, 0, 10, put("k", "a", 0));
    book.call(2, 20, 90, Request::Write(command.clone()), Answer::Unknown("no answer".into()));
    book.entry(50, &command);
    reads(&mut book, 55, Some("b"));
    assert!(!is_found(&book));
    reads(&mut book, 60, Some("a"));
    assert!(is_found(&book));
}

#[test]
fn a_key_that_is_created_or_deleted_twice() {
    let created = Answer::Written(Reply::Txn(TxnReply { succeeded: true, ..TxnReply::default() }), 3);
    let mut book = Book::default();
    book.write(1, 0, 10, take("k", "a", 0));
    book.call(2, 20, 30, Request::Write(take("k", "b", 0)), created);
    assert!(is_found(&book));

    let deletion = DeleteRangeRequest { range: requests::one("k".into()), prev_kv: false };
    let mut book = puts();
    book.write(1, 40, 50, Command::DeleteRange(deletion.clone()));
    assert!(!is_found(&book));
    let deleted = Reply::DeleteRange(DeleteRangeReply { deleted: 1, prev_kvs: Vec::new() });
    book.call(1, 60, 70, Request::Write(Command::DeleteRange(deletion)), Answer::Written(deleted, 5));
    assert!(is_found(&book));
}
