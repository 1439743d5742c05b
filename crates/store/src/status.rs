//! What a member says of itself: for clients, for metrics, for whoever looks.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

pub use kontiki_engine::HistogramSnapshot;
use kontiki_engine::Progress;

/// Who leads, as this member knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Current term.
    pub term: u64,
    /// The leader, if known.
    pub leader: Option<u64>,
    /// This member leads.
    pub is_leader: bool,
}

/// A member's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The cluster.
    pub cluster_id: u64,
    /// This member.
    pub member_id: u64,
    /// The leader, if known.
    pub leader: Option<u64>,
    /// Current term.
    pub term: u64,
    /// This member leads.
    pub is_leader: bool,
    /// This member only learns.
    pub is_learner: bool,
    /// Known to be committed.
    pub raft_index: u64,
    /// Applied to the store.
    pub applied_index: u64,
    /// Bytes of the state's file and of what is only in memory.
    pub db_size: i64,
    /// Of these, in use.
    pub db_size_in_use: i64,
    /// The quota in bytes.
    pub quota: i64,
    /// What is wrong, in etcd's words.
    pub errors: Vec<String>,
}

/// Counters and gauges that the store keeps as it works.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) term: AtomicU64,
    pub(crate) commit: AtomicU64,
    pub(crate) applied: AtomicU64,
    pub(crate) low_space: AtomicBool,
    pub(crate) disk_stalled: AtomicBool,
    pub(crate) leader_changes: AtomicU64,
    pub(crate) proposals_applied: AtomicU64,
    pub(crate) proposals_failed: AtomicU64,
    pub(crate) read_indexes_failed: AtomicU64,
    pub(crate) puts: AtomicU64,
    pub(crate) deletes: AtomicU64,
    pub(crate) txns: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) leases_granted: AtomicU64,
    pub(crate) leases_revoked: AtomicU64,
    pub(crate) leases_renewed: AtomicU64,
    pub(crate) leases_expired: AtomicU64,
    pub(crate) snapshots_sent: AtomicU64,
    pub(crate) snapshots_installed: AtomicU64,
    pub(crate) mending: AtomicBool,
    pub(crate) mended: AtomicU64,
    pub(crate) watchers: AtomicI64,
    pub(crate) slow_watchers: AtomicI64,
    pub(crate) watch_streams: AtomicI64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Relaxed);
    }

    pub(crate) fn observe(&self, progress: Progress) {
        self.term.store(progress.term.0, Relaxed);
        self.commit.store(progress.commit.0, Relaxed);
        self.applied.store(progress.applied.0, Relaxed);
        self.low_space.store(progress.low_space, Relaxed);
        self.disk_stalled.store(progress.disk_stalled, Relaxed);
        self.mending.store(progress.mending, Relaxed);
    }
}

/// Traffic with one peer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeerStatistics {
    /// The peer.
    pub id: u64,
    /// A connection to it is established.
    pub connected: bool,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Frames that could not be sent.
    pub sent_failures: u64,
    /// How often an established connection to it was lost.
    pub disconnects: u64,
    /// Last round-trip time in seconds, where one was measured.
    pub rtt_seconds: Option<f64>,
    /// All round-trip times in seconds.
    pub rtt: HistogramSnapshot,
}

/// Numbers for metrics. Counters since start.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// A disk is full: whatever takes space is refused.
    pub low_space: bool,
    /// A write of the log has been under way for longer than an election timeout.
    pub disk_stalled: bool,
    /// Changes of leader seen.
    pub leader_changes: u64,
    /// Commit index.
    pub proposals_committed: u64,
    /// Entries applied: the applied index.
    pub proposals_applied: u64,
    /// Proposals that wait here.
    pub proposals_pending: u64,
    /// Proposals that failed here.
    pub proposals_failed: u64,
    /// Reads that could not be confirmed.
    pub read_indexes_failed: u64,
    /// Time of the log's write and sync, in seconds.
    pub log_sync: HistogramSnapshot,
    /// Bytes that the log holds on disk.
    pub log_bytes: u64,
    /// Time of a checkpoint, in seconds.
    pub checkpoint: HistogramSnapshot,
    /// Puts applied.
    pub put_total: u64,
    /// Deletions applied.
    pub delete_total: u64,
    /// Transactions applied.
    pub txn_total: u64,
    /// Watch events made.
    pub events_total: u64,
    /// Watches that are open.
    pub watchers: i64,
    /// Watches that lag and are served from storage.
    pub slow_watchers: i64,
    /// Watch streams that are open.
    pub watch_streams: i64,
    /// Leases granted.
    pub leases_granted: u64,
    /// Leases revoked.
    pub leases_revoked: u64,
    /// Leases renewed by this member as leader.
    pub leases_renewed: u64,
    /// Leases that this member as leader found over.
    pub leases_expired: u64,
    /// Snapshots that this member sent.
    pub snapshots_sent: u64,
    /// Snapshots that this member installed.
    pub snapshots_installed: u64,
    /// How often this member was found damaged and mended.
    pub mended: u64,
    /// Traffic by peer.
    pub peers: Vec<PeerStatistics>,
}
