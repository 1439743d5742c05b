//! How long a replica waits for a leader before it looks for another one (dissertation §3.4, §9.3).
//!
//! Each wait is one election timeout and a part drawn anew. Nothing is drawn below one: who has heard a leader within an
//! election timeout elects nobody else, and a leader that no quorum answers for one steps down.
//!
//! The drawn part is there so that votes are not split, and every tick of it is a tick without a leader. Who asks before it
//! stands splits hardly any: of two who ask at once, one steps back. So a quarter of an election timeout will do (design
//! decision 29). It is a whole one without pre-vote, and for a candidate: its wait tells that its vote was split all the
//! same.

use crate::interface::{RoleKind, Settings};
use crate::random::Random;
use crate::types::NodeId;

/// When a replica stops waiting for a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ElectionTimer {
    /// Ticks since a leader was heard, a vote given, or a candidacy begun.
    pub(crate) elapsed: u32,
    /// At so many of them a candidacy begins.
    pub(crate) timeout: u32,
    pub(crate) random: Random,
}

impl ElectionTimer {
    /// The timer of a follower that has just started.
    pub(crate) fn new(settings: &Settings, seed: u64, id: NodeId) -> ElectionTimer {
        let mut timer = ElectionTimer { elapsed: 0, timeout: 0, random: Random::new(seed, id.0) };
        timer.timeout = timer.draw(settings, RoleKind::Follower);
        timer
    }

    /// A wait for who has this role.
    pub(crate) fn draw(&mut self, settings: &Settings, role: RoleKind) -> u32 {
        let base = settings.election_timeout_ticks.max(1);
        let asks_first = settings.pre_vote && role != RoleKind::Candidate;
        let spread = if asks_first { base.div_ceil(4) } else { base };
        base.saturating_add(self.random.below(spread))
    }

    /// Leaves time to those who should stand first.
    pub(crate) fn wait_longer(&mut self, ticks: u32) {
        self.timeout = self.timeout.saturating_add(ticks);
    }

    pub(crate) fn ticks_left(&self) -> u32 {
        self.timeout.saturating_sub(self.elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shortest and the longest of many draws.
    fn range(election_timeout_ticks: u32, pre_vote: bool, role: RoleKind) -> (u32, u32) {
        let settings = Settings { election_timeout_ticks, pre_vote, ..Settings::default() };
        let mut timer = ElectionTimer::new(&settings, 7, NodeId(1));
        let mut draws: Vec<u32> = (0..2000).map(|_| timer.draw(&settings, role)).collect();
        draws.push(timer.timeout);
        (draws.iter().copied().fold(u32::MAX, u32::min), draws.into_iter().fold(0, u32::max))
    }

    #[test]
    fn no_wait_is_shorter_than_an_election_timeout() {
        assert_eq!(range(100, true, RoleKind::Follower), (100, 124));
        assert_eq!(range(100, true, RoleKind::PreCandidate), (100, 124));
        assert_eq!(range(10, true, RoleKind::Follower), (10, 12));
        assert_eq!(range(1, true, RoleKind::Follower), (1, 1));
        assert_eq!(range(0, true, RoleKind::Follower), (1, 1), "never zero");
    }

    #[test]
    fn who_does_not_ask_first_draws_from_a_wide_range() {
        assert_eq!(range(100, true, RoleKind::Candidate), (100, 199), "after a split vote");
        assert_eq!(range(100, false, RoleKind::Follower), (100, 199), "without pre-vote");
    }

    #[test]
    fn one_of_two_followers_stands_within_one_and_a_quarter_election_timeouts() {
        let settings = Settings { election_timeout_ticks: 100, ..Settings::default() };
        let mut timers = [1, 2].map(|id| ElectionTimer::new(&settings, 7, NodeId(id)));
        let mut first: Vec<u32> = (0..10_000)
            .map(|_| {
                timers.each_mut().map(|timer| timer.draw(&settings, RoleKind::Follower)).into_iter().fold(200, u32::min)
            })
            .collect();
        first.sort_unstable();
        assert!(first[5_000] <= 108 && first[9_900] <= 123, "median {}, 99th {}", first[5_000], first[9_900]);
    }
}
