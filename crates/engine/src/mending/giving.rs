//! A damaged replica whose state is whole gives it to those who have lost theirs: it may be the only one left that has any.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_raft::{GroupId, Index, LogPosition, NodeId};

use crate::error::EngineError;
use crate::group::Shared;
use crate::machine::StateMachine;
use crate::transfer::{Outcome, Outgoing};

/// The states on their way.
#[derive(Default)]
pub struct Giving {
    sending: BTreeMap<NodeId, Outgoing>,
}

impl Giving {
    /// Begins to send the last checkpoint, where it is of use and is not on its way already.
    pub fn begin<S: StateMachine>(
        &mut self,
        shared: &mut Shared,
        (group, machine): (GroupId, &mut S),
        to: NodeId,
        at_least: Index,
    ) -> Result<(), EngineError> {
        let held = machine.checkpointed();
        let of_use = held.position.index >= at_least && !held.configuration.voters.is_empty();
        if !of_use || self.sending.contains_key(&to) {
            return Ok(());
        }
        let (meta, source) = machine.snapshot()?;
        tracing::info!(group = group.0, %to, at = %meta.position, "sending a snapshot");
        self.sending.insert(to, Outgoing::new(meta, source, shared.now));
        self.send_parts(shared, group, to)
    }

    fn send_parts(&mut self, shared: &mut Shared, group: GroupId, to: NodeId) -> Result<(), EngineError> {
        let transfers = self.sending.len();
        let Some(transfer) = self.sending.get_mut(&to) else { return Ok(()) };
        for frame in transfer.parts(group, shared.now, &shared.settings, transfers)? {
            shared.send(to, frame);
        }
        Ok(())
    }

    /// The receiver answered to a part.
    pub fn answered(
        &mut self,
        shared: &mut Shared,
        group: GroupId,
        from: NodeId,
        (position, sequence, accepted): (LogPosition, u64, bool),
    ) -> Result<(), EngineError> {
        let Some(transfer) = self.sending.get_mut(&from) else { return Ok(()) };
        if transfer.meta().position != position {
            return Ok(()); // answers a transfer that was given up
        }
        match transfer.acknowledge(sequence, accepted, shared.now) {
            Outcome::Goes => self.send_parts(shared, group, from),
            Outcome::Arrived | Outcome::Failed => {
                self.sending.remove(&from);
                Ok(())
            }
        }
    }

    /// Time passes: what makes no progress is given up, others go on.
    pub fn tick(&mut self, shared: &mut Shared, group: GroupId) -> Result<(), EngineError> {
        self.sending.retain(|_, transfer| !transfer.stalled(shared.now, &shared.settings));
        self.sending.values_mut().for_each(|transfer| transfer.pass_time(shared.now));
        let receivers: Vec<NodeId> = self.sending.keys().copied().collect();
        receivers.into_iter().try_for_each(|to| self.send_parts(shared, group, to))
    }

    /// A member can be reached (again).
    pub fn connected(&mut self, now: Duration, peer: NodeId) {
        if let Some(transfer) = self.sending.get_mut(&peer) {
            transfer.begin_again(now);
        }
    }

    /// The state that is being sent is damaged.
    pub fn end(&mut self) {
        self.sending.clear();
    }
}
