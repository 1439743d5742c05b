//! Changing the membership (dissertation §4): joint consensus, learners, removal, and whose life of a disk is a member.
//!
//! One rule orders everything: a leader appends a configuration only when the one before is committed and an entry of
//! its own term is (bugs M01, M02). So at most one configuration is uncommitted, neighbours always have a quorum in
//! common (or are joint), and whoever is elected has every committed one. Users' changes pass through
//! [`Node::on_change_membership`], everything that a leader does by itself through `tend_membership`, which looks at the
//! state alone, so that it does not matter which leader finds it (bug M27): a joint configuration that is applied is
//! left, a learner that has caught up and is to be promoted is promoted, a disk that answered for the first time is
//! bound to its member.

use std::sync::Arc;

use crate::configuration::{Attributes, ChangeRefusal, Configuration, Exclusion, MemberChange};
use crate::decision::{Decision, Ignored};
use crate::interface::{Content, Effect};
use crate::message::{Body, Message};
use crate::node::Node;
use crate::planted::planted;
use crate::progress::Progress;
use crate::role::Role;
use crate::types::{Incarnation, Index, NodeId};

/// The leader's side.
impl Node {
    /// A driver asks for a change.
    pub(crate) fn on_change_membership(&mut self, changes: &[MemberChange], effects: &mut Vec<Effect>) {
        match self.changed_membership(changes) {
            Ok(next) => self.append_configuration(next, effects),
            Err(refusal) => effects.push(Effect::ChangeRefused(refusal)),
        }
    }

    fn changed_membership(&self, changes: &[MemberChange]) -> Result<Configuration, ChangeRefusal> {
        let Role::Leader(leader) = &self.role else { return Err(ChangeRefusal::NotLeader(self.leader())) };
        let present = self.membership.current();
        if leader.transfer.is_some() {
            return Err(ChangeRefusal::Transferring);
        }
        if !leader.committed_in_own_term && !planted(34) {
            return Err(ChangeRefusal::TooEarly);
        }
        if self.membership.index() > self.commit_index || present.is_joint() {
            return Err(ChangeRefusal::Unfinished(self.membership.index()));
        }
        let next = present.changed(changes)?;
        let promoted = next.voters.iter().filter(|id| present.is_learner(**id));
        for learner in promoted.copied() {
            if self.incarnation().is_some() && present.attributes(learner).incarnation.is_none() {
                return Err(ChangeRefusal::Unbound(learner));
            }
            let matched = leader.peer(learner).map_or(Index(0), |peer| peer.match_index);
            let (last, timeout) = (self.log.last_index(), u64::from(self.settings.election_timeout_ticks));
            // §4.2.1: a vote for one that lags would hold up commitment.
            if !leader.peer(learner).is_some_and(|peer| peer.has_caught_up(last, leader.clock, timeout)) {
                return Err(ChangeRefusal::Behind { learner, matched, last });
            }
        }
        Ok(next)
    }

    /// What a leader does about the membership by itself.
    pub(crate) fn tend_membership(&mut self, effects: &mut Vec<Effect>) {
        let Role::Leader(leader) = &self.role else { return };
        let settled = self.membership.index() <= self.commit_index && leader.committed_in_own_term;
        if !settled || leader.transfer.is_some() {
            return;
        }
        let present = self.membership.current();
        if present.is_joint() {
            // §4.3: the joint configuration is committed and applied here, so the new half may go on alone.
            let own = self.log.term_at(self.membership.index()) == Some(self.current_term);
            if self.applied >= self.membership.index() && (own || !planted(36)) {
                self.append_configuration(present.left(), effects);
            }
        } else if let Some(next) = self.with_bound_incarnations().or_else(|| self.with_promotions()) {
            self.append_configuration(next, effects);
        }
    }

    /// One learner that asked for it and has caught up votes.
    fn with_promotions(&self) -> Option<Configuration> {
        let present = self.membership.current();
        let asking = present.learners.iter().filter(|id| present.attributes(**id).promote);
        asking.copied().find_map(|id| self.changed_membership(&[MemberChange::Promote(id)]).ok())
    }

