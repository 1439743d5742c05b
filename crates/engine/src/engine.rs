//! The engine: all groups of a process, one log, one turn at a time.
//!
//! A turn takes what happened (messages, proposals, finished writes, passed time), steps the groups concerned, and gives
//! out work in the order in which it should begin: the log's next write first, then messages, so that the leader's disk
//! and the network work at the same time (dissertation §10.2.1); then committed entries are applied while both are
//! busy; then checkpoints. The engine owns no thread, socket or clock: [`crate::Runtime`] calls it, and so does a test
//! that keeps a whole cluster in one thread.

mod birth;
mod repair;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_log::{Log, LogError, ReserveDone, WriteDone};
use kontiki_raft::{Configuration, Decision, GroupId, Incarnation, Input, MemberChange, Node, NodeId};
use kontiki_transport::{Frame, Received};

use crate::error::EngineError;
use crate::group::{Group, Shared};
use crate::machine::{MachineError, StateMachine};
use crate::mending::Mending;
use crate::mending::answer::Question;
use crate::outbox::{Outbox, Scrubbed};
use crate::proposals::Proposals;
use crate::room::Room;
use crate::scrubbing::Scrubbing;
use crate::settings::Settings;
use crate::stall::Stall;
use crate::transfer::PartDone;

/// Segments that the log may grow behind its oldest entry before the group that holds it is made to checkpoint.
const PINNED_SEGMENTS_MAX: u64 = 4;

/// A pause of so few ticks is always made up for.
const DOUBT_TICKS_MIN: u32 = 10;

/// Something that happened.
pub enum Event<S: StateMachine> {
    /// The transport brought frames or news of a connection.
    Received(Vec<Received>),
    /// Replicate this payload; the state machine sees it when it is committed. Begins with [`crate::COMMAND`].
    Propose {
        /// The group.
        group: GroupId,
        /// The entry.
        payload: Bytes,
    },
    /// Linearizable reads were asked for; which ones, the state machine knows.
    Read(GroupId),
    /// A question that only the leader can answer.
    Call {
        /// The group.
        group: GroupId,
        /// Names the question in the answer.
        id: u64,
        /// The question.
        body: Bytes,
    },
    /// Hand leadership over, to this member or to the one that is furthest.
    Transfer(GroupId, Option<NodeId>),
    /// Change the membership, in one step. The state machine is told what came of it.
    ChangeMembership {
        /// The group.
        group: GroupId,
        /// Names the change in the answer.
        id: u64,
        /// What is to change.
        changes: Vec<MemberChange>,
    },
    /// The log's write ended.
    LogWritten(Result<WriteDone, LogError>),
    /// A part of a snapshot was written.
    PartWritten(GroupId, PartDone),
    /// The log's attempt to reserve space ended.
    LogReserved(ReserveDone),
    /// A checkpoint ended.
    CheckpointDone(GroupId, Result<S::CheckpointDone, MachineError>),
    /// Somebody who read the state of a group met damage.
    Damaged(GroupId),
    /// A part of the scrub ended, after it had a core for so long.
    Scrubbed(Scrubbed, Duration),
}

/// What a replica needs beside its state machine.
#[derive(Clone, Debug)]
pub struct GroupStart {
    /// The group.
    pub group: GroupId,
    /// Its first members; counts only where the state machine has no checkpoint yet.
    pub configuration: Arc<Configuration>,
    /// The life of this member's disk; none where lives are not told apart.
    pub incarnation: Option<Incarnation>,
    /// Chance of this life.
    pub seed: u64,
    /// A quorum is lost for good: the replica goes on alone, see [`Input::ForceNewCluster`].
    pub force_new_cluster: bool,
}

/// All groups of a process.
pub struct Engine<S: StateMachine> {
    shared: Shared,
    groups: BTreeMap<GroupId, Group<S>>,
    /// Replicas without a core, because they were found damaged. Never in both maps.
    mending: BTreeMap<GroupId, Mending<S>>,
    scrubbing: Scrubbing,
    /// Groups that this turn's events concern, or that have work left.
    touched: BTreeSet<GroupId>,
    last_tick: Duration,
}

impl<S: StateMachine> std::fmt::Debug for Engine<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("id", &self.shared.id)
            .field("groups", &self.groups.len())
            .finish_non_exhaustive()
    }
}

