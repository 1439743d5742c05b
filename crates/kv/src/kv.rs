//! The state machine as its owner sees it: open, apply, checkpoint, snapshot.

use std::sync::{Arc, RwLock, RwLockWriteGuard};

use bytes::Bytes;
use redb::StorageBackend;

use crate::auth::Proposer;
use crate::base::{Base, File, Mark};
use crate::checkpoint::{Checkpoint, CheckpointDone, Retired};
use crate::command::{Command, Outcome};
use crate::error::KvError;
use crate::layers::{read, write};
use crate::reader::Reader;
use crate::scrub::Scrub;
use crate::shrink::Shrink;
use crate::snapshot::SnapshotSource;
use crate::state::State;

/// Settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Memory for pages of the state file, in bytes.
    pub cache_bytes: usize,
    /// A number drawn for the file, should it be made now: a block of another file is then noticed.
    pub salt: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { cache_bytes: 64 << 20, salt: 0 }
    }
}

/// The state machine.
#[derive(Debug)]
pub struct Kv {
    state: Arc<RwLock<State>>,
    options: Options,
}

impl Kv {
    /// Opens or creates the state file, at its last checkpoint. What was applied behind that is to be applied again.
    ///
    /// # Errors
    /// Where the file cannot be read, is not ours, or is damaged.
    pub fn open(backend: impl StorageBackend, options: Options) -> Result<Kv, KvError> {
        let file = Arc::new(File::open(backend, options.cache_bytes, options.salt)?);
        file.prepare().map_err(|error| file.explain(error))?;
        let base = Base::pin(Arc::clone(&file)).map_err(|error| file.explain(error))?;
        let state = State::open(base)?;
        Ok(Kv { state: Arc::new(RwLock::new(state)), options })
    }

    /// The settings it was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Index and term of the last log entry applied; of the checkpoint, right after opening.
    #[must_use]
    pub fn applied(&self) -> (u64, u64) {
        let state = read(&self.state);
        (state.index, state.term)
    }

    /// A chain over everything that was applied, and the index of the last entry in it. Members that applied the same log
    /// have the same at the same index, whatever their checkpoints and snapshots were; members that differ in anything that
    /// an entry did have different ones from there on.
    #[must_use]
    pub fn digest(&self) -> (u64, u64) {
        let state = read(&self.state);
        (state.index, state.digest.value())
    }

    /// What was stored with the last checkpoint beside the state; empty if nothing.
    #[must_use]
    pub fn opaque(&self) -> Bytes {
        read(&self.state).view.base.opaque().clone()
    }

    /// Index and term that the last checkpoint stands for.
    #[must_use]
    pub fn checkpointed(&self) -> (u64, u64) {
        let state = read(&self.state);
        let mark = state.view.base.mark();
        (mark.index, mark.term)
    }

