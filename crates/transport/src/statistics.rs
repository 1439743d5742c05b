//! What is counted per peer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One peer's figures since it became known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerStatistics {
    /// Our connection to the peer for consensus traffic is established.
    pub connected: bool,
    /// For how long it has been, where it is.
    pub connected_for: Option<Duration>,
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
    /// How many round trips took at most 100 microseconds, doubled with each place; the last are beyond all bounds.
    pub rtt_counts: [u64; RTT_BUCKETS],
    /// All round trips together, in microseconds.
    pub rtt_sum_us: u64,
}

/// Fifteen doublings of a tenth of a millisecond, and what takes longer.
pub const RTT_BUCKETS: usize = 17;

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
    pub(crate) rtt_counts: [Counter; RTT_BUCKETS],
    pub(crate) rtt_sum_us: Counter,
}

impl Counters {
    /// A ping was answered after so long.
    pub(crate) fn round_trip(&self, microseconds: u64) {
        self.rtt_us.set(microseconds);
        self.rtt_sum_us.add(microseconds);
        let bucket = (0..RTT_BUCKETS - 1).find(|doublings| microseconds <= 100 << doublings).unwrap_or(RTT_BUCKETS - 1);
        self.rtt_counts[bucket].add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_counted_by_doubled_bounds() {
        let counters = Counters::default();
        for microseconds in [1, 100, 101, 3_276_800, 3_276_801, u64::from(u32::MAX)] {
            counters.round_trip(microseconds);
        }
        let counts: Vec<u64> = counters.rtt_counts.iter().map(Counter::get).collect();
        assert_eq!((counts[0], counts[1], counts[15], counts[16]), (2, 1, 1, 2));
        assert_eq!(counts.iter().sum::<u64>(), 6);
    }
}
