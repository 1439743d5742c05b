//! A group's snapshots: parts that come in, parts that go out, and the one that takes the state's place.

use bytes::Bytes;
use kontiki_raft::planted::planted;
use kontiki_raft::{Input, LogPosition, NodeId, SnapshotMeta};
use kontiki_transport::Frame;

use super::entries::NO_PAYLOADS;
use super::{Group, Shared};
use crate::error::EngineError;
use crate::machine::StateMachine;
use crate::transfer::{HOLDS_ALL, Incoming, Outcome, Outgoing, Part, PartDone};

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
        if meta.position.index <= self.node.commit_index() && !planted(28) {
            // Not needed, or installed and the acknowledgement was lost. It must count as arrived: the sender's core then
            // probes behind it, and would else send it again.
            self.receiving = None;
            self.answer_part(shared, from, &meta, HOLDS_ALL, true);
            return Ok(());
        }
        let group = self.id;
        let begin = |job| shared.parts.push((group, job));
        let part = Incoming::take(&mut self.receiving, &mut self.machine, from, &meta, sequence, last, rows, begin)?;
        self.part_taken(shared, from, meta, sequence, part)
    }

    /// A part was written beside the engine.
    pub fn part_done(&mut self, shared: &mut Shared, done: PartDone) -> Result<(), EngineError> {
        match Incoming::finish(&mut self.receiving, done)? {
            Some((from, meta, sequence, part)) => self.part_taken(shared, from, meta, sequence, part),
            None => Ok(()),
        }
    }

    fn part_taken(
        &mut self,
        shared: &mut Shared,
        from: NodeId,
        meta: SnapshotMeta,
        sequence: u64,
        part: Part,
    ) -> Result<(), EngineError> {
        match part {
            Part::Refused => self.answer_part(shared, from, &meta, sequence, false),
            Part::Pending(Some(written)) => self.answer_part(shared, from, &meta, written, true),
            Part::Pending(None) => {}
            Part::Taken => self.answer_part(shared, from, &meta, sequence, true),
            Part::Whole => {
                self.step(shared, Input::SnapshotReceived(meta.clone()), NO_PAYLOADS)?;
                if planted(28) && meta.position < self.applied {
                    self.machine.install(&meta)?;
                }
                self.answer_part(shared, from, &meta, sequence, true);
            }
        }
        Ok(())
    }

    fn answer_part(&self, shared: &mut Shared, to: NodeId, meta: &SnapshotMeta, sequence: u64, accepted: bool) {
        let position = meta.position;
        shared.send(to, Frame::SnapshotAck { group: self.id, position, sequence, accepted });
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
            Outcome::Goes => self.send_parts(shared, from),
            Outcome::Arrived => self.end_sending(shared, from, Some(position)),
            Outcome::Failed => self.end_sending(shared, from, None),
        }
    }

    /// Sends what may go of a transfer.
    fn send_parts(&mut self, shared: &mut Shared, to: NodeId) -> Result<(), EngineError> {
        let transfers = self.sending.len();
        let Some(transfer) = self.sending.get_mut(&to) else { return Ok(()) };
        for frame in transfer.parts(self.id, shared.now, &shared.settings, transfers)? {
            shared.send(to, frame);
        }
        Ok(())
    }

    /// Time passes for the snapshots on their way: one that makes no progress is given up, others go on.
    pub(super) fn tend_sending(&mut self, shared: &mut Shared) -> Result<(), EngineError> {
        let receivers: Vec<NodeId> = self.sending.keys().copied().collect();
        for to in receivers {
            let Some(transfer) = self.sending.get_mut(&to) else { continue };
            if transfer.stalled(shared.now, &shared.settings) {
                tracing::warn!(group = self.id.0, %to, "gave up a snapshot that made no progress");
                self.end_sending(shared, to, None)?;
                continue;
            }
            transfer.pass_time(shared.now);
            self.send_parts(shared, to)?;
        }
        self.send_wanted(shared)
    }

    /// A member can be reached (again): a snapshot on its way to it goes on where it broke off.
    pub fn connected(&mut self, shared: &mut Shared, peer: NodeId) -> Result<(), EngineError> {
        if let Some(transfer) = self.sending.get_mut(&peer) {
            transfer.begin_again(shared.now);
        }
        self.send_parts(shared, peer)
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
            self.sending.insert(wanted.to, Outgoing::new(meta, source, shared.now));
            self.send_parts(shared, wanted.to)?;
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
