//! Coverage marks: situations that are rare and matter, with how often runs got into each.
//!
//! A run proves something only of what it met. Which marks no run of a night reached tells what the faults, or their odds, still
//! leave out. Most are read off the observations ([`Marks::observe`]); whoever injects a fault or stands in the middle of
//! something adds the others with [`Marks::reach`].

mod names;
mod watch;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::observation::{Checker, Observation, Violation};

pub use names::{ALL, NOT_REQUIRED};

/// The marks that a night's runs, or those of CI, must reach.
pub fn required() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name).filter(|name| NOT_REQUIRED.iter().all(|(other, _)| other != name))
}

/// How often each mark was reached.
#[derive(Debug, Default)]
pub struct Marks {
    reached: BTreeMap<&'static str, u64>,
    seen: watch::Seen,
}

impl Marks {
    /// A mark is reached once more.
    ///
    /// # Panics
    /// Where there is no such mark in [`ALL`].
    pub fn reach(&mut self, name: &'static str) {
        if let Some(count) = self.reached.get_mut(name) {
            *count += 1;
            return;
        }
        assert!(ALL.iter().any(|(known, _)| *known == name), "no mark has the name {name:?}");
        self.reached.insert(name, 1);
    }

    /// How often each was reached, without those that never were.
    #[must_use]
    pub fn reached(&self) -> &BTreeMap<&'static str, u64> {
        &self.reached
    }

    /// Adds what another run reached.
    pub fn add(&mut self, other: &Marks) {
        for (name, count) in &other.reached {
            *self.reached.entry(name).or_default() += count;
        }
    }

    /// Those that were never reached.
    pub fn unreached(&self) -> impl Iterator<Item = &'static str> + '_ {
        ALL.iter().map(|(name, _)| *name).filter(|name| !self.reached.contains_key(name))
    }

    /// A table for people: what was reached, how often, and what was not.
    #[must_use]
    pub fn report(&self) -> String {
        let mut report = format!("{} of {} marks reached\n", self.reached.len(), ALL.len());
        for (name, meaning) in ALL {
            if let Some(count) = self.reached.get(name) {
                let _ = writeln!(report, "{count:>10}  {name}: {meaning}");
            }
        }
        for (name, meaning) in ALL {
            if !self.reached.contains_key(name) {
                let _ = writeln!(report, "     never  {name}: {meaning}");
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_told_apart() {
        assert_eq!(ALL.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(), ALL.len());
        let not_required = NOT_REQUIRED.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len();
        assert_eq!(required().count() + not_required, ALL.len(), "whatever is not required is a mark");
    }

    #[test]
    fn marks_are_counted_and_reported() {
        let mut marks = Marks::default();
        marks.reach("disk full");
        let mut other = Marks::default();
        other.reach("disk full");
        other.reach("torn tail");
        marks.add(&other);
        assert_eq!(marks.reached()["disk full"], 2);
        assert_eq!(marks.unreached().count(), ALL.len() - 2);
        let report = marks.report();
        assert!(report.contains("         2  disk full: "), "{report}");
        assert!(report.contains("     never  conflict truncated: "), "{report}");
    }

    #[test]
    #[should_panic(expected = "no mark has the name")]
    fn a_name_that_does_not_exist_is_refused() {
        Marks::default().reach("no such thing");
    }
}

/// Marks of a run that a cluster and whoever made it both hold.
#[derive(Clone, Debug, Default)]
pub struct SharedMarks(Arc<Mutex<Marks>>);

impl SharedMarks {
    /// The marks.
    pub fn lock(&self) -> MutexGuard<'_, Marks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checker for SharedMarks {
    fn property(&self) -> &'static str {
        "marks"
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        self.lock().observe(at, what);
        Ok(())
    }
}
