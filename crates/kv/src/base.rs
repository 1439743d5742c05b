//! The lowest layer: a redb file, changed only by checkpoints, and a view of it pinned at one of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Database, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, ReadableTable, StorageBackend, TableHandle,
    WriteTransaction,
};

use crate::error::{KvError, opening, storage};
use crate::layers::Table;
use crate::sealed::{FORMAT, Handle, Sealed};
use crate::walk;

pub(crate) const FORMAT_ROW: &[u8] = b"format";
pub(crate) const MARK_ROW: &[u8] = b"mark";
const OPAQUE_ROW: &[u8] = b"opaque";
/// Present while a snapshot is being received.
const RECEIVING_ROW: &[u8] = b"receiving";

/// What a checkpoint says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Index of the last log entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// The store's revision.
    pub revision: i64,
    /// The compacted revision, −1 for never.
    pub compacted: i64,
    /// Physical compaction has seen all revisions below this one.
    pub swept: i64,
    /// Bytes of all rows, keys and values.
    pub bytes: u64,
    /// The chain over everything that was applied.
    pub digest: u64,
}

impl Mark {
    /// Of a fresh store.
    pub(crate) fn fresh() -> Mark {
        Mark { index: 0, term: 0, revision: 1, compacted: -1, swept: 0, bytes: 0, digest: 0 }
    }

    fn encode(&self) -> Vec<u8> {
        let Mark { index, term, revision, compacted, swept, bytes, digest } = *self;
        let words = [index, term, revision as u64, compacted as u64, swept as u64, bytes, digest];
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Mark> {
        let (words, rest) = row.as_chunks::<8>();
        let words: &[[u8; 8]; 7] = words.try_into().ok()?;
        let [index, term, revision, compacted, swept, bytes, digest] = words.map(u64::from_be_bytes);
        let (revision, compacted, swept) = (revision as i64, compacted as i64, swept as i64);
        rest.is_empty().then_some(Mark { index, term, revision, compacted, swept, bytes, digest })
    }
}

/// The open file.
pub(crate) struct File {
    pub(crate) database: Database,
    sealed: Arc<Sealed>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("allocated", &self.allocated()).finish_non_exhaustive()
    }
}

impl File {
    /// Opens or creates the file. Costs the same whatever is in it: every commit saves what a repair would rebuild.
    pub(crate) fn open(backend: impl StorageBackend, cache_bytes: usize, salt: u64) -> Result<File, KvError> {
        let sealed = Arc::new(Sealed::open(backend, salt)?);
        let database = redb::Builder::new()
            .set_cache_size(cache_bytes)
            .create_with_backend(Handle(Arc::clone(&sealed)))
            .map_err(opening)?;
        Ok(File { database, sealed })
    }

    /// What lies beneath the storage library.
    pub(crate) fn sealed(&self) -> &Arc<Sealed> {
        &self.sealed
    }

    /// After its first failure the storage library only says that there was one. Says which it was, where that was damage.
    pub(crate) fn explain(&self, error: KvError) -> KvError {
        match (&error, self.sealed.damage()) {
            (KvError::Open { .. } | KvError::Storage { .. }, Some(damage)) => KvError::Block(damage),
            (_, _) => error,
        }
    }

