//! The history of some time is kept: the revision is noted now and then, and what was current a period ago is compacted to.

use std::collections::VecDeque;
use std::time::Duration;

/// Longer periods are compacted this often.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// How many notes are taken from one compaction to the next.
const NOTES: u32 = 10;

/// The rule, and the revisions that it has noted.
#[derive(Debug)]
pub struct Periodic {
    period: Duration,
    noted: VecDeque<i64>,
    /// When it compacted last; its beginning, before that.
    compacted: Duration,
    /// Where to; none before the first time.
    revision: Option<i64>,
}

impl Periodic {
    /// Keeps the history of `period` from now on.
    pub fn new(period: Duration, now: Duration) -> Periodic {
        Periodic { period, noted: VecDeque::new(), compacted: now, revision: None }
    }

    /// How often it compacts, after its first period.
    fn interval(&self) -> Duration {
        self.period.min(HOUR)
    }

    /// How long to the next note.
    pub fn pause(&self) -> Duration {
        // A pause of nothing would be a task that never rests.
        (self.interval() / NOTES).max(Duration::from_millis(1))
    }

    /// Notes the present revision.
    pub fn sample(&mut self, revision: i64) {
        let kept = self.period.as_nanos() / self.pause().as_nanos() + 1;
        self.noted.push_back(revision);
        while self.noted.len() as u128 > kept {
            self.noted.pop_front();
        }
    }

    /// Where to compact to now, if at all.
    pub fn due(&self, now: Duration) -> Option<i64> {
        let wait = if self.revision.is_none() { self.period } else { self.interval() };
        let revision = *self.noted.front()?;
        let due = now.saturating_sub(self.compacted) >= wait && self.revision != Some(revision);
        due.then_some(revision)
    }

    /// It was compacted to there.
    pub fn done(&mut self, now: Duration, revision: i64) {
        self.compacted = now;
        self.revision = Some(revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the rule does over some hours, of a store that makes a revision each minute: when, in minutes, and where to.
    fn compactions(period: Duration, hours: u64, leads: impl Fn(u64) -> bool) -> Vec<(u64, i64)> {
        let mut rule = Periodic::new(period, Duration::ZERO);
        let revision = |now: Duration| i64::try_from(now.as_secs() / 60).unwrap() + 1;
        let (mut now, mut done) = (Duration::ZERO, Vec::new());
        while now < HOUR * u32::try_from(hours).unwrap() {
            rule.sample(revision(now));
            now += rule.pause();
            if let Some(to) = rule.due(now).filter(|_| leads(now.as_secs() / 60)) {
                rule.done(now, to);
                done.push((now.as_secs() / 60, to));
            }
        }
        done
    }

    #[test]
    fn a_short_period_compacts_each_period_to_one_ago() {
        let done = compactions(Duration::from_secs(600), 1, |_| true);
        assert_eq!(done, [(10, 1), (20, 10), (30, 20), (40, 30), (50, 40), (60, 50)]);
    }

    #[test]
    fn a_long_period_is_waited_for_once_and_then_compacts_each_hour() {
        let done = compactions(HOUR * 24, 27, |_| true);
        let (first, second) = (done[0], done[1]);
        assert_eq!(first, (24 * 60, 1));
        assert_eq!(second, (25 * 60, 55), "to what was current a day before, a note more or less");
        assert_eq!(done.len(), 4);
    }

    #[test]
    fn a_member_that_does_not_lead_remembers_and_goes_on_where_it_takes_over() {
        let done = compactions(HOUR, 4, |minute| minute >= 150);
        assert_eq!(done[0], (150, 85), "not to its beginning, and not by a full period late");
        assert_eq!(done[1], (210, 145));
    }

    #[test]
    fn what_did_not_move_is_not_compacted_again() {
        let mut rule = Periodic::new(HOUR, Duration::ZERO);
        rule.sample(7);
        assert_eq!(rule.due(HOUR - Duration::from_secs(1)), None);
        assert_eq!(rule.due(HOUR), Some(7));
        rule.done(HOUR, 7);
        assert_eq!(rule.due(HOUR * 9), None);
    }
}
