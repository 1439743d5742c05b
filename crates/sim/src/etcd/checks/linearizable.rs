//! Reads and writes take effect at one moment between question and answer. The answers' revisions say which: each must show
//! the state of its revision, and that revision must be neither older than what anybody knew before the question, nor newer
//! than what any member had applied before the answer.
//!
//! Serializable reads may be old, but they too must show a state that was.

use kontiki_kv::{RangeRequest, RangeResult, TxnReply, TxnRequest};

use super::{known, shown_by};
use crate::etcd::history::{Answer, Call, History, Request};
use crate::etcd::model::Moment;
use crate::etcd::replay::Replay;
use crate::observation::Violation;

const PROPERTY: &str = "linearizability";

/// Checks it.
///
/// # Errors
/// Where it does not hold.
pub fn check(history: &History, replay: &Replay) -> Result<(), Violation> {
    let revisions = known::revisions(history);
    for (number, call) in history.calls.iter().enumerate() {
        let Some(revision) = known::revision(call) else { continue };
        let newest = replay.revision_at(call.ended);
        if revision < 1 || revision > newest {
            return Err(shown_by(PROPERTY, call, format_args!("the newest revision anywhere was {newest}")));
        }
        let least = revisions.before(call.invoked, 1);
        if known::is_linearizable(call) && revision < least {
            return Err(shown_by(PROPERTY, call, format_args!("revision {least} was known before the question")));
        }
        match (&call.request, &call.answer) {
            (Request::Range { range, .. }, Answer::Range(result, _)) => {
                check_range(call, range, result, revision, replay)?
            }
            (Request::TxnRead(txn), Answer::TxnRead(reply, _)) => check_txn(call, txn, reply, revision, replay)?,
            (Request::Write(_), Answer::Written(reply, _)) => {
                let expected = replay.step_of(number).map(|step| &step.result);
                if expected != Some(&Ok(reply.clone())) {
                    return Err(shown_by(PROPERTY, call, format_args!("the log gives {expected:?}")));
                }
            }
            _ => return Err(shown_by(PROPERTY, call, "this is an answer to another question")),
        }
    }
    Ok(())
}

/// What was compacted at the time of the answer is for another check.
fn moment(revision: i64) -> Moment {
    Moment { revision, compacted: -1 }
}

fn check_range(
    call: &Call,
    request: &RangeRequest,
    result: &RangeResult,
    revision: i64,
    replay: &Replay,
) -> Result<(), Violation> {
    let expected = replay.model.range(request, moment(revision));
    match expected {
        Ok(found) if found.is(result) => Ok(()),
        expected => {
            let expected = expected.map(|found| found.to_result());
            Err(shown_by(PROPERTY, call, format_args!("at revision {revision} there was {expected:?}")))
        }
    }
}

fn check_txn(
    call: &Call,
    request: &TxnRequest,
    reply: &TxnReply,
    revision: i64,
    replay: &Replay,
) -> Result<(), Violation> {
    let expected = replay.model.txn_read(request, moment(revision));
    if expected.as_ref() == Ok(reply) {
        return Ok(());
    }
    Err(shown_by(PROPERTY, call, format_args!("at revision {revision} there was {expected:?}")))
}