impl<S: StateMachine> Engine<S> {
    /// An engine without groups on an opened log.
    #[must_use]
    pub fn new(id: NodeId, log: Log, settings: Settings, now: Duration) -> Engine<S> {
        let shared = Shared {
            id,
            log,
            settings,
            raft: settings.raft.into(),
            now,
            outgoing: BTreeMap::new(),
            parts: Vec::new(),
            stall: Stall::default(),
            room: Room::default(),
        };
        Engine {
            shared,
            groups: BTreeMap::new(),
            mending: BTreeMap::new(),
            scrubbing: Scrubbing::new(now),
            touched: BTreeSet::new(),
            last_tick: now,
        }
    }

    /// The core of a group, for tests and status; none while the replica is damaged.
    #[must_use]
    pub fn node(&self, group: GroupId) -> Option<&Node> {
        self.groups.get(&group).map(Group::node)
    }

    /// What the core of a group has decided since the last call. Decisions are kept from the first call on.
    pub fn take_decisions(&mut self, group: GroupId) -> Vec<Decision> {
        self.groups.get_mut(&group).map(Group::take_decisions).unwrap_or_default()
    }

    /// The state machine of a group, for tests and status.
    #[must_use]
    pub fn machine(&self, group: GroupId) -> Option<&S> {
        let mending = || self.mending.get(&group).map(|mending| &mending.replica.machine);
        self.groups.get(&group).map(Group::machine).or_else(mending)
    }

    /// The state machine of a group.
    pub fn machine_mut(&mut self, group: GroupId) -> Option<&mut S> {
        match self.groups.get_mut(&group) {
            Some(group) => Some(group.machine_mut()),
            None => self.mending.get_mut(&group).map(|mending| &mut mending.replica.machine),
        }
    }

    /// The membership of a group as far as this replica knows it.
    #[must_use]
    pub fn membership(&self, group: GroupId) -> Option<&Arc<Configuration>> {
        let mending = || self.mending.get(&group).map(Mending::members);
        self.groups.get(&group).map(Group::members).or_else(mending)
    }

