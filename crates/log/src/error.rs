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
        "log: {} is damaged at byte {offset}: {damage}; \
         restore this member's data directory from a backup; replacing a member needs membership changes, which this version \
         does not have yet",
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
    /// A batch is invalid though a valid one follows it.
    #[error("batch {sequence} is invalid ({reason}), but batch {later} follows it at byte {later_offset}")]
    BeforeValid {
        /// The batch expected here.
        sequence: u64,
        /// What is wrong with it.
        reason: BatchProblem,
        /// The valid batch behind it.
        later: u64,
        /// Where that stands.
        later_offset: u64,
    },
    /// A batch is invalid though a later segment shows that it was durable.
    #[error("batch {sequence} is invalid ({reason}), but the next segment begins with batch {next}")]
    BeforeSegment {
        /// The batch expected here.
        sequence: u64,
        /// What is wrong with it.
        reason: BatchProblem,
        /// First batch of the next segment.
        next: u64,
    },
    /// The first batch of a segment is invalid, which no crash does: the file gets its name only after that.
    #[error("the segment's first batch, {sequence}, is invalid ({reason})")]
    FirstBatch {
        /// The batch expected here.
        sequence: u64,
        /// What is wrong with it.
        reason: BatchProblem,
    },
    /// The segment does not continue the one before it.
    #[error("the segment begins with batch {found}, expected {expected} or a later one")]
    WrongSequence {
        /// The least possible, as every segment holds a batch.
        expected: u64,
        /// By the header.
        found: u64,
    },
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
}
