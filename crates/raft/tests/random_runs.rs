//! Random walks: groups of up to seven members under loss, repetition, reordering, delays, slow disks, crashes that
//! forget, wiped disks, cuts of every shape, pauses, clocks that differ, and changes of membership all along. After every
//! step the facts of `cluster/facts.rs` hold; when the trouble ends, everything that was begun comes to an end.
//!
//! A walk is a list of actions. One that fails is shrunk to a short list that fails in the same words, and told as a
//! script. `RAFT_SEED=17` repeats one walk, `RAFT_RUNS=10000` makes so many.

#![allow(clippy::unwrap_used)]

mod cluster;
mod walk;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster::seen::Seen;
use kontiki_raft::NodeId;
use walk::Walk;
use walk::action::Action;
use walk::chance::Chance;
use walk::choose::choose;
use walk::plan::Plan;
use walk::shrink::shrink;

/// Actions in each walk.
const STEPS: usize = 1_200;

/// Walks in a run that nobody has told otherwise: together almost five million steps.
const RUNS: u64 = 4_000;

/// How a walk that failed ended.
struct Failure {
    message: String,
    actions: Vec<Action>,
}

/// Walks by chance, to the end or to a panic.
fn walk(plan: &Plan, planted: bool) -> Result<Seen, Failure> {
    let mut actions = Vec::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut walk = Walk::new(plan.clone());
        walk.planted = planted;
        let mut chance = Chance::new(plan.seed ^ 0x5eed);
        for _ in 0..STEPS {
            let action = choose(&walk, &mut chance);
            actions.push(action.clone());
            walk.perform(&action);
        }
        walk.calm();
        walk.cluster.seen
    }));
    outcome.map_err(|panic| Failure { message: words(&*panic), actions })
}

/// Walks along given actions; the message of the panic that ends it, if one does, and what was done and told until then.
fn repeat(plan: &Plan, actions: &[Action], planted: bool) -> (Option<String>, Walk) {
    let mut walk = Walk::new(plan.clone());
    walk.planted = planted;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        actions.iter().for_each(|action| walk.perform(action));
        walk.calm();
    }));
    (outcome.err().map(|panic| words(&*panic)), walk)
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into())).unwrap_or_else(|| "no message".into())
}

/// What two failures for the same reason have in common: the first words, but for numbers.
fn reason(message: &str) -> String {
    let letters: String = message.chars().filter(|letter| !letter.is_ascii_digit()).collect();
    letters.split_whitespace().take(6).collect::<Vec<_>>().join(" ")
}

/// Shrinks a failure and tells it as a script.
fn report(plan: &Plan, failure: &Failure, planted: bool) -> String {
    let wanted = reason(&failure.message);
    let fails = |actions: &[Action]| repeat(plan, actions, planted).0.is_some_and(|message| reason(&message) == wanted);
    let kept = shrink(&failure.actions, 4_000, fails);
    let (message, mut walk) = repeat(plan, &kept, planted);
    let told = walk.cluster.trace.take();
    let newest: Vec<&str> = told.lines().rev().take(60).collect();
    let told: Vec<&str> = newest.into_iter().rev().collect();
    format!(
        "seed {} fails: {}\n{} of {} actions are enough:\n{}{}\n\nwhat happened last:\n{}\n\nreplay with RAFT_SEED={}",
        plan.seed,
        message.unwrap_or_else(|| failure.message.clone()),
        kept.len(),
        failure.actions.len(),
        plan.script(),
        walk.script.join("\n"),
        told.join("\n"),
        plan.seed
    )
}

/// Walks with all seeds below `runs`, on every processor, and tells the first failure.
fn walk_all(seeds: std::ops::Range<u64>) -> Seen {
    let (next, seen) = (AtomicU64::new(seeds.start), Mutex::new(Seen::default()));
    let failure: Mutex<Option<(Plan, Failure)>> = Mutex::new(None);
    let work = || {
        while failure.lock().unwrap().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let plan = Plan::new(seed);
            match walk(&plan, false) {
                Ok(more) => seen.lock().unwrap().add(&more),
                Err(found) => *failure.lock().unwrap() = Some((plan, found)),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    if let Some((plan, found)) = failure.into_inner().unwrap() {
        std::panic::set_hook(Box::new(|_| {})); // the same panic comes again and again while the walk is shrunk
        let text = report(&plan, &found, false);
        drop(std::panic::take_hook());
        panic!("{text}");
    }
    seen.into_inner().unwrap()
}

#[test]
fn no_walk_breaks_a_property_and_every_walk_recovers() {
    if let Ok(seed) = std::env::var("RAFT_SEED") {
        let seed = seed.parse().expect("a seed is a number");
        walk_all(seed..seed + 1);
        return;
    }
    let runs = std::env::var("RAFT_RUNS").map_or(RUNS, |runs| runs.parse().expect("runs are a number"));
    let seen = walk_all(0..runs);
    println!("{runs} walks of {STEPS} steps: {seen:?}");
    let enough = |number: u64, of_a_hundred_walks: u64| assert!(number * 100 >= runs * of_a_hundred_walks, "{seen:?}");
    enough(seen.elections, 300);
    enough(seen.committed, 1_000);
    enough(seen.changes, 200);
    enough(seen.joint_changes, 20);
    enough(seen.rollbacks, 2);
    enough(seen.truncations, 50);
    enough(seen.reads_served, 300);
    enough(seen.reads_refused, 100);
    enough(seen.lease_reads, 20);
    enough(seen.snapshots, 50);
    enough(seen.pulls, 2);
    enough(seen.transfers, 50);
    enough(seen.resignations, 20);
    enough(seen.exclusions, 5);
    enough(seen.strangers, 2);
    enough(seen.wipes, 5);
    enough(seen.pauses, 20);
    enough(seen.crashes, 200);
}

/// A fault of which it is known what is needed for it.
#[test]
fn a_list_is_shrunk_to_what_is_needed() {
    let list: Vec<u32> = (0..500).collect();
    let needs = |rest: &[u32]| {
        let place = |wanted: u32| rest.iter().position(|number| *number == wanted);
        matches!((place(17), place(300), place(444)), (Some(one), Some(two), Some(three)) if one < two && two < three)
    };
    assert_eq!(shrink(&list, 10_000, needs), [17, 300, 444]);
    assert_eq!(shrink(&list, 10_000, |_| true), Vec::<u32>::new());
}

/// A fault in a walk: nobody may be down while another is. Two crashes are needed for it, and nothing else.
#[test]
fn a_walk_is_shrunk_to_what_is_needed() {
    let found = (0..50).map(Plan::new).find_map(|plan| walk(&plan, true).err().map(|failure| (plan, failure)));
    let (plan, failure) = found.expect("some walk has two members down");
    assert!(failure.message.starts_with("planted"), "{}", failure.message);
    let wanted = reason(&failure.message);
    let fails = |actions: &[Action]| repeat(&plan, actions, true).0.is_some_and(|message| reason(&message) == wanted);
    let kept = shrink(&failure.actions, 4_000, fails);
    let crashed: Vec<NodeId> = kept
        .iter()
        .map(|action| match action {
            Action::Crash { at, .. } => *at,
            other => panic!("{other} is not needed"),
        })
        .collect();
    assert!(crashed.len() == 2 && crashed[0] != crashed[1], "{kept:?}");
}