    /// The lives that have answered, where none was known yet (bugs M28, M29).
    fn with_bound_incarnations(&self) -> Option<Configuration> {
        let Role::Leader(leader) = &self.role else { return None };
        let present = self.membership.current();
        let answered = leader.peers.iter().map(|peer| (peer.id, peer.incarnation));
        let mut next = None;
        for (id, incarnation) in answered.chain([(self.id, self.incarnation())]) {
            let attributes = present.attributes(id);
            if incarnation.is_some() && attributes.incarnation.is_none() && present.is_member(id) {
                let next = next.get_or_insert_with(|| Configuration::clone(present));
                next.set_attributes(id, Attributes { incarnation, ..attributes });
            }
        }
        next
    }

    fn append_configuration(&mut self, next: Configuration, effects: &mut Vec<Effect>) {
        if next.lease != self.membership.current().lease
            && let Role::Leader(leader) = &mut self.role
        {
            leader.forget_promises(); // they were given on other terms
        }
        let next = Arc::new(next);
        self.append_own(1, 0, Content::Configuration(Arc::clone(&next)), effects);
        self.membership.append(self.log.last_index(), next);
        self.note_membership();
    }

    /// Another configuration is in force: what follows from it follows here, and nowhere else (bug M13).
    pub(crate) fn note_membership(&mut self) {
        let at = self.membership.index();
        let configuration = Arc::clone(self.membership.current());
        self.decide(|| Decision::MembershipChanged { at, joint: configuration.is_joint() });
        let newer = self.aside.exclusion.is_none_or(|exclusion| at > exclusion.at());
        if self.excluded && newer && configuration.is_member(self.id) && !self.is_stranger() {
            self.excluded = false;
            self.aside.exclusion = None;
        }
        let last = self.log.last_index();
        let Role::Leader(leader) = &mut self.role else { return };
        let before = std::mem::take(&mut leader.peers);
        let gone = before.iter().map(|peer| peer.id).filter(|id| !configuration.is_member(*id));
        leader.departing.extend(gone);
        leader.departing.retain(|id| !configuration.is_member(*id));
        let mut before = before.into_iter().peekable();
        for id in configuration.members().into_iter().filter(|id| *id != self.id) {
            while before.next_if(|peer| peer.id < id).is_some() {}
            let known = before.next_if(|peer| peer.id == id);
            leader.peers.push(known.unwrap_or_else(|| Progress::new(id, at, last.next(), leader.clock)));
        }
        leader.has_news = true;
    }

    /// Whoever is left out by what is now committed is told so (§4.2.2).
    pub(crate) fn tell_departing(&mut self, effects: &mut Vec<Effect>) {
        let settled = self.membership.index() <= self.commit_index;
        let Role::Leader(leader) = &mut self.role else { return };
        if settled && !leader.departing.is_empty() {
            let departing = std::mem::take(&mut leader.departing);
            self.tell_removed(&departing, effects);
        }
    }

    pub(crate) fn tell_removed(&mut self, removed: &[NodeId], effects: &mut Vec<Effect>) {
        let at = self.membership.index();
        for id in removed {
            self.send(*id, Body::Excluded(Exclusion::Removed { at }), effects);
        }
    }

    /// Whether a committed configuration has taken this replica's vote (§4.2.2): it has led so far without counting
    /// itself, and now hands over.
    pub(crate) fn is_voted_out(&self) -> bool {
        self.membership.index() <= self.commit_index && !self.membership.current().is_voter(self.id)
    }
}

