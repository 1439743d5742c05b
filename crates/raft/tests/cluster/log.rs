//! A log of entries with their content, as a driver keeps it: what the core's picture of it is compared with.

use std::sync::Arc;

use kontiki_raft::{Configuration, Entries, EntrySizes, Index, LogPosition, Term, TermRun, TermRuns};

/// An entry: its term and a number that no other proposal has; zero for one without a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub term: Term,
    pub number: u64,
    /// What it brings into force, if it is a configuration entry.
    pub configuration: Option<Arc<Configuration>>,
}

impl Entry {
    pub fn of_term(term: Term) -> Entry {
        Entry { term, ..Entry::default() }
    }
}

/// Entries behind a compacted position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub compacted: LogPosition,
    /// In force at `compacted`.
    pub base: Arc<Configuration>,
    pub entries: Vec<Entry>,
}

impl Log {
    /// An empty log of a group with these members; of a member that waits to be added, where there are none.
    pub fn of(base: Arc<Configuration>) -> Log {
        Log { base, ..Log::default() }
    }

    pub fn last(&self) -> Index {
        Index(self.compacted.index.0 + self.entries.len() as u64)
    }

    pub fn entry(&self, index: Index) -> Option<&Entry> {
        let place = index.0.checked_sub(self.compacted.index.0 + 1)?;
        self.entries.get(place as usize)
    }

    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.compacted.index {
            return Some(self.compacted.term);
        }
        self.entry(index).map(|entry| entry.term)
    }

    pub fn position_at(&self, index: Index) -> Option<LogPosition> {
        self.term_at(index).map(|term| LogPosition { term, index })
    }

    pub fn last_position(&self) -> LogPosition {
        self.position_at(self.last()).expect("the end is known")
    }

    pub fn read(&self, first: Index, last: Index) -> Vec<Entry> {
        (first.0..=last.0).map(|index| self.entry(Index(index)).expect("entries to send are held").clone()).collect()
    }

    /// Whether these entries are here, with the terms that are named.
    pub fn has(&self, entries: &Entries) -> bool {
        let term_of = |index| entries.runs.iter().rev().find(|run| run.first <= index).map(|run| run.term);
        (entries.prev.index.0 + 1..=entries.last.0).map(Index).all(|index| {
            let held = self.entry(index).map(|entry| entry.term);
            held.is_some() && held == term_of(index)
        })
    }

    pub fn positions(&self) -> impl Iterator<Item = LogPosition> + '_ {
        let at = |place: usize| Index(self.compacted.index.0 + 1 + place as u64);
        self.entries.iter().enumerate().map(move |(place, entry)| LogPosition { term: entry.term, index: at(place) })
    }

    /// The configuration entries, oldest first.
    pub fn configurations(&self) -> impl DoubleEndedIterator<Item = (Index, &Arc<Configuration>)> + '_ {
        let at = |place: usize| Index(self.compacted.index.0 + 1 + place as u64);
        let entries = self.entries.iter().enumerate();
        entries.filter_map(move |(place, entry)| Some((at(place), entry.configuration.as_ref()?)))
    }

    /// The newest configuration up to `index`, and its place: that of the compacted position for the oldest.
    pub fn configuration_at(&self, index: Index) -> (Index, &Arc<Configuration>) {
        let newest = self.configurations().rev().find(|(place, _)| *place <= index);
        newest.unwrap_or((self.compacted.index, &self.base))
    }

    /// §4.1: the newest in the log, committed or not.
    pub fn configuration(&self) -> &Arc<Configuration> {
        self.configuration_at(self.last()).1
    }

    /// Replaces everything from `first` on.
    pub fn write(&mut self, first: Index, entries: &[Entry]) {
        assert!(first <= self.last().next(), "a write leaves a gap (bug L14)");
        assert!(first > self.compacted.index, "a write reaches into the compacted part (bug L20)");
        self.entries.truncate((first.0 - self.compacted.index.0 - 1) as usize);
        self.entries.extend_from_slice(entries);
    }

    pub fn compact(&mut self, position: LogPosition) {
        if position.index <= self.compacted.index {
            return;
        }
        self.base = Arc::clone(self.configuration_at(position.index).1);
        self.entries.drain(..(position.index.0 - self.compacted.index.0) as usize);
        self.compacted = position;
    }

    pub fn runs(&self) -> TermRuns {
        let mut runs: Vec<TermRun> = Vec::new();
        for position in self.positions() {
            if runs.last().is_none_or(|run| run.term != position.term) {
                runs.push(TermRun { term: position.term, first: position.index });
            }
        }
        runs.into()
    }
}

/// One byte for each entry.
impl EntrySizes for Log {
    fn fit(&self, first: Index, last: Index, bytes_max: u64) -> (Index, u64) {
        assert!(first > self.compacted.index && last <= self.last(), "sizes of entries that are not held");
        let last = last.min(Index(first.0 + bytes_max.max(1) - 1));
        (last, last.0 + 1 - first.0)
    }
}
