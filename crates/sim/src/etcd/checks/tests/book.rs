//! Histories written by hand.

use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{Command, TxnRequest};
use kontiki_raft::NodeId;

use super::{append, payload, requests};
use crate::etcd::history::{Answer, Call, History, Request};
use crate::etcd::model::Model;

/// Times are in milliseconds.
#[derive(Default)]
pub(super) struct Book {
    pub(super) history: History,
    pub(super) model: Model,
}

impl Book {
    /// A call that is answered.
    pub(super) fn call(&mut self, client: u64, from: u64, to: u64, request: Request, answer: Answer) {
        let (invoked, ended) = (Duration::from_millis(from), Duration::from_millis(to));
        self.history.calls.push(Call { client, member: NodeId(1), invoked, ended, request, answer });
    }

    /// A write that is applied at once, and answered as it should be.
    pub(super) fn write(&mut self, client: u64, from: u64, to: u64, command: Command) {
        let answer = self.entry(from, &command);
        self.call(client, from, to, Request::Write(command), answer);
    }

    /// An entry of the log.
    pub(super) fn entry(&mut self, at: u64, command: &Command) -> Answer {
        append(&mut self.history, Duration::from_millis(at), 1, payload(1, 0, command));
        let outcome = self.model.apply(command);
        outcome.result.map_or_else(Answer::Refused, |reply| Answer::Written(reply, outcome.revision))
    }
}

pub(super) fn put(key: &'static str, value: &'static str, lease: i64) -> Command {
    Command::Put(requests::put(key.into(), value.into(), lease))
}

pub(super) fn take(key: &'static str, value: &'static str, lease: i64) -> Command {
    let key = Bytes::from(key);
    let compare = vec![requests::created_at(key.clone(), 0)];
    let success = vec![kontiki_kv::RequestOp::Put(requests::put(key, value.into(), lease))];
    Command::Txn(TxnRequest { compare, success, failure: Vec::new() })
}
