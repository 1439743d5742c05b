//! One replica of one group: its core, its state machine, and what waits between them.
//!
//! A group is data. It has no thread, timer or channel of its own; the engine calls it within a turn, in this order:
//! inputs, [`Group::flush`], and once all groups' messages and writes are under way, [`Group::apply`].

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kontiki_log::{Entry, Log, Write};
use kontiki_raft::{
    Append, Body, Content, Effect, EntrySizes, GroupId, Index, Input, LogPosition, Message, Node, NodeId, Persist,
    Refusal, RoleKind, SnapshotMeta, Ticket,
};
use kontiki_transport::Frame;

use crate::entry::{self, Payload};
use crate::error::EngineError;
use crate::machine::{Committed, Progress, StateMachine};
use crate::parked::Parked;
use crate::reads::Reads;
use crate::settings::Settings;
use crate::transfer::{Incoming, Outcome, Outgoing, Part, Wanted};

/// What all groups of an engine share within a turn.
pub(crate) struct Shared {
    pub id: NodeId,
    pub log: Log,
    pub settings: Settings,
    pub now: Duration,
    /// Frames of this turn by receiver.
    pub outgoing: BTreeMap<NodeId, Vec<Frame>>,
}

impl Shared {
    fn send(&mut self, to: NodeId, frame: Frame) {
        self.outgoing.entry(to).or_default().push(frame);
    }
}

/// The log's sizes as the core asks for them.
struct Sizes<'a> {
    log: &'a Log,
    group: GroupId,
}

impl EntrySizes for Sizes<'_> {
    fn fit(&self, first: Index, last: Index, bytes_max: u64) -> (Index, u64) {
        self.log.fit(self.group, first, last, bytes_max)
    }
}

/// The payloads that came with an input: of a proposal, or of the entries of a message from index `first` on.
#[derive(Clone, Copy)]
struct Payloads<'a> {
    first: Index,
    bytes: &'a [Bytes],
}

/// Bytes of proposals in one frame to the leader, about.
const FORWARD_BYTES: usize = 1 << 20;

const NO_PAYLOADS: Payloads<'static> = Payloads { first: Index(0), bytes: &[] };

/// A checkpoint that is being written.
#[derive(Clone, Copy)]
struct Checkpointing {
    /// What it stands for.
    at: LogPosition,
    /// Bytes of the entries behind the checkpoint before it, on average: how many of them fit into the trailing part.
    entry_bytes: u64,
}

/// One replica.
pub(crate) struct Group<S: StateMachine> {
    id: GroupId,
    node: Node,
    machine: S,
    committed: Index,
    applied: LogPosition,
    parked: Parked,
    /// The leader's connection broke and nothing was heard from it since: what is forwarded to it now would be lost, so it
    /// waits for the next leader.
    suspected: Option<NodeId>,
    refusal: Option<Refusal>,
    reads: Reads,
    sending: BTreeMap<NodeId, Outgoing>,
    wanted: Vec<Wanted>,
    receiving: Option<Incoming>,
    /// The checkpoint that is being written.
    checkpointing: Option<Checkpointing>,
    /// Checkpoints still being written whose state a snapshot has replaced: their ends mean nothing. They end in order,
    /// before any later one.
    abandoned: u32,
    /// The next checkpoint should come at once and leave no trailing entries: this group holds old segments.
    checkpoint_now: bool,
    /// Bytes of entries applied since the last checkpoint began.
    replay_bytes: u64,
}

impl<S: StateMachine> Group<S> {
    pub fn new(id: GroupId, node: Node, machine: S, first_read: u64) -> Group<S> {
        let applied = machine.checkpointed().position;
        assert_eq!(applied.index, node.applied(), "a replica starts at its state machine's checkpoint");
        Group {
            id,
            committed: node.commit_index(),
            node,
            machine,
            applied,
            parked: Parked::default(),
            suspected: None,
            refusal: None,
            reads: Reads::new(first_read),
            sending: BTreeMap::new(),
            wanted: Vec::new(),
            receiving: None,
            checkpointing: None,
            abandoned: 0,
            checkpoint_now: false,
            replay_bytes: 0,
        }
    }

