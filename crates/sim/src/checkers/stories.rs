//! Runs in which nothing wrong happens: no checker may object.

use super::script::Script;

/// A group of three that has committed and applied three entries everywhere.
fn settled() -> Script {
    let mut script = Script::begin(3);
    script.elect(1, 1, &[1, 2]);
    script.replicate(1, &["a", "b"], &[2, 3]);
    script.turn(1, |core| core.commit(3).apply(3).believe(2, 3).believe(3, 3));
    for follower in [2, 3] {
        script.turn(follower, |core| core.commit(3).apply(3));
    }
    script
}

#[test]
fn a_leader_is_lost_with_entries_that_nobody_committed() {
    let mut script = settled();
    script.replicate(1, &["lost", "lost too"], &[]);
    script.crash(1);
    script.elect(2, 2, &[2, 3]);
    script.replicate(2, &["c"], &[3]);
    script.turn(2, |core| core.commit(5).apply(5));
    script.start(1);
    script.turn(1, |core| core);
    script.replicate(2, &["d"], &[1, 3]);
    script.turn(2, |core| core.commit(6).apply(6));
    script.commit(1, 6);
    script.commit(3, 6);
    script.finish(&[1, 2, 3]);
    script.expect_none();
}

/// Figure 3.7: entries of an old term on a quorum, replaced all the same.
#[test]
fn what_a_quorum_holds_of_an_old_term_is_replaced() {
    let mut script = Script::begin(5);
    script.elect(1, 2, &[1, 2, 3]);
    script.replicate(1, &["a"], &[2]);
    script.crash(1);
    script.elect(5, 3, &[5, 3, 4]);
    script.crash(5);
    script.start(1);
    script.elect(1, 4, &[1, 2, 3]);
    script.turn(3, |core| core.append(2, "").append(2, "a"));
    script.acknowledge(3, 1, 2);
    script.crash(1);
    script.start(5);
    script.elect(5, 5, &[5, 2, 3, 4]);
    script.replicate(5, &[], &[2, 3, 4]);
    script.commit(5, 2);
    script.start(1);
    script.turn(1, |core| core);
    script.replicate(5, &["b"], &[1, 2, 3, 4]);
    script.commit(5, 3);
    script.finish(&[1, 2, 3, 4, 5]);
    script.expect_none();
}

#[test]
fn a_follower_catches_up_by_snapshot_and_restarts_behind_it() {
    let mut script = settled();
    script.crash(3);
    script.replicate(1, &["c", "d"], &[2]);
    script.turn(1, |core| core.commit(5).apply(5));
    script.turn(1, |core| core.compact(4));
    script.start(3);
    script.turn(3, |core| core);
    script.turn(3, |core| core.snapshot(1, 5));
    script.acknowledge(3, 1, 5);
    script.replicate(1, &["e"], &[3]);
    script.turn(1, |core| core.commit(6).apply(6).believe(3, 6));
    script.turn(3, |core| core.commit(6).apply(6));
    script.crash(3);
    script.start(3);
    script.turn(3, |core| core);
    script.crash(1);
    script.start(1);
    script.turn(1, |core| core.alter(|view| view.applied = kontiki_raft::Index(4)).commit(4));
    script.elect(1, 2, &[1, 3]);
    script.replicate(1, &[], &[2, 3]);
    script.turn(1, |core| core.commit(7).apply(7));
    script.finish(&[1, 2, 3]);
    script.expect_none();
}

#[test]
fn the_membership_changes_in_one_step_and_by_a_joint_one_and_back() {
    let mut script = settled();
    script.join(4);
    script.turn(1, |core| core.configure(1, &[1, 2, 3, 4], &[]));
    script.replicate(1, &[], &[2, 3, 4]);
    script.turn(1, |core| core.commit(4).apply(4));
    script.join(5);
    script.join(6);
    script.turn(1, |core| core.configure(1, &[1, 5, 6], &[1, 2, 3, 4]));
    script.replicate(1, &[], &[2, 3, 5, 6]);
    // What is left is in force in the same turn.
    script.turn(1, |core| core.commit(5).apply(5).configure(1, &[1, 5, 6], &[]));
    script.crash(1);
    script.elect(5, 2, &[2, 3, 4, 5, 6]);
    script.replicate(5, &[], &[2, 3, 6]);
    script.turn(5, |core| core.commit(6).apply(6).configure(2, &[1, 5, 6], &[]));
    script.replicate(5, &[], &[6]);
    script.turn(5, |core| core.commit(7).apply(7));
    script.turn(5, |core| core.compact(7));
    script.start(1);
    script.turn(1, |core| core); // its log ends with a configuration that nobody has
    script.turn(1, |core| core.term(2).snapshot(2, 7).members(&[1, 5, 6]));
    script.replicate(5, &["x"], &[6]);
    script.turn(5, |core| core.commit(8).apply(8));
    script.commit(6, 8);
    script.replicate(5, &[], &[1]);
    script.finish(&[1, 2, 3, 5, 6]);
    script.expect_none();
}

#[test]
fn a_change_that_is_truncated_is_no_more_in_force() {
    let mut script = settled();
    script.turn(1, |core| core.configure(1, &[1, 2, 3, 4], &[]));
    script.crash(1);
    script.elect(2, 2, &[2, 3]);
    script.replicate(2, &["c"], &[3]);
    script.turn(2, |core| core.commit(5).apply(5));
    script.start(1);
    script.turn(1, |core| core);
    script.replicate(2, &["d"], &[1, 3]);
    script.commit(2, 6);
    script.expect_none();
}

#[test]
fn a_damaged_replica_and_a_wiped_one_come_back() {
    let mut script = settled();
    script.damage(2);
    script.turn(2, |core| core);
    script.wipe(3);
    // What it acknowledged before may still be counted.
    script.start(3);
    script.turn(3, |core| core);
    script.turn(1, |core| core.believe(3, 3));
    script.turn(3, |core| core.term(1).snapshot(1, 3));
    script.replicate(1, &["c"], &[2, 3]);
    script.turn(1, |core| core.commit(4).apply(4));
    script.finish(&[1, 2, 3]);
    script.expect_none();
}

#[test]
fn one_goes_on_alone_and_may_lose_what_the_others_had() {
    let mut script = settled();
    script.replicate(1, &["lost"], &[2]);
    script.commit(1, 4);
    for member in 1..=3 {
        script.crash(member);
    }
    script.force(3);
    script.start(3);
    script.turn(3, |core| core.stand(2).configure(2, &[3], &[]));
    script.turn(3, |core| core.lead(2).append(2, "").commit(5));
    script.finish(&[3]);
    script.expect_none();
}

#[test]
fn a_disk_that_lags_loses_only_what_was_not_told() {
    let mut script = settled();
    script.turn(2, |core| core.append(1, "c").append(1, "d").lag(4));
    script.acknowledge(2, 1, 4);
    script.crash(2);
    script.start(2);
    script.turn(2, |core| core);
    script.expect_none();
}
