//! Sorted tables in memory: what has been written since the last checkpoint.

use std::collections::{BTreeMap, btree_map};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::changes::{Change, ChangeKind};
use crate::layers::Table;
use crate::versions::{Chain, Stored};

/// What a row costs beside its bytes: its place in the tree and the headers of two allocations.
const ROW_OVERHEAD: usize = 96;
/// What a version of a key and its change cost beside the row.
const VERSION_OVERHEAD: usize = 128;

/// Rows of one table; none marks a row of a lower layer as removed.
pub(crate) type Rows = BTreeMap<Box<[u8]>, Option<Bytes>>;

/// All tables, and how much memory they take, roughly. Versions of keys are not rows here but chains; changes are a list.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    chains: BTreeMap<Arc<[u8]>, Chain>,
    changes: Vec<Change>,
    tables: [Rows; Table::ALL.len()],
    bytes: usize,
}

impl Memory {
    /// Adds a version of a prefix's key, and the change that it is.
    pub(crate) fn push(&mut self, prefix: &[u8], version: Stored, kind: ChangeKind) {
        let place = version.place;
        assert!(self.changes.last().is_none_or(|last| last.place < place), "changes are written in order");
        self.bytes += version.row.len() + VERSION_OVERHEAD;
        let prefix = if let Some(chain) = self.chains.get_mut(prefix) {
            chain.push(version);
            Arc::clone(&chain.prefix)
        } else {
            self.bytes += prefix.len() + ROW_OVERHEAD;
            let prefix: Arc<[u8]> = prefix.into();
            self.chains.insert(Arc::clone(&prefix), Chain::new(Arc::clone(&prefix), version));
            prefix
        };
        self.changes.push(Change { place, kind, prefix });
    }

    /// Changes in this layer, in order.
    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The versions of a prefix's key in this layer.
    pub(crate) fn chain(&self, prefix: &[u8]) -> Option<&Chain> {
        self.chains.get(prefix)
    }

    /// All keys in this layer from a prefix on, up to another one.
    pub(crate) fn chains(&self, from: &[u8], to: Option<&[u8]>) -> btree_map::Range<'_, Arc<[u8]>, Chain> {
        self.chains.range::<[u8], _>(bounds(from, to))
    }

    /// Writes a row, or marks it as removed.
    pub(crate) fn put(&mut self, table: Table, key: Box<[u8]>, value: Option<Bytes>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len) + ROW_OVERHEAD;
        let key_len = key.len();
        if let Some(old) = self.tables[table as usize].insert(key, value) {
            self.bytes -= key_len + old.as_ref().map_or(0, Bytes::len) + ROW_OVERHEAD;
        }
    }

    /// A row, or that it is removed, or nothing where this layer does not know.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<&Option<Bytes>> {
        self.tables[table as usize].get(key)
    }

    /// The rows of a table.
    pub(crate) fn rows(&self, table: Table) -> &Rows {
        &self.tables[table as usize]
    }

    /// Rows from a key on, up to another one.
    pub(crate) fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> btree_map::Range<'_, Box<[u8]>, Option<Bytes>> {
        self.tables[table as usize].range::<[u8], _>(bounds(from, to))
    }

    /// Memory taken, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A range that ends before it begins is empty, where the map would panic.
fn bounds<'a>(from: &'a [u8], to: Option<&'a [u8]>) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (Bound::Included(from), to.map_or(Bound::Unbounded, |to| Bound::Excluded(to.max(from))))
}
