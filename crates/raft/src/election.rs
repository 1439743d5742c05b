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

use std::sync::Arc;

use crate::aside::Suspicion;
use crate::configuration::Configuration;
use crate::decision::{Decision, Quiet, VoteRefusal};
use crate::interface::Effect;
use crate::message::{Body, HeartbeatReply, Message, RequestVote, RequestVoteReply};
use crate::node::Node;
use crate::planted::planted;
use crate::quorum::{self, Outcome};
use crate::role::{Role, Vote, Votes};
use crate::types::{Index, LogPosition, NodeId, Term};

/// For so many ticks after its connection broke, a leader's messages may be its last ones.
const LAST_WORDS_TICKS: u32 = 2;

/// Whether a candidate's log is less complete than the own (§3.6.1).
fn is_older(theirs: LogPosition, own: LogPosition) -> bool {
    if planted(3) { theirs.index < own.index } else { theirs < own }
}

impl Node {
    /// One unit of time.
    pub(crate) fn on_tick(&mut self, effects: &mut Vec<Effect>) {
        self.promise_left = self.promise_left.saturating_sub(1);
        if !self.aside.forwarded.is_empty() {
            self.expire_forwarded_reads(effects);
        }
        if matches!(self.role, Role::Leader(_)) {
            self.on_leader_tick(effects);
        } else {
            self.on_election_tick(effects);
            self.aside.relax();
            self.durability.relax();
        }
    }

    fn on_election_tick(&mut self, effects: &mut Vec<Effect>) {
        self.timer.elapsed = self.timer.elapsed.saturating_add(1);
        if self.aside.suspicion.is_some() {
            self.pass_suspicion_time();
        }
        if quorum::is_sole_voter(self.membership.current(), self.id) {
            // Nobody to ask and nobody to wait for, but for the own disk.
            if !self.is_candidate() {
                self.stand(false, effects);
            }
        } else if self.timer.elapsed >= self.timer.timeout {
            let after = self.timer.elapsed;
            self.decide(|| Decision::ElectionTimedOut { after });
            // Also where this replica will not stand: it does not hear its leader, and must not refuse others in its name.
            if matches!(self.role, Role::Follower(_)) {
                self.set_leader(None, effects);
            }
            // A candidacy that nobody decided: who has a newer log is asked for what is missing here.
            let undecided = match &self.role {
                Role::PreCandidate(votes) | Role::Candidate(votes) => votes.clone(),
                Role::Follower(_) | Role::Leader(_) => Votes::default(),
            };
            if self.membership.current().attributes(self.id).priority == 0 {
                self.stay_quiet(Quiet::PriorityZero);
            } else {
                self.campaign(effects);
            }
            self.pull_from_best(&undecided, effects);
            if matches!(self.role, Role::Follower(_)) {
                self.ask_for_standing(effects);
            }
        }
    }

    /// Enters the term of somebody who does not lead it. That alone is no reason to wait longer: whoever is refused here
    /// must not keep this replica, perhaps the only one that can be elected, from its turn (Figure 3.1: the wait begins
    /// anew with a leader's message or a vote given).
    pub(crate) fn adopt_term_of_others(&mut self, term: Term, effects: &mut Vec<Effect>) {
        let waits = (self.timer.elapsed, self.timer.timeout);
        let led = matches!(self.role, Role::Leader(_));
        self.become_follower(term, None, effects);
        if !led {
            (self.timer.elapsed, self.timer.timeout) = waits;
        }
    }

    fn pass_suspicion_time(&mut self) {
        let Some(suspicion) = &mut self.aside.suspicion else { return };
        suspicion.ticks_left -= 1;
        if suspicion.ticks_left == 0 {
            self.aside.suspicion = None;
            self.reset_election_timer();
        }
    }

    /// Starts the wait anew.
    pub(crate) fn reset_election_timer(&mut self) {
        let waits_longer = self.voters_to_go_first();
        let base = self.settings.election_timeout_ticks;
        let timer = &mut self.timer;
        timer.elapsed = 0;
        timer.timeout = match self.aside.suspicion {
            None => timer.draw(&self.settings, self.role.kind()).saturating_add(waits_longer * base / 2),
            // While the leader is suspected somebody else is about to be elected. An election takes two rounds of
            // messages and disks, so a share of the usual wait tells whether it failed.
            Some(_) => {
                let quarter = (base / 4).max(1);
                quarter + timer.random.below(quarter)
            }
        };
    }

