//! Random histories beside a list of everything that happened: whatever a client reads, when, and how slowly, each of its
//! watches is told what it asked for, once, in order, whole revisions at a time, and progress never runs ahead.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{
    Command, DeleteRangeRequest, Event, EventKind, KeyRange, Kv, Options, PutRequest, RequestOp, TxnRequest,
};
use kontiki_world::RealClock;
use redb::backends::InMemoryBackend;

use super::*;
use crate::link::Link;

struct Draw(u64);

impl Draw {
    fn upto(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn key(&mut self) -> Bytes {
        Bytes::from(format!("k{:02}", self.upto(14)))
    }

    fn range(&mut self) -> KeyRange {
        let range_end = match self.upto(5) {
            0 | 1 => Bytes::new(),
            2 => Bytes::from_static(&[0]),
            _ => Bytes::from_static(b"k99"),
        };
        KeyRange { key: self.key(), range_end }
    }
}

/// A watch as its client sees it.
struct Seen {
    id: i64,
    create: WatchCreate,
    from: i64,
    told: usize,
}

struct Client {
    stream: WatchStream,
    watches: Vec<Seen>,
}

struct World {
    kv: Kv,
    link: Arc<Link>,
    /// Everything that happened.
    all: Vec<Event>,
    clients: Vec<Client>,
    /// How often what happened that is rare.
    resumed: usize,
    compacted: usize,
    progressed: usize,
}

impl World {
    fn new() -> World {
        let kv = Kv::open(InMemoryBackend::new(), Options::default()).unwrap();
        let link = Arc::new(Link::new(kv.reader(), 1, Hub::new(kv.revision()), Arc::default()));
        World { kv, link, all: Vec::new(), clients: Vec::new(), resumed: 0, compacted: 0, progressed: 0 }
    }

    fn client(&self) -> Client {
        let clock = Arc::new(RealClock::default());
        let failed = Failed(Arc::new(|error| panic!("{error}")));
        let stream = WatchStream::new(self.link.clone(), clock, Duration::from_secs(600), failed);
        Client { stream, watches: Vec::new() }
    }

    fn apply(&mut self, command: &Command) {
        let index = self.kv.applied().0 + 1;
        let outcome = self.kv.batch().apply(index, 1, command).unwrap();
        self.all.extend(outcome.events.iter().cloned());
        self.link.hub.publish(outcome.revision, outcome.events);
        self.link.hub.wake();
    }

    fn write(&mut self, draw: &mut Draw) {
        let operations = (0..=draw.upto(3)).map(|_| match draw.upto(3) {
            0 => RequestOp::DeleteRange(DeleteRangeRequest { range: draw.range(), prev_kv: false }),
            _ => RequestOp::Put(PutRequest { key: draw.key(), value: "v".into(), ..PutRequest::default() }),
        });
        let success = operations.collect();
        self.apply(&Command::Txn(TxnRequest { success, ..TxnRequest::default() }));
    }

    fn create(&mut self, client: usize, draw: &mut Draw) {
        let now = self.kv.revision();
        let start_revision = match draw.upto(4) {
            0 => 1 + i64::try_from(draw.upto(usize::try_from(now).unwrap())).unwrap(),
            1 => now + i64::try_from(draw.upto(4)).unwrap(),
            _ => 0,
        };
        let create = WatchCreate {
            range: draw.range(),
            start_revision,
            no_put: draw.upto(9) == 0,
            no_delete: draw.upto(9) == 0,
            prev_kv: true,
            ..WatchCreate::default()
        };
        let Client { stream, watches } = &mut self.clients[client];
        stream.create(create.clone());
        let from = if start_revision > 0 { start_revision } else { now + 1 };
        // Its identity is told with `Created`.
        watches.push(Seen { id: i64::MIN, create, from, told: 0 });
    }

    /// Reads so many answers, or what there is.
    async fn read(&mut self, client: usize, count: usize) -> bool {
        for _ in 0..count {
            let response = tokio::select! {
                biased;
                response = self.clients[client].stream.next() => response,
                () = idle() => return false,
            };
            self.check(client, response);
        }
        true
    }

