//! The disk's share of a write: what runs on the thread that may wait.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kontiki_raft::planted::planted;
use kontiki_world::{Disk, File, OpenMode};

use crate::error::LogError;
use crate::finding::Finding;
use crate::format::{ALIGNMENT, LedgerRow, Part, SEGMENT_HEADER_BYTES, Seal, SegmentHeader, u32_at};
use crate::names::{FileKind, ledger_bytes};
use crate::record::{self, Record};
use crate::restore::{self, Restore};
use crate::segments::SegmentFiles;
use crate::staged::Batch;

/// One batch on its way to the disk. Run it once, on any thread; only one exists at a time.
pub struct WriteJob {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) batch: Batch,
    pub(crate) seal: Seal,
    pub(crate) target: Target,
    /// Segments that hold nothing of use once this batch is durable, oldest first.
    pub(crate) dead: Vec<Dead>,
    /// Spares that are too short for the segment to be made: given up where the disk is full.
    pub(crate) lent: Vec<Pair>,
    /// What was damaged and is known from its second copy.
    pub(crate) restores: Vec<Restore>,
    pub(crate) failed: Arc<AtomicBool>,
}

/// Where a batch goes.
pub(crate) enum Target {
    /// Behind the others of the current segment.
    Current { log: OpenFile, offset: u64, ledger: OpenFile, row: u64 },
    /// To the head of a new segment, made from a spare one where there is one.
    Fresh { header: SegmentHeader, names: Pair, spare: Option<Pair>, before: Option<OpenFile> },
}

/// An open file and its name, for errors.
#[derive(Clone)]
pub(crate) struct OpenFile {
    pub(crate) file: Arc<dyn File>,
    pub(crate) path: PathBuf,
}

/// Names of a segment's file and of its ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) log: PathBuf,
    pub(crate) ledger: PathBuf,
}

impl Pair {
    pub(crate) fn new(disk: &dyn Disk, dir: &Path, kinds: [FileKind; 2], number: u64) -> Pair {
        let [log, ledger] = kinds.map(|kind| disk.join(dir, &kind.name(number)));
        Pair { log, ledger }
    }
}

/// A segment to be removed, or renamed to be used again.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) names: Pair,
    pub(crate) spare: Option<Pair>,
}

/// How a write ended, for [`crate::Log::finish_write`]: the batch is durable, or it has no place yet.
#[derive(Debug)]
pub struct WriteDone {
    pub(crate) sequence: u64,
    /// Of the batch's header.
    pub(crate) checksum: u32,
    pub(crate) result: Written,
    /// Spares that were lent and not given up.
    pub(crate) lent: Vec<Pair>,
    pub(crate) findings: Vec<Finding>,
}

#[derive(Debug)]
pub(crate) enum Written {
    Durable {
        /// For the next but one batch.
        buffer: Vec<u8>,
        /// The segment that was made.
        fresh: Option<SegmentFiles>,
    },
    /// The disk had no room for the segment that the batch needs. Nothing was written.
    NoSpace { batch: Batch, dead: Vec<Dead> },
}

impl WriteJob {
    /// Writes the batch and waits until it is durable. Where the disk has no room for the segment that it needs, nothing
    /// is written and nothing has failed: the log tries again when there is room.
    ///
    /// # Errors
    /// As the operating system's. Then nothing is known of what is on disk: the log writes nothing ever after.
    pub fn run(mut self) -> Result<WriteDone, LogError> {
        let offset = match &self.target {
            Target::Current { offset, .. } => *offset,
            Target::Fresh { .. } => SEGMENT_HEADER_BYTES as u64,
        };
        seal_batch(&mut self.batch, self.seal, offset);
        let findings = restore::run(&self.restores);
        let mut lent = std::mem::take(&mut self.lent);
        let written = self.write(&mut lent).and_then(|fresh| {
            if fresh.is_some() {
                self.bury()?;
            }
            Ok(fresh)
        });
        let fresh = match written {
            Ok(fresh) => fresh,
            Err(error) => {
                self.failed.store(true, Ordering::Release);
                return Err(error);
            }
        };
        let (sequence, checksum) = (self.batch.header.sequence, u32_at(self.batch.bytes(), 4));
        let result = match fresh {
            Some(fresh) => Written::Durable { buffer: self.batch.into_buffer(), fresh },
            None => Written::NoSpace { batch: self.batch, dead: self.dead },
        };
        Ok(WriteDone { sequence, checksum, result, lent, findings })
    }

