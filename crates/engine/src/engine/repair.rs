//! The engine's part in mending: which replicas are damaged, what reaches them meanwhile, and the scrub that looks for damage.

use std::time::Duration;

use bytes::Bytes;
use kontiki_raft::{ChangeRefusal, GroupId, NodeId, Ticket};
use kontiki_transport::Frame;

use super::Engine;
use crate::error::{Damage, EngineError};
use crate::group::{Group, Retired};
use crate::machine::{ChangeOutcome, MachineError, StateMachine};
use crate::mending::answer::Question;
use crate::mending::{Mending, Next};
use crate::outbox::{Outbox, Scrubbed};
use crate::proposals::NotTaken;
use crate::transfer::PartDone;

impl<S: StateMachine> Engine<S> {
    /// A replica is damaged: it leaves its office, gives up its core, and is mended.
    pub(super) fn falls_ill(&mut self, id: GroupId, damage: Damage) -> Result<(), EngineError> {
        let Some(group) = self.groups.remove(&id) else { return Ok(()) };
        tracing::warn!(group = id.0, ?damage, "a replica is damaged and takes no part in its group until it is mended");
        let first_members = group.first_members().clone();
        let Retired { mut replica, members, mut applied_members } = group.retire(&mut self.shared)?;
        match damage {
            Damage::Entries(first, last) => self.shared.log.lose(id, first, last),
            Damage::State => {
                replica.lose_state()?;
                applied_members = first_members;
            }
        }
        self.mending.insert(id, Mending::new(replica, members, applied_members, false, &self.shared));
        Ok(())
    }

    /// Does what can be done for damaged replicas; those that are whole get their cores.
    pub(super) fn tend(&mut self, outbox: &mut dyn Outbox<S>) -> Result<(), EngineError> {
        let ids: Vec<GroupId> = self.mending.keys().copied().collect();
        for id in ids {
            let Some(mending) = self.mending.get_mut(&id) else { continue };
            match mending.tend(&mut self.shared)? {
                Next::Wait => {}
                Next::Checkpoint(job) => outbox.checkpoint(id, job),
                Next::Whole => self.recovers(id)?,
            }
        }
        Ok(())
    }

    /// Something that the disk was given for a damaged replica is durable.
    pub(super) fn persisted(&mut self, id: GroupId, ticket: Ticket) -> Result<(), EngineError> {
        let whole = self
            .mending
            .get_mut(&id)
            .is_some_and(|mending| matches!(mending.persisted(&self.shared.log, ticket), Next::Whole));
        if whole { self.recovers(id) } else { Ok(()) }
    }

    /// A replica is whole: it gets its core, and takes part in its group again.
    fn recovers(&mut self, id: GroupId) -> Result<(), EngineError> {
        let Some(mending) = self.mending.remove(&id) else { return Ok(()) };
        let (members, applied_members) = mending.memberships();
        let (replica, mend) = mending.end(self.shared.now);
        if let Err(damage) = self.give_birth(replica)? {
            let (mut replica, damage) = *damage;
            tracing::warn!(group = id.0, ?damage, "a replica that was mended is damaged again");
            if damage == Damage::State {
                replica.lose_state()?;
            }
            self.mending.insert(id, Mending::new(replica, members, applied_members, false, &self.shared));
            return Ok(());
        }
        tracing::info!(group = id.0, %mend, "a damaged replica is whole again");
        self.with(id, |group, _| {
            group.machine_mut().mended(mend);
            group.want_read();
            Ok(())
        })
    }

    /// What members say to a replica that has no core. All but what mends is dropped, or answered as by one that has no leader.
    pub(super) fn receive_mending(&mut self, from: NodeId, frame: Frame) -> Result<(), EngineError> {
        let id = frame.group();
        let Some(mending) = self.mending.get_mut(&id) else { return Ok(()) };
        let shared = &mut self.shared;
        let done = match frame {
            Frame::Repair { first, last, bytes_max, state, .. } => {
                mending.asked(shared, from, &Question { first, last, bytes_max, state })
            }
            Frame::Repaired { held, payloads, .. } => {
                mending.answered(shared, from, held, payloads);
                Ok(())
            }
            Frame::SnapshotChunk { meta, sequence, last, rows, .. } => {
                mending.snapshot_part(shared, from, &meta, (sequence, last), &rows)
            }
            Frame::Call { id: question, .. } => {
                shared.send(from, Frame::Answer { group: id, id: question, body: Bytes::new() });
                Ok(())
            }
            Frame::Answer { id: question, body, .. } => {
                mending.replica.machine.answered(question, (!body.is_empty()).then_some(body));
                Ok(())
            }
            Frame::Raft { .. } | Frame::Forward { .. } => {
                mending.heard(from);
                Ok(())
            }
            Frame::Refused { reason, payloads, .. } => {
                let machine = &mut mending.replica.machine;
                payloads.into_iter().for_each(|head| machine.refused(head, NotTaken::of_code(reason)));
                Ok(())
            }
            Frame::SnapshotAck { position, sequence, accepted, .. } => {
                mending.snapshot_answer(shared, from, (position, sequence, accepted))
            }
        };
        self.or_damaged_further(id, done)
    }

    /// Time passes for damaged replicas.
    pub(super) fn tick_mending(&mut self) -> Result<(), EngineError> {
        let ids: Vec<GroupId> = self.mending.keys().copied().collect();
        for id in ids {
            let Some(mending) = self.mending.get_mut(&id) else { continue };
            let done = mending.tick(&mut self.shared);
            self.or_damaged_further(id, done)?;
        }
        Ok(())
    }

