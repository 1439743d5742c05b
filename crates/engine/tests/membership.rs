//! Members come and go while everything runs through the real log, codec and snapshots, in one thread, from a seed.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use kontiki_engine::{ChangeOutcome, Settings};
use kontiki_raft::{ChangeRefusal, Exclusion, GroupId, MemberChange, NodeId, RoleKind};
use support::Cluster;

const GROUP: GroupId = GroupId(1);

/// Checkpoints often and keeps little, so that who is added needs a snapshot.
fn small() -> Settings {
    Settings { checkpoint_bytes: 4_000, trailing_entries: 20, snapshot_chunk_bytes: 1_000, ..Settings::default() }
}

fn write(cluster: &mut Cluster, count: u64) {
    for _ in 0..count {
        let leader = cluster.leader(GROUP).expect("somebody leads");
        cluster.propose(leader, GROUP);
        cluster.run(Duration::from_millis(20));
    }
}

/// Asks the leader, until it is not too early or another change in the way. Returns what came of it.
fn change(cluster: &mut Cluster, id: u64, changes: &[MemberChange]) -> ChangeOutcome {
    for attempt in 0..100 {
        let leader = cluster.leader(GROUP).expect("somebody leads");
        let name = 100 * id + attempt;
        cluster.change(leader, GROUP, name, changes.to_vec());
        for _ in 0..100 {
            cluster.run(Duration::from_millis(20));
            match cluster.engine(leader).unwrap().machine(GROUP).unwrap().changes.get(&name) {
                None => {}
                Some(ChangeOutcome::Refused(ChangeRefusal::TooEarly | ChangeRefusal::Unfinished(_))) => break,
                Some(outcome) => return *outcome,
            }
        }
    }
    panic!("change {id} is not answered");
}

fn commands(cluster: &Cluster, id: u64) -> usize {
    cluster.engine(NodeId(id)).unwrap().machine(GROUP).unwrap().content.commands.len()
}

fn excluded(cluster: &Cluster, id: u64) -> Option<Exclusion> {
    cluster.engine(NodeId(id)).unwrap().machine(GROUP).unwrap().excluded
}

fn voters(cluster: &Cluster, at: NodeId) -> Vec<NodeId> {
    cluster.engine(at).unwrap().node(GROUP).unwrap().configuration().voters.clone()
}

#[test]
fn two_members_are_replaced_in_one_step_and_the_leader_leaves() {
    for seed in 0..5 {
        let mut cluster = Cluster::founded(seed, 5, 3, small());
        cluster.run(Duration::from_secs(3));
        write(&mut cluster, 100);
        let leader = cluster.leader(GROUP).unwrap();
        // Who is added asks for its vote by itself; both have to get a snapshot first.
        for id in [4, 5] {
            let add = MemberChange::AddLearner { id: NodeId(id), promote: false };
            assert_eq!(change(&mut cluster, id, &[add]), ChangeOutcome::Done);
        }
        cluster.run(Duration::from_secs(3));
        assert_eq!((commands(&cluster, 4), commands(&cluster, 5)), (100, 100), "seed {seed}");
        // The leader and another founder leave, both newcomers get their votes, in one step.
        let other = (1..=3).map(NodeId).find(|id| *id != leader).unwrap();
        let changes = [
            MemberChange::Promote(NodeId(4)),
            MemberChange::Promote(NodeId(5)),
            MemberChange::Remove(leader),
            MemberChange::Remove(other),
        ];
        assert_eq!(change(&mut cluster, 6, &changes), ChangeOutcome::Done, "seed {seed}");
        cluster.run(Duration::from_secs(3));
        let next = cluster.leader(GROUP).unwrap();
        assert!(next != leader && next != other, "{next} leads after {leader} and {other} were removed");
        let stays = (1..=3).map(NodeId).find(|id| *id != leader && *id != other).unwrap();
        assert_eq!(voters(&cluster, next), [stays, NodeId(4), NodeId(5)]);
        // Those who left know it, and are not needed.
        assert!(matches!(excluded(&cluster, other.0), Some(Exclusion::Removed { .. })), "seed {seed}");
        cluster.crash(leader);
        cluster.crash(other);
        write(&mut cluster, 50);
        cluster.run(Duration::from_secs(1));
        for id in [stays.0, 4, 5] {
            assert_eq!(commands(&cluster, id), 150, "seed {seed}: {id} holds all");
        }
    }
}

#[test]
fn a_learner_is_promoted_by_itself_once_it_has_caught_up() {
    let mut cluster = Cluster::founded(3, 4, 3, small());
    cluster.run(Duration::from_secs(3));
    write(&mut cluster, 60);
    let add = MemberChange::AddLearner { id: NodeId(4), promote: true };
    assert_eq!(change(&mut cluster, 1, &[add]), ChangeOutcome::Done);
    cluster.run(Duration::from_secs(5));
    let leader = cluster.leader(GROUP).unwrap();
    assert_eq!(voters(&cluster, leader), (1..=4).map(NodeId).collect::<Vec<_>>());
    assert_eq!(commands(&cluster, 4), 60);
}

