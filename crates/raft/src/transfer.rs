//! Handing leadership over (dissertation §3.10): proposals stop, the target catches up, then it is told to stand.
//!
//! It cannot stall: it ends with the leadership, when the target's connection breaks, and at the latest after an election
//! timeout, when the leader goes on. A leader that is no voter any more (§4.2.2) hands over in the same way, and resigns
//! once the target is told.

use crate::decision::{Decision, StepDown};
use crate::interface::Effect;
use crate::message::Body;
use crate::node::Node;
use crate::planted::planted;
use crate::role::Role;
use crate::types::NodeId;

/// A transfer under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transfer {
    pub(crate) target: NodeId,
    /// Ticks left until the leader goes on leading.
    pub(crate) ticks_left: u32,
    /// The target was told.
    pub(crate) told: bool,
}

impl Node {
    /// Starts a transfer to `target`, or to the fittest voter. Ignored by those who do not lead, and where the target is
    /// not another voter.
    pub(crate) fn on_transfer_leadership(&mut self, target: Option<NodeId>) {
        let configuration = self.membership.current();
        let Role::Leader(leader) = &mut self.role else { return };
        let fit = |id: NodeId| configuration.voters.contains(&id) && id != self.id && leader.peer(id).is_some();
        let target = match target {
            Some(target) => Some(target).filter(|id| fit(*id)),
            None => leader
                .peers
                .iter()
                .filter(|peer| fit(peer.id))
                .max_by_key(|peer| (peer.match_index, configuration.attributes(peer.id).priority, peer.last_contact))
                .map(|peer| peer.id),
        };
        let Some(to) = target else { return };
        if leader.transfer.is_some_and(|transfer| transfer.target == to) {
            return;
        }
        let ticks_left = self.settings.election_timeout_ticks;
        leader.transfer = Some(Transfer { target: to, ticks_left, told: false });
        leader.has_news = true;
        self.decide(|| Decision::HandsOver { to, told: false });
    }

    /// Whether leadership is being handed over.
    #[must_use]
    pub fn hands_over(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.transfer.is_some())
    }

    /// Tells the target to stand once it holds the whole log durably (bugs T01, T05).
    pub(crate) fn hand_over_if_ready(&mut self, effects: &mut Vec<Effect>) {
        let last = self.log.last_index();
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = leader.transfer else { return };
        let to = transfer.target;
        let caught_up = leader.peer(to).is_some_and(|peer| peer.match_index == last);
        if !(caught_up || planted(11)) || transfer.told {
            return;
        }
        leader.transfer = Some(Transfer { told: true, ..transfer });
        leader.rounds.make_void(); // its election will not wait for promises (bug R12)
        self.decide(|| Decision::HandsOver { to, told: true });
        self.send(to, Body::TimeoutNow, effects);
        if !self.membership.current().is_voter(self.id) {
            self.resign(StepDown::NoVoter, effects);
        }
    }

    /// Time passes for a transfer.
    pub(crate) fn pass_transfer_time(&mut self, effects: &mut Vec<Effect>) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        transfer.ticks_left = transfer.ticks_left.saturating_sub(1);
        if transfer.ticks_left == 0 {
            self.abort_transfer(effects);
        }
    }

    /// The target will not take over, as far as this leader can tell.
    pub(crate) fn abort_transfer(&mut self, effects: &mut Vec<Effect>) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = leader.transfer.take() else { return };
        leader.has_news = true;
        self.decide(|| Decision::HandoverFailed { to: transfer.target });
        if self.is_voted_out() {
            self.resign(StepDown::NoVoter, effects);
        }
    }

    /// Leadership goes where priority wants it: to a voter of greater priority that has the whole log, once nothing else
    /// is going on, and no more often than every few election timeouts.
    pub(crate) fn hand_over_by_priority(&mut self) {
        let configuration = self.membership.current();
        let own = configuration.attributes(self.id).priority;
        let last = self.log.last_index();
        let timeout = u64::from(self.settings.election_timeout_ticks);
        let Role::Leader(leader) = &mut self.role else { return };
        let now = leader.clock;
        let rested = now >= leader.handover_at + HANDOVER_REST * timeout;
        if !rested || leader.transfer.is_some() || !leader.committed_in_own_term || !configuration.is_voter(self.id) {
            return;
        }
        let fit = leader.peers.iter().filter(|peer| {
            configuration.voters.contains(&peer.id) && peer.match_index == last && now - peer.last_contact < timeout
        });
        let Some(best) = fit.map(|peer| (configuration.attributes(peer.id).priority, peer.id)).max() else { return };
        if best.0 > own {
            leader.handover_at = now;
            self.on_transfer_leadership(Some(best.1));
        }
    }
}

/// Election timeouts between two handovers by priority, the first of them after the election.
const HANDOVER_REST: u64 = 3;
