//! The engine: all groups of a process, one log, one turn at a time.
//!
//! A turn takes what happened (messages, proposals, finished writes, passed time), steps the groups concerned, and gives
//! out work in the order in which it should begin: the log's next write first, then messages, so that the leader's disk
//! and the network work at the same time (dissertation §10.2.1); then committed entries are applied while both are
//! busy; then checkpoints. The engine owns no thread, socket or clock: [`crate::Runtime`] calls it, and so does a test
//! that keeps a whole cluster in one thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_log::{Log, LogError, Recovered, WriteDone};
use kontiki_raft::{
    Configuration, GroupId, HardState, Incarnation, Index, Input, LogPosition, MemberChange, Node, NodeId, Start, Term,
    TermRun,
};
use kontiki_transport::{Frame, Received};

use crate::entry::{self, Payload};
use crate::error::EngineError;
use crate::group::{Group, Shared};
use crate::machine::{MachineError, StateMachine};
use crate::outbox::Outbox;
use crate::settings::Settings;

/// Segments that the log may grow behind its oldest entry before the group that holds it is made to checkpoint.
const PINNED_SEGMENTS_MAX: u64 = 4;

/// A pause of so few ticks is always made up for.
const PAUSE_TICKS_MIN: u32 = 10;

/// What the log knows of a group that it has never seen.
const NOTHING: Recovered = Recovered {
    hard_state: HardState { term: Term(0), voted_for: None },
    compacted: LogPosition::START,
    runs: Vec::new(),
    last: Index(0),
};

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
    /// A checkpoint ended.
    CheckpointDone(GroupId, Result<S::CheckpointDone, MachineError>),
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
        let shared = Shared { id, log, settings, raft: settings.raft.into(), now, outgoing: BTreeMap::new() };
        Engine { shared, groups: BTreeMap::new(), touched: BTreeSet::new(), last_tick: now }
    }

    /// Adds a replica, from what the log recovered of it and its state machine's checkpoint.
    ///
    /// # Errors
    /// Where log and checkpoint do not fit together, or cannot be read.
    ///
    /// # Panics
    /// Where the group is there already.
    pub fn add_group(
        &mut self,
        start: GroupStart,
        recovered: Option<Recovered>,
        machine: S,
    ) -> Result<(), EngineError> {
        let GroupStart { group, configuration, incarnation, seed, force_new_cluster } = start;
        let checkpoint = machine.checkpointed();
        if recovered.is_none() && checkpoint.position.index > Index(0) {
            return Err(EngineError::LogLost { group: group.0, checkpoint: checkpoint.position.index.0 });
        }
        let recovered = self.connect(group, recovered.unwrap_or(NOTHING), checkpoint.position)?;
        let known = !checkpoint.configuration.voters.is_empty();
        let node = Node::new(Start {
            id: self.shared.id,
            incarnation,
            hard_state: recovered.hard_state,
            compacted: recovered.compacted,
            configuration: if known { checkpoint.configuration } else { configuration },
            configurations: self.configurations_behind(group, recovered.compacted.index, recovered.last)?,
            runs: recovered.runs.into(),
            last: recovered.last,
            applied: checkpoint.position.index,
            seed,
            settings: Arc::clone(&self.shared.raft),
        });
        let before = self.groups.insert(group, Group::new(group, node, machine, seed));
        assert!(before.is_none(), "group {group} is there already");
        self.touched.insert(group);
        if force_new_cluster {
            self.with(group, |group, shared| group.input(shared, Input::ForceNewCluster))?;
        }
        Ok(())
    }

    /// Makes the recovered log fit the checkpoint: a crash between installing a snapshot and resetting the log leaves a
    /// checkpoint that the log does not contain; the log then begins anew behind it.
    fn connect(
        &mut self,
        group: GroupId,
        recovered: Recovered,
        checkpoint: LogPosition,
    ) -> Result<Recovered, EngineError> {
        if recovered.compacted.index > checkpoint.index {
            return Err(EngineError::Hole {
                group: group.0,
                checkpoint: checkpoint.index.0,
                log: recovered.compacted.index.0,
            });
        }
        if term_at(&recovered, checkpoint.index) == Some(checkpoint.term) {
            return Ok(recovered);
        }
        self.shared.log.reset(group, checkpoint);
        Ok(Recovered { compacted: checkpoint, runs: Vec::new(), last: checkpoint.index, ..recovered })
    }

    fn configurations_behind(
        &self,
        group: GroupId,
        compacted: Index,
        last: Index,
    ) -> Result<Vec<(Index, Arc<Configuration>)>, EngineError> {
        let mut found = Vec::new();
        let mut next = compacted.next();
        while next <= last {
            for entry in self.shared.log.entries(group, next, last, self.shared.settings.apply_bytes_max)? {
                next = entry.index.next();
                if let Ok(Payload::Configuration(configuration)) = entry::decode(&entry.payload) {
                    found.push((entry.index, Arc::new(configuration)));
                }
            }
        }
        Ok(found)
    }

    /// The core of a group, for tests and status.
    #[must_use]
    pub fn node(&self, group: GroupId) -> Option<&Node> {
        self.groups.get(&group).map(Group::node)
    }

    /// The state machine of a group, for tests and status.
    #[must_use]
    pub fn machine(&self, group: GroupId) -> Option<&S> {
        self.groups.get(&group).map(Group::machine)
    }

    /// The state machine of a group.
    pub fn machine_mut(&mut self, group: GroupId) -> Option<&mut S> {
        self.groups.get_mut(&group).map(Group::machine_mut)
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.shared.log
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
        let touched = std::mem::take(&mut self.touched);
        for id in &touched {
            if let Some(group) = self.groups.get_mut(id) {
                group.flush(&mut self.shared)?;
            }
        }
        self.dispatch(outbox);
        for id in &touched {
            let Some(group) = self.groups.get_mut(id) else { continue };
            if group.apply(&mut self.shared)? {
                self.touched.insert(*id);
            }
            if let Some(job) = group.begin_checkpoint(now, &self.shared.settings) {
                outbox.checkpoint(*id, job);
            }
        }
        self.dispatch(outbox);
        Ok(!self.touched.is_empty())
    }

    /// Gives out the log's next write and the frames gathered so far.
    fn dispatch(&mut self, outbox: &mut dyn Outbox<S>) {
        if let Some(job) = self.shared.log.start_write() {
            outbox.write(job);
        }
        while let Some((to, frames)) = self.shared.outgoing.pop_first() {
            outbox.send(to, frames);
        }
    }

    fn pass_time(&mut self, now: Duration) -> Result<(), EngineError> {
        let tick = self.shared.settings.tick;
        // A pause that peers may not have noticed is made up for tick by tick: leases and timeouts go by true time. One
        // that is long enough for them to elect somebody else is not. To its peers this process was silent all the same,
        // and nobody knows how much longer the pause was than the clock shows: a leader gives up its office (bug G11).
        if now.saturating_sub(self.last_tick) > tick * self.pause_ticks() {
            tracing::warn!(pause = ?now.saturating_sub(self.last_tick), "the process stood still; its groups lose what they lead");
            self.last_tick = now - tick;
            for (id, group) in &mut self.groups {
                group.input(&mut self.shared, Input::Paused)?;
                self.touched.insert(*id);
            }
        }
        while now.saturating_sub(self.last_tick) >= tick {
            self.last_tick += tick;
            for (id, group) in &mut self.groups {
                group.tick(&mut self.shared)?;
                self.touched.insert(*id);
            }
            if let Some((id, segments)) = self.shared.log.pinned()
                && segments > PINNED_SEGMENTS_MAX
                && let Some(group) = self.groups.get_mut(&id)
            {
                group.release_segments(&mut self.shared)?;
            }
        }
        Ok(())
    }

    /// The longest pause that is made up for: half of an election timeout, and some ticks where that is very short.
    fn pause_ticks(&self) -> u32 {
        (self.shared.raft.election_timeout_ticks / 2).max(PAUSE_TICKS_MIN)
    }

    fn take(&mut self, events: Vec<Event<S>>) -> Result<(), EngineError> {
        let mut proposals: BTreeMap<GroupId, Vec<Bytes>> = BTreeMap::new();
        for event in events {
            match event {
                Event::Propose { group, payload } => proposals.entry(group).or_default().push(payload),
                Event::Received(received) => {
                    for news in received {
                        self.receive(news, &mut proposals)?;
                    }
                }
                Event::Read(group) => self.with(group, |group, _| {
                    group.want_read();
                    Ok(())
                })?,
                Event::Call { group, id, body } => self.with(group, |group, shared| {
                    group.call(shared, id, body);
                    Ok(())
                })?,
                Event::Transfer(group, to) => {
                    self.with(group, |group, shared| group.input(shared, Input::TransferLeadership(to)))?;
                }
                Event::ChangeMembership { group, id, changes } => {
                    self.with(group, |group, shared| group.change_membership(shared, id, changes))?;
                }
                Event::LogWritten(done) => {
                    for (group, ticket) in self.shared.log.finish_write(done?) {
                        self.with(group, |group, shared| group.persisted(shared, ticket))?;
                    }
                }
                Event::CheckpointDone(group, done) => {
                    let done = done?;
                    self.with(group, |group, shared| group.finish_checkpoint(shared, done))?;
                }
            }
        }
        for (group, payloads) in proposals {
            self.with(group, |group, shared| group.propose(shared, payloads, None))?;
        }
        Ok(())
    }

    fn receive(&mut self, news: Received, proposals: &mut BTreeMap<GroupId, Vec<Bytes>>) -> Result<(), EngineError> {
        match news {
            Received::Frame { from, frame } => self.receive_frame(from, frame, proposals),
            Received::Suspect(peer) => {
                for (id, group) in &mut self.groups {
                    group.suspect(&mut self.shared, peer)?;
                    self.touched.insert(*id);
                }
                Ok(())
            }
            Received::Connected(_) | Received::Refused { .. } => Ok(()), // for the owner of the transport
        }
    }

    fn receive_frame(
        &mut self,
        from: NodeId,
        frame: Frame,
        proposals: &mut BTreeMap<GroupId, Vec<Bytes>>,
    ) -> Result<(), EngineError> {
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
                        proposals.entry(group.id()).or_default().append(&mut payloads);
                        return Ok(());
                    }
                    group.propose(shared, payloads, Some(from))
                })
            }
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
        }
    }

    /// Calls a group and marks it touched. A group that is not here is another member's mistake or a removed one.
    fn with(
        &mut self,
        id: GroupId,
        call: impl FnOnce(&mut Group<S>, &mut Shared) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let Some(group) = self.groups.get_mut(&id) else {
            tracing::debug!(group = id.0, "dropped input for a group that is not here");
            return Ok(());
        };
        self.touched.insert(id);
        call(group, &mut self.shared)
    }
}

fn term_at(recovered: &Recovered, index: Index) -> Option<Term> {
    if index == recovered.compacted.index {
        return Some(recovered.compacted.term);
    }
    if index > recovered.last || index < recovered.compacted.index {
        return None;
    }
    recovered.runs.iter().rev().find(|run: &&TermRun| run.first <= index).map(|run| run.term)
}
