//! The shape of the log: where it begins and ends, and which term each entry has. No payload.
//!
//! Terms never fall along a log, so a log of millions of entries written under a few leaders is a few runs.

use crate::planted::planted;
use crate::types::{Index, LogPosition, Term, TermRun, TermRuns};

/// The shape of one replica's log.
///
/// Invariant: `runs` is empty exactly when the log is; the first run begins at `compacted.index + 1`; terms and first
/// indexes both grow from run to run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogView {
    /// The entry before the first one held. Its bytes are gone, its term is still known.
    compacted: LogPosition,
    runs: TermRuns,
    last: Index,
}

impl LogView {
    /// A log recovered from storage. Panics if the pieces do not fit together.
    pub(crate) fn new(compacted: LogPosition, runs: TermRuns, last: Index) -> LogView {
        assert!(last >= compacted.index, "log ends at {last}, before its compacted part {compacted}");
        assert_eq!(runs.is_empty(), last == compacted.index, "term runs and log end {last} disagree");
        if let Some(first) = runs.first() {
            assert_eq!(first.first, compacted.index.next(), "first term run does not begin behind {compacted}");
            assert!(first.term >= compacted.term, "terms fall at the beginning of the log");
        }
        assert!(
            runs.windows(2).all(|pair| pair[0].term < pair[1].term && pair[0].first < pair[1].first),
            "terms must grow along the log: {runs:?}"
        );
        assert!(runs.last().is_none_or(|run| run.first <= last), "a term run begins behind the log's end");
        LogView { compacted, runs, last }
    }

    /// The entry before the first one held.
    pub(crate) fn compacted(&self) -> LogPosition {
        self.compacted
    }

    /// Index of the last entry; that of the compacted one where the log is empty.
    pub(crate) fn last_index(&self) -> Index {
        self.last
    }

    /// The last entry. A wholly compacted log still answers with its true end (bug V11).
    pub(crate) fn last_position(&self) -> LogPosition {
        let term = self.runs.last().map_or(self.compacted.term, |run| run.term);
        LogPosition { term, index: self.last }
    }

