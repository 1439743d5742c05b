//! Synced watches by what they watch: one key, or a range.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kontiki_kv::Event;
use kontiki_raft::planted::planted;

use super::Wish;
use super::intervals::Intervals;
use super::queue::Queue;
use super::span::End;

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
    watches: BTreeMap<WatchName, Arc<Synced>>,
    /// Those of a single key. Looked up by key only; order never matters.
    keys: HashMap<Arc<[u8]>, Group>,
    /// Those of a range.
    ranges: Intervals<Group>,
}

/// The watches of the same key or range. Most have one: it needs no tree of its own.
#[derive(Debug)]
enum Group {
    One(WatchName, Arc<Synced>),
    Many(BTreeMap<WatchName, Arc<Synced>>),
}

impl Group {
    fn add(&mut self, name: WatchName, watch: Arc<Synced>) {
        match self {
            Group::One(first, other) => {
                *self = Group::Many(BTreeMap::from([(*first, Arc::clone(other)), (name, watch)]));
            }
            Group::Many(watches) => drop(watches.insert(name, watch)),
        }
    }

    /// True where none is left.
    fn remove(&mut self, name: WatchName) -> bool {
        match self {
            Group::One(..) => true,
            Group::Many(watches) => {
                watches.remove(&name);
                watches.is_empty()
            }
        }
    }

    fn each(&self, mut tell: impl FnMut(WatchName, &Synced)) {
        match self {
            Group::One(name, watch) => tell(*name, watch),
            Group::Many(watches) => watches.iter().for_each(|(name, watch)| tell(*name, watch)),
        }
    }
}

impl Index {
    pub fn insert(&mut self, name: WatchName, watch: Synced) {
        let watch = Arc::new(watch);
        let before = self.watches.insert(name, Arc::clone(&watch));
        assert!(before.is_none(), "a watch joins once");
        let span = watch.wish.span.clone();
        let group = match span.end {
            End::Only => self.keys.get_mut(&span.start),
            End::Before(_) | End::Open => self.ranges.get_mut(&span),
        };
        match (group, &span.end) {
            (Some(group), _) => group.add(name, watch),
            (None, End::Only) => drop(self.keys.insert(span.start, Group::One(name, watch))),
            (None, End::Before(_) | End::Open) => self.ranges.insert(span, Group::One(name, watch)),
        }
    }

    pub fn remove(&mut self, name: WatchName) -> Option<Arc<Synced>> {
        let watch = self.watches.remove(&name)?;
        let span = &watch.wish.span;
        match span.end {
            End::Only => {
                if self.keys.get_mut(&span.start).is_some_and(|group| group.remove(name)) {
                    self.keys.remove(&span.start);
                }
            }
            End::Before(_) | End::Open => {
                if self.ranges.get_mut(span).is_some_and(|group| group.remove(name)) {
                    self.ranges.remove(span);
                }
            }
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
        self.watches.get(&name).map(|watch| &**watch)
    }

    pub fn of_stream(&self, stream: u64) -> impl Iterator<Item = (i64, &Synced)> {
        self.watches.range((stream, i64::MIN)..=(stream, i64::MAX)).map(|((_, id), watch)| (*id, &**watch))
    }

    pub fn names(&self) -> Vec<WatchName> {
        self.watches.keys().copied().collect()
    }

    /// Shows the watches that an event is for.
    pub fn matching(&self, event: &Event, mut tell: impl FnMut(WatchName, &Synced)) {
        let mut wanted = |name, watch: &Synced| {
            if (event.kv.mod_revision >= watch.from || planted(57)) && watch.wish.wants(event) {
                tell(name, watch);
            }
        };
        if let Some(group) = self.keys.get(&event.kv.key[..]) {
            group.each(&mut wanted);
        }
        self.ranges.around(&event.kv.key, |group| group.each(&mut wanted));
    }
}
