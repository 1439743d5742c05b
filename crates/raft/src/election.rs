//! Elections: timers, candidacies, votes, pre-votes, and what is different when a leader is known to be dead
//! (dissertation §3.4, §3.6.1, §4.2.3, §9.6).
//!
//! Three rules keep a working leader in office. *Pre-vote*: whoever wants to stand first asks whether it could win,
//! which changes nothing anywhere. *Stickiness*: who has heard a leader within the election timeout grants nothing.
//! *Check-quorum*: a leader that a quorum no longer answers steps down, so that sticking to it makes no sense.
//!
//! A broken connection lifts the second rule where it was noticed: a replica that was told to *suspect* its leader asks
//! for pre-votes at once and grants them. It can do no harm if the leader lives, because the others still stick to it,
//! and costs a few ticks instead of an election timeout if the leader is dead.

use crate::interface::{Effect, Settings};
use crate::message::{Body, HeartbeatReply, Message, RequestVote, RequestVoteReply};
use crate::node::Node;
use crate::quorum::{self, Outcome};
use crate::random::Random;
use crate::role::Role;
use crate::types::{NodeId, Term};

/// When a replica stops waiting for a leader.
#[derive(Clone, Debug)]
pub(crate) struct ElectionTimer {
    /// Ticks since a leader was heard, a vote given, or a candidacy begun.
    elapsed: u32,
    /// At so many of them a candidacy begins.
    timeout: u32,
    /// The leader is probably dead.
    pub(crate) suspicion: Option<Suspicion>,
    random: Random,
}

/// A leader whose connection broke.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspicion {
    leader: NodeId,
    /// Ticks for which the short timers hold; an election timeout altogether.
    ticks_left: u32,
}

impl ElectionTimer {
    pub(crate) fn new(settings: &Settings, seed: u64, id: NodeId) -> ElectionTimer {
        let mut random = Random::new(seed, id.0);
        let timeout = election_timeout(settings, &mut random);
        ElectionTimer { elapsed: 0, timeout, suspicion: None, random }
    }
}

/// Between one and two election timeouts, drawn anew each time so that split votes do not repeat (§3.4).
fn election_timeout(settings: &Settings, random: &mut Random) -> u32 {
    let base = settings.election_timeout_ticks.max(1);
    base.saturating_add(random.below(base))
}

impl Node {
    /// One unit of time.
    pub(crate) fn on_tick(&mut self, effects: &mut Vec<Effect>) {
        if !self.forwarded.is_empty() {
            self.expire_forwarded_reads(effects);
        }
        if matches!(self.role, Role::Leader(_)) {
            self.on_leader_tick(effects);
        } else {
            self.on_election_tick(effects);
        }
    }

    fn on_election_tick(&mut self, effects: &mut Vec<Effect>) {
        self.timer.elapsed = self.timer.elapsed.saturating_add(1);
        if let Some(suspicion) = &mut self.timer.suspicion {
            suspicion.ticks_left -= 1;
            if suspicion.ticks_left == 0 {
                self.timer.suspicion = None;
                self.reset_election_timer();
            }
        }
        if quorum::is_sole_voter(self.membership.current(), self.id) {
            // Nobody to ask and nobody to wait for, but for the own disk.
            if !matches!(self.role, Role::Candidate(_)) {
                self.stand(false, effects);
            }
        } else if self.timer.elapsed >= self.timer.timeout {
            self.campaign(effects);
        }
    }

    /// Starts the wait anew.
    pub(crate) fn reset_election_timer(&mut self) {
        let timer = &mut self.timer;
        timer.elapsed = 0;
        timer.timeout = match timer.suspicion {
            None => election_timeout(&self.settings, &mut timer.random),
            // While the leader is suspected somebody else is about to be elected. An election takes two rounds of
            // messages and disks, so a share of the usual wait tells whether it failed.
            Some(_) => {
                let quarter = (self.settings.election_timeout_ticks / 4).max(1);
                quarter + timer.random.below(quarter)
            }
        };
    }

    /// Tries again after one to three ticks.
    fn retry_soon(&mut self) {
        self.timer.elapsed = 0;
        self.timer.timeout = 1 + self.timer.random.below(3);
    }

    /// The connection to a member broke. A leader sends anew what was on its way; who followed it looks for another.
    pub(crate) fn on_suspect(&mut self, peer: NodeId, effects: &mut Vec<Effect>) {
        if let Role::Leader(leader) = &mut self.role {
            if let Some(progress) = leader.peer_mut(peer) {
                progress.on_reset();
                leader.has_news = true;
            }
            return;
        }
        if self.leader != Some(peer) || self.timer.suspicion.is_some() {
            return;
        }
        let ticks_left = self.settings.election_timeout_ticks.max(1);
        self.timer.suspicion = Some(Suspicion { leader: peer, ticks_left });
        self.timer.elapsed = 0;
        self.timer.timeout = self.timer.random.below(3);
        if self.timer.timeout == 0 {
            self.campaign_by_pre_vote(effects);
        }
    }

