//! Watches and progress, step by step, over a state machine that only this test drives.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{Command, KeyRange, Kv, Options, PutRequest};
use kontiki_world::RealClock;
use redb::backends::InMemoryBackend;

use super::*;
use crate::link::Link;

/// A state, its watches and one client.
struct World {
    kv: Kv,
    link: Arc<Link>,
    stream: WatchStream,
}

impl World {
    fn new() -> World {
        let kv = Kv::open(InMemoryBackend::new(), Options::default()).unwrap();
        let link = Arc::new(Link::new(kv.reader(), 1, Hub::new(kv.revision()), Arc::default()));
        let stream = WatchStream::new(
            link.clone(),
            Arc::new(RealClock::default()),
            Duration::from_secs(600),
            Failed(Arc::new(|_| ())),
        );
        World { kv, link, stream }
    }

    /// Puts a key, and tells the hub.
    fn put(&mut self) {
        let put = PutRequest { key: Bytes::from_static(b"k"), ..PutRequest::default() };
        let index = self.kv.applied().0 + 1;
        let outcome = self.kv.batch().apply(index, 1, &Command::Put(put)).unwrap();
        self.link.hub.publish(outcome.revision, outcome.events);
        self.link.hub.wake();
    }

    fn watch(&mut self, start_revision: i64) {
        let range = KeyRange { key: Bytes::from_static(b"k"), range_end: Bytes::new() };
        self.stream.create(WatchCreate { range, start_revision, ..WatchCreate::default() });
    }

    /// Asks for progress and takes all that is told until it comes: the revisions of the events, and its own.
    async fn until_progress(&mut self) -> (Vec<i64>, i64) {
        self.stream.request_progress();
        let mut seen = Vec::new();
        loop {
            let response = tokio::time::timeout(Duration::from_secs(20), self.stream.next()).await.unwrap();
            match response.kind {
                WatchKind::Events(events) => seen.extend(events.iter().map(|event| event.kv.mod_revision)),
                WatchKind::Progress => return (seen, response.revision),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn progress_comes_behind_the_events_of_a_watch_that_lags() {
    let mut world = World::new();
    (0..5).for_each(|_| world.put());
    world.watch(2);
    assert_eq!(world.until_progress().await, ((2..=6).collect(), 6));
    (0..2).for_each(|_| world.put()); // published, and not distributed
    assert_eq!(world.until_progress().await, (vec![7, 8], 8));
}

#[tokio::test]
async fn a_watch_from_the_future_is_told_nothing_before() {
    let mut world = World::new();
    world.watch(5);
    (0..6).for_each(|_| world.put());
    assert_eq!(world.until_progress().await, (vec![5, 6, 7], 7));
}

#[tokio::test]
async fn a_stream_carries_so_many_watches_and_says_so() {
    let mut world = World::new();
    for _ in 0..10_000 {
        world.watch(0);
    }
    world.watch(0);
    for place in 0..=10_000 {
        let response = world.stream.try_next().unwrap();
        match response.kind {
            WatchKind::Created => assert!(place < 10_000),
            WatchKind::Rejected(reason) => {
                assert_eq!((place, response.watch_id), (10_000, -1));
                assert_eq!(reason, "kontiki: a stream carries at most 10000 watches; open another one");
            }
            other => panic!("{other:?}"),
        }
    }
    world.stream.cancel(7);
    world.watch(0);
    let kinds = [world.stream.try_next().unwrap().kind, world.stream.try_next().unwrap().kind];
    assert_eq!(kinds, [WatchKind::Canceled { compact_revision: 0 }, WatchKind::Created]);
}

#[tokio::test]
async fn who_joins_need_not_wait_for_all_that_is_to_be_distributed() {
    let mut world = World::new();
    (0..30).for_each(|_| world.watch(0));
    (0..10).for_each(|_| world.put()); // 300 answers, a few in each turn
    let link = world.link.clone();
    let hub = tokio::spawn(async move { link.hub.run().await });
    tokio::task::yield_now().await; // one turn of the hub
    world.watch(0);
    let created = std::iter::from_fn(|| world.stream.try_next()).filter(|told| told.kind == WatchKind::Created);
    assert_eq!(created.count(), 31);
    assert!(world.until_progress().await.0.len() < 300, "it joined in the middle");
    hub.abort();
}

#[tokio::test]
async fn events_behind_a_progress_are_not_joined_to_those_before_it() {
    let mut world = World::new();
    world.watch(0);
    world.put();
    world.stream.request_progress();
    world.put();
    world.link.hub.progress(u64::MAX, |_, _| ()); // distributes
    let told = std::iter::from_fn(|| world.stream.try_next()).filter_map(|response| match response.kind {
        WatchKind::Events(events) => events.last().map(|event| event.kv.mod_revision),
        WatchKind::Progress => Some(response.revision),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [2, 2, 3], "what is told never goes back");
}
