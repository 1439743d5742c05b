//! Where a group's entries stand on disk, and changes that do not fit.

use kontiki_raft::{Index, LogPosition, Term};

use crate::gaps::Gap;
use crate::types::ENTRY_OVERHEAD;

/// Entries of one group that stand in one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) sequence: u64,
    pub(crate) first: Index,
    pub(crate) count: u32,
    /// Bytes of the payloads; an estimate where a part of the extent is gone.
    pub(crate) bytes: u32,
}

impl Extent {
    pub(crate) fn last(&self) -> Index {
        Index(self.first.0 + u64::from(self.count) - 1)
    }

    /// What an entry of the extent counts for on average, rounded up.
    pub(crate) fn entry_size(&self) -> u64 {
        u64::from(self.bytes.div_ceil(self.count)) + ENTRY_OVERHEAD
    }

    pub(crate) fn span(&self) -> Gap {
        Gap { first: self.first, last: self.last() }
    }

    pub(crate) fn shorten(&mut self, count: u32) {
        self.bytes = (u64::from(self.bytes) * u64::from(count) / u64::from(self.count)) as u32;
        self.count = count;
    }
}

/// A change that does not fit the log as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Entries would leave a hole.
    #[error("entries from {first} on cannot follow a log that is compacted up to {compacted} and ends at {last}")]
    Append {
        /// Index of the first one.
        first: Index,
        /// Entries up to here are gone.
        compacted: Index,
        /// The log's last index.
        last: Index,
    },
    /// The log does not hold the position.
    #[error("a log that ends at {last} with {found:?} there cannot be compacted up to {position}")]
    Compact {
        /// The position.
        position: LogPosition,
        /// The log's last index.
        last: Index,
        /// The term that the log has there.
        found: Option<Term>,
    },
    /// An entry to mend is not the one that was lost.
    #[error("entry {index} of term {term} cannot mend a log that holds {found:?} there")]
    Mend {
        /// The entry's index.
        index: Index,
        /// The entry's term.
        term: Term,
        /// The term that the log has there; None where it holds no such entry.
        found: Option<Term>,
    },
}
