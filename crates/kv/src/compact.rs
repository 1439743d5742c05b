//! Compaction: history below a revision becomes unreadable at once, by one number; its rows go away later, inside
//! checkpoints, a bounded portion each.
//!
//! A version may go when a newer one of its key stands at or below the compacted revision; a deletion there may go
//! itself. Two places take care of it. Versions still in memory that are superseded are not written out at all. Those on
//! disk are found through the list of changes: each at or below the compacted revision removes what its key has below it.

use std::collections::BTreeSet;

use redb::{ReadableTable, WriteTransaction};

use crate::base::RowTable;
use crate::changes::{Change, ChangeKind};
use crate::command::Reply;
use crate::error::{Failure, KvError, OperationError, storage};
use crate::key;
use crate::layers::Table;
use crate::planted::planted;
use crate::state::State;
use crate::versions::{decode, split_newest};

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
        for prefix in to_sweep(&changes) {
            bytes += sweep_key(&mut keys, &mut history, prefix, compacted)?;
        }
        if let Some(last) = changes.last() {
            let end = key::revision(last.place.0, last.place.1 + 1).min(key::revision(compacted, 0));
            bytes += remove_range(&mut revisions, &next, &end)?;
            if planted(58) {
                let at_end = |change: &&Change| change.place.0 == compacted && change.kind == ChangeKind::Deleted;
                for Change { place, .. } in changes.iter().filter(at_end) {
                    bytes += remove(&mut revisions, &key::revision(place.0, place.1))?;
                }
            }
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

/// Keys that changes concern, each once. A creation leaves nothing to remove: what came before it ended with a deletion,
/// which does.
fn to_sweep(changes: &[Change]) -> BTreeSet<&[u8]> {
    let changes = changes.iter().filter(|change| change.kind != ChangeKind::Created);
    changes.map(|change| &change.prefix[..]).collect()
}

/// Removes all versions of a key that can no longer be read, whichever change they belong to: the pages that they lie in
/// are then rewritten once. Versions of the compacted revision itself stay, even a deletion: they are what its changes,
/// which stay readable, show.
fn sweep_key(
    keys: &mut RowTable<'_>,
    history: &mut RowTable<'_>,
    prefix: &[u8],
    compacted: i64,
) -> Result<u64, KvError> {
    let newest = keys.get(prefix).map_err(storage("sweeping"))?;
    let Some(newest) = newest.map(|row| split_newest(row.value()).and_then(|(place, row)| decode(place, row, false)))
    else {
        return Ok(0); // a deletion that went before, with all behind it
    };
    let newest = newest?;
    let mut bytes = 0;
    if let Some(from) = first_obsolete(history, prefix, newest.main <= compacted, compacted)? {
        bytes += remove_range(history, &from, &key::successor(prefix))?;
    }
    if newest.tombstone && newest.main < compacted {
        bytes += remove(keys, prefix)?;
    }
    Ok(bytes)
}

/// From which row of its history on a key's versions can no longer be read. `covered` says that the key's newest version
/// stands at or below the compacted revision.
fn first_obsolete(
    history: &RowTable<'_>,
    prefix: &[u8],
    mut covered: bool,
    compacted: i64,
) -> Result<Option<Box<[u8]>>, KvError> {
    let (from, to) = (key::version(prefix, compacted, u32::MAX), key::successor(prefix));
    for row in history.range::<&[u8]>(&from[..]..&to[..]).map_err(storage("sweeping"))? {
        let (row_key, row) = row.map_err(storage("sweeping"))?;
        let (_, main, sub) = key::split_version(row_key.value())?;
        if main < compacted && (covered || decode((main, sub), row.value(), false)?.tombstone) {
            return Ok(Some(row_key.value().into()));
        }
        covered = true;
    }
    Ok(None)
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

fn remove(table: &mut RowTable<'_>, key: &[u8]) -> Result<u64, KvError> {
    let removed = table.remove(key).map_err(storage("sweeping"))?;
    Ok(removed.map_or(0, |value| (key.len() + value.value().len()) as u64))
}
