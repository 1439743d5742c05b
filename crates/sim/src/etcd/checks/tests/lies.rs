//! Lies about writes and reads, and states that went apart.

use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{Alarm, Command, HashKv, OperationError};
use kontiki_raft::{Index, NodeId};
use kontiki_world::Random;

use super::super::equal_states::{self, MemberState};
use super::super::{durability, known, linearizable};
use super::{append, book, finds, payload, pick};
use crate::etcd::history::{Answer, Call, History, Request};
use crate::etcd::model::Moment;
use crate::etcd::replay::Replay;
use crate::observation::Violation;

fn durable(history: &History) -> Result<(), Violation> {
    durability::check(history, &Replay::of(history)?)
}

fn linear(history: &History) -> Result<(), Violation> {
    linearizable::check(history, &Replay::of(history)?)
}

/// An acknowledged put, by its number.
fn acked_put(history: &History, chance: &mut Random) -> Option<usize> {
    let is_put = |call: &Call| match (&call.request, &call.answer) {
        (Request::Write(Command::Put(put)), Answer::Written(..)) => !put.value.is_empty(),
        _ => false,
    };
    pick(chance, (0..history.calls.len()).filter(|number| is_put(&history.calls[*number])))
}

#[test]
fn a_write_that_is_lost() {
    finds(durable, |history, chance| {
        let put = acked_put(history, chance)?;
        let entry = Replay::of(history).unwrap().step_of(put)?.index.0 as usize - 1;
        history.applied[entry].payload = Bytes::from_static(&[0]);
        Some(())
    });
}

#[test]
fn a_write_that_is_done_twice() {
    finds(durable, |history, chance| {
        let put = acked_put(history, chance)?;
        let entry = Replay::of(history).unwrap().step_of(put)?.index.0 as usize - 1;
        let (again, last) = (history.applied[entry].payload.clone(), history.applied.last()?.clone());
        append(history, last.at, last.term.0, again);
        Some(())
    });
}

#[test]
fn a_write_that_was_said_not_to_be_done() {
    finds(durable, |history, chance| {
        let put = acked_put(history, chance)?;
        history.calls[put].answer = Answer::NotDone("refused".into());
        Some(())
    });
    finds(durable, |history, chance| {
        let put = acked_put(history, chance)?;
        history.calls[put].answer = Answer::Refused(OperationError::LeaseNotFound);
        Some(())
    });
}

#[test]
fn a_write_that_nobody_asked_for() {
    finds(durable, |history, _| {
        let last = history.applied.last()?.clone();
        append(history, last.at, last.term.0, payload(1, 7, &book::put("k1", "nobody's", 0)));
        Some(())
    });
}

#[test]
fn a_write_with_a_wrong_revision_or_before_it_was_asked_for() {
    finds(durable, |history, chance| {
        let put = acked_put(history, chance)?;
        let Answer::Written(_, revision) = &mut history.calls[put].answer else { return None };
        *revision += 1;
        Some(())
    });
    finds(durable, |history, chance| {
        let put = acked_put(history, chance)?;
        let at = Replay::of(history).unwrap().step_of(put)?.at;
        let call = &mut history.calls[put];
        call.invoked = at + Duration::from_micros(1);
        call.ended = call.ended.max(call.invoked);
        Some(())
    });
}

/// Reads of the latest state, by their numbers.
fn latest_reads(history: &History) -> impl Iterator<Item = usize> + '_ {
    (0..history.calls.len()).filter(|number| match &history.calls[*number] {
        Call { request: Request::Range { range, serializable }, answer: Answer::Range(..), .. } => {
            !serializable && range.revision == 0
        }
        _ => false,
    })
}

fn answer_as_of(call: &mut Call, replay: &Replay, revision: i64) -> Option<()> {
    let Request::Range { range, .. } = &call.request else { return None };
    let found = replay.model.range(range, Moment { revision, compacted: -1 }).ok()?;
    call.answer = Answer::Range(found.to_result(), revision);
    Some(())
}

