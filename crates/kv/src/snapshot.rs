//! The whole state as a stream of pieces: out of a checkpoint here, into an empty file there.
//!
//! A piece is a kind byte, rows or totals, and a CRC-32C of both. Rows are table, key, value, in the order of tables and
//! keys. The last piece carries the number of rows and a checksum over all of them, so that a lost, doubled or exchanged
//! piece is noticed. The receiving file is not a state until then.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    CursorError, Durability, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, StorageBackend, WriteTransaction,
};

use crate::base::{Base, File, create_tables, holds_state, write_receiving};
use crate::error::{KvError, storage};
use crate::layers::Table;
use crate::planted::planted;
use crate::walk;
use crate::wire::{Wire, put_bytes, put_varint};

pub(crate) const ROWS: u8 = 1;
pub(crate) const END: u8 = 2;

/// Bytes written to the receiving file before they are committed: bounds its memory.
const PORTION_BYTES: usize = if cfg!(test) { 100 } else { 4 << 20 };

/// Memory asked for at once for a piece; a larger one grows.
const PIECE_MAX: usize = 1 << 20;

/// Cache of the receiving file.
const CACHE_BYTES: usize = 8 << 20;

/// Tables that travel, in the order of their numbers. The receiving file becomes a state when all are there: until then
/// a row of meta says that it is none.
const TABLES: [Table; 15] = Table::ALL;

/// The state at a checkpoint, as pieces. Independent of what happens to the state machine meanwhile.
pub struct SnapshotSource {
    /// Its rows, once they are asked for; read past the cache that clients' reads share.
    database: Option<ReadOnlyDatabase>,
    base: Arc<Base>,
    /// Which table comes next, and from which key on; behind the last table, the totals.
    table: usize,
    from: Vec<u8>,
    ended: bool,
    totals: Totals,
}

impl fmt::Debug for SnapshotSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotSource").field("base", &self.base).field("table", &self.table).finish_non_exhaustive()
    }
}

/// What the last piece says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) rows: u64,
    pub(crate) checksum: u32,
}

impl Totals {
    pub(crate) fn add(&mut self, rows: u64, bytes: &[u8]) {
        self.rows += rows;
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
    }
}

impl SnapshotSource {
    pub(crate) fn new(base: Arc<Base>) -> SnapshotSource {
        SnapshotSource { database: None, base, table: 0, from: Vec::new(), ended: false, totals: Totals::default() }
    }

    /// Index and term of the last log entry in it.
    #[must_use]
    pub fn applied(&self) -> (u64, u64) {
        (self.base.mark().index, self.base.mark().term)
    }

    /// The store's revision in it.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.base.mark().revision
    }

    /// Bytes of all its rows. The pieces are a little longer.
    #[must_use]
    pub fn row_bytes(&self) -> u64 {
        self.base.mark().bytes
    }

    /// What was stored with its checkpoint beside the state.
    #[must_use]
    pub fn opaque(&self) -> &Bytes {
        self.base.opaque()
    }

    /// The next piece, of about `max_bytes` (more where a row is larger); none behind the last.
    ///
    /// # Errors
    /// Where the state file cannot be read.
    pub fn next_rows(&mut self, max_bytes: usize) -> Result<Option<Bytes>, KvError> {
        if self.ended {
            return Ok(None);
        }
        let base = Arc::clone(&self.base);
        self.piece(max_bytes).map(Some).map_err(|error| base.file().explain(error))
    }

    fn begin_read(&mut self) -> Result<ReadTransaction, KvError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => walk::open(&self.base, Arc::default())?,
        };
        self.database.insert(database).begin_read().map_err(storage("reading"))
    }

    fn piece(&mut self, max_bytes: usize) -> Result<Bytes, KvError> {
        let transaction = self.begin_read()?;
        let mut piece = Vec::with_capacity(max_bytes.min(PIECE_MAX) + max_bytes.min(PIECE_MAX) / 8);
        piece.push(ROWS);
        let mut rows = 0;
        while let Some(&table) = TABLES.get(self.table) {
            if planted(33) && table == Table::Leases {
                self.table += 1;
                continue;
            }
            let mut full = false;
            let target = transaction.open_table(table.definition()).map_err(storage("opening tables of"))?;
            for row in target.range::<&[u8]>(&self.from[..]..).map_err(storage("reading"))? {
                let (key, value) = row.map_err(storage("reading"))?;
                piece.push(table as u8);
                put_bytes(&mut piece, key.value());
                put_bytes(&mut piece, value.value());
                rows += 1;
                if piece.len() >= max_bytes {
                    self.from = [key.value(), &[0]].concat();
                    full = true;
                    break;
                }
            }
            if full {
                break;
            }
            self.table += 1;
            self.from.clear();
        }
        if rows == 0 {
            self.ended = true;
            piece[0] = END;
            put_varint(&mut piece, self.totals.rows);
            piece.extend_from_slice(&self.totals.checksum.to_be_bytes());
        }
        self.totals.add(rows, &piece[1..]);
        let checksum = crc32c::crc32c(&piece);
        piece.extend_from_slice(&checksum.to_be_bytes());
        Ok(Bytes::from(piece))
    }
}

/// An empty file that a snapshot is received into.
#[derive(Debug)]
pub struct SnapshotSink {
    file: File,
    pieces: u64,
    totals: Totals,
    /// Whether the last piece was here, and agreed.
    complete: bool,
    /// Pieces checked but not yet written.
    portion: Vec<Bytes>,
    portion_bytes: usize,
}

