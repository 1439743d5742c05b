//! Disks that hang and disks that are slow, in one thread, from a seed.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kontiki_engine::{COMMAND, Settings};
use kontiki_raft::{GroupId, Index, NodeId, RoleKind, Term};
use support::Cluster;
use support::ledger::Ledger;

const GROUP: GroupId = GroupId(1);
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// The number of the commands that machines propose of themselves.
const OWN: u64 = 1 << 40;

fn machine(cluster: &Cluster, id: NodeId) -> &Ledger {
    cluster.engine(id).unwrap().machine(GROUP).unwrap()
}

fn settle(seed: u64) -> (Cluster, NodeId) {
    let mut cluster = Cluster::new(seed, 3, 1, Settings::default());
    cluster.run(Duration::from_secs(5));
    let leader = cluster.leader(GROUP).unwrap();
    (cluster, leader)
}

/// How long a command takes that is proposed at a member until anyone has applied it.
fn commit_time(cluster: &mut Cluster, at: NodeId, patience: Duration) -> Duration {
    let begin = cluster.now;
    let command = cluster.propose(at, GROUP);
    while !cluster.applied_commands(GROUP).contains(&command) {
        assert!(cluster.now - begin < patience, "not committed after {patience:?}");
        cluster.run(Duration::from_micros(500));
    }
    cluster.now - begin
}

fn own_command(of: NodeId) -> Bytes {
    let mut payload = BytesMut::new();
    payload.put_u8(COMMAND);
    payload.put_u64_le(OWN + of.0);
    payload.freeze()
}

#[test]
fn a_leader_whose_disk_hangs_is_replaced_within_two_election_timeouts() {
    for seed in 0..20 {
        let (mut cluster, leader) = settle(seed);
        cluster.hang(leader);
        let begin = cluster.now;
        // The first write that hangs; the others' disks commit it.
        let other = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
        assert!(commit_time(&mut cluster, other, ELECTION_TIMEOUT) < Duration::from_millis(50));
        assert!(!machine(&cluster, leader).progress.disk_stalled);
        let (next, _) = cluster.await_leader(GROUP, 2 * ELECTION_TIMEOUT, |id| id != leader);
        commit_time(&mut cluster, other, ELECTION_TIMEOUT);
        let took = cluster.now - begin;
        assert!(took < 2 * ELECTION_TIMEOUT, "seed {seed}: {took:?}");
        assert!(took > ELECTION_TIMEOUT, "seed {seed}: {took:?} after a hang that might have been a slow write");
        assert!(machine(&cluster, leader).progress.disk_stalled);
        // It takes no office while its disk hangs, even if the others are gone for a while.
        cluster.sleep(next, 5 * ELECTION_TIMEOUT);
        assert_ne!(cluster.engine(leader).unwrap().node(GROUP).unwrap().role(), RoleKind::Leader);
        cluster.unhang(leader);
        cluster.converge();
        assert!(!machine(&cluster, leader).progress.disk_stalled);
    }
}

#[test]
fn where_nobody_can_take_over_the_office_is_given_up() {
    let (mut cluster, leader) = settle(3);
    // Nothing gets through to the others but the word that this leader leads no more: they lag too far to take over.
    let others: Vec<NodeId> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    cluster.hang(leader);
    others.iter().for_each(|id| cluster.hang(*id));
    cluster.propose(leader, GROUP);
    cluster.run(ELECTION_TIMEOUT * 7 / 5);
    assert_eq!(cluster.engine(leader).unwrap().node(GROUP).unwrap().role(), RoleKind::Leader, "nobody holds its log");
    cluster.run(ELECTION_TIMEOUT / 5);
    assert_ne!(cluster.engine(leader).unwrap().node(GROUP).unwrap().role(), RoleKind::Leader);
    let term = cluster.engine(leader).unwrap().node(GROUP).unwrap().term();
    cluster.run(10 * ELECTION_TIMEOUT);
    for id in cluster.ids() {
        assert_eq!(cluster.engine(id).unwrap().node(GROUP).unwrap().term(), term, "{id} stood with a disk that hangs");
    }
    cluster.ids().iter().for_each(|id| cluster.unhang(*id));
    cluster.converge();
}

