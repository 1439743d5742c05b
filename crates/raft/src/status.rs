//! A replica's state for people and metrics.

use crate::interface::Leadership;
use crate::node::Node;
use crate::progress::Pace;
use crate::role::Role;
use crate::types::{Index, NodeId};

/// What a replica knows, copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This replica.
    pub id: NodeId,
    /// Term, leader and role.
    pub leadership: Leadership,
    /// Last index known to be committed.
    pub commit_index: Index,
    /// Last index that the state machine holds.
    pub applied: Index,
    /// First index in the log.
    pub first_index: Index,
    /// Last index in the log.
    pub last_index: Index,
    /// Last index of the log's durable prefix.
    pub durable_index: Index,
    /// On a leader, the others as it sees them.
    pub peers: Vec<PeerStatus>,
}

/// One peer as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The peer.
    pub id: NodeId,
    /// Durable there and equal to the leader's log.
    pub match_index: Index,
    /// The next entry to send.
    pub next_index: Index,
    /// How entries are sent.
    pub pace: PaceKind,
    /// Messages with entries on their way.
    pub inflight: usize,
    /// Whether it was heard within an election timeout.
    pub active: bool,
}

/// How a leader sends to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaceKind {
    /// Looks for the place where both logs agree.
    Probe,
    /// Streams.
    Replicate,
    /// Waits until a snapshot is in place.
    Snapshot,
}

impl Node {
    /// Copies out what this replica knows.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            id: self.id(),
            leadership: Leadership { term: self.term(), leader: self.leader(), role: self.role() },
            commit_index: self.commit_index(),
            applied: self.applied(),
            first_index: self.first_index(),
            last_index: self.last_index(),
            durable_index: self.durable_index(),
            peers: self.peer_statuses(),
        }
    }

    fn peer_statuses(&self) -> Vec<PeerStatus> {
        let Role::Leader(leader) = &self.role else { return Vec::new() };
        let timeout = u64::from(self.settings.election_timeout_ticks);
        let peers = leader.peers.iter().map(|peer| PeerStatus {
            id: peer.id,
            match_index: peer.match_index,
            next_index: peer.next_index,
            pace: match peer.pace {
                Pace::Probe(_) => PaceKind::Probe,
                Pace::Replicate => PaceKind::Replicate,
                Pace::Snapshot { .. } => PaceKind::Snapshot,
            },
            inflight: peer.window.len(),
            active: leader.clock.saturating_sub(peer.last_contact) < timeout,
        });
        peers.collect()
    }
}
