//! Replication and commitment (dissertation §3.5, §3.6.2).

use crate::interface::{Append, Content, Effect, EntrySizes, Refusal, Settings};
use crate::log_view::{LogView, clip_runs};
use crate::membership::Membership;
use crate::message::{AppendAccepted, AppendEntries, AppendRejected, Body, Heartbeat, HeartbeatReply, Message};
use crate::node::Node;
use crate::progress::{Pace, Progress};
use crate::quorum;
use crate::role::Role;
use crate::types::{Index, LogPosition, NodeId, SnapshotMeta, Term};

/// A snapshot that nobody reports on is given up after so many election timeouts (bug S02).
const SNAPSHOT_TIMEOUTS: u64 = 10;

/// The follower's side.
impl Node {
    /// Receives AppendEntries of the current term (§3.5; receiver rules of Figure 3.1).
    pub(crate) fn on_append_entries(&mut self, from: NodeId, request: AppendEntries, effects: &mut Vec<Effect>) {
        if !self.holds(request.prev) {
            let rejected = request.prev.index;
            let hint = self.log.newest_that_can_match(request.prev);
            return self.send(from, Body::AppendRejected(AppendRejected { rejected, hint }), effects);
        }
        let (prev, last, leader_commit) = (request.prev.index, request.last, request.leader_commit);
        self.take_entries(request);
        let commit_before = self.commit_index;
        let Role::Follower(follower) = &mut self.role else { unreachable!("who hears a leader follows it") };
        let acknowledged = follower.acknowledged;
        follower.verified = follower.verified.max(last);
        let verified = follower.verified;
        self.advance_commit(leader_commit, verified);
        // An empty request that only told the commit index needs no answer.
        let told_only = last == prev && prev <= acknowledged && self.commit_index > commit_before;
        if let Role::Follower(follower) = &mut self.role
            && !told_only
        {
            follower.answer_due = true;
        }
    }

    /// Whether the log holds the entry before a request's first one. What is committed here is in every later leader's
    /// log (Leader Completeness), so it matches even where it is compacted and cannot be compared (bug L07).
    fn holds(&self, prev: LogPosition) -> bool {
        if prev.index > self.commit_index {
            return self.log.term_at(prev.index) == Some(prev.term);
        }
        let equal = self.log.term_at(prev.index).is_none_or(|term| term == prev.term);
        assert!(equal, "Leader Completeness: the leader of term {} lacks a committed entry: {prev}", self.current_term);
        true
    }

    /// Appends what is new in a request whose `prev` matches.
    fn take_entries(&mut self, request: AppendEntries) {
        let AppendEntries { prev, last, runs, configurations, .. } = request;
        // Bug L01: a late, shorter request must not cut a longer log that agrees with it.
        let Some(first) = self.log.first_difference(prev.index, &runs, last) else { return };
        assert!(first > self.commit_index, "Leader Completeness: entry {first} is committed and would be replaced");
        if first <= self.log.last_index() {
            self.log.truncate(first);
            self.membership.truncate(first);
        }
        let runs = clip_runs(&runs, first, last);
        self.log.append(&runs, last);
        for (index, configuration) in configurations {
            if index >= first {
                self.membership.append(index, configuration);
            }
        }
        self.durability.appended(first, last);
        assert!(self.unsaved.append.is_none(), "a step appends once");
        self.unsaved.append = Some(Append { first, last, runs, content: Content::Received });
    }

    /// The one way in which a follower's commit index moves: no further than the leader's, and no further than the own
    /// log is known to equal the leader's (bugs C02, C04).
    fn advance_commit(&mut self, leader_commit: Index, verified: Index) {
        self.commit_index = self.commit_index.max(leader_commit.min(verified));
    }

    /// Receives a heartbeat. The answer waits for the term to be durable, never for entries.
    pub(crate) fn on_heartbeat(&mut self, from: NodeId, heartbeat: Heartbeat, effects: &mut Vec<Effect>) {
        let Role::Follower(follower) = &mut self.role else { unreachable!("who hears a leader follows it") };
        let verified = follower.verified;
        // The leader counts on more than this life knows to be equal: it is told, and sends what verifies it.
        if heartbeat.commit > verified {
            follower.answer_due = true;
        }
        self.advance_commit(heartbeat.commit, verified);
        self.send(from, Body::HeartbeatReply(HeartbeatReply { round: heartbeat.round }), effects);
    }

