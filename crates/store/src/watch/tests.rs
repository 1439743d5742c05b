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
