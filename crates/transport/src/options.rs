//! Who we are, and the bounds and times of connections.

use std::time::Duration;

use kontiki_raft::NodeId;

use crate::frame::Class;

/// What a member says of itself when a connection opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Members of other clusters are refused.
    pub cluster_id: u64,
    /// This member.
    pub member_id: NodeId,
    /// Chosen at random when the process starts: tells it from its former lives.
    pub boot: u64,
}

/// Bounds and times.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of consensus traffic that may wait for one peer.
    pub consensus_bytes_max: usize,
    /// Bytes of snapshots that may wait for one peer.
    pub snapshot_bytes_max: usize,
    /// How long a dial, and on the other side a handshake, may take.
    pub handshake_timeout: Duration,
    /// Pause before the first redial of an outage; doubles with every failure.
    pub redial_min: Duration,
    /// The longest pause between redials.
    pub redial_max: Duration,
    /// Between two pings of a connection. An answer that is not there by the next one ends the connection.
    pub ping_interval: Duration,
    /// Accepted connections that may be in their handshake at once; more are closed.
    pub handshakes_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            consensus_bytes_max: 64 << 20,
            snapshot_bytes_max: 16 << 20,
            handshake_timeout: Duration::from_secs(5),
            redial_min: Duration::from_millis(10),
            redial_max: Duration::from_millis(500),
            ping_interval: Duration::from_secs(5),
            handshakes_max: 256,
        }
    }
}

impl Options {
    /// How many bytes of a class may wait for one peer.
    pub(crate) fn queue_bytes_max(&self, class: Class) -> usize {
        match class {
            Class::Consensus => self.consensus_bytes_max,
            Class::Snapshot => self.snapshot_bytes_max,
        }
    }
}
