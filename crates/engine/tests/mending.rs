//! Members that lose what they had: they take no part until the others have given it back, and nothing is forgotten.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use kontiki_engine::{Settings, StateMachine};
use kontiki_raft::{GroupId, NodeId};
use support::Cluster;

const GROUP: GroupId = GroupId(1);
const SECOND: Duration = Duration::from_secs(1);
const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);

/// Three members that have written so many commands, all of them everywhere.
fn written(seed: u64, commands: u64, groups: u64, settings: Settings) -> Cluster {
    let mut cluster = Cluster::new(seed, 3, groups, settings);
    cluster.run(2 * SECOND);
    write(&mut cluster, commands, groups);
    cluster.converge();
    cluster
}

fn write(cluster: &mut Cluster, commands: u64, groups: u64) {
    for _ in 0..commands {
        for group in (1..=groups).map(GroupId) {
            let at = cluster.ids().into_iter().find(|id| cluster.is_up(*id)).unwrap();
            cluster.propose(at, group);
        }
        cluster.run(SECOND / 50);
    }
}

/// No checkpoint comes by itself.
fn without_checkpoints() -> Settings {
    Settings {
        checkpoint_bytes: 1 << 40,
        checkpoint_quiet: Duration::MAX,
        checkpoint_age: Duration::MAX,
        scrub_cpu_permille: 0,
        ..Settings::default()
    }
}

/// Checkpoints often and keeps nothing behind them.
fn keeping_little() -> Settings {
    Settings { checkpoint_bytes: 4_000, trailing_entries: 2, snapshot_chunk_bytes: 500, ..Settings::default() }
}

fn stop_all(cluster: &mut Cluster) {
    cluster.ids().into_iter().for_each(|id| cluster.crash(id));
}

#[test]
fn a_lost_entry_comes_back_from_the_others() {
    let mut cluster = written(1, 50, 1, without_checkpoints());
    cluster.crash(ONE);
    cluster.lose(ONE, GROUP, 20, 25);
    cluster.start(ONE);
    assert!(cluster.engine(ONE).unwrap().is_mending(GROUP));
    assert!(cluster.engine(ONE).unwrap().node(GROUP).is_none(), "it has no core");
    cluster.run_until_whole(ONE, GROUP);
    let mend = cluster.ledger(ONE, GROUP).mended[0];
    assert_eq!((mend.entries, mend.replaced, mend.snapshot), (6, 0, None));
    assert!(cluster.repair_bytes <= 3 * mend.bytes, "{} bytes moved for {}", cluster.repair_bytes, mend.bytes);
    assert!(mend.took < SECOND, "{:?}", mend.took);
    write(&mut cluster, 5, 1);
    cluster.converge();
    assert_eq!(cluster.applied_commands(GROUP).len(), 55);
}

#[test]
fn two_members_with_different_losses_mend_each_other() {
    let mut cluster = written(2, 30, 1, without_checkpoints());
    stop_all(&mut cluster);
    cluster.lose(ONE, GROUP, 5, 5);
    cluster.lose(TWO, GROUP, 6, 6);
    cluster.lose(THREE, GROUP, 5, 6);
    cluster.ids().into_iter().for_each(|id| cluster.start(id));
    cluster.ids().into_iter().for_each(|id| cluster.run_until_whole(id, GROUP));
    cluster.converge();
    assert_eq!(cluster.applied_commands(GROUP).len(), 30);
}

#[test]
fn damage_on_all_copies_stops_that_group_and_no_other() {
    let mut cluster = written(3, 30, 2, without_checkpoints());
    stop_all(&mut cluster);
    for id in cluster.ids() {
        cluster.lose(id, GROUP, 7, 9);
        cluster.start(id);
    }
    cluster.run(5 * SECOND);
    for id in cluster.ids() {
        assert!(cluster.engine(id).unwrap().is_mending(GROUP));
        let [said] = &cluster.ledger(id, GROUP).stopped[..] else { panic!("one reason at {id}") };
        assert!(said.starts_with("group 1: entry 7 of term"), "{said}");
        assert!(said.contains("has lost 7 to 9"), "{said}");
    }
    let before = cluster.applied_commands(GroupId(2)).len();
    for _ in 0..10 {
        cluster.propose(ONE, GroupId(2));
        cluster.run(SECOND / 10);
    }
    assert_eq!(cluster.applied_commands(GroupId(2)).len(), before + 10, "the other group goes on");
}

