//! What to simulate, and what came of it: plain values that one process can tell another.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::swarm::UnknownProfile;

/// A run to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// All chance of the run follows from it.
    pub seed: u64,
    /// Name of a profile.
    pub profile: String,
    /// The faults, as a script's text; none for those that the seed draws.
    pub script: Option<String>,
    /// The bug to plant, in a build that can; zero for none.
    pub planted: u8,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The property that did not hold; `assertion` where the production code itself found that something is wrong.
    pub property: String,
    /// When, in virtual time.
    pub at: Duration,
    /// What was seen.
    pub what: String,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The profile.
    pub profile: String,
    /// Members of the cluster.
    pub members: u64,
    /// How long the run was, in virtual time.
    pub time: Duration,
    /// Turns of the members' engines.
    pub turns: u64,
    /// Calls of clients that were answered.
    pub calls: u64,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Rare situations that were reached.
    pub marks: BTreeMap<String, u64>,
    /// A hash of everything that happened: equal for equal runs.
    pub hash: u64,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

/// Why a run cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No such profile.
    #[error(transparent)]
    UnknownProfile(#[from] UnknownProfile),
    /// The script cannot be read.
    #[error("the script cannot be read: {0}")]
    Script(String),
    /// This build has no bugs to plant.
    #[error("this build has no bugs to plant: build with the feature `planted`")]
    NothingToPlant,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.3} s: {}", self.property, self.at.as_secs_f64(), self.what)
    }
}

/// What came of many runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many runs ended.
    pub runs: u64,
    /// Virtual time of all of them.
    pub time: Duration,
    /// Turns of engines.
    pub turns: u64,
    /// Calls of clients.
    pub calls: u64,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Rare situations that were reached.
    pub marks: BTreeMap<String, u64>,
    /// The seeds that failed, and why.
    pub failures: Vec<(u64, Failure)>,
}

impl Summary {
    /// Adds a run.
    pub fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.time += report.time;
        self.turns += report.turns;
        self.calls += report.calls;
        for (name, count) in &report.faults {
            *self.faults.entry(name.clone()).or_default() += count;
        }
        for (name, count) in &report.marks {
            *self.marks.entry(name.clone()).or_default() += count;
        }
        if let Some(failure) = &report.failure {
            self.failures.push((report.seed, failure.clone()));
        }
    }

    /// Adds a run whose process ended before it could report.
    pub fn add_lost(&mut self, seed: u64, failure: Failure) {
        self.runs += 1;
        self.failures.push((seed, failure));
    }
}
