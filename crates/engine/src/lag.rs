//! A member that is in no state to lead, though its log's disk answers: for how long, and what a leader does about it.
//!
//! While a checkpoint cannot be written and too much waits to be saved, nothing is applied: such a leader commits, but answers
//! no read and ends no lease. While its disk is full it takes nothing that needs space. Another member may be better off: the
//! office is handed over, which costs little where that is not so, because a member in the same state does not take it. It is
//! never given up.

use std::time::Duration;

use kontiki_raft::NodeId;

/// The second attempt comes after so many election timeouts; each later one after twice as many, up to the bound.
const AGAIN: u32 = 10;
const AGAIN_MAX: u32 = 640;

/// Since when the member has been unfit to lead.
#[derive(Debug)]
pub(crate) struct Lag {
    since: Option<Duration>,
    /// The last attempt to hand over; or the last moment in which somebody else led.
    tried: Option<Duration>,
    /// How long until the next one, in election timeouts.
    again: u32,
    /// Who was asked last.
    asked: Option<NodeId>,
}

impl Default for Lag {
    fn default() -> Lag {
        Lag { since: None, tried: None, again: AGAIN, asked: None }
    }
}

impl Lag {
    /// Whether it is unfit now.
    pub fn note(&mut self, now: Duration, unfit: bool) {
        if unfit {
            self.since.get_or_insert(now);
        } else {
            (self.since, self.again) = (None, AGAIN);
        }
    }

    /// Somebody else leads: should the office come here, it is not passed on at once, or it would go round.
    pub fn follows(&mut self, now: Duration) {
        self.tried = Some(now);
    }

    /// Whether it has been unfit for an election timeout.
    pub fn is_long(&self, now: Duration, election_timeout: Duration) -> bool {
        self.since.is_some_and(|since| now.saturating_sub(since) >= election_timeout)
    }

    /// To whom of the others a leader is to hand over now: to each in turn.
    pub fn hands_over(&mut self, now: Duration, election_timeout: Duration, others: &[NodeId]) -> Option<NodeId> {
        let rested = self.tried.is_none_or(|tried| now.saturating_sub(tried) >= self.again * election_timeout);
        if !rested || !self.is_long(now, election_timeout) {
            return None;
        }
        let next = others.iter().copied().filter(|other| self.asked.is_none_or(|asked| *other > asked)).min();
        let to = next.or(others.iter().copied().min())?;
        (self.tried, self.asked, self.again) = (Some(now), Some(to), (self.again * 2).min(AGAIN_MAX));
        Some(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_asks_one_after_the_other_and_ever_more_rarely() {
        let (mut lag, second) = (Lag::default(), Duration::from_secs(1));
        let others = [NodeId(2), NodeId(3)];
        let asks = |lag: &mut Lag, at: u32| lag.hands_over(second * at, second, &others);
        assert_eq!(asks(&mut lag, 1), None, "it is fit");
        lag.note(second * 20, true);
        assert_eq!(asks(&mut lag, 20), None);
        assert_eq!(asks(&mut lag, 21), Some(NodeId(2)));
        assert_eq!(asks(&mut lag, 30), None);
        assert_eq!(asks(&mut lag, 41), Some(NodeId(3)), "ten, then twenty election timeouts later");
        assert_eq!(asks(&mut lag, 81), Some(NodeId(2)));
        lag.note(second * 82, false);
        assert!(!lag.is_long(second * 99, second));
        lag.note(second * 83, true);
        assert_eq!(asks(&mut lag, 84), None, "an attempt was made a moment ago");
    }

    #[test]
    fn the_office_does_not_go_round() {
        let (mut lag, second) = (Lag::default(), Duration::from_secs(1));
        lag.note(second, true);
        lag.follows(second * 50);
        assert_eq!(lag.hands_over(second * 51, second, &[NodeId(2)]), None);
        assert_eq!(lag.hands_over(second * 60, second, &[NodeId(2)]), Some(NodeId(2)));
    }
}
