//! Why an engine stops, or one of its groups. What stops the engine is final: the process ends and reads everything anew.

use kontiki_log::LogError;
use kontiki_raft::Index;

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
    /// No member has what this one lost. Stops a group, never the engine.
    #[error(
        "group {group}: {what} is lost here and no member has it: {said}; the group stays stopped until a member comes with a \
         copy: bring back one that is not running, or restore the members' data directories from a backup; other groups go on"
    )]
    LostEverywhere {
        /// The group.
        group: u64,
        /// The first lost entry; of a lost state, the last entry that it must hold.
        index: u64,
        /// The term of that entry.
        term: u64,
        /// The entry or the state, in words.
        what: String,
        /// What each member said.
        said: String,
    },
    /// The log of a group with a checkpoint is gone.
    #[error(
        "group {group}: there is a state (checkpoint at entry {checkpoint}), but the log knows nothing of the group: it was \
         moved, emptied or is another one (--wal-dir); put it back, or restore this member's data directory from a backup; \
         where neither can be done, remove this member from the cluster and add it anew with an empty data directory"
    )]
    LogLost {
        /// The group.
        group: u64,
        /// Last entry in the checkpoint; zero where the state cannot be read.
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

/// What was found damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Entries of the log.
    Entries(Index, Index),
    /// The state.
    State,
}

impl EngineError {
    /// The damage that this error speaks of, if it concerns one group and can be mended.
    pub(crate) fn damage(&self) -> Option<Damage> {
        match self {
            EngineError::Log(LogError::Lost { first, last, .. }) => Some(Damage::Entries(*first, *last)),
            EngineError::Machine(MachineError { damaged: true, .. }) => Some(Damage::State),
            EngineError::Log(_)
            | EngineError::Machine(_)
            | EngineError::LostEverywhere { .. }
            | EngineError::LogLost { .. }
            | EngineError::Payload { .. } => None,
        }
    }
}