    /// A part of a snapshot was written.
    pub(super) fn part_written(&mut self, id: GroupId, done: PartDone) -> Result<(), EngineError> {
        let Some(mending) = self.mending.get_mut(&id) else {
            return self.with(id, |group, shared| group.part_done(shared, done));
        };
        let done = mending.part_done(&mut self.shared, done);
        self.or_damaged_further(id, done)
    }

    /// What was done for a replica that is being mended may have met damage.
    fn or_damaged_further(&mut self, id: GroupId, done: Result<(), EngineError>) -> Result<(), EngineError> {
        match done {
            Err(error) => {
                let damage = error.damage().ok_or(error)?;
                self.is_damaged_further(id, damage)
            }
            Ok(()) => Ok(()),
        }
    }

    /// A replica that is being mended has more damage than was known.
    fn is_damaged_further(&mut self, id: GroupId, damage: Damage) -> Result<(), EngineError> {
        let Some(mending) = self.mending.get_mut(&id) else { return Ok(()) };
        match damage {
            Damage::Entries(first, last) => self.shared.log.lose(id, first, last),
            Damage::State => mending.lose_state()?,
        }
        Ok(())
    }

    /// Damage was found by somebody else than the replica itself.
    fn is_damaged(&mut self, id: GroupId, damage: Damage) -> Result<(), EngineError> {
        if self.mending.contains_key(&id) { self.is_damaged_further(id, damage) } else { self.falls_ill(id, damage) }
    }

    /// A reader met damage in the state. Several may, and late ones of a state that is gone already.
    pub(super) fn state_is_damaged(&mut self, id: GroupId) -> Result<(), EngineError> {
        if self.machine(id).is_none_or(StateMachine::awaits_state) {
            return Ok(());
        }
        self.is_damaged(id, Damage::State)
    }

    /// A checkpoint ended, or met damage.
    pub(super) fn checkpoint_done(
        &mut self,
        id: GroupId,
        done: Result<S::CheckpointDone, MachineError>,
    ) -> Result<(), EngineError> {
        match done {
            Ok(done) => match self.mending.get_mut(&id) {
                None => self.with(id, |group, shared| group.finish_checkpoint(shared, done)),
                Some(mending) => match mending.finish_checkpoint(done) {
                    Err(error) => self.is_damaged_further(id, error.damage().ok_or(error)?),
                    Ok(()) => Ok(()),
                },
            },
            Err(error) if !error.damaged => Err(error.into()),
            Err(error) => {
                let abandoned = match self.mending.get_mut(&id) {
                    Some(mending) => mending.replica.forget_abandoned(),
                    None => self.groups.get_mut(&id).is_some_and(Group::forget_abandoned),
                };
                if abandoned {
                    return Ok(()); // of a state that is gone
                }
                tracing::warn!(group = id.0, %error, "a checkpoint met damage");
                self.is_damaged(id, Damage::State)
            }
        }
    }

    /// Answers a question to the leader for which there is none.
    pub(super) fn answer_none(&mut self, id: GroupId, question: u64) {
        if let Some(machine) = self.machine_mut(id) {
            machine.answered(question, None);
        }
    }

    /// Refuses a change of membership, which only a leader can make.
    pub(super) fn refuse_change(&mut self, id: GroupId, change: u64) {
        if let Some(machine) = self.machine_mut(id) {
            machine.membership_answered(change, ChangeOutcome::Refused(ChangeRefusal::NotLeader(None)));
        }
    }

    /// Gives out the next part of the scrub when it is due.
    pub(super) fn scrub(&mut self, outbox: &mut dyn Outbox<S>) {
        let (settings, now) = (self.shared.settings, self.shared.now);
        if !self.scrubbing.is_due(now, &settings) {
            return;
        }
        let groups = &mut self.groups;
        let state = |after: Option<GroupId>| {
            let behind = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
            let mut machines = groups.range_mut((behind, std::ops::Bound::Unbounded));
            machines.find_map(|(id, group)| Some((*id, group.machine_mut().scrub_job()?)))
        };
        if let Some(job) = self.scrubbing.next(now, &mut self.shared.log, settings.scrub_bytes, state) {
            outbox.scrub(job);
        }
    }

    /// A part of the scrub ended.
    pub(super) fn scrubbed(&mut self, done: Scrubbed, took: Duration) -> Result<(), EngineError> {
        let total = self.shared.log.disk_bytes();
        self.scrubbing.ended(self.shared.now, &self.shared.settings, &done, took, total);
        match done {
            Scrubbed::Log(done) => {
                for (id, gap) in self.shared.log.finish_scrub(done) {
                    tracing::warn!(group = id.0, first = %gap.first, last = %gap.last, "the scrub found lost entries");
                    if self.call(id, Group::does_without)? == Some(true) {
                        continue;
                    }
                    self.is_damaged(id, Damage::Entries(gap.first, gap.last))?;
                }
                Ok(())
            }
            Scrubbed::State(_, Ok(_)) => Ok(()),
            Scrubbed::State(id, Err(error)) if error.damaged => {
                tracing::warn!(group = id.0, %error, "the scrub found a damaged state");
                self.state_is_damaged(id)
            }
            Scrubbed::State(_, Err(error)) => Err(error.into()),
        }
    }
}