    /// A write transaction that a crash leaves behind whole or not at all.
    pub(crate) fn begin(&self) -> Result<WriteTransaction, KvError> {
        let mut transaction = self.database.begin_write().map_err(storage("beginning a change of"))?;
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    /// Makes the tables where the file is new, else checks that they are ours.
    pub(crate) fn prepare(&self) -> Result<(), KvError> {
        let tables = self.tables()?;
        if tables == 0 {
            let transaction = self.begin()?;
            create_tables(&transaction)?;
            write_mark(&transaction, &Mark::fresh(), &[])?;
            transaction.commit().map_err(storage("committing to"))?;
        } else if self.lacks_tables()? {
            let transaction = self.begin()?;
            for table in Table::ALL {
                transaction.open_table(table.definition()).map_err(storage("creating tables in"))?;
            }
            transaction.commit().map_err(storage("committing to"))?;
        }
        Ok(())
    }

    /// Whether the file was made by a version that knew fewer tables. A table that is not there is empty.
    fn lacks_tables(&self) -> Result<bool, KvError> {
        let transaction = self.database.begin_read().map_err(storage("reading"))?;
        let known: BTreeSet<String> =
            transaction.list_tables().map_err(storage("reading"))?.map(|table| table.name().to_owned()).collect();
        Ok(Table::ALL.iter().any(|table| !known.contains(table.name())))
    }

    /// Whether no checkpoint or snapshot was ever written to the file.
    pub(crate) fn is_new(&self) -> Result<bool, KvError> {
        Ok(self.tables()? == 0)
    }

    fn tables(&self) -> Result<usize, KvError> {
        let transaction = self.database.begin_read().map_err(storage("reading"))?;
        Ok(transaction.list_tables().map_err(storage("reading"))?.count())
    }

    /// Length of the file.
    pub(crate) fn allocated(&self) -> u64 {
        self.sealed.file_len()
    }
}

/// Makes all tables, so that readers find them.
pub(crate) fn create_tables(transaction: &WriteTransaction) -> Result<(), KvError> {
    for table in Table::ALL {
        transaction.open_table(table.definition()).map_err(storage("creating tables in"))?;
    }
    let mut meta = transaction.open_table(Table::Meta.definition()).map_err(storage("creating tables in"))?;
    meta.insert(FORMAT_ROW, &FORMAT.to_be_bytes()[..]).map_err(storage("writing to"))?;
    Ok(())
}

/// Says in the transaction what its checkpoint stands for.
pub(crate) fn write_mark(transaction: &WriteTransaction, mark: &Mark, opaque: &[u8]) -> Result<(), KvError> {
    let mut meta = transaction.open_table(Table::Meta.definition()).map_err(storage("writing to"))?;
    meta.insert(MARK_ROW, &mark.encode()[..]).map_err(storage("writing to"))?;
    meta.insert(OPAQUE_ROW, opaque).map_err(storage("writing to"))?;
    Ok(())
}

/// Says in the transaction that a snapshot is, or is no longer, being received.
pub(crate) fn write_receiving(transaction: &WriteTransaction, receiving: bool) -> Result<(), KvError> {
    let mut meta = transaction.open_table(Table::Meta.definition()).map_err(storage("writing to"))?;
    if receiving {
        meta.insert(RECEIVING_ROW, &[][..]).map_err(storage("writing to"))?;
    } else {
        meta.remove(RECEIVING_ROW).map_err(storage("writing to"))?;
    }
    Ok(())
}

/// Whether the transaction leaves a state of this format behind.
pub(crate) fn holds_state(transaction: &WriteTransaction) -> Result<bool, KvError> {
    let meta = transaction.open_table(Table::Meta.definition()).map_err(storage("reading"))?;
    let mark = meta.get(MARK_ROW).map_err(storage("reading"))?;
    let format = meta.get(FORMAT_ROW).map_err(storage("reading"))?;
    let ours = format.is_some_and(|row| row.value() == &FORMAT.to_be_bytes()[..]);
    Ok(ours && mark.is_some_and(|row| Mark::decode(row.value()).is_some()))
}

/// A table in a change of the file.
pub(crate) type RowTable<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// A row of a table at a checkpoint.
pub(crate) type Guard = redb::AccessGuard<'static, &'static [u8]>;

/// The state at one checkpoint. Stays readable however many checkpoints follow.
pub(crate) struct Base {
    tables: Vec<ReadOnlyTable<&'static [u8], &'static [u8]>>,
    mark: Mark,
    opaque: Bytes,
    /// The storage library's header at this checkpoint.
    header: Vec<u8>,
    // Behind the tables: fields are dropped in order, and the database must outlive what reads it.
    past: Option<Past>,
    file: Arc<File>,
}

/// The file opened once more, past the shared cache, and what keeps its pages meanwhile.
struct Past {
    _database: ReadOnlyDatabase,
    _pin: Arc<Base>,
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base").field("mark", &self.mark).finish_non_exhaustive()
    }
}

