//! Where a turn's work goes: the runtime carries it out with sockets and threads, a simulator in its own time.

use kontiki_log::WriteJob;
use kontiki_raft::{GroupId, NodeId};
use kontiki_transport::Frame;

use crate::machine::{CheckpointJob, StateMachine};

/// Receives the engine's work as soon as it may begin.
pub trait Outbox<S: StateMachine> {
    /// Send these frames to a member, in order. May lose them.
    fn send(&mut self, to: NodeId, frames: Vec<Frame>);

    /// Run the write beside the engine and answer with [`crate::Event::LogWritten`]. One at a time.
    fn write(&mut self, job: WriteJob);

    /// Run the checkpoint beside the engine and answer with [`crate::Event::CheckpointDone`].
    fn checkpoint(&mut self, group: GroupId, job: CheckpointJob<S::CheckpointDone>);
}
