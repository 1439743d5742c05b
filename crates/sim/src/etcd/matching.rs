//! Which call became which entry of the log.
//!
//! An entry tells its command and the member that proposed it, not the client. So a call is matched by these, by its
//! answer, and by time. Clients make the values of their puts unique, so that there is a choice for commands only that say
//! the same (deletions, revocations, compactions); then the call that ended first takes the entry that was applied first,
//! which leaves nobody out who could be served. What is left goes to calls whose outcome nobody knows.

use std::collections::BTreeMap;

use bytes::Bytes;
use kontiki_kv::{Command, Reply};
use kontiki_raft::NodeId;

use super::history::{Answer, Call, History, Request};
use super::replay::Step;

/// Calls and steps, each to its other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// For each call, its step.
    pub step_of: Vec<Option<usize>>,
    /// For each step, its call.
    pub call_of: Vec<Option<usize>>,
}

/// Calls and steps that could be one another's.
#[derive(Debug, Default)]
struct Group {
    /// In the order of the log, which is that of time.
    steps: Vec<usize>,
    /// Calls with a definite answer, in the order of their invocations.
    answered: Vec<usize>,
    /// Calls whose outcome nobody knows, likewise.
    unknown: Vec<usize>,
}

/// The member asked, and the command's bytes.
type Name = (NodeId, Bytes);

impl Matching {
    /// Finds out.
    #[must_use]
    pub fn of(history: &History, steps: &[Step]) -> Matching {
        let calls = &history.calls;
        let mut matching = Matching { step_of: vec![None; calls.len()], call_of: vec![None; steps.len()] };
        let mut groups: BTreeMap<Name, Group> = BTreeMap::new();
        // Of a lease without a name that was not granted for certain, nobody was told the name that the member chose.
        let mut nameless: BTreeMap<NodeId, Group> = BTreeMap::new();
        for (number, step) in steps.iter().enumerate() {
            groups.entry((step.proposer, name(&step.command, None))).or_default().steps.push(number);
        }
        for number in by_invocation(calls) {
            let call = &calls[number];
            let Request::Write(command) = &call.request else { continue };
            let group = match (command, &call.answer) {
                (Command::LeaseGrant { id: 0, .. }, Answer::Unknown(_) | Answer::Refused(_)) => {
                    Some(nameless.entry(call.member).or_default())
                }
                _ => groups.get_mut(&(call.member, name(command, Some(&call.answer)))),
            };
            // Without an entry of that name there is nothing to match, and nothing is lost.
            let Some(group) = group else { continue };
            match &call.answer {
                Answer::Written(..) | Answer::Refused(_) => group.answered.push(number),
                Answer::Unknown(_) => group.unknown.push(number),
                Answer::NotDone(_)
                | Answer::Range(..)
                | Answer::TxnRead(..)
                | Answer::KeepAlive(_)
                | Answer::TimeToLive(_) => {}
            }
        }
        for group in groups.values() {
            matching.settle_answered(group, calls, steps);
            matching.settle_unknown(group, calls, steps);
        }
        for (member, mut group) in nameless {
            let grant = |step: &Step| step.proposer == member && matches!(step.command, Command::LeaseGrant { .. });
            group.steps = (0..steps.len()).filter(|number| grant(&steps[*number])).collect();
            matching.settle_answered(&group, calls, steps);
            matching.settle_unknown(&group, calls, steps);
        }
        matching
    }

    fn join(&mut self, call: usize, step: usize) {
        self.step_of[call] = Some(step);
        self.call_of[step] = Some(call);
    }

    fn settle_answered(&mut self, group: &Group, calls: &[Call], steps: &[Step]) {
        let mut waiting = group.answered.iter().copied().peekable();
        let mut open: Vec<usize> = Vec::new();
        for &number in &group.steps {
            let step = &steps[number];
            if self.call_of[number].is_some() {
                continue;
            }
            while let Some(call) = waiting.next_if(|call| calls[*call].invoked <= step.at) {
                open.push(call);
            }
            open.retain(|call| calls[*call].ended >= step.at);
            let agrees = |call: &usize| agrees(&calls[*call].answer, step);
            let first = open.iter().copied().filter(agrees).min_by_key(|call| (calls[*call].ended, *call));
            if let Some(call) = first {
                open.retain(|other| *other != call);
                self.join(call, number);
            }
        }
    }

    /// Such a call may be carried out long after the client gave up, or never.
    fn settle_unknown(&mut self, group: &Group, calls: &[Call], steps: &[Step]) {
        let mut waiting = group.unknown.iter().copied().peekable();
        for &number in &group.steps {
            let step = &steps[number];
            if self.call_of[number].is_none()
                && let Some(call) = waiting.next_if(|call| calls[*call].invoked <= step.at)
            {
                self.join(call, number);
            }
        }
    }
}

fn by_invocation(calls: &[Call]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..calls.len()).collect();
    order.sort_by_key(|call| calls[*call].invoked);
    order
}

/// What call and entry have in common. A member may raise the time of a lease, and chooses an identity where none is given.
fn name(command: &Command, answer: Option<&Answer>) -> Bytes {
    match (command, answer) {
        (Command::LeaseGrant { .. }, Some(Answer::Written(Reply::LeaseGrant { id, .. }, _))) => {
            Command::LeaseGrant { id: *id, ttl: 0 }.encode()
        }
        (Command::LeaseGrant { id, .. }, _) => Command::LeaseGrant { id: *id, ttl: 0 }.encode(),
        (other, _) => other.encode(),
    }
}

fn agrees(answer: &Answer, step: &Step) -> bool {
    match (answer, &step.result) {
        (Answer::Written(reply, revision), Ok(expected)) => *revision == step.revision && reply == expected,
        (Answer::Refused(refusal), Err(expected)) => refusal == expected,
        _ => false,
    }
}
