//! One replica of one group: its core, its state machine, and what waits between them.
//!
//! A group is data. It has no thread, timer or channel of its own; the engine calls it within a turn, in this order:
//! inputs, [`Group::flush`], and once all groups' messages and writes are under way, [`Group::apply`].

mod changes;
mod checkpoints;
mod damage;
mod entries;
mod proposing;
mod snapshots;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_log::{Log, Write};
use kontiki_raft::{
    Body, ChangeRefusal, Decision, Effect, GroupId, Index, Input, LogPosition, Message, Node, NodeId, Persist, Refusal,
    RoleKind, Settings as RaftSettings, Ticket,
};
use kontiki_transport::Frame;

use self::changes::Change;
pub(crate) use self::checkpoints::Checkpointing;
use self::checkpoints::Unsaved;
pub(crate) use self::damage::Retired;
use self::entries::{NO_PAYLOADS, Payloads, Sizes};
use crate::error::EngineError;
use crate::lag::Lag;
use crate::machine::{Progress, StateMachine};
use crate::parked::Parked;
use crate::questions::{Question, Questions};
use crate::reads::Reads;
use crate::replica::{Birth, Replica};
use crate::room::Room;
use crate::settings::Settings;
use crate::stall::Stall;
use crate::transfer::{Incoming, Outgoing, PartJob, Wanted};

/// What all groups of an engine share within a turn.
pub(crate) struct Shared {
    pub id: NodeId,
    pub log: Log,
    pub settings: Settings,
    /// The core's part of them, as all groups hold it.
    pub raft: Arc<RaftSettings>,
    pub now: Duration,
    /// Frames of this turn by receiver.
    pub outgoing: BTreeMap<NodeId, Vec<Frame>>,
    /// Parts of snapshots to be written.
    pub parts: Vec<(GroupId, PartJob)>,
    /// Whether the log's disk answers.
    pub stall: Stall,
    /// Whether the log has space.
    pub room: Room,
}

impl Shared {
    pub fn election_timeout(&self) -> Duration {
        self.settings.tick * self.raft.election_timeout_ticks
    }

    pub fn send(&mut self, to: NodeId, frame: Frame) {
        self.outgoing.entry(to).or_default().push(frame);
    }
}

/// One replica.
pub(crate) struct Group<S: StateMachine> {
    id: GroupId,
    birth: Birth,
    node: Node,
    machine: S,
    committed: Index,
    applied: LogPosition,
    parked: Parked,
    /// The leader's connection broke and nothing was heard from it since: what is forwarded to it now would be lost, so it
    /// waits for the next leader.
    suspected: Option<NodeId>,
    /// The present step's proposal was refused.
    refusal: Option<Refusal>,
    /// The present step's change of membership was refused.
    change_refusal: Option<ChangeRefusal>,
    /// The change of membership under way here.
    change: Option<Change>,
    reads: Reads,
    questions: Questions,
    lag: Lag,
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
    /// When they were applied.
    unsaved: Option<Unsaved>,
}

impl<S: StateMachine> Group<S> {
    /// A replica with a core, which begins at what the machine holds.
    pub fn new(replica: Replica<S>, node: Node) -> Group<S> {
        assert_eq!(replica.applied.index, node.applied(), "a core starts at what its state machine holds");
        Group {
            id: replica.id,
            birth: replica.birth,
            committed: node.commit_index(),
            node,
            machine: replica.machine,
            applied: replica.applied,
            parked: replica.parked,
            suspected: None,
            refusal: None,
            change_refusal: None,
            change: None,
            reads: Reads::new(replica.next_read),
            questions: Questions::default(),
            lag: Lag::default(),
            sending: BTreeMap::new(),
            wanted: Vec::new(),
            receiving: None,
            checkpointing: replica.checkpointing,
            abandoned: replica.abandoned,
            checkpoint_now: false,
            replay_bytes: replica.replay_bytes,
            unsaved: None,
        }
    }