    /// How many bytes it writes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.batch.bytes().len() as u64
    }

    /// The files of the segment that was made, where one was; None where there is no room for it.
    fn write(&self, lent: &mut Vec<Pair>) -> Result<Option<Option<SegmentFiles>>, LogError> {
        match &self.target {
            Target::Current { log, offset, ledger, row } => {
                log.file.write_all_at(self.batch.bytes(), *offset).map_err(io("write to", &log.path))?;
                let head_only = self.batch.header.head_bytes().next_multiple_of(ALIGNMENT) == self.batch.bytes().len();
                if planted(52) && self.batch.votes && head_only {
                    return Ok(Some(None));
                }
                sync(log)?;
                // The row says that the batch is durable, so it is written after the sync. It gets to the disk with time;
                // but a term and vote are not relied upon before they are there twice.
                ledger.file.write_all_at(&self.row(*row, *offset), *row).map_err(io("write to", &ledger.path))?;
                if self.batch.votes {
                    sync(ledger)?;
                }
                Ok(Some(None))
            }
            Target::Fresh { header, names, spare, before } => {
                if let Some(before) = before {
                    before.file.sync_data().map_err(io("sync", &before.path))?;
                }
                Ok(self.make(header, names, spare.as_ref(), lent)?.map(Some))
            }
        }
    }

    /// The batch's row, as it will stand at `at` in the ledger.
    fn row(&self, at: u64, offset: u64) -> Vec<u8> {
        let head = &self.batch.bytes()[..self.batch.header.head_bytes()];
        let mut row = Vec::with_capacity(LedgerRow::bytes_for(head.len()));
        LedgerRow::put(&mut row, self.seal, at, offset, head);
        row
    }

    /// A segment gets its name only when its first batch is durable, and its ledger after it. What has a segment's name
    /// is thus never torn there, and a ledger never without its segment. None where the disk has no room, even after
    /// spares were given up for it.
    fn make(
        &self,
        header: &SegmentHeader,
        names: &Pair,
        spare: Option<&Pair>,
        lent: &mut Vec<Pair>,
    ) -> Result<Option<SegmentFiles>, LogError> {
        let disk = self.disk.as_ref();
        let fresh = Pair::new(disk, &self.dir, [FileKind::New, FileKind::NewLedger], header.number);
        if let Some(spare) = spare {
            disk.rename(&spare.log, &fresh.log).map_err(io("rename", &spare.log))?;
            disk.rename(&spare.ledger, &fresh.ledger).map_err(io("rename", &spare.ledger))?;
        }
        let files = loop {
            match self.fill(header, &fresh) {
                Err(error) if error.is_storage_full() => {
                    remove_both(disk, &fresh)?;
                    let Some(lent) = lent.pop() else { return Ok(None) };
                    remove_both(disk, &lent)?;
                }
                result => break result?,
            }
        };
        for (path, name) in [(&fresh.log, &names.log), (&fresh.ledger, &names.ledger)] {
            disk.rename(path, name).map_err(io("rename", path))?;
            if !planted(32) {
                disk.sync_dir(&self.dir).map_err(io("sync", &self.dir))?;
            }
        }
        Ok(Some(files))
    }

    /// Both files of a new segment, with its first batch and that one's row, durable but for their names.
    fn fill(&self, header: &SegmentHeader, fresh: &Pair) -> Result<SegmentFiles, LogError> {
        let start = SEGMENT_HEADER_BYTES as u64;
        let row = self.row(start, start);
        let ledger_bytes = ledger_bytes(header.bytes, row.len() as u64);
        let parts = [(Part::Log, &fresh.log, header.bytes), (Part::Ledger, &fresh.ledger, ledger_bytes)];
        let mut opened = Vec::new();
        for (part, path, bytes) in parts {
            let file = self.disk.open(path, OpenMode::ExistingOrNew).map_err(io("open", path))?;
            file.allocate(bytes).map_err(io("allocate space for", path))?;
            opened.push((part, path, file));
        }
        let mut files = SegmentFiles::default();
        for (part, path, file) in opened {
            let content = if part == Part::Log { self.batch.bytes() } else { row.as_slice() };
            file.write_all_at(&header.encode(part), 0).map_err(io("write to", path))?;
            file.write_all_at(content, start).map_err(io("write to", path))?;
            file.sync_data().map_err(io("sync", path))?;
            match part {
                Part::Log => files.log = Some(file),
                Part::Ledger => files.ledger = Some(file),
            }
        }
        Ok(files)
    }

    /// Removes dead segments one by one, each durably: a crash never leaves a hole among those that remain. A file that
    /// is lost already is as good as removed.
    fn bury(&self) -> Result<(), LogError> {
        for Dead { names, spare } in &self.dead {
            let spare = spare.as_ref();
            let files =
                [(&names.ledger, spare.map(|spare| &spare.ledger)), (&names.log, spare.map(|spare| &spare.log))];
            for (path, spare) in files {
                let (action, result) = match spare {
                    Some(spare) => ("rename", self.disk.rename(path, spare)),
                    None => ("remove", self.disk.remove(path)),
                };
                match result {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    result => result.map_err(io(action, path))?,
                }
            }
            self.disk.sync_dir(&self.dir).map_err(io("sync", &self.dir))?;
        }
        Ok(())
    }
}

/// Makes what was written to a file durable. It is tried once: a second sync that succeeds says nothing of what the first
/// one lost.
fn sync(OpenFile { file, path }: &OpenFile) -> Result<(), LogError> {
    let first = file.sync_data();
    let result = if planted(46) { first.or_else(|_| file.sync_data()) } else { first };
    result.map_err(io("sync", path))
}

/// Removes both files, where they are.
fn remove_both(disk: &dyn Disk, names: &Pair) -> Result<(), LogError> {
    for path in [&names.log, &names.ledger] {
        match disk.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(io("remove", path))?,
        }
    }
    Ok(())
}

/// Fills in all checksums of a batch that will stand at `offset`.
fn seal_batch(batch: &mut Batch, seal: Seal, offset: u64) {
    let header = batch.header;
    let bytes = batch.bytes_mut();
    let records = record::directory(&header, bytes).expect("a batch just made is well-formed");
    for record in &records {
        if let Record::Entries(body) = record {
            body.seal(bytes, seal, offset);
        }
    }
    header.seal(bytes, seal, offset);
}

impl fmt::Debug for WriteJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteJob(batch {}, {} bytes)", self.batch.header.sequence, self.bytes())
    }
}

/// Says what was tried on which file when it fails.
pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LogError {
    let path = path.to_path_buf();
    move |source| LogError::Io { action, path, source }
}