    /// Tells the leader what is both durable here and equal to its log (bugs C03, C18), once for all requests of a turn.
    pub(crate) fn acknowledge(&mut self, effects: &mut Vec<Effect>) {
        let durable = self.durability.index();
        if !self.hard_state_is_durable() {
            return;
        }
        let (Role::Follower(follower), Some(leader)) = (&mut self.role, self.leader) else { return };
        let matched = follower.verified.min(durable);
        let complete = durable >= follower.verified; // else more becomes durable soon, and is told then
        if matched > follower.acknowledged || (follower.answer_due && complete) {
            follower.acknowledged = follower.acknowledged.max(matched);
            follower.answer_due = !complete;
            self.send(leader, Body::AppendAccepted(AppendAccepted { matched }), effects);
        }
    }
}

/// The leader's side.
impl Node {
    /// Commands to replicate.
    pub(crate) fn on_propose(&mut self, count: u64, bytes: u64, effects: &mut Vec<Effect>) {
        assert!(count > 0, "a proposal has at least one entry");
        let refusal = match &self.role {
            Role::Leader(leader) if leader.transfer.is_some() => Some(Refusal::Transferring),
            Role::Leader(leader) => {
                let over = leader.uncommitted_bytes.saturating_add(bytes) > self.settings.uncommitted_bytes_max;
                // One that is too large by itself still passes alone.
                (over && leader.uncommitted_bytes > 0).then_some(Refusal::TooMuchUncommitted)
            }
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => Some(Refusal::NotLeader(self.leader)),
        };
        match refusal {
            Some(refusal) => effects.push(Effect::ProposalRefused(refusal)),
            None => self.append_own(count, bytes, Content::Proposals),
        }
    }

    /// Time passes for a leader: heartbeats, check-quorum, and the ends of snapshots and transfers.
    pub(crate) fn on_leader_tick(&mut self, effects: &mut Vec<Effect>) {
        let Role::Leader(leader) = &mut self.role else { unreachable!("called for leaders only") };
        leader.clock += 1;
        let now = leader.clock;
        let timeout = u64::from(self.settings.election_timeout_ticks);
        // §6.2: who is not heard by a quorum cannot commit, and must not keep clients waiting.
        let heard = quorum::reached(self.membership.current(), |voter| {
            if voter == self.id { now } else { leader.peer(voter).map_or(0, |peer| peer.last_contact) }
        });
        if self.settings.check_quorum && now - heard >= timeout {
            return self.become_follower(self.current_term, None, effects);
        }
        for peer in &mut leader.peers {
            if matches!(peer.pace, Pace::Snapshot { since } if now - since >= timeout * SNAPSHOT_TIMEOUTS) {
                peer.on_snapshot_ended(None, now);
            }
        }
        if let Some(transfer) = &mut leader.transfer {
            transfer.ticks_left = transfer.ticks_left.saturating_sub(1);
            if transfer.ticks_left == 0 {
                leader.transfer = None;
            }
        }
        leader.heartbeat_elapsed += 1;
        if leader.heartbeat_elapsed >= self.settings.heartbeat_interval_ticks {
            self.broadcast_heartbeat(effects);
        }
    }

    /// A peer lives.
    pub(crate) fn hear_peer(&mut self, from: NodeId) {
        let Role::Leader(leader) = &mut self.role else { return };
        let now = leader.clock;
        if let Some(peer) = leader.peer_mut(from) {
            peer.last_contact = now;
        }
    }

    /// A follower holds everything up to `matched`, durably.
    pub(crate) fn on_append_accepted(&mut self, from: NodeId, answer: AppendAccepted) {
        let last = self.log.last_index();
        let held = self.log.compacted().index.next();
        let Role::Leader(leader) = &mut self.role else { unreachable!("dispatched to leaders only") };
        let now = leader.clock;
        let Some(peer) = leader.peer_mut(from) else { return };
        if answer.matched > last {
            return; // not an answer to anything that was sent
        }
        peer.on_accepted(answer.matched, held, now);
        leader.has_news = true;
    }

    /// A follower lacks the entry before those that were sent, or has another one there (§3.5, fast back-off).
    pub(crate) fn on_append_rejected(&mut self, from: NodeId, answer: AppendRejected) {
        // The follower's hint skips its entries of terms that this log cannot have there; looking the hint up here skips
        // the entries of terms that the follower cannot have. Each round passes over a whole term on one side at least.
        let candidate = self.log.newest_that_can_match(answer.hint);
        let Role::Leader(leader) = &mut self.role else { unreachable!("dispatched to leaders only") };
        let Some(peer) = leader.peer_mut(from) else { return };
        if peer.on_rejected(answer.rejected, candidate.index) {
            leader.has_news = true;
        }
    }

    /// Ends a leader's turn.
    pub(crate) fn flush_leader(&mut self, sizes: &dyn EntrySizes, effects: &mut Vec<Effect>) {
        let Role::Leader(leader) = &mut self.role else { unreachable!("called for leaders only") };
        if !std::mem::take(&mut leader.has_news) {
            return;
        }
        self.commit_by_counting();
        self.send_appends(sizes, effects);
        self.open_read_round(effects);
        self.hand_over_if_ready(effects);
        self.check_progress();
    }

