//! Linearizable reads without writing (dissertation §6.4): the leader notes its commit index, makes sure by a round of
//! heartbeats that it still led after the request came, and lets the reader wait until that index is applied.

use std::collections::VecDeque;

use crate::decision::Decision;
use crate::interface::Effect;
use crate::message::{Body, Heartbeat, HeartbeatReply, Message};
use crate::node::Node;
use crate::planted::planted;
use crate::quorum;
use crate::role::{Leader, Role};
use crate::types::{Index, NodeId, ReadId};

/// Reads that wait at a leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Reads {
    /// Came before the leader committed an entry of its own term, when its commit index could still lag behind what an
    /// earlier leader had acknowledged (bug R02), or since the last flush: no round covers them yet.
    pub(crate) fresh: Vec<(ReadId, Option<NodeId>)>,
    /// Wait for a quorum to acknowledge `round`; rounds grow along the queue.
    pub(crate) unconfirmed: VecDeque<UnconfirmedRead>,
}

/// A batch of reads whose round is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UnconfirmedRead {
    id: ReadId,
    /// The follower that asked; none for a batch of the leader's own driver.
    asked_by: Option<NodeId>,
    /// The commit index when the round was opened. Never lowered, never shared with a later batch (bug R07).
    index: Index,
    round: u64,
}

/// A batch that this follower has asked the leader about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ForwardedRead {
    id: ReadId,
    /// Ticks left until it is given up.
    ticks_left: u32,
}

