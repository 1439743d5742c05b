//! The disk's share of a write: what runs on the thread that may wait.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kontiki_world::{Disk, File, OpenMode};

use crate::error::LogError;
use crate::format::{SEGMENT_HEADER_BYTES, SegmentHeader, fresh_name, seal_batch};

/// One batch on its way to the disk. Run it once, on any thread; only one exists at a time.
pub struct WriteJob {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) sequence: u64,
    pub(crate) salt: u64,
    /// Whole but for the checksum.
    pub(crate) batch: Vec<u8>,
    pub(crate) target: Target,
    /// Segments that hold nothing of use once this batch is durable, oldest first.
    pub(crate) dead: Vec<Dead>,
    pub(crate) failed: Arc<AtomicBool>,
}

/// Where a batch goes.
pub(crate) enum Target {
    /// Behind the others of the current segment.
    Current { file: Arc<dyn File>, path: PathBuf, offset: u64 },
    /// To the head of a new segment, made from a spare one where there is one.
    Fresh { header: SegmentHeader, path: PathBuf, spare: Option<PathBuf> },
}

/// A segment to be removed, or renamed to be used again.
pub(crate) struct Dead {
    pub(crate) path: PathBuf,
    pub(crate) spare: Option<PathBuf>,
}

/// The proof that a batch is durable, for [`crate::Log::finish_write`].
#[derive(Debug)]
pub struct WriteDone {
    pub(crate) sequence: u64,
    /// For the next but one batch.
    pub(crate) buffer: Vec<u8>,
    /// The segment that was made.
    pub(crate) fresh: Option<Arc<dyn File>>,
}

impl WriteJob {
    /// Writes the batch and waits until it is durable.
    ///
    /// # Errors
    /// As the operating system's. Then nothing is known of what is on disk: the log writes nothing ever after.
    pub fn run(mut self) -> Result<WriteDone, LogError> {
        seal_batch(&mut self.batch, self.salt);
        match self.write().and_then(|fresh| self.bury().map(|()| fresh)) {
            Ok(fresh) => Ok(WriteDone { sequence: self.sequence, buffer: self.batch, fresh }),
            Err(error) => {
                self.failed.store(true, Ordering::Release);
                Err(error)
            }
        }
    }

    /// How many bytes it writes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.batch.len() as u64
    }

    fn write(&self) -> Result<Option<Arc<dyn File>>, LogError> {
        match &self.target {
            Target::Current { file, path, offset } => {
                file.write_all_at(&self.batch, *offset).map_err(io("write to", path))?;
                file.sync_data().map_err(io("sync", path))?;
                Ok(None)
            }
            Target::Fresh { header, path, spare } => self.make(header, path, spare.as_deref()).map(Some),
        }
    }

    /// A segment gets its name only when its first batch is durable. What has a segment's name is thus never torn there.
    fn make(&self, header: &SegmentHeader, path: &Path, spare: Option<&Path>) -> Result<Arc<dyn File>, LogError> {
        let fresh = self.disk.join(&self.dir, &fresh_name(header.number));
        let (source, mode) = spare.map_or((fresh.as_path(), OpenMode::New), |spare| (spare, OpenMode::Existing));
        let file = self.disk.open(source, mode).map_err(io("open", source))?;
        file.allocate(header.bytes).map_err(io("allocate space for", source))?;
        file.write_all_at(&header.encode(), 0).map_err(io("write to", source))?;
        file.write_all_at(&self.batch, SEGMENT_HEADER_BYTES as u64).map_err(io("write to", source))?;
        file.sync_data().map_err(io("sync", source))?;
        self.disk.rename(source, path).map_err(io("rename", source))?;
        self.disk.sync_dir(&self.dir).map_err(io("sync", &self.dir))?;
        Ok(file)
    }

    /// Removes dead segments one by one, each durably: a crash never leaves a hole among those that remain.
    fn bury(&self) -> Result<(), LogError> {
        for dead in &self.dead {
            match &dead.spare {
                Some(spare) => self.disk.rename(&dead.path, spare).map_err(io("rename", &dead.path))?,
                None => self.disk.remove(&dead.path).map_err(io("remove", &dead.path))?,
            }
            self.disk.sync_dir(&self.dir).map_err(io("sync", &self.dir))?;
        }
        Ok(())
    }
}

impl fmt::Debug for WriteJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteJob(batch {}, {} bytes)", self.sequence, self.batch.len())
    }
}

/// Says what was tried on which file when it fails.
pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LogError {
    let path = path.to_path_buf();
    move |source| LogError::Io { action, path, source }
}