    /// Commits what a quorum holds durably. The leader counts itself by what its own disk holds (bug C10), if it votes
    /// at all (bug M33), and only up to entries of its own term: with those, and not by counting, everything before them
    /// is committed (§3.6.2, Figure 3.7; bug C01).
    fn commit_by_counting(&mut self) {
        let durable = self.durability.index();
        let Role::Leader(leader) = &mut self.role else { return };
        let held = Index(quorum::reached(self.membership.current(), |voter| {
            if voter == self.id { durable.0 } else { leader.peer(voter).map_or(0, |peer| peer.match_index.0) }
        }));
        if held <= self.commit_index || self.log.term_at(held) != Some(self.current_term) {
            return;
        }
        self.commit_index = held;
        leader.committed_in_own_term = true;
        while let Some((_, bytes)) = leader.uncommitted.front().filter(|(last, _)| *last <= held) {
            leader.uncommitted_bytes -= bytes;
            leader.uncommitted.pop_front();
        }
    }

    fn send_appends(&mut self, sizes: &dyn EntrySizes, effects: &mut Vec<Effect>) {
        let Role::Leader(leader) = &mut self.role else { return };
        let sender = Sender {
            log: &self.log,
            membership: &self.membership,
            settings: &self.settings,
            term: self.current_term,
            commit: self.commit_index,
            now: leader.clock,
            sizes,
        };
        for peer in &mut leader.peers {
            sender.send_entries(peer, effects);
            sender.tell_commit(peer, effects);
        }
    }
}

/// What a leader sends from, while its peers change.
struct Sender<'a> {
    log: &'a LogView,
    membership: &'a Membership,
    settings: &'a Settings,
    term: Term,
    commit: Index,
    now: u64,
    sizes: &'a dyn EntrySizes,
}

impl Sender<'_> {
    /// Sends as many entries as the follower's pace allows.
    fn send_entries(&self, peer: &mut Progress, effects: &mut Vec<Effect>) {
        while !peer.is_paused(self.settings) {
            // Total over compaction and the log's end (bug L05): either the entry before is known, or a snapshot is due.
            let Some(prev) = self.log.position_at(peer.next_index.previous()) else {
                return self.send_snapshot(peer, effects);
            };
            let nothing_new = prev.index == self.log.last_index();
            if nothing_new && peer.pace == Pace::Replicate {
                return;
            }
            let (last, bytes) = if nothing_new {
                (prev.index, 0)
            } else {
                let bytes_max = self.settings.append_bytes_max.min(peer.window.bytes_left(self.settings));
                self.sizes.fit(peer.next_index, self.log.last_index(), bytes_max)
            };
            assert!(last >= prev.index && last <= self.log.last_index(), "sizes of entries that are not in the log");
            self.send_append(peer, prev, last, effects);
            peer.on_sent(last, bytes, self.now);
            peer.commit_told = self.commit.min(last);
        }
    }

    /// Tells a follower that the commit index has moved, where no entries carried it.
    fn tell_commit(&self, peer: &mut Progress, effects: &mut Vec<Effect>) {
        let tellable = self.commit.min(peer.next_index.previous());
        if peer.pace != Pace::Replicate || tellable <= peer.commit_told {
            return;
        }
        // Bug L06: anchored at what is known to match, so that it cannot be refused whatever happened to the stream.
        let Some(prev) = self.log.position_at(peer.match_index) else { return };
        self.send_append(peer, prev, prev.index, effects);
        peer.commit_told = tellable;
    }

    fn send_append(&self, peer: &Progress, prev: LogPosition, last: Index, effects: &mut Vec<Effect>) {
        let first = prev.index.next();
        let request = AppendEntries {
            prev,
            last,
            runs: self.log.runs_between(first, last),
            configurations: self.membership.between(first, last),
            leader_commit: self.commit,
        };
        effects.push(self.message(peer.id, Body::AppendEntries(request)));
    }

    fn send_snapshot(&self, peer: &mut Progress, effects: &mut Vec<Effect>) {
        let silent = self.now.saturating_sub(peer.last_contact);
        if silent >= u64::from(self.settings.election_timeout_ticks) {
            // A snapshot is large: it waits for a sign of life.
            return peer.hold_probe(self.now);
        }
        peer.become_snapshot(self.now);
        let position = self.log.compacted();
        let configuration = self.membership.at(position.index).clone();
        effects.push(self.message(peer.id, Body::InstallSnapshot(SnapshotMeta { position, configuration })));
        effects.push(Effect::SendSnapshot { to: peer.id, at_least: position.index });
    }

    fn message(&self, to: NodeId, body: Body) -> Effect {
        Effect::Send { to, message: Message { term: self.term, body } }
    }
}
