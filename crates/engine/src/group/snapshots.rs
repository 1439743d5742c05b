//! A group's snapshots: parts that come in, parts that go out, and the one that takes the state's place.

use bytes::Bytes;
use kontiki_raft::{Input, LogPosition, NodeId, SnapshotMeta};
use kontiki_transport::Frame;

use super::entries::NO_PAYLOADS;
use super::{Group, Shared};
use crate::error::EngineError;
use crate::machine::StateMachine;
use crate::transfer::{Incoming, Outcome, Outgoing, Part};

impl<S: StateMachine> Group<S> {
    /// A part of a snapshot came in.
    pub fn snapshot_part(
        &mut self,
        shared: &mut Shared,
        from: NodeId,
        meta: SnapshotMeta,
        sequence: u64,
        last: bool,
        rows: &Bytes,
    ) -> Result<(), EngineError> {
        if meta.position.index <= self.node.commit_index() {
            // Not needed any more; "accepted" ends the transfer at the sender, whose core probes the log.
            self.receiving = None;
            self.acknowledge(shared, from, &meta, sequence);
            return Ok(());
        }
        match Incoming::take(&mut self.receiving, &mut self.machine, from, &meta, sequence, last, rows)? {
            Part::Refused => {
                let position = meta.position;
                shared.send(from, Frame::SnapshotAck { group: self.id, position, sequence, accepted: false });
            }
            Part::Taken => self.acknowledge(shared, from, &meta, sequence),
            Part::Whole => {
                self.step(shared, Input::SnapshotReceived(meta.clone()), NO_PAYLOADS)?;
                self.acknowledge(shared, from, &meta, sequence);
            }
        }
        Ok(())
    }

    fn acknowledge(&self, shared: &mut Shared, to: NodeId, meta: &SnapshotMeta, sequence: u64) {
        shared.send(to, Frame::SnapshotAck { group: self.id, position: meta.position, sequence, accepted: true });
    }

    /// The receiver of a snapshot answered to a part.
    pub fn snapshot_answer(
        &mut self,
        shared: &mut Shared,
        from: NodeId,
        position: LogPosition,
        sequence: u64,
        accepted: bool,
    ) -> Result<(), EngineError> {
        let Some(transfer) = self.sending.get_mut(&from) else { return Ok(()) };
        if transfer.meta().position != position {
            return Ok(()); // answers a transfer that was given up
        }
        match transfer.acknowledge(sequence, accepted, shared.now) {
            Outcome::Goes => {
                for frame in transfer.parts(self.id, &shared.settings)? {
                    shared.send(from, frame);
                }
                Ok(())
            }
            Outcome::Arrived => self.end_sending(shared, from, Some(position)),
            Outcome::Failed => self.end_sending(shared, from, None),
        }
    }

    pub(super) fn end_sending(
        &mut self,
        shared: &mut Shared,
        to: NodeId,
        installed: Option<LogPosition>,
    ) -> Result<(), EngineError> {
        self.sending.remove(&to);
        self.step(shared, Input::SnapshotSent { to, installed }, NO_PAYLOADS)
    }

    /// Starts the snapshots that are wanted and can be had; one that must be newer than the last checkpoint waits for
    /// the next.
    pub(super) fn send_wanted(&mut self, shared: &mut Shared) -> Result<(), EngineError> {
        for wanted in std::mem::take(&mut self.wanted) {
            if self.machine.checkpointed().position.index < wanted.at_least {
                self.checkpoint_now = true;
                self.wanted.push(wanted);
                continue;
            }
            let (meta, source) = self.machine.snapshot()?;
            tracing::info!(group = self.id.0, to = %wanted.to, at = %meta.position, "sending a snapshot");
            let mut transfer = Outgoing::new(meta, source, shared.now);
            for frame in transfer.parts(self.id, &shared.settings)? {
                shared.send(wanted.to, frame);
            }
            self.sending.insert(wanted.to, transfer);
        }
        Ok(())
    }

    pub(super) fn install(&mut self, shared: &mut Shared, meta: &SnapshotMeta) -> Result<(), EngineError> {
        tracing::info!(group = self.id.0, at = %meta.position, "installing a snapshot");
        // The state first: a crash between the two leaves a state that is newer than the log, which opening mends.
        self.machine.install(meta)?;
        shared.log.reset(self.id, meta.position);
        self.applied = meta.position;
        self.committed = self.committed.max(meta.position.index);
        self.abandoned += u32::from(self.checkpointing.take().is_some());
        self.replay_bytes = 0;
        self.unsaved = None;
        self.settle_change(meta.position.index, &meta.configuration);
        Ok(())
    }
}
