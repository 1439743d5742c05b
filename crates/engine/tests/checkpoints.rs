//! When checkpoints are taken: how much a restart has to apply again, and that who is idle leaves the disk alone.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use kontiki_engine::Settings;
use kontiki_raft::{GroupId, NodeId};
use support::Cluster;

const GROUP: GroupId = GroupId(1);

/// How many entries a restart of this member would apply again.
fn replay(cluster: &Cluster, id: NodeId) -> u64 {
    let engine = cluster.engine(id).unwrap();
    let applied = engine.machine(GROUP).unwrap().content.meta.position.index.0;
    applied - kontiki_engine::StateMachine::checkpointed(engine.machine(GROUP).unwrap()).position.index.0
}

fn write(cluster: &mut Cluster, count: u64, pause: Duration) {
    for _ in 0..count {
        let leader = cluster.leader(GROUP).unwrap();
        cluster.propose(leader, GROUP);
        cluster.run(pause);
    }
}

#[test]
fn after_quiet_a_restart_replays_nothing_and_the_disk_rests() {
    let mut cluster = Cluster::new(1, 3, 1, Settings::default());
    cluster.run(Duration::from_secs(3));
    write(&mut cluster, 20, Duration::from_millis(20));
    assert!(cluster.ids().iter().all(|id| replay(&cluster, *id) >= 20), "nothing is saved while it is busy");
    cluster.run(Duration::from_secs(2));
    assert!(cluster.ids().iter().all(|id| replay(&cluster, *id) == 0));
    let touched = |cluster: &Cluster| -> Vec<(u64, u64)> {
        cluster.ids().iter().map(|id| (cluster.disk(*id).syncs(), cluster.disk(*id).bytes_written())).collect()
    };
    let before = touched(&cluster);
    cluster.run(Duration::from_secs(600));
    assert_eq!(touched(&cluster), before, "an idle cluster writes nothing");
}

#[test]
fn who_is_never_quiet_is_saved_in_time() {
    let mut cluster = Cluster::new(2, 3, 1, Settings::default());
    cluster.run(Duration::from_secs(3));
    let pause = Duration::from_millis(500);
    write(&mut cluster, 150, pause); // 75 s, never as quiet as a checkpoint likes it
    let most = (Settings::default().checkpoint_age.as_millis() / pause.as_millis()) as u64 + 2;
    for id in cluster.ids() {
        assert!((1..=most).contains(&replay(&cluster, id)), "{id}: {}", replay(&cluster, id));
    }
}

#[test]
fn what_is_only_in_memory_is_bounded_while_a_checkpoint_takes_its_time() {
    let settings =
        Settings { checkpoint_bytes: 4_000, unsaved_bytes_max: 8_000, apply_bytes_max: 1_000, ..Settings::default() };
    let mut cluster = Cluster::new(3, 3, 1, settings);
    cluster.run(Duration::from_secs(3));
    let (mut most, mut waited) = (0, false);
    for _ in 0..3_000 {
        let leader = cluster.leader(GROUP).unwrap();
        cluster.propose(leader, GROUP);
        cluster.run(Duration::from_micros(100));
        for id in cluster.ids() {
            let engine = cluster.engine(id).unwrap();
            let machine = engine.machine(GROUP).unwrap();
            most = most.max(kontiki_engine::StateMachine::unsaved_bytes(machine));
            waited |= engine.node(GROUP).unwrap().commit_index() > machine.content.meta.position.index.next();
        }
    }
    assert!(waited && (8_000..10_000).contains(&most), "{most} bytes");
    cluster.converge();
    assert_eq!(cluster.applied_commands(GROUP).len(), 3_000);
}