    /// How many voters have a greater priority, up to two: this replica leaves them time to stand first.
    pub(crate) fn voters_to_go_first(&self) -> u32 {
        let configuration = self.membership.current();
        if configuration.attributes.is_empty() {
            return 0;
        }
        let own = configuration.attributes(self.id).priority;
        let first = configuration.voters.iter().filter(|id| configuration.attributes(**id).priority > own).count();
        u32::try_from(first.min(2)).expect("at most two")
    }

    pub(crate) fn is_candidate(&self) -> bool {
        matches!(self.role, Role::Candidate(_))
    }

    /// Tries again after one to three ticks.
    fn retry_soon(&mut self) {
        self.timer.elapsed = 0;
        self.timer.timeout = 1 + self.timer.random.below(3) + 2 * self.voters_to_go_first();
    }

    /// The connection to a member broke. A leader sends anew what was on its way; who followed it looks for another.
    pub(crate) fn on_suspect(&mut self, peer: NodeId, effects: &mut Vec<Effect>) {
        if let Role::Leader(leader) = &mut self.role {
            if let Some(progress) = leader.peer_mut(peer) {
                progress.on_reset();
                leader.has_news = true;
            }
            if leader.transfer.is_some_and(|transfer| transfer.target == peer) {
                self.abort_transfer(effects);
            }
            return;
        }
        if self.leader() != Some(peer) || self.aside.suspicion.is_some() {
            return;
        }
        self.decide(|| Decision::Suspects(peer));
        let ticks_left = self.settings.election_timeout_ticks.max(1);
        self.aside.suspicion = Some(Suspicion { leader: peer, ticks_left });
        self.timer.elapsed = 0;
        self.timer.timeout = self.timer.random.below(3) + 2 * self.voters_to_go_first();
        if self.timer.timeout == 0 {
            self.campaign_by_pre_vote(effects);
        }
    }

    /// The leader itself says that it leads no more: no promise to it holds any longer.
    pub(crate) fn on_resigned(&mut self, from: NodeId, effects: &mut Vec<Effect>) {
        if self.leader() == Some(from) {
            self.promise_left = 0;
            self.on_suspect(from, effects);
        }
    }

    /// The suspicion was wrong, or is over. Says whether there was one.
    pub(crate) fn forget_suspicion(&mut self) -> bool {
        self.aside.suspicion.is_some() && self.aside.suspicion.take().is_some()
    }

    /// A message of the current term's leader.
    pub(crate) fn hear_leader(&mut self, from: NodeId, session: Index, effects: &mut Vec<Effect>) {
        self.become_follower(self.current_term, Some(from), effects);
        // What a dead leader had sent may arrive just after its connection broke. It is believed to live when it is
        // heard some ticks later.
        let base = self.settings.election_timeout_ticks.max(1);
        let too_soon =
            |suspicion: &Suspicion| suspicion.leader == from && suspicion.ticks_left + LAST_WORDS_TICKS > base;
        if !self.aside.suspicion.as_ref().is_some_and(too_soon) {
            if self.forget_suspicion() {
                self.reset_election_timer();
            }
            self.timer.elapsed = 0;
        }
        self.promise_left = self.promise_left.max(self.promise_ticks());
        let Role::Follower(follower) = &mut self.role else { unreachable!("who hears a leader follows it") };
        if session > follower.session {
            // Another membership: the leader starts from nothing and has to be told everything again.
            follower.session = session;
            follower.acknowledged = Index(0);
            follower.counted_on = Index(0);
            follower.answer_due = true;
        }
    }

    /// Why no vote is given to `from` because of a leader in office, as far as this replica can tell (§4.2.3). The
    /// leader's own candidacy is no disturbance (bug V23).
    pub(crate) fn stands_by_leader(&self, from: NodeId) -> Option<VoteRefusal> {
        let leader = self.leader();
        let leads = matches!(self.role, Role::Leader(_));
        if leader == Some(from) {
            return None;
        }
        if self.promise_left > 0 {
            return Some(VoteRefusal::Promised { ticks_left: self.promise_left });
        }
        // Without check-quorum a leader may stay in office that nobody can reach; it must be possible to depose it.
        let sticks = self.hears_leader() || planted(10) && self.term_leader.get().is_some();
        (self.settings.check_quorum && sticks).then_some(VoteRefusal::LeaderIsHeard(leader.filter(|_| !leads)))
    }

