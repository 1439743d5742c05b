//! Compaction, and snapshots for those who need what was compacted (dissertation §5).

use std::sync::Arc;

use crate::interface::Effect;
use crate::node::Node;
use crate::planted::planted;
use crate::role::Role;
use crate::types::{Index, LogPosition, NodeId, SnapshotMeta};

impl Node {
    /// The driver cut the log behind a checkpoint. Reports may come late or twice.
    pub(crate) fn on_compacted(&mut self, index: Index) {
        if index <= self.log.compacted().index {
            return;
        }
        assert!(index <= self.applied, "compaction at {index} goes beyond what is applied, {}", self.applied);
        self.log.compact(index);
        self.membership.compact(index);
    }

    /// A snapshot stream to a follower ended.
    pub(crate) fn on_snapshot_sent(&mut self, to: NodeId, installed: Option<LogPosition>) {
        let Role::Leader(leader) = &mut self.role else { return };
        let now = leader.clock;
        // What stands beyond the own log was not this leader's to send.
        let installed = installed.map(|position| position.index).filter(|index| *index <= self.log.last_index());
        if let Some(peer) = leader.peer_mut(to) {
            peer.on_snapshot_ended(installed, now);
            leader.has_news = true;
        }
    }

    /// A whole snapshot is durable beside the state. Taken if it is newer than what is committed here.
    ///
    /// What a snapshot contains is committed, and every leader of a later term than its sender's has it in its log
    /// (Leader Completeness). A follower that is still in an earlier term may report it to that term's leader all the
    /// same: this cannot complete a quorum there, because whoever voted for a later leader had left the term before any
    /// snapshot of that leader existed.
    pub(crate) fn on_snapshot_received(&mut self, meta: SnapshotMeta, effects: &mut Vec<Effect>) {
        let index = meta.position.index;
        if index <= self.commit_index {
            let known = self.log.term_at(index).is_none_or(|term| term == meta.position.term);
            assert!(known, "State Machine Safety: snapshot {} disagrees with a committed entry", meta.position);
            return;
        }
        if meta.configuration.voters.is_empty() {
            return; // whoever took it would not know whom to listen to
        }
        if matches!(self.role, Role::Leader(_)) {
            return; // a leader has everything that is committed, and finds out by counting
        }
        if meta.position.term > self.current_term {
            // The snapshot overtook its sender's messages. It proves that its entry's term has begun.
            self.become_follower(meta.position.term, None, effects);
        }
        let term = self.log.term_at(index);
        let already_held = term == Some(meta.position.term) || planted(26) && term.is_some();
        if already_held {
            self.set_commit(index); // bug S03: the log goes on behind it and stays
        } else {
            // One place sets every cursor (bug S07).
            self.log.reset(meta.position);
            let keeps = planted(27) && !self.membership.current().voters.is_empty();
            let configuration = if keeps { self.membership.current() } else { &meta.configuration };
            self.membership.reset(index, Arc::clone(configuration));
            self.note_membership();
            self.durability.reset(index);
            self.commit_index = index;
            self.applied = index;
            self.commit_moved = false;
            effects.push(Effect::InstallSnapshot(meta));
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.verified = follower.verified.max(index).min(self.log.last_index());
            follower.acknowledged = follower.acknowledged.min(follower.verified);
            follower.answer_due = true;
        }
    }
}
