//! What must hold of every run, one property to a file.
//!
//! Checkers see observations only. Each keeps what it needs for itself, does work in proportion to what changed, and knows
//! nothing of the code that it watches but its words: majorities and logs are reckoned anew here.

mod acknowledged_survives;
mod commit_and_applied_never_fall;
mod committed;
mod configuration_safety;
mod durable_before_told;
mod elected_by_quorum;
mod election_safety;
mod leader_append_only;
mod leader_completeness;
mod log_matching;
mod majorities;
mod model;
mod replication_belief;
#[cfg(test)]
pub(crate) mod script;
mod state_machine_safety;
#[cfg(test)]
mod stories;
mod votes_durable;

use std::time::Duration;

use crate::observation::{Checker, Violation};

/// A checker for each property.
#[must_use]
pub fn all() -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(election_safety::ElectionSafety::default()),
        Box::new(elected_by_quorum::ElectedByQuorum::default()),
        Box::new(leader_append_only::LeaderAppendOnly),
        Box::new(log_matching::LogMatching::default()),
        Box::new(leader_completeness::LeaderCompleteness::default()),
        Box::new(state_machine_safety::StateMachineSafety::default()),
        Box::new(votes_durable::VotesDurable::default()),
        Box::new(durable_before_told::DurableBeforeTold::default()),
        Box::new(acknowledged_survives::AcknowledgedSurvives::default()),
        Box::new(commit_and_applied_never_fall::CommitAndAppliedNeverFall::default()),
        Box::new(configuration_safety::ConfigurationSafety::default()),
        Box::new(replication_belief::ReplicationBelief::default()),
    ]
}

/// What a checker says, where a property does not hold.
fn ensure(holds: bool, property: &'static str, at: Duration, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { property, at, what: what() }) }
}