impl SnapshotSink {
    /// Prepares an empty file. `salt` is a number drawn for it, as in [`Options`](crate::Options).
    ///
    /// # Errors
    /// Where the file is not empty or cannot be written.
    pub fn create(backend: impl StorageBackend, salt: u64) -> Result<SnapshotSink, KvError> {
        let file = File::open(backend, CACHE_BYTES, salt)?;
        if !file.is_new()? {
            return Err(KvError::NotEmpty);
        }
        let transaction = file.begin()?;
        create_tables(&transaction)?;
        write_receiving(&transaction, true)?;
        transaction.commit().map_err(storage("committing to"))?;
        let totals = Totals::default();
        Ok(SnapshotSink { file, pieces: 0, totals, complete: false, portion: Vec::new(), portion_bytes: 0 })
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// Where the piece is damaged, does not follow the one before, or cannot be written. Start anew then.
    pub fn write(&mut self, piece: &Bytes) -> Result<(), KvError> {
        if self.complete {
            return Err(self.unusable("it follows the last one"));
        }
        let Some((content, checksum)) = piece.split_last_chunk::<4>() else {
            return Err(self.unusable("too short"));
        };
        if crc32c::crc32c(content) != u32::from_be_bytes(*checksum) {
            return Err(self.unusable("checksum does not match"));
        }
        match content.split_first() {
            Some((&ROWS, rows)) => {
                let count = count_rows(rows).ok_or_else(|| self.unusable("rows cut short"))?;
                self.totals.add(count, rows);
                self.portion_bytes += rows.len();
                self.portion.push(piece.slice(1..piece.len() - 4));
                if self.portion_bytes >= PORTION_BYTES {
                    self.write_portion(false)?;
                }
            }
            Some((&END, totals)) => {
                let totals = read_totals(totals).ok_or_else(|| self.unusable("totals of wrong length"))?;
                if totals != self.totals {
                    return Err(self.unusable("totals do not match: a piece was lost or doubled"));
                }
                self.complete = true;
            }
            Some(_) | None => return Err(self.unusable("unknown kind")),
        }
        self.pieces += 1;
        Ok(())
    }

    /// Makes the state durable, after which the file can be opened.
    ///
    /// # Errors
    /// Where the last piece is missing or the file cannot be written.
    pub fn finish(mut self) -> Result<(), KvError> {
        if !self.complete {
            return Err(self.unusable("the snapshot ends before its last one"));
        }
        self.write_portion(true)
    }

    /// Writes the pieces at hand. Only the last portion is durable: until then the file is of no use anyway.
    fn write_portion(&mut self, last: bool) -> Result<(), KvError> {
        let mut transaction = self.file.begin()?;
        if last {
            write_receiving(&transaction, false)?;
        } else {
            transaction.set_quick_repair(false);
            transaction.set_durability(Durability::None).map_err(storage("writing to"))?;
        }
        for rows in std::mem::take(&mut self.portion) {
            self.write_rows(&transaction, &rows)?;
        }
        self.portion_bytes = 0;
        if last && !holds_state(&transaction)? {
            return Err(self.unusable("it is not a state of this format"));
        }
        transaction.commit().map_err(storage("committing a snapshot to"))
    }

    fn write_rows(&self, transaction: &WriteTransaction, rows: &[u8]) -> Result<(), KvError> {
        let mut wire = Wire::new(rows);
        let mut next = row(&mut wire);
        while let Some((table, ..)) = next {
            let mut target = transaction.open_table(table.definition()).map_err(storage("writing to"))?;
            if table == Table::Meta {
                // Some rows of it are there already.
                while let Some((_, key, value)) = next.take_if(|(of, ..)| *of == table) {
                    target.insert(key, value).map_err(storage("writing to"))?;
                    next = row(&mut wire);
                }
                continue;
            }
            let end = Bound::<&[u8]>::Unbounded;
            let mut cursor = target.upper_bound_mut(end).map_err(storage("writing to"))?;
            while let Some((_, key, value)) = next.take_if(|(of, ..)| *of == table) {
                match cursor.insert_before(key, value) {
                    Ok(()) => next = row(&mut wire),
                    Err(CursorError::UnorderedKey) => return Err(self.unusable("rows out of order")),
                    Err(error) => return Err(storage("writing to")(error)),
                }
            }
            cursor.close().map_err(storage("writing to"))?;
        }
        Ok(())
    }

    fn unusable(&self, what: &'static str) -> KvError {
        KvError::Snapshot { piece: self.pieces, what }
    }
}

pub(crate) fn row<'a>(wire: &mut Wire<'a>) -> Option<(Table, &'a [u8], &'a [u8])> {
    let table = *TABLES.get(usize::from(wire.byte()?))?;
    Some((table, wire.slice()?, wire.slice()?))
}

/// How many rows there are, if they are whole.
fn count_rows(rows: &[u8]) -> Option<u64> {
    let mut wire = Wire::new(rows);
    let mut count = 0;
    while wire.remaining() > 0 {
        row(&mut wire)?;
        count += 1;
    }
    Some(count)
}

pub(crate) fn read_totals(bytes: &[u8]) -> Option<Totals> {
    let mut wire = Wire::new(bytes);
    let rows = wire.varint()?;
    let checksum = u32::from_be_bytes(bytes[wire.position()..].try_into().ok()?);
    Some(Totals { rows, checksum })
}
