//! Who leads was elected by a quorum of the membership in force there (dissertation §3.4), by voters none of whose logs was
//! more complete than its own (§3.6.1).
//!
//! Only votes that were told count, each in the term for which it was given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kontiki_raft::{Body, GroupId, LogPosition, Message, NodeId, RoleKind, Term};
use kontiki_transport::Frame;

use super::ensure;
use super::majorities::is_quorum;
use crate::observation::{Checker, CoreView, Observation, Violation};

const PROPERTY: &str = "leaders are elected by a quorum";

/// So many candidatures are remembered: nobody is elected in older ones.
const CANDIDATURES: usize = 256;

/// Who stood in a term.
type Candidature = (GroupId, Term, NodeId);

/// What candidates asked, and what they were given.
#[derive(Debug, Default)]
pub(super) struct ElectedByQuorum {
    candidatures: BTreeMap<Candidature, Votes>,
}

#[derive(Debug, Default)]
struct Votes {
    /// Where the candidate's log ended when it asked.
    asked: Option<LogPosition>,
    voters: BTreeSet<NodeId>,
}

impl ElectedByQuorum {
    fn of(&mut self, candidature: Candidature) -> &mut Votes {
        if self.candidatures.len() >= CANDIDATURES {
            self.candidatures.pop_first();
        }
        self.candidatures.entry(candidature).or_default()
    }

    fn sent(
        &mut self,
        at: Duration,
        group: GroupId,
        (from, to): (NodeId, NodeId),
        message: &Message,
    ) -> Result<(), Violation> {
        match &message.body {
            Body::RequestVote(request) if !request.pre_vote => {
                let votes = self.of((group, message.term, from));
                votes.asked = votes.asked.max(Some(request.last));
                Ok(())
            }
            Body::RequestVoteReply(reply) if reply.granted && !reply.pre_vote => {
                let votes = self.of((group, message.term, to));
                votes.voters.insert(from);
                let asked = votes.asked;
                ensure(asked.is_none_or(|asked| reply.last <= asked), PROPERTY, at, || {
                    let (term, last) = (message.term, reply.last);
                    format!(
                        "{group}: {from}, whose log ends at {last}, votes in term {term} for {to}, whose ends at {asked:?}"
                    )
                })
            }
            _ => Ok(()),
        }
    }

    fn leads(
        &mut self,
        at: Duration,
        (group, member): (GroupId, NodeId),
        before: Option<&CoreView>,
        now: &CoreView,
    ) -> Result<(), Violation> {
        let votes = self.of((group, now.term, member));
        let voted = |voter| voter == member || votes.voters.contains(&voter);
        let elected = [Some(now), before].into_iter().flatten().any(|view| is_quorum(&view.configuration, voted));
        ensure(elected, PROPERTY, at, || {
            let (term, voters) = (now.term, &votes.voters);
            let (new, old) = (&now.configuration.voters, &now.configuration.outgoing);
            format!("{group}: {member} leads in term {term}, elected by {voters:?} of the voters {new:?} and {old:?}")
        })
    }
}

impl Checker for ElectedByQuorum {
    fn property(&self) -> &'static str {
        PROPERTY
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        match *what {
            Observation::Sent { from, to, frame: Frame::Raft { group, message, .. } } => {
                self.sent(at, *group, (from, to), message)
            }
            Observation::Turned { member, group, before, now: Some(now), .. }
                if now.role == RoleKind::Leader
                    && before.is_none_or(|before| (before.role, before.term) != (now.role, now.term)) =>
            {
                self.leads(at, (group, member), before, now)
            }
            Observation::Forced { .. } => {
                *self = ElectedByQuorum::default();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kontiki_raft::{Body, Index, LogPosition, RequestVote, RequestVoteReply, Term};

    use super::super::script::Script;

    #[test]
    fn a_leader_without_enough_votes_is_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.expect_none();
        script.elect(1, 2, &[1]);
        script.expect("leaders are elected by a quorum", "n1 leads in term 2, elected by {}");
    }

    #[test]
    fn votes_of_another_term_do_not_count() {
        let mut script = Script::begin(3);
        script.turn(1, |core| core.stand(1));
        script.grant(2, 1, 1);
        script.turn(1, |core| core.stand(2));
        script.turn(1, |core| core.lead(2));
        script.expect("leaders are elected by a quorum", "n1 leads in term 2");
    }

    #[test]
    fn a_vote_for_a_log_that_is_less_complete_is_found() {
        let mut script = Script::begin(3);
        let request = RequestVote { last: LogPosition::START, pre_vote: false, transfer: false };
        script.say(1, 2, 5, Body::RequestVote(request));
        let last = LogPosition { term: Term(3), index: Index(7) };
        script.say(2, 1, 5, Body::RequestVoteReply(RequestVoteReply { granted: true, pre_vote: false, last }));
        script.expect("leaders are elected by a quorum", "n2, whose log ends at 7@3, votes in term 5 for n1");
    }
}