    /// A message of the current term's leader.
    pub(crate) fn hear_leader(&mut self, from: NodeId, effects: &mut Vec<Effect>) {
        self.become_follower(self.current_term, Some(from), effects);
        self.timer.suspicion = None;
        self.reset_election_timer();
    }

    /// Whether a leader other than `from` is in office as far as this replica can tell (§4.2.3). The leader's own
    /// candidacy is no disturbance (bug V23).
    pub(crate) fn is_sticky(&self, from: NodeId) -> bool {
        let in_office = self.leader.is_some_and(|leader| leader != from) && self.timer.suspicion.is_none();
        let heard = matches!(self.role, Role::Leader(_)) || self.timer.elapsed < self.settings.election_timeout_ticks;
        // Without check-quorum a leader may stay in office that nobody can reach; it must be possible to depose it.
        self.settings.check_quorum && in_office && heard
    }

    /// Stands for election, by pre-vote first where that is set. Only voters can: a learner, or a replica that is not
    /// in the configuration, stays where it is (bug M24).
    pub(crate) fn campaign(&mut self, effects: &mut Vec<Effect>) {
        if matches!(self.role, Role::Candidate(_)) && !self.hard_state_is_durable() {
            // The own disk has not taken the candidacy yet, so nobody was asked: another term would change nothing.
            return self.reset_election_timer();
        }
        if self.settings.pre_vote || self.timer.suspicion.is_some() {
            self.campaign_by_pre_vote(effects);
        } else {
            self.stand(false, effects);
        }
    }

    fn may_stand(&self) -> bool {
        !matches!(self.role, Role::Leader(_)) && self.membership.current().is_voter(self.id)
    }

    fn campaign_by_pre_vote(&mut self, effects: &mut Vec<Effect>) {
        if !self.may_stand() {
            return self.reset_election_timer();
        }
        self.become_pre_candidate(effects);
        if self.timer.suspicion.is_some() {
            self.retry_soon();
        }
        let proposed = Term(self.current_term.0 + 1);
        self.request_votes(proposed, true, false, effects);
        self.decide_pre_vote(effects);
    }

    /// Becomes a candidate; `transfer` says that the leader asked for it (§3.10).
    pub(crate) fn stand(&mut self, transfer: bool, effects: &mut Vec<Effect>) {
        if !self.may_stand() {
            return self.reset_election_timer();
        }
        self.become_candidate(effects);
        // The requests rest on the new term and on the own vote: `send` withholds them until both are durable (bug V05).
        self.request_votes(self.current_term, false, transfer, effects);
    }

    fn request_votes(&mut self, term: Term, pre_vote: bool, transfer: bool, effects: &mut Vec<Effect>) {
        let request = RequestVote { last: self.log.last_position(), pre_vote, transfer };
        for voter in self.membership.current().members() {
            if voter != self.id && self.membership.current().is_voter(voter) {
                self.send_in_term(voter, term, Body::RequestVote(request), effects);
            }
        }
    }

    /// Receives RequestVote of the current term (§3.4; receiver rules of Figure 3.1).
    pub(crate) fn on_request_vote(&mut self, from: NodeId, request: RequestVote, effects: &mut Vec<Effect>) {
        let free = self.voted_for.is_none_or(|candidate| candidate == from); // asked twice, answered twice the same
        let complete = request.last >= self.log.last_position(); // §3.6.1: no committed entry may be missing
        let granted = free && complete;
        if granted {
            if self.voted_for.is_none() {
                self.voted_for = Some(from);
                self.durability.hard_state_changed();
                self.unsaved.hard_state = true;
            }
            // The vote says that no leader of this term is known yet; the granter gives the candidate time (bug V18).
            if matches!(self.role, Role::PreCandidate(_)) {
                self.become_follower(self.current_term, None, effects);
            }
            self.reset_election_timer();
        }
        self.send(from, Body::RequestVoteReply(RequestVoteReply { granted, pre_vote: false }), effects);
    }