    /// Whether a leader is in office, as far as this replica can tell.
    pub(crate) fn hears_leader(&self) -> bool {
        let heard = matches!(self.role, Role::Leader(_)) || self.timer.elapsed < self.settings.election_timeout_ticks;
        self.leader().is_some() && self.aside.suspicion.is_none() && heard
    }

    /// Stands for election, by pre-vote first where that is set.
    pub(crate) fn campaign(&mut self, effects: &mut Vec<Effect>) {
        if self.is_candidate() && !self.hard_state_is_durable() {
            // Nobody was asked yet: another term would change nothing.
            return self.stay_quiet(Quiet::DiskIsSlow);
        }
        if self.settings.pre_vote || self.aside.suspicion.is_some() {
            self.campaign_by_pre_vote(effects);
        } else {
            self.stand(false, effects);
        }
    }

    /// Why this replica may not stand. Only voters can: a learner, or a replica that is not in the configuration, stays
    /// where it is, at each of the doors to a candidacy (bug M24).
    fn must_stay_quiet(&self, transfer: bool) -> Option<Quiet> {
        if self.excluded || self.is_stranger() {
            Some(Quiet::Excluded)
        } else if !self.electorate().is_voter(self.id) {
            Some(Quiet::NoVoter)
        } else if self.promise_left > 0 && !transfer {
            Some(Quiet::Promised)
        } else {
            None
        }
    }

    /// Who elects: by the configuration in force, as everything is decided.
    fn electorate(&self) -> &Arc<Configuration> {
        if planted(35) { self.membership.at(self.commit_index) } else { self.membership.current() }
    }

    fn stay_quiet(&mut self, why: Quiet) {
        self.decide(|| Decision::StaysQuiet(why));
        self.reset_election_timer();
    }

    fn campaign_by_pre_vote(&mut self, effects: &mut Vec<Effect>) {
        if matches!(self.role, Role::Leader(_)) {
            return;
        }
        // A promise is no reason not to ask: it may be over when the answers come.
        if let Some(why) = self.must_stay_quiet(true) {
            return self.stay_quiet(why);
        }
        self.become_pre_candidate(effects);
        if self.aside.suspicion.is_some() {
            self.retry_soon();
        }
        let proposed = Term(self.current_term.0 + 1);
        self.request_votes(proposed, true, false, effects);
        self.decide_pre_vote(effects);
    }

    /// Becomes a candidate; `transfer` says that the leader asked for it (§3.10).
    pub(crate) fn stand(&mut self, transfer: bool, effects: &mut Vec<Effect>) {
        if matches!(self.role, Role::Leader(_)) {
            return;
        }
        if let Some(why) = self.must_stay_quiet(transfer) {
            return self.stay_quiet(why);
        }
        self.become_candidate(effects);
        // The requests rest on the new term and on the own vote: `send` withholds them until both are durable (bug V05).
        self.request_votes(self.current_term, false, transfer, effects);
    }

    pub(crate) fn request_votes(&mut self, term: Term, pre_vote: bool, transfer: bool, effects: &mut Vec<Effect>) {
        let request = RequestVote { last: self.log.last_position(), pre_vote, transfer };
        for voter in self.electorate().members() {
            if voter != self.id && self.electorate().is_voter(voter) {
                self.send_in_term(voter, term, Body::RequestVote(request), effects);
            }
        }
    }

    /// Whether the candidate cannot be of the group that this replica waits to be added to. That group has entries, and so
    /// has whoever may lead it; one without any is a first member that has lost its disk, or of another group.
    fn awaits_another(&self, request: &RequestVote) -> bool {
        self.configuration().members().is_empty() && request.last == LogPosition::START
    }

