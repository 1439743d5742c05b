//! How long the disk takes: histograms that threads add to without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const BUCKETS: usize = 14;

/// Upper bounds of the buckets in seconds: 1 ms doubled, as etcd's for syncs and commits.
pub const BOUNDS: [f64; BUCKETS] =
    [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192];

/// Counts durations by bucket.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS + 1],
    nanoseconds: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bounds of the buckets in seconds: one millisecond, doubled thirteen times.
    pub bounds: Vec<f64>,
    /// How many durations fell into each bucket; the last is beyond all bounds.
    pub counts: Vec<u64>,
    /// Sum of all in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Adds one duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// What it holds now.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            bounds: BOUNDS.to_vec(),
            counts: self.counts.iter().map(|count| count.load(Relaxed)).collect(),
            sum: Duration::from_nanos(self.nanoseconds.load(Relaxed)).as_secs_f64(),
        }
    }
}

/// The durations that a runtime measures.
#[derive(Debug, Default)]
pub struct Timings {
    /// One write of the log with its sync.
    pub log_write: Histogram,
    /// One checkpoint.
    pub checkpoint: Histogram,
    /// Bytes of log on disk, as of the last turn.
    pub log_bytes: AtomicU64,
}