#[test]
fn a_wiped_member_does_not_return_under_its_old_identity() {
    for seed in 0..5 {
        let mut cluster = Cluster::founded(seed, 3, 3, small());
        cluster.run(Duration::from_secs(3));
        write(&mut cluster, 30);
        // n3 misses what n1 and n2 acknowledge; then n2 loses its disk while n1 is away.
        cluster.crash(NodeId(3));
        cluster.run(Duration::from_secs(5));
        write(&mut cluster, 30);
        cluster.run(Duration::from_secs(1));
        cluster.crash(NodeId(1));
        cluster.wipe(NodeId(2));
        cluster.start(NodeId(2));
        cluster.start(NodeId(3));
        cluster.run(Duration::from_secs(20));
        assert_eq!(cluster.leader(GROUP), None, "seed {seed}: a quorum with a member that forgot");
        assert!(matches!(excluded(&cluster, 2), Some(Exclusion::Stranger { .. })), "seed {seed}: it is told");
        // With n1 back, nothing is lost.
        cluster.start(NodeId(1));
        cluster.run(Duration::from_secs(5));
        write(&mut cluster, 10);
        cluster.run(Duration::from_secs(1));
        assert_eq!((commands(&cluster, 1), commands(&cluster, 3)), (70, 70), "seed {seed}");
        assert_eq!(commands(&cluster, 2), 0, "seed {seed}");
    }
}

#[test]
fn the_last_member_goes_on_alone_by_order() {
    let mut cluster = Cluster::founded(1, 3, 3, small());
    cluster.run(Duration::from_secs(3));
    write(&mut cluster, 30);
    cluster.run(Duration::from_secs(1));
    for id in [1, 2, 3] {
        cluster.crash(NodeId(id));
    }
    cluster.force(NodeId(3));
    cluster.start(NodeId(3));
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.leader(GROUP), Some(NodeId(3)));
    assert_eq!(voters(&cluster, NodeId(3)), [NodeId(3)]);
    write(&mut cluster, 10);
    assert_eq!(commands(&cluster, 3), 40);
    // The order holds across restarts without being repeated.
    cluster.crash(NodeId(3));
    cluster.start(NodeId(3));
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.engine(NodeId(3)).unwrap().node(GROUP).unwrap().role(), RoleKind::Leader);
    assert_eq!(commands(&cluster, 3), 40);
}

/// Three quarters of an election timeout, again and again: the others have no reason to elect anybody, so nor has it to go.
#[test]
fn a_leader_that_is_held_up_for_less_than_an_election_timeout_stays() {
    for seed in 0..10 {
        let mut cluster = Cluster::new(seed, 3, 1, Settings::default());
        cluster.run(Duration::from_secs(3));
        let leader = cluster.leader(GROUP).unwrap();
        let term = cluster.engine(leader).unwrap().node(GROUP).unwrap().term();
        for _ in 0..5 {
            cluster.sleep(leader, Duration::from_millis(750));
            cluster.run(Duration::from_millis(500));
        }
        let node = cluster.engine(leader).unwrap().node(GROUP).unwrap();
        assert_eq!((node.term(), node.role()), (term, RoleKind::Leader), "seed {seed}");
    }
}

/// Followers that are held up make up for the time before they take the heartbeats that wait for them.
#[test]
fn a_follower_that_is_held_up_for_less_than_an_election_timeout_unseats_nobody() {
    for seed in 0..10 {
        let mut cluster = Cluster::new(seed, 3, 1, Settings::default());
        cluster.run(Duration::from_secs(3));
        let leader = cluster.leader(GROUP).unwrap();
        let term = cluster.engine(leader).unwrap().node(GROUP).unwrap().term();
        let followers = [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != leader);
        for follower in followers.cycle().take(6) {
            cluster.sleep(follower, Duration::from_millis(790));
            cluster.run(Duration::from_millis(200));
        }
        let node = cluster.engine(leader).unwrap().node(GROUP).unwrap();
        assert_eq!((node.term(), node.role()), (term, RoleKind::Leader), "seed {seed}");
    }
}

#[test]
fn a_leader_that_slept_gives_up_its_office() {
    let mut cluster = Cluster::new(4, 3, 1, Settings::default());
    cluster.run(Duration::from_secs(3));
    let leader = cluster.leader(GROUP).unwrap();
    let term = cluster.engine(leader).unwrap().node(GROUP).unwrap().term();
    cluster.sleep(leader, Duration::from_secs(3));
    cluster.run(Duration::from_millis(5));
    let node = cluster.engine(leader).unwrap().node(GROUP).unwrap();
    assert!(node.term() > term || node.role() != RoleKind::Leader, "it leads on after a pause");
}
