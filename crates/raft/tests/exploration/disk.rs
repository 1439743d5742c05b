//! A member's disk and log, with the bytes that the core never sees.

use std::sync::Arc;

use kontiki_raft::{Configuration, EntrySizes, HardState, Index, LogPosition, Term, TermRun, Ticket};

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Blank,
    /// A client's; no two are alike.
    Proposal(u8),
    Configuration(Arc<Configuration>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub term: Term,
    pub command: Command,
}

/// Entries behind a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub compacted: LogPosition,
    /// In force at the checkpoint.
    pub base: Arc<Configuration>,
    pub entries: Vec<Entry>,
}

impl Log {
    pub fn last(&self) -> Index {
        Index(self.compacted.index.0 + self.entries.len() as u64)
    }

    pub fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.0.checked_sub(self.compacted.index.0 + 1)?).expect("a short log"))
    }

    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.compacted.index {
            return Some(self.compacted.term);
        }
        self.entry(index).map(|entry| entry.term)
    }

    pub fn read(&self, first: Index, last: Index) -> Vec<Entry> {
        (first.0..=last.0).map(|index| self.entry(Index(index)).expect("what is sent is held").clone()).collect()
    }

    /// Replaces everything from `first` on.
    pub fn write(&mut self, first: Index, entries: &[Entry]) {
        assert!(first <= self.last().next() && first > self.compacted.index, "a write continues the log");
        self.entries.truncate(self.place(first));
        self.entries.extend_from_slice(entries);
    }

    /// What a broken log would do: replaces as many entries as it is given, and keeps what was behind them.
    pub fn overwrite(&mut self, first: Index, entries: &[Entry]) {
        let place = self.place(first);
        let end = (place + entries.len()).min(self.entries.len());
        self.entries.splice(place..end, entries.iter().cloned());
    }

    fn place(&self, index: Index) -> usize {
        usize::try_from(index.0 - self.compacted.index.0 - 1).expect("a short log")
    }

    pub fn compact(&mut self, to: Index) {
        let term = self.term_at(to).expect("a checkpoint lies within the log");
        let gone = usize::try_from(to.0 - self.compacted.index.0).expect("a short log");
        for entry in self.entries.drain(..gone) {
            if let Command::Configuration(configuration) = entry.command {
                self.base = configuration;
            }
        }
        self.compacted = LogPosition { term, index: to };
    }

    /// Entries with their indexes.
    pub fn indexed(&self) -> impl Iterator<Item = (Index, &Entry)> {
        (self.compacted.index.0 + 1..).map(Index).zip(&self.entries)
    }

    /// Configurations behind the checkpoint.
    pub fn configurations(&self) -> Vec<(Index, Arc<Configuration>)> {
        let configurations = self.indexed().filter_map(|(index, entry)| match &entry.command {
            Command::Configuration(configuration) => Some((index, Arc::clone(configuration))),
            Command::Blank | Command::Proposal(_) => None,
        });
        configurations.collect()
    }

    pub fn runs(&self) -> Vec<TermRun> {
        let mut runs: Vec<TermRun> = Vec::new();
        for (first, entry) in self.indexed() {
            if runs.last().is_none_or(|run| run.term != entry.term) {
                runs.push(TermRun { term: entry.term, first });
            }
        }
        runs
    }

    /// How far both logs are the same; what one of them has compacted counts as the same.
    pub fn common(&self, other: &Log) -> Index {
        let begin = self.compacted.index.max(other.compacted.index);
        let same = |index: &u64| self.entry(Index(*index)) == other.entry(Index(*index));
        let end = self.last().min(other.last());
        Index((begin.0 + 1..=end.0).take_while(same).last().unwrap_or(begin.0))
    }

    /// Where Log Matching is broken: an entry with the same index and term in both, and something before or in it apart.
    pub fn mismatch(&self, other: &Log) -> Option<Index> {
        let common = self.common(other);
        let end = self.last().min(other.last());
        (common.0 + 1..=end.0).map(Index).find(|index| self.term_at(*index) == other.term_at(*index))
    }
}

/// One byte for each entry.
impl EntrySizes for Log {
    fn fit(&self, first: Index, last: Index, bytes_max: u64) -> (Index, u64) {
        let last = last.min(Index(first.0 + bytes_max.max(1) - 1));
        (last, last.0 + 1 - first.0)
    }
}

/// What survives a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    pub hard_state: HardState,
    pub log: Log,
}

/// A write under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub ticket: Ticket,
    pub hard_state: Option<HardState>,
    pub append: Option<(Index, Vec<Entry>)>,
}
