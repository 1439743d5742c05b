//! Where a turn's work goes: the runtime carries it out with sockets and threads, a simulator in its own time.

use kontiki_log::{ReserveJob, ScrubDone, ScrubJob, WriteJob};
use kontiki_raft::{GroupId, NodeId};
use kontiki_transport::Frame;

use crate::machine::{CheckpointJob, MachineError, ScrubStateJob, ScrubbedState, StateMachine};
use crate::transfer::PartJob;

/// Receives the engine's work as soon as it may begin.
pub trait Outbox<S: StateMachine> {
    /// Send these frames to a member, in order. May lose them.
    fn send(&mut self, to: NodeId, frames: Vec<Frame>);

    /// Run the write beside the engine and answer with [`crate::Event::LogWritten`]. One at a time.
    fn write(&mut self, job: WriteJob);

    /// Reserve space beside the engine, and not beside a write, and answer with [`crate::Event::LogReserved`].
    fn reserve(&mut self, job: ReserveJob);

    /// Write the part of a snapshot beside the engine, parts and checkpoints in order, and answer with
    /// [`crate::Event::PartWritten`].
    fn receive(&mut self, group: GroupId, job: PartJob);

    /// Run the checkpoint beside the engine and answer with [`crate::Event::CheckpointDone`].
    fn checkpoint(&mut self, group: GroupId, job: CheckpointJob<S::CheckpointDone>);

    /// Run this part of the scrub beside the engine, where nobody waits, and answer with [`crate::Event::Scrubbed`]. One at a
    /// time.
    fn scrub(&mut self, job: Scrub);
}

/// A part of the scrub.
pub enum Scrub {
    /// Of the log.
    Log(ScrubJob),
    /// Of a group's state.
    State(GroupId, ScrubStateJob),
}

impl Scrub {
    /// Does it.
    #[must_use]
    pub fn run(self) -> Scrubbed {
        match self {
            Scrub::Log(job) => Scrubbed::Log(job.run()),
            Scrub::State(group, job) => Scrubbed::State(group, job()),
        }
    }
}

impl std::fmt::Debug for Scrub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scrub::Log(_) => write!(f, "Scrub::Log"),
            Scrub::State(group, _) => write!(f, "Scrub::State({group})"),
        }
    }
}

/// What a part of the scrub found.
#[derive(Debug)]
pub enum Scrubbed {
    /// In the log.
    Log(ScrubDone),
    /// In a group's state.
    State(GroupId, Result<ScrubbedState, MachineError>),
}