#[test]
fn a_single_member_that_lost_an_entry_stops_at_once() {
    let mut cluster = Cluster::new(4, 1, 2, without_checkpoints());
    cluster.run(2 * SECOND);
    write(&mut cluster, 10, 2);
    cluster.crash(ONE);
    cluster.lose(ONE, GROUP, 4, 4);
    cluster.start(ONE);
    cluster.run(SECOND / 10);
    let [said] = &cluster.ledger(ONE, GROUP).stopped[..] else { panic!("one reason") };
    assert!(said.contains("entry 4 of term 1 is lost here and no member has it: there is no other member"), "{said}");
    cluster.run(SECOND);
    write(&mut cluster, 10, 2);
    assert_eq!(cluster.applied_commands(GroupId(2)).len(), 20, "the other group goes on");
}

/// Cuts a member off from all others.
fn isolate(cluster: &mut Cluster, id: NodeId) {
    for other in cluster.ids().into_iter().filter(|other| *other != id) {
        cluster.cut.insert((id, other));
        cluster.cut.insert((other, id));
    }
}

/// A leader that writes what nobody else gets, and others that commit something else there. Its log's end when it fell.
fn with_a_tail_of_its_own(seed: u64) -> (Cluster, NodeId, u64) {
    let mut cluster = written(seed, 20, 1, without_checkpoints());
    let leader = cluster.leader(GROUP).unwrap();
    isolate(&mut cluster, leader);
    for _ in 0..4 {
        cluster.propose(leader, GROUP);
        cluster.run(SECOND / 20);
    }
    cluster.crash(leader);
    let (_, last) = cluster.disk_log(leader, GROUP);
    cluster.cut.clear();
    cluster.run(2 * SECOND);
    write(&mut cluster, 10, 1);
    (cluster, leader, last)
}

#[test]
fn a_damaged_tail_that_was_never_committed_gives_way_to_what_was() {
    // The tail's last entry; an entry within it, behind the first difference; all of it.
    for (back, behind) in [(0, 0), (2, 1), (3, 0)] {
        let (mut cluster, damaged, last) = with_a_tail_of_its_own(5);
        cluster.lose(damaged, GROUP, last - back, last - behind);
        cluster.start(damaged);
        assert!(cluster.engine(damaged).unwrap().is_mending(GROUP));
        cluster.run_until_whole(damaged, GROUP);
        let mend = cluster.ledger(damaged, GROUP).mended[0];
        assert!(mend.replaced > 0 && mend.entries == 0 && mend.snapshot.is_none(), "{mend}");
        cluster.converge();
        assert_eq!(cluster.applied_commands(GROUP).len(), 30);
    }
}

#[test]
fn an_uncommitted_entry_of_another_term_is_not_taken() {
    let (mut cluster, damaged, last) = with_a_tail_of_its_own(6);
    // Nobody can commit: one of the two others is gone, and what the rest has in that place is committed only with it.
    let rest: Vec<NodeId> = cluster.ids().into_iter().filter(|id| *id != damaged).collect();
    stop_all(&mut cluster);
    cluster.run(SECOND); // what was on its way is gone
    cluster.lose(damaged, GROUP, last, last);
    cluster.start(damaged);
    cluster.start(rest[0]);
    cluster.run(3 * SECOND);
    // The commit index is not durable: after its start the other member knows nothing of what was committed.
    assert!(
        cluster.engine(damaged).unwrap().is_mending(GROUP),
        "one member's word that nobody committed proves nothing"
    );
    cluster.start(rest[1]);
    cluster.run_until_whole(damaged, GROUP);
    cluster.converge();
    assert_eq!(cluster.applied_commands(GROUP).len(), 30);
}

#[test]
fn entries_that_nobody_keeps_in_the_log_come_as_a_state() {
    let mut cluster = written(7, 10, 1, keeping_little());
    cluster.crash(ONE);
    write(&mut cluster, 100, 1);
    let kept_from = cluster.engine(TWO).unwrap().log().first(GROUP).0;
    let last = cluster.engine(TWO).unwrap().log().last(GROUP).0;
    assert!(kept_from > 20, "the others keep entries from {kept_from} on");
    // What the damaged member lost is older than that.
    let held = cluster.disk_log(ONE, GROUP);
    assert!(held.1 < kept_from && held.1 < last, "{held:?}");
    cluster.lose(ONE, GROUP, held.1, held.1);
    cluster.start(ONE);
    assert!(cluster.engine(ONE).unwrap().is_mending(GROUP));
    cluster.run_until_whole(ONE, GROUP);
    assert!(cluster.ledger(ONE, GROUP).mended[0].snapshot.is_some());
    cluster.converge();
    assert_eq!(cluster.applied_commands(GROUP).len(), 110);
}

