//! A three-member cluster through an hour of virtual time with crashes and cuts, in one thread, from a seed.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use kontiki_engine::Settings;
use kontiki_raft::{GroupId, NodeId};
use support::Cluster;

const GROUP: GroupId = GroupId(1);

/// Checkpoints often and keeps little, so that restarts, compaction and snapshots happen all the time.
fn small() -> Settings {
    Settings { checkpoint_bytes: 4_000, trailing_entries: 20, snapshot_chunk_bytes: 1_000, ..Settings::default() }
}

fn fault(cluster: &mut Cluster) {
    let ids = cluster.ids();
    let victim = ids[cluster.random.below(ids.len() as u64) as usize];
    let other = ids[cluster.random.below(ids.len() as u64) as usize];
    match cluster.random.below(8) {
        0 | 1 if cluster.is_up(victim) => cluster.crash(victim),
        2 => ids.iter().for_each(|id| {
            if cluster.is_up(*id) {
                cluster.crash(*id);
            }
        }),
        3 if victim != other => {
            cluster.cut.insert((victim, other));
        }
        4 => ids.iter().filter(|id| **id != victim).for_each(|id| {
            cluster.cut.insert((victim, *id));
            cluster.cut.insert((*id, victim));
        }),
        5 => cluster.cut.clear(),
        6 => cluster.loss = 5 + cluster.random.below(40),
        _ => cluster.loss = 0,
    }
    for id in ids {
        if !cluster.is_up(id) && cluster.random.one_in(2) {
            cluster.start(id);
        }
    }
}

fn hour(seed: u64) -> (u64, u64) {
    let mut cluster = Cluster::new(seed, 3, 1, small());
    let mut proposed = 0;
    for _ in 0..60 {
        for _ in 0..12 {
            fault(&mut cluster);
            for _ in 0..5 {
                for id in cluster.ids() {
                    if cluster.is_up(id) {
                        cluster.propose(id, GROUP);
                        cluster.read(id, GROUP);
                        proposed += 1;
                    }
                }
                cluster.run(Duration::from_secs(1));
            }
        }
        // Once a minute all faults end, and everything that anyone ever applied must be everywhere.
        cluster.converge();
    }
    assert!(cluster.now >= Duration::from_secs(3_600));
    let applied = cluster.applied_commands(GROUP);
    for id in cluster.ids() {
        let ledger = cluster.engine(id).unwrap().machine(GROUP).unwrap();
        assert_eq!(ledger.content.commands.len(), applied.len(), "{id} holds all that was applied anywhere, once");
    }
    assert!(applied.len() as u64 > proposed / 4, "{} of {proposed} commands got through", applied.len());
    (applied.len() as u64, cluster.snapshots_sent)
}

#[test]
fn an_hour_of_crashes_and_cuts_loses_nothing() {
    let seed = std::env::var("SEED").map_or(42, |seed| seed.parse().unwrap());
    let (applied, snapshots) = hour(seed);
    assert!(applied > 1_000, "only {applied} commands");
    assert!(snapshots > 0, "no straggler needed a snapshot");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| {
        let mut cluster = Cluster::new(seed, 3, 1, small());
        for _ in 0..20 {
            fault(&mut cluster);
            for id in cluster.ids() {
                cluster.propose(id, GROUP);
            }
            cluster.run(Duration::from_secs(2));
        }
        cluster.converge();
        let machine = cluster.engine(NodeId(1)).unwrap().machine(GROUP).unwrap();
        (machine.content.clone(), cluster.disk(NodeId(1)).bytes_written(), cluster.now)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn a_leader_that_crashes_is_replaced_within_tens_of_milliseconds() {
    let mut worst = Duration::ZERO;
    for seed in 0..20 {
        let mut cluster = Cluster::new(seed, 3, 1, Settings::default());
        cluster.run(Duration::from_secs(5));
        let leader = cluster.leader(GROUP).expect("five seconds are enough for an election");
        cluster.crash(leader);
        let begin = cluster.now;
        while cluster.leader(GROUP).is_none() {
            cluster.run(Duration::from_millis(1));
        }
        worst = worst.max(cluster.now - begin);
    }
    println!("worst of 20 seeds: {worst:?}");
    assert!(worst < Duration::from_millis(100), "{worst:?}");
}

#[test]
fn reads_are_answered_on_every_member_and_only_after_what_came_before() {
    let mut cluster = Cluster::new(3, 3, 1, Settings::default());
    cluster.run(Duration::from_secs(5));
    for _ in 0..50 {
        cluster.propose(NodeId(1), GROUP);
        cluster.run(Duration::from_millis(100));
        let applied = cluster
            .ids()
            .iter()
            .map(|id| cluster.engine(*id).unwrap().machine(GROUP).unwrap().content.meta.position.index.0)
            .max();
        for id in cluster.ids() {
            cluster.read(id, GROUP);
        }
        cluster.run(Duration::from_millis(100));
        for id in cluster.ids() {
            let last = cluster.engine(id).unwrap().machine(GROUP).unwrap().reads_done.last().copied();
            assert!(last >= applied, "{id} answered a read at {last:?} although {applied:?} was applied before it");
        }
    }
}

#[test]
fn a_read_without_a_leader_waits_without_work() {
    let mut cluster = Cluster::new(4, 3, 1, Settings::default());
    cluster.run(Duration::from_secs(5));
    cluster.crash(NodeId(2));
    cluster.crash(NodeId(3));
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.leader(GROUP), None, "one of three is no quorum");
    cluster.read(NodeId(1), GROUP);
    let mut busy = 0;
    for _ in 0..1_000 {
        cluster.run(Duration::from_millis(1));
        busy += u32::from(cluster.is_busy(NodeId(1)));
    }
    assert!(busy < 150, "{busy} of 1,000 milliseconds had work left: the read goes round in circles");
    cluster.converge();
    let done = cluster.engine(NodeId(1)).unwrap().machine(GROUP).unwrap().reads_done.len();
    assert_eq!(done, 1, "the read is answered once there is a leader");
}
