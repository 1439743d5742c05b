//! One client's stream of watches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kontiki_kv::{Failure, KvError, OperationError};
use kontiki_raft::planted::planted;
use kontiki_world::{Clock, before};
use tokio::sync::Notify;

use super::{SharedEvent, WatchCreate, WatchKind, WatchResponse, Wish};
use crate::link::Link;

/// Most events that wait in a stream's queue before its watches are served from storage instead.
const QUEUED_EVENTS_MAX: usize = 8_192;
/// Most bytes of keys and values that wait, likewise.
const QUEUED_BYTES_MAX: usize = 8 << 20;
/// Most events of one watch that are joined into one response when the client lags.
const JOINED_EVENTS_MAX: usize = 256;
/// How often it is looked whether a state that could not be read was replaced.
const AGAIN: Duration = Duration::from_millis(100);
/// A page of history: revisions, and bytes.
const PAGE_REVISIONS: usize = 1_000;
const PAGE_BYTES: usize = 1 << 20;

/// What waits for a stream's client.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    events: usize,
    bytes: usize,
}

#[derive(Debug)]
enum Item {
    Response(WatchResponse),
    /// The watch was too slow, or history was replaced: from this revision on it reads storage.
    Resume {
        watch_id: i64,
        from: i64,
        wish: Wish,
    },
}

fn weight(event: &SharedEvent) -> usize {
    event.kv.key.len() + event.kv.value.len() + event.prev_kv.as_ref().map_or(0, |kv| kv.value.len()) + 64
}

impl Queue {
    fn push(&self, item: Item) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).items.push_back(item);
        self.wake.notify_one();
    }

    /// Adds events of one revision. False where too much waits already: nothing was added.
    pub fn push_events(&self, watch_id: i64, revision: i64, prev_kv: bool, events: Vec<SharedEvent>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.events > QUEUED_EVENTS_MAX || waiting.bytes > QUEUED_BYTES_MAX {
            return false;
        }
        waiting.events += events.len();
        waiting.bytes += events.iter().map(weight).sum::<usize>();
        if let Some(Item::Response(last)) = waiting.items.back_mut()
            && last.watch_id == watch_id
            && let WatchKind::Events(joined) = &mut last.kind
            && joined.len() + events.len() <= JOINED_EVENTS_MAX
        {
            joined.extend(events);
            last.revision = revision;
            return true; // whoever takes the response has been woken for it
        }
        let kind = WatchKind::Events(events);
        waiting.items.push_back(Item::Response(WatchResponse { watch_id, revision, prev_kv, kind }));
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// The watch is not synced any more.
    pub fn push_resume(&self, watch_id: i64, from: i64, wish: Wish) {
        self.push(Item::Resume { watch_id, from, wish });
    }

    /// Tells progress of the stream as a whole. One that still waits behind everything else is brought up to date.
    fn push_progress(&self, revision: i64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Item::Response(last)) = waiting.items.back_mut()
            && last.watch_id == -1
            && last.kind == WatchKind::Progress
        {
            last.revision = revision;
            return;
        }
        let kind = WatchKind::Progress;
        waiting.items.push_back(Item::Response(WatchResponse { watch_id: -1, revision, prev_kv: false, kind }));
        drop(waiting);
        self.wake.notify_one();
    }

    fn take(&self) -> VecDeque<Item> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.events = 0;
        waiting.bytes = 0;
        std::mem::take(&mut waiting.items)
    }
}

/// A watch that reads storage.
#[derive(Debug)]
struct Unsynced {
    wish: Wish,
    next: i64,
}

/// One client's watches. Dropping it ends them all.
#[derive(Debug)]
pub struct WatchStream {
    link: Arc<Link>,
    number: u64,
    queue: Arc<Queue>,
    /// Taken from the queue, not yet given out.
    ready: VecDeque<Item>,
    /// Every live watch: whether it wants progress, and whether it was told something since the last time.
    live: BTreeMap<i64, Live>,
    unsynced: BTreeMap<i64, Unsynced>,
    /// The unsynced watch that was served last: they take turns.
    turn: i64,
    next_id: i64,
    /// The client asked for progress while a watch lagged.
    progress_wanted: bool,
    progress_interval: Duration,
    /// By this clock.
    progress_at: Duration,
    clock: Arc<dyn Clock>,
    /// The state, as counted by [`Link::readers`], whose history could not be read.
    unreadable: Option<u64>,
    failed: Failed,
}

/// Who is told of history that cannot be read.
#[derive(Clone)]
pub(crate) struct Failed(pub Arc<dyn Fn(&KvError) + Send + Sync>);

impl std::fmt::Debug for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Failed")
    }
}

#[derive(Debug)]
struct Live {
    progress_notify: bool,
    told: bool,
}

static STREAMS: AtomicU64 = AtomicU64::new(1);

