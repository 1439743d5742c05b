//! Sixty-four groups on three engines: one log, one sync for entries of many groups.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use kontiki_engine::Settings;
use kontiki_raft::{GroupId, NodeId};
use support::Cluster;

const GROUPS: u64 = 64;

fn groups() -> impl Iterator<Item = GroupId> {
    (1..=GROUPS).map(GroupId)
}

#[test]
fn groups_elect_their_own_leaders_and_share_syncs() {
    let mut cluster = Cluster::new(1, 3, GROUPS, Settings::default());
    cluster.run(Duration::from_secs(10));
    let leaders: BTreeSet<NodeId> =
        groups().map(|group| cluster.leader(group).unwrap_or_else(|| panic!("{group} has no leader"))).collect();
    assert!(leaders.len() > 1, "elections are the groups' own");

    let before: u64 = cluster.ids().iter().map(|id| cluster.disk(*id).syncs()).sum();
    for _ in 0..20 {
        for group in groups() {
            cluster.propose(NodeId(1), group);
        }
        cluster.run(Duration::from_millis(100));
    }
    cluster.run(Duration::from_secs(1));
    let syncs: u64 = cluster.ids().iter().map(|id| cluster.disk(*id).syncs()).sum::<u64>() - before;
    let entries = 20 * GROUPS * 3;
    for group in groups() {
        assert_eq!(cluster.applied_commands(group).len(), 20, "{group}");
    }
    assert!(syncs * 5 < entries, "{syncs} syncs for {entries} entries: groups do not share them");
}

#[test]
fn all_groups_survive_a_crash_of_everyone() {
    let settings = Settings { checkpoint_bytes: 4_000, trailing_entries: 10, ..Settings::default() };
    let mut cluster = Cluster::new(2, 3, GROUPS, settings);
    cluster.run(Duration::from_secs(5));
    for _ in 0..30 {
        for group in groups() {
            cluster.propose(NodeId(1 + group.0 % 3), group);
        }
        cluster.run(Duration::from_millis(50));
    }
    let before: Vec<usize> = groups().map(|group| cluster.applied_commands(group).len()).collect();
    for id in cluster.ids() {
        cluster.crash(id);
    }
    cluster.run(Duration::from_secs(1));
    cluster.converge();
    for (group, before) in groups().zip(before) {
        let held = cluster.engine(NodeId(1)).unwrap().machine(group).unwrap().content.commands.len();
        assert!(held >= before, "{group}: {before} commands were applied somewhere, {held} are left");
    }
}
