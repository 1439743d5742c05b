//! Proposals that a leader does not take: whoever made them is told at once, wherever it is.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use kontiki_engine::{NotTaken, Settings};
use kontiki_raft::{GroupId, NodeId, Settings as RaftSettings};
use support::Cluster;
use support::ledger::Ledger;

const GROUP: GroupId = GroupId(1);

fn machine(cluster: &Cluster, id: NodeId) -> &Ledger {
    cluster.engine(id).unwrap().machine(GROUP).unwrap()
}

/// A cluster with its leader and another member.
fn settle(settings: Settings) -> (Cluster, NodeId, NodeId) {
    let mut cluster = Cluster::new(5, 3, 1, settings);
    cluster.run(Duration::from_secs(5));
    let leader = cluster.leader(GROUP).unwrap();
    let other = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
    (cluster, leader, other)
}

#[test]
fn too_much_at_the_leader_is_told_to_the_member_that_forwarded_it() {
    let raft = RaftSettings { uncommitted_bytes_max: 2_000, ..Settings::default().raft };
    let (mut cluster, leader, other) = settle(Settings { raft, ..Settings::default() });
    cluster.ids().iter().for_each(|id| cluster.hang(*id));
    for _ in 0..100 {
        cluster.propose(other, GROUP);
    }
    cluster.run(Duration::from_millis(10)); // all in one turn: none of them fits, or all do
    for _ in 0..100 {
        cluster.propose(other, GROUP);
        cluster.run(Duration::from_millis(1));
    }
    cluster.run(Duration::from_millis(10));
    let refusals = &machine(&cluster, other).refusals;
    assert!(refusals.len() > 50, "{} refusals", refusals.len());
    assert!(refusals.iter().all(|(why, head)| *why == NotTaken::TooMuch && head.len() == 32), "{refusals:?}");
    assert!(machine(&cluster, leader).refusals.is_empty(), "they were not its own");
    let refused: Vec<u64> =
        refusals.iter().map(|(_, head)| u64::from_le_bytes(head[1..9].try_into().unwrap())).collect();
    cluster.ids().iter().for_each(|id| cluster.unhang(*id));
    cluster.converge();
    let applied = cluster.applied_commands(GROUP);
    assert!(refused.iter().all(|command| !applied.contains(command)), "refused and yet applied");
    assert_eq!(applied.len() + refused.len(), 200, "each is one or the other");
}

#[test]
fn a_full_disk_of_the_leader_refuses_what_takes_space_and_nothing_else() {
    let (mut cluster, leader, other) = settle(Settings::default());
    cluster.machine_mut(leader, GROUP).low_on_space = true;
    cluster.run(Duration::from_millis(20));
    assert!(machine(&cluster, leader).progress.low_space);
    assert!(!machine(&cluster, other).progress.low_space);
    for at in [leader, other] {
        cluster.propose(at, GROUP);
        cluster.propose_deletion(at, GROUP);
    }
    cluster.run(Duration::from_millis(100));
    assert_eq!(cluster.applied_commands(GROUP).len(), 2, "what frees space goes on");
    for at in [leader, other] {
        let refusals = &machine(&cluster, at).refusals;
        assert!(matches!(refusals[..], [(NotTaken::NoSpace, _)]), "{at}: {refusals:?}");
    }
    cluster.machine_mut(leader, GROUP).low_on_space = false;
    cluster.propose(other, GROUP);
    cluster.run(Duration::from_millis(100));
    assert_eq!(cluster.applied_commands(GROUP).len(), 3, "service resumes by itself");
    cluster.converge();
}
