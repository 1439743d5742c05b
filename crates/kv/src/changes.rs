//! The list of changes, in the order of revisions: what watchers that start in the past follow, and what tells physical
//! compaction where to look. Older changes lie in the base, newer ones in memory, so that reading in order is reading one
//! layer after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::KvError;
use crate::key;
use crate::layers::{Table, View, read};
use crate::versions::Place;

/// Changes taken from a layer at a time: bounds how long a table in memory is locked.
const PAGE_CHANGES: usize = if cfg!(test) { 3 } else { 256 };

/// A change: where in history, which key, and what happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub place: Place,
    pub kind: ChangeKind,
    /// The key's prefix.
    pub prefix: Arc<[u8]>,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// A put of a key that was not there: nothing of this incarnation is older.
    Created,
    /// Another put.
    Changed,
    /// A deletion.
    Deleted,
}

impl Change {
    /// The key.
    pub(crate) fn key(&self) -> Bytes {
        Bytes::from(key::user_key(&self.prefix))
    }

    /// The row of the table `revisions`.
    pub(crate) fn encode(&self) -> Bytes {
        let flags = match self.kind {
            ChangeKind::Changed => 0,
            ChangeKind::Deleted => 1,
            ChangeKind::Created => 2,
        };
        let mut row = vec![flags];
        row.extend_from_slice(&key::user_key(&self.prefix));
        Bytes::from(row)
    }

    /// Reads a row back.
    pub(crate) fn decode(row_key: &[u8], row: &[u8]) -> Result<Change, KvError> {
        let damaged = |what| KvError::Damaged { table: Table::Revisions, what };
        let (flags, key) = row.split_first().ok_or(damaged("empty row"))?;
        let kind = match flags {
            0 => ChangeKind::Changed,
            1 => ChangeKind::Deleted,
            2 => ChangeKind::Created,
            _ => return Err(damaged("unknown kind")),
        };
        Ok(Change { place: key::split_revision(row_key)?, kind, prefix: key::prefix(key).into() })
    }
}

/// The changes from a revision on.
#[derive(Debug)]
pub(crate) struct Changes<'v> {
    view: &'v View,
    /// The layer being read, oldest first: base, frozen, active.
    layer: usize,
    next: Place,
    page: VecDeque<Change>,
}

impl<'v> Changes<'v> {
    pub(crate) fn from(view: &'v View, revision: i64) -> Changes<'v> {
        Changes { view, layer: 0, next: (revision.max(0), 0), page: VecDeque::new() }
    }

    /// The next change.
    pub(crate) fn next(&mut self) -> Result<Option<Change>, KvError> {
        while self.page.is_empty() && self.layer < 3 {
            self.fill()?;
            match self.page.back() {
                Some(last) => self.next = (last.place.0, last.place.1 + 1),
                None => self.layer += 1,
            }
        }
        Ok(self.page.pop_front())
    }

    fn fill(&mut self) -> Result<(), KvError> {
        let memory = match self.layer {
            0 => {
                let from = key::revision(self.next.0, self.next.1);
                for row in self.view.base.range(Table::Revisions, &from, None)?.take(PAGE_CHANGES) {
                    let (row_key, row) = row?;
                    self.page.push_back(Change::decode(row_key.value(), row.value())?);
                }
                return Ok(());
            }
            1 => self.view.frozen.as_ref(),
            _ => Some(&self.view.active),
        };
        if let Some(memory) = memory {
            let memory = read(memory);
            let changes = memory.changes();
            let first = changes.partition_point(|change| change.place < self.next);
            self.page.extend(changes[first..].iter().take(PAGE_CHANGES).cloned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_comes_back() {
        for kind in [ChangeKind::Created, ChangeKind::Changed, ChangeKind::Deleted] {
            let change = Change { place: (7, 3), kind, prefix: key::prefix(b"k\0").into() };
            assert_eq!(Change::decode(&key::revision(7, 3), &change.encode()).unwrap(), change);
            assert_eq!(change.key(), &b"k\0"[..]);
        }
        assert!(Change::decode(&key::revision(7, 3), &[]).is_err());
        assert!(Change::decode(&key::revision(7, 3), &[9]).is_err());
        assert!(Change::decode(&[1], &[0]).is_err());
    }
}
