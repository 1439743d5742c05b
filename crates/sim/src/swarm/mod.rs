//! Plans: what a cluster is like, and what happens to it.
//!
//! A plan is drawn from a seed and a profile. The seed chooses the size, every setting, which families of faults happen at
//! all, how often each does, and when: faults that hide each other in one run are apart in another.

mod draw;
mod faults;
mod profile;

use std::time::Duration;

use kontiki_engine::Settings;

use crate::cluster::{Pace, Quality};
use crate::script::Script;

pub use profile::{Family, Profile, UnknownProfile};

/// Everything about a run that is not the subject's.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// Members of the first hour.
    pub founders: u64,
    /// Members that may be added.
    pub spares: u64,
    /// Settings of all engines.
    pub settings: Settings,
    /// Options of all logs; the salt is drawn for each life.
    pub log: kontiki_log::Options,
    /// How good the network is where nothing is wrong.
    pub network: Quality,
    /// How fast disks are where nothing is wrong.
    pub disk: Pace,
    /// Whose stored data may be damaged or lost: never so many that nobody has a copy.
    pub damageable: Vec<u64>,
    /// How long faults happen.
    pub duration: Duration,
    /// What happens.
    pub script: Script,
    /// Whether lines of the trace are kept.
    pub keep_trace: bool,
}

impl Plan {
    /// A cluster to which nothing happens.
    #[must_use]
    pub fn calm(seed: u64, founders: u64) -> Plan {
        Plan {
            seed,
            founders,
            spares: 0,
            settings: Settings::default(),
            log: kontiki_log::Options {
                segment_bytes: 256 << 10,
                cache_bytes: 1 << 20,
                ..kontiki_log::Options::default()
            },
            network: Quality::default(),
            disk: Pace::default(),
            damageable: Vec::new(),
            duration: Duration::from_secs(60),
            script: Script::default(),
            keep_trace: false,
        }
    }
}
