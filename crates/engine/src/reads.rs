//! Linearizable reads of one group: one batch is being confirmed while the next one gathers (dissertation §6.4).

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_raft::planted::planted;
use kontiki_raft::{Index, ReadId};

/// The reads of one group.
#[derive(Debug)]
pub struct Reads {
    /// Next identity. Starts at a random place in each life, so that an answer to a former life's batch is never taken
    /// for one of this life's (bugs R03, R06).
    next: u64,
    /// Reads were asked for since the last batch began.
    pub wanted: bool,
    /// A batch was refused; its reads are asked for again at the next occasion, not at once.
    again: bool,
    in_flight: Option<(ReadId, Duration)>,
    /// Confirmed batches that wait for their index to be applied.
    confirmed: BTreeMap<Index, Vec<ReadId>>,
    /// When the newest confirmed batch of this replica as leader began: it still led then, by the word of a quorum.
    led: Option<Duration>,
}

impl Reads {
    /// None asked for yet; identities start at `first`.
    #[must_use]
    pub fn new(first: u64) -> Reads {
        Reads { next: first, wanted: false, again: false, in_flight: None, confirmed: BTreeMap::new(), led: None }
    }

    /// The identity for a batch that may begin now: reads are wanted and no batch is being confirmed.
    pub fn begin(&mut self, now: Duration) -> Option<ReadId> {
        if !self.can_begin() {
            return None;
        }
        self.wanted = false;
        let id = ReadId(self.next);
        self.next = self.next.wrapping_add(1);
        self.in_flight = Some((id, now));
        Some(id)
    }

    /// Whether [`Reads::begin`] would give a batch.
    #[must_use]
    pub fn can_begin(&self) -> bool {
        self.wanted && self.in_flight.is_none()
    }

    /// The batch turned out to be empty.
    pub fn cancel(&mut self) {
        self.in_flight = None;
    }

    /// The batch is confirmed at `index`, by this replica itself where it leads. False where it was given up before.
    pub fn confirmed(&mut self, id: ReadId, index: Index, leads: bool) -> bool {
        let began = self.in_flight.map(|(_, began)| began);
        if !self.end(id) {
            return false;
        }
        if leads {
            self.led = began;
        }
        self.confirmed.entry(index).or_default().push(id);
        true
    }

    /// Whether a quorum has confirmed that this replica led less than `age` before `now`.
    #[must_use]
    pub fn led_within(&self, now: Duration, age: Duration) -> bool {
        self.led.is_some_and(|led| now.saturating_sub(led) < age)
    }

    /// Leadership or term are others: what was confirmed says nothing about them.
    pub fn leadership_changed(&mut self) {
        self.led = None;
        self.retry();
    }

    /// The batch is refused. False where it was given up before.
    pub fn refused(&mut self, id: ReadId) -> bool {
        let known = self.end(id);
        self.again |= known;
        known
    }

    /// Time has passed, or there is another leader: refused reads are asked for again.
    pub fn retry(&mut self) {
        self.wanted |= std::mem::take(&mut self.again);
    }

    /// Gives up the batch in flight if it is older than `age`, and returns it.
    pub fn expired(&mut self, now: Duration, age: Duration) -> Option<ReadId> {
        let (id, since) = self.in_flight?;
        if now.saturating_sub(since) < age {
            return None;
        }
        if planted(40) {
            self.next = id.0;
        }
        self.in_flight = None;
        self.wanted = true;
        Some(id)
    }

    /// Gives up all batches, and says which identity the next one would have.
    pub fn end_all(self) -> (Vec<ReadId>, u64) {
        let in_flight = self.in_flight.map(|(id, _)| id);
        (in_flight.into_iter().chain(self.confirmed.into_values().flatten()).collect(), self.next)
    }

    /// Batches whose index is applied.
    pub fn ready(&mut self, applied: Index) -> Vec<ReadId> {
        if planted(43) {
            return std::mem::take(&mut self.confirmed).into_values().flatten().collect();
        }
        if self.confirmed.first_key_value().is_none_or(|(index, _)| *index > applied) {
            return Vec::new();
        }
        let later = self.confirmed.split_off(&applied.next());
        std::mem::replace(&mut self.confirmed, later).into_values().flatten().collect()
    }

    fn end(&mut self, id: ReadId) -> bool {
        let known = self.in_flight.is_some_and(|(current, _)| current == id);
        if known {
            self.in_flight = None;
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_batch_is_confirmed_while_the_next_gathers() {
        let mut reads = Reads::new(7);
        assert_eq!(reads.begin(SECOND), None, "nobody asked");
        reads.wanted = true;
        let first = reads.begin(SECOND).expect("one was asked for");
        reads.wanted = true;
        assert_eq!(reads.begin(SECOND), None, "one is in flight");
        assert!(reads.confirmed(first, Index(5), true));
        assert!(!reads.confirmed(first, Index(6), true), "a second answer to the same batch");
        let second = reads.begin(SECOND).expect("the first one is confirmed");
        assert_ne!(first, second);
        assert!(reads.ready(Index(4)).is_empty(), "index 5 is not applied");
        assert_eq!(reads.ready(Index(5)), vec![first]);
        assert!(reads.refused(second));
        assert!(!reads.can_begin(), "asked again at once, without a leader, it would go round in circles");
        reads.retry();
        assert!(reads.can_begin(), "its reads join the next batch");
    }

    #[test]
    fn a_batch_without_answer_is_asked_for_again() {
        let mut reads = Reads::new(0);
        reads.wanted = true;
        let id = reads.begin(SECOND).expect("one was asked for");
        assert_eq!(reads.expired(SECOND, SECOND), None);
        assert_eq!(reads.expired(2 * SECOND, SECOND), Some(id));
        assert!(!reads.confirmed(id, Index(1), true), "too late: its reads are in another batch");
        reads.begin(2 * SECOND).expect("its reads are asked for again");
        assert!(
            !reads.confirmed(id, Index(1), true),
            "too late: the answer to the first question is none to the second"
        );
    }
    #[test]
    fn a_leaders_confirmed_batch_vouches_for_the_time_when_it_began() {
        let mut reads = Reads::new(0);
        reads.wanted = true;
        let id = reads.begin(SECOND).expect("one was asked for");
        assert!(!reads.led_within(SECOND, SECOND), "nothing is confirmed");
        assert!(reads.confirmed(id, Index(1), true));
        assert!(reads.led_within(SECOND * 3 / 2, SECOND));
        assert!(!reads.led_within(2 * SECOND, SECOND), "too long ago");
        reads.leadership_changed();
        assert!(!reads.led_within(SECOND * 3 / 2, SECOND), "that was another term");
        reads.wanted = true;
        let forwarded = reads.begin(SECOND).expect("one was asked for");
        assert!(reads.confirmed(forwarded, Index(1), false));
        assert!(!reads.led_within(SECOND, SECOND), "that another one led says nothing about this one");
    }
}