    /// The store's revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        read(&self.state).revision
    }

    /// The compacted revision, −1 for never.
    #[must_use]
    pub fn compacted(&self) -> i64 {
        read(&self.state).compacted
    }

    /// A handle for questions, to be cloned and used on any thread.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { state: Arc::clone(&self.state) }
    }

    /// Begins applying entries. Readers see them when the batch is dropped.
    pub fn batch(&mut self) -> Batch<'_> {
        Batch { state: write(&self.state) }
    }

    /// Notes an entry that changes nothing here: a blank one or a configuration.
    ///
    /// # Panics
    /// Where the entry is not the next one.
    pub fn skip(&mut self, index: u64, term: u64) {
        write(&self.state).advance(index, term);
    }

    /// Memory taken by what was written since the last checkpoint began, in bytes, roughly.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        read(&read(&self.state).view.active).bytes()
    }

    /// Freezes what is in memory to be written out, with `opaque` beside it. None while a checkpoint is under way, and
    /// where nothing was applied since the last one.
    pub fn begin_checkpoint(&mut self, opaque: Bytes) -> Option<Checkpoint> {
        let mut state = write(&self.state);
        let base = &state.view.base;
        if state.index == base.mark().index && opaque == base.opaque() {
            return None;
        }
        let checkpoint = freeze(&mut state, opaque);
        #[cfg(feature = "planted")]
        let checkpoint = checkpoint.map(|frozen| Checkpoint { live: Some(Arc::clone(&self.state)), ..frozen });
        checkpoint
    }

    /// As [`Kv::begin_checkpoint`], also where nothing was applied: it removes what was compacted, as every one does.
    pub fn begin_sweep(&mut self, opaque: Bytes) -> Option<Checkpoint> {
        freeze(&mut write(&self.state), opaque)
    }

    /// As [`Kv::begin_checkpoint`], also where nothing was applied; the file is rewritten with it. None while a checkpoint
    /// is under way.
    pub fn begin_shrink(&mut self, opaque: Bytes) -> Option<Shrink> {
        let checkpoint = freeze(&mut write(&self.state), opaque)?;
        Some(Shrink { checkpoint, options: self.options })
    }

    /// Takes a finished checkpoint for the base. What it replaces comes back to be dropped.
    ///
    /// # Panics
    /// Where no checkpoint is under way.
    pub fn finish_checkpoint(&mut self, done: CheckpointDone) -> Retired {
        let mut state = write(&self.state);
        let frozen = state.view.frozen.take();
        assert!(frozen.is_some(), "a checkpoint is finished once, after it was begun");
        let base = std::mem::replace(&mut state.view.base, Arc::new(done.base));
        Retired { _frozen: frozen, _base: base }
    }

    /// Reads the state file through, over and over, on whatever thread has time, to find damage before somebody needs what
    /// is damaged. Ends with this file: a state that replaces it needs a new one.
    #[must_use]
    pub fn scrub(&self) -> Scrub {
        Scrub::new(Arc::clone(&self.state))
    }

    /// The state at the last checkpoint, to be sent elsewhere.
    #[must_use]
    pub fn snapshot(&self) -> SnapshotSource {
        SnapshotSource::new(Arc::clone(&read(&self.state).view.base))
    }
}

/// Freezes what is in memory, unless something is frozen already.
fn freeze(state: &mut State, opaque: Bytes) -> Option<Checkpoint> {
    if state.view.frozen.is_some() {
        return None;
    }
    let before = state.view.base.mark().clone();
    let fences = state.fences.take_changes();
    let frozen = std::mem::take(&mut state.view.active);
    state.view.frozen = Some(Arc::clone(&frozen));
    let (revision, compacted) = (state.revision, state.compacted);
    let (index, term, digest) = (state.index, state.term, state.digest.value());
    let mark = Mark { index, term, revision, compacted, digest, ..before };
    Some(Checkpoint {
        frozen,
        fences,
        base: Arc::clone(&state.view.base),
        mark,
        opaque,
        #[cfg(feature = "planted")]
        live: None,
    })
}

/// Applies entries while readers wait. Keep it short.
#[derive(Debug)]
pub struct Batch<'k> {
    state: RwLockWriteGuard<'k, State>,
}

impl Batch<'_> {
    /// Applies an entry that a member itself proposed. Refusals are part of the outcome.
    ///
    /// # Errors
    /// Where the state file could not be read. The replica must stop: the entry may be applied half.
    ///
    /// # Panics
    /// Where the entry is not the next one.
    pub fn apply(&mut self, index: u64, term: u64, command: &Command) -> Result<Outcome, KvError> {
        self.apply_as(index, term, &Proposer::Member, command)
    }

    /// As [`Batch::apply`], an entry that was proposed in somebody's name: what that one may not do is refused.
    ///
    /// # Errors
    /// As [`Batch::apply`].
    ///
    /// # Panics
    /// As [`Batch::apply`].
    pub fn apply_as(
        &mut self,
        index: u64,
        term: u64,
        proposer: &Proposer,
        command: &Command,
    ) -> Result<Outcome, KvError> {
        self.state.apply(index, term, proposer, command)
    }

    /// Notes an entry that changes nothing here: a blank one or a configuration.
    ///
    /// # Panics
    /// Where the entry is not the next one.
    pub fn skip(&mut self, index: u64, term: u64) {
        self.state.advance(index, term);
    }
}
