//! Changes of a group's membership: who asked for one is told what came of it.

use std::sync::Arc;

use kontiki_raft::{Configuration, Exclusion, Index, Input, MemberChange};

use super::entries::NO_PAYLOADS;
use super::{Group, Shared};
use crate::error::EngineError;
use crate::machine::{ChangeOutcome, StateMachine};

/// A change that is under way. A group has one at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    /// Who asked, in its own words.
    id: u64,
    /// Where the first configuration that has it stands in the log.
    at: Index,
}

impl<S: StateMachine> Group<S> {
    /// Changes the membership, if this replica leads and nothing speaks against it.
    pub fn change_membership(
        &mut self,
        shared: &mut Shared,
        id: u64,
        changes: Vec<MemberChange>,
    ) -> Result<(), EngineError> {
        self.step(shared, Input::ChangeMembership(changes), NO_PAYLOADS)?;
        if let Some(refusal) = self.change_refusal.take() {
            self.machine.membership_answered(id, ChangeOutcome::Refused(refusal));
            return Ok(());
        }
        // The core takes one only where the one before is finished; that it is, may not have been applied here yet.
        self.end_change(ChangeOutcome::Done);
        self.change = Some(Change { id, at: self.node.last_index() });
        Ok(())
    }

    /// A configuration is committed and applied. A change ends with the first one that has it and is not joint, whichever
    /// leader made it.
    pub(super) fn settle_change(&mut self, at: Index, configuration: &Arc<Configuration>) {
        if !configuration.is_joint() && self.change.is_some_and(|change| change.at <= at) {
            self.end_change(ChangeOutcome::Done);
        }
    }

    /// This replica leads no more. A change that is committed will be finished by any leader; of one that is not, nobody
    /// here can tell.
    pub(super) fn leave_change(&mut self) {
        if self.change.is_some_and(|change| change.at > self.node.commit_index()) {
            self.end_change(ChangeOutcome::Unknown);
        }
    }

    /// This replica is told that it is no member. If that is what a committed change wanted, it is done.
    pub(super) fn exclude(&mut self, exclusion: Exclusion) {
        let wanted = matches!(exclusion, Exclusion::Removed { .. });
        self.end_change(if wanted { ChangeOutcome::Done } else { ChangeOutcome::Unknown });
        self.machine.excluded(exclusion);
    }

    /// This replica is damaged: what becomes of a change it does not see.
    pub(super) fn end_change_on_damage(&mut self) {
        self.end_change(ChangeOutcome::Unknown);
    }

    fn end_change(&mut self, outcome: ChangeOutcome) {
        if let Some(change) = self.change.take() {
            self.machine.membership_answered(change.id, outcome);
        }
    }
}
