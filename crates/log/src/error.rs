//! What can go wrong with files, each with what, where and what to do.

use std::io;
use std::path::PathBuf;

use kontiki_raft::{GroupId, Index};

use crate::types::Identity;

/// Why the log cannot go on, or cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused. After a failed write or sync nothing is known of what is on disk, so it is final.
    #[error("log: cannot {action} {}: {source}; check disk and permissions, then restart", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// An earlier write failed; its own error said why.
    #[error("log: an earlier write failed and nothing was written since; restart the process")]
    Failed,
    /// The entries asked for are gone.
    #[error("log: {group} was asked for entry {first}, but entries up to {compacted} are compacted; send a snapshot")]
    Compacted {
        /// The group.
        group: GroupId,
        /// First index that was asked for.
        first: Index,
        /// Last index that is gone.
        compacted: Index,
    },
    /// Bytes that were durable are not what was written.
    #[error(
        "log: {} is damaged at byte {offset}: {damage}; what was there is not known, so this member must not go on: remove it \
         from the cluster and add it anew with an empty directory",
        .file.display()
    )]
    Damaged {
        /// The segment, or the directory where a segment is missing.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was found.
        damage: Damage,
    },
    /// Entries that were durable are lost: the log knows their index and term, but not their payloads.
    #[error(
        "log: {group} lost entries {first} to {last}: {} at byte {offset}: {damage}; they can be fetched from other members",
        .file.display()
    )]
    Lost {
        /// The group.
        group: GroupId,
        /// First lost index of those asked for.
        first: Index,
        /// Last lost index behind it.
        last: Index,
        /// The segment.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was found.
        damage: Damage,
    },
    /// The directory belongs to somebody else.
    #[error("log: {} belongs to {found}, but this is {expected}; point this member to its own directory", .file.display())]
    Foreign {
        /// The segment.
        file: PathBuf,
        /// Who opened it.
        expected: Identity,
        /// Who wrote it.
        found: Identity,
    },
    /// An earlier release wrote the log.
    #[error(
        "log: {} was written by an earlier release in format {found}, and this release reads format {supported} alone; \
         start it with the release that wrote it, or let this member join anew",
        .file.display()
    )]
    OlderFormat {
        /// The segment.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The version that can be read.
        supported: u32,
    },
    /// A later release wrote the log.
    #[error(
        "log: {} has format {found}, and this release reads up to {supported}; run the release that wrote it or a later one",
        .file.display()
    )]
    NewerFormat {
        /// The segment.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that can be read.
        supported: u32,
    },
}

impl LogError {
    /// Whether the disk had no room for it.
    pub(crate) fn is_storage_full(&self) -> bool {
        matches!(self, LogError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

/// What is wrong with bytes that were durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file does not begin as a segment does.
    #[error("this is not the beginning of a segment")]
    NotASegment,
    /// The header's checksum does not match.
    #[error("the header's checksum is {found:08x}, expected {expected:08x}")]
    HeaderChecksum {
        /// As stored.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// The header is of a format that never was.
    #[error("the header has format {0}, which never existed")]
    UnknownFormat(u32),
    /// The header's checksum is right, but no segment has these numbers.
    #[error("the header says segment {number}, first batch {first_sequence}, {length} bytes, which no segment has")]
    Impossible {
        /// Number of the segment.
        number: u64,
        /// Sequence number of its first batch.
        first_sequence: u64,
        /// Length of its file.
        length: u64,
    },
    /// The file's name says something else than its header.
    #[error("the header says segment {found}, the name says {expected}")]
    Renamed {
        /// By the name.
        expected: u64,
        /// By the header.
        found: u64,
    },
    /// The file is shorter than when it was made.
    #[error("the file has {found} bytes, expected {expected}")]
    Shortened {
        /// By the header.
        expected: u64,
        /// As it is.
        found: u64,
    },
    /// A file between others is not there.
    #[error("segment {0} is missing")]
    MissingSegment(u64),
    /// The file's header is whole, but another one than that of the segment's other file.
    #[error("the header is of another life of the file")]
    OtherHeader,
    /// The header is somebody else's.
    #[error("the header belongs to {0}")]
    ForeignHeader(Identity),
    /// A batch that was durable, and what it held is not known from either of its two copies.
    #[error("batch {sequence} is invalid ({reason}), its row in the ledger as well, and it was durable: {proof}")]
    Identity {
        /// The batch expected here.
        sequence: u64,
        /// What is wrong with it.
        reason: BatchProblem,
        /// What shows that it was durable.
        proof: Proof,
    },
    /// The header or directory of a batch.
    #[error("batch {sequence} is invalid ({reason})")]
    Header {
        /// The batch.
        sequence: u64,
        /// What is wrong with it.
        reason: BatchProblem,
    },
    /// A row of a ledger.
    #[error("a row is invalid ({reason})")]
    Row {
        /// What is wrong with it.
        reason: BatchProblem,
    },
    /// Rows of a ledger are not there.
    #[error("rows of batches that were durable are missing")]
    MissingRows,
    /// The segment does not continue the one before it.
    #[error("the segment begins with batch {found}, expected {expected} or a later one")]
    WrongSequence {
        /// The least possible, as every segment holds a batch.
        expected: u64,
        /// By the header.
        found: u64,
    },
    /// The payloads' checksum does not match.
    #[error("the checksum of payloads in batch {sequence} is {found:08x}, expected {expected:08x}")]
    Payloads {
        /// The batch.
        sequence: u64,
        /// As stored.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// It was found before.
    #[error("batch {sequence} was found to be damaged before")]
    Known {
        /// The batch.
        sequence: u64,
    },
    /// The operating system could not read it.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// The file is not there.
    #[error("the file is missing")]
    MissingFile,
    /// A batch read back is not the one that was written there.
    #[error("batch {sequence} cannot be read back: {reason}")]
    ReadBack {
        /// The batch.
        sequence: u64,
        /// What is wrong with it.
        reason: BatchProblem,
    },
    /// A batch with a valid checksum does not make sense.
    #[error("batch {sequence} is whole but makes no sense: {reason}")]
    Nonsense {
        /// The batch.
        sequence: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Entries that must be there are not.
    #[error("{group} lacks its entries {first} to {last}")]
    MissingEntries {
        /// The group.
        group: GroupId,
        /// First missing index.
        first: Index,
        /// Last missing index.
        last: Index,
    },
}

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchProblem {
    /// Something else stands there.
    #[error("no batch begins here")]
    NoMagic,
    /// Its length is impossible.
    #[error("its length is {0}")]
    Length(u64),
    /// Its checksum does not match.
    #[error("its checksum is {found:08x}, expected {expected:08x}")]
    Checksum {
        /// As stored.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// It is another batch.
    #[error("it is batch {0}")]
    Sequence(u64),
    /// It is an earlier write to the same place.
    #[error("it is older than its row in the ledger")]
    Stale,
    /// Its header is whole, and its payloads are not.
    #[error("its payloads are not whole")]
    Payloads,
}

/// What shows that a batch was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Proof {
    /// Its row in the ledger.
    #[error("the ledger lists it")]
    Ledger,
    /// Its segment has its name.
    #[error("it is the first of its segment")]
    First,
    /// A later batch in the segment.
    #[error("batch {sequence} follows it at byte {offset}")]
    Later {
        /// The later batch.
        sequence: u64,
        /// Where that stands.
        offset: u64,
    },
    /// The row of a later batch.
    #[error("the ledger lists batch {0}")]
    LaterRow(u64),
    /// A later segment.
    #[error("the next segment begins with batch {0}")]
    Segment(u64),
}
