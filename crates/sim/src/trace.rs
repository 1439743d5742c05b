//! What happened in a run: lines for people and machines where they are wanted, and always a number that tells two runs apart.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// A fingerprint of everything that happened so far, the same on every machine and in every build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Fingerprint {
        Fingerprint(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    /// Takes in a number.
    pub const fn fold(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }

    /// Takes in bytes.
    pub fn fold_bytes(&mut self, bytes: &[u8]) {
        self.fold(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.fold(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.fold(u64::from(*byte)));
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Something that happened, in words and numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When, in microseconds of virtual time.
    pub at_us: u64,
    /// To whom; nothing for the whole cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<u64>,
    /// What kind of thing, one word.
    pub kind: &'static str,
    /// The rest, in words.
    pub what: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}.{:06} ", self.at_us / 1_000_000, self.at_us % 1_000_000)?;
        match self.member {
            Some(member) => write!(f, "{:<4}", format!("n{member}"))?,
            None => write!(f, "    ")?,
        }
        write!(f, "{:<10} {}", self.kind, self.what)
    }
}

/// The record of a run.
#[derive(Debug, Default)]
pub struct Trace {
    fingerprint: Fingerprint,
    keep: bool,
    lines: Vec<Line>,
    journal: Journal,
}

impl Trace {
    /// A record that keeps lines, or only the fingerprint.
    #[must_use]
    pub fn new(keep: bool) -> Trace {
        Trace { keep, ..Trace::default() }
    }

    /// Takes a number into the fingerprint.
    pub const fn fold(&mut self, number: u64) {
        self.fingerprint.fold(number);
    }

    /// Takes bytes into the fingerprint.
    pub fn fold_bytes(&mut self, bytes: &[u8]) {
        self.fingerprint.fold_bytes(bytes);
    }

    /// Adds a line where lines are kept. Not part of the fingerprint: fold what matters.
    pub fn note(&mut self, at: Duration, member: Option<u64>, kind: &'static str, what: impl FnOnce() -> String) {
        if self.keep {
            self.lines.push(Line { at_us: at.as_micros() as u64, member, kind, what: what() });
        }
    }

    /// Adds a line and takes it into the fingerprint.
    pub fn say(&mut self, at: Duration, member: Option<u64>, kind: &'static str, what: &str) {
        self.fold(at.as_nanos() as u64);
        self.fold(member.unwrap_or(0));
        self.fold_bytes(what.as_bytes());
        self.note(at, member, kind, || what.to_owned());
    }

    /// Takes in what others have written to the journal.
    pub fn collect(&mut self, at: Duration) {
        for (kind, what) in self.journal.take() {
            self.say(at, None, kind, &what);
        }
    }

    /// Where others write lines.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Takes the lines out, so that a long run need not hold them all.
    pub fn take_lines(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    /// The number that tells this run from others.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// Where a subject and its tasks write what they saw: each line is part of the run's fingerprint. Clones are the same journal.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Journal {
    /// Adds a line: one word for its kind, and the rest.
    pub fn say(&self, kind: &'static str, what: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((kind, what.into()));
    }

    fn take(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_for_people_and_for_machines_and_count() {
        let (mut kept, mut folded) = (Trace::new(true), Trace::new(false));
        for trace in [&mut kept, &mut folded] {
            trace.say(Duration::from_micros(1_250_000), Some(3), "crash", "by the script");
            trace.journal().say("client", "put a");
            trace.collect(Duration::from_secs(2));
        }
        assert_eq!(kept.fingerprint(), folded.fingerprint());
        assert!(folded.lines().is_empty());
        assert_eq!(kept.lines()[0].to_string(), "    1.250000 n3  crash      by the script");
        let json = serde_json::to_string(&kept.lines()[1]).expect("a line has nothing that JSON lacks");
        assert_eq!(json, r#"{"at_us":2000000,"kind":"client","what":"put a"}"#);
        folded.fold(1);
        assert_ne!(kept.fingerprint(), folded.fingerprint());
        let mut golden = Fingerprint::default();
        golden.fold_bytes(b"the same everywhere");
        assert_eq!(golden.to_string(), "9365ae15ba176894");
    }
}
