//! The hub: takes events from the state machine, gives them to the streams.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kontiki_kv::{Event, Reader};
use kontiki_raft::planted::planted;
use tokio::sync::Notify;

use super::history::History;
use super::index::{Index, Synced, WatchName};
use super::queue::Queue;
use super::{SharedEvent, Wish};

/// Events that wait to be distributed, at most. Beyond that the watches are served from storage.
const INBOUND_EVENTS_MAX: usize = if cfg!(test) { 40 } else { 65_536 };

/// Bytes of keys and values in them, at most, likewise.
const INBOUND_BYTES_MAX: usize = 64 << 20;
/// Events and answers after which others have their turn: whoever joins, cancels or asks for progress waits no longer.
const WORK_PER_TURN: usize = if cfg!(test) { 5 } else { 4_096 };
/// Watches of a member.
const WATCHES_MAX: usize = 1_000_000;

/// Where events go through.
#[derive(Debug)]
pub struct Hub {
    desk: Mutex<Desk>,
    inbound: Mutex<Inbound>,
    wake: Notify,
    /// Watches of any kind. While there are none, events are not kept.
    watches: AtomicUsize,
    streams: AtomicU64,
    /// Bytes that wait in all streams' queues.
    queued: Arc<AtomicUsize>,
    /// For watches that lag.
    pub history: History,
}

/// What one distributes at a time.
#[derive(Debug, Default)]
struct Desk {
    index: Index,
    /// Taken, and to be distributed before anything else is.
    taken: VecDeque<(i64, Vec<Event>)>,
}

/// Events published and not yet distributed.
#[derive(Debug)]
struct Inbound {
    revisions: VecDeque<(i64, Vec<Event>)>,
    /// How many events these are, and their bytes.
    events: usize,
    bytes: usize,
    /// Too many came in to be kept: from this revision on, watches read storage.
    overflowed: Option<i64>,
    /// Last revision published.
    published: i64,
}

fn bytes(event: &Event) -> usize {
    event.kv.key.len() + event.kv.value.len() + event.prev_kv.as_ref().map_or(0, |kv| kv.value.len())
}

