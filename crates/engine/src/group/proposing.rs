//! Proposals: appended here, forwarded to the leader, parked until there is one, or refused. Who waits for one that is not
//! taken is told at once, wherever it is.

use bytes::Bytes;
use kontiki_raft::planted::planted;
use kontiki_raft::{Input, NodeId, Refusal, RoleKind};
use kontiki_transport::Frame;

use super::entries::Payloads;
use super::{Group, Shared};
use crate::entry::{self, Payload};
use crate::error::EngineError;
use crate::machine::StateMachine;
use crate::proposals::{NotTaken, Proposals, refuse};

/// Bytes of proposals in one frame to the leader, about.
const FORWARD_BYTES: usize = 1 << 20;

impl<S: StateMachine> Group<S> {
    /// Proposes entries: here where this replica leads, else through the leader, unless that is who sent them here, else
    /// once there is one.
    pub fn propose(
        &mut self,
        shared: &mut Shared,
        proposals: Proposals,
        not_to: Option<NodeId>,
    ) -> Result<(), EngineError> {
        if self.node.role() != RoleKind::Leader {
            match self.reachable_leader(shared).filter(|leader| Some(*leader) != not_to) {
                Some(leader) => self.forward(shared, leader, proposals),
                None => self.park(shared, proposals),
            }
            return Ok(());
        }
        let proposals = self.refuse_what_takes_space(shared, proposals);
        if proposals.is_empty() {
            return Ok(());
        }
        let input = Input::Propose { count: proposals.payloads().len() as u64, bytes: proposals.bytes() };
        self.step(shared, input, Payloads::proposed(proposals.payloads()))?;
        match self.refusal.take() {
            None => {}
            Some(Refusal::TooMuchUncommitted) => self.refuse(shared, proposals, NotTaken::TooMuch),
            Some(Refusal::Transferring | Refusal::NotLeader(_)) => self.park(shared, proposals),
        }
        Ok(())
    }

    /// Proposes what the state machine itself decided as the leader: its office is what entitles it, so that another leader
    /// must decide for itself (bug G05). Dropped where this replica does not lead or hands over.
    pub(super) fn propose_own(&mut self, shared: &mut Shared, payloads: Vec<Bytes>) -> Result<(), EngineError> {
        if planted(44) && !payloads.is_empty() {
            let mut proposals = Proposals::default();
            payloads.into_iter().for_each(|payload| proposals.push(None, payload));
            return self.propose(shared, proposals, None);
        }
        if payloads.is_empty() {
            return Ok(());
        }
        if self.node.role() != RoleKind::Leader || shared.room.is_exhausted() {
            self.machine.dropped();
            return Ok(());
        }
        let bytes = payloads.iter().map(|payload| payload.len() as u64).sum();
        let input = Input::Propose { count: payloads.len() as u64, bytes };
        self.step(shared, input, Payloads::proposed(&payloads))?;
        if let Some(refusal) = self.refusal.take() {
            tracing::debug!(group = self.id.0, ?refusal, "dropped proposals of the state machine");
            self.machine.dropped();
        }
        Ok(())
    }

    /// Sends proposals to the leader, in frames of a bounded size.
    fn forward(&self, shared: &mut Shared, leader: NodeId, proposals: Proposals) {
        let (mut part, mut bytes) = (Vec::new(), 0);
        for (_, payload) in proposals {
            if bytes > FORWARD_BYTES {
                let payloads = std::mem::take(&mut part);
                shared.send(leader, Frame::Forward { group: self.id, payloads });
                bytes = 0;
            }
            bytes += payload.len();
            part.push(payload);
        }
        if !part.is_empty() {
            shared.send(leader, Frame::Forward { group: self.id, payloads: part });
        }
    }

    /// Whether a payload that another member forwards is a command that every member can apply. What once stands in the log
    /// and cannot be applied would stop them all.
    pub fn accepts(&self, payload: &Bytes) -> bool {
        matches!(entry::decode(payload), Ok(Payload::Command(command)) if self.machine.accepts(&command))
    }

    fn park(&mut self, shared: &mut Shared, proposals: Proposals) {
        let refused = self.parked.keep(shared, proposals);
        self.refuse(shared, refused, NotTaken::TooMuch);
    }

    fn refuse(&mut self, shared: &mut Shared, proposals: Proposals, why: NotTaken) {
        refuse(&mut self.machine, self.id, shared, proposals, why);
    }

    /// While a disk of this leader is full it takes only what does not make the store larger; with nearly nothing left,
    /// nothing.
    fn refuse_what_takes_space(&mut self, shared: &mut Shared, mut proposals: Proposals) -> Proposals {
        if self.is_low_on_space(shared) {
            let all = shared.room.is_exhausted();
            let machine = &self.machine;
            let takes_space = |payload: &Bytes| match entry::decode(payload) {
                Ok(Payload::Command(command)) => machine.takes_space(&command),
                Ok(Payload::Blank | Payload::Configuration(_)) | Err(_) => false,
            };
            let refused = proposals.split_off(|payload| all || takes_space(payload));
            self.refuse(shared, refused, NotTaken::NoSpace);
        }
        proposals
    }

    pub(super) fn is_low_on_space(&self, shared: &Shared) -> bool {
        shared.room.is_low() || self.machine.is_low_on_space()
    }

    /// The leader did not take proposals that this replica forwarded.
    pub fn refused(&mut self, reason: u8, heads: Vec<Bytes>) {
        heads.into_iter().for_each(|head| self.machine.refused(head, NotTaken::of_code(reason)));
    }
}
