//! Why an engine stops. Each of these is final: the process ends and reads everything anew.

use kontiki_log::LogError;

use crate::entry::PayloadError;
use crate::machine::MachineError;

/// The world is wrong: a disk or what it holds.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The log could not be written, synced or read.
    #[error("the write-ahead log failed: {0}")]
    Log(#[from] LogError),
    /// A state machine cannot go on.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// Entries between checkpoint and log are missing.
    #[error(
        "group {group}: the checkpoint ends at entry {checkpoint}, but the log begins behind entry {log}: entries between \
         them are missing; restore this member's data directory from a backup; replacing a member needs membership \
         changes, which this version does not have yet"
    )]
    Hole {
        /// The group.
        group: u64,
        /// Last entry in the checkpoint.
        checkpoint: u64,
        /// The entry before the log's first.
        log: u64,
    },
    /// The log of a group with a checkpoint is gone.
    #[error(
        "group {group}: there is a checkpoint at entry {checkpoint}, but the log knows nothing of the group: it was moved, \
         emptied or is another one (--wal-dir); put it back, or restore this member's data directory from a backup; \
         replacing a member needs membership changes, which this version does not have yet"
    )]
    LogLost {
        /// The group.
        group: u64,
        /// Last entry in the checkpoint.
        checkpoint: u64,
    },
    /// A committed entry cannot be understood.
    #[error("entry {index} of group {group} in the log cannot be read: {source}")]
    Payload {
        /// The group.
        group: u64,
        /// The entry.
        index: u64,
        /// What is wrong with it.
        source: PayloadError,
    },
}
