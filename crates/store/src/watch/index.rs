//! Synced watches by what they watch: one key, or a range.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use kontiki_kv::Event;
use kontiki_raft::planted::planted;

use super::Wish;
use super::stream::Queue;

/// Names a watch: its stream's number and its identity in the stream.
pub type WatchName = (u64, i64);

/// A synced watch.
#[derive(Clone, Debug)]
pub struct Synced {
    pub wish: Wish,
    /// Events below this revision are not for it.
    pub from: i64,
    pub queue: Arc<Queue>,
}

/// All synced watches.
#[derive(Debug, Default)]
pub struct Index {
    watches: BTreeMap<WatchName, Synced>,
    /// Those of a single key. Looked up by key only; order never matters.
    keys: HashMap<Bytes, Vec<WatchName>>,
    /// Those of a range.
    ranges: Vec<WatchName>,
}

impl Index {
    pub fn insert(&mut self, name: WatchName, watch: Synced) {
        if watch.wish.range.range_end.is_empty() {
            self.keys.entry(watch.wish.range.key.clone()).or_default().push(name);
        } else {
            self.ranges.push(name);
        }
        let before = self.watches.insert(name, watch);
        assert!(before.is_none(), "a watch joins once");
    }

    pub fn remove(&mut self, name: WatchName) -> Option<Synced> {
        let watch = self.watches.remove(&name)?;
        if watch.wish.range.range_end.is_empty() {
            if let Some(names) = self.keys.get_mut(&watch.wish.range.key) {
                names.retain(|other| *other != name);
                if names.is_empty() {
                    self.keys.remove(&watch.wish.range.key);
                }
            }
        } else {
            self.ranges.retain(|other| *other != name);
        }
        Some(watch)
    }

    pub fn remove_stream(&mut self, stream: u64) {
        let names: Vec<WatchName> =
            self.watches.range((stream, i64::MIN)..=(stream, i64::MAX)).map(|(n, _)| *n).collect();
        for name in names {
            self.remove(name);
        }
    }

    pub fn get(&self, name: WatchName) -> Option<&Synced> {
        self.watches.get(&name)
    }

    pub fn of_stream(&self, stream: u64) -> impl Iterator<Item = (i64, &Synced)> {
        self.watches.range((stream, i64::MIN)..=(stream, i64::MAX)).map(|((_, id), watch)| (*id, watch))
    }

    pub fn names(&self) -> Vec<WatchName> {
        self.watches.keys().copied().collect()
    }

    /// The watches that this event is for.
    pub fn matching<'a>(&'a self, event: &'a Event) -> impl Iterator<Item = (WatchName, &'a Synced)> {
        let single = self.keys.get(&event.kv.key).map(Vec::as_slice).unwrap_or_default();
        single
            .iter()
            .chain(&self.ranges)
            .filter_map(|name| self.watches.get(name).map(|watch| (*name, watch)))
            .filter(|(_, watch)| event.kv.mod_revision >= watch.from || planted(57))
            .filter(|(_, watch)| watch.wish.wants(event))
    }
}
