//! Checkpoints: what is in memory goes to the file in one durable transaction, together with the log position that it
//! stands for. The write path waits for none of it: commands go to a new table meanwhile.

use bytes::Bytes;
use redb::WriteTransaction;
use std::ops::Bound;
use std::sync::Arc;

use crate::base::{Base, Mark, RowTable, write_mark};
use crate::changes::{Change, ChangeKind};
use crate::compact::{self, SWEEP_MIN};
use crate::error::{KvError, storage};
use crate::key;
use crate::layers::{Shared, Table, read};
use crate::memory::Memory;
use crate::versions::{Place, encode_newest, split_newest};

/// Work to be done, on whatever thread has time.
#[derive(Debug)]
#[must_use = "a checkpoint that does not run blocks those after it"]
pub struct Checkpoint {
    pub(crate) frozen: Shared,
    /// Fences that changed, with their counts; none for those that went away.
    pub(crate) fences: Vec<(Box<[u8]>, Option<u32>)>,
    pub(crate) base: Arc<Base>,
    /// What the new checkpoint stands for. `swept` and `bytes` are still those of the one before.
    pub(crate) mark: Mark,
    pub(crate) opaque: Bytes,
    /// The state as it goes on: only a planted bug looks at it.
    #[cfg(feature = "planted")]
    pub(crate) live: Option<Arc<std::sync::RwLock<crate::state::State>>>,
}

/// A checkpoint that is durable, to be handed back to the state machine.
#[derive(Debug)]
#[must_use = "the state machine keeps the old layers until it gets this"]
pub struct CheckpointDone {
    pub(crate) base: Base,
}

/// Layers that nothing needs any more. Dropping it frees memory row by row: better on a thread that has time.
#[derive(Debug)]
#[must_use = "drop it where a few milliseconds do not matter"]
pub struct Retired {
    pub(crate) _frozen: Option<Shared>,
    pub(crate) _base: Arc<Base>,
}

impl Checkpoint {
    /// The log position that it stands for: index and term.
    #[must_use]
    pub fn applied(&self) -> (u64, u64) {
        (self.mark.index, self.mark.term)
    }

    /// Writes everything and makes it durable.
    ///
    /// # Errors
    /// Any is final: the replica stops. The file still holds the checkpoint before.
    pub fn run(self) -> Result<CheckpointDone, KvError> {
        let file = Arc::clone(self.base.file());
        self.write().map_err(|error| file.explain(error))
    }

    fn write(self) -> Result<CheckpointDone, KvError> {
        let transaction = self.base.file().begin()?;
        let mut mark = self.mark;
        #[cfg(feature = "planted")]
        if let Some(live) = self.live.filter(|_| crate::planted::planted(53)) {
            let live = read(&live);
            (mark.index, mark.term) = (live.index, live.term);
        }
        let mut written = write_memory(&transaction, &read(&self.frozen), mark.compacted)?;
        write_fences(&transaction, self.fences, &mut written)?;
        mark.bytes = mark.bytes.saturating_add_signed(written.bytes);
        let before = self.base.mark();
        // Once everything up to the compacted revision is swept there is nothing to do until it moves.
        if mark.compacted > 0 && (mark.compacted, mark.compacted) != (before.compacted, before.swept) {
            let limit = SWEEP_MIN.max(2 * written.rows);
            let swept = compact::sweep(&transaction, mark.swept, mark.compacted, limit)?;
            mark.swept = swept.below;
            mark.bytes = mark.bytes.saturating_sub(swept.bytes);
        }
        write_mark(&transaction, &mark, &self.opaque)?;
        transaction.commit().map_err(storage("committing a checkpoint to"))?;
        Ok(CheckpointDone { base: Base::pin(Arc::clone(self.base.file()))? })
    }
}

impl CheckpointDone {
    /// The log position that it stands for: index and term. The log may be cut behind it.
    #[must_use]
    pub fn applied(&self) -> (u64, u64) {
        (self.base.mark().index, self.base.mark().term)
    }
}

/// What writing did.
#[derive(Debug, Default)]
struct Written {
    /// Rows written or removed.
    rows: usize,
    /// Bytes that the file's rows grew by.
    bytes: i64,
}

/// Writes what is in memory, without versions that nobody can read any more.
fn write_memory(transaction: &WriteTransaction, memory: &Memory, compacted: i64) -> Result<Written, KvError> {
    let mut written = Written::default();
    let superseded = write_versions(transaction, memory, compacted, &mut written)?;
    write_changes(transaction, memory, &superseded, &mut written)?;
    for table in Table::ALL {
        let mut target = transaction.open_table(table.definition()).map_err(storage("writing to"))?;
        for (key, row) in memory.rows(table) {
            match row {
                Some(row) => written.insert(&mut target, key, row)?,
                None => written.remove(&mut target, key)?,
            };
        }
    }
    Ok(written)
}