    /// Receives RequestVote of the current term (§3.4; receiver rules of Figure 3.1).
    pub(crate) fn on_request_vote(&mut self, from: NodeId, request: RequestVote, effects: &mut Vec<Effect>) {
        let own = self.log.last_position();
        // Asked twice, answered twice the same; §3.6.1: no committed entry may be missing; §6.4.1: a promise holds
        // whatever the term has become.
        let refusal = match self.voted_for().filter(|candidate| *candidate != from) {
            Some(candidate) => Some(VoteRefusal::Voted(candidate)),
            None if self.awaits_another(&request) => Some(VoteRefusal::FoundsAnother),
            None if is_older(request.last, own) => Some(VoteRefusal::LogIsNewer { own, theirs: request.last }),
            None if self.promise_left > 0 && !request.transfer => {
                Some(VoteRefusal::Promised { ticks_left: self.promise_left })
            }
            None => None,
        };
        if refusal.is_none() {
            self.vote_for(from);
            // The vote says that no leader of this term is known yet; the granter gives the candidate time (bug V18).
            if matches!(self.role, Role::PreCandidate(_)) {
                self.become_follower(self.current_term, None, effects);
            }
            self.reset_election_timer();
        }
        self.note_vote(from, self.current_term, false, refusal);
        let reply = RequestVoteReply { granted: refusal.is_none(), pre_vote: false, last: own };
        self.send(from, Body::RequestVoteReply(reply), effects);
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
        let refusal = if proposed <= self.current_term {
            Some(VoteRefusal::TermHasBegun(self.current_term))
        } else if self.awaits_another(&request) {
            Some(VoteRefusal::FoundsAnother)
        } else if is_older(request.last, own) {
            Some(VoteRefusal::LogIsNewer { own, theirs: request.last })
        } else {
            self.stands_by_leader(from)
        };
        self.note_vote(from, proposed, true, refusal);
        let granted = refusal.is_none();
        let reply = Body::RequestVoteReply(RequestVoteReply { granted, pre_vote: true, last: own });
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

    fn note_vote(&mut self, to: NodeId, term: Term, pre_vote: bool, refusal: Option<VoteRefusal>) {
        self.decide(|| match refusal {
            None => Decision::VoteGranted { to, term, pre_vote },
            Some(why) => Decision::VoteRefused { to, term, pre_vote, why },
        });
    }

    /// A voter would vote for this replica in the term `proposed`.
    pub(crate) fn on_pre_vote_granted(
        &mut self,
        from: NodeId,
        proposed: Term,
        last: LogPosition,
        effects: &mut Vec<Effect>,
    ) {
        // Bug V22: only while still asking, and only for the term that is asked for.
        if let Role::PreCandidate(votes) = &mut self.role
            && proposed.0 == self.current_term.0 + 1
        {
            votes.record(Vote { voter: from, granted: true, last });
            self.decide_pre_vote(effects);
        }
    }

    /// A voter would not.
    pub(crate) fn on_pre_vote_refused(&mut self, from: NodeId, last: LogPosition, effects: &mut Vec<Effect>) {
        if let Role::PreCandidate(votes) = &mut self.role {
            votes.record(Vote { voter: from, granted: false, last });
            self.decide_pre_vote(effects);
        }
    }

    /// A voter that has a newer term refused: asked again in that term, it may not (bug V21).
    pub(crate) fn ask_in_newer_term(&mut self, term: Term, effects: &mut Vec<Effect>) {
        let asking = matches!(self.role, Role::PreCandidate(_));
        self.become_follower(term, None, effects);
        if asking {
            self.campaign_by_pre_vote(effects);
        }
    }

    fn decide_pre_vote(&mut self, effects: &mut Vec<Effect>) {
        let Role::PreCandidate(votes) = &self.role else { return };
        let term = Term(self.current_term.0 + 1);
        match quorum::outcome(self.electorate(), |voter| votes.of(voter)) {
            Outcome::Won => {
                self.decide(|| Decision::ElectionDecided { term, pre_vote: true, won: true });
                self.stand(false, effects);
            }
            Outcome::Lost => {
                let votes = votes.clone();
                self.decide(|| Decision::ElectionDecided { term, pre_vote: true, won: false });
                self.become_follower(self.current_term, None, effects);
                if self.aside.suspicion.is_some() {
                    self.retry_soon();
                }
                self.pull_from_best(&votes, effects);
            }
            Outcome::Open => {}
        }
    }

    /// A voter answered the candidacy.
    pub(crate) fn on_vote(&mut self, from: NodeId, reply: RequestVoteReply, effects: &mut Vec<Effect>) {
        let Role::Candidate(votes) = &mut self.role else { unreachable!("dispatched to candidates only") };
        votes.record(Vote { voter: from, granted: reply.granted, last: reply.last });
        self.decide_election(effects);
    }

    /// The own vote counts once it is durable (bugs V07, C20).
    pub(crate) fn count_own_vote(&mut self, effects: &mut Vec<Effect>) {
        let durable = self.hard_state_is_durable();
        let own = self.own_vote();
        let Role::Candidate(votes) = &mut self.role else { unreachable!("called for candidates only") };
        if durable && votes.of(self.id).is_none() {
            votes.record(own);
            self.decide_election(effects);
        }
    }

    fn decide_election(&mut self, effects: &mut Vec<Effect>) {
        let Role::Candidate(votes) = &self.role else { unreachable!("called for candidates only") };
        let dead = self.aside.suspicion.map(|suspicion| suspicion.leader);
        // A dead leader's answer is not waited for: with it counted as a refusal a split vote shows at once.
        let vote = |voter| votes.of(voter).or_else(|| (Some(voter) == dead).then_some(false));
        let outcome = quorum::outcome(self.electorate(), vote);
        let (term, votes) =
            (self.current_term, if outcome == Outcome::Lost { votes.clone() } else { Votes::default() });
        if outcome != Outcome::Open {
            self.decide(|| Decision::ElectionDecided { term, pre_vote: false, won: outcome == Outcome::Won });
        }
        match outcome {
            Outcome::Won => self.become_leader(effects),
            Outcome::Lost => {
                if dead.is_some() {
                    self.retry_soon(); // else when the timer runs out
                }
                self.pull_from_best(&votes, effects);
            }
            Outcome::Open => {}
        }
    }

    /// The leader hands over (§3.10): stand at once, without asking first (bug T02).
    pub(crate) fn on_timeout_now(&mut self, from: NodeId, effects: &mut Vec<Effect>) {
        if self.leader() == Some(from) {
            self.stand(true, effects);
        }
    }

    /// A message of a term that has passed. Whoever still leads or stands in it is told the newer term, so that neither
    /// side is stuck (bug V25); readers are refused; answers are dropped.
    pub(crate) fn on_stale_message(&mut self, from: NodeId, message: &Message, effects: &mut Vec<Effect>) {
        // The refusal of a pre-vote tells the voter's own term, which may be an older one: it promises nothing, and may be
        // the only sign of a log that is newer than this one.
        if let Body::RequestVoteReply(reply) = &message.body
            && reply.pre_vote
            && !reply.granted
        {
            return self.on_pre_vote_refused(from, reply.last, effects);
        }
        let reply = match &message.body {
            Body::RequestVoteReply(reply) if planted(7) && !reply.pre_vote && self.is_candidate() => {
                return self.on_vote(from, *reply, effects);
            }
            Body::AppendAccepted(answer) if planted(18) && matches!(self.role, Role::Leader(_)) => {
                return self.on_append_accepted(from, *answer);
            }
            Body::Heartbeat(heartbeat) if planted(20) => {
                return self.answer_heartbeat(from, message.term, *heartbeat, effects);
            }
            Body::RequestVote(request) => {
                let last = self.log.last_position();
                Body::RequestVoteReply(RequestVoteReply { granted: false, pre_vote: request.pre_vote, last })
            }
            Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_) => {
                // No round has this number: only the term speaks.
                Body::HeartbeatReply(HeartbeatReply { round: 0, session: Index(0), promise_ticks: 0 })
            }
            Body::ReadIndex(id) => Body::ReadIndexReply { id: *id, index: None },
            Body::RequestVoteReply(_)
            | Body::AppendAccepted(_)
            | Body::AppendRejected(_)
            | Body::HeartbeatReply(_)
            | Body::TimeoutNow
            | Body::Resigned
            | Body::Excluded(_)
            | Body::Pull(_)
            | Body::Pulled(_)
            | Body::ReadIndexReply { .. } => return,
        };
        self.send(from, reply, effects);
    }
}
