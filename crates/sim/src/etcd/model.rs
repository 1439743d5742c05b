//! etcd's store written the simple way: every version of every key in memory, for ever. The reference that answers and
//! watches are compared with.
//!
//! It shares the words of `kontiki-kv`, and none of its code: what both get wrong in the same way would have to be
//! misunderstood twice.

mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use kontiki_kv::{Alarm, Event, KeyRange, KeyValue};

pub use read::{Found, Moment};

/// A key as of a revision. None: it is gone since.
#[derive(Clone, Debug)]
struct Version {
    revision: i64,
    kv: Option<KeyValue>,
}

/// All that was ever written.
#[derive(Clone, Debug)]
pub struct Model {
    revision: i64,
    compacted: i64,
    /// Of each key the last version of each revision that changed it, oldest first.
    keys: BTreeMap<Bytes, Vec<Version>>,
    /// Events of revision 2, of revision 3, and so on.
    events: Vec<Vec<Event>>,
    /// Granted time to live in seconds.
    leases: BTreeMap<i64, i64>,
    /// The entries that granted them.
    granted: BTreeMap<i64, u64>,
    /// The entry that is applied next, where somebody counts.
    pub index: u64,
    attached: BTreeSet<(i64, Bytes)>,
    alarms: BTreeSet<(Alarm, u64)>,
}

impl Default for Model {
    fn default() -> Model {
        Model {
            revision: 1,
            compacted: -1,
            keys: BTreeMap::new(),
            events: Vec::new(),
            leases: BTreeMap::new(),
            granted: BTreeMap::new(),
            index: 0,
            attached: BTreeSet::new(),
            alarms: BTreeSet::new(),
        }
    }
}

impl Model {
    /// The store's revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The compacted revision, −1 for never.
    #[must_use]
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// What happened in a revision, in order. Nothing where there is no such revision.
    #[must_use]
    pub fn events(&self, revision: i64) -> &[Event] {
        let index = usize::try_from(revision - 2).ok();
        index.and_then(|index| self.events.get(index)).map_or(&[], Vec::as_slice)
    }

    /// A lease's granted time to live, while there is one.
    #[must_use]
    pub fn lease(&self, id: i64) -> Option<i64> {
        self.leases.get(&id).copied()
    }

    /// Keys attached to a lease, in order.
    #[must_use]
    pub fn lease_keys(&self, id: i64) -> Vec<Bytes> {
        let attached = self.attached.range((id, Bytes::new())..).take_while(|(lease, _)| *lease == id);
        attached.map(|(_, key)| key.clone()).collect()
    }

    /// A key as of a revision.
    #[must_use]
    pub fn key_at(&self, key: &[u8], revision: i64) -> Option<&KeyValue> {
        self.keys.get(key).and_then(|versions| at(versions, revision))
    }

    /// The keys of a range that are there as of a revision, in order.
    fn within(&self, range: &KeyRange, revision: i64) -> impl Iterator<Item = &KeyValue> {
        let one = &range.key[..];
        let (from, to): (Bound<&[u8]>, Bound<&[u8]>) = match &range.range_end[..] {
            [] => (Bound::Included(one), Bound::Included(one)),
            [0] => (Bound::Included(one), Bound::Unbounded),
            end if one < end => (Bound::Included(one), Bound::Excluded(end)),
            _ => (Bound::Included(&[]), Bound::Excluded(&[])), // empty: the end is not behind the beginning
        };
        let keys = self.keys.range::<[u8], _>((from, to));
        keys.filter_map(move |(_, versions)| at(versions, revision))
    }
}

/// Whether a key lies in a range.
#[must_use]
pub fn contains(range: &KeyRange, key: &[u8]) -> bool {
    match &range.range_end[..] {
        [] => range.key == key,
        [0] => &range.key[..] <= key,
        end => &range.key[..] <= key && key < end,
    }
}

fn at(versions: &[Version], revision: i64) -> Option<&KeyValue> {
    let newest = versions.last().filter(|version| version.revision <= revision);
    let version = newest.or_else(|| {
        let later = versions.partition_point(|version| version.revision <= revision);
        later.checked_sub(1).and_then(|index| versions.get(index))
    });
    version.and_then(|version| version.kv.as_ref())
}