    /// The term of an entry; none where it is compacted (but for the newest compacted one) or not there yet.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index > self.last || index < self.compacted.index {
            return None;
        }
        if index == self.compacted.index {
            return Some(self.compacted.term);
        }
        let run = match self.runs.last() {
            Some(newest) if newest.first <= index => newest,
            _ => &self.runs[self.run_of(index)],
        };
        Some(run.term)
    }

    /// The position of an entry whose term is known.
    pub(crate) fn position_at(&self, index: Index) -> Option<LogPosition> {
        self.term_at(index).map(|term| LogPosition { term, index })
    }

    /// The newest entry at or below `limit.index` whose term is at most `limit.term`: what can still match a log of
    /// which `limit` is known. Where that is compacted, the entry before the compacted one, of term zero: too old to be
    /// sent, so that the caller takes the snapshot's way.
    pub(crate) fn newest_that_can_match(&self, limit: LogPosition) -> LogPosition {
        let mut index = limit.index.min(self.last);
        for run in self.runs.iter().rev() {
            if run.first > index {
                continue;
            }
            if run.term <= limit.term {
                return LogPosition { term: run.term, index };
            }
            index = run.first.previous();
        }
        if index == self.compacted.index && self.compacted.term <= limit.term {
            return self.compacted;
        }
        LogPosition { term: Term(0), index: index.min(self.compacted.index.previous()) }
    }

    /// The first entry at a greater position than `limit`: positions grow along a log. None where there is none, or it
    /// may be compacted.
    pub(crate) fn first_beyond(&self, limit: LogPosition) -> Option<Index> {
        if self.compacted > limit {
            return None;
        }
        let ends = self.runs.iter().skip(1).map(|run| run.first.previous()).chain([self.last]);
        let beyond = self.runs.iter().zip(ends).find(|(run, end)| (run.term, *end) > (limit.term, limit.index))?;
        let (run, _) = beyond;
        Some(if run.term == limit.term { run.first.max(limit.index.next()) } else { run.first })
    }

    /// The first entry of `after + 1 ..= last`, described by `runs`, that this log lacks or holds with another term;
    /// none where it holds them all.
    pub(crate) fn first_difference(&self, after: Index, runs: &[TermRun], last: Index) -> Option<Index> {
        let mut index = after.max(self.compacted.index).next();
        for (position, run) in runs.iter().enumerate() {
            let run_last = runs.get(position + 1).map_or(last, |following| following.first.previous());
            while index <= run_last {
                if self.term_at(index) != Some(run.term) {
                    return Some(index);
                }
                // Jump to the end of the stretch that is of one term on both sides.
                index = self.run_last(index).min(run_last).next();
            }
        }
        None
    }

    /// The terms of `first ..= last`, all of which must be held.
    pub(crate) fn runs_between(&self, first: Index, last: Index) -> TermRuns {
        if first > last {
            return TermRuns::None;
        }
        assert!(first > self.compacted.index, "entry {first} is compacted");
        assert!(last <= self.last, "entry {last} is not there yet");
        clip_runs(&self.runs[self.run_of(first)..], first, last)
    }

    /// Appends `last - self.last` entries with the given terms.
    pub(crate) fn append(&mut self, runs: &[TermRun], last: Index) {
        for run in runs {
            let end = self.last_position();
            assert!(run.term >= end.term, "appended term {} falls behind {}", run.term, end.term);
            if self.runs.is_empty() || run.term > end.term {
                self.runs.push(*run);
            }
            self.last = run.first;
        }
        self.last = last;
    }

    /// Drops every entry from `first` on.
    pub(crate) fn truncate(&mut self, first: Index) {
        assert!(first > self.compacted.index, "truncation at {first} reaches into the compacted part");
        self.last = first.previous();
        let kept = self.runs.iter().rposition(|run| run.first <= self.last).map_or(0, |place| place + 1);
        self.runs.keep(0, kept);
    }

    /// Forgets every entry up to `index`, which must be held.
    pub(crate) fn compact(&mut self, index: Index) {
        let Some(mut position) = self.position_at(index) else {
            panic!("compaction at {index}, outside of the log {}..={}", self.compacted.index, self.last);
        };
        if planted(23) {
            position.term = self.term_at(index.next()).unwrap_or(position.term);
        }
        if index == self.compacted.index {
            return;
        }
        if index == self.last {
            self.runs = TermRuns::None;
        } else {
            self.runs.keep(self.run_of(index.next()), self.runs.len());
            self.runs.first_mut().expect("the log goes on behind").first = index.next();
        }
        self.compacted = position;
    }

    /// Replaces everything by an empty log that begins behind `position`.
    pub(crate) fn reset(&mut self, position: LogPosition) {
        self.compacted = position;
        self.runs = TermRuns::None;
        self.last = position.index;
    }

    fn run_of(&self, index: Index) -> usize {
        self.runs.partition_point(|run| run.first <= index).saturating_sub(1)
    }

    fn run_last(&self, index: Index) -> Index {
        self.runs.get(self.run_of(index) + 1).map_or(self.last, |following| following.first.previous())
    }
}