    pub fn id(&self) -> GroupId {
        self.id
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    pub fn take_decisions(&mut self) -> Vec<Decision> {
        self.node.listen(true);
        self.node.take_decisions()
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
        // Whoever cannot write cannot be elected: it does not stand while its disk hangs.
        if self.node.role() == RoleKind::Leader || !shared.stall.hangs() {
            self.step(shared, Input::Tick, NO_PAYLOADS)?;
        }
        // What it would propose now would be dropped, or could not be applied: it is to be named again when that is over.
        let able = !shared.stall.hangs() && !shared.room.is_exhausted() && !self.is_held_back(shared);
        let leads = self.node.role() == RoleKind::Leader && able && !self.node.hands_over();
        let own = self.machine.tick(shared.now, leads);
        self.propose_own(shared, own)?;
        if let Some(id) = self.reads.expired(shared.now, shared.settings.read_retry) {
            self.machine.reads_again(id);
        }
        if let Some((id, body)) = self.machine.question(shared.now) {
            self.call(shared, id, body);
        }
        self.tend_office(shared)?;
        self.tend_sending(shared)
    }

    /// Whether something committed waits because too much waits to be saved.
    fn is_held_back(&self, shared: &Shared) -> bool {
        self.committed > self.applied.index && self.is_saturated(&shared.settings)
    }

    /// A leader that has been unfit to lead for long hands over, to each of the others in turn.
    fn tend_office(&mut self, shared: &mut Shared) -> Result<(), EngineError> {
        if self.node.role() != RoleKind::Leader {
            self.lag.follows(shared.now);
            return Ok(());
        }
        if !self.lag.is_long(shared.now, shared.election_timeout()) || self.node.hands_over() {
            return Ok(());
        }
        let others = self.node.configuration().voters.iter().copied().filter(|voter| *voter != shared.id);
        let others: Vec<NodeId> = others.collect();
        match self.lag.hands_over(shared.now, shared.election_timeout(), &others) {
            Some(to) => {
                tracing::warn!(group = self.id.0, %to, "a disk is full, or too slow to apply anything: handing over");
                self.input(shared, Input::TransferLeadership(Some(to)))
            }
            None => Ok(()),
        }
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
        let bytes = payloads.iter().map(|payload| payload.len() as u64 + 64).sum();
        if !payloads.is_empty() && !shared.room.take(bytes) {
            return Ok(()); // entries that this disk has no room for: as if they had been lost on their way
        }
        let Some(payloads) = Payloads::received(&message.body, payloads) else {
            tracing::warn!(group = self.id.0, %from, "dropped a message whose entries do not match its payloads");
            return Ok(());
        };
        let unfit = shared.stall.hangs() || self.lag.is_long(shared.now, shared.election_timeout());
        if unfit && matches!(message.body, Body::TimeoutNow) {
            return Ok(()); // whoever is not fit to lead does not take the office over
        }
        self.step(shared, Input::Receive { from, message }, payloads)
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
        if let Some(transfer) = self.sending.get_mut(&peer) {
            transfer.disconnected();
        }
        if self.node.role() != RoleKind::Leader && shared.stall.hangs() {
            return Ok(()); // as in `tick`
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

    /// After a pause nobody knows how much longer it was than the clock shows. Reads by lease rest on the clock, and a leader
    /// that could serve them gives up its office (bug G11). All else is confirmed by a quorum before it is answered.
    pub fn doubt_clock(&mut self, shared: &mut Shared) -> Result<(), EngineError> {
        if self.node.configuration().lease.is_some() { self.input(shared, Input::Paused) } else { Ok(()) }
    }

    /// A disk hangs: what to do is for those who lead, if anyone else could.
    pub fn disk_hangs(&mut self, shared: &mut Shared, input: Input) -> Result<(), EngineError> {
        let others = self.node.configuration().voters.iter().any(|voter| *voter != shared.id);
        if others && self.node.role() == RoleKind::Leader { self.input(shared, input) } else { Ok(()) }
    }

    /// Reads were asked for.
    pub fn want_read(&mut self) {
        self.reads.wanted = true;
    }

    /// A question to the leader: answered here where this replica leads.
    pub fn call(&mut self, shared: &mut Shared, id: u64, body: Bytes) {
        if self.answers_calls() {
            self.ask(shared, Question { from: None, id, body, at: shared.now });
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
        let question = Question { from: Some(from), id, body: body.clone(), at: shared.now };
        if self.answers_calls() { self.ask(shared, question) } else { self.answer(shared, &question, None) }
    }

    /// A question to this leader.
    fn ask(&mut self, shared: &mut Shared, question: Question) {
        if let Some(question) = self.questions.add(self.node.commit_index(), question) {
            self.answer(shared, &question, None);
        }
        self.answer_questions(shared);
    }

    /// Answers what can be answered.
    ///
    /// A leader that was cut off goes on for a while without knowing that another one was elected. What it tells by its own
    /// clock, such as that a lease is renewed, would bind nobody. So a quorum must have confirmed half an election timeout
    /// ago that it led: machines allow for a whole one when a new leader takes over.
    fn answer_questions(&mut self, shared: &mut Shared) {
        if !self.answers_calls() {
            for (_, question) in self.questions.take() {
                self.answer(shared, &question, None);
            }
        }
        if self.questions.is_empty() {
            return;
        }
        if !self.reads.led_within(shared.now, shared.election_timeout() / 2) {
            self.reads.wanted = true;
            return;
        }
        while let Some(question) = self.questions.next(self.applied.index) {
            let answer = self.machine.call(question.at, &question.body);
            self.answer(shared, &question, Some(answer));
        }
    }

    /// Answers a question. No answer says that this replica does not lead.
    fn answer(&mut self, shared: &mut Shared, question: &Question, answer: Option<Bytes>) {
        match question.from {
            Some(from) => {
                let body = answer.unwrap_or_default();
                shared.send(from, Frame::Answer { group: self.id, id: question.id, body });
            }
            None => self.machine.answered(question.id, answer),
        }
    }

    /// The answer to an own question.
    pub fn answered(&mut self, id: u64, body: Bytes) {
        self.machine.answered(id, (!body.is_empty()).then_some(body));
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
            if self.machine.reads_begin(id) || !self.questions.is_empty() {
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

    /// Carries out all effects, also those behind one that met damage: a write that the core counts on must not be left out.
    fn carry_out(
        &mut self,
        shared: &mut Shared,
        effects: Vec<Effect>,
        payloads: Payloads<'_>,
    ) -> Result<(), EngineError> {
        let mut damage = Ok(());
        for effect in effects {
            match self.carry_out_one(shared, effect, payloads) {
                Err(error) if error.damage().is_some() => damage = damage.and(Err(error)),
                done => done?,
            }
        }
        damage
    }

    fn carry_out_one(
        &mut self,
        shared: &mut Shared,
        effect: Effect,
        payloads: Payloads<'_>,
    ) -> Result<(), EngineError> {
        match effect {
            Effect::Persist(persist) => self.persist(shared, persist, payloads),
            Effect::Send { to, message } => self.send(shared, to, message)?,
            Effect::Committed(index) => self.committed = self.committed.max(index),
            Effect::ReadReady { id, index } => {
                let leads = self.node.role() == RoleKind::Leader;
                self.reads.confirmed(id, index, leads);
            }
            Effect::ReadRefused(id) => {
                if self.reads.refused(id) {
                    self.machine.reads_again(id);
                }
            }
            Effect::ProposalRefused(refusal) => self.refusal = Some(refusal),
            Effect::ChangeRefused(refusal) => self.change_refusal = Some(refusal),
            Effect::Excluded(exclusion) => self.exclude(exclusion),
            // One that makes progress is not begun anew; one that does not has ended by its own time limit.
            Effect::SendSnapshot { to, .. } if self.sending.contains_key(&to) => {}
            Effect::SendSnapshot { to, at_least } => {
                self.wanted.retain(|wanted| wanted.to != to);
                self.wanted.push(Wanted { to, at_least });
                self.send_wanted(shared)?;
            }
            Effect::InstallSnapshot(meta) => self.install(shared, &meta)?,
            Effect::LeadershipChanged(leadership) => {
                self.reads.leadership_changed();
                self.suspected = self.suspected.filter(|suspect| leadership.leader == Some(*suspect));
                self.machine.leadership(shared.now, leadership)?;
                if leadership.role != RoleKind::Leader {
                    self.sending.clear();
                    self.wanted.clear();
                    self.leave_change();
                }
            }
        }
        Ok(())
    }

    fn persist(&self, shared: &mut Shared, persist: Persist, payloads: Payloads<'_>) {
        let entries = persist.append.map(|append| entries::entries_of(&append, payloads)).unwrap_or_default();
        let write = Write { group: self.id, ticket: persist.ticket, hard_state: persist.hard_state, entries };
        shared.log.save(write);
    }

    fn send(&mut self, shared: &mut Shared, to: NodeId, message: Message) -> Result<(), EngineError> {
        let Some(payloads) = entries::payloads_for(&shared.log, self.id, &message.body)? else {
            tracing::debug!(group = self.id.0, %to, "dropped a message about entries that are not in the log any more");
            return Ok(());
        };
        shared.send(to, Frame::Raft { group: self.id, message, payloads });
        Ok(())
    }

    /// Applies committed entries, a bounded part of them. True where more are left.
    pub fn apply(&mut self, shared: &mut Shared) -> Result<bool, EngineError> {
        if self.committed > self.applied.index && !self.is_saturated(&shared.settings) {
            let first = self.applied.index.next();
            let entries = shared.log.entries(self.id, first, self.committed, shared.settings.apply_bytes_max)?;
            let mut committed = Vec::with_capacity(entries.len());
            for entry in entries {
                self.replay_bytes += entry.payload.len() as u64 + 32;
                self.applied = LogPosition { term: entry.term, index: entry.index };
                committed.push(entries::understand(self.id, &entry)?);
            }
            let configurations: Vec<_> =
                committed.iter().filter_map(|entry| Some((entry.index, entry.configuration.clone()?))).collect();
            self.machine.apply(committed)?;
            Unsaved::note(&mut self.unsaved, shared.now);
            configurations.iter().for_each(|(index, configuration)| self.settle_change(*index, configuration));
            self.step(shared, Input::Applied(self.applied.index), NO_PAYLOADS)?;
        }
        self.answer_questions(shared);
        self.lag.note(shared.now, self.is_held_back(shared) || self.is_low_on_space(shared));
        for id in self.reads.ready(self.applied.index) {
            self.machine.reads_ready(id);
        }
        self.machine.observe(Progress {
            term: self.node.term(),
            commit: self.node.commit_index(),
            applied: self.applied.index,
            last: self.node.last_index(),
            leader: self.node.leader(),
            disk_stalled: shared.stall.hangs(),
            low_space: self.is_low_on_space(shared),
            mending: false,
        });
        let more = self.committed > self.applied.index && !self.is_saturated(&shared.settings);
        Ok(more || self.reads.can_begin())
    }
}
