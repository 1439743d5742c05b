//! Legal histories pass, whatever the order of events.

use std::time::{Duration, Instant};

use super::super::{all, durability, leases, linearizable, locks, per_key, revision_order, watch};
use super::{generate, limits};
use crate::etcd::replay::Replay;
use crate::observation::Violation;

#[test]
fn legal_histories_pass() {
    for seed in 0..300 {
        let history = generate::history(seed, 1_500);
        if let Err(violation) = all(&history, &limits()) {
            panic!("seed {seed}: {violation}");
        }
    }
}

#[test]
fn a_watch_that_lags_is_noticed_at_the_end() {
    let mut lagging = 0;
    for seed in 0..50 {
        let history = generate::history(seed, 1_500);
        let replay = Replay::of(&history).unwrap();
        lagging += usize::from(watch::check_caught_up(&history, &replay, Duration::MAX).is_err());
        watch::check_caught_up(&history, &replay, Duration::ZERO).unwrap();
    }
    assert!(lagging > 10, "{lagging}");
}

/// What checks cost: `cargo test --release -p kontiki-sim what_checks_cost -- --ignored --nocapture`.
#[test]
#[ignore = "says how long it takes, and nothing else"]
fn what_checks_cost() {
    for events in [24_000, 1_200_000] {
        let history = generate::history(1, events);
        let limits = limits();
        let (replay, replayed) = timed(|| Replay::of(&history));
        println!("{} calls, {} entries: replay {replayed:?}", history.calls.len(), replay.steps.len());
        println!("    durability {:?}", timed(|| durability::check(&history, &replay)).1);
        println!("    linearizable {:?}", timed(|| linearizable::check(&history, &replay)).1);
        println!("    revision_order {:?}", timed(|| revision_order::check(&history, &replay)).1);
        println!("    watch {:?}", timed(|| watch::check(&history, &replay)).1);
        println!("    leases {:?}", timed(|| leases::check(&history, &replay, &limits)).1);
        println!("    locks {:?}", timed(|| locks::check(&history, &replay, &limits)).1);
        println!("    per_key {:?}", timed(|| per_key::check(&history, &replay)).1);
    }
}

fn timed<T>(work: impl FnOnce() -> Result<T, Violation>) -> (T, Duration) {
    let begun = Instant::now();
    (work().unwrap(), begun.elapsed())
}
