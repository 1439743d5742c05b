//! How long some calls took, for histograms that etcd keeps at all times.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::registry::{MetricKind, family};
use super::text::Text;
use crate::methods::Method;

/// The calls that are measured.
pub(crate) struct Timed {
    ranges: [Histogram; 2],
    hash: Histogram,
    hash_by_revision: Histogram,
    defragment: Histogram,
    /// When a compaction was answered last, in seconds since 1970; zero for never.
    compacted_at: AtomicU64,
}

impl Timed {
    pub(crate) fn new() -> Timed {
        let histogram = Histogram::of;
        Timed {
            ranges: [histogram("etcd_server_range_duration_seconds"), histogram("etcd_server_range_duration_seconds")],
            hash: histogram("etcd_mvcc_hash_duration_seconds"),
            hash_by_revision: histogram("etcd_mvcc_hash_rev_duration_seconds"),
            defragment: histogram("etcd_disk_backend_defrag_duration_seconds"),
            compacted_at: AtomicU64::new(0),
        }
    }

    /// A unary call is done.
    pub(crate) fn observe(&self, method: Method, succeeded: bool, took: Duration) {
        match (method, succeeded) {
            (Method::Range, _) => self.ranges[usize::from(succeeded)].observe(took),
            (Method::Hash, true) => self.hash.observe(took),
            (Method::HashKv, true) => self.hash_by_revision.observe(took),
            (Method::Defragment, true) => self.defragment.observe(took),
            (Method::Compact, true) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.compacted_at.store(now.as_secs(), Relaxed);
            }
            _ => {}
        }
    }

    /// Writes the families.
    pub(crate) fn write(&self, text: &mut Text) {
        text.family(self.ranges[0].name);
        for (success, histogram) in ["false", "true"].into_iter().zip(&self.ranges) {
            histogram.write(text, &[("success", success)]);
        }
        for histogram in [&self.hash, &self.hash_by_revision, &self.defragment] {
            text.family(histogram.name);
            histogram.write(text, &[]);
        }
        text.value("etcd_debugging_mvcc_db_compaction_last", self.compacted_at.load(Relaxed));
    }
}

/// Durations counted by the bounds of a family.
struct Histogram {
    name: &'static str,
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    nanoseconds: AtomicU64,
}

impl Histogram {
    fn of(name: &'static str) -> Histogram {
        let MetricKind::Histogram(bounds) = family(name).kind else { panic!("{name} is no histogram") };
        let counts = bounds.iter().map(|_| AtomicU64::new(0)).chain([AtomicU64::new(0)]).collect();
        Histogram { name, bounds, counts, nanoseconds: AtomicU64::new(0) }
    }

    fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len());
        self.counts[bucket].fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    fn write(&self, text: &mut Text, labels: &[(&str, &str)]) {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        text.histogram(self.name, labels, self.bounds, &counts, self.nanoseconds.load(Relaxed) as f64 / 1e9);
    }
}
