//! What some client knew at a time: the newest revision and the newest compaction that anybody had been told of.
//!
//! Whoever asks after that, with a question that wants the latest state, must not be shown an older one.

use std::time::Duration;

use kontiki_kv::Command;

use crate::etcd::history::{Answer, Call, History, Request, Told};

/// A number that grows with time.
#[derive(Clone, Debug, Default)]
pub(super) struct Growing(Vec<(Duration, i64)>);

impl Growing {
    pub(super) fn of(mut told: Vec<(Duration, i64)>) -> Growing {
        told.sort_unstable();
        let mut greatest = i64::MIN;
        told.retain_mut(|(_, number)| {
            let grows = *number > greatest;
            greatest = greatest.max(*number);
            grows
        });
        Growing(told)
    }

    /// The greatest number that was told before a time; `none` where there was none.
    ///
    /// What is told at the very time of a question may have been told after it.
    pub(super) fn before(&self, time: Duration, none: i64) -> i64 {
        let count = self.0.partition_point(|(at, _)| *at < time);
        count.checked_sub(1).and_then(|last| self.0.get(last)).map_or(none, |(_, number)| *number)
    }
}

/// Revisions that clients were told of, by whatever answer: each was applied by some member then, and thus committed.
pub(super) fn revisions(history: &History) -> Growing {
    let calls = history.calls.iter().filter_map(|call| revision(call).map(|revision| (call.ended, revision)));
    let told = history.watches.iter().flat_map(|session| &session.told);
    let watched = told.filter_map(|(at, told)| {
        let revision = match told {
            Told::Created(revision) | Told::Progress(revision) => Some(*revision),
            Told::Events(events) => events.last().map(|event| event.kv.mod_revision),
            Told::Canceled(_) => None,
        };
        revision.map(|revision| (*at, revision))
    });
    Growing::of(calls.chain(watched).collect())
}

/// Compactions that were acknowledged.
pub(super) fn compactions(history: &History) -> Growing {
    let told = history.calls.iter().filter_map(|call| match (&call.request, &call.answer) {
        (Request::Write(Command::Compact { revision }), Answer::Written(..)) => Some((call.ended, *revision)),
        _ => None,
    });
    Growing::of(told.collect())
}

/// The revision of an answer's header.
pub(super) fn revision(call: &Call) -> Option<i64> {
    match &call.answer {
        Answer::Range(_, revision) | Answer::TxnRead(_, revision) | Answer::Written(_, revision) => Some(*revision),
        Answer::KeepAlive(_) | Answer::TimeToLive(_) | Answer::Refused(_) | Answer::NotDone(_) | Answer::Unknown(_) => {
            None
        }
    }
}

/// Whether the answer must show the latest state.
pub(super) fn is_linearizable(call: &Call) -> bool {
    match &call.request {
        Request::Range { serializable, .. } => !serializable,
        Request::TxnRead(_) | Request::Write(_) => true,
        Request::KeepAlive(_) | Request::TimeToLive(_) => false,
    }
}
