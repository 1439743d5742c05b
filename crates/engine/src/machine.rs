//! What the engine asks of the state machine that it replicates.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_raft::{
    ChangeRefusal, Configuration, Exclusion, Index, Leadership, LogPosition, NodeId, ReadId, SnapshotMeta, Term,
};

use crate::error::EngineError;
use crate::proposals::NotTaken;

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
    /// This replica lost its leadership, or was found damaged, before it saw the end of the change. Whether it is or will be in
    /// force, only the membership tells.
    Unknown,
}

/// Why the state machine cannot go on: its disk failed, which ends the store, or what it reads is damaged, which ends this
/// replica's part in its group until it has been given another state.
#[derive(Debug, thiserror::Error)]
#[error("state machine of group {group}: {reason}")]
pub struct MachineError {
    /// Which group, as a number.
    pub group: u64,
    /// What happened, where, and what to do.
    pub reason: String,
    /// Bytes that were durable are not what was written. The replica can be mended: by its log, or by another member's state.
    pub damaged: bool,
}

/// What was done to mend a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mend {
    /// Lost entries that other members gave back.
    pub entries: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Entries that were replaced by what the other members had committed in their place.
    pub replaced: u64,
    /// Another member's state took the place of the own one, or of entries that nobody keeps any more.
    pub snapshot: Option<LogPosition>,
    /// How long the replica took no part in its group.
    pub took: Duration,
}

impl std::fmt::Display for Mend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Mend { entries, bytes, replaced, snapshot, took } = self;
        write!(f, "{entries} entries of {bytes} bytes fetched, {replaced} replaced by what was committed, ")?;
        match snapshot {
            Some(position) => write!(f, "a snapshot at {position} installed")?,
            None => write!(f, "no snapshot needed")?,
        }
        write!(f, ", in {took:?}")
    }
}

/// Work that makes a checkpoint durable; runs beside the engine.
pub type CheckpointJob<Done> = Box<dyn FnOnce() -> Result<Done, MachineError> + Send>;

/// Work that receives a part of a snapshot; runs beside the engine, in order. False where the transfer is to be given up.
pub type ReceiveJob = Box<dyn FnOnce() -> Result<bool, MachineError> + Send>;
/// Work that reads a part of the durable state and compares it with its checksums; runs beside the engine. The next job goes
/// on where it ended.
pub type ScrubStateJob = Box<dyn FnOnce() -> Result<ScrubbedState, MachineError> + Send>;

/// What a [`ScrubStateJob`] has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubbedState {
    /// Bytes read by this job.
    pub bytes: u64,
    /// Bytes of the whole state, about.
    pub total: u64,
}

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

    /// Whether somebody waits for a checkpoint, so that the next one should begin as soon as it can.
    fn wants_checkpoint(&self) -> bool {
        false
    }

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

    /// Whether what the last life left as its state could not be read, so that the machine is empty.
    fn state_lost(&self) -> bool;

    /// Whether those who read still have a state that was given up as damaged: what they report of it is known.
    fn awaits_state(&self) -> bool {
        self.state_lost()
    }

    /// The state was found damaged: drops it for good and is empty from here on, at [`LogPosition::START`] without a
    /// checkpoint. Whatever is written or received at the time means nothing any more.
    ///
    /// # Errors
    /// Where the machine cannot go on.
    fn lose_state(&mut self) -> Result<(), MachineError>;

    /// The next part of the state's scrub. None where the machine has none.
    fn scrub_job(&mut self) -> Option<ScrubStateJob> {
        None
    }

    /// The replica takes part in its group again, after it was damaged.
    fn mended(&mut self, mend: Mend);

    /// No member has what this replica lost, and too few are left to decide without it. It takes no part in its group; other
    /// groups go on. It still asks, now and then; should a copy turn up, [`StateMachine::mended`] says so.
    fn stopped(&mut self, reason: &EngineError);

    /// Begins to receive a snapshot beside the present state; drops one received before. `Ok(false)` where there is no room:
    /// the transfer is then given up.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn receive_begin(&mut self, meta: &SnapshotMeta) -> Result<bool, MachineError>;

    /// Receives part of it. `Ok(false)` where the part is damaged or there is no room: the transfer is then given up.
    ///
    /// # Errors
    /// Where it cannot be written.
    fn receive_rows(&mut self, rows: &Bytes) -> Result<bool, MachineError>;

    /// All parts are here: makes them durable beside the present state. `Ok(false)` where they are not whole
    /// or there is no room.
    ///
    /// # Errors
    /// Where they cannot be written.
    fn receive_end(&mut self) -> Result<bool, MachineError>;

    /// The work of [`StateMachine::receive_rows`], or behind the last part of [`StateMachine::receive_end`], to be done beside
    /// the engine. None where the machine does it in those calls.
    fn receive_job(&mut self, _rows: &Bytes, _last: bool) -> Option<ReceiveJob> {
        None
    }

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

    /// A proposal was refused before it entered any log, here or at the leader. Of one that the leader refused only the
    /// first bytes come back.
    fn refused(&mut self, payload: Bytes, why: NotTaken);

    /// Whether every member could apply this command. Asked of commands that another member forwards.
    fn accepts(&self, command: &Bytes) -> bool;

    /// Whether a command makes the store larger. While a disk is full such commands are refused.
    fn takes_space(&self, _command: &Bytes) -> bool {
        false
    }

    /// Whether the machine's own disk is full, so that nothing should be taken on that takes space.
    fn is_low_on_space(&self) -> bool {
        false
    }

    /// A question of the machine's own for the leader, with its name, if it has one now. Asked with each tick; the answer
    /// comes as to any other.
    fn question(&mut self, _now: Duration) -> Option<(u64, Bytes)> {
        None
    }

    /// Answers a question that only the leader can answer. Called while this replica leads.
    fn call(&mut self, now: Duration, body: &Bytes) -> Bytes;

    /// The answer to an own question; none where no leader answers.
    fn answered(&mut self, id: u64, body: Option<Bytes>);

    /// What came of [`crate::Event::ChangeMembership`] with this `id`. Never comes where the group has no leader for good.
    fn membership_answered(&mut self, id: u64, outcome: ChangeOutcome);

    /// The group says that this replica is not a member (any more): it takes part in nothing, and should be stopped.
    fn excluded(&mut self, exclusion: Exclusion);

    /// Time passes. Returns payloads that the machine itself wants to propose; only asked for while this replica leads and
    /// its disk answers. They are appended here or [dropped](StateMachine::dropped), never passed on to another leader: what
    /// is due is to be named again.
    fn tick(&mut self, now: Duration, leading: bool) -> Vec<Bytes>;

    /// None of what the last [tick](StateMachine::tick) gave was appended: too much is uncommitted, or this replica does not
    /// lead.
    fn dropped(&mut self) {}

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
    /// A write of the log has been under way for longer than an election timeout.
    pub disk_stalled: bool,
    /// A disk is full: whatever takes space is refused.
    pub low_space: bool,
    /// The replica was found damaged and takes no part in its group until it is whole again.
    pub mending: bool,
}

/// A snapshot being sent.
pub trait SnapshotSource: Send {
    /// The next part, of about `bytes_max` bytes; none after the last.
    ///
    /// # Errors
    /// Where the state cannot be read.
    fn next_rows(&mut self, bytes_max: usize) -> Result<Option<Bytes>, MachineError>;
}