impl Hub {
    /// No watches; the store is at `revision`.
    pub fn new(revision: i64) -> Hub {
        let published = revision;
        Hub {
            desk: Mutex::default(),
            inbound: Mutex::new(Inbound {
                revisions: VecDeque::new(),
                events: 0,
                bytes: 0,
                overflowed: None,
                published,
            }),
            wake: Notify::new(),
            watches: AtomicUsize::new(0),
            streams: AtomicU64::new(1),
            queued: Arc::default(),
            history: History::default(),
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
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
        inbound.bytes += events.iter().map(bytes).sum::<usize>();
        inbound.revisions.push_back((revision, events));
        if inbound.events > INBOUND_EVENTS_MAX || inbound.bytes > INBOUND_BYTES_MAX {
            inbound.overflowed = inbound.revisions.front().map(|(first, _)| *first);
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
            while !self.desk().distribute(&self.inbound, WORK_PER_TURN) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// A number for a stream, and the queue to fill for it.
    pub fn new_stream(&self) -> (u64, Arc<Queue>) {
        let number = self.streams.fetch_add(1, Ordering::Relaxed);
        (number, Arc::new(Queue::new(Arc::clone(&self.queued))))
    }

    /// A stream's watch is about to exist, synced or not. False where there are too many.
    pub fn add_watch(&self) -> bool {
        let more = |watches: usize| (watches < WATCHES_MAX).then_some(watches + 1);
        self.watches.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Watches are gone.
    pub fn remove_watches(&self, count: usize) {
        self.watches.fetch_sub(count, Ordering::SeqCst);
    }

    /// Joins a watch that has been told everything below `from`. False where there are events between `from` and the
    /// present, which must be read first.
    pub fn join(&self, name: WatchName, wish: &Wish, from: i64, reader: &Reader, queue: &Arc<Queue>) -> bool {
        let mut desk = self.desk();
        // Whatever is applied after this moment is published after it, and distributed once the lock is free.
        // A reader from before a snapshot was installed knows less than was published.
        let joins = from > reader.revision() && from > self.inbound().published;
        if joins {
            desk.index.insert(name, Synced { wish: wish.clone(), from, queue: queue.clone() });
        }
        joins
    }

    /// Ends a watch, if it is synced.
    pub fn leave(&self, name: WatchName) {
        self.desk().index.remove(name);
    }

    /// Ends all synced watches of a stream.
    pub fn leave_stream(&self, stream: u64) {
        self.desk().index.remove_stream(stream);
    }

    /// Calls `tell` with a revision up to which everything has been put into the stream's queue, and with the stream's
    /// synced watches and their first revisions. Nothing is put into the queue meanwhile.
    pub fn progress(&self, stream: u64, tell: impl FnOnce(i64, Vec<(i64, i64)>)) {
        let mut desk = self.desk();
        let told = desk.distribute_all(&self.inbound);
        tell(told, desk.index.of_stream(stream).map(|(id, watch)| (id, watch.from)).collect());
    }

    /// A snapshot took the state from the last published revision to `revision` without telling the events between: every
    /// watch reads them from storage, or learns that they are compacted.
    pub fn jump(&self, revision: i64) {
        let mut desk = self.desk();
        desk.distribute_all(&self.inbound);
        let published = std::mem::replace(&mut self.inbound().published, revision);
        desk.resume_all(published + 1);
        self.history.clear();
    }
}

impl Desk {
    /// Takes what is published and puts it into the streams' queues, in order, until it has done so much work. True where
    /// nothing is left. All of it under the desk's lock, so that nobody joins or asks for progress in the middle of a
    /// revision.
    fn distribute(&mut self, inbound: &Mutex<Inbound>, work_max: usize) -> bool {
        let mut work = 0;
        loop {
            while let Some((revision, events)) = self.taken.pop_front() {
                work += self.tell(revision, events);
                if work >= work_max {
                    return false;
                }
            }
            self.take(inbound);
            if self.taken.is_empty() {
                return true;
            }
        }
    }

    /// Distributes everything that is published by now; gives the revision of it.
    fn distribute_all(&mut self, inbound: &Mutex<Inbound>) -> i64 {
        while let Some((revision, events)) = self.taken.pop_front() {
            self.tell(revision, events);
        }
        let published = self.take(inbound);
        while let Some((revision, events)) = self.taken.pop_front() {
            self.tell(revision, events);
        }
        published
    }

    /// Takes what is published; gives the last revision of it. What was taken before must be distributed.
    fn take(&mut self, inbound: &Mutex<Inbound>) -> i64 {
        let mut inbound = inbound.lock().unwrap_or_else(PoisonError::into_inner);
        inbound.events = 0;
        inbound.bytes = 0;
        std::mem::swap(&mut self.taken, &mut inbound.revisions);
        let (overflowed, published) = (inbound.overflowed.take(), inbound.published);
        drop(inbound);
        if let Some(from) = overflowed {
            self.resume_all(from);
        }
        published
    }

    /// Puts a revision's events into the queues of those who watch them. Gives how much work that was.
    fn tell(&mut self, revision: i64, events: Vec<Event>) -> usize {
        let mut work = events.len();
        let mut slow: Vec<WatchName> = Vec::new();
        let mut put = |name: WatchName, watch: &Synced, events: Vec<SharedEvent>| {
            work += events.len();
            if !watch.queue.push_events(name.1, revision, watch.wish.prev_kv, events) {
                slow.push(name);
            }
        };
        let mut events = events.into_iter().map(SharedEvent::from);
        match (events.next(), events.len()) {
            (Some(event), 0) => self.index.matching(&event, |name, watch| put(name, watch, vec![event.clone()])),
            (first, _) => {
                let mut found: BTreeMap<WatchName, Vec<SharedEvent>> = BTreeMap::new();
                for event in first.into_iter().chain(events) {
                    self.index.matching(&event, |name, _| found.entry(name).or_default().push(event.clone()));
                }
                for (name, events) in found {
                    if let Some(watch) = self.index.get(name) {
                        put(name, watch, events);
                    }
                }
            }
        }
        for name in slow {
            if let Some(watch) = self.index.remove(name) {
                let from = if planted(56) { revision + 1 } else { revision };
                watch.queue.push_resume(name.1, from, watch.wish.clone());
            }
        }
        work
    }

    /// Every watch reads on from storage, from this revision on.
    fn resume_all(&mut self, from: i64) {
        for name in self.index.names() {
            if let Some(watch) = self.index.remove(name) {
                watch.queue.push_resume(name.1, watch.from.max(from), watch.wish.clone());
            }
        }
    }
}
