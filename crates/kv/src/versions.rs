//! Versions of keys as the layers keep them.
//!
//! In memory a key has a chain: its newest version, and behind it the older ones that this layer holds. On disk the newest
//! version of every key stands in the table `keys`, so that a range over the latest state reads nothing else; what it
//! replaced went to the table `history`.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::Base;
use crate::error::KvError;
use crate::key;
use crate::layers::Table;
use crate::record::{self, Version};

/// A place in the order of all changes: revision, and number within it.
pub(crate) type Place = (i64, u32);

/// A version: where in history it was written, and its row.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub place: Place,
    pub row: Bytes,
}

impl Stored {
    /// Takes the row apart. The value is a slice of it.
    pub(crate) fn version(&self, values: bool) -> Result<Version, KvError> {
        let (main, sub) = self.place;
        record::decode(main, sub, &self.row, |at| if values { self.row.slice(at..) } else { Bytes::new() })
    }
}

/// The versions of a key in a layer.
#[derive(Debug)]
pub(crate) struct Chain {
    /// The key's prefix, shared with the list of changes.
    pub prefix: Arc<[u8]>,
    newest: Stored,
    /// Oldest first.
    older: Vec<Stored>,
}

impl Chain {
    pub(crate) fn new(prefix: Arc<[u8]>, newest: Stored) -> Chain {
        Chain { prefix, newest, older: Vec::new() }
    }

    /// Adds a version.
    pub(crate) fn push(&mut self, version: Stored) {
        assert!(version.place > self.newest.place, "versions are written in the order of revisions");
        self.older.push(std::mem::replace(&mut self.newest, version));
    }

    /// The newest version at or before a place.
    pub(crate) fn at(&self, place: Place) -> Option<&Stored> {
        if self.newest.place <= place {
            return Some(&self.newest);
        }
        let count = self.older.partition_point(|version| version.place <= place);
        self.older[..count].last()
    }

    /// All versions, newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Stored> {
        std::iter::once(&self.newest).chain(self.older.iter().rev())
    }
}

/// The row of the table `keys`: place, then the version's row.
pub(crate) fn encode_newest(version: &Stored) -> Vec<u8> {
    let (main, sub) = version.place;
    [&key::revision(main, sub)[..], &version.row[..]].concat()
}

/// Takes a row of the table `keys` apart.
pub(crate) fn split_newest(row: &[u8]) -> Result<(Place, &[u8]), KvError> {
    let damaged = KvError::Damaged { table: Table::Keys, what: "row too short" };
    let (place, row) = row.split_at_checked(key::SUFFIX_BYTES).ok_or(damaged)?;
    Ok((key::split_revision(place)?, row))
}

/// The newest version in the base at or before a place.
pub(crate) fn in_base(base: &Base, prefix: &[u8], place: Place) -> Result<Option<Version>, KvError> {
    let Some(newest) = base.row(Table::Keys, prefix)? else { return Ok(None) };
    let (newest_place, row) = split_newest(newest.value())?;
    if newest_place <= place {
        return decode(newest_place, row, true).map(Some);
    }
    in_history(base, prefix, place, true)
}

/// The newest version in the base's history at or before a place.
pub(crate) fn in_history(base: &Base, prefix: &[u8], place: Place, values: bool) -> Result<Option<Version>, KvError> {
    let from = key::version(prefix, place.0, place.1);
    let to = key::successor(prefix);
    let Some(found) = base.range(Table::History, &from, Some(&to))?.next() else { return Ok(None) };
    let (row_key, row) = found?;
    let (_, main, sub) = key::split_version(row_key.value())?;
    decode((main, sub), row.value(), values).map(Some)
}

/// A version out of a row in the base, its value copied.
pub(crate) fn decode((main, sub): Place, row: &[u8], values: bool) -> Result<Version, KvError> {
    record::decode(main, sub, row, |at| if values { Bytes::copy_from_slice(&row[at..]) } else { Bytes::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_finds_the_version_of_any_place() {
        let stored = |main, sub| Stored { place: (main, sub), row: record::tombstone() };
        let mut chain = Chain::new(Arc::default(), stored(3, 0));
        [stored(5, 1), stored(5, 4), stored(9, 0)].into_iter().for_each(|version| chain.push(version));
        let cases = [
            ((2, 9), None),
            ((3, 0), Some((3, 0))),
            ((5, 0), Some((3, 0))),
            ((5, 3), Some((5, 1))),
            ((5, u32::MAX), Some((5, 4))),
            ((8, 0), Some((5, 4))),
            ((i64::MAX, 0), Some((9, 0))),
        ];
        for (place, expected) in cases {
            assert_eq!(chain.at(place).map(|version| version.place), expected, "{place:?}");
        }
        assert_eq!(chain.newest_first().map(|version| version.place.0).collect::<Vec<_>>(), [9, 5, 5, 3]);
    }
}
