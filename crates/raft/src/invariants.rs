//! What must hold at every moment, and between two moments of one replica. Checked in release builds: a replica that
//! breaks one of these has lost track of the truth and must not go on.

use crate::interface::{Leadership, RoleKind};
use crate::node::Node;
use crate::rare::Optional;
use crate::role::Role;
use crate::types::Index;

/// What is compared between the beginning and the end of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) leadership: Leadership,
    voted_for: Optional,
    term_leader: Optional,
    commit_index: Index,
    applied: Index,
    last_index: Index,
}

impl Moment {
    pub(crate) fn of(node: &Node) -> Moment {
        Moment {
            leadership: node.leadership(),
            voted_for: node.voted_for,
            term_leader: node.term_leader,
            commit_index: node.commit_index,
            applied: node.applied,
            last_index: node.log.last_index(),
        }
    }

    /// Panics if the step from this moment to `node`'s present state was not one that Raft allows.
    pub(crate) fn check_against(&self, node: &Node) {
        let term = self.leadership.term;
        assert!(node.current_term >= term, "the term fell from {term} to {}", node.current_term);
        assert!(node.commit_index >= self.commit_index, "the commit index fell from {}", self.commit_index);
        assert!(node.applied >= self.applied, "the applied index fell from {}", self.applied);
        if node.current_term == term {
            if self.voted_for.get().is_some() {
                assert_eq!(node.voted_for, self.voted_for, "a vote is given once in a term");
            }
            if self.term_leader.get().is_some() {
                assert_eq!(node.term_leader, self.term_leader, "Election Safety");
            }
            if self.leadership.role == RoleKind::Leader && matches!(node.role, Role::Leader(_)) {
                assert!(node.log.last_index() >= self.last_index, "Leader Append-Only");
            }
        }
        check_order(node);
    }
}

/// `compacted ≤ applied ≤ commit ≤ last`, and nothing is durable or verified that is not there.
fn check_order(node: &Node) {
    let last = node.log.last_index();
    assert!(node.log.compacted().index <= node.applied, "compacted beyond what is applied");
    assert!(node.applied <= node.commit_index, "applied beyond what is committed");
    assert!(node.commit_index <= last, "commit index {} beyond the log's end {last}", node.commit_index);
    assert!(node.durability.index() <= last, "durable beyond the log's end");
    assert!(node.log.last_position().term <= node.current_term, "an entry from a term to come");
    if let Role::Follower(follower) = &node.role {
        assert!(follower.verified <= last, "verified beyond the log's end");
        assert!(follower.acknowledged <= follower.verified, "acknowledged what was not verified");
    }
}

impl Node {
    /// `match < next ≤ last + 1` for every peer of a leader, and no message counted that is not on its way.
    pub(crate) fn check_progress(&self) {
        let Role::Leader(leader) = &self.role else { return };
        let last = self.log.last_index();
        for peer in &leader.peers {
            assert!(peer.match_index < peer.next_index, "next index of {} is not above its match index", peer.id);
            assert!(peer.match_index <= last, "{} matches beyond the log's end", peer.id);
            assert!(peer.next_index <= last.next(), "next index of {} is beyond the log's end", peer.id);
        }
        if leader.uncommitted.is_empty() {
            assert_eq!(leader.uncommitted_bytes, 0, "nothing is uncommitted, so no bytes are");
        }
    }
}
