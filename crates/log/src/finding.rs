//! What opening, scrubbing or inspecting a log found, and what was done about it.

use std::path::PathBuf;

use kontiki_raft::{GroupId, Index};

use crate::error::{BatchProblem, Damage};

/// One thing that was not as it should be. It names the file; those about a place in it name the byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A write that a crash interrupted, cut off the log's end. It was never reported as durable.
    #[error("log: {}: cut off a write that a crash interrupted at byte {offset}: {problem}", .file.display())]
    Cut {
        /// The last segment.
        file: PathBuf,
        /// Where the write began.
        offset: u64,
        /// What was wrong with it.
        problem: BatchProblem,
    },
    /// Payloads that were durable and are not what was written. Where the log still needs them they are a gap.
    #[error(
        "log: {}: {group} lost entries {first} to {last} at byte {offset}: {damage}{}",
        .file.display(), if *.needed { "" } else { " (no longer needed)" }
    )]
    Lost {
        /// The segment.
        file: PathBuf,
        /// Where the payloads stood.
        offset: u64,
        /// Whose entries.
        group: GroupId,
        /// First index.
        first: Index,
        /// Last index.
        last: Index,
        /// What was wrong.
        damage: Damage,
        /// Whether they are a gap: they were neither replaced nor compacted since.
        needed: bool,
    },
    /// A header or directory was damaged; its second copy in the segment's ledger is whole.
    #[error("log: {}: the header at byte {offset} was damaged ({damage}); its copy in the ledger is whole", .file.display())]
    Restored {
        /// The segment.
        file: PathBuf,
        /// Where the header stands.
        offset: u64,
        /// What was wrong.
        damage: Damage,
    },
    /// A ledger was damaged or missing while its segment is whole; opening writes it anew.
    #[error("log: {}: the ledger was damaged at byte {offset} ({damage}); it can be written anew from its segment", .file.display())]
    Ledger {
        /// The ledger.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// What was wrong.
        damage: Damage,
    },
    /// A segment's file is missing or shorter than it was made.
    #[error("log: {}: {damage}; what it held is known from its ledger", .file.display())]
    Short {
        /// The segment.
        file: PathBuf,
        /// How much of it is there.
        damage: Damage,
    },
    /// Nobody knows what a batch held, but nobody needs it either: opening removes its segment and those before it.
    #[error("log: {}: damaged at byte {offset} ({damage}); nothing of it is needed any more", .file.display())]
    Needless {
        /// The segment.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// What was wrong.
        damage: Damage,
    },
    /// A damaged part could not be put right from its second copy, which stays the only one.
    #[error("log: {}: what is damaged at byte {offset} cannot be written again: {error}", .file.display())]
    Unrepaired {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// The operating system's reason.
        error: String,
    },
    /// The operating system could not read a part of a file. It counts as damaged.
    #[error("log: {}: {bytes} bytes at byte {offset} cannot be read: {error}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Where the part begins.
        offset: u64,
        /// Its length.
        bytes: u64,
        /// The operating system's reason.
        error: String,
    },
}
