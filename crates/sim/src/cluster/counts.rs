//! How often each kind of fault really struck.

use std::collections::BTreeMap;
use std::fmt;

/// A kind of fault, one word.
pub(super) type Kind = &'static str;

/// How often each kind of fault has struck, by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Kind, u64>);

impl Counts {
    pub(super) fn add(&mut self, kind: Kind, times: u64) {
        if times > 0 {
            *self.0.entry(kind).or_default() += times;
        }
    }

    /// How often a kind has struck.
    #[must_use]
    pub fn of(&self, kind: &str) -> u64 {
        self.0.get(kind).copied().unwrap_or(0)
    }

    /// All kinds that have struck, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(kind, times)| (*kind, *times))
    }

    /// Adds those of another run.
    pub fn merge(&mut self, other: &Counts) {
        other.iter().for_each(|(kind, times)| self.add(kind, times));
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (kind, times)) in self.iter().enumerate() {
            let gap = if place == 0 { "" } else { ", " };
            write!(f, "{gap}{kind} {times}")?;
        }
        Ok(())
    }
}
