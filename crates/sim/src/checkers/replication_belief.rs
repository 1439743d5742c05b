//! What a leader believes to be on a follower's disk is there.
//!
//! A belief is about the leader's term: a follower that has left it may have replaced what it held, which the leader learns when
//! it hears of the newer term. While it leads, what it believes of a follower never falls, but to nothing where that one's disk
//! did lose something; and whoever is told to stand in its place holds its whole log.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_raft::{Body, GroupId, Index, LogPosition, NodeId, PeerStatus, RoleKind, Term};
use kontiki_transport::Frame;

use super::ensure;
use super::model::{Replica, Replicas};
use crate::observation::{Checker, CoreView, Observation, Violation};

const PROPERTY: &str = "replication belief";

/// Knows all logs.
#[derive(Debug, Default)]
pub(super) struct ReplicationBelief {
    replicas: Replicas<Term>,
    /// What each leader believed last.
    beliefs: BTreeMap<(GroupId, NodeId), Belief>,
    /// Who told whom to stand, in a turn whose end was not seen yet.
    told_to_stand: Vec<(GroupId, NodeId, NodeId)>,
}

#[derive(Debug, Default)]
struct Belief {
    term: Term,
    life: u64,
    /// Of each follower, since when it is a member and how much it holds.
    peers: BTreeMap<NodeId, (Index, Index)>,
}

impl ReplicationBelief {
    fn never_falls(
        &mut self,
        at: Duration,
        (group, member, life): (GroupId, NodeId, u64),
        now: &CoreView,
        peers: &[PeerStatus],
    ) -> Result<(), Violation> {
        let former = self.beliefs.entry((group, member)).or_default();
        if (former.term, former.life) != (now.term, life) {
            *former = Belief { term: now.term, life, peers: BTreeMap::new() };
        }
        for peer in peers {
            let known = former.peers.get(&peer.id).filter(|(session, _)| *session == peer.session);
            let lost = self.replicas.get(group, peer.id).is_some_and(Replica::was_wiped);
            let starts_anew = lost && peer.match_index == Index(0);
            ensure(starts_anew || known.is_none_or(|(_, index)| *index <= peer.match_index), PROPERTY, at, || {
                let (term, id, index) = (now.term, peer.id, peer.match_index);
                format!("{group}: {member}, leader of term {term}, believed that {id} holds {known:?}, and now {index}")
            })?;
            former.peers.insert(peer.id, (peer.session, peer.match_index));
        }
        Ok(())
    }

    /// Whoever was told to stand in this turn holds what the leader's log held at its beginning.
    fn successor_is_whole(
        &mut self,
        at: Duration,
        (group, member): (GroupId, NodeId),
        before: Option<&CoreView>,
    ) -> Result<(), Violation> {
        let told = std::mem::take(&mut self.told_to_stand);
        let Some(before) = before.filter(|before| before.role == RoleKind::Leader) else { return Ok(()) };
        for (_, _, to) in told.into_iter().filter(|told| (told.0, told.1) == (group, member)) {
            let Some(follower) = self.replicas.get(group, to) else { continue };
            if follower.term > before.term || !follower.whole || follower.was_wiped() {
                continue;
            }
            let last = before.last;
            ensure(follower.held_durably(last.index, last.term), PROPERTY, at, || {
                let (term, durable) = (before.term, follower.durable);
                format!(
                    "{group}: {member}, leader of term {term} with a log up to {last}, tells {to} to stand, whose log is durable up to {durable}"
                )
            })?;
        }
        Ok(())
    }
}

impl Checker for ReplicationBelief {
    fn property(&self) -> &'static str {
        PROPERTY
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        self.replicas.note_end(what);
        if let Observation::Forced { .. } = what {
            *self = ReplicationBelief::default();
        }
        if let Observation::Sent { from, to, frame: Frame::Raft { group, message, .. } } = what
            && message.body == Body::TimeoutNow
        {
            self.told_to_stand.push((*group, *from, *to));
        }
        let Observation::Turned { member, life, group, before, now, appended, peers, .. } = *what else {
            return Ok(());
        };
        self.successor_is_whole(at, (group, member), before)?;
        if let Some(now) = now.filter(|now| now.role == RoleKind::Leader) {
            self.never_falls(at, (group, member, life), now, peers)?;
        }
        self.replicas.of(group, member).turn(before.is_none(), now, appended);
        let (Some(now), Some(leader)) = (now, self.replicas.get(group, member)) else { return Ok(()) };
        for peer in peers {
            let index = peer.match_index;
            ensure(index <= now.last.index, PROPERTY, at, || {
                let (id, leads, last) = (peer.id, now.term, now.last);
                format!(
                    "{group}: {member}, leader of term {leads} with a log up to {last}, believes that {id} holds everything up to {index}"
                )
            })?;
            let Some(term) = leader.log.term_at(index) else { continue };
            // What a process did in the turn that it ended in was not seen, and after the loss of a disk never will be.
            let Some(follower) = self.replicas.get(group, peer.id) else { continue };
            if follower.term > now.term || !follower.whole || follower.was_wiped() {
                continue;
            }
            ensure(follower.held_durably(index, term), PROPERTY, at, || {
                let (entry, id, leads) = (LogPosition { term, index }, peer.id, now.term);
                let (held, durable) = (follower.log.term_at(index), follower.durable);
                format!(
                    "{group}: {member}, leader of term {leads}, believes that {id} holds everything up to {entry}; {id} has {held:?} there, and its log is durable up to {durable}"
                )
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kontiki_raft::Body;

    use super::super::script::Script;

    #[test]
    fn a_belief_that_falls_is_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.replicate(1, &["a"], &[2]);
        script.turn(1, |core| core.believe(2, 2));
        script.expect_none();
        script.turn(1, |core| core.believe(2, 1));
        script.expect("replication belief", "believed that n2 holds");
    }

    #[test]
    fn a_successor_that_lacks_something_is_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.replicate(1, &["a"], &[2]);
        script.turn(3, |core| core);
        script.say(1, 2, 1, Body::TimeoutNow);
        script.turn(1, |core| core);
        script.expect_none();
        script.say(1, 3, 1, Body::TimeoutNow);
        script.turn(1, |core| core);
        script.expect("replication belief", "tells n3 to stand");
    }

    #[test]
    fn a_belief_that_is_not_true_is_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.replicate(1, &["a"], &[2]);
        script.turn(1, |core| core.believe(2, 2));
        script.expect_none();
        script.turn(1, |core| core.believe(3, 1));
        script.expect("replication belief", "n1, leader of term 1, believes that n3 holds everything up to 1@1");
    }

    #[test]
    fn a_leader_of_the_past_may_believe_what_is_no_more() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.replicate(1, &["a"], &[2]);
        script.elect(3, 2, &[2, 3]);
        script.turn(2, |core| core.term(2).cut(1).append(2, ""));
        script.turn(1, |core| core.believe(2, 2));
        script.expect_none();
    }
}