#[test]
fn a_lost_state_is_made_anew_from_a_log_that_begins_at_the_beginning() {
    let mut cluster = Cluster::new(8, 1, 1, Settings { checkpoint_bytes: 1_000, ..without_checkpoints() });
    cluster.run(2 * SECOND);
    write(&mut cluster, 30, 1);
    cluster.converge();
    let before = cluster.ledger(ONE, GROUP).content.clone();
    assert_eq!(cluster.engine(ONE).unwrap().log().first(GROUP).0, 1);
    cluster.meet_damage(ONE, GROUP);
    cluster.run(2 * SECOND);
    cluster.converge();
    assert_eq!(cluster.ledger(ONE, GROUP).mended.len(), 1);
    assert_eq!(cluster.ledger(ONE, GROUP).content.commands, before.commands);
}

#[test]
fn a_lost_state_comes_from_another_member_and_the_log_behind_it_stays() {
    let mut cluster = written(9, 60, 1, keeping_little());
    isolate(&mut cluster, THREE);
    cluster.run(3 * SECOND);
    // Acknowledged by one and two alone; then two is gone.
    let before = cluster.applied_commands(GROUP).len();
    write(&mut cluster, 3, 1);
    cluster.run(SECOND);
    assert_eq!(cluster.applied_commands(GROUP).len(), before + 3);
    stop_all(&mut cluster);
    cluster.cut.clear();
    cluster.damage_state(ONE, GROUP);
    cluster.start(ONE);
    assert!(cluster.engine(ONE).unwrap().is_mending(GROUP));
    cluster.start(THREE);
    cluster.run_until_whole(ONE, GROUP);
    assert!(cluster.ledger(ONE, GROUP).mended[0].snapshot.is_some());
    for _ in 0..3 {
        cluster.run(2 * SECOND);
    }
    for id in [ONE, THREE] {
        assert_eq!(
            cluster.ledger(id, GROUP).content.commands.len(),
            before + 3,
            "nothing acknowledged is forgotten at {id}"
        );
    }
}

#[test]
fn a_leader_that_finds_damage_hands_over() {
    for seed in 10..15 {
        let mut cluster = written(seed, 60, 1, keeping_little());
        let leader = cluster.leader(GROUP).unwrap();
        let begin = cluster.now;
        cluster.meet_damage(leader, GROUP);
        cluster.propose(leader, GROUP);
        cluster.read(leader, GROUP);
        while cluster.leader(GROUP).is_none_or(|now| now == leader) {
            cluster.run(SECOND / 1000);
        }
        assert!(cluster.now - begin < SECOND / 5, "{:?} without a leader", cluster.now - begin);
        cluster.run_until_whole(leader, GROUP);
        cluster.converge();
        assert_eq!(cluster.applied_commands(GROUP).len(), 61, "what waited was not lost");
        assert_eq!(cluster.ledger(leader, GROUP).reads_done.len(), 1, "the read was answered in the end");
    }
}

#[test]
fn a_damaged_member_gives_its_state_to_those_who_have_none() {
    let mut cluster = written(20, 60, 1, keeping_little());
    let last = {
        // The leader alone has one entry more, which is lost there: only the others can decide what becomes of it.
        let leader = cluster.leader(GROUP).unwrap();
        isolate(&mut cluster, leader);
        cluster.propose(leader, GROUP);
        cluster.run(SECOND / 10);
        stop_all(&mut cluster);
        cluster.cut.clear();
        let (_, last) = cluster.disk_log(leader, GROUP);
        cluster.lose(leader, GROUP, last, last);
        for other in cluster.ids().into_iter().filter(|id| *id != leader) {
            assert!(cluster.disk_log(other, GROUP).1 < last, "nobody else has it");
            cluster.damage_state(other, GROUP);
        }
        last
    };
    cluster.run(SECOND);
    cluster.ids().into_iter().for_each(|id| cluster.start(id));
    assert!(cluster.ids().into_iter().all(|id| cluster.engine(id).unwrap().is_mending(GROUP)));
    cluster.ids().into_iter().for_each(|id| cluster.run_until_whole(id, GROUP));
    cluster.converge();
    assert!(cluster.engine(ONE).unwrap().log().last(GROUP).0 >= last);
    assert_eq!(cluster.applied_commands(GROUP).len(), 60);
}

