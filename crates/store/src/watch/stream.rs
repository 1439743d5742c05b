//! One client's stream of watches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use kontiki_kv::{Failure, KvError, OperationError};
use kontiki_raft::planted::planted;
use kontiki_world::{Clock, before};

use super::queue::{Item, Queue};
use super::span::Span;
use super::{WatchCreate, WatchKind, WatchResponse, Wish};
use crate::link::Link;

/// How often it is looked whether a state that could not be read was replaced.
const AGAIN: Duration = Duration::from_millis(100);
/// Watches of a stream.
const WATCHES_MAX: usize = 10_000;

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
    /// Every live watch: whether it wants progress, and whether it was told something since the last time.
    live: BTreeMap<i64, Live>,
    /// How many of them want progress.
    notified: usize,
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

impl WatchStream {
    pub(crate) fn new(
        link: Arc<Link>,
        clock: Arc<dyn Clock>,
        progress_interval: Duration,
        failed: Failed,
    ) -> WatchStream {
        link.counters.watch_streams.fetch_add(1, Relaxed);
        let (number, queue) = link.hub.new_stream();
        let progress_interval = progress_interval + spread(progress_interval, number);
        WatchStream {
            link,
            number,
            queue,
            live: BTreeMap::new(),
            notified: 0,
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
        } else if request.watch_id != 0 && self.live.contains_key(&request.watch_id) {
            Some("mvcc: duplicate watch ID provided on the WatchStream".to_owned())
        } else if self.live.len() >= WATCHES_MAX {
            Some(format!("kontiki: a stream carries at most {WATCHES_MAX} watches; open another one"))
        } else if !self.link.hub.add_watch() {
            Some("kontiki: this member serves as many watches as it can; watch through another one".to_owned())
        } else {
            None
        };
        if let Some(reason) = reason {
            return self.tell(-1, reader.revision(), WatchKind::Rejected(reason));
        }
        let watch_id = self.choose_id(request.watch_id);
        let wish = Wish {
            span: Span::of(&range),
            no_put: request.no_put,
            no_delete: request.no_delete,
            prev_kv: request.prev_kv,
        };
        self.link.counters.watchers.fetch_add(1, Relaxed);
        self.live.insert(watch_id, Live { progress_notify: request.progress_notify, told: false });
        self.notified += usize::from(request.progress_notify);
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

    /// Answers a creation that was not let in.
    pub fn refuse(&mut self, reason: String) {
        let revision = self.link.reader().revision();
        self.tell(-1, revision, WatchKind::Rejected(reason));
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
        self.queue.forget(watch_id);
        if self.unsynced.remove(&watch_id).is_some() {
            self.caught_up();
        }
        if let Some(watch) = self.live.remove(&watch_id) {
            self.notified -= usize::from(watch.progress_notify);
            self.link.hub.remove_watches(1);
            self.link.counters.watchers.fetch_sub(1, Relaxed);
        }
    }

    /// One watch less lags. The last of all lets history go.
    fn caught_up(&mut self) {
        if self.link.counters.slow_watchers.fetch_sub(1, Relaxed) == 1 {
            self.link.hub.history.clear();
        }
        if self.progress_wanted && self.unsynced.is_empty() {
            self.request_progress();
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
            match self.queue.pop()? {
                Item::Nothing => {}
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
                tokio::task::yield_now().await; // other streams have their turn between pages
                match self.read_page() {
                    Some(response) => return response,
                    None => continue,
                }
            }
            let again = (!self.unsynced.is_empty()).then(|| self.clock.now() + AGAIN);
            let progress = (self.notified > 0).then_some(self.progress_at);
            let Some(until) = again.into_iter().chain(progress).min() else {
                self.queue.filled().await;
                continue;
            };
            let late = before(&*self.clock, until, self.queue.filled()).await.is_none();
            if late && progress.is_some_and(|at| at <= self.clock.now()) {
                self.notify_progress();
            }
        }
    }

    /// Whether the state that readers have is the one that could not be read.
    fn awaits_mending(&self) -> bool {
        self.unreadable == Some(self.link.readers())
    }

    /// Takes a page of history for one of the unsynced watches, or finds that it has caught up.
    fn read_page(&mut self) -> Option<WatchResponse> {
        let behind = self.unsynced.range(self.turn.saturating_add(1)..).next();
        let (&watch_id, _) = behind.or_else(|| self.unsynced.iter().next())?;
        self.turn = watch_id;
        let readers = self.link.readers();
        let reader = self.link.reader();
        let watch = self.unsynced.get_mut(&watch_id)?;
        if self.link.hub.join((self.number, watch_id), &watch.wish, watch.next, &reader, &self.queue) {
            self.unsynced.remove(&watch_id);
            self.caught_up();
            return None;
        }
        let lagging = self.link.counters.slow_watchers.load(Relaxed);
        match self.link.hub.history.page(&reader, watch.next, lagging) {
            Ok(page) => {
                let events = page.select(&watch.wish, watch.next);
                watch.next = page.next_revision;
                if events.is_empty() {
                    return None;
                }
                let (revision, prev_kv) = (reader.revision(), watch.wish.prev_kv);
                if let Some(live) = self.live.get_mut(&watch_id) {
                    live.told = true;
                }
                Some(WatchResponse { watch_id, revision, prev_kv, kind: WatchKind::Events(events) })
            }
            // The member is mended, from its log or another member; the watch goes on where it stands once that is done.
            Err(Failure::Storage(error)) => {
                self.unreadable = Some(readers);
                (self.failed.0)(&error);
                None
            }
            Err(Failure::Operation(_)) => {
                let compact_revision = reader.compacted().max(1);
                self.forget(watch_id);
                self.tell(watch_id, 0, WatchKind::Canceled { compact_revision });
                None
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
        let lagging = i64::try_from(self.unsynced.len()).unwrap_or(0);
        if lagging > 0 && counters.slow_watchers.fetch_sub(lagging, Relaxed) == lagging {
            self.link.hub.history.clear();
        }
    }
}

/// Up to a tenth of an interval, another one for each stream: those that were opened together do not all tell at once.
fn spread(interval: Duration, number: u64) -> Duration {
    let share = u32::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54).unwrap_or(0); // ten bits
    interval / 10 * share / 1024
}