impl Base {
    /// Pins the last checkpoint.
    pub(crate) fn pin(file: Arc<File>) -> Result<Base, KvError> {
        let transaction = file.database.begin_read().map_err(storage("reading"))?;
        let tables = Table::ALL
            .iter()
            .map(|table| transaction.open_table(table.definition()).map_err(storage("opening tables of")))
            .collect::<Result<Vec<_>, _>>()?;
        let header = file.sealed.content();
        let mut base = Base { tables, mark: Mark::fresh(), opaque: Bytes::new(), header, past: None, file };
        base.check_format()?;
        let damaged = |what| KvError::Damaged { table: Table::Meta, what };
        let row = base.get(Table::Meta, MARK_ROW)?.ok_or(damaged("no mark"))?;
        base.mark = Mark::decode(&row).ok_or(damaged("mark of wrong length"))?;
        base.opaque = base.get(Table::Meta, OPAQUE_ROW)?.unwrap_or_default();
        Ok(base)
    }

    /// The same checkpoint, read past the cache that all reads share: for what goes through much of it once, and would
    /// leave nothing of use in there.
    pub(crate) fn past_cache(self: &Arc<Base>) -> Result<Base, KvError> {
        let database = walk::open(self, Arc::default())?;
        let transaction = database.begin_read().map_err(storage("reading"))?;
        let tables = Table::ALL
            .iter()
            .map(|table| transaction.open_table(table.definition()).map_err(storage("opening tables of")))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Base {
            tables,
            mark: self.mark.clone(),
            opaque: self.opaque.clone(),
            header: self.header.clone(),
            past: Some(Past { _database: database, _pin: Arc::clone(self) }),
            file: Arc::clone(&self.file),
        })
    }

    /// Whether it is read past the shared cache.
    pub(crate) fn is_past_cache(&self) -> bool {
        self.past.is_some()
    }

    fn check_format(&self) -> Result<(), KvError> {
        let damaged = |what| KvError::Damaged { table: Table::Meta, what };
        let row = self.get(Table::Meta, FORMAT_ROW)?.ok_or(damaged("no format"))?;
        let found = u32::from_be_bytes((&row[..]).try_into().map_err(|_| damaged("format of wrong length"))?);
        if found != FORMAT {
            return Err(KvError::Format { found, supported: FORMAT });
        }
        match self.get(Table::Meta, RECEIVING_ROW)? {
            Some(_) => Err(KvError::HalfSnapshot),
            None => Ok(()),
        }
    }

    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// The storage library's header at this checkpoint.
    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    pub(crate) fn opaque(&self) -> &Bytes {
        &self.opaque
    }

    /// A row.
    pub(crate) fn row(&self, table: Table, key: &[u8]) -> Result<Option<Guard>, KvError> {
        let row = self.tables[table as usize].get(key);
        row.map_err(|source| self.file.explain(storage("reading")(source)))
    }

    /// A row, copied.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(self.row(table, key)?.map(|guard| Bytes::copy_from_slice(guard.value())))
    }

    /// Rows from a key on, up to another one.
    pub(crate) fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<impl Iterator<Item = Result<(Guard, Guard), KvError>> + use<>, KvError> {
        let table = &self.tables[table as usize];
        let rows = match to {
            Some(to) => table.range::<&[u8]>(from..to.max(from)),
            None => table.range::<&[u8]>(from..),
        };
        let file = Arc::clone(&self.file);
        let rows = rows.map_err(|source| self.file.explain(storage("reading")(source)))?;
        Ok(rows.map(move |row| row.map_err(|source| file.explain(storage("reading")(source)))))
    }
}
