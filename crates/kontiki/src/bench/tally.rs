//! What is counted while a run goes on: latencies in histograms of three digits, errors by their text.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::pace::Turn;

/// Bounds of what a histogram tells apart, in nanoseconds: a microsecond and an hour.
const SHORTEST: u64 = 1_000;
const LONGEST: u64 = 3_600_000_000_000;
/// Different texts of errors that are kept; servers put addresses and numbers into some.
const TEXTS_MAX: usize = 20;
/// An operation of an open loop that is sent later than this counts as late.
pub const LATE: Duration = Duration::from_millis(1);

/// What an answer was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An operation that reads.
    Read,
    /// One that writes.
    Write,
    /// A change that reached a watcher.
    Event,
}

/// Latencies in nanoseconds.
pub type Latencies = Histogram<u64>;

/// An empty histogram.
pub fn latencies() -> Latencies {
    Histogram::new_with_bounds(SHORTEST, LONGEST, 3).expect("the bounds are in order")
}

/// Counts of some clients, or of all.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Operations that read.
    pub reads: Latencies,
    /// Operations that write.
    pub writes: Latencies,
    /// Events at watchers.
    pub events: Latencies,
    /// Operations of an open loop, from when they were sent.
    pub from_sending: Latencies,
    /// All since the last line of progress, where there are any.
    pub recent: Option<Latencies>,
    /// Failed operations by their text.
    pub errors: BTreeMap<String, u64>,
    /// Failed ones whose text was not kept.
    pub other_errors: u64,
    /// Operations that succeeded before the measurement began, and those that did not.
    pub warmup: u64,
    /// See [`Tally::warmup`].
    pub warmup_errors: u64,
    /// Transactions that found their key changed.
    pub conflicts: u64,
    /// Operations that were sent later than [`LATE`] after they were due.
    pub late: u64,
    /// The worst delay of sending.
    pub delay_max: Duration,
}

/// One finished operation.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// The leave that it had.
    pub turn: Turn,
    /// When it was sent.
    pub sent: Instant,
    /// When its answer came.
    pub answered: Instant,
}

impl Tally {
    /// Nothing counted yet.
    pub fn new(progress: bool) -> Tally {
        Tally {
            reads: latencies(),
            writes: latencies(),
            events: latencies(),
            from_sending: latencies(),
            recent: progress.then(latencies),
            errors: BTreeMap::new(),
            other_errors: 0,
            warmup: 0,
            warmup_errors: 0,
            conflicts: 0,
            late: 0,
            delay_max: Duration::ZERO,
        }
    }

    /// An operation that succeeded.
    pub fn succeeded(&mut self, finished: Finished, kind: Kind, conflict: bool) {
        let Finished { turn, sent, answered } = finished;
        if !turn.measured {
            self.warmup += 1;
            return;
        }
        self.delayed(finished);
        self.add(kind, answered.saturating_duration_since(turn.due.unwrap_or(sent)));
        if turn.due.is_some() {
            record(&mut self.from_sending, answered.saturating_duration_since(sent));
        }
        self.conflicts += u64::from(conflict);
    }

    /// An operation that did not.
    pub fn failed(&mut self, finished: Finished, text: String) {
        if !finished.turn.measured {
            self.warmup_errors += 1;
            return;
        }
        self.delayed(finished);
        self.count_errors(text, 1);
    }

    /// One latency.
    pub fn add(&mut self, kind: Kind, latency: Duration) {
        let histogram = match kind {
            Kind::Read => &mut self.reads,
            Kind::Write => &mut self.writes,
            Kind::Event => &mut self.events,
        };
        record(histogram, latency);
        if let Some(recent) = self.recent.as_mut().filter(|_| kind != Kind::Event) {
            record(recent, latency);
        }
    }

    /// Operations that succeeded.
    pub fn operations(&self) -> u64 {
        self.reads.len() + self.writes.len()
    }

    /// Operations that did not.
    pub fn errors(&self) -> u64 {
        self.errors.values().sum::<u64>() + self.other_errors
    }

    /// The latencies of all operations.
    pub fn of_operations(&self) -> Latencies {
        let mut all = self.reads.clone();
        merge(&mut all, &self.writes);
        all
    }

    /// Adds what others counted.
    pub fn merge(&mut self, other: &Tally) {
        merge(&mut self.reads, &other.reads);
        merge(&mut self.writes, &other.writes);
        merge(&mut self.events, &other.events);
        merge(&mut self.from_sending, &other.from_sending);
        other.errors.iter().for_each(|(text, count)| self.count_errors(text.clone(), *count));
        self.other_errors += other.other_errors;
        self.warmup += other.warmup;
        self.warmup_errors += other.warmup_errors;
        self.conflicts += other.conflicts;
        self.late += other.late;
        self.delay_max = self.delay_max.max(other.delay_max);
    }

    fn delayed(&mut self, finished: Finished) {
        let Some(due) = finished.turn.due else { return };
        let delay = finished.sent.saturating_duration_since(due);
        self.late += u64::from(delay > LATE);
        self.delay_max = self.delay_max.max(delay);
    }

    fn count_errors(&mut self, text: String, count: u64) {
        if let Some(known) = self.errors.get_mut(&text) {
            *known += count;
        } else if self.errors.len() < TEXTS_MAX {
            self.errors.insert(text, count);
        } else {
            self.other_errors += count;
        }
    }
}

fn record(histogram: &mut Latencies, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
}

/// Adds one histogram to another.
pub fn merge(to: &mut Latencies, from: &Latencies) {
    to.add(from).expect("all histograms have the same bounds");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(due: Option<u64>, sent: u64, answered: u64) -> Finished {
        let base = Instant::now();
        let at = |milliseconds| base + Duration::from_millis(milliseconds);
        Finished { turn: Turn { number: 0, due: due.map(at), measured: true }, sent: at(sent), answered: at(answered) }
    }

    #[test]
    fn latency_counts_from_when_an_operation_was_due() {
        let mut tally = Tally::new(false);
        tally.succeeded(finished(Some(0), 300, 302), Kind::Write, false);
        tally.succeeded(finished(Some(0), 0, 2), Kind::Write, false);
        let mean = |histogram: &Latencies| (histogram.mean() / 1e6).round();
        assert_eq!((mean(&tally.writes), mean(&tally.from_sending)), (152.0, 2.0));
        assert_eq!((tally.late, tally.delay_max), (1, Duration::from_millis(300)));
    }

    #[test]
    fn the_warmup_does_not_count() {
        let mut tally = Tally::new(false);
        let mut early = finished(None, 0, 5);
        early.turn.measured = false;
        tally.succeeded(early, Kind::Read, false);
        tally.failed(early, "no".into());
        assert_eq!((tally.operations(), tally.errors(), tally.warmup, tally.warmup_errors), (0, 0, 1, 1));
    }

    #[test]
    fn texts_of_errors_are_bounded_and_none_is_lost() {
        let (mut one, mut two) = (Tally::new(false), Tally::new(false));
        for number in 0..100 {
            one.failed(finished(None, 0, 1), format!("error {number}"));
            two.failed(finished(None, 0, 1), "error 3".into());
        }
        one.merge(&two);
        assert_eq!(one.errors.len(), TEXTS_MAX);
        assert_eq!(one.errors["error 3"], 101);
        assert_eq!(one.errors(), 200);
    }
}
