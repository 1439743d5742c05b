//! Members that talk to each other over real sockets: order, loss, restart, refusal, classes of traffic.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{LIMIT, Member, ack, call, chunk, cluster, identity, listener, listener_at, until};
use kontiki_raft::NodeId;
use kontiki_transport::{Frame, Identity, Options, Received, Transport};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_exchange_frames_in_order() {
    const FRAMES: u64 = 2_000;
    let (mut members, _) = cluster(3).await;
    let senders: Vec<_> = members
        .iter()
        .map(|member| {
            let (transport, id) = (member.transport.clone(), member.id);
            // As the engine does: from a thread that belongs to no runtime, several frames per call, small and large.
            std::thread::spawn(move || {
                for first in (0..FRAMES).step_by(5) {
                    let size = |id: u64| if id.is_multiple_of(97) { 30_000 } else { (id % 300) as usize };
                    for peer in (1..=3).map(NodeId).filter(|peer| *peer != id) {
                        transport.send(peer, (first..first + 5).map(|id| call(id, size(id))).collect());
                    }
                }
            })
        })
        .collect();
    for member in &mut members {
        let mut next: BTreeMap<NodeId, u64> = BTreeMap::new();
        while next.len() < 2 || next.values().any(|next| *next < FRAMES) {
            let (from, frame) = member.frame().await;
            let Frame::Call { id, body, .. } = frame else { continue };
            let expected = next.entry(from).or_default();
            assert_eq!(id, *expected);
            assert!(body.iter().all(|byte| *byte == id as u8));
            *expected += 1;
        }
    }
    for sender in senders {
        sender.join().unwrap();
    }
    let statistics = members[0].statistics(2);
    assert!(statistics.frames_received >= FRAMES && statistics.frames_sent >= FRAMES, "{statistics:?}");
    assert_eq!((statistics.frames_dropped, statistics.bytes_pending), (0, 0));
    until("a round trip is measured", || members[0].statistics(2).rtt_us.is_some()).await;
}

