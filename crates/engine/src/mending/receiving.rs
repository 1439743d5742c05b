//! A state that comes in for a damaged replica, from whichever member gives it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_log::Log;
use kontiki_raft::{GroupId, LogPosition, NodeId, SnapshotMeta};
use kontiki_transport::Frame;

use super::Mending;
use crate::error::EngineError;
use crate::group::Shared;
use crate::machine::StateMachine;
use crate::transfer::{Incoming, Part, PartDone};

/// A transfer of which no part came for this long makes way for another member's.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(3);

impl<S: StateMachine> Mending<S> {
    /// Whether a state is coming in.
    pub(super) fn is_receiving(&self, now: Duration) -> bool {
        self.receiving.as_ref().is_some_and(|(_, at)| now.saturating_sub(*at) < TRANSFER_PATIENCE)
    }

    /// A part of a snapshot came in.
    pub fn snapshot_part(
        &mut self,
        shared: &mut Shared,
        from: NodeId,
        meta: &SnapshotMeta,
        (sequence, last): (u64, bool),
        rows: &Bytes,
    ) -> Result<(), EngineError> {
        let of_another = self.receiving.as_ref().is_some_and(|(incoming, _)| incoming.from() != from);
        let busy = of_another && self.is_receiving(shared.now);
        if !self.helps(&shared.log, meta) || busy {
            self.answer_part(shared, from, meta, sequence, false);
            return Ok(());
        }
        self.asking.state_comes(from);
        let mut incoming = self.receiving.take().map(|(incoming, _)| incoming);
        let (group, machine) = (self.replica.id, &mut self.replica.machine);
        let begin = |job| shared.parts.push((group, job));
        let part = Incoming::take(&mut incoming, machine, from, meta, sequence, last, rows, begin)?;
        self.receiving = incoming.map(|incoming| (incoming, shared.now));
        self.part_taken(shared, from, meta, sequence, part)
    }

    /// A part was written beside the engine.
    pub fn part_done(&mut self, shared: &mut Shared, done: PartDone) -> Result<(), EngineError> {
        let mut incoming = self.receiving.take().map(|(incoming, _)| incoming);
        let finished = Incoming::finish(&mut incoming, done)?;
        self.receiving = incoming.map(|incoming| (incoming, shared.now));
        match finished {
            Some((from, meta, sequence, part)) => self.part_taken(shared, from, &meta, sequence, part),
            None => Ok(()),
        }
    }

    fn part_taken(
        &mut self,
        shared: &mut Shared,
        from: NodeId,
        meta: &SnapshotMeta,
        sequence: u64,
        part: Part,
    ) -> Result<(), EngineError> {
        match part {
            Part::Refused => self.answer_part(shared, from, meta, sequence, false),
            Part::Pending(Some(written)) => self.answer_part(shared, from, meta, written, true),
            Part::Pending(None) => {}
            Part::Taken => self.answer_part(shared, from, meta, sequence, true),
            Part::Whole if !self.helps(&shared.log, meta) => self.answer_part(shared, from, meta, sequence, false),
            Part::Whole => {
                self.install(shared, meta)?;
                self.answer_part(shared, from, meta, sequence, true);
            }
        }
        Ok(())
    }

    fn answer_part(&self, shared: &mut Shared, to: NodeId, meta: &SnapshotMeta, sequence: u64, accepted: bool) {
        let (group, position) = (self.replica.id, meta.position);
        shared.send(to, Frame::SnapshotAck { group, position, sequence, accepted });
    }

    /// Whether a snapshot is of use: it holds what is missing, and more than the own state.
    fn helps(&self, log: &Log, meta: &SnapshotMeta) -> bool {
        let index = meta.position.index;
        let Some(missing) = self.missing(log).filter(|_| !self.fenced) else { return false };
        index >= missing.first() && index > self.replica.applied.index && !meta.configuration.voters.is_empty()
    }

    /// A snapshot takes the state's place. The log keeps what is behind it, where it holds the snapshot's own entry: what was
    /// acknowledged is not forgotten.
    fn install(&mut self, shared: &mut Shared, meta: &SnapshotMeta) -> Result<(), EngineError> {
        tracing::info!(group = self.replica.id.0, at = %meta.position, "installing a snapshot");
        self.replica.machine.install(meta)?;
        self.replica.abandon_checkpoint();
        self.replica.replay_bytes = 0;
        self.replica.applied = meta.position;
        self.applied_members = Arc::clone(&meta.configuration);
        fit_behind(&mut shared.log, self.replica.id, meta.position);
        // A newer membership may stand in the log behind it; one that was known stays, as it stands behind it as well or is
        // older and does no harm.
        if shared.log.last(self.replica.id) == meta.position.index || self.members.voters.is_empty() {
            self.members = Arc::clone(&meta.configuration);
            self.ask_members(shared.id);
        }
        self.mend.snapshot = Some(meta.position);
        Ok(())
    }
}

/// Makes a log begin behind a state, keeping what is behind it where the log holds the state's last entry.
fn fit_behind(log: &mut Log, group: GroupId, state: LogPosition) {
    if log.term_at(group, state.index) == Some(state.term) {
        log.compact(group, state);
    } else {
        log.reset(group, state);
    }
}
