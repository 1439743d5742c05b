//! What one round of a scenario counts.

use std::time::Duration;

use super::ledger::Ledger;

/// Counts of one round; filled also by a round that fails.
#[derive(Default)]
pub struct Tally {
    /// How many faults struck.
    pub faults: u64,
    /// How many writes were acknowledged.
    pub acked: u64,
    /// How many of those were missing on some member.
    pub lost: u64,
    /// The longest time without an acknowledged write.
    pub longest_gap: Duration,
    /// What is worth telling besides.
    pub notes: Vec<String>,
}

impl Tally {
    /// Adds what a load acknowledged.
    pub fn count(&mut self, ledger: &Ledger) {
        self.acked += ledger.keys.len() as u64;
        self.longest_gap = self.longest_gap.max(ledger.longest_gap);
    }

    /// Something worth telling.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}
