//! What the engine asks of the state machine that it replicates.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_raft::{
    ChangeRefusal, Configuration, Exclusion, Index, Leadership, LogPosition, NodeId, ReadId, SnapshotMeta, Term,
};

/// A committed entry on its way to the state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Where it stands.
    pub index: Index,
    /// Term of the leader that created it.
    pub term: Term,
    /// The command; none for the entries that Raft itself makes (blank, configuration).
    pub command: Option<Bytes>,
    /// The membership, where the entry is one. It has been in force here since it was appended; now it is for good.
    pub configuration: Option<Arc<Configuration>>,
}

/// What came of a change of membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// It is in force: committed, and no joint configuration any more.
    Done,
    /// Nothing has changed.
    Refused(ChangeRefusal),
    /// This replica lost its leadership before the change was committed. Whether it will be, only the membership tells.
    Unknown,
}

/// Why the state machine cannot go on: its disk failed or what it reads is damaged. Ends the store.
#[derive(Debug, thiserror::Error)]
#[error("state machine of group {group}: {reason}")]
pub struct MachineError {
    /// Which group, as a number.
    pub group: u64,
    /// What happened, where, and what to do.
    pub reason: String,
}

/// Work that makes a checkpoint durable; runs beside the engine.
pub type CheckpointJob<Done> = Box<dyn FnOnce() -> Result<Done, MachineError> + Send>;

/// A replicated state machine. Every method is called from the engine's turn, in order, never at the same time.
///
/// Everything that [`StateMachine::apply`] does must follow from the entries alone.
pub trait StateMachine: Send + 'static {
    /// What a finished checkpoint leaves to be taken over.
    type CheckpointDone: Send + 'static;

    /// What the last durable checkpoint stands for; [`LogPosition::START`] and the first configuration for a new group.
    fn checkpointed(&self) -> SnapshotMeta;

    /// Applies committed entries, in order and without a gap.
    ///
    /// # Errors
    /// Where the machine cannot go on.
    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), MachineError>;

    /// Bytes in memory that the last checkpoint does not hold.
    fn unsaved_bytes(&self) -> u64;

    /// Freezes the present state and returns the work that makes it durable with `at` and `configuration`. None where
    /// nothing changed.
    fn begin_checkpoint(
        &mut self,
        at: LogPosition,
        configuration: &Arc<Configuration>,
    ) -> Option<CheckpointJob<Self::CheckpointDone>>;

    /// Takes over a durable checkpoint.
    ///
    /// # Errors
    /// Where the machine cannot go on.
    fn finish_checkpoint(&mut self, done: Self::CheckpointDone) -> Result<(), MachineError>;

    /// Opens the last durable checkpoint for sending to another member.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn snapshot(&mut self) -> Result<(SnapshotMeta, Box<dyn SnapshotSource>), MachineError>;

    /// Begins to receive a snapshot beside the present state; drops one received before.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn receive_begin(&mut self, meta: &SnapshotMeta) -> Result<(), MachineError>;

    /// Receives part of it. `Ok(false)` where the part is damaged: the transfer is then given up.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn receive_rows(&mut self, rows: &Bytes) -> Result<bool, MachineError>;

    /// All parts are here: makes them durable beside the present state. `Ok(false)` where they are not whole.
    ///
    /// # Errors
    /// Where they cannot be written.
    fn receive_end(&mut self) -> Result<bool, MachineError>;

    /// Puts the received snapshot in the place of the state, atomically and durably.
    ///
    /// # Errors
    /// Where the machine cannot go on.
    fn install(&mut self, meta: &SnapshotMeta) -> Result<(), MachineError>;

    /// Role, term or leader changed.
    ///
    /// # Errors
    /// Where the machine cannot go on.
    fn leadership(&mut self, now: Duration, leadership: Leadership) -> Result<(), MachineError>;

    /// A batch of reads starts: those that have been asked for by now belong to `id`. False where there are none.
    fn reads_begin(&mut self, id: ReadId) -> bool;

    /// The reads of this batch may be served: what they must see is applied.
    fn reads_ready(&mut self, id: ReadId);

    /// The reads of this batch could not be confirmed; they join the next one.
    fn reads_again(&mut self, id: ReadId);

    /// A proposal was refused before it entered any log: too much waits already.
    fn refused(&mut self, payload: Bytes);

    /// Whether every member could apply this command. Asked of commands that another member forwards.
    fn accepts(&self, command: &Bytes) -> bool;

    /// Answers a question that only the leader can answer. Called while this replica leads.
    fn call(&mut self, now: Duration, body: &Bytes) -> Bytes;

    /// The answer to an own question; none where no leader answers.
    fn answered(&mut self, id: u64, body: Option<Bytes>);

    /// What came of [`crate::Event::ChangeMembership`] with this `id`. Never comes where the group has no leader for good.
    fn membership_answered(&mut self, id: u64, outcome: ChangeOutcome);

    /// The group says that this replica is not a member (any more): it takes part in nothing, and should be stopped.
    fn excluded(&mut self, exclusion: Exclusion);

    /// Time passes. Returns payloads that the machine itself wants to propose; only asked for while this replica leads.
    fn tick(&mut self, now: Duration, leading: bool) -> Vec<Bytes>;

    /// The core's view after a turn, for status pages.
    fn observe(&mut self, progress: Progress);
}

/// Where a group stands, for status pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Current term.
    pub term: Term,
    /// Known to be committed.
    pub commit: Index,
    /// Given to the state machine.
    pub applied: Index,
    /// Last entry of the log.
    pub last: Index,
    /// The leader, if known.
    pub leader: Option<NodeId>,
}

/// A snapshot being sent.
pub trait SnapshotSource: Send {
    /// The next part, of about `bytes_max` bytes; none after the last.
    ///
    /// # Errors
    /// Where the state cannot be read.
    fn next_rows(&mut self, bytes_max: usize) -> Result<Option<Bytes>, MachineError>;
}
