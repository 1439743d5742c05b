//! What `--feature-gates` switches.

use std::collections::BTreeMap;

use super::{ConfigError, value_error};
use crate::flags::{FEATURE_GATES, Settings};

/// Every gate, on or off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureGates {
    /// Name, stage in capitals (empty where it has none), and whether it is on: for `/metrics`.
    pub all: Vec<(&'static str, &'static str, bool)>,
}

impl FeatureGates {
    /// Reads the flag. `AllAlpha` and `AllBeta` switch the gates of their stage that are not named themselves.
    pub fn settle(settings: &Settings, warnings: &mut Vec<String>) -> Result<FeatureGates, ConfigError> {
        let mut named: BTreeMap<&str, bool> = BTreeMap::new();
        for text in settings.list("feature-gates") {
            let (name, on) = text.split_once('=').unwrap_or((text, ""));
            named.insert(name, matches!(on, "1" | "t" | "T" | "true" | "TRUE" | "True"));
        }
        let state = |name: &str, stage: &str, default: bool| {
            let whole_stage = match stage {
                "ALPHA" => named.get("AllAlpha"),
                "BETA" => named.get("AllBeta"),
                _ => None,
            };
            named.get(name).or(whole_stage).copied().unwrap_or(default)
        };
        let all: Vec<_> = FEATURE_GATES
            .iter()
            .map(|gate| (gate.name, gate.stage, state(gate.name, gate.stage, gate.default)))
            .collect();
        let on = |wanted: &str| all.iter().any(|(name, _, on)| *name == wanted && *on);
        if on("LeaseCheckpointPersist") && !on("LeaseCheckpoint") {
            return Err(value_error("feature-gates", "LeaseCheckpointPersist=true needs LeaseCheckpoint=true"));
        }
        for gate in FEATURE_GATES.iter().filter(|gate| !gate.differs.is_empty()) {
            if on(gate.name) != gate.default && named.contains_key(gate.name) {
                warnings.push(format!("--feature-gates: {} has no effect: {}", gate.name, gate.differs));
            }
        }
        Ok(FeatureGates { all })
    }
}
