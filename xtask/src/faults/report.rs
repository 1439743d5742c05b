//! The table that the task ends with, and what it says meanwhile.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::tally::Tally;

/// What all rounds of all scenarios came to.
pub struct Report {
    binary: String,
    order: Vec<&'static str>,
    rows: BTreeMap<&'static str, Row>,
}

#[derive(Default)]
struct Row {
    rounds: u64,
    faults: u64,
    acked: u64,
    lost: u64,
    longest_gap: Duration,
    notes: Vec<String>,
    failures: Vec<(u64, String)>,
}

/// How many notes of one scenario the table shows.
const NOTES_MAX: usize = 12;

impl Report {
    /// An empty one.
    pub fn new(binary: &Path) -> Report {
        Report { binary: binary.display().to_string(), order: Vec::new(), rows: BTreeMap::new() }
    }

    /// Says that a round begins.
    pub fn begin(&mut self, name: &'static str, seed: u64) {
        if !self.order.contains(&name) {
            self.order.push(name);
        }
        eprintln!("{name} (seed {seed}) …");
    }

    /// Notes how a round ended; how to repeat it where it failed.
    pub fn end(&mut self, name: &'static str, seed: u64, tally: Tally, outcome: Result<(), String>) {
        let Tally { faults, acked, lost, longest_gap, notes } = tally;
        for note in &notes {
            eprintln!("  {note}");
        }
        let row = self.rows.entry(name).or_default();
        row.rounds += 1;
        row.faults += faults;
        row.acked += acked;
        row.lost += lost;
        row.longest_gap = row.longest_gap.max(longest_gap);
        row.notes.extend(notes);
        match outcome {
            Ok(()) => eprintln!("  held: {faults} faults, {acked} writes, longest gap {longest_gap:.2?}"),
            Err(text) => {
                eprintln!("  FAILED: {text}\n  again: cargo xtask faults --only {name} --seed {seed} --rounds 1");
                row.failures.push((seed, text));
            }
        }
    }

    /// Whether nothing failed.
    pub fn held(&self) -> bool {
        self.rows.values().all(|row| row.failures.is_empty())
    }

    /// The table, the notes, and the failures with how to repeat them.
    pub fn table(&self) -> String {
        let mut text = format!("program: {}\n\n", self.binary);
        text += "scenario            rounds  faults     acked  lost  longest gap  verdict\n";
        for (name, row) in self.order.iter().filter_map(|name| Some((name, self.rows.get(name)?))) {
            let verdict = match row.failures.len() {
                0 => "held".to_owned(),
                failed => format!("FAILED ({failed} of {})", row.rounds),
            };
            let (gap, Row { rounds, faults, acked, lost, .. }) = (format!("{:.2?}", row.longest_gap), row);
            let _ = writeln!(text, "{name:<20}{rounds:>6}{faults:>8}{acked:>10}{lost:>6}{gap:>13}  {verdict}");
        }
        for (name, row) in self.order.iter().filter_map(|name| Some((name, self.rows.get(name)?))) {
            for note in row.notes.iter().take(NOTES_MAX) {
                let _ = writeln!(text, "\n{name}: {note}");
            }
            for (seed, failure) in &row.failures {
                let again = format!("cargo xtask faults --only {name} --seed {seed} --rounds 1");
                let _ = writeln!(text, "\n{name} FAILED with seed {seed}: {failure}\n  again: {again}");
            }
        }
        text
    }
}
