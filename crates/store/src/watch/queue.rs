//! What waits for a stream's client, bounded: a client that does not take its events in time is served from storage, which
//! has them anyway.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{SharedEvent, WatchKind, WatchResponse, Wish};

/// Most events that wait in a stream's queue before its watches are served from storage instead.
const QUEUED_EVENTS_MAX: usize = if cfg!(test) { 24 } else { 8_192 };
/// Most bytes of keys and values that wait, likewise.
const QUEUED_BYTES_MAX: usize = 8 << 20;
/// Once so many bytes wait in all queues together,
const TOTAL_BYTES_MAX: usize = 512 << 20;
/// each of them takes no more than this.
const QUEUED_BYTES_LEAST: usize = 64 << 10;
/// Most events of one watch that are joined into one response when the client lags.
const JOINED_EVENTS_MAX: usize = 256;
/// Most bytes of them: clients take messages of a few MiB.
const JOINED_BYTES_MAX: usize = 512 << 10;

/// What waits for a stream's client.
#[derive(Debug)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// Bytes that wait in all queues.
    total: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    events: usize,
    bytes: usize,
    /// Items taken so far: the place of the first that waits, in the order of all that ever did.
    taken: u64,
    /// Of watches with events that wait: the place of the last of them, and their bytes. More events are joined to them, so
    /// that a client that lags gets few answers with much in them.
    last: BTreeMap<i64, (u64, usize)>,
}

#[derive(Debug)]
pub enum Item {
    Response(WatchResponse),
    /// The watch was too slow, or history was replaced: from this revision on it reads storage.
    Resume {
        watch_id: i64,
        from: i64,
        wish: Wish,
    },
    /// What stood here is out of date.
    Nothing,
}

/// What an event counts for. One that several wait for counts for each: the bound errs on the safe side.
fn weight(events: &[SharedEvent]) -> usize {
    let weights = events.iter().map(|event| {
        event.kv.key.len() + event.kv.value.len() + event.prev_kv.as_ref().map_or(0, |kv| kv.value.len()) + 64
    });
    weights.sum()
}

impl Queue {
    /// An empty one, beside others whose bytes add up in `total`.
    pub fn new(total: Arc<AtomicUsize>) -> Queue {
        Queue { waiting: Mutex::default(), wake: Notify::new(), total }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is put into it.
    pub async fn filled(&self) {
        self.wake.notified().await;
    }

    /// Adds something that always has room.
    pub fn push(&self, item: Item) {
        let mut waiting = self.waiting();
        if matches!(&item, Item::Response(WatchResponse { kind: WatchKind::Progress, .. })) {
            waiting.last.clear(); // later events joined to what stands before it would overtake it
        }
        waiting.items.push_back(item);
        drop(waiting);
        self.wake.notify_one();
    }

    /// Adds events of one revision. False where too much waits already: nothing was added.
    pub fn push_events(&self, watch_id: i64, revision: i64, prev_kv: bool, events: Vec<SharedEvent>) -> bool {
        let mut waiting = self.waiting();
        let crowded = self.total.load(Relaxed) > TOTAL_BYTES_MAX;
        let bytes_max = if crowded { QUEUED_BYTES_LEAST } else { QUEUED_BYTES_MAX };
        if waiting.events > QUEUED_EVENTS_MAX || waiting.bytes > bytes_max {
            return false;
        }
        let bytes = weight(&events);
        waiting.events += events.len();
        waiting.bytes += bytes;
        self.total.fetch_add(bytes, Relaxed);
        let Waiting { items, last, taken, .. } = &mut *waiting;
        if let Some((place, joined_bytes)) = last.get_mut(&watch_id)
            && let Some(Item::Response(response)) =
                items.get_mut(usize::try_from(*place - *taken).unwrap_or(usize::MAX))
            && let WatchKind::Events(joined) = &mut response.kind
            && joined.len() + events.len() <= JOINED_EVENTS_MAX
            && *joined_bytes + bytes <= JOINED_BYTES_MAX
        {
            joined.extend(events);
            *joined_bytes += bytes;
            response.revision = revision;
            return true; // whoever takes the response has been woken for it
        }
        last.insert(watch_id, (*taken + items.len() as u64, bytes));
        let kind = WatchKind::Events(events);
        items.push_back(Item::Response(WatchResponse { watch_id, revision, prev_kv, kind }));
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// The watch is not synced any more.
    pub fn push_resume(&self, watch_id: i64, from: i64, wish: Wish) {
        self.push(Item::Resume { watch_id, from, wish });
    }

    /// Tells progress of the stream as a whole. One that still waits behind everything else is brought up to date.
    pub fn push_progress(&self, revision: i64) {
        let mut waiting = self.waiting();
        if let Some(Item::Response(last)) = waiting.items.back_mut()
            && last.watch_id == -1
            && last.kind == WatchKind::Progress
        {
            last.revision = revision;
            return;
        }
        drop(waiting);
        let kind = WatchKind::Progress;
        self.push(Item::Response(WatchResponse { watch_id: -1, revision, prev_kv: false, kind }));
    }

    /// Takes what has waited longest.
    pub fn pop(&self) -> Option<Item> {
        let mut waiting = self.waiting();
        let item = waiting.items.pop_front()?;
        let place = waiting.taken;
        waiting.taken += 1;
        if let Item::Response(WatchResponse { watch_id, kind: WatchKind::Events(events), .. }) = &item {
            if waiting.last.get(watch_id).is_some_and(|(last, _)| *last == place) {
                waiting.last.remove(watch_id);
            }
            let bytes = weight(events);
            waiting.events -= events.len();
            waiting.bytes -= bytes;
            self.total.fetch_sub(bytes, Relaxed);
        }
        Some(item)
    }

    /// A watch is over. A resumption that still waits is its own, not that of a later one of the same identity; nor are
    /// that one's events joined to those that wait.
    pub fn forget(&self, watch_id: i64) {
        let mut waiting = self.waiting();
        waiting.last.remove(&watch_id);
        for item in &mut waiting.items {
            if matches!(item, Item::Resume { watch_id: of, .. } if *of == watch_id) {
                *item = Item::Nothing;
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.total.fetch_sub(self.waiting().bytes, Relaxed);
    }
}
