//! Lies about the order of revisions, and about what can be read.

use std::time::Duration;

use kontiki_kv::{Command, OperationError, RangeResult, Reply};
use kontiki_world::Random;

use super::super::{known, revision_order};
use super::{finds, pick};
use crate::etcd::history::{Answer, Call, History, Request};
use crate::etcd::replay::Replay;
use crate::observation::Violation;

fn ordered(history: &History) -> Result<(), Violation> {
    revision_order::check(history, &Replay::of(history)?)
}

/// Numbers of the ranges that were answered.
fn ranges(history: &History, local: bool) -> impl Iterator<Item = usize> + '_ {
    (0..history.calls.len()).filter(move |number| match &history.calls[*number] {
        Call { request: Request::Range { serializable, .. }, answer: Answer::Range(..), .. } => *serializable == local,
        _ => false,
    })
}

/// A range that is asked and answered otherwise.
fn retell(history: &mut History, number: usize, wanted: i64, told: Answer) -> Option<()> {
    let call = &mut history.calls[number];
    let Request::Range { range, .. } = &mut call.request else { return None };
    range.revision = wanted;
    call.answer = told;
    Some(())
}

/// What anybody knew when a call was asked.
fn known_at(history: &History, number: usize) -> i64 {
    known::revisions(history).before(history.calls[number].invoked, 1)
}

#[test]
fn two_writes_of_one_revision() {
    finds(ordered, |history, chance| {
        let is_put = |number: &usize| matches!(history.calls[*number].answer, Answer::Written(Reply::Put(_), _));
        let (one, other) = {
            let puts: Vec<usize> = (0..history.calls.len()).filter(is_put).collect();
            (pick(chance, puts.iter().copied())?, pick(chance, puts.into_iter())?)
        };
        let revision = known::revision(&history.calls[other])?;
        let Answer::Written(_, told) = &mut history.calls[one].answer else { return None };
        (std::mem::replace(told, revision) != revision).then_some(())
    });
}

#[test]
fn a_client_that_is_shown_an_older_revision() {
    finds(ordered, |history, chance| {
        let newest = |number: &usize| {
            let earlier = history.calls[..*number].iter();
            let own =
                earlier.filter(|call| call.client == history.calls[*number].client && known::is_linearizable(call));
            own.filter_map(known::revision).max().unwrap_or(0)
        };
        let read = pick(chance, ranges(history, false).filter(|number| newest(number) > 1))?;
        let older = newest(&read) - 1;
        retell(history, read, 0, Answer::Range(RangeResult::default(), older))
    });
}

#[test]
fn a_member_that_forgets() {
    finds(ordered, |history, chance| {
        let shown = |number: &usize| {
            let call = &history.calls[*number];
            let before = |other: &&Call| other.member == call.member && other.ended < call.invoked;
            history.calls.iter().filter(before).filter_map(known::revision).max().unwrap_or(0)
        };
        let read = pick(chance, ranges(history, true).filter(|number| shown(number) > 1))?;
        let older = shown(&read) - 1;
        retell(history, read, 0, Answer::Range(RangeResult::default(), older))
    });
    let mut reborn = super::generate::history(3, 1_200);
    let mut chance = Random::new(1);
    let read = pick(&mut chance, ranges(&reborn, true).filter(|number| known_at(&reborn, *number) > 5)).unwrap();
    let Call { member, invoked, .. } = reborn.calls[read];
    retell(&mut reborn, read, 0, Answer::Range(RangeResult::default(), 1)).unwrap();
    reborn.lives.push((member, invoked - Duration::from_nanos(1)));
    ordered(&reborn).unwrap();
}

#[test]
fn a_refusal_without_reason() {
    finds(ordered, |history, chance| {
        let read = pick(chance, ranges(history, false).filter(|number| known_at(history, *number) > 1))?;
        let wanted = known_at(history, read);
        retell(history, read, wanted, Answer::Refused(OperationError::FutureRevision))
    });
    finds(ordered, |history, chance| {
        let read = pick(chance, ranges(history, chance.clone().one_in(2)))?;
        let compacted = Replay::of(history).unwrap().compacted_at(history.calls[read].ended);
        retell(history, read, compacted.max(1), Answer::Refused(OperationError::Compacted))
    });
    finds(ordered, |history, chance| {
        let read = pick(chance, ranges(history, false))?;
        retell(history, read, 0, Answer::Refused(OperationError::LeaseNotFound))
    });
}

#[test]
fn a_read_of_what_is_compacted() {
    finds(ordered, |history, chance| {
        let is_compaction = |call: &&Call| match (&call.request, &call.answer) {
            (Request::Write(Command::Compact { revision }), Answer::Written(..)) => *revision > 1,
            _ => false,
        };
        let first = history.calls.iter().find(is_compaction)?.clone();
        let Request::Write(Command::Compact { revision }) = first.request else { return None };
        let later = |number: &usize| history.calls[*number].invoked > first.ended;
        let read = pick(chance, ranges(history, false).filter(later))?;
        let newest = known::revision(&history.calls[read])?;
        retell(history, read, revision - 1, Answer::Range(RangeResult::default(), newest))
    });
}