/// Everybody's side.
impl Node {
    /// The life of this replica's disk.
    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation.get().map(Incarnation)
    }

    /// Whether the configuration in force knows this replica with another disk.
    pub(crate) fn is_stranger(&self) -> bool {
        let member = self.membership.current().attributes(self.id).incarnation;
        member.is_some() && member != self.incarnation()
    }

    /// Whether a question for votes or an answer comes from somebody who does not count by the configuration in force:
    /// from another life of the member's disk, or from nobody that is a member. It changes nothing here, and the sender
    /// is told why.
    ///
    /// A leader's messages always count: a newer configuration than is known here may have elected it (§4.1), and its
    /// term says that a quorum did. For the same reason a candidate whose log is as new as the own is judged by its log
    /// (bug M25): it has every configuration that is known here. Anybody else's log lacks something, the configuration
    /// that matters perhaps.
    pub(crate) fn is_from_outside(&mut self, from: NodeId, message: &Message, effects: &mut Vec<Effect>) -> bool {
        match &message.body {
            Body::RequestVote(request) if request.last >= self.log.last_position() => return false,
            Body::RequestVote(_)
            | Body::RequestVoteReply(_)
            | Body::AppendAccepted(_)
            | Body::AppendRejected(_)
            | Body::HeartbeatReply(_)
            | Body::ReadIndex(_)
            | Body::Pull(_)
            | Body::Pulled(_) => {}
            Body::AppendEntries(_)
            | Body::Heartbeat(_)
            | Body::InstallSnapshot(_)
            | Body::TimeoutNow
            | Body::Resigned
            | Body::Excluded(_)
            | Body::ReadIndexReply { .. } => return false,
        }
        let at = self.membership.index();
        let configuration = self.membership.current();
        let removed = at <= self.commit_index && !configuration.voters.is_empty() && !configuration.is_member(from);
        let (exclusion, why) = match configuration.attributes(from).incarnation {
            Some(member) if message.incarnation != Some(member) => {
                (Exclusion::Stranger { at, member }, Ignored::Stranger)
            }
            _ if removed && matches!(message.body, Body::RequestVote(_)) => {
                (Exclusion::Removed { at }, Ignored::NoMember)
            }
            _ => return false,
        };
        self.decide(|| Decision::Ignores { from, why });
        self.send(from, Body::Excluded(exclusion), effects);
        true
    }

    /// Somebody says that this replica does not count as a member. Believed only of a configuration newer than the own:
    /// what is older may be from before this replica was added (bug M16).
    pub(crate) fn on_excluded(&mut self, exclusion: Exclusion, effects: &mut Vec<Effect>) {
        let configuration = self.membership.current();
        let knows_better = self.membership.index() >= exclusion.at();
        let own_view = match exclusion {
            Exclusion::Removed { .. } => !configuration.is_member(self.id),
            Exclusion::Stranger { member, .. } => {
                if self.incarnation() == Some(member) {
                    return; // meant for another life
                }
                self.is_stranger()
            }
        };
        if (knows_better && !own_view) || configuration.voters.is_empty() || matches!(self.role, Role::Leader(_)) {
            return;
        }
        self.become_excluded(exclusion, effects);
    }

    /// Falls silent.
    pub(crate) fn become_excluded(&mut self, exclusion: Exclusion, effects: &mut Vec<Effect>) {
        if self.excluded {
            return;
        }
        self.excluded = true;
        self.aside.exclusion = Some(exclusion);
        self.aside.withheld.retain(|held| !matches!(held.message.body, Body::RequestVote(_)));
        self.decide(|| Decision::Excluded(exclusion));
        effects.push(Effect::Excluded(exclusion));
        if matches!(self.role, Role::PreCandidate(_) | Role::Candidate(_)) {
            self.become_follower(self.current_term, None, effects);
        }
    }

    /// A replica that its own configuration leaves out and that hears no leader asks whether it is a member, as a
    /// question for votes that cannot be won: the answer says so (bug M31: the farewell may have been lost).
    pub(crate) fn ask_for_standing(&mut self, effects: &mut Vec<Effect>) {
        let configuration = self.membership.current();
        if !self.excluded && !configuration.voters.is_empty() && !configuration.is_member(self.id) {
            self.request_votes(self.current_term, true, false, effects);
        }
    }
}
