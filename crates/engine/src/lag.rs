//! A member that is in no state to lead, though its log's disk answers: for how long, and what a leader does about it.
//!
//! While a checkpoint cannot be written and too much waits to be saved, nothing is applied: such a leader commits, but answers
//! no read and ends no lease. While its disk is full it takes nothing that needs space. Another member may be better off: the
//! office is handed over, which costs little where that is not so, because a member in the same state does not take it. It is
//! never given up.

use std::time::Duration;

/// Handing over is tried again after so many election timeouts.
const AGAIN: u32 = 10;

/// Since when the member has been unfit to lead.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    since: Option<Duration>,
    tried: Option<Duration>,
}

impl Lag {
    /// Whether it is unfit now.
    pub fn note(&mut self, now: Duration, unfit: bool) {
        if unfit {
            self.since.get_or_insert(now);
        } else {
            *self = Lag::default();
        }
    }

    /// Whether that has been so for an election timeout.
    pub fn is_long(&self, now: Duration, election_timeout: Duration) -> bool {
        self.since.is_some_and(|since| now.saturating_sub(since) >= election_timeout)
    }

    /// Whether a leader is to hand over now.
    pub fn hands_over(&mut self, now: Duration, election_timeout: Duration) -> bool {
        let again = self.tried.is_none_or(|tried| now.saturating_sub(tried) >= AGAIN * election_timeout);
        let hands_over = again && self.is_long(now, election_timeout);
        if hands_over {
            self.tried = Some(now);
        }
        hands_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_hands_over_after_an_election_timeout_and_again_later() {
        let (mut lag, second) = (Lag::default(), Duration::from_secs(1));
        assert!(!lag.hands_over(second, second));
        lag.note(second, true);
        lag.note(second + second / 2, true);
        assert!(!lag.hands_over(second + second / 2, second));
        assert!(lag.hands_over(second * 2, second));
        assert!(!lag.hands_over(second * 3, second));
        assert!(lag.hands_over(second * 12, second));
        lag.note(second * 13, false);
        assert!(!lag.is_long(second * 19, second) && !lag.hands_over(second * 30, second));
    }
}
