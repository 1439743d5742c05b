//! Making the state file as small as what is in it: a checkpoint whose rows are then written anew, in order and without
//! gaps, to a second file that takes the place of the first.
//!
//! Commands and reads go on meanwhile. Other checkpoints wait, so what commands write stays in memory for as long as the
//! rewriting takes.

use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use crate::base::{Base, File};
use crate::checkpoint::{Checkpoint, CheckpointDone};
use crate::error::KvError;
use crate::kv::Options;
use crate::snapshot::{SnapshotSink, SnapshotSource};

/// Bytes copied at a time, about.
const PORTION_BYTES: usize = 256 << 10;

/// Work to be done, on whatever thread has time. Stands for a checkpoint.
#[derive(Debug)]
#[must_use = "a checkpoint that does not run blocks those after it"]
pub struct Shrink {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) options: Options,
}

/// What came of it: a checkpoint in any case.
#[derive(Debug)]
pub struct Shrunk {
    /// The checkpoint, to be handed back to the state machine.
    pub done: CheckpointDone,
    /// Why the old file is still in use, if it is: a full disk, say.
    pub kept: Option<KvError>,
}

impl Shrink {
    /// The log position that it stands for: index and term.
    #[must_use]
    pub fn applied(&self) -> (u64, u64) {
        self.checkpoint.applied()
    }

    /// The checkpoint alone: the file stays as large as it is.
    pub fn without_rewriting(self) -> Checkpoint {
        self.checkpoint
    }

    /// Writes the checkpoint to the old file, then everything to `target`, an empty file. `install` durably puts that in
    /// the old one's place and opens it. `salt` is a number drawn for the new file. A crash at any point leaves one of the
    /// two, both with this checkpoint.
    ///
    /// # Errors
    /// Where the checkpoint cannot be written, or the new file cannot be put in its place: these are final, as a
    /// checkpoint's. Where it cannot be filled, the old one stays.
    pub fn run<C: StorageBackend>(
        self,
        target: impl StorageBackend,
        salt: u64,
        install: impl FnOnce() -> io::Result<C>,
    ) -> Result<Shrunk, KvError> {
        let done = self.checkpoint.run()?;
        let base = Arc::new(done.base);
        if let Err(error) = copy(&base, target, salt) {
            if base.file().sealed().damage().is_some() {
                return Err(error);
            }
            // The copy's reader is gone with it, nobody else has seen the base.
            let base = Arc::try_unwrap(base).or_else(|base| Base::pin(Arc::clone(base.file())))?;
            return Ok(Shrunk { done: CheckpointDone { base }, kept: Some(error) });
        }
        let installed = install().map_err(|source| KvError::from_io("replacing", source))?;
        let file = Arc::new(File::open(installed, self.options.cache_bytes, salt)?);
        let done = CheckpointDone { base: Base::pin(file)? };
        Ok(Shrunk { done, kept: None })
    }
}

fn copy(base: &Arc<Base>, target: impl StorageBackend, salt: u64) -> Result<(), KvError> {
    let mut source = SnapshotSource::new(Arc::clone(base));
    let mut sink = SnapshotSink::create(target, salt)?;
    while let Some(piece) = source.next_rows(PORTION_BYTES)? {
        sink.write(&piece)?;
    }
    sink.finish()
}
