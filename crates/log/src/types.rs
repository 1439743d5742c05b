//! What goes in and out of the log.

use std::fmt;

use bytes::Bytes;
use kontiki_raft::{GroupId, HardState, Index, LogPosition, Term, TermRun, Ticket};

use crate::gaps::Gap;

/// An entry of one group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub index: Index,
    /// Term of the leader that created it.
    pub term: Term,
    /// Its bytes, which the log does not look into. Empty for the entry that a new leader begins with.
    pub payload: Bytes,
}

impl Entry {
    /// What the entry counts for in [`crate::Log::fit`] and [`crate::Log::entries`]: payload and [`ENTRY_OVERHEAD`].
    #[must_use]
    pub fn size(&self) -> u64 {
        self.payload.len() as u64 + ENTRY_OVERHEAD
    }
}

/// What an entry counts for besides its payload, so that empty entries are not free.
pub const ENTRY_OVERHEAD: u64 = 16;

/// A change that becomes durable wholly or not at all.
#[derive(Clone, Debug)]
pub struct Write {
    /// Whose log.
    pub group: GroupId,
    /// Reported by [`crate::Log::finish_write`] once this and all before it is durable.
    pub ticket: Ticket,
    /// New term and vote, where they changed.
    pub hard_state: Option<HardState>,
    /// Contiguous entries. What the log holds from the first one's index on is replaced.
    pub entries: Vec<Entry>,
}

/// Whose log it is. A log of another cluster or member is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u64,
    /// The member of the cluster.
    pub member_id: u64,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member {:x} of cluster {:x}", self.member_id, self.cluster_id)
    }
}

/// A log's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of a segment in bytes. One that must hold a larger batch is larger.
    pub segment_bytes: u64,
    /// Most bytes of entries kept in memory, over all groups. What is not yet durable stays beyond the bound.
    pub cache_bytes: u64,
    /// Most segments that are kept for reuse instead of being removed: writing to a used one spares the file system
    /// work at every sync.
    pub spare_segments: usize,
    /// The salt of new segments' checksums; the operating system's chance where none is given. Only tests that compare
    /// bytes have a reason to fix it.
    pub salt: Option<u64>,
    /// Whether space for one more segment is kept on the disk: [`crate::Log::space`].
    pub reserve: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { segment_bytes: 16 << 20, cache_bytes: 32 << 20, spare_segments: 2, salt: None, reserve: true }
    }
}

/// One group as found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Term and vote.
    pub hard_state: HardState,
    /// The entry before the first one in the log.
    pub compacted: LogPosition,
    /// Terms of the entries in the log, oldest first.
    pub runs: Vec<TermRun>,
    /// Last index; `compacted.index` where the log is empty.
    pub last: Index,
    /// Entries whose payloads are lost: sorted, disjoint, all of them in the log.
    pub gaps: Vec<Gap>,
}