    /// Receives a pre-vote request for the term `proposed`. Neither term, vote nor timer change (bugs V17, V18).
    pub(crate) fn on_pre_vote(
        &mut self,
        from: NodeId,
        proposed: Term,
        request: RequestVote,
        effects: &mut Vec<Effect>,
    ) {
        let own = self.log.last_position();
        let granted = proposed > self.current_term && request.last >= own && !self.is_sticky(from);
        let reply = Body::RequestVoteReply(RequestVoteReply { granted, pre_vote: true });
        // Bug V19: a grant answers the proposed term; a refusal tells the own, so that one who lags can adopt it.
        let term = if granted { proposed } else { self.current_term };
        self.send_in_term(from, term, reply, effects);
        // Two who ask at the same time would both be granted and then split the vote. The one with the longer log, or
        // else the greater identity, goes first.
        let rival = matches!(self.role, Role::PreCandidate(_)) && proposed.0 == self.current_term.0 + 1;
        if granted && rival && (request.last, from) > (own, self.id) {
            self.become_follower(self.current_term, None, effects);
        }
    }

    /// A voter would vote for this replica in the term `proposed`.
    pub(crate) fn on_pre_vote_granted(&mut self, from: NodeId, proposed: Term, effects: &mut Vec<Effect>) {
        // Bug V22: only while still asking, and only for the term that is asked for.
        if let Role::PreCandidate(votes) = &mut self.role
            && proposed.0 == self.current_term.0 + 1
        {
            votes.record(from, true);
            self.decide_pre_vote(effects);
        }
    }

    /// A voter would not.
    pub(crate) fn on_pre_vote_refused(&mut self, from: NodeId, effects: &mut Vec<Effect>) {
        if let Role::PreCandidate(votes) = &mut self.role {
            votes.record(from, false);
            self.decide_pre_vote(effects);
        }
    }

    fn decide_pre_vote(&mut self, effects: &mut Vec<Effect>) {
        let Role::PreCandidate(votes) = &self.role else { return };
        match quorum::outcome(self.membership.current(), |voter| votes.of(voter)) {
            Outcome::Won => self.stand(false, effects),
            Outcome::Lost => {
                self.become_follower(self.current_term, None, effects);
                if self.timer.suspicion.is_some() {
                    self.retry_soon();
                }
            }
            Outcome::Open => {}
        }
    }

    /// A voter answered the candidacy.
    pub(crate) fn on_vote(&mut self, from: NodeId, granted: bool, effects: &mut Vec<Effect>) {
        let Role::Candidate(votes) = &mut self.role else { unreachable!("dispatched to candidates only") };
        votes.record(from, granted);
        self.decide_election(effects);
    }

    /// The own vote counts once it is durable (bugs V07, C20).
    pub(crate) fn count_own_vote(&mut self, effects: &mut Vec<Effect>) {
        let durable = self.hard_state_is_durable();
        let Role::Candidate(votes) = &mut self.role else { unreachable!("called for candidates only") };
        if durable && votes.of(self.id).is_none() {
            votes.record(self.id, true);
            self.decide_election(effects);
        }
    }

    fn decide_election(&mut self, effects: &mut Vec<Effect>) {
        let Role::Candidate(votes) = &self.role else { unreachable!("called for candidates only") };
        let dead = self.timer.suspicion.map(|suspicion| suspicion.leader);
        // A dead leader's answer is not waited for: with it counted as a refusal a split vote shows at once.
        let vote = |voter| votes.of(voter).or_else(|| (Some(voter) == dead).then_some(false));
        match quorum::outcome(self.membership.current(), vote) {
            Outcome::Won => self.become_leader(effects),
            Outcome::Lost if dead.is_some() => self.retry_soon(),
            Outcome::Lost | Outcome::Open => {} // until the timer runs out
        }
    }

    /// The leader hands over (§3.10): stand at once, without asking first (bug T02).
    pub(crate) fn on_timeout_now(&mut self, from: NodeId, effects: &mut Vec<Effect>) {
        if self.leader == Some(from) {
            self.stand(true, effects);
        }
    }

    /// A message of a term that has passed. Whoever still leads or stands in it is told the newer term, so that neither
    /// side is stuck (bug V25); readers are refused; answers are dropped.
    pub(crate) fn on_stale_message(&mut self, from: NodeId, message: &Message, effects: &mut Vec<Effect>) {
        let reply = match &message.body {
            Body::RequestVote(request) => {
                Body::RequestVoteReply(RequestVoteReply { granted: false, pre_vote: request.pre_vote })
            }
            Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_) => {
                Body::HeartbeatReply(HeartbeatReply { round: 0 }) // no round has this number: only the term speaks
            }
            Body::ReadIndex(id) => Body::ReadIndexReply { id: *id, index: None },
            Body::RequestVoteReply(_)
            | Body::AppendAccepted(_)
            | Body::AppendRejected(_)
            | Body::HeartbeatReply(_)
            | Body::TimeoutNow
            | Body::ReadIndexReply { .. } => return,
        };
        self.send(from, reply, effects);
    }
}