/// The part of `runs` that covers `first ..= last`; `runs` must cover it.
pub(crate) fn clip_runs(runs: &[TermRun], first: Index, last: Index) -> TermRuns {
    let begin = runs.partition_point(|run| run.first <= first).saturating_sub(1);
    let end = runs.partition_point(|run| run.first <= last);
    let mut clipped = TermRuns::from(&runs[begin..end]);
    if let Some(run) = clipped.first_mut() {
        run.first = first;
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(term: u64, first: u64) -> TermRun {
        TermRun { term: Term(term), first: Index(first) }
    }

    fn at(term: u64, index: u64) -> LogPosition {
        LogPosition { term: Term(term), index: Index(index) }
    }

    /// Entries 4 and 5 of term 2, 6 of term 3, 7 to 9 of term 5, behind a compacted 3@2.
    fn sample() -> LogView {
        LogView::new(at(2, 3), vec![run(2, 4), run(3, 6), run(5, 7)].into(), Index(9))
    }

    #[test]
    fn terms_are_known_from_the_compacted_entry_on() {
        let log = sample();
        let terms: Vec<Option<u64>> = (2..=10).map(|index| log.term_at(Index(index)).map(|term| term.0)).collect();
        assert_eq!(terms, [None, Some(2), Some(2), Some(2), Some(3), Some(5), Some(5), Some(5), None]);
        assert_eq!(log.last_position(), at(5, 9));
    }

    #[test]
    fn an_empty_log_ends_where_it_was_compacted() {
        let mut log = sample();
        log.compact(Index(9));
        assert_eq!(log.last_position(), at(5, 9)); // bug V11: not term zero
        assert_eq!(log.term_at(Index(9)), Some(Term(5)));
        assert_eq!(log, LogView::new(at(5, 9), TermRuns::None, Index(9)));
    }

    #[test]
    fn what_can_match_is_found_by_term_and_index() {
        let log = sample();
        assert_eq!(log.newest_that_can_match(at(5, 20)), at(5, 9));
        assert_eq!(log.newest_that_can_match(at(5, 7)), at(5, 7));
        assert_eq!(log.newest_that_can_match(at(4, 9)), at(3, 6));
        assert_eq!(log.newest_that_can_match(at(2, 9)), at(2, 5));
        assert_eq!(log.newest_that_can_match(at(2, 3)), at(2, 3));
        // Everything that could match is compacted.
        assert_eq!(log.newest_that_can_match(at(1, 9)), at(0, 2));
        assert_eq!(log.newest_that_can_match(at(2, 1)), at(0, 1));
    }

    #[test]
    fn what_is_beyond_a_position_is_found_by_term_and_index() {
        let log = sample();
        assert_eq!(log.first_beyond(at(2, 4)), Some(Index(5)));
        assert_eq!(log.first_beyond(at(2, 9)), Some(Index(6)));
        assert_eq!(log.first_beyond(at(4, 20)), Some(Index(7)));
        assert_eq!(log.first_beyond(at(5, 8)), Some(Index(9)));
        assert_eq!(log.first_beyond(at(5, 9)), None);
        assert_eq!(log.first_beyond(at(1, 9)), None); // the compacted entry may have been the first
    }

    #[test]
    fn differences_are_conflicts_or_missing_entries() {
        let log = sample();
        assert_eq!(log.first_difference(Index(5), &[run(3, 6), run(5, 7)], Index(9)), None);
        assert_eq!(log.first_difference(Index(5), &[run(3, 6), run(5, 7)], Index(8)), None);
        assert_eq!(log.first_difference(Index(8), &[run(5, 9)], Index(11)), Some(Index(10)));
        assert_eq!(log.first_difference(Index(5), &[run(4, 6)], Index(8)), Some(Index(6)));
        assert_eq!(log.first_difference(Index(5), &[run(3, 6)], Index(8)), Some(Index(7)));
        // Entries that are compacted here are equal by definition (bug L07).
        assert_eq!(log.first_difference(Index(1), &[run(1, 2), run(2, 3)], Index(5)), None);
    }

    #[test]
    fn truncation_and_appending_keep_runs_maximal() {
        let mut log = sample();
        log.truncate(Index(7));
        assert_eq!(log.last_position(), at(3, 6));
        log.append(&[run(3, 7), run(6, 9)], Index(10));
        assert_eq!(log.runs_between(Index(4), Index(10))[..], [run(2, 4), run(3, 6), run(6, 9)]);
        assert_eq!(log.runs_between(Index(5), Index(8))[..], [run(2, 5), run(3, 6)]);
        assert_eq!(log.runs_between(Index(8), Index(8))[..], [run(3, 8)]);
    }

    #[test]
    fn compaction_cuts_inside_a_run() {
        let mut log = sample();
        log.compact(Index(7));
        assert_eq!(log, LogView::new(at(5, 7), vec![run(5, 8)].into(), Index(9)));
        log.append(&[run(5, 10)], Index(12));
        assert_eq!(log.term_at(Index(12)), Some(Term(5)));
        log.reset(at(9, 40));
        assert_eq!(log.last_position(), at(9, 40));
    }
}