#[test]
fn a_lone_member_keeps_its_office() {
    let mut cluster = Cluster::new(4, 1, 1, Settings::default());
    cluster.run(Duration::from_secs(2));
    let term = cluster.engine(NodeId(1)).unwrap().node(GROUP).unwrap().term();
    cluster.hang(NodeId(1));
    let command = cluster.propose(NodeId(1), GROUP);
    cluster.run(5 * ELECTION_TIMEOUT);
    assert!(!cluster.applied_commands(GROUP).contains(&command), "acknowledged before it was durable");
    assert!(machine(&cluster, NodeId(1)).progress.disk_stalled);
    cluster.unhang(NodeId(1));
    cluster.converge();
    assert!(cluster.applied_commands(GROUP).contains(&command));
    assert_eq!(cluster.engine(NodeId(1)).unwrap().node(GROUP).unwrap().term(), term, "nobody could have done better");
}

/// In how many entries a member holds what another's machine decided of itself; all of them of this term.
fn decisions(cluster: &Cluster, at: NodeId, of: NodeId, term: Term) -> u64 {
    let node = cluster.engine(at).unwrap().node(GROUP).unwrap();
    let commands = machine(cluster, at).content.commands.iter();
    let own = commands.filter(|(_, command)| command[..] == own_command(of)[1..]);
    own.inspect(|(index, _)| {
        assert_eq!(node.term_at(Index(**index)), Some(term), "decided by one leader, led by another")
    })
    .count() as u64
}

#[test]
fn what_a_machine_decided_as_leader_is_never_passed_on() {
    for seed in 0..20 {
        for hangs in [true, false] {
            let (mut cluster, leader) = settle(seed);
            let term = cluster.engine(leader).unwrap().node(GROUP).unwrap().term();
            cluster.machine_mut(leader, GROUP).own = Some(own_command(leader));
            if hangs {
                cluster.hang(leader);
            }
            cluster.run(ELECTION_TIMEOUT / 2);
            assert!(machine(&cluster, leader).own_proposed > 0);
            if !hangs {
                cluster.hand_over(leader, GROUP);
            }
            let (next, _) = cluster.await_leader(GROUP, 2 * ELECTION_TIMEOUT, |id| id != leader);
            cluster.propose(next, GROUP);
            cluster.run(ELECTION_TIMEOUT / 2);
            let (proposed, committed) =
                (machine(&cluster, leader).own_proposed, decisions(&cluster, next, leader, term));
            assert!(committed > 0 && committed <= proposed, "seed {seed}: {committed} of {proposed}");
            cluster.run(5 * ELECTION_TIMEOUT);
            assert_eq!(machine(&cluster, leader).own_proposed, proposed, "it decides no more");
            assert_eq!(decisions(&cluster, next, leader, term), committed, "seed {seed}");
            cluster.machine_mut(leader, GROUP).own = None;
            cluster.unhang(leader);
            cluster.converge();
        }
    }
}

#[test]
fn a_slow_follower_costs_the_others_nothing() {
    let times = |slow: bool| {
        let (mut cluster, leader) = settle(9);
        if slow {
            let victim = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
            cluster.slow_down(victim, 100);
        }
        let mut times: Vec<Duration> =
            (0..500).map(|_| commit_time(&mut cluster, leader, Duration::from_secs(1))).collect();
        times.sort_unstable();
        (times[250], times[495], cluster.leader(GROUP) == Some(leader))
    };
    let (sound, slow) = (times(false), times(true));
    println!("median and 99th percentile: {sound:?}, with a slow follower {slow:?}");
    assert!(sound.2 && slow.2, "the leader changed");
    // With three the fastest of two followers counts, with a slow one the other: that much is chance, not waiting.
    assert!(slow.0 < sound.0 * 2 && slow.1 < sound.1 * 2, "{sound:?} {slow:?}");
}

#[test]
fn a_hung_follower_votes_for_nobody_and_comes_back() {
    let (mut cluster, leader) = settle(11);
    let victim = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
    cluster.hang(victim);
    for _ in 0..30 {
        commit_time(&mut cluster, leader, ELECTION_TIMEOUT);
        cluster.run(Duration::from_millis(100));
    }
    assert_eq!(cluster.leader(GROUP), Some(leader));
    cluster.crash(leader); // two of three are left, and one of them cannot write its vote
    cluster.run(5 * ELECTION_TIMEOUT);
    assert_eq!(cluster.leader(GROUP), None, "elected by a vote that is not durable");
    cluster.unhang(victim);
    cluster.await_leader(GROUP, 4 * ELECTION_TIMEOUT, |_| true);
    cluster.converge();
}
