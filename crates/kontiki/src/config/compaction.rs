//! What `--auto-compaction-mode` and `--auto-compaction-retention` say.

use std::fmt;
use std::time::Duration;

use super::{ConfigError, choice, value_error};
use crate::flags::Settings;
use crate::flags::value::duration_of;

/// When old revisions are removed without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// Never.
    Off,
    /// What is older than this.
    Periodic(Duration),
    /// What is further back than so many revisions.
    Revision(i64),
}

impl AutoCompaction {
    /// Reads the flags.
    pub fn settle(settings: &Settings) -> Result<AutoCompaction, ConfigError> {
        let mode = choice(settings, "auto-compaction-mode", &["periodic", "revision"])?;
        auto(mode, settings.text("auto-compaction-retention"))
    }
}

/// A number without a unit means hours, in the mode of times.
fn auto(mode: &str, retention: &str) -> Result<AutoCompaction, ConfigError> {
    let flag = "auto-compaction-retention";
    let number = retention.parse::<i64>();
    if retention.is_empty() || number == Ok(0) {
        return Ok(AutoCompaction::Off);
    }
    match (mode, number) {
        (_, Ok(number)) if number < 0 => Err(value_error(flag, "must not be negative")),
        ("revision", Ok(revisions)) => Ok(AutoCompaction::Revision(revisions)),
        ("revision", Err(_)) => Err(value_error(flag, format!("{retention:?} is not a number of revisions"))),
        (_, Ok(hours)) => match u64::try_from(hours).ok().and_then(|hours| hours.checked_mul(3600)) {
            Some(seconds) => Ok(AutoCompaction::Periodic(Duration::from_secs(seconds))),
            None => Err(value_error(flag, format!("{hours} hours are too many"))),
        },
        (_, Err(_)) => {
            let time =
                duration_of(retention).map_err(|expected| value_error(flag, format!("{retention:?}: {expected}")))?;
            Ok(if time.is_zero() { AutoCompaction::Off } else { AutoCompaction::Periodic(time) })
        }
    }
}

impl fmt::Display for AutoCompaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AutoCompaction::Off => f.write_str("off"),
            AutoCompaction::Periodic(time) => write!(f, "{} s", time.as_secs()),
            AutoCompaction::Revision(revisions) => write!(f, "{revisions} revisions"),
        }
    }
}
