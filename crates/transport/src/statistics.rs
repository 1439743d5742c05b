//! What is counted per peer.

use std::sync::atomic::{AtomicU64, Ordering};

/// One peer's figures since it became known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerStatistics {
    /// Our connection to the peer for consensus traffic is established.
    pub connected: bool,
    /// The peer's connection to us for consensus traffic is established.
    pub accepted: bool,
    /// Frames queued for the peer.
    pub frames_sent: u64,
    /// Bytes written to the peer's connections.
    pub bytes_sent: u64,
    /// Frames dropped because there was no connection or the queue was full.
    pub frames_dropped: u64,
    /// Bytes that wait to be written.
    pub bytes_pending: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// How often an established connection to the peer, of either class, was lost.
    pub disconnects: u64,
    /// The last round trip of a ping, in microseconds.
    pub rtt_us: Option<u64>,
}

/// A number that several threads add to.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters behind [`PeerStatistics`].
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) frames_sent: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) frames_dropped: Counter,
    pub(crate) frames_received: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) disconnects: Counter,
    /// Zero: not measured yet.
    pub(crate) rtt_us: Counter,
}
