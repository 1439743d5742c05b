//! Compaction: history below a revision becomes unreadable at once, by one number; its rows go away later, inside
//! checkpoints, a bounded portion each.
//!
//! A version may go when a newer one of its key stands at or below the compacted revision; a deletion there may go
//! itself. Two places take care of it. Versions still in memory that are superseded are not written out at all. Those on
//! disk are found through the list of changes: each at or below the compacted revision removes what its key has below it.

use bytes::Bytes;
use redb::{ReadableTable, WriteTransaction};

use crate::command::Reply;
use crate::error::{Failure, KvError, OperationError, storage};
use crate::key;
use crate::layers::Table;
use crate::record::{Change, decode_change};
use crate::state::State;
use crate::versions::{Place, split_newest};

/// Changes swept in a checkpoint at least; more where the checkpoint itself writes more, so that sweeping keeps up.
pub(crate) const SWEEP_MIN: usize = if cfg!(test) { 4 } else { 20_000 };
/// Changes read before their rows are removed.
const PAGE_CHANGES: usize = if cfg!(test) { 2 } else { 1_000 };

/// Makes history below a revision unreadable.
pub(crate) fn apply(state: &mut State, revision: i64) -> Result<Reply, Failure> {
    if revision <= state.compacted {
        return Err(OperationError::Compacted.into());
    }
    if revision > state.revision {
        return Err(OperationError::FutureRevision.into());
    }
    state.compacted = revision;
    Ok(Reply::Compact)
}

/// How far sweeping came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    /// All changes below this revision are swept.
    pub below: i64,
    /// Bytes of the rows removed.
    pub bytes: u64,
}

/// Removes rows of history from a revision up to the compacted one, some `limit` changes. Changes of the compacted
/// revision itself stay readable: their rows go with the next compaction.
pub(crate) fn sweep(transaction: &WriteTransaction, from: i64, compacted: i64, limit: usize) -> Result<Swept, KvError> {
    let open = |table: Table| transaction.open_table(table.definition()).map_err(storage("sweeping"));
    let (mut keys, mut history, mut revisions) = (open(Table::Keys)?, open(Table::History)?, open(Table::Revisions)?);
    let mut bytes = 0;
    let mut done = 0;
    let mut next = key::revision(from, 0);
    loop {
        let changes = page(&revisions, &next, compacted)?;
        for (main, sub, change) in &changes {
            let prefix = key::prefix(&change.key);
            for row in obsolete(&history, (*main, *sub), &prefix, change, compacted)? {
                bytes += remove(&mut history, &row)?;
            }
            if *main < compacted {
                if change.tombstone && is_newest(&keys, &prefix, (*main, *sub))? {
                    bytes += remove(&mut keys, &prefix)?;
                }
                bytes += remove(&mut revisions, &key::revision(*main, *sub))?;
            }
        }
        done += changes.len();
        match changes.last() {
            Some((main, ..)) if done >= limit => return Ok(Swept { below: *main, bytes }),
            Some((main, sub, _)) if changes.len() == PAGE_CHANGES => next = key::revision(*main, *sub + 1),
            Some(_) | None => return Ok(Swept { below: compacted, bytes }),
        }
    }
}

/// The next changes to sweep.
fn page(
    revisions: &impl ReadableTable<&'static [u8], &'static [u8]>,
    from: &[u8],
    compacted: i64,
) -> Result<Vec<(i64, u32, Change)>, KvError> {
    let to = key::revision(compacted + 1, 0);
    let rows = revisions.range::<&[u8]>(from..&to[..]).map_err(storage("sweeping"))?;
    let mut changes = Vec::new();
    for row in rows.take(PAGE_CHANGES) {
        let (row, change) = row.map_err(storage("sweeping"))?;
        let (main, sub) = key::split_revision(row.value())?;
        changes.push((main, sub, decode_change(&Bytes::copy_from_slice(change.value()))?));
    }
    Ok(changes)
}

/// Rows of history that a change makes obsolete. Those of the compacted revision itself stay, even a deletion: they are
/// what its changes, which stay readable, show.
fn obsolete(
    history: &impl ReadableTable<&'static [u8], &'static [u8]>,
    place: Place,
    prefix: &[u8],
    change: &Change,
    compacted: i64,
) -> Result<Vec<Box<[u8]>>, KvError> {
    if change.created {
        return Ok(Vec::new()); // what came before ended with a deletion, which sweeps it
    }
    let (from, to) = (key::version(prefix, place.0, place.1), key::successor(prefix));
    let rows = history.range::<&[u8]>(&from[..]..&to[..]).map_err(storage("sweeping"))?;
    let mut obsolete = Vec::new();
    for row in rows {
        let (row, _) = row.map_err(storage("sweeping"))?;
        let (_, main, sub) = key::split_version(row.value())?;
        if main < compacted && ((main, sub) < place || change.tombstone) {
            obsolete.push(row.value().into());
        }
    }
    Ok(obsolete)
}

/// Whether a key's newest version is the one written at a place.
fn is_newest(
    keys: &impl ReadableTable<&'static [u8], &'static [u8]>,
    prefix: &[u8],
    place: Place,
) -> Result<bool, KvError> {
    let row = keys.get(prefix).map_err(storage("sweeping"))?;
    row.map_or(Ok(false), |row| Ok(split_newest(row.value())?.0 == place))
}

fn remove(table: &mut redb::Table<'_, &'static [u8], &'static [u8]>, key: &[u8]) -> Result<u64, KvError> {
    let removed = table.remove(key).map_err(storage("sweeping"))?;
    Ok(removed.map_or(0, |value| (key.len() + value.value().len()) as u64))
}