impl WatchStream {
    pub(crate) fn new(
        link: Arc<Link>,
        clock: Arc<dyn Clock>,
        progress_interval: Duration,
        failed: Failed,
    ) -> WatchStream {
        link.counters.watch_streams.fetch_add(1, Relaxed);
        WatchStream {
            link,
            number: STREAMS.fetch_add(1, Relaxed),
            queue: Arc::default(),
            ready: VecDeque::new(),
            live: BTreeMap::new(),
            unsynced: BTreeMap::new(),
            turn: i64::MIN,
            next_id: 0,
            progress_wanted: false,
            progress_interval,
            progress_at: clock.now() + progress_interval,
            clock,
            unreadable: None,
            failed,
        }
    }

    /// Makes a watch. What comes of it is told by [`WatchStream::next`]: `Created` before anything else of that watch, or
    /// `Rejected`.
    pub fn create(&mut self, request: WatchCreate) {
        let reader = self.link.reader();
        let mut range = request.range;
        if range.key.is_empty() {
            range.key = bytes::Bytes::from_static(&[0]);
        }
        let open_end = range.range_end.as_ref() == [0];
        let reason = if !range.range_end.is_empty() && !open_end && range.key >= range.range_end {
            Some("mvcc: watcher range is empty".to_owned())
        } else if request.start_revision < 0 {
            Some(OperationError::Compacted.to_string())
        } else if request.watch_id == -1 || self.live.contains_key(&request.watch_id) && request.watch_id != 0 {
            Some("mvcc: duplicate watch ID provided on the WatchStream".to_owned())
        } else {
            None
        };
        if let Some(reason) = reason {
            return self.tell(-1, reader.revision(), WatchKind::Rejected(reason));
        }
        let watch_id = self.choose_id(request.watch_id);
        let wish = Wish {
            range,
            no_put: request.no_put,
            no_delete: request.no_delete,
            prev_kv: request.prev_kv,
            progress_notify: request.progress_notify,
        };
        self.link.hub.add_watch();
        self.link.counters.watchers.fetch_add(1, Relaxed);
        self.live.insert(watch_id, Live { progress_notify: wish.progress_notify, told: false });
        // `Created` must stand in the queue before the first event can: it is put there before the watch joins. Its revision
        // is that of the moment: a watch from "now" starts behind it.
        let revision = reader.revision();
        let from = if request.start_revision > 0 { request.start_revision } else { revision + 1 };
        self.queue.push(Item::Response(WatchResponse { watch_id, revision, prev_kv: false, kind: WatchKind::Created }));
        if !self.link.hub.join((self.number, watch_id), &wish, from, &reader, &self.queue) {
            self.lag(watch_id, Unsynced { wish, next: from });
        }
    }

    fn choose_id(&mut self, wished: i64) -> i64 {
        if wished != 0 {
            return wished;
        }
        while self.live.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn tell(&mut self, watch_id: i64, revision: i64, kind: WatchKind) {
        self.queue.push(Item::Response(WatchResponse { watch_id, revision, prev_kv: false, kind }));
    }

    fn lag(&mut self, watch_id: i64, watch: Unsynced) {
        self.link.counters.slow_watchers.fetch_add(1, Relaxed);
        self.unsynced.insert(watch_id, watch);
    }

    /// Ends a watch; `Canceled` follows. An unknown one is ignored.
    pub fn cancel(&mut self, watch_id: i64) {
        if !self.live.contains_key(&watch_id) {
            return;
        }
        self.forget(watch_id);
        let revision = self.link.reader().revision();
        self.tell(watch_id, revision, WatchKind::Canceled { compact_revision: 0 });
    }

    fn forget(&mut self, watch_id: i64) {
        self.link.hub.leave((self.number, watch_id));
        // A resumption that still waits is this watch's, not that of a later one of the same identity.
        let stays = |item: &Item| !matches!(item, Item::Resume { watch_id: of, .. } if *of == watch_id);
        self.ready.retain(stays);
        self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner).items.retain(stays);
        if self.unsynced.remove(&watch_id).is_some() {
            self.link.counters.slow_watchers.fetch_sub(1, Relaxed);
        }
        if self.live.remove(&watch_id).is_some() {
            self.link.hub.remove_watches(1);
            self.link.counters.watchers.fetch_sub(1, Relaxed);
        }
    }

    /// Asks for progress of the stream as a whole: told once all its watches have been told everything up to it. A watch that
    /// lags delays the answer until it has caught up; one that starts in the future prevents it (the client asks again).
    pub fn request_progress(&mut self) {
        self.progress_wanted = !self.unsynced.is_empty() && !planted(55);
        if self.progress_wanted {
            return;
        }
        let (queue, live) = (&self.queue, self.live.len());
        self.link.hub.progress(self.number, |revision, synced| {
            let all = live > 0
                && (synced.len() == live || planted(55))
                && synced.iter().all(|(_, from)| *from <= revision + 1);
            if all {
                queue.push_progress(revision);
            }
        });
    }

