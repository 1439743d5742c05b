//! Replication and commitment (dissertation §3.5, §3.6.2).

use std::sync::Arc;

use crate::decision::{Decision, Ignored, StepDown};
use crate::interface::{Append, Content, Effect, EntrySizes, Refusal, Settings};
use crate::log_view::{LogView, clip_runs};
use crate::membership::Membership;
use crate::message::{
    AppendAccepted, AppendEntries, AppendRejected, Body, Entries, Heartbeat, HeartbeatReply, Message,
};
use crate::node::Node;
use crate::planted::planted;
use crate::progress::{Pace, Progress};
use crate::quorum;
use crate::role::{Leader, Role};
use crate::types::{Incarnation, Index, LogPosition, NodeId, SnapshotMeta, Term, TermRun};

/// A snapshot that nobody reports on is given up after so many election timeouts (bug S02).
const SNAPSHOT_TIMEOUTS: u64 = 10;

/// The follower's side.
impl Node {
    /// Receives AppendEntries of the current term (§3.5; receiver rules of Figure 3.1).
    pub(crate) fn on_append_entries(&mut self, from: NodeId, request: AppendEntries, effects: &mut Vec<Effect>) {
        let AppendEntries { entries, leader_commit, session } = request;
        if !self.holds(entries.prev) {
            let refusal = self.refusal(entries.prev, session);
            return self.send(from, Body::AppendRejected(refusal), effects);
        }
        let (prev, last) = (entries.prev.index, entries.last);
        self.take_entries(entries, effects);
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

    /// Appends what is new in entries whose `prev` matches.
    pub(crate) fn take_entries(&mut self, entries: Entries, effects: &mut Vec<Effect>) {
        let Entries { prev, last, runs, configurations } = entries;
        // Bug L01: a late, shorter request must not cut a longer log that agrees with it.
        let Some(first) = self.first_to_take(prev.index, &runs, last) else { return };
        assert!(first > self.commit_index, "Leader Completeness: entry {first} is committed and would be replaced");
        let own_last = self.log.last_index();
        let mut changed = false;
        if first <= own_last {
            self.decide(|| Decision::Truncated { first, last: own_last });
            self.log.truncate(first);
            changed = self.membership.truncate(first);
        }
        let runs = if first == prev.index.next() { runs } else { clip_runs(&runs, first, last) };
        self.log.append(&runs, last);
        for (index, configuration) in configurations {
            if index >= first {
                self.membership.append(index, configuration);
                changed = true;
            }
        }
        if changed {
            self.note_membership();
        }
        self.durability.appended(first, last);
        self.stage(Append { first, last, runs, content: Content::Received }, effects);
    }

    /// The first entry of `after + 1 ..= last` that is not held as it was sent.
    fn first_to_take(&self, after: Index, runs: &[TermRun], last: Index) -> Option<Index> {
        if planted(15) {
            return Some(after.max(self.commit_index).next()).filter(|first| *first <= last);
        }
        self.log.first_difference(after, runs, last)
    }

    /// The one way in which a follower's commit index moves: no further than the leader's, and no further than the own
    /// log is known to equal the leader's (bugs C02, C04).
    fn advance_commit(&mut self, leader_commit: Index, verified: Index) {
        let commit = leader_commit.min(if planted(14) { self.log.last_index() } else { verified });
        if commit > self.commit_index {
            self.set_commit(commit);
        }
    }

    /// Moves the commit index; the driver is told when the turn ends.
    pub(crate) fn set_commit(&mut self, index: Index) {
        assert!(index > self.commit_index, "the commit index only grows");
        self.commit_index = index;
        self.commit_moved = true;
    }

    /// Receives a heartbeat. The answer waits for the term to be durable, never for entries.
    pub(crate) fn on_heartbeat(&mut self, from: NodeId, heartbeat: Heartbeat, effects: &mut Vec<Effect>) {
        self.note_counted_on(heartbeat);
        let Role::Follower(follower) = &mut self.role else { unreachable!("who hears a leader follows it") };
        let verified = follower.verified;
        // The leader counts on more than this life knows to be equal: it is told, and sends what verifies it.
        if heartbeat.commit > verified {
            follower.answer_due = true;
        }
        self.advance_commit(heartbeat.commit, verified);
        self.answer_heartbeat(from, self.current_term, heartbeat, effects);
    }

    pub(crate) fn answer_heartbeat(&mut self, to: NodeId, term: Term, asked: Heartbeat, effects: &mut Vec<Effect>) {
        let Heartbeat { round, session, .. } = asked;
        let reply = HeartbeatReply { round, session, promise_ticks: self.promise_ticks() };
        self.send_in_term(to, term, Body::HeartbeatReply(reply), effects);
    }

    /// Tells the leader what is both durable here and equal to its log (bugs C03, C18), once for all requests of a turn.
    pub(crate) fn acknowledge(&mut self, effects: &mut Vec<Effect>) {
        let durable = self.durability.index();
        if !self.hard_state_is_durable() {
            return;
        }
        let leader = self.leader();
        let (Role::Follower(follower), Some(leader)) = (&mut self.role, leader) else { return };
        let matched = follower.verified.min(durable);
        let complete = durable >= follower.verified; // else more becomes durable soon, and is told then
        if matched > follower.acknowledged || (follower.answer_due && complete) {
            follower.acknowledged = follower.acknowledged.max(matched);
            follower.answer_due = !complete;
            let session = follower.session;
            let matched = if planted(17) { durable } else { matched };
            self.send(leader, Body::AppendAccepted(AppendAccepted { matched, session }), effects);
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
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => Some(Refusal::NotLeader(self.leader())),
        };
        match refusal {
            Some(refusal) => effects.push(Effect::ProposalRefused(refusal)),
            None => self.append_own(count, bytes, Content::Proposals, effects),
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
            return self.resign(StepDown::NoQuorum, effects);
        }
        for peer in &mut leader.peers {
            if matches!(peer.pace, Pace::Snapshot { since } if now - since >= timeout * SNAPSHOT_TIMEOUTS) {
                peer.on_snapshot_ended(None, now);
            }
        }
        leader.heartbeat_elapsed += 1;
        if leader.heartbeat_elapsed >= self.settings.heartbeat_interval_ticks {
            self.broadcast_heartbeat(effects);
        }
        self.tend_membership(effects);
        self.hand_over_by_priority();
        self.pass_transfer_time(effects);
    }

    /// Whether an answer is of the present session of its sender's membership (bug M30). Anything that is lets the peer
    /// count as alive, in that life of its disk.
    pub(crate) fn answers_session(&mut self, from: NodeId, session: Index, incarnation: Option<Incarnation>) -> bool {
        let Role::Leader(leader) = &mut self.role else { return false };
        let now = leader.clock;
        let Some(peer) = leader.peer_mut(from) else { return false };
        if peer.session != session && !planted(19) {
            self.decide(|| Decision::Ignores { from, why: Ignored::OtherSession });
            return false;
        }
        peer.last_contact = now;
        if peer.incarnation.is_none() {
            peer.incarnation = incarnation;
        }
        peer.incarnation == incarnation
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
        peer.note_round(last, now, u64::from(self.settings.election_timeout_ticks));
        leader.has_news = true;
    }

    /// A follower lacks the entry before those that were sent, or has another one there (§3.5, fast back-off).
    pub(crate) fn on_append_rejected(&mut self, from: NodeId, answer: AppendRejected) {
        if planted(16) {
            return self
                .on_append_accepted(from, AppendAccepted { matched: answer.hint.index, session: answer.session });
        }
        if answer.rejected == AppendRejected::FORGOTTEN {
            return self.on_forgotten(from, answer.hint);
        }
        // The follower's hint skips its entries of terms that this log cannot have there; looking the hint up here skips
        // the entries of terms that the follower cannot have. Each round passes over a whole term on one side at least.
        let candidate = self.log.newest_that_can_match(answer.hint);
        let Role::Leader(leader) = &mut self.role else { unreachable!("dispatched to leaders only") };
        let Some(peer) = leader.peer_mut(from) else { return };
        if peer.on_rejected(answer.rejected, candidate.index) {
            let behind = peer.next_index.previous();
            leader.has_news = true;
            self.decide(|| Decision::Probes { peer: from, behind });
        }
    }

    /// Ends a leader's turn.
    pub(crate) fn flush_leader(&mut self, sizes: &dyn EntrySizes, effects: &mut Vec<Effect>) {
        let Role::Leader(leader) = &mut self.role else { unreachable!("called for leaders only") };
        if !std::mem::take(&mut leader.has_news) {
            return;
        }
        self.commit_by_counting();
        self.release_uncommitted();
        if self.is_voted_out() && !self.hands_over() {
            self.on_transfer_leadership(None);
        }
        self.send_appends(sizes, effects);
        self.tell_departing(effects);
        self.open_read_round(effects);
        self.hand_over_if_ready(effects);
        self.check_progress();
    }

    /// Commits what a quorum holds durably. The leader counts itself by what its own disk holds (bug C10), if it votes
    /// at all (bug M33), and only up to entries of its own term: with those, and not by counting, everything before them
    /// is committed (§3.6.2, Figure 3.7; bug C01).
    fn commit_by_counting(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let held = self.held_by_quorum(leader);
        if held <= self.commit_index {
            return;
        }
        let own_term = may_commit(&self.log, held, self.current_term);
        if !own_term && !planted(13) {
            let held = self.log.position_at(held).expect("what is not committed is not compacted");
            return self.decide(|| Decision::NotCommittedYet { held });
        }
        let Role::Leader(leader) = &mut self.role else { return };
        leader.committed_in_own_term |= own_term;
        self.set_commit(held);
        self.decide(|| Decision::Committed { up_to: held });
    }

    /// Makes room for proposals, by what is both committed and durable here: with a disk that hangs, the rest of the
    /// group commits without it, and what waits in memory must not grow without a bound (bug G08).
    fn release_uncommitted(&mut self) {
        let done = self.commit_index.min(self.durability.index());
        let Role::Leader(leader) = &mut self.role else { return };
        while let Some((_, bytes)) = leader.uncommitted.front().filter(|(last, _)| *last <= done) {
            leader.uncommitted_bytes -= bytes;
            leader.uncommitted.pop_front();
        }
    }

    /// What a quorum holds durably, as far as this leader knows.
    pub(crate) fn held_by_quorum(&self, leader: &Leader) -> Index {
        let configuration = self.membership.current();
        let early = planted(21) || planted(22) && quorum::is_sole_voter(configuration, self.id);
        let own = if early { self.log.last_index() } else { self.durability.index() };
        let held =
            |voter| if voter == self.id { own.0 } else { leader.peer(voter).map_or(0, |peer| peer.match_index.0) };
        if planted(37) && !configuration.is_voter(self.id) {
            return Index(quorum::reached_with(configuration, &[self.id], held));
        }
        Index(quorum::reached(configuration, held))
    }

    fn send_appends(&mut self, sizes: &dyn EntrySizes, effects: &mut Vec<Effect>) {
        let incarnation = self.incarnation();
        let Role::Leader(leader) = &mut self.role else { return };
        let sender = Sender {
            incarnation,
            log: &self.log,
            membership: &self.membership,
            settings: &self.settings,
            term: self.current_term,
            commit: self.commit_index,
            now: leader.clock,
            sizes,
        };
        let listening = self.listening;
        let mut in_need = Vec::new();
        for peer in &mut leader.peers {
            let waited = matches!(peer.pace, Pace::Snapshot { .. });
            sender.send_entries(peer, effects);
            // Who may know nothing, because it has restarted, cannot wait for entries that may not come.
            if self.settings.tell_commit_at_once || peer.commit_told == Index(0) {
                sender.tell_commit(peer, effects);
            }
            if listening && !waited && matches!(peer.pace, Pace::Snapshot { .. }) {
                in_need.push(Decision::SendsSnapshot { peer: peer.id, next: peer.next_index });
            }
        }
        for decision in in_need {
            self.decide(|| decision);
        }
    }
}

/// Whether a leader of `term` commits by counting that a quorum holds everything up to `held`. Terms never fall along a
/// log: if the entry there is of an earlier term, so is everything before it.
fn may_commit(log: &LogView, held: Index, term: Term) -> bool {
    log.term_at(held) == Some(term)
}

/// What a leader sends from, while its peers change.
struct Sender<'a> {
    incarnation: Option<Incarnation>,
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
        let (runs, configurations) = (self.log.runs_between(first, last), self.membership.between(first, last));
        let entries = Entries { prev, last, runs, configurations };
        let request = AppendEntries { entries, leader_commit: self.commit, session: peer.session };
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
        let configuration = Arc::clone(self.membership.at(position.index));
        effects.push(self.message(peer.id, Body::InstallSnapshot(SnapshotMeta { position, configuration })));
        effects.push(Effect::SendSnapshot { to: peer.id, at_least: position.index });
    }

    fn message(&self, to: NodeId, body: Body) -> Effect {
        Effect::Send { to, message: Message { term: self.term, incarnation: self.incarnation, body } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Configuration;
    use crate::types::TermRuns;

    /// Figure 3.1, rules for leaders: the largest N beyond the commit index that a majority's match indexes have reached
    /// and whose entry is of the current term.
    fn textbook(terms: &[u64], matched: &[u64], current: u64) -> u64 {
        let majority = |n: u64| matched.iter().filter(|held| **held >= n).count() * 2 > matched.len();
        (1..=terms.len() as u64).rev().find(|n| majority(*n) && terms[*n as usize - 1] == current).unwrap_or(0)
    }

    /// Every log of four entries of three terms, and every combination of match indexes of one to seven voters.
    #[test]
    fn counting_commits_what_the_textbook_says() {
        let mut committed = 0;
        for shape in 0..27_u64 {
            let terms = [1, 1 + shape % 3, 1 + shape / 3 % 3, 1 + shape / 9 % 3];
            if !terms.is_sorted() {
                continue;
            }
            let mut runs = TermRuns::None;
            for (place, term) in terms.iter().enumerate() {
                if place == 0 || terms[place - 1] < *term {
                    runs.push(TermRun { term: Term(*term), first: Index(place as u64 + 1) });
                }
            }
            let log = LogView::new(LogPosition::START, runs, Index(4));
            for voters in 1..=7_u32 {
                let configuration = Configuration::of((0..u64::from(voters)).map(NodeId));
                for number in 0..5_u64.pow(voters) {
                    let matched: Vec<u64> = (0..voters).map(|place| number / 5_u64.pow(place) % 5).collect();
                    let held = Index(quorum::reached(&configuration, |voter| matched[voter.0 as usize]));
                    let counted = if may_commit(&log, held, Term(3)) { held.0 } else { 0 };
                    assert_eq!(counted, textbook(&terms, &matched, 3), "{terms:?} held as {matched:?}");
                    committed += u64::from(counted > 0);
                }
            }
        }
        assert!(committed > 100_000, "too little is committed to compare: {committed}");
    }
}
