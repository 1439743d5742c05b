//! A replica that is found damaged leaves its office and gives up its core; others' damage is answered from the log.

use std::sync::Arc;

use kontiki_raft::{Configuration, Input, LogPosition, NodeId, RoleKind};
use kontiki_transport::Frame;

use super::entries::NO_PAYLOADS;
use super::{Group, Shared};
use crate::error::EngineError;
use crate::machine::StateMachine;
use crate::mending::answer::{Question, answer};
use crate::replica::Replica;
use crate::transfer::Wanted;

/// A replica that has given up its core.
pub(crate) struct Retired<S: StateMachine> {
    pub replica: Replica<S>,
    /// The newest membership that it knew.
    pub members: Arc<Configuration>,
    /// The membership at what its machine holds.
    pub applied_members: Arc<Configuration>,
}

impl<S: StateMachine> Group<S> {
    /// Gives up office and core. Everything that waits for the core is told so, or waits for the next one.
    pub fn retire(mut self, shared: &mut Shared) -> Result<Retired<S>, EngineError> {
        if self.node.role() == RoleKind::Leader {
            // The others elect at once. Damage that is met on the way is what this is about.
            match self.step(shared, Input::Paused, NO_PAYLOADS) {
                Err(error) if error.damage().is_none() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.end_change_on_damage();
        let (batches, next_read) = self.reads.end_all();
        batches.into_iter().for_each(|id| self.machine.reads_again(id));
        let mut replica = Replica {
            id: self.id,
            birth: self.birth,
            machine: self.machine,
            applied: self.applied,
            parked: self.parked,
            next_read,
            checkpointing: self.checkpointing,
            abandoned: self.abandoned,
            replay_bytes: self.replay_bytes,
        };
        replica.show_no_leader(shared, self.node.term())?;
        let members = Arc::clone(self.node.configuration());
        let applied_members = Arc::clone(self.node.configuration_at(replica.applied.index));
        Ok(Retired { replica, members, applied_members })
    }

    /// The log has lost entries. True where the durable state holds all of them, so that nobody here needs them: the log then
    /// gives them up, and what is before them.
    pub fn does_without(&mut self, shared: &mut Shared) -> Result<bool, EngineError> {
        let saved = self.machine.checkpointed().position.index;
        let Some(cut) = shared.log.gaps(self.id).last().map(|gap| gap.last) else { return Ok(true) };
        let Some(term) = self.node.term_at(cut).filter(|_| cut <= saved) else { return Ok(false) };
        shared.log.compact(self.id, LogPosition { term, index: cut });
        self.step(shared, Input::Compacted(cut), NO_PAYLOADS)?;
        Ok(true)
    }

    /// A damaged member asks for entries, or for a snapshot.
    pub fn asked(&mut self, shared: &mut Shared, from: NodeId, question: &Question) -> Result<(), EngineError> {
        let bytes_max = shared.settings.repair_bytes_max;
        let (held, payloads) = answer(&shared.log, self.id, self.node.commit_index(), false, question, bytes_max)?;
        shared.send(from, Frame::Repaired { group: self.id, held, payloads });
        if question.state && question.first <= self.node.commit_index() && !self.sending.contains_key(&from) {
            self.wanted.retain(|wanted| wanted.to != from);
            self.wanted.push(Wanted { to: from, at_least: question.first });
            self.send_wanted(shared)?;
        }
        Ok(())
    }

    /// A checkpoint met damage and is over. Whether it was one that means nothing any more.
    pub fn forget_abandoned(&mut self) -> bool {
        let abandoned = self.abandoned > 0;
        self.abandoned -= u32::from(abandoned);
        if !abandoned {
            self.checkpointing = None;
        }
        abandoned
    }

    /// The membership in force.
    pub fn members(&self) -> &Arc<Configuration> {
        self.node.configuration()
    }

    /// Where the first life of this replica began.
    pub fn first_members(&self) -> &Arc<Configuration> {
        &self.birth.configuration
    }
}
