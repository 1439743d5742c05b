//! Exhaustive exploration of the core itself: every order of events, up to a depth, in small groups.
//!
//! Three or four real [`kontiki_raft::Node`]s, their disks and a network are one state. From each state everything that
//! may happen next is tried: any message arrives (late, again, or never), a write reaches the disk, a member stands for
//! election, crashes and loses what was not durable, a client proposes, the membership changes. Every new state is held
//! against the properties of Figure 3.2 and the invariants behind them (`exploration/history.rs`, `exploration/member.rs`).
//!
//! Why an own search and not the crate stateright: its breadth-first search is not level by level on several threads, so
//! that no depth is ever known to be complete; it has no symmetry reduction there; it keeps 64-bit fingerprints and a
//! whole path with each open state; and it brings 45 crates, a web server among them, which take longer to build than
//! the run in CI takes. What is needed of it is `exploration/search.rs`.
//!
//! Larger runs, by environment:
//!
//! ```text
//! EXPLORE_SCENARIO=replacement   only this scenario
//! EXPLORE_DEPTH=20               so deep
//! EXPLORE_SECONDS=120            so long, each scenario
//! EXPLORE_STATES=50000000        so many states, each scenario
//! cargo test --release -p kontiki-raft --test exploration every_scenario -- --nocapture
//! ```
//!
//! Figures: `docs/exploration.md`.

#[path = "exploration/disk.rs"]
mod disk;
#[path = "exploration/fault.rs"]
mod fault;
#[path = "exploration/group.rs"]
mod group;
#[path = "exploration/history.rs"]
mod history;
#[path = "exploration/member.rs"]
mod member;
#[path = "exploration/projection.rs"]
mod projection;
#[path = "exploration/quorums.rs"]
mod quorums;
#[path = "exploration/scenario.rs"]
mod scenario;
#[path = "exploration/search.rs"]
mod search;
#[path = "exploration/sights.rs"]
mod sights;
#[path = "exploration/tables.rs"]
mod tables;

use std::time::Duration;

use fault::Fault;
use scenario::Scenario;
use search::{Limits, Report, Violation, explore};

const FAR: Limits = Limits { depth: 100, states: 3_000_000, time: Duration::from_secs(3_600) };

fn from_environment(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn limits(scenario: &Scenario) -> Limits {
    let seconds = from_environment("EXPLORE_SECONDS");
    let states = from_environment("EXPLORE_STATES");
    let open_end = if seconds.or(states).is_some() { 1_000 } else { scenario.depth };
    Limits {
        depth: from_environment("EXPLORE_DEPTH").unwrap_or(open_end),
        states: states.unwrap_or(usize::MAX),
        time: Duration::from_secs(seconds.unwrap_or(3_600) as u64),
    }
}

fn told(violation: &Violation) -> String {
    format!("{}\n  {}", violation.what, violation.path.join("\n  "))
}

/// No order of events breaks a property, and the orders tried are not trivial.
#[test]
fn every_scenario_keeps_every_property() {
    let only = std::env::var("EXPLORE_SCENARIO").ok();
    for scenario in
        scenario::all().into_iter().filter(|scenario| only.as_ref().is_none_or(|only| only == scenario.name))
    {
        let report = explore(&scenario, limits(&scenario), 2);
        if let Some(violation) = &report.violation {
            panic!("{}: {}", scenario.name, told(violation));
        }
        for sight in scenario.expected {
            assert!(report.sights.has(*sight), "{} never sees {sight:?}", scenario.name);
        }
    }
}

/// Renaming the members must not lose states: with symmetry there are at least a sixth of the states, and the same is
/// seen.
#[test]
fn symmetry_leaves_nothing_out() {
    let reduced = scenario::elections();
    let full = Scenario { symmetry: vec![projection::IDENTITY], ..reduced.clone() };
    let limits = Limits { depth: 6, ..FAR };
    let (reduced, full) = (explore(&reduced, limits, 2), explore(&full, limits, 2));
    assert!(full.states > reduced.states && full.states <= 6 * reduced.states, "{} of {}", reduced.states, full.states);
    assert!(reduced.transitions < full.transitions && reduced.sights == full.sights);
    assert!(!reduced.complete && reduced.depth == full.depth);
}

fn planted(scenario: Scenario, fault: Fault) -> Report {
    let report = explore(&scenario.with(fault), FAR, 2);
    let violation = report.violation.as_ref().unwrap_or_else(|| panic!("{fault:?} goes unnoticed"));
    println!("{fault:?}: {}", told(violation));
    report
}

#[test]
fn writes_reported_too_early_are_found() {
    planted(scenario::elections(), Fault::DurableTooEarly);
}

#[test]
fn refusals_counted_as_votes_are_found() {
    planted(scenario::elections(), Fault::RefusalCountsAsVote);
}

#[test]
fn forgotten_votes_are_found() {
    planted(scenario::elections(), Fault::VoteForgotten);
}

#[test]
fn forgotten_entries_are_found() {
    planted(scenario::replication(), Fault::EntryForgotten);
}

#[test]
fn forgotten_truncations_are_found() {
    planted(scenario::divergence(), Fault::TruncationForgotten);
}

#[test]
fn forgotten_halves_of_a_joint_configuration_are_found() {
    planted(scenario::replacement(), Fault::JointHalfForgotten);
}