#[test]
fn a_stale_read() {
    finds(linear, |history, chance| {
        let known = known::revisions(history);
        let least = |number: &usize| known.before(history.calls[*number].invoked, 1);
        let read = pick(chance, latest_reads(history).filter(|number| least(number) > 1))?;
        let (replay, stale) = (Replay::of(history).unwrap(), least(&read) - 1);
        answer_as_of(&mut history.calls[read], &replay, stale)
    });
}

#[test]
fn a_read_of_what_is_not_written_yet() {
    finds(linear, |history, chance| {
        let replay = Replay::of(history).unwrap();
        let next = |number: &usize| replay.revision_at(history.calls[*number].ended) + 1;
        let newest = replay.model.revision();
        let read = pick(chance, latest_reads(history).filter(|number| next(number) <= newest))?;
        let future = next(&read);
        answer_as_of(&mut history.calls[read], &replay, future)
    });
}

#[test]
fn a_read_of_what_never_was() {
    let kvs = |call: &Call| matches!(&call.answer, Answer::Range(result, _) if !result.kvs.is_empty());
    let all =
        |history: &History| (0..history.calls.len()).filter(|number| kvs(&history.calls[*number])).collect::<Vec<_>>();
    finds(linear, |history, chance| {
        let read = pick(chance, all(history).into_iter())?;
        let Answer::Range(result, _) = &mut history.calls[read].answer else { return None };
        result.kvs[0].value = "never".into();
        Some(())
    });
    finds(linear, |history, chance| {
        let read = pick(chance, all(history).into_iter())?;
        let Answer::Range(result, _) = &mut history.calls[read].answer else { return None };
        result.kvs.pop();
        Some(())
    });
    finds(linear, |history, chance| {
        let calls = 0..history.calls.len();
        let txn = pick(chance, calls.filter(|number| matches!(history.calls[*number].answer, Answer::TxnRead(..))))?;
        let Answer::TxnRead(reply, _) = &mut history.calls[txn].answer else { return None };
        reply.succeeded = !reply.succeeded;
        Some(())
    });
}

#[test]
fn states_that_went_apart() {
    let state = |member, applied, digest, hash| MemberState {
        member: NodeId(member),
        at: Duration::ZERO,
        applied: Index(applied),
        digest,
        hash: Some(HashKv { hash, compact_revision: -1, hash_revision: 5 }),
    };
    let hashless = |state: MemberState| MemberState { hash: None, ..state };
    let same = [state(1, 7, 70, 1), state(2, 7, 70, 1), hashless(state(3, 8, 80, 9)), state(1, 9, 90, 1)];
    equal_states::check(&same).unwrap();
    assert!(equal_states::check(&[state(1, 7, 70, 1), state(2, 7, 71, 1)]).is_err());
    assert!(equal_states::check(&[state(1, 7, 70, 1), state(2, 8, 80, 2)]).is_err());
    assert!(equal_states::check(&[state(1, 7, 70, 1), hashless(state(1, 8, 80, 1)), state(2, 7, 9, 1)]).is_err());
}

#[test]
fn a_grant_of_which_nobody_was_told_the_name() {
    let grant = |id| Command::LeaseGrant { id, ttl: 2 };
    let refused = Answer::Refused(OperationError::NoSpace);
    for (answer, is_lie) in [(refused.clone(), false), (Answer::NotDone("refused".into()), true)] {
        let mut book = book::Book::default();
        book.entry(0, &Command::Alarm { raise: true, member: 1, alarm: Alarm::NoSpace });
        assert_eq!(book.entry(10, &grant(77)), refused);
        book.call(1, 5, 20, Request::Write(grant(0)), answer);
        assert_eq!(durable(&book.history).is_err(), is_lie);
    }
    let mut book = book::Book::default();
    book.entry(10, &grant(77));
    book.call(1, 5, 8, Request::Write(grant(0)), Answer::Unknown("no answer".into()));
    durable(&book.history).unwrap();
    book.entry(30, &grant(78));
    assert!(durable(&book.history).is_err(), "one call, two leases");
}
