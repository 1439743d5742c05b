//! A member gives one vote in a term, whatever becomes of its process, and is never found in an earlier term than one in which
//! it spoke.
//!
//! Only what it told others counts: what it had not written yet when it crashed, nobody knows.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_raft::{Body, GroupId, Message, NodeId, Term};
use kontiki_transport::Frame;

use super::ensure;
use crate::observation::{Checker, CoreView, End, Observation, Violation};

const PROPERTY: &str = "votes and terms are durable before they are told";

/// What each member told of its term and its votes.
#[derive(Debug, Default)]
pub(super) struct VotesDurable {
    told: BTreeMap<(GroupId, NodeId), Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// The newest term in which it spoke.
    term: Term,
    votes: BTreeMap<Term, NodeId>,
}

/// Of each member so many votes are remembered: nobody asks for older ones.
const VOTES: usize = 16;

/// The term of a message that its sender has entered; none where it is only proposed (§9.6).
fn spoken_in(message: &Message) -> Option<Term> {
    let proposed = match &message.body {
        Body::RequestVote(request) => request.pre_vote,
        Body::RequestVoteReply(reply) => reply.pre_vote && reply.granted,
        _ => false,
    };
    (!proposed).then_some(message.term)
}

/// To whom the sender of a message has given its vote, as the message says.
fn vote_in(from: NodeId, to: NodeId, message: &Message) -> Option<NodeId> {
    match &message.body {
        Body::RequestVote(request) => (!request.pre_vote).then_some(from),
        Body::RequestVoteReply(reply) => (!reply.pre_vote && reply.granted).then_some(to),
        _ => None,
    }
}

impl VotesDurable {
    fn sent(
        &mut self,
        at: Duration,
        group: GroupId,
        (from, to): (NodeId, NodeId),
        message: &Message,
    ) -> Result<(), Violation> {
        let Some(term) = spoken_in(message) else { return Ok(()) };
        let told = self.told.entry((group, from)).or_default();
        told.term = told.term.max(term);
        let Some(candidate) = vote_in(from, to, message) else { return Ok(()) };
        if told.votes.len() >= VOTES && told.votes.keys().next().is_some_and(|oldest| *oldest < term) {
            told.votes.pop_first();
        }
        let first = *told.votes.entry(term).or_insert(candidate);
        ensure(first == candidate, PROPERTY, at, || {
            format!("{group}: {from} voted for {candidate} in term {term}, and had voted for {first} in the same term")
        })
    }

    fn turned(
        &mut self,
        at: Duration,
        (group, member, life): (GroupId, NodeId, u64),
        now: &CoreView,
    ) -> Result<(), Violation> {
        let Some(told) = self.told.get(&(group, member)) else { return Ok(()) };
        ensure(now.term >= told.term, PROPERTY, at, || {
            let (now, told) = (now.term, told.term);
            format!("{group}: {member} is in term {now} in its life {life}, and had spoken in term {told}")
        })?;
        if now.term > told.term {
            return Ok(());
        }
        let Some(vote) = told.votes.get(&now.term) else { return Ok(()) };
        ensure(now.voted_for == Some(*vote), PROPERTY, at, || {
            let (term, voted_for) = (now.term, now.voted_for);
            format!(
                "{group}: {member} told {vote} that it has its vote in term {term}; in life {life} it knows of {voted_for:?}"
            )
        })
    }
}

impl Checker for VotesDurable {
    fn property(&self) -> &'static str {
        PROPERTY
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        match what {
            Observation::Sent { from, to, frame: Frame::Raft { group, message, .. } } => {
                self.sent(at, *group, (*from, *to), message)
            }
            Observation::Turned { member, life, group, now: Some(now), .. } => {
                self.turned(at, (*group, *member, *life), now)
            }
            Observation::Ended { member, end: End::Wiped, .. } => {
                self.told.retain(|(_, id), _| id != member);
                Ok(())
            }
            Observation::Forced { member } => {
                self.told.retain(|(_, id), _| id == member);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;

    #[test]
    fn two_votes_in_a_term_are_found() {
        let mut script = Script::begin(3);
        script.turn(1, |core| core.stand(1));
        script.turn(2, |core| core.stand(1));
        script.grant(3, 1, 1);
        script.expect_none();
        script.crash(3);
        script.start(3);
        script.grant(3, 2, 1);
        script.expect(
            "votes and terms are durable before they are told",
            "n3 voted for n2 in term 1, and had voted for n1",
        );
    }

    #[test]
    fn a_vote_that_is_forgotten_is_found() {
        let mut script = Script::begin(3);
        script.grant(3, 1, 1);
        script.crash(3);
        script.start(3);
        script.turn(3, |core| core.forget_vote());
        script.expect("votes and terms are durable before they are told", "n3 told n1 that it has its vote in term 1");
    }

    #[test]
    fn a_term_that_falls_is_found() {
        let mut script = Script::begin(3);
        script.grant(3, 1, 4);
        script.crash(3);
        script.start(3);
        script.turn(3, |core| core.fall_to_term(3));
        script.expect(
            "votes and terms are durable before they are told",
            "n3 is in term 3 in its life 2, and had spoken in term 4",
        );
    }

    #[test]
    fn who_lost_its_disk_may_have_forgotten() {
        let mut script = Script::begin(3);
        script.grant(3, 1, 4);
        script.wipe(3);
        script.start(3);
        script.turn(3, |core| core.term(2));
        script.expect_none();
    }
}