    /// What is ready to be told, without waiting.
    pub fn try_next(&mut self) -> Option<WatchResponse> {
        loop {
            if self.ready.is_empty() {
                self.ready = self.queue.take();
            }
            match self.ready.pop_front()? {
                Item::Resume { watch_id, from, wish } => {
                    if self.live.contains_key(&watch_id) {
                        self.lag(watch_id, Unsynced { wish, next: from });
                    }
                }
                Item::Response(response) => {
                    if let WatchKind::Events(_) = response.kind {
                        match self.live.get_mut(&response.watch_id) {
                            Some(live) => live.told = true,
                            None => continue, // cancelled meanwhile
                        }
                    }
                    return Some(response);
                }
            }
        }
    }

    /// The next thing to tell the client. Cancel-safe: nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> WatchResponse {
        loop {
            if let Some(response) = self.try_next() {
                return response;
            }
            if !self.unsynced.is_empty() && !self.awaits_mending() {
                self.read_page();
                tokio::task::yield_now().await;
                continue;
            }
            let again = (!self.unsynced.is_empty()).then(|| self.clock.now() + AGAIN);
            let progress = self.live.values().any(|live| live.progress_notify).then_some(self.progress_at);
            let Some(until) = again.into_iter().chain(progress).min() else {
                self.queue.wake.notified().await;
                continue;
            };
            let late = before(&*self.clock, until, self.queue.wake.notified()).await.is_none();
            if late && progress.is_some_and(|at| at <= self.clock.now()) {
                self.notify_progress();
            }
        }
    }

    /// Whether the state that readers have is the one that could not be read.
    fn awaits_mending(&self) -> bool {
        self.unreadable == Some(self.link.readers())
    }

    /// Reads a page of history for one of the unsynced watches.
    fn read_page(&mut self) {
        let Some(watch_id) = self
            .unsynced
            .range(self.turn.saturating_add(1)..)
            .next()
            .or(self.unsynced.iter().next())
            .map(|(id, _)| *id)
        else {
            return;
        };
        self.turn = watch_id;
        let readers = self.link.readers();
        let reader = self.link.reader();
        let Some(watch) = self.unsynced.get_mut(&watch_id) else { return };
        if self.link.hub.join((self.number, watch_id), &watch.wish, watch.next, &reader, &self.queue) {
            self.unsynced.remove(&watch_id);
            self.link.counters.slow_watchers.fetch_sub(1, Relaxed);
            if self.progress_wanted {
                self.request_progress();
            }
            return;
        }
        match reader.events(watch.next, PAGE_REVISIONS, PAGE_BYTES) {
            Ok(page) => {
                watch.next = page.next_revision;
                let prev_kv = watch.wish.prev_kv;
                let events: Vec<SharedEvent> =
                    page.events.into_iter().filter(|event| watch.wish.wants(event)).map(Arc::new).collect();
                if !events.is_empty() {
                    let kind = WatchKind::Events(events);
                    let revision = page.revision;
                    self.queue.push(Item::Response(WatchResponse { watch_id, revision, prev_kv, kind }));
                }
            }
            // The member is mended, from its log or another member; the watch goes on where it stands once that is done.
            Err(Failure::Storage(error)) => {
                self.unreadable = Some(readers);
                (self.failed.0)(&error);
            }
            Err(Failure::Operation(_)) => {
                let compact_revision = reader.compacted().max(1);
                self.forget(watch_id);
                self.tell(watch_id, 0, WatchKind::Canceled { compact_revision });
            }
        }
    }

    /// Tells the watches that asked for it, and heard nothing for a while, how far they are.
    fn notify_progress(&mut self) {
        self.progress_at = self.clock.now() + self.progress_interval;
        let (queue, live) = (&self.queue, &mut self.live);
        self.link.hub.progress(self.number, |revision, synced| {
            for (watch_id, from) in synced {
                let Some(watch) = live.get_mut(&watch_id).filter(|watch| watch.progress_notify) else { continue };
                if !std::mem::take(&mut watch.told) && from <= revision + 1 {
                    let kind = WatchKind::Progress;
                    queue.push(Item::Response(WatchResponse { watch_id, revision, prev_kv: false, kind }));
                }
            }
        });
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.link.hub.leave_stream(self.number);
        self.link.hub.remove_watches(self.live.len());
        let counters = &self.link.counters;
        counters.watch_streams.fetch_sub(1, Relaxed);
        counters.watchers.fetch_sub(i64::try_from(self.live.len()).unwrap_or(0), Relaxed);
        counters.slow_watchers.fetch_sub(i64::try_from(self.unsynced.len()).unwrap_or(0), Relaxed);
    }
}
