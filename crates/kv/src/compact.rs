//! Compaction: history below a revision becomes unreadable at once, by one number; its rows go away later, inside
//! checkpoints, a bounded portion each.
//!
//! A version may go when a newer one of its key stands at or below the compacted revision; a deletion there may go
//! itself. Two places take care of it. Versions still in memory that are superseded are not written out at all. Those on
//! disk are found through the list of changes: each at or below the compacted revision removes what its key has below it.

use std::collections::BTreeMap;

use redb::{ReadableTable, WriteTransaction};

use crate::base::RowTable;
use crate::changes::{Change, ChangeKind};
use crate::command::Reply;
use crate::error::{Failure, KvError, OperationError, storage};
use crate::key;
use crate::layers::Table;
use crate::state::State;
use crate::versions::split_newest;

/// Changes swept in a checkpoint at least; more where the checkpoint itself writes more, so that sweeping keeps up.
pub(crate) const SWEEP_MIN: usize = if cfg!(test) { 4 } else { 20_000 };
/// Changes read before their rows are removed.
const PAGE_CHANGES: usize = if cfg!(test) { 3 } else { 8_192 };

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
        for change in last_of_each_key(&changes) {
            bytes += sweep_history(&mut history, change, compacted)?;
            if change.kind == ChangeKind::Deleted && change.place.0 < compacted && is_newest(&keys, change)? {
                bytes += remove(&mut keys, &change.prefix)?;
            }
        }
        if let Some(last) = changes.last() {
            let end = key::revision(compacted.min(last.place.0 + 1), 0); // a revision cut by the page is cut again
            bytes += remove_range(&mut revisions, &next, &end.min(key::revision(last.place.0, last.place.1 + 1)))?;
        }
        done += changes.len();
        match changes.last() {
            Some(last) if done >= limit => return Ok(Swept { below: last.place.0, bytes }),
            Some(last) if changes.len() == PAGE_CHANGES => next = key::revision(last.place.0, last.place.1 + 1),
            Some(_) | None => return Ok(Swept { below: compacted, bytes }),
        }
    }
}

/// The next changes to sweep.
fn page(
    revisions: &impl ReadableTable<&'static [u8], &'static [u8]>,
    from: &[u8],
    compacted: i64,
) -> Result<Vec<Change>, KvError> {
    let to = key::revision(compacted + 1, 0);
    let rows = revisions.range::<&[u8]>(from..&to[..]).map_err(storage("sweeping"))?;
    let mut changes = Vec::new();
    for row in rows.take(PAGE_CHANGES) {
        let (row, change) = row.map_err(storage("sweeping"))?;
        changes.push(Change::decode(row.value(), change.value())?);
    }
    Ok(changes)
}

/// Of each key the change that makes all older ones obsolete. A creation does not: what came before it ended with a
/// deletion, which does.
fn last_of_each_key(changes: &[Change]) -> impl Iterator<Item = &Change> {
    let changes = changes.iter().filter(|change| change.kind != ChangeKind::Created);
    let last: BTreeMap<&[u8], &Change> = changes.map(|change| (&change.prefix[..], change)).collect();
    last.into_values()
}

/// Removes rows of history that a change makes obsolete. Those of the compacted revision itself stay, even a deletion:
/// they are what its changes, which stay readable, show.
fn sweep_history(history: &mut RowTable<'_>, change: &Change, compacted: i64) -> Result<u64, KvError> {
    let (from, to) = (key::version(&change.prefix, change.place.0, change.place.1), key::successor(&change.prefix));
    let mut obsolete: Vec<Box<[u8]>> = Vec::new();
    for row in history.range::<&[u8]>(&from[..]..&to[..]).map_err(storage("sweeping"))? {
        let (row, _) = row.map_err(storage("sweeping"))?;
        let (_, main, sub) = key::split_version(row.value())?;
        if main < compacted && ((main, sub) < change.place || change.kind == ChangeKind::Deleted) {
            obsolete.push(row.value().into());
        }
    }
    obsolete.iter().map(|row| remove(history, row)).sum()
}

/// Removes all rows of a range.
fn remove_range(table: &mut RowTable<'_>, from: &[u8], to: &[u8]) -> Result<u64, KvError> {
    if to <= from {
        return Ok(0);
    }
    let mut bytes = 0;
    let remove = |key: &[u8], row: &[u8]| {
        bytes += (key.len() + row.len()) as u64;
        false
    };
    table.retain_in::<&[u8], _>(from..to, remove).map_err(storage("sweeping"))?;
    Ok(bytes)
}

/// Whether a change is the last one of its key.
fn is_newest(keys: &impl ReadableTable<&'static [u8], &'static [u8]>, change: &Change) -> Result<bool, KvError> {
    let row = keys.get(&change.prefix[..]).map_err(storage("sweeping"))?;
    row.map_or(Ok(false), |row| Ok(split_newest(row.value())?.0 == change.place))
}

fn remove(table: &mut RowTable<'_>, key: &[u8]) -> Result<u64, KvError> {
    let removed = table.remove(key).map_err(storage("sweeping"))?;
    Ok(removed.map_or(0, |value| (key.len() + value.value().len()) as u64))
}