#[test]
fn a_damaged_block_at_rest_is_repaired_without_an_operator() {
    const SEGMENT: u64 = 256 << 10;
    let mut cluster = written(21, 50, 1, without_checkpoints());
    cluster.crash(TWO);
    let index = 10 + cluster.damage_first(TWO, GROUP, 10);
    cluster.start(TWO);
    let gaps = cluster.engine(TWO).unwrap().log().gaps(GROUP).to_vec();
    assert!(gaps.iter().any(|gap| gap.first.0 <= index && index <= gap.last.0), "{gaps:?}");
    assert!(cluster.ledger(TWO, GROUP).progress.mending || cluster.engine(TWO).unwrap().is_mending(GROUP));
    cluster.run_until_whole(TWO, GROUP);
    cluster.converge();
    assert_eq!(cluster.ledger(TWO, GROUP).content, cluster.ledger(ONE, GROUP).content);
    assert!(cluster.repair_bytes <= 2 * SEGMENT, "{} bytes moved", cluster.repair_bytes);
    // What was mended is durable: after another crash nothing is missing.
    cluster.crash(TWO);
    cluster.start(TWO);
    assert!(!cluster.engine(TWO).unwrap().is_mending(GROUP));
}

#[test]
fn the_scrub_finds_damage_that_nobody_reads_and_the_leader_hands_over() {
    let settings = Settings { scrub_cpu_permille: 20, scrub_round: SECOND, ..without_checkpoints() };
    for what in ["log", "state"] {
        let settings = if what == "state" { Settings { checkpoint_bytes: 4_000, ..settings } } else { settings };
        let mut cluster = written(22, 60, 1, settings);
        let leader = cluster.leader(GROUP).unwrap();
        let before = cluster.ledger(leader, GROUP).mended.len();
        if what == "state" {
            assert!(cluster.damage_state(leader, GROUP));
        } else {
            cluster.damage_first(leader, GROUP, 5);
        }
        cluster.run(10 * SECOND);
        assert!(cluster.ledger(leader, GROUP).mended.len() > before, "the scrub found nothing in the {what}");
        assert!(cluster.leader(GROUP).is_some_and(|now| now != leader), "it leads again?");
        cluster.converge();
        assert_eq!(cluster.applied_commands(GROUP).len(), 60);
    }
}

#[test]
fn damage_in_what_the_state_holds_costs_no_office() {
    let settings =
        Settings { checkpoint_bytes: 8_000, trailing_entries: 50, scrub_round: SECOND, ..Settings::default() };
    let mut cluster = written(23, 100, 1, settings);
    cluster.run(10 * SECOND);
    let leader = cluster.leader(GROUP).unwrap();
    let first = cluster.engine(leader).unwrap().log().first(GROUP).0;
    let index = first + cluster.damage_first(leader, GROUP, first);
    cluster.run(10 * SECOND);
    assert!(cluster.engine(leader).unwrap().log().first(GROUP).0 > index, "the log still holds entry {index}");
    assert_eq!(cluster.leader(GROUP), Some(leader));
    assert!(cluster.ledger(leader, GROUP).mended.is_empty());
}

#[test]
fn a_single_member_that_still_has_the_state_needs_nobody() {
    let settings = Settings { scrub_cpu_permille: 20, scrub_round: SECOND, ..without_checkpoints() };
    let mut cluster = Cluster::new(24, 1, 1, settings);
    cluster.run(2 * SECOND);
    write(&mut cluster, 30, 1);
    cluster.damage_first(ONE, GROUP, 10);
    cluster.run(10 * SECOND);
    let ledger = cluster.ledger(ONE, GROUP);
    assert!(ledger.stopped.is_empty() && ledger.mended.len() == 1, "{:?} {:?}", ledger.stopped, ledger.mended);
    assert!(cluster.engine(ONE).unwrap().log().first(GROUP).0 > 10, "a checkpoint holds what the log lost");
    write(&mut cluster, 5, 1);
    cluster.crash(ONE);
    cluster.converge();
    assert_eq!(cluster.ledger(ONE, GROUP).content.commands.len(), 35);
}

#[test]
fn a_checkpoint_that_meets_damage_is_not_the_last_one() {
    let mut cluster = written(9, 60, 1, keeping_little());
    cluster.machine_mut(ONE, GROUP).fail_checkpoint = true;
    write(&mut cluster, 200, 1);
    cluster.run(5 * SECOND);
    cluster.run_until_whole(ONE, GROUP);
    assert!(!cluster.ledger(ONE, GROUP).mended.is_empty());
    write(&mut cluster, 400, 1);
    cluster.run(5 * SECOND);
    for id in [ONE, TWO] {
        let ledger = cluster.ledger(id, GROUP);
        assert_eq!(ledger.checkpointed().position, ledger.content.meta.position, "{id} takes checkpoints");
        assert!(!ledger.state_lost());
        assert!(cluster.engine(id).unwrap().log().first(GROUP).0 > 600, "the log of {id} is cut behind them");
    }
}
