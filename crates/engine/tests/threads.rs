//! The engine with its real threads: whoever brings an event may turn it, and no event is lost or seen twice.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kontiki_engine::{COMMAND, Engine, Event, GroupStart, Inbox, Runtime, Settings, Timings};
use kontiki_log::{Identity, Log, Options as LogOptions};
use kontiki_raft::{Configuration, GroupId, Index, NodeId};
use kontiki_transport::{Identity as PeerIdentity, Options as TransportOptions, Transport};
use kontiki_world::{Clock, Disk, RealClock, SimDisk};
use support::ledger::Ledger;

const GROUP: GroupId = GroupId(1);
const THREADS: u64 = 4;
const EACH: u64 = 500;
const COMMAND_BYTES: u64 = 50;

fn open(disk: &Arc<dyn Disk>) -> Log {
    let identity = Identity { cluster_id: 1, member_id: 1 };
    let options = LogOptions { salt: Some(7), ..LogOptions::default() };
    Log::open(disk.clone(), Path::new("/wal"), identity, options).unwrap().0
}

fn command(thread: u64, number: u64) -> Bytes {
    let mut payload = BytesMut::from(&[COMMAND][..]);
    payload.put_u64(thread * EACH + number);
    payload.put_bytes(0, COMMAND_BYTES as usize - payload.len());
    payload.freeze()
}

/// How often each command stands in the log.
fn logged(disk: &Arc<dyn Disk>) -> BTreeMap<u64, u32> {
    let log = open(disk);
    let (first, last) = (log.first(GROUP), log.last(GROUP));
    let mut counts = BTreeMap::new();
    let mut next = first;
    while next <= last {
        let entries = log.entries(GROUP, next, last, 1 << 20).unwrap();
        for entry in &entries {
            if entry.payload.first() == Some(&COMMAND) {
                let number = entry.payload[1..9].try_into().map(u64::from_be_bytes).unwrap();
                *counts.entry(number).or_default() += 1;
            }
        }
        next = Index(next.0 + entries.len() as u64);
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_threads_bring_is_taken_once() {
    let sim = SimDisk::new(5);
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let clock: Arc<dyn Clock> = Arc::new(RealClock::default());
    let identity = PeerIdentity { cluster_id: 1, member_id: NodeId(1), boot: 1 };
    let deliver = Arc::new(|_| {});
    let transport = Transport::start(identity, vec![], vec![], None, deliver, TransportOptions::default()).unwrap();

    // Nothing is compacted, so that the log tells of every command.
    let settings = Settings { checkpoint_bytes: u64::MAX, ..Settings::default() };
    let mut engine = Engine::new(NodeId(1), open(&disk), settings, clock.now());
    let start = GroupStart {
        group: GROUP,
        configuration: Arc::new(Configuration::of([NodeId(1)])),
        incarnation: None,
        seed: 3,
        force_new_cluster: false,
    };
    engine.add_group(start, None, Ledger::open(disk.clone(), Path::new("/state"))).unwrap();
    let inbox: Arc<Inbox<Ledger>> = Arc::default();
    let failed = |error| panic!("the engine stopped: {error}");
    let timings = Arc::new(Timings::default());
    let runtime = Runtime::start(engine, inbox.clone(), Arc::new(transport), clock, timings, failed).unwrap();

    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let inbox = &inbox;
            scope.spawn(move || {
                for number in 0..EACH {
                    let event = Event::Propose { group: GROUP, payload: command(thread, number) };
                    let posted = match number % 3 {
                        0 => inbox.post(event),
                        1 => inbox.post_and_turn(event),
                        _ => {
                            inbox.add(event);
                            inbox.turn();
                            true
                        }
                    };
                    assert!(posted, "the engine runs");
                }
            });
        }
    });
    // The first election takes an election timeout; then everything is written at once.
    let end = Instant::now() + Duration::from_secs(30);
    let mut before = 0;
    while before < THREADS * EACH * COMMAND_BYTES || before != sim.bytes_written() {
        assert!(Instant::now() < end, "only {before} bytes are written");
        before = sim.bytes_written();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    drop(runtime);
    let found = logged(&disk);
    assert_eq!(found.len() as u64, THREADS * EACH, "every command stands in the log");
    assert!(found.values().all(|count| *count == 1), "and none of them twice");

    let late = Event::Propose { group: GROUP, payload: command(THREADS, 0) };
    assert!(!inbox.post_and_turn(late), "who comes after the end is told so");
    inbox.turn();
}

#[test]
fn without_an_engine_events_wait() {
    let inbox: Inbox<Ledger> = Inbox::default();
    assert!(inbox.post_and_turn(Event::Read(GROUP)));
    inbox.add(Event::Read(GROUP));
    inbox.turn();
    assert!(!inbox.is_empty());
    assert_eq!(inbox.drain().len(), 2, "for an owner that calls the engine itself");
    inbox.close();
    assert!(!inbox.post(Event::Read(GROUP)));
}
