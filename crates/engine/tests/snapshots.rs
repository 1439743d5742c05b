//! Snapshots over connections that break, and between members that crash, in one thread, from a seed.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use kontiki_engine::Settings;
use kontiki_raft::{GroupId, NodeId};
use support::Cluster;

const GROUP: GroupId = GroupId(1);

/// Keeps little of the log and sends small parts, so that a member that was away needs a snapshot of many parts.
fn small() -> Settings {
    Settings { checkpoint_bytes: 4_000, trailing_entries: 5, snapshot_chunk_bytes: 1_000, ..Settings::default() }
}

/// A cluster of three of which one was away for so long that it needs a snapshot of a few dozen parts.
fn with_straggler(seed: u64) -> (Cluster, NodeId) {
    let mut cluster = Cluster::new(seed, 3, 1, small());
    cluster.run(Duration::from_secs(3));
    let leader = cluster.leader(GROUP).unwrap();
    let away = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
    cluster.crash(away);
    for _ in 0..200 {
        cluster.propose(leader, GROUP);
        cluster.run(Duration::from_millis(20));
    }
    (cluster, away)
}

/// Lets time pass until a member has caught up; how long that took.
fn catch_up(cluster: &mut Cluster, id: NodeId) -> Duration {
    let begin = cluster.now;
    let goal = cluster.applied_commands(GROUP).len();
    loop {
        let held = cluster.engine(id).map(|engine| engine.machine(GROUP).unwrap().content.commands.len());
        if held == Some(goal) {
            return cluster.now - begin;
        }
        assert!(cluster.now - begin < Duration::from_secs(30), "{held:?} of {goal} after half a minute");
        cluster.run(Duration::from_millis(5));
    }
}

#[test]
fn a_connection_that_breaks_at_any_part_costs_little() {
    let (mut cluster, away) = with_straggler(1);
    cluster.start(away);
    catch_up(&mut cluster, away);
    let (frames, sent) = (cluster.snapshot_frames(), cluster.snapshots_sent);
    assert!(frames > 60 && sent == 1, "{frames} parts and answers, {sent} snapshots");
    for at in 0..frames {
        let (mut cluster, away) = with_straggler(1);
        cluster.break_snapshots_after(at);
        cluster.start(away);
        let took = catch_up(&mut cluster, away);
        assert!(took < Duration::from_secs(2), "broken at {at}: {took:?}");
        assert_eq!(cluster.breaks(), 1, "broken at {at}");
        // Once the first part is acknowledged it is not sent again: the transfer goes on where it broke off.
        assert!(at < 20 || cluster.snapshots_sent == 1, "broken at {at}: {} transfers", cluster.snapshots_sent);
        assert!(cluster.snapshot_frames() < frames + 40, "broken at {at}: {} frames", cluster.snapshot_frames());
    }
}

#[test]
fn loss_and_repetition_both_ways() {
    for seed in 0..20 {
        let (mut cluster, away) = with_straggler(seed);
        cluster.loss = 5;
        cluster.double_snapshots(4);
        cluster.start(away);
        catch_up(&mut cluster, away);
        cluster.double_snapshots(0);
        cluster.converge();
    }
}

#[test]
fn either_end_may_crash_at_any_time() {
    for at in 0..40 {
        let (mut cluster, away) = with_straggler(at);
        cluster.start(away);
        cluster.run(Duration::from_millis(20 + 2 * at));
        let victim = if at % 2 == 0 { away } else { cluster.leader(GROUP).unwrap_or(away) };
        cluster.crash(victim);
        cluster.run(Duration::from_millis(100));
        cluster.start(victim);
        cluster.converge();
    }
}

#[test]
fn a_bound_on_what_goes_out_is_kept() {
    let took = |bytes_per_second| {
        let mut cluster = Cluster::new(2, 3, 1, Settings { snapshot_bytes_per_second: bytes_per_second, ..small() });
        cluster.run(Duration::from_secs(3));
        let leader = cluster.leader(GROUP).unwrap();
        let away = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
        cluster.crash(away);
        for _ in 0..200 {
            cluster.propose(leader, GROUP);
            cluster.run(Duration::from_millis(20));
        }
        cluster.start(away);
        catch_up(&mut cluster, away)
    };
    let (free, bound) = (took(0), took(10_000));
    assert!(free < Duration::from_millis(500), "{free:?}");
    assert!(bound > Duration::from_secs(2), "thirty thousand bytes at ten thousand a second: {bound:?}");
}