/// Writes fences, those that went away first.
fn write_fences(
    transaction: &WriteTransaction,
    mut fences: Vec<(Box<[u8]>, Option<u32>)>,
    written: &mut Written,
) -> Result<(), KvError> {
    let mut table = transaction.open_table(Table::Fences.definition()).map_err(storage("writing to"))?;
    fences.sort_unstable(); // in the order of the table; of a fence that went and came back, the one that came is last
    for (fence, live) in fences {
        match live {
            Some(live) => written.insert(&mut table, &fence, &live.to_be_bytes())?,
            None => written.remove(&mut table, &fence)?,
        };
    }
    Ok(())
}

/// Writes versions of keys: the newest to its place, what it replaces and what came between to history. Answers, in
/// order, the places of versions that were left out because a newer one stands at or below the compacted revision.
fn write_versions(
    transaction: &WriteTransaction,
    memory: &Memory,
    compacted: i64,
    written: &mut Written,
) -> Result<Vec<Place>, KvError> {
    let open = |table: Table| transaction.open_table(table.definition()).map_err(storage("writing to"));
    let (mut keys, mut history) = (open(Table::Keys)?, open(Table::History)?);
    let mut superseded = Vec::new();
    for (prefix, chain) in memory.chains(&[], None) {
        let mut versions = chain.newest_first();
        let newest = versions.next().expect("a chain has a newest version");
        let replaced = written.insert(&mut keys, prefix, &encode_newest(newest))?;
        let mut covered = newest.place.0 <= compacted; // older versions can no longer be read
        let mut run: Vec<(Box<[u8]>, Bytes)> = Vec::new();
        for version in versions {
            let (main, sub) = version.place;
            if covered && main < compacted {
                superseded.push(version.place);
                continue;
            }
            covered |= main <= compacted;
            run.push((key::version(prefix, main, sub), version.row.clone()));
        }
        if let Some(replaced) = replaced {
            let ((main, sub), row) = split_newest(&replaced)?;
            if !covered || main >= compacted {
                run.push((key::version(prefix, main, sub), Bytes::copy_from_slice(row)));
            }
        }
        written.insert_run(&mut history, &run)?;
    }
    superseded.sort_unstable();
    Ok(superseded)
}

/// Writes the list of changes, without those whose version was left out. A deletion stays: the sweep follows it to what
/// the key had before.
fn write_changes(
    transaction: &WriteTransaction,
    memory: &Memory,
    superseded: &[Place],
    written: &mut Written,
) -> Result<(), KvError> {
    let mut revisions = transaction.open_table(Table::Revisions.definition()).map_err(storage("writing to"))?;
    let is_left_out = |change: &Change| {
        change.kind != ChangeKind::Deleted && !superseded.is_empty() && superseded.binary_search(&change.place).is_ok()
    };
    // In pieces, so that the rows do not all stand in memory a second time.
    for changes in memory.changes().chunks(RUN_MAX) {
        let row = |change: &Change| (key::revision(change.place.0, change.place.1).into(), change.encode());
        let run: Vec<_> = changes.iter().filter(|change| !is_left_out(change)).map(row).collect();
        written.insert_run(&mut revisions, &run)?;
    }
    Ok(())
}

/// Rows from which on a run is inserted through a cursor: below that, finding the place costs as much.
const RUN_MIN: usize = 3;
/// Changes written at a time.
const RUN_MAX: usize = 4_096;

impl Written {
    /// Writes a row and answers the one that it replaces.
    fn insert(&mut self, table: &mut RowTable<'_>, key: &[u8], row: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let replaced = table.insert(key, row).map_err(storage("writing to"))?;
        let replaced = replaced.map(|replaced| replaced.value().to_vec());
        self.rows += 1;
        self.bytes += (key.len() + row.len()) as i64;
        self.bytes -= replaced.as_ref().map_or(0, |replaced| (key.len() + replaced.len()) as i64);
        Ok(replaced)
    }

    /// Removes a row and answers it.
    fn remove(&mut self, table: &mut RowTable<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let removed = table.remove(key).map_err(storage("writing to"))?;
        let removed = removed.map(|removed| removed.value().to_vec());
        self.rows += 1;
        self.bytes -= removed.as_ref().map_or(0, |removed| (key.len() + removed.len()) as i64);
        Ok(removed)
    }

    /// Writes new rows, in order, that no row of the table lies between.
    fn insert_run(&mut self, table: &mut RowTable<'_>, rows: &[(Box<[u8]>, Bytes)]) -> Result<(), KvError> {
        if rows.len() < RUN_MIN {
            return rows.iter().try_for_each(|(key, row)| self.insert(table, key, row).map(|_| ()));
        }
        let first = &rows[0].0[..];
        let mut cursor = table.lower_bound_mut(Bound::Included(first)).map_err(storage("writing to"))?;
        for (key, row) in rows {
            cursor.insert_before(&key[..], &row[..]).map_err(storage("writing to"))?;
            self.rows += 1;
            self.bytes += (key.len() + row.len()) as i64;
        }
        cursor.close().map_err(storage("writing to"))
    }
}