impl Node {
    /// A batch of reads of this replica's own driver.
    pub(crate) fn on_read(&mut self, id: ReadId, effects: &mut Vec<Effect>) {
        match (&self.role, self.leader()) {
            (Role::Leader(_), _) => self.read_as_leader(id, None, effects),
            (Role::Follower(_), Some(leader)) => {
                self.aside.forwarded.push(ForwardedRead { id, ticks_left: self.settings.election_timeout_ticks });
                self.send(leader, Body::ReadIndex(id), effects);
            }
            (Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_), _) => {
                effects.push(Effect::ReadRefused(id))
            }
        }
    }

    /// A follower asks for a read index. Always answered, if only by a refusal (bug R05).
    pub(crate) fn on_read_index(&mut self, from: NodeId, id: ReadId, effects: &mut Vec<Effect>) {
        if matches!(self.role, Role::Leader(_)) {
            self.read_as_leader(id, Some(from), effects);
        } else {
            self.send(from, Body::ReadIndexReply { id, index: None }, effects);
        }
    }

    fn read_as_leader(&mut self, id: ReadId, asked_by: Option<NodeId>, effects: &mut Vec<Effect>) {
        let alone = quorum::is_sole_voter(self.membership.current(), self.id);
        let by_lease = self.holds_lease();
        let index = self.commit_index;
        let Role::Leader(leader) = &mut self.role else { unreachable!("asked of leaders only") };
        if leader.committed_in_own_term && (alone || by_lease) {
            self.answer_read(id, asked_by, index, effects);
            if by_lease {
                self.decide(|| Decision::ReadByLease);
            }
        } else {
            leader.reads.fresh.push((id, asked_by));
            leader.has_news = true;
        }
    }

    /// Opens one round for all reads that came since the last flush.
    pub(crate) fn open_read_round(&mut self, effects: &mut Vec<Effect>) {
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.reads.fresh.is_empty() || !(leader.committed_in_own_term || planted(39)) {
            return;
        }
        let round = leader.round + 1; // the one that `broadcast_heartbeat` opens
        let index = self.commit_index;
        let fresh = leader.reads.fresh.drain(..);
        leader.reads.unconfirmed.extend(fresh.map(|(id, asked_by)| UnconfirmedRead { id, asked_by, index, round }));
        self.broadcast_heartbeat(effects);
        self.confirm_reads(effects); // a leader that is a quorum by itself waits for nobody
    }

    /// Opens a round and claims leadership towards everybody.
    pub(crate) fn broadcast_heartbeat(&mut self, effects: &mut Vec<Effect>) {
        let incarnation = self.incarnation();
        let leased = self.promise_ticks() > 0;
        let Role::Leader(leader) = &mut self.role else { return };
        let Leader { round, heartbeat_elapsed, peers, rounds, clock, .. } = &mut **leader;
        *round += 1; // bug R03: never used twice within a term, and messages of other terms are not answers
        *heartbeat_elapsed = 0;
        if leased {
            rounds.note(*round, *clock);
        } else {
            rounds.forget();
        }
        for peer in peers.iter() {
            let commit = self.commit_index.min(peer.match_index);
            let heartbeat = Heartbeat { round: *round, commit, session: peer.session };
            let message = Message { term: self.current_term, incarnation, body: Body::Heartbeat(heartbeat) };
            effects.push(Effect::Send { to: peer.id, message });
        }
    }

    /// A follower still acknowledges this leader, as of a round.
    pub(crate) fn on_heartbeat_reply(&mut self, from: NodeId, reply: HeartbeatReply, effects: &mut Vec<Effect>) {
        let promise_ticks = self.promise_ticks();
        let Role::Leader(leader) = &mut self.role else { unreachable!("dispatched to leaders only") };
        let newest = leader.round;
        let now = leader.clock;
        let sent_at = if planted(42) { Some(now) } else { leader.rounds.sent_at(reply.round) };
        let Some(peer) = leader.peer_mut(from) else { return };
        if reply.round > newest {
            return; // answers nothing that was asked
        }
        peer.round = peer.round.max(reply.round);
        if reply.promise_ticks >= promise_ticks && promise_ticks > 0 {
            peer.promised_since = peer.promised_since.max(sent_at);
        }
        peer.on_heartbeat_reply(&self.settings, now);
        leader.has_news = true;
        self.confirm_reads(effects);
    }

    /// Answers every read whose round a quorum has acknowledged.
    fn confirm_reads(&mut self, effects: &mut Vec<Effect>) {
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.reads.unconfirmed.is_empty() {
            return;
        }
        let confirmed = quorum::reached(self.membership.current(), |voter| {
            if voter == self.id { leader.round } else { leader.peer(voter).map_or(0, |peer| peer.round) }
        });
        while let Role::Leader(leader) = &mut self.role {
            let Some(read) = leader.reads.unconfirmed.front().copied().filter(|read| read.round <= confirmed) else {
                return;
            };
            leader.reads.unconfirmed.pop_front();
            self.answer_read(read.id, read.asked_by, read.index, effects);
        }
    }

    fn answer_read(&mut self, id: ReadId, asked_by: Option<NodeId>, index: Index, effects: &mut Vec<Effect>) {
        match asked_by {
            None => effects.push(Effect::ReadReady { id, index }),
            Some(follower) => self.send(follower, Body::ReadIndexReply { id, index: Some(index) }, effects),
        }
    }

    /// The leader's answer to a forwarded batch. One that was not asked, or by a former life, is nobody's (bug R06).
    pub(crate) fn on_read_index_reply(
        &mut self,
        from: NodeId,
        id: ReadId,
        index: Option<Index>,
        effects: &mut Vec<Effect>,
    ) {
        if self.leader() != Some(from) {
            return;
        }
        let Some(place) = self.aside.forwarded.iter().position(|read| read.id == id) else { return };
        self.aside.forwarded.remove(place);
        effects.push(match index {
            Some(index) => Effect::ReadReady { id, index },
            None => Effect::ReadRefused(id),
        });
    }

    /// Gives up forwarded reads whose question or answer was lost.
    pub(crate) fn expire_forwarded_reads(&mut self, effects: &mut Vec<Effect>) {
        self.aside.forwarded.retain_mut(|read| {
            read.ticks_left = read.ticks_left.saturating_sub(1);
            if read.ticks_left == 0 {
                effects.push(Effect::ReadRefused(read.id));
            }
            read.ticks_left > 0
        });
    }

    /// The leader that was asked no longer leads: its answers will not come, or will not count (bug R04).
    pub(crate) fn refuse_forwarded_reads(&mut self, effects: &mut Vec<Effect>) {
        if !self.aside.forwarded.is_empty() {
            effects.extend(self.aside.forwarded.drain(..).map(|read| Effect::ReadRefused(read.id)));
        }
    }

    /// Leadership ended: what was not confirmed cannot be any more.
    pub(crate) fn refuse_reads(&mut self, mut reads: Reads, effects: &mut Vec<Effect>) {
        while planted(41)
            && let Some(read) = reads.unconfirmed.pop_front()
        {
            self.answer_read(read.id, read.asked_by, read.index, effects);
        }
        let unconfirmed = reads.unconfirmed.into_iter().map(|read| (read.id, read.asked_by));
        for (id, asked_by) in unconfirmed.chain(reads.fresh) {
            match asked_by {
                None => effects.push(Effect::ReadRefused(id)),
                Some(follower) => self.send(follower, Body::ReadIndexReply { id, index: None }, effects),
            }
        }
    }
}