    pub fn id(&self) -> GroupId {
        self.id
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    pub fn machine(&self) -> &S {
        &self.machine
    }

    pub fn machine_mut(&mut self) -> &mut S {
        &mut self.machine
    }

    /// One tick of time.
    pub fn tick(&mut self, shared: &mut Shared) -> Result<(), EngineError> {
        self.reads.retry();
        self.parked.forget_older(shared.now.saturating_sub(shared.settings.parked_patience));
        self.step(shared, Input::Tick, NO_PAYLOADS)?;
        let own = self.machine.tick(shared.now, self.node.role() == RoleKind::Leader);
        if !own.is_empty() {
            self.propose(shared, own, None)?;
        }
        if let Some(id) = self.reads.expired(shared.now, shared.settings.read_retry) {
            self.machine.reads_again(id);
        }
        let stalled: Vec<NodeId> = self
            .sending
            .iter()
            .filter(|(_, transfer)| transfer.stalled(shared.now, &shared.settings))
            .map(|(to, _)| *to)
            .collect();
        for to in stalled {
            self.end_sending(shared, to, None)?;
        }
        self.send_wanted(shared)
    }

    /// A member's message, with the payloads of its entries.
    pub fn receive(
        &mut self,
        shared: &mut Shared,
        from: NodeId,
        message: Message,
        payloads: &[Bytes],
    ) -> Result<(), EngineError> {
        if self.suspected == Some(from) {
            self.suspected = None; // it lives
        }
        let first = match &message.body {
            Body::AppendEntries(append) => {
                if append.last.0.checked_sub(append.prev.index.0) != Some(payloads.len() as u64) {
                    tracing::warn!(group = self.id.0, %from, "dropped a message whose entries do not match its payloads");
                    return Ok(());
                }
                append.prev.index.next()
            }
            _ => Index(0),
        };
        self.step(shared, Input::Receive { from, message }, Payloads { first, bytes: payloads })
    }

    /// Everything up to this ticket is durable.
    pub fn persisted(&mut self, shared: &mut Shared, ticket: Ticket) -> Result<(), EngineError> {
        self.step(shared, Input::Persisted(ticket), NO_PAYLOADS)
    }

    /// The connection to a member broke.
    pub fn suspect(&mut self, shared: &mut Shared, peer: NodeId) -> Result<(), EngineError> {
        if self.node.leader() == Some(peer) {
            self.suspected = Some(peer);
        }
        if self.sending.contains_key(&peer) {
            self.end_sending(shared, peer, None)?;
        }
        self.step(shared, Input::Suspect(peer), NO_PAYLOADS)
    }

    /// The leader, if it is another member and can be reached.
    fn reachable_leader(&self, shared: &Shared) -> Option<NodeId> {
        self.node.leader().filter(|leader| *leader != shared.id && self.suspected != Some(*leader))
    }

    /// Any other input that carries no payloads.
    pub fn input(&mut self, shared: &mut Shared, input: Input) -> Result<(), EngineError> {
        self.step(shared, input, NO_PAYLOADS)
    }

    /// Proposes entries: here where this replica leads, else through the leader, else once there is one.
    pub fn propose(
        &mut self,
        shared: &mut Shared,
        payloads: Vec<Bytes>,
        from: Option<NodeId>,
    ) -> Result<(), EngineError> {
        if self.node.role() != RoleKind::Leader {
            match self.reachable_leader(shared).filter(|leader| Some(*leader) != from) {
                Some(leader) => self.forward(shared, leader, payloads),
                None => self.park(shared, payloads),
            }
            return Ok(());
        }
        let bytes = payloads.iter().map(|payload| payload.len() as u64).sum();
        let input = Input::Propose { count: payloads.len() as u64, bytes };
        self.step(shared, input, Payloads { first: Index(0), bytes: &payloads })?;
        match self.refusal.take() {
            None => {}
            Some(Refusal::TooMuchUncommitted) => payloads.into_iter().for_each(|payload| self.machine.refused(payload)),
            Some(Refusal::Transferring | Refusal::NotLeader(_)) => self.park(shared, payloads),
        }
        Ok(())
    }

    /// Sends proposals to the leader, in frames of a bounded size.
    fn forward(&self, shared: &mut Shared, leader: NodeId, payloads: Vec<Bytes>) {
        let (mut part, mut bytes) = (Vec::new(), 0);
        for payload in payloads {
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

    fn park(&mut self, shared: &Shared, payloads: Vec<Bytes>) {
        for payload in payloads {
            if let Some(refused) = self.parked.push(shared.now, payload, shared.settings.parked_bytes_max) {
                self.machine.refused(refused);
            }
        }
    }

    /// Reads were asked for.
    pub fn want_read(&mut self) {
        self.reads.wanted = true;
    }

    /// A question to the leader: answered here where this replica leads.
    pub fn call(&mut self, shared: &mut Shared, id: u64, body: Bytes) {
        if self.answers_calls() {
            let answer = self.machine.call(shared.now, &body);
            self.machine.answered(id, Some(answer));
        } else if let Some(leader) = self.reachable_leader(shared) {
            shared.send(leader, Frame::Call { group: self.id, id, body });
        } else {
            self.machine.answered(id, None);
        }
    }

    /// A leader answers questions once it has applied an entry of its own term, and with it everything that any leader
    /// before it acknowledged.
    fn answers_calls(&self) -> bool {
        self.node.role() == RoleKind::Leader && self.applied.term == self.node.term()
    }

    /// A member's question to the leader. An empty answer says that this replica does not lead.
    pub fn called(&mut self, shared: &mut Shared, from: NodeId, id: u64, body: &Bytes) {
        let body = if self.answers_calls() { self.machine.call(shared.now, body) } else { Bytes::new() };
        shared.send(from, Frame::Answer { group: self.id, id, body });
    }

    /// The answer to an own question.
    pub fn answered(&mut self, id: u64, body: Bytes) {
        self.machine.answered(id, (!body.is_empty()).then_some(body));
    }

    /// A part of a snapshot came in.
    pub fn snapshot_part(
        &mut self,
        shared: &mut Shared,
        from: NodeId,
        meta: SnapshotMeta,
        sequence: u64,
        last: bool,
        rows: &Bytes,
    ) -> Result<(), EngineError> {
        if meta.position.index <= self.node.commit_index() {
            // Not needed any more; "accepted" ends the transfer at the sender, whose core probes the log.
            self.receiving = None;
            self.acknowledge(shared, from, &meta, sequence);
            return Ok(());
        }
        match Incoming::take(&mut self.receiving, &mut self.machine, from, &meta, sequence, last, rows)? {
            Part::Refused => {
                let position = meta.position;
                shared.send(from, Frame::SnapshotAck { group: self.id, position, sequence, accepted: false });
            }
            Part::Taken => self.acknowledge(shared, from, &meta, sequence),
            Part::Whole => {
                self.step(shared, Input::SnapshotReceived(meta.clone()), NO_PAYLOADS)?;
                self.acknowledge(shared, from, &meta, sequence);
            }
        }
        Ok(())
    }

    fn acknowledge(&self, shared: &mut Shared, to: NodeId, meta: &SnapshotMeta, sequence: u64) {
        shared.send(to, Frame::SnapshotAck { group: self.id, position: meta.position, sequence, accepted: true });
    }

    /// The receiver of a snapshot answered to a part.
    pub fn snapshot_answer(
        &mut self,
        shared: &mut Shared,
        from: NodeId,
        position: LogPosition,
        sequence: u64,
        accepted: bool,
    ) -> Result<(), EngineError> {
        let Some(transfer) = self.sending.get_mut(&from) else { return Ok(()) };
        if transfer.meta().position != position {
            return Ok(()); // answers a transfer that was given up
        }
        match transfer.acknowledge(sequence, accepted, shared.now) {
            Outcome::Goes => {
                for frame in transfer.parts(self.id, &shared.settings)? {
                    shared.send(from, frame);
                }
                Ok(())
            }
            Outcome::Arrived => self.end_sending(shared, from, Some(position)),
            Outcome::Failed => self.end_sending(shared, from, None),
        }
    }

    fn end_sending(
        &mut self,
        shared: &mut Shared,
        to: NodeId,
        installed: Option<LogPosition>,
    ) -> Result<(), EngineError> {
        self.sending.remove(&to);
        self.step(shared, Input::SnapshotSent { to, installed }, NO_PAYLOADS)
    }

    /// Starts the snapshots that are wanted and can be had; one that must be newer than the last checkpoint waits for
    /// the next.
    fn send_wanted(&mut self, shared: &mut Shared) -> Result<(), EngineError> {
        for wanted in std::mem::take(&mut self.wanted) {
            if self.machine.checkpointed().position.index < wanted.at_least {
                self.checkpoint_now = true;
                self.wanted.push(wanted);
                continue;
            }
            let (meta, source) = self.machine.snapshot()?;
            tracing::info!(group = self.id.0, to = %wanted.to, at = %meta.position, "sending a snapshot");
            let mut transfer = Outgoing::new(meta, source, shared.now);
            for frame in transfer.parts(self.id, &shared.settings)? {
                shared.send(wanted.to, frame);
            }
            self.sending.insert(wanted.to, transfer);
        }
        Ok(())
    }

    /// Ends a turn's inputs: what waited for a leader goes to it, a batch of reads may begin, and the core says what it
    /// gathered.
    pub fn flush(&mut self, shared: &mut Shared) -> Result<(), EngineError> {
        let leads = self.node.role() == RoleKind::Leader;
        if !self.parked.is_empty() && (leads || self.reachable_leader(shared).is_some()) {
            let waiting = self.parked.take();
            self.propose(shared, waiting, None)?;
        }
        if let Some(id) = self.reads.begin(shared.now) {
            if self.machine.reads_begin(id) {
                self.step(shared, Input::Read(id), NO_PAYLOADS)?;
            } else {
                self.reads.cancel();
            }
        }
        let mut effects = Vec::new();
        self.node.flush(&Sizes { log: &shared.log, group: self.id }, &mut effects);
        self.carry_out(shared, effects, NO_PAYLOADS)
    }

    fn step(&mut self, shared: &mut Shared, input: Input, payloads: Payloads<'_>) -> Result<(), EngineError> {
        let mut effects = Vec::new();
        self.node.step(input, &mut effects);
        self.carry_out(shared, effects, payloads)
    }

    fn carry_out(
        &mut self,
        shared: &mut Shared,
        effects: Vec<Effect>,
        payloads: Payloads<'_>,
    ) -> Result<(), EngineError> {
        for effect in effects {
            match effect {
                Effect::Persist(persist) => self.persist(shared, persist, payloads),
                Effect::Send { to, message } => self.send(shared, to, message)?,
                Effect::Committed(index) => self.committed = self.committed.max(index),
                Effect::ReadReady { id, index } => {
                    self.reads.confirmed(id, index);
                }
                Effect::ReadRefused(id) => {
                    if self.reads.refused(id) {
                        self.machine.reads_again(id);
                    }
                }
                Effect::ProposalRefused(refusal) => self.refusal = Some(refusal),
                // One that makes progress is not begun anew; one that does not has ended by its own time limit.
                Effect::SendSnapshot { to, .. } if self.sending.contains_key(&to) => {}
                Effect::SendSnapshot { to, at_least } => {
                    self.wanted.retain(|wanted| wanted.to != to);
                    self.wanted.push(Wanted { to, at_least });
                    self.send_wanted(shared)?;
                }
                Effect::InstallSnapshot(meta) => self.install(shared, &meta)?,
                Effect::LeadershipChanged(leadership) => {
                    self.reads.retry();
                    self.suspected = self.suspected.filter(|suspect| leadership.leader == Some(*suspect));
                    self.machine.leadership(shared.now, leadership)?;
                    if leadership.role != RoleKind::Leader {
                        self.sending.clear();
                        self.wanted.clear();
                    }
                }
            }
        }
        Ok(())
    }

    fn persist(&self, shared: &mut Shared, persist: Persist, payloads: Payloads<'_>) {
        let entries = persist.append.map(|append| entries_of(&append, payloads)).unwrap_or_default();
        let write = Write { group: self.id, ticket: persist.ticket, hard_state: persist.hard_state, entries };
        shared.log.save(write);
    }

    fn send(&mut self, shared: &mut Shared, to: NodeId, message: Message) -> Result<(), EngineError> {
        let payloads = match &message.body {
            Body::AppendEntries(append) if append.last > append.prev.index => shared
                .log
                .entries(self.id, append.prev.index.next(), append.last, u64::MAX)?
                .into_iter()
                .map(|entry| entry.payload)
                .collect(),
            _ => Vec::new(),
        };
        shared.send(to, Frame::Raft { group: self.id, message, payloads });
        Ok(())
    }

    fn install(&mut self, shared: &mut Shared, meta: &SnapshotMeta) -> Result<(), EngineError> {
        tracing::info!(group = self.id.0, at = %meta.position, "installing a snapshot");
        // The state first: a crash between the two leaves a state that is newer than the log, which opening mends.
        self.machine.install(meta)?;
        shared.log.reset(self.id, meta.position);
        self.applied = meta.position;
        self.committed = self.committed.max(meta.position.index);
        self.abandoned += u32::from(self.checkpointing.take().is_some());
        self.replay_bytes = 0;
        Ok(())
    }

    /// Applies committed entries, a bounded part of them. True where more are left.
    pub fn apply(&mut self, shared: &mut Shared) -> Result<bool, EngineError> {
        if self.committed > self.applied.index {
            let first = self.applied.index.next();
            let entries = shared.log.entries(self.id, first, self.committed, shared.settings.apply_bytes_max)?;
            let mut committed = Vec::with_capacity(entries.len());
            for entry in entries {
                self.replay_bytes += entry.payload.len() as u64 + 32;
                self.applied = LogPosition { term: entry.term, index: entry.index };
                committed.push(understand(self.id, &entry)?);
            }
            self.machine.apply(committed)?;
            self.step(shared, Input::Applied(self.applied.index), NO_PAYLOADS)?;
        }
        for id in self.reads.ready(self.applied.index) {
            self.machine.reads_ready(id);
        }
        self.machine.observe(Progress {
            term: self.node.term(),
            commit: self.node.commit_index(),
            applied: self.applied.index,
            last: self.node.last_index(),
            leader: self.node.leader(),
        });
        Ok(self.committed > self.applied.index || self.reads.can_begin())
    }

    /// The work of a checkpoint, where one is due.
    pub fn begin_checkpoint(
        &mut self,
        settings: &Settings,
    ) -> Option<crate::machine::CheckpointJob<S::CheckpointDone>> {
        let due = self.checkpoint_now
            || self.replay_bytes >= settings.checkpoint_bytes
            || self.machine.unsaved_bytes() >= settings.checkpoint_bytes;
        let before = self.machine.checkpointed().position.index;
        if !due || self.checkpointing.is_some() || self.applied.index == before {
            return None;
        }
        let configuration = self.node.configuration_at(self.applied.index);
        let job = self.machine.begin_checkpoint(self.applied, configuration)?;
        let entries = self.applied.index.0 - before.0;
        self.checkpointing =
            Some(Checkpointing { at: self.applied, entry_bytes: (self.replay_bytes / entries).max(1) });
        self.replay_bytes = 0;
        Some(job)
    }

    /// A checkpoint is durable: the log behind it may go.
    pub fn finish_checkpoint(&mut self, shared: &mut Shared, done: S::CheckpointDone) -> Result<(), EngineError> {
        if self.abandoned > 0 {
            self.abandoned -= 1;
            return Ok(());
        }
        let done_now = self.checkpointing.take().expect("one checkpoint is written at a time");
        self.machine.finish_checkpoint(done)?;
        let keep_nothing = std::mem::take(&mut self.checkpoint_now);
        let trailing = if keep_nothing { 0 } else { shared.settings.trailing_entries };
        self.cut_behind(shared, done_now, trailing)?;
        self.send_wanted(shared)
    }

    fn cut_behind(
        &mut self,
        shared: &mut Shared,
        checkpoint: Checkpointing,
        trailing_entries: u64,
    ) -> Result<(), EngineError> {
        let cut = self.cut(checkpoint, trailing_entries, &shared.settings);
        if cut > self.node.compacted().index
            && let Some(term) = self.node.term_at(cut)
        {
            shared.log.compact(self.id, LogPosition { term, index: cut });
            self.step(shared, Input::Compacted(cut), NO_PAYLOADS)?;
        }
        Ok(())
    }

    /// Where to cut the log behind a checkpoint: what followers still need stays, within a bound, so that one that is
    /// just catching up behind a snapshot does not need another.
    fn cut(&self, checkpoint: Checkpointing, trailing_entries: u64, settings: &Settings) -> Index {
        let back = |entries: u64, bytes: u64| {
            Index(checkpoint.at.index.0.saturating_sub(entries.min(bytes / checkpoint.entry_bytes)))
        };
        let keep = back(trailing_entries, settings.trailing_bytes);
        let bound = back(u64::MAX, settings.follower_bytes_max).min(keep);
        let followed = self.node.status().peers.into_iter().filter(|peer| peer.active).map(|peer| peer.match_index);
        let sent = self.sending.values().map(|transfer| transfer.meta().position.index);
        let needed = followed.chain(sent).min().unwrap_or(keep);
        keep.min(needed).max(bound)
    }

    /// Old segments are held by this group: it gives up its trailing entries, behind a new checkpoint where there is
    /// something to save.
    pub fn release_segments(&mut self, shared: &mut Shared) -> Result<(), EngineError> {
        if self.checkpointing.is_none() && self.applied.index == self.machine.checkpointed().position.index {
            return self.cut_behind(shared, Checkpointing { at: self.applied, entry_bytes: 1 }, 0);
        }
        self.checkpoint_now = true;
        Ok(())
    }
}

/// The entries of an append, with their bytes.
fn entries_of(append: &Append, payloads: Payloads<'_>) -> Vec<Entry> {
    let count = usize::try_from(append.last.0 + 1 - append.first.0).expect("an append fits in memory");
    let mut entries = Vec::with_capacity(count);
    let mut runs = append.runs.iter().peekable();
    let mut term = runs.peek().expect("an append has at least one run").term;
    for offset in 0..count {
        let index = Index(append.first.0 + offset as u64);
        while let Some(run) = runs.next_if(|run| run.first <= index) {
            term = run.term;
        }
        let payload = match &append.content {
            Content::Proposals => payloads.bytes[offset].clone(),
            Content::Received => {
                let skip = usize::try_from(append.first.0 - payloads.first.0).expect("an append fits in memory");
                payloads.bytes[skip + offset].clone()
            }
            Content::Blank => Bytes::new(),
            Content::Configuration(configuration) => entry::configuration_payload(configuration),
        };
        entries.push(Entry { index, term, payload });
    }
    entries
}

fn understand(group: GroupId, entry: &Entry) -> Result<Committed, EngineError> {
    let payload = entry::decode(&entry.payload).map_err(|source| EngineError::Payload {
        group: group.0,
        index: entry.index.0,
        source,
    })?;
    let command = match payload {
        Payload::Command(command) => Some(command),
        Payload::Blank | Payload::Configuration(_) => None,
    };
    Ok(Committed { index: entry.index, term: entry.term, command })
}
