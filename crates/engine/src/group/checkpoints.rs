//! A group's checkpoints, and the log that may go behind them.

use std::time::Duration;

use kontiki_raft::planted::planted;
use kontiki_raft::{Index, Input, LogPosition};

use super::entries::NO_PAYLOADS;
use super::{Group, Shared};
use crate::error::EngineError;
use crate::machine::{CheckpointJob, StateMachine};
use crate::settings::Settings;

/// A checkpoint that is being written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checkpointing {
    /// What it stands for.
    pub at: LogPosition,
    /// Bytes of the entries behind the checkpoint before it, on average: how many of them fit into the trailing part.
    pub entry_bytes: u64,
}

/// Since when something applied is in no checkpoint that has begun.
#[derive(Clone, Copy)]
pub(super) struct Unsaved {
    since: Duration,
    last: Duration,
}

impl Unsaved {
    /// Notes that something was applied.
    pub fn note(unsaved: &mut Option<Unsaved>, now: Duration) {
        unsaved.get_or_insert(Unsaved { since: now, last: now }).last = now;
    }

    fn is_due(self, now: Duration, settings: &Settings) -> bool {
        now.saturating_sub(self.last) >= settings.checkpoint_quiet
            || now.saturating_sub(self.since) >= settings.checkpoint_age
    }
}

impl<S: StateMachine> Group<S> {
    /// The work of a checkpoint, where one is due.
    pub fn begin_checkpoint(&mut self, now: Duration, settings: &Settings) -> Option<CheckpointJob<S::CheckpointDone>> {
        let asked_for = self.machine.wants_checkpoint() || self.machine.unsaved_bytes() >= settings.checkpoint_bytes;
        let due = self.checkpoint_now
            || self.replay_bytes >= settings.checkpoint_bytes
            || self.unsaved.is_some_and(|unsaved| unsaved.is_due(now, settings));
        let before = self.machine.checkpointed().position.index;
        if !(asked_for || due && self.applied.index > before) || self.checkpointing.is_some() {
            return None;
        }
        let configuration = self.node.configuration_at(self.applied.index);
        if configuration.voters.is_empty() {
            return None; // added to the group, and not yet at the entry that says so: nobody could start from this
        }
        let job = self.machine.begin_checkpoint(self.applied, configuration)?;
        let entries = self.applied.index.0 - before.0;
        self.checkpointing =
            Some(Checkpointing { at: self.applied, entry_bytes: (self.replay_bytes / entries.max(1)).max(1) });
        self.replay_bytes = 0;
        self.unsaved = None;
        Some(job)
    }

    /// Whether so much waits to be saved that nothing more is applied before the checkpoint that is being written is done.
    /// The log holds it meanwhile, so memory is bounded however slow the state's disk is.
    pub(super) fn is_saturated(&self, settings: &Settings) -> bool {
        self.checkpointing.is_some() && self.machine.unsaved_bytes() >= settings.unsaved_bytes_max
    }

    /// A checkpoint is durable: the log behind it may go.
    pub fn finish_checkpoint(&mut self, shared: &mut Shared, done: S::CheckpointDone) -> Result<(), EngineError> {
        if self.abandoned > 0 {
            self.abandoned -= 1;
            return Ok(());
        }
        let mut done_now = self.checkpointing.take().expect("one checkpoint is written at a time");
        if planted(30) {
            done_now.at = self.applied;
        }
        self.machine.finish_checkpoint(done)?;
        let keep_nothing = std::mem::take(&mut self.checkpoint_now) || planted(30);
        let trailing = if keep_nothing { 0 } else { shared.settings.trailing_entries };
        self.cut_behind(shared, done_now, trailing)?;
        self.send_wanted(shared)
    }

    fn cut_behind(
        &mut self,
        shared: &mut Shared,
        checkpoint: Checkpointing,
        trailing_entries: u64,
    ) -> Result<(), EngineError> {
        let cut = self.cut(checkpoint, trailing_entries, &shared.settings);
        if cut > self.node.compacted().index
            && let Some(term) = self.node.term_at(cut)
        {
            shared.log.compact(self.id, LogPosition { term, index: cut });
            self.step(shared, Input::Compacted(cut), NO_PAYLOADS)?;
        }
        Ok(())
    }

    /// Where to cut the log behind a checkpoint: what followers still need stays, within a bound, so that one that is
    /// just catching up behind a snapshot does not need another.
    fn cut(&self, checkpoint: Checkpointing, trailing_entries: u64, settings: &Settings) -> Index {
        let back = |entries: u64, bytes: u64| {
            Index(checkpoint.at.index.0.saturating_sub(entries.min(bytes / checkpoint.entry_bytes)))
        };
        let keep = back(trailing_entries, settings.trailing_bytes);
        let bound = back(u64::MAX, settings.follower_bytes_max).min(keep);
        let followed = self.node.peers().filter(|peer| peer.active).map(|peer| peer.match_index);
        let sent = self.sending.values().map(|transfer| transfer.meta().position.index);
        let needed = followed.chain(sent).min().unwrap_or(keep);
        keep.min(needed).max(bound)
    }

    /// Old segments are held by this group: it gives up its trailing entries, behind a new checkpoint where there is
    /// something to save.
    pub fn release_segments(&mut self, shared: &mut Shared) -> Result<(), EngineError> {
        if self.checkpointing.is_none() && self.applied.index == self.machine.checkpointed().position.index {
            return self.cut_behind(shared, Checkpointing { at: self.applied, entry_bytes: 1 }, 0);
        }
        self.checkpoint_now = true;
        Ok(())
    }
}
