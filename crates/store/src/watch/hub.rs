//! The hub: takes events from the state machine, gives them to the streams.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kontiki_kv::{Event, Reader};
use kontiki_raft::planted::planted;
use tokio::sync::Notify;

use super::index::{Index, Synced, WatchName};
use super::stream::Queue;
use super::{SharedEvent, Wish};

/// Events that wait to be distributed, at most. Beyond that the watches are served from storage.
const INBOUND_EVENTS_MAX: usize = 65_536;

/// Where events go through.
#[derive(Debug)]
pub struct Hub {
    index: Mutex<Index>,
    inbound: Mutex<Inbound>,
    wake: Notify,
    /// Watches of any kind. While there are none, events are not kept.
    watches: AtomicUsize,
}

/// Events published and not yet distributed.
#[derive(Debug)]
struct Inbound {
    revisions: Vec<(i64, Vec<Event>)>,
    /// How many events these are.
    events: usize,
    /// Too many came in to be kept: from this revision on, watches read storage.
    overflowed: Option<i64>,
    /// Last revision published.
    published: i64,
}

impl Hub {
    /// No watches; the store is at `revision`.
    pub fn new(revision: i64) -> Hub {
        Hub {
            index: Mutex::default(),
            inbound: Mutex::new(Inbound { revisions: Vec::new(), events: 0, overflowed: None, published: revision }),
            wake: Notify::new(),
            watches: AtomicUsize::new(0),
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbound(&self) -> MutexGuard<'_, Inbound> {
        self.inbound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state has reached `revision` by these events. Followed by [`Hub::wake`] after the last of a batch.
    pub fn publish(&self, revision: i64, events: Vec<Event>) {
        let mut inbound = self.inbound();
        inbound.published = revision;
        if events.is_empty() || inbound.overflowed.is_some() || self.watches.load(Ordering::SeqCst) == 0 {
            return;
        }
        inbound.events += events.len();
        inbound.revisions.push((revision, events));
        if inbound.events > INBOUND_EVENTS_MAX {
            inbound.overflowed = inbound.revisions.first().map(|(first, _)| *first);
            inbound.revisions.clear();
        }
    }

    /// Lets the hub's task distribute what was published.
    pub fn wake(&self) {
        if self.watches.load(Ordering::SeqCst) > 0 {
            self.wake.notify_one();
        }
    }

    /// Distributes for ever; the store runs this as a task.
    pub async fn run(&self) {
        loop {
            self.wake.notified().await;
            self.distribute(&mut self.index());
        }
    }

    /// Takes what is published and puts it into the streams' queues, under the index's lock, so that nobody joins or asks
    /// for progress in between.
    fn distribute(&self, index: &mut Index) {
        let (revisions, overflowed) = {
            let mut inbound = self.inbound();
            inbound.events = 0;
            (std::mem::take(&mut inbound.revisions), inbound.overflowed.take())
        };
        if let Some(from) = overflowed {
            Hub::resume_all(index, from);
        }
        for (revision, events) in revisions {
            let events: Vec<SharedEvent> = events.into_iter().map(Arc::new).collect();
            let mut slow: Vec<WatchName> = Vec::new();
            match events.as_slice() {
                [event] => {
                    for (name, watch) in index.matching(event) {
                        if !watch.queue.push_events(name.1, revision, watch.wish.prev_kv, vec![event.clone()]) {
                            slow.push(name);
                        }
                    }
                }
                many => {
                    let mut found: BTreeMap<WatchName, Vec<SharedEvent>> = BTreeMap::new();
                    for event in many {
                        for (name, _) in index.matching(event) {
                            found.entry(name).or_default().push(event.clone());
                        }
                    }
                    for (name, events) in found {
                        if let Some(watch) = index.get(name)
                            && !watch.queue.push_events(name.1, revision, watch.wish.prev_kv, events)
                        {
                            slow.push(name);
                        }
                    }
                }
            }
            for name in slow {
                if let Some(watch) = index.remove(name) {
                    let from = if planted(56) { revision + 1 } else { revision };
                    watch.queue.push_resume(name.1, from, watch.wish);
                }
            }
        }
    }

    /// A stream's watch is about to exist, synced or not.
    pub fn add_watch(&self) {
        self.watches.fetch_add(1, Ordering::SeqCst);
    }

    /// Watches are gone.
    pub fn remove_watches(&self, count: usize) {
        self.watches.fetch_sub(count, Ordering::SeqCst);
    }

    /// Joins a watch that has been told everything below `from`. False where there are events between `from` and the
    /// present, which must be read first.
    pub fn join(&self, name: WatchName, wish: &Wish, from: i64, reader: &Reader, queue: &Arc<Queue>) -> bool {
        let mut index = self.index();
        // Whatever is applied after this moment is published after it, and distributed once the lock is free.
        // A reader from before a snapshot was installed knows less than was published.
        let joins = from > reader.revision() && from > self.inbound().published;
        if joins {
            index.insert(name, Synced { wish: wish.clone(), from, queue: queue.clone() });
        }
        joins
    }

    /// Ends a watch, if it is synced.
    pub fn leave(&self, name: WatchName) {
        self.index().remove(name);
    }

    /// Ends all synced watches of a stream.
    pub fn leave_stream(&self, stream: u64) {
        self.index().remove_stream(stream);
    }

    /// Calls `tell` with a revision up to which everything has been put into the stream's queue, and with the stream's
    /// synced watches and their first revisions. Nothing is put into the queue meanwhile.
    pub fn progress(&self, stream: u64, tell: impl FnOnce(i64, Vec<(i64, i64)>)) {
        let mut index = self.index();
        let published = loop {
            self.distribute(&mut index);
            let inbound = self.inbound();
            if inbound.revisions.is_empty() && inbound.overflowed.is_none() {
                break inbound.published;
            }
        };
        tell(published, index.of_stream(stream).map(|(id, watch)| (id, watch.from)).collect());
    }

    /// A snapshot took the state from the last published revision to `revision` without telling the events between: every
    /// watch reads them from storage, or learns that they are compacted.
    pub fn jump(&self, revision: i64) {
        let mut index = self.index();
        self.distribute(&mut index);
        let published = std::mem::replace(&mut self.inbound().published, revision);
        Hub::resume_all(&mut index, published + 1);
    }

    /// Every watch reads on from storage, from this revision on.
    fn resume_all(index: &mut Index, from: i64) {
        for name in index.names() {
            if let Some(watch) = index.remove(name) {
                watch.queue.push_resume(name.1, watch.from.max(from), watch.wish);
            }
        }
    }
}
