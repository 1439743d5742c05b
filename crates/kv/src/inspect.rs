//! Looking at a state file that nobody has open, without changing it: whether it is whole, and what is in it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use redb::StorageBackend;

use crate::base::{Base, File, Guard, Mark};
use crate::error::{Failure, KvError, opening};
use crate::hash;
use crate::key;
use crate::layers::Table;
use crate::overlay::Overlay;
use crate::range::Moment;
use crate::request::KeyValue;
use crate::snapshot::SnapshotSource;
use crate::state::State;
use crate::verify;
use crate::versions;

/// Memory for pages.
const CACHE_BYTES: usize = 64 << 20;

/// A state file that is looked at.
pub struct Inspection {
    base: Arc<Base>,
}

impl fmt::Debug for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspection").field("base", &self.base).finish()
    }
}

/// What stands in a state file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateReport {
    /// Index and term of the last log entry in it.
    pub applied: (u64, u64),
    /// The chain over everything that was applied.
    pub digest: u64,
    /// The store's revision.
    pub revision: i64,
    /// The compacted revision, −1 for never.
    pub compacted: i64,
    /// Keys that are there at that revision.
    pub keys: u64,
    /// Granted leases.
    pub leases: u64,
    /// Rows of each table: its name, how many.
    pub rows: Vec<(&'static str, u64)>,
    /// Bytes of all rows.
    pub bytes: u64,
    /// Length of the file.
    pub file_bytes: u64,
    /// Blocks that were read and found whole.
    pub blocks: u64,
    /// Blocks that match no checksum but hold nothing: torn by a power cut before they came to be part of the state.
    pub torn: u64,
    /// The checksum of the state, by which members can be compared.
    pub hash: u32,
    /// What is inconsistent, in words. Empty where all is well.
    pub findings: Vec<String>,
}

impl Inspection {
    /// Opens a state file. Nothing is written to it.
    ///
    /// # Errors
    /// Where it cannot be read, is not ours, or is damaged.
    pub fn open(backend: impl StorageBackend) -> Result<Inspection, KvError> {
        Ok(Inspection { base: Arc::new(pin(open(backend)?)?) })
    }

    /// Index and term of the last log entry in it.
    #[must_use]
    pub fn applied(&self) -> (u64, u64) {
        let Mark { index, term, .. } = *self.base.mark();
        (index, term)
    }

    /// The chain over everything that was applied.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.base.mark().digest
    }

    /// The store's revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.base.mark().revision
    }

    /// What was stored with the checkpoint beside the state.
    #[must_use]
    pub fn opaque(&self) -> &Bytes {
        self.base.opaque()
    }

    /// The state, to be sent or saved elsewhere.
    #[must_use]
    pub fn snapshot(&self) -> SnapshotSource {
        SnapshotSource::new(Arc::clone(&self.base))
    }

    /// The keys that are there, in order.
    ///
    /// # Errors
    /// Where the file is damaged; so do the items.
    pub fn keys(&self) -> Result<impl Iterator<Item = Result<KeyValue, KvError>> + use<>, KvError> {
        let rows = self.base.range(Table::Keys, &[], None)?;
        Ok(rows.filter_map(|row| row.and_then(|(prefix, row)| key_value(&prefix, &row)).transpose()))
    }
}

fn key_value(prefix: &Guard, row: &Guard) -> Result<Option<KeyValue>, KvError> {
    let (place, row) = versions::split_newest(row.value())?;
    let version = versions::decode(place, row, true)?;
    let key = || Bytes::from(key::user_key(prefix.value()));
    Ok((!version.tombstone).then(|| version.key_value(key())))
}

fn open(backend: impl StorageBackend) -> Result<File, KvError> {
    let overlay = Overlay::new(backend).map_err(|source| KvError::from_io("reading", source))?;
    let file = File::open(overlay, CACHE_BYTES, 0)?;
    if file.is_new().map_err(|error| file.explain(error))? {
        return Err(KvError::Empty);
    }
    Ok(file)
}

fn pin(file: File) -> Result<Base, KvError> {
    let file = Arc::new(file);
    Base::pin(Arc::clone(&file)).map_err(|error| file.explain(error))
}

/// Checks everything in a state file: every block against its checksum, every page as the storage library sees it, every
/// row, and that the tables agree. Nothing is written. `progress` is told how much is done, of how much.
///
/// # Errors
/// Where the file cannot be read, is not ours, or is damaged so that it cannot be used. What is merely inconsistent stands
/// in the report.
pub fn check(backend: impl StorageBackend, progress: &mut dyn FnMut(u64, u64)) -> Result<StateReport, KvError> {
    let mut file = open(backend)?;
    let sealed = Arc::clone(file.sealed());
    let total = 3 * sealed.blocks();
    let (blocks, torn) = sealed.review_blocks(|done| progress(done, total));
    let whole = file.database.check_integrity().map_err(opening);
    let whole = whole.map_err(|error| file.explain(error))?;
    progress(2 * sealed.blocks(), total);
    let base = pin(file)?;
    let mut report = verify::tables(&base)?;
    if !whole {
        report.findings.push("the storage library's record of free space is wrong".to_owned());
    }
    report.file_bytes = sealed.file_len();
    (report.blocks, report.torn) = (blocks, torn);
    report.hash = hash_of(base)?;
    progress(total, total);
    Ok(report)
}

fn hash_of(base: Base) -> Result<u32, KvError> {
    let state = State::open(base)?;
    let moment: Moment<'_> = state.moment();
    hash::hash(moment).map_err(|failure| match failure {
        Failure::Storage(error) => error,
        Failure::Operation(_) => KvError::Damaged { table: Table::Meta, what: "revisions contradict each other" },
    })
}
