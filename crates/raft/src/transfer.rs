//! Handing leadership over (dissertation §3.10): proposals stop, the target catches up, then it is told to stand.

use crate::interface::Effect;
use crate::message::{Body, Message};
use crate::node::Node;
use crate::role::Role;
use crate::types::NodeId;

/// A transfer under way. It ends with the leadership or after an election timeout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) target: NodeId,
    /// Ticks left until the leader goes on leading.
    pub(crate) ticks_left: u32,
    /// The target was told.
    pub(crate) told: bool,
}

impl Node {
    /// Starts a transfer to `target`, or to the voter with the most complete log. Ignored by those who do not lead, and
    /// where the target is not another voter.
    pub(crate) fn on_transfer_leadership(&mut self, target: Option<NodeId>) {
        let configuration = self.membership.current();
        let Role::Leader(leader) = &mut self.role else { return };
        let fit = |id: NodeId| configuration.is_voter(id) && id != self.id && leader.peer(id).is_some();
        let target = match target {
            Some(target) => Some(target).filter(|id| fit(*id)),
            None => leader
                .peers
                .iter()
                .filter(|peer| fit(peer.id))
                .max_by_key(|peer| (peer.match_index, peer.last_contact))
                .map(|peer| peer.id),
        };
        let Some(target) = target else { return };
        if leader.transfer.is_some_and(|transfer| transfer.target == target) {
            return;
        }
        let ticks_left = self.settings.election_timeout_ticks;
        leader.transfer = Some(Transfer { target, ticks_left, told: false });
        leader.has_news = true;
    }

    /// Tells the target to stand once it holds the whole log durably (bugs T01, T05).
    pub(crate) fn hand_over_if_ready(&mut self, effects: &mut Vec<Effect>) {
        let last = self.log.last_index();
        let term = self.current_term;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = leader.transfer else { return };
        let caught_up = leader.peer(transfer.target).is_some_and(|peer| peer.match_index == last);
        if caught_up && !transfer.told {
            leader.transfer = Some(Transfer { told: true, ..transfer });
            effects.push(Effect::Send { to: transfer.target, message: Message { term, body: Body::TimeoutNow } });
        }
    }
}
