//! Disks that are full, in one thread, from a seed: what takes space is refused, everything else goes on, and service
//! resumes by itself.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use kontiki_engine::{NotTaken, Settings};
use kontiki_raft::{GroupId, NodeId};
use support::Cluster;
use support::ledger::Ledger;

const GROUP: GroupId = GroupId(1);
const LARGE: usize = 16 << 10;

fn machine(cluster: &Cluster, id: NodeId) -> &Ledger {
    cluster.engine(id).unwrap().machine(GROUP).unwrap()
}

/// Segments of a few mebibytes, and checkpoints never: what is written stays in the log.
fn settle(segment_bytes: u64) -> (Cluster, NodeId) {
    // The machine of these tests cannot wait for space.
    let never = Duration::MAX;
    let settings =
        Settings { checkpoint_bytes: u64::MAX, checkpoint_quiet: never, checkpoint_age: never, ..Settings::default() };
    let mut cluster = Cluster::new(21, 3, 1, settings);
    cluster.segment_bytes = segment_bytes;
    for id in cluster.ids() {
        cluster.crash(id);
        cluster.start(id);
    }
    cluster.run(Duration::from_secs(5));
    let leader = cluster.leader(GROUP).unwrap();
    (cluster, leader)
}

/// Proposes large commands until the member is refused one, or so many were taken.
fn fill(cluster: &mut Cluster, at: NodeId, most: u32) -> u32 {
    let before = machine(cluster, at).refusals.len();
    for taken in 0..most {
        cluster.propose_filled(at, GROUP, LARGE);
        cluster.run(Duration::from_millis(10));
        if machine(cluster, at).refusals.len() > before {
            return taken;
        }
    }
    most
}

#[test]
fn a_cluster_whose_disks_are_full_refuses_what_takes_space_and_recovers_by_itself() {
    let (mut cluster, leader) = settle(4 << 20);
    let other = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
    assert_eq!(fill(&mut cluster, other, 50), 50, "there is space");
    for id in cluster.ids() {
        cluster.disk(id).full(Some(0));
    }
    let taken = fill(&mut cluster, other, 2_000);
    assert!(taken < 1_000, "two segments at most: {taken} of {LARGE} bytes");
    assert!(machine(&cluster, other).refusals.iter().all(|(why, _)| *why == NotTaken::NoSpace));
    assert!(machine(&cluster, leader).progress.low_space);
    let term = cluster.engine(leader).unwrap().node(GROUP).unwrap().term();
    // What frees space is taken, reads are answered, and the leader stays in office, for as long as it may take.
    for _ in 0..30 {
        let deletion = cluster.propose_deletion(other, GROUP);
        cluster.read(other, GROUP);
        let reads = machine(&cluster, other).reads_done.len();
        cluster.run(Duration::from_secs(1));
        assert!(cluster.applied_commands(GROUP).contains(&deletion));
        assert!(machine(&cluster, other).reads_done.len() > reads);
    }
    assert_eq!(cluster.engine(leader).unwrap().node(GROUP).unwrap().term(), term);
    for id in cluster.ids() {
        cluster.disk(id).full(None);
    }
    cluster.run(Duration::from_secs(1));
    assert!(!machine(&cluster, leader).progress.low_space);
    assert_eq!(fill(&mut cluster, other, 50), 50, "service resumes within a second");
    cluster.converge();
}

#[test]
fn a_follower_whose_disk_is_full_drops_entries_votes_and_catches_up() {
    let (mut cluster, leader) = settle(4 << 20);
    let victim = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
    cluster.disk(victim).full(Some(0));
    assert_eq!(fill(&mut cluster, leader, 1_200), 1_200, "the others have space");
    let (held, all) = (machine(&cluster, victim).content.commands.len(), cluster.applied_commands(GROUP).len());
    assert!(held < all, "there was no room for {all} commands");
    assert!(machine(&cluster, victim).progress.low_space);
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.leader(GROUP), Some(leader));
    // Its vote still counts: of the other two one is gone, and together with the leader it is a majority for reads.
    let third = cluster.ids().into_iter().find(|id| ![leader, victim].contains(id)).unwrap();
    cluster.crash(third);
    cluster.read(leader, GROUP);
    cluster.run(Duration::from_secs(3));
    assert_eq!(machine(&cluster, leader).reads_done.len(), 1);
    assert_eq!(cluster.leader(GROUP), Some(leader));
    cluster.start(third);
    cluster.disk(victim).full(None);
    cluster.converge();
    assert!(machine(&cluster, victim).content.commands.len() >= all);
}

#[test]
fn a_burst_onto_a_full_follower_leaves_room_for_its_vote() {
    for size in [LARGE, 256 << 10] {
        let (mut cluster, leader) = settle(16 << 20);
        let victim = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
        cluster.disk(victim).full(Some(0));
        for _ in 0..14 {
            for _ in 0..(4 << 20) / size {
                cluster.propose_filled(leader, GROUP, size);
            }
            cluster.run(Duration::from_millis(200));
        }
        cluster.run(Duration::from_secs(2));
        assert!(machine(&cluster, victim).progress.low_space);
        cluster.crash(leader);
        cluster.run(Duration::from_secs(6));
        assert!(cluster.leader(GROUP).is_some(), "two of three are up, one of them with a full disk");
    }
}