/// A dead process is noticed at once and once, by both survivors; its next life is connected to without being asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_member_is_suspected_at_once_and_reconnected_after_its_restart() {
    let (mut members, addresses) = cluster(3).await;
    let peers = [(1, addresses[0]), (2, addresses[1])];
    let mut fastest = Duration::MAX;
    for life in 10..13 {
        let killed = members.pop().unwrap();
        let since = Instant::now();
        drop(killed);
        for member in &mut members {
            member.suspects(3).await;
        }
        fastest = fastest.min(since.elapsed());
        // The refused redials of the same outage say nothing new.
        for member in &mut members {
            let next = timeout(Duration::from_millis(100), member.events.recv()).await;
            assert!(next.is_err(), "{next:?}");
        }
        let listener = listener_at(addresses[2]).await;
        members.push(Member::start(identity(3, life), listener, &peers, Options::default()));
        for member in &mut members[..2] {
            member.connected(3).await;
            until("connected both ways", || member.statistics(3).accepted).await;
            member.send(3, vec![call(life, 1)]);
        }
        for _ in 0..2 {
            assert_eq!(members[2].frame().await.1, call(life, 1));
        }
        until("the reborn member may send", || members[2].statistics(1).connected).await;
        members[2].send(1, vec![call(life, 2)]);
        assert_eq!(members[0].frame().await, (NodeId(3), call(life, 2)));
    }
    assert!(fastest < Duration::from_millis(50), "{fastest:?}"); // the best of three: others use this machine too
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_never_was_there_is_suspected_once() {
    let (ours, _) = listener();
    let (theirs, address) = listener();
    drop(theirs);
    let mut member = Member::start(identity(1, 1), ours, &[(2, address)], Options::default());
    member.suspects(2).await;
    member.send(2, vec![call(1, 1)]);
    assert_eq!(member.statistics(2).frames_dropped, 1);
    let other = Member::start(identity(2, 1), listener_at(address).await, &[], Options::default());
    let reason = member.refusal().await;
    assert!(reason.starts_with("unknown member: "), "{reason}");
    other.transport.set_peers(vec![(NodeId(1), vec![])]);
    member.connected(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_is_refused_with_a_reason_on_both_sides() {
    let (ours, our_address) = listener();
    let (theirs, their_address) = listener();
    let stranger = Identity { cluster_id: 0xbad, ..identity(2, 1) };
    let mut member = Member::start(identity(1, 1), ours, &[(2, their_address)], Options::default());
    let mut other = Member::start(stranger, theirs, &[(1, our_address)], Options::default());
    let expected = |reason: &str, here: &str, there: &str| {
        reason
            .starts_with(&format!("cluster id mismatch: this member belongs to cluster {here}, the peer at 127.0.0.1:"))
            && reason.contains(&format!("says {there}; check --initial-cluster-token"))
    };
    for (refused, here, there) in [(&mut member, "bad", "c1"), (&mut other, "c1", "bad")] {
        let reason = refused.refusal().await;
        assert!(expected(&reason, here, there), "{reason}");
        assert!(!refused.transport.statistics().values().any(|peer| peer.connected || peer.accepted));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_address_is_named() {
    let (ours, _) = listener();
    let (theirs, address) = listener();
    let mut member = Member::start(identity(1, 1), ours, &[(3, address)], Options::default());
    let _other = Member::start(identity(2, 1), theirs, &[], Options::default());
    let reason = member.refusal().await;
    assert!(reason.starts_with("member id mismatch: "), "{reason}");
    assert!(reason.contains("means to reach member n3, this is member n2"), "{reason}");
}

/// While snapshots fill their connection, a question still comes back quickly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_do_not_delay_consensus() {
    const QUESTIONS: usize = 100;
    const CHUNKS: u64 = 400;
    let (mut members, _) = cluster(2).await;
    let mut receiver = members.pop().unwrap();
    let mut sender = members.pop().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flood = {
        let (transport, stop) = (sender.transport.clone(), stop.clone());
        std::thread::spawn(move || {
            // Each call alone is beyond the queue's bound, so that the connection never runs dry.
            let chunks: Vec<Frame> = (0..80).map(|sequence| chunk(sequence, 256 << 10)).collect();
            while !stop.load(Ordering::Relaxed) {
                transport.send(NodeId(2), chunks.clone());
                std::thread::yield_now();
            }
        })
    };
    let chunks = Arc::new(AtomicU64::new(0));
    let answering = {
        let chunks = chunks.clone();
        tokio::spawn(async move {
            loop {
                match receiver.frame().await.1 {
                    Frame::Call { id, .. } => receiver.send(1, vec![call(id, 8)]),
                    _ => _ = chunks.fetch_add(1, Ordering::Relaxed),
                }
            }
        })
    };
    until("the snapshot queue is full", || sender.statistics(2).frames_dropped > 0).await;
    let mut delays = Vec::new();
    while delays.len() < QUESTIONS || chunks.load(Ordering::Relaxed) < CHUNKS {
        let since = Instant::now();
        sender.send(2, vec![call(7, 8)]);
        assert_eq!(sender.frame().await.1, call(7, 8));
        delays.push(since.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    answering.abort();
    delays.sort();
    let median = delays[delays.len() / 2];
    assert!(median < Duration::from_millis(20), "{median:?}, at worst {:?}", delays.last());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_travel_by_class() {
    let (mut members, _) = cluster(2).await;
    members[0].send(2, vec![ack(1), call(2, 3), ack(3)]);
    let mut received = Vec::new();
    while received.len() < 3 {
        received.push(members[1].frame().await.1);
    }
    let acks: Vec<&Frame> = received.iter().filter(|frame| matches!(frame, Frame::SnapshotAck { .. })).collect();
    assert_eq!(acks, [&ack(1), &ack(3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_is_neither_heard_nor_dialed() {
    let (mut members, addresses) = cluster(2).await;
    members[0].transport.set_peers(vec![]);
    assert!(members[0].transport.statistics().is_empty());
    members[1].suspects(1).await;
    let reason = members[1].refusal().await;
    assert!(reason.starts_with("unknown member: "), "{reason}");
    members[0].transport.set_peers(vec![(NodeId(2), vec![addresses[1].to_string()])]);
    members[1].connected(1).await;
    members[1].send(1, vec![call(1, 1)]);
    assert_eq!(members[0].frame().await, (NodeId(2), call(1, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_every_task() {
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (members, _) = cluster(3).await;
    assert!(tokio::runtime::Handle::current().metrics().num_alive_tasks() > before);
    for member in &members {
        member.transport.shutdown();
    }
    until("all tasks end", || tokio::runtime::Handle::current().metrics().num_alive_tasks() <= before).await;
    drop(members);
}

#[test]
fn a_transport_needs_a_runtime() {
    let started =
        Transport::start(identity(1, 1), vec![], vec![], None, Arc::new(|_: Vec<Received>| {}), Options::default());
    assert!(started.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_tells_where_it_is_reached_is_heard_and_answered_before_it_is_known() {
    let ((one, first), (two, second)) = (listener(), listener());
    let mut knows_nobody = Member::start(identity(1, 1), one, &[], Options::default());
    let mut knows_all = Member::start(identity(2, 2), two, &[(1, first)], Options::default());
    knows_all.transport.set_own_addresses(vec![second.to_string()]);
    knows_all.connected(1).await;
    knows_nobody.connected(2).await;
    // Named at last, it stays connected; once it is out for good, it is told so.
    knows_nobody.transport.set_peers(vec![(NodeId(2), vec![second.to_string()])]);
    assert!(knows_nobody.statistics(2).connected);
    knows_nobody.transport.set_peers(vec![]);
    knows_nobody.transport.set_removed([NodeId(2)].into());
    let reason = knows_all.wait("the news that it is out", |event| match event {
        Received::Refused { removed: true, reason, .. } => Some(reason),
        _ => None,
    });
    assert!(reason.await.starts_with("unknown member: "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_only_a_caller_told_cannot_say_that_a_member_is_out() {
    let ((one, first), (two, _), (three, third)) = (listener(), listener(), listener());
    let mut member = Member::start(identity(1, 1), one, &[], Options::default());
    let liar = Member::start(identity(2, 2), three, &[], Options::default());
    liar.transport.set_removed([NodeId(1)].into());
    let caller = Member::start(identity(2, 2), two, &[], Options::default());
    caller.transport.set_own_addresses(vec![third.to_string()]);
    caller.transport.set_peers(vec![(NodeId(1), vec![first.to_string()])]);
    let news = member.wait("news", |event| matches!(event, Received::Refused { .. }).then_some(()));
    assert!(timeout(Duration::from_secs(1), news).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_no_member_may_ask_who_they_are() {
    let (one, first) = listener();
    let member = Member::start(identity(1, 1), one, &[], Options::default());
    let early = kontiki_transport::ask(&first.to_string(), None, LIMIT).await.unwrap_err().to_string();
    assert!(early.contains("just starting"), "{early}");
    member.transport.answer_with(Arc::new(|| bytes::Bytes::from_static(b"these")));
    assert_eq!(kontiki_transport::ask(&first.to_string(), None, LIMIT).await.unwrap(), &b"these"[..]);
}