    fn check(&mut self, client: usize, response: WatchResponse) {
        let watches = &mut self.clients[client].watches;
        let place = watches.iter().position(|watch| watch.id == response.watch_id);
        match response.kind {
            WatchKind::Created => {
                watches.iter_mut().find(|watch| watch.id == i64::MIN).unwrap().id = response.watch_id;
            }
            WatchKind::Rejected(reason) => panic!("{reason}"),
            WatchKind::Events(events) => {
                let watch = &mut watches[place.expect("no event before `Created` or behind the end")];
                let expected: Vec<_> = wanted(&self.all, watch).skip(watch.told).take(events.len() + 1).collect();
                assert!(!events.is_empty());
                for (event, expected) in events.iter().zip(&expected) {
                    assert_eq!((event.kind, &event.kv), (expected.kind, &expected.kv));
                    // What was before may be compacted.
                    assert!(event.prev_kv.is_none() || event.prev_kv == expected.prev_kv);
                }
                let last = events.last().unwrap().kv.mod_revision;
                assert!(response.revision >= last);
                assert!(expected.get(events.len()).is_none_or(|next| next.kv.mod_revision > last), "whole revisions");
                watch.told += events.len();
            }
            WatchKind::Progress => {
                self.progressed += 1;
                assert_eq!(response.watch_id, -1);
                // What was created since is told behind it.
                for watch in watches.iter().filter(|watch| watch.id != i64::MIN) {
                    assert!(watch.from <= response.revision + 1);
                    let upto = wanted(&self.all, watch).filter(|event| event.kv.mod_revision <= response.revision);
                    assert!(upto.count() <= watch.told, "progress runs ahead");
                }
            }
            WatchKind::Canceled { compact_revision } => {
                if compact_revision > 0 {
                    assert!(compact_revision <= self.kv.compacted());
                    self.compacted += 1;
                    // The client may have ended it before it heard of that.
                    drop(place.map(|place| watches.remove(place)));
                } else {
                    assert!(place.is_none(), "its client had forgotten it");
                }
            }
        }
    }
}

/// What a watch is to be told.
fn wanted<'a>(all: &'a [Event], watch: &Seen) -> impl Iterator<Item = &'a Event> {
    let WatchCreate { range, no_put, no_delete, .. } = watch.create.clone();
    let from = watch.from;
    all.iter().filter(move |event| {
        let key = &event.kv.key;
        let within = match &range.range_end[..] {
            [] => *key == range.key,
            [0] => *key >= range.key,
            end => *key >= range.key && key[..] < *end,
        };
        let filtered = if event.kind == EventKind::Put { no_put } else { no_delete };
        within && !filtered && event.kv.mod_revision >= from
    })
}

/// Lets everything else run for a while.
async fn idle() {
    for _ in 0..400 {
        tokio::task::yield_now().await;
    }
}

async fn run(seed: u64) -> World {
    let mut draw = Draw(seed);
    let mut world = World::new();
    let link = Arc::clone(&world.link);
    let hub = tokio::spawn(async move { link.hub.run().await });
    for _ in 0..3 {
        world.clients.push(world.client());
    }
    for _ in 0..400 {
        let client = draw.upto(3);
        match draw.upto(40) {
            0..18 => world.write(&mut draw),
            18..23 => world.create(client, &mut draw),
            23 => {
                let watches = &mut world.clients[client].watches;
                if let Some(place) = (!watches.is_empty()).then(|| draw.upto(watches.len()))
                    && watches[place].id != i64::MIN
                {
                    let id = watches.remove(place).id;
                    world.clients[client].stream.cancel(id);
                }
            }
            24 => {
                let revision = world.kv.revision() - i64::try_from(draw.upto(12)).unwrap();
                world.apply(&Command::Compact { revision });
            }
            25 => world.clients[client] = world.client(),
            26..28 => world.clients[client].stream.request_progress(),
            28..30 => tokio::task::yield_now().await,
            // The last client hardly ever reads.
            _ if client < 2 || draw.upto(10) == 0 => drop(world.read(client, draw.upto(6)).await),
            _ => {}
        }
        world.resumed = world.resumed.max(usize::try_from(lagging(&world)).unwrap());
    }
    for client in 0..3 {
        while world.read(client, 100).await {}
        for watch in &world.clients[client].watches {
            assert_eq!(wanted(&world.all, watch).count(), watch.told, "seed {seed}: something is missing");
        }
    }
    assert_eq!(lagging(&world), 0);
    hub.abort();
    world
}

fn lagging(world: &World) -> i64 {
    world.link.counters.slow_watchers.load(std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test]
async fn every_watch_is_told_everything_once_and_in_order() {
    let (mut resumed, mut compacted, mut progressed) = (0, 0, 0);
    for seed in 0..60 {
        let world = run(seed).await;
        resumed += world.resumed;
        compacted += world.compacted;
        progressed += world.progressed;
    }
    assert!(resumed > 100 && compacted > 20 && progressed > 100, "{resumed} {compacted} {progressed}");
}