    /// Whether the replica was found damaged and takes no part in its group until it is whole.
    #[must_use]
    pub fn is_mending(&self, group: GroupId) -> bool {
        self.mending.contains_key(&group)
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Whether a write of the log has been under way for longer than an election timeout.
    #[must_use]
    pub fn disk_stalls(&self) -> bool {
        self.shared.stall.hangs()
    }

    /// Whether the log's disk is full: what takes space is refused.
    #[must_use]
    pub fn is_low_on_space(&self) -> bool {
        self.shared.room.is_low()
    }

    /// When the next turn is due even if nothing happens.
    #[must_use]
    pub fn next_tick(&self) -> Duration {
        self.last_tick + self.shared.settings.tick
    }

    /// One turn. True where work is left: the next turn should follow at once.
    ///
    /// # Errors
    /// Final: the engine must not be called again.
    pub fn turn(
        &mut self,
        now: Duration,
        events: Vec<Event<S>>,
        outbox: &mut dyn Outbox<S>,
    ) -> Result<bool, EngineError> {
        self.shared.now = now;
        self.pass_time(now)?;
        self.take(events)?;
        self.mind_disk(now)?;
        self.shared.room.observe(self.shared.log.space());
        self.tend(outbox)?;
        let touched = std::mem::take(&mut self.touched);
        for id in &touched {
            self.call(*id, Group::flush)?;
        }
        self.dispatch(outbox);
        for id in &touched {
            if self.call(*id, Group::apply)?.unwrap_or(false) {
                self.touched.insert(*id);
            }
            let Some(group) = self.groups.get_mut(id) else { continue };
            if let Some(job) = group.begin_checkpoint(now, &self.shared.settings) {
                outbox.checkpoint(*id, job);
            }
        }
        self.scrub(outbox);
        self.dispatch(outbox);
        Ok(!self.touched.is_empty())
    }

    /// Gives out the log's next write and the frames gathered so far.
    fn dispatch(&mut self, outbox: &mut dyn Outbox<S>) {
        if let Some(job) = self.shared.log.start_write() {
            self.shared.stall.begin(self.shared.now);
            outbox.write(job);
        }
        if self.shared.room.tries(self.shared.now)
            && let Some(job) = self.shared.log.start_reserve()
        {
            outbox.reserve(job);
        }
        for (group, job) in self.shared.parts.drain(..) {
            outbox.receive(group, job);
        }
        while let Some((to, frames)) = self.shared.outgoing.pop_first() {
            outbox.send(to, frames);
        }
    }

    /// Looks whether the log's write has been under way for too long.
    fn mind_disk(&mut self, now: Duration) -> Result<(), EngineError> {
        let election_timeout = self.shared.election_timeout();
        if let Some(input) = self.shared.stall.pass_time(now, election_timeout) {
            self.call_all(|group, shared| group.disk_hangs(shared, input.clone()))?;
        }
        Ok(())
    }

    fn pass_time(&mut self, now: Duration) -> Result<(), EngineError> {
        let tick = self.shared.settings.tick;
        // A pause that peers have not acted upon is made up for tick by tick: leases and timeouts go by true time. One that
        // is long enough for them to elect somebody else is not: a leader gives up its office (bug G11). A processor that
        // is short of time is no reason to, however: that would cost an election where nobody missed anything.
        let pause = now.saturating_sub(self.last_tick);
        if pause > tick * self.pause_ticks() {
            tracing::warn!(?pause, "the process stood still; its groups lose what they lead");
            self.last_tick = now - tick;
            self.call_all(|group, shared| group.input(shared, Input::Paused))?;
        } else if pause > tick * self.doubt_ticks() {
            self.call_all(Group::doubt_clock)?;
        }
        while now.saturating_sub(self.last_tick) >= tick {
            self.last_tick += tick;
            self.call_all(Group::tick)?;
            self.tick_mending()?;
            if let Some((id, segments)) = self.shared.log.pinned()
                && segments > PINNED_SEGMENTS_MAX
            {
                self.call(id, Group::release_segments)?;
            }
        }
        Ok(())
    }

    /// The longest pause that is made up for. Others elect nobody before an election timeout has passed since they heard
    /// from this member, which may have been one heartbeat before the pause; the next one takes its time to reach them.
    fn pause_ticks(&self) -> u32 {
        let raft = &self.shared.raft;
        raft.election_timeout_ticks.saturating_sub(2 * raft.heartbeat_interval_ticks).max(self.doubt_ticks())
    }

    /// A pause from which on the clock is not trusted to show all of it: half of an election timeout, and some ticks where
    /// that is very short.
    fn doubt_ticks(&self) -> u32 {
        (self.shared.raft.election_timeout_ticks / 2).max(DOUBT_TICKS_MIN)
    }

    fn take(&mut self, events: Vec<Event<S>>) -> Result<(), EngineError> {
        let mut proposals: BTreeMap<GroupId, Proposals> = BTreeMap::new();
        for event in events {
            match event {
                Event::Propose { group, payload } => proposals.entry(group).or_default().push(None, payload),
                Event::Received(received) => {
                    for news in received {
                        self.receive(news, &mut proposals)?;
                    }
                }
                Event::Read(group) => self.with(group, |group, _| {
                    group.want_read();
                    Ok(())
                })?,
                Event::Call { group, id, .. } if self.mending.contains_key(&group) => self.answer_none(group, id),
                Event::Call { group, id, body } => self.with(group, |group, shared| {
                    group.call(shared, id, body);
                    Ok(())
                })?,
                Event::Transfer(group, to) => {
                    self.with(group, |group, shared| group.input(shared, Input::TransferLeadership(to)))?;
                }
                Event::ChangeMembership { group, id, .. } if self.mending.contains_key(&group) => {
                    self.refuse_change(group, id);
                }
                Event::ChangeMembership { group, id, changes } => {
                    self.with(group, |group, shared| group.change_membership(shared, id, changes))?;
                }
                Event::LogWritten(done) => {
                    self.shared.stall.end(self.shared.now);
                    for (group, ticket) in self.shared.log.finish_write(done?) {
                        if self.mending.contains_key(&group) {
                            self.persisted(group, ticket)?;
                        } else {
                            self.with(group, |group, shared| group.persisted(shared, ticket))?;
                        }
                    }
                }
                Event::PartWritten(group, done) => self.part_written(group, done)?,
                Event::LogReserved(done) => self.shared.log.finish_reserve(done),
                Event::CheckpointDone(group, done) => self.checkpoint_done(group, done)?,
                Event::Damaged(group) => self.state_is_damaged(group)?,
                Event::Scrubbed(done, took) => self.scrubbed(done, took)?,
            }
        }
        for (group, proposals) in proposals {
            if let Some(mending) = self.mending.get_mut(&group) {
                mending.replica.park(&mut self.shared, proposals);
                continue;
            }
            self.with(group, |group, shared| group.propose(shared, proposals, None))?;
        }
        Ok(())
    }

    fn receive(&mut self, news: Received, proposals: &mut BTreeMap<GroupId, Proposals>) -> Result<(), EngineError> {
        match news {
            Received::Frame { from, frame } => self.receive_frame(from, frame, proposals),
            Received::Suspect(peer) => self.call_all(|group, shared| group.suspect(shared, peer)),
            Received::Connected(peer) => {
                self.mending.values_mut().for_each(|mending| mending.connected(&self.shared, peer));
                self.call_all(|group, shared| group.connected(shared, peer))
            }
            Received::Refused { .. } => Ok(()), // for the owner of the transport
        }
    }

    fn receive_frame(
        &mut self,
        from: NodeId,
        frame: Frame,
        proposals: &mut BTreeMap<GroupId, Proposals>,
    ) -> Result<(), EngineError> {
        if self.mending.contains_key(&frame.group()) {
            return self.receive_mending(from, frame);
        }
        match frame {
            Frame::Raft { group, message, payloads } => {
                self.with(group, |group, shared| group.receive(shared, from, message, &payloads))
            }
            Frame::Forward { group, mut payloads } => {
                // A leader takes them with this turn's own proposals, in one step; another passes them on.
                let leads = self.node(group).is_some_and(|node| node.leader() == Some(self.shared.id));
                self.with(group, |group, shared| {
                    let before = payloads.len();
                    payloads.retain(|payload| group.accepts(payload));
                    if payloads.len() < before {
                        let dropped = before - payloads.len();
                        tracing::warn!(%from, dropped, "dropped forwarded proposals that this version cannot read");
                    }
                    if leads {
                        proposals.entry(group.id()).or_default().extend(from, payloads);
                        return Ok(());
                    }
                    let mut passed_on = Proposals::default();
                    passed_on.extend(from, payloads);
                    group.propose(shared, passed_on, Some(from))
                })
            }
            Frame::Refused { group, reason, payloads } => self.with(group, |group, _| {
                group.refused(reason, payloads);
                Ok(())
            }),
            Frame::Call { group, id, body } => self.with(group, |group, shared| {
                group.called(shared, from, id, &body);
                Ok(())
            }),
            Frame::Answer { group, id, body } => self.with(group, |group, _| {
                group.answered(id, body);
                Ok(())
            }),
            Frame::SnapshotChunk { group, meta, sequence, last, rows } => {
                self.with(group, |group, shared| group.snapshot_part(shared, from, meta, sequence, last, &rows))
            }
            Frame::SnapshotAck { group, position, sequence, accepted } => {
                self.with(group, |group, shared| group.snapshot_answer(shared, from, position, sequence, accepted))
            }
            Frame::Repair { group, first, last, bytes_max, state } => {
                let question = Question { first, last, bytes_max, state };
                self.with(group, |group, shared| group.asked(shared, from, &question))
            }
            Frame::Repaired { .. } => Ok(()), // answers a question that somebody else has answered
        }
    }

    /// Calls a group and marks it touched. A group that is not here is another member's mistake or a removed one.
    fn with(
        &mut self,
        id: GroupId,
        call: impl FnOnce(&mut Group<S>, &mut Shared) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        if !self.groups.contains_key(&id) {
            tracing::debug!(group = id.0, "dropped input for a group that is not here");
            return Ok(());
        }
        self.touched.insert(id);
        self.call(id, call).map(|_| ())
    }

    /// Calls all groups and marks them touched.
    fn call_all(
        &mut self,
        mut call: impl FnMut(&mut Group<S>, &mut Shared) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut damaged = Vec::new();
        for (id, group) in &mut self.groups {
            self.touched.insert(*id);
            if let Err(error) = call(group, &mut self.shared) {
                damaged.push((*id, error.damage().ok_or(error)?));
            }
        }
        damaged.into_iter().try_for_each(|(id, damage)| self.falls_ill(id, damage))
    }

    /// Calls a group, where it is here and whole. One that meets damage gives up its core before anything else happens to it.
    fn call<T>(
        &mut self,
        id: GroupId,
        call: impl FnOnce(&mut Group<S>, &mut Shared) -> Result<T, EngineError>,
    ) -> Result<Option<T>, EngineError> {
        let Some(group) = self.groups.get_mut(&id) else { return Ok(None) };
        match call(group, &mut self.shared) {
            Ok(done) => Ok(Some(done)),
            Err(error) => {
                let damage = error.damage().ok_or(error)?;
                self.falls_ill(id, damage)?;
                Ok(None)
            }
        }
    }
}
