//! Reads by lease (dissertation §6.4.1, Figure 6.3): a promise of the followers in place of a round of heartbeats.
//!
//! Off unless the group's configuration says otherwise, because it rests on clocks. The promise: whoever hears a leader
//! votes for nobody else for a while, also across its own restart (bug R08), and whatever its connections do. The
//! leader's side: a quorum has answered a heartbeat, so until that while has passed since the heartbeat *was sent*, less
//! what clocks may differ, nobody else can have been elected (bug R09). The lease is judged at the moment of the read,
//! never by a flag (bug R10).
//!
//! It ends at once where its ground is gone: with leadership, with a handover, whose vote sets the promise aside (bug
//! R12), and with a pause, because nobody knows how long it was.

use std::collections::VecDeque;

use crate::node::Node;
use crate::quorum;
use crate::role::{Leader, Role};

/// When recent heartbeat rounds were sent. Empty where the group has no lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rounds {
    /// The first round of `sent`; rounds follow each other without a gap.
    first: u64,
    /// The leader's clock when each was sent.
    sent: VecDeque<u64>,
    /// A handover was told: its target may be elected at any time in this term.
    void: bool,
}

impl Rounds {
    /// Rounds remembered: an answer to an older one has come too late to be of use.
    const KEPT: usize = 64;

    pub(crate) fn note(&mut self, round: u64, clock: u64) {
        if self.sent.is_empty() {
            self.first = round;
        }
        if self.sent.len() == Rounds::KEPT {
            self.sent.pop_front();
            self.first += 1;
        }
        self.sent.push_back(clock);
        assert_eq!(self.first + self.sent.len() as u64, round + 1, "rounds follow each other");
    }

    pub(crate) fn sent_at(&self, round: u64) -> Option<u64> {
        let place = usize::try_from(round.checked_sub(self.first)?).ok()?;
        self.sent.get(place).copied()
    }

    pub(crate) fn forget(&mut self) {
        self.sent.clear();
    }

    pub(crate) fn make_void(&mut self) {
        self.void = true;
    }
}

impl Leader {
    /// Nothing that followers have promised so far counts any more.
    pub(crate) fn forget_promises(&mut self) {
        self.rounds.forget();
        for peer in &mut self.peers {
            peer.promised_since = None;
        }
    }
}

impl Node {
    /// For how long this replica promises its leader to elect nobody else, in ticks.
    pub(crate) fn promise_ticks(&self) -> u32 {
        self.membership.current().lease.map_or(0, |lease| lease.ticks)
    }

    /// Whether nobody else can lead now, by the promises of a quorum.
    pub(crate) fn holds_lease(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let configuration = self.membership.current();
        let Some(lease) = configuration.lease else { return false };
        // What is not committed may be taken back without this leader's knowledge.
        let agreed = self.membership.index() <= self.commit_index && leader.committed_in_own_term;
        if !agreed || leader.rounds.void || leader.transfer.is_some() {
            return false;
        }
        let now = leader.clock;
        // One more than the time, so that zero says "never".
        let since = quorum::reached(configuration, |voter| {
            if voter == self.id {
                return now + 1;
            }
            leader.peer(voter).and_then(|peer| peer.promised_since).map_or(0, |since| since + 1)
        });
        since > 0 && now + 1 - since <= lease.usable_ticks()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_remembered_for_a_while() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.sent_at(1), None);
        for round in 5..5 + 2 * Rounds::KEPT as u64 {
            rounds.note(round, 10 * round);
        }
        assert_eq!(rounds.sent_at(5), None);
        assert_eq!(rounds.sent_at(100), Some(1000));
        assert_eq!(rounds.sent_at(4 + 2 * Rounds::KEPT as u64), Some(10 * (4 + 2 * Rounds::KEPT as u64)));
        assert_eq!(rounds.sent_at(5 + 2 * Rounds::KEPT as u64), None);
    }
}
