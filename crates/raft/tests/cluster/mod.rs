//! A cluster in memory: replicas with disks that may be slow or forget, a network that a test holds in its hands, and a
//! record of everything that must never happen. Scripts and random runs both drive it.

#![allow(clippy::unwrap_used, dead_code)] // each test binary uses its part of the harness

pub mod facts;
pub mod log;
pub mod majority;
pub mod member;
pub mod network;
pub mod seen;
pub mod story;
pub mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use facts::Facts;
use kontiki_raft::{
    AppendEntries, Body, Configuration, Effect, Incarnation, Index, Input, LogPosition, MemberChange, Message, NodeId,
    ReadId, Refusal, RoleKind, Settings, SnapshotMeta, Term,
};
use log::Entry;
use member::{Member, Stored};
use network::{Choice, Content, Network, Packet};
use seen::Seen;

/// Replicas, their network, and what is known about the run.
pub struct Cluster {
    pub members: BTreeMap<NodeId, Member>,
    pub network: Network,
    /// Packets for processes that stand still.
    waiting: Vec<Packet>,
    pub facts: Facts,
    /// What happened, in words, since somebody last looked.
    pub trace: trace::Trace,
    pub seen: Seen,
    /// Disks that complete their writes only when told.
    pub slow_disks: BTreeSet<NodeId>,
    pub settings: Arc<Settings>,
    pub refusals: Vec<(NodeId, Refusal)>,
    /// State machines apply at once what is committed.
    pub applies_at_once: bool,
    /// Lives of disks are told apart.
    lives: bool,
    next_entry: u64,
    next_read: u64,
}

/// Members of a cluster at its beginning.
pub struct Beginning {
    pub configuration: Configuration,
    pub settings: Settings,
    pub seed: u64,
    /// Lives of disks are told apart.
    pub lives: bool,
}

impl Cluster {
    /// The members of a configuration, all with empty disks and running.
    pub fn new(beginning: Beginning) -> Cluster {
        let Beginning { configuration, settings, seed, lives } = beginning;
        let (configuration, settings) = (Arc::new(configuration), Arc::new(settings));
        let mut cluster = Cluster {
            members: BTreeMap::new(),
            network: Network::default(),
            waiting: Vec::new(),
            facts: Facts::new(Arc::clone(&configuration)),
            trace: trace::Trace::default(),
            seen: Seen::default(),
            slow_disks: BTreeSet::new(),
            settings,
            refusals: Vec::new(),
            applies_at_once: true,
            lives,
            next_entry: 0,
            next_read: 0,
        };
        for id in configuration.members() {
            cluster.add(id, Arc::clone(&configuration), seed);
        }
        cluster
    }

    fn add(&mut self, id: NodeId, initial: Arc<Configuration>, seed: u64) {
        let life = self.lives.then(|| life(id, 1));
        let member = Member::new(id, life, initial, Arc::clone(&self.settings), seed);
        self.members.insert(id, member);
    }

    /// Somebody new starts, and waits to be added to the group.
    pub fn join(&mut self, id: NodeId, seed: u64) {
        self.add(id, Arc::default(), seed);
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.members.keys().copied().collect()
    }

    pub fn member(&self, id: NodeId) -> &Member {
        &self.members[&id]
    }

    pub fn member_mut(&mut self, id: NodeId) -> &mut Member {
        self.members.get_mut(&id).expect("is one of the cluster's")
    }

    pub fn runs(&self, id: NodeId) -> bool {
        self.members.get(&id).is_some_and(|member| member.node.is_some())
    }

    /// The running member that leads in the highest term.
    pub fn leader(&self) -> Option<NodeId> {
        let running = self.members.values().filter_map(|member| member.node.as_ref());
        running.filter(|node| node.role() == RoleKind::Leader).max_by_key(|node| node.term()).map(|node| node.id())
    }

    pub fn leader_term(&self) -> Option<Term> {
        self.leader().map(|id| self.member(id).node().term())
    }

    /// One input, its effects, and the end of the turn.
    pub fn turn(&mut self, id: NodeId, input: Input) {
        self.step(id, input);
        self.flush(id);
    }

    /// One input and its effects. Does nothing to a member that is down.
    pub fn step(&mut self, id: NodeId, input: Input) {
        self.step_with(id, input, Vec::new());
    }

    fn step_with(&mut self, id: NodeId, input: Input, received: Vec<Entry>) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let Some(node) = member.node.as_mut().filter(|_| !member.paused) else { return };
        let asks = match &input {
            Input::Read(_) => true,
            Input::Receive { message, .. } => matches!(message.body, Body::ReadIndex(_)),
            _ => false,
        };
        let mut effects = Vec::new();
        node.step(input, &mut effects);
        if asks {
            self.note_lease_read(id, &effects);
        }
        self.carry_out(id, effects, &received);
    }

    /// A leader that answers a read in the very step in which it came has asked nobody.
    fn note_lease_read(&mut self, id: NodeId, effects: &[Effect]) {
        let member = &self.members[&id];
        let answers = |effect: &Effect| match effect {
            Effect::ReadReady { .. } => true,
            Effect::Send { message, .. } => matches!(message.body, Body::ReadIndexReply { index: Some(_), .. }),
            _ => false,
        };
        if member.node().role() == RoleKind::Leader && effects.iter().any(answers) {
            self.facts.check_lease(member);
            let configuration = member.log.configuration();
            self.seen.lease_reads += u64::from(configuration.lease.is_some() && configuration.voters.len() > 1);
        }
    }

    /// The end of a member's turn.
    pub fn flush(&mut self, id: NodeId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let Some(node) = member.node.as_mut().filter(|_| !member.paused) else { return };
        let mut effects = Vec::new();
        node.flush(&member.log, &mut effects);
        self.carry_out(id, effects, &[]);
    }

    fn carry_out(&mut self, id: NodeId, effects: Vec<Effect>, received: &[Entry]) {
        let member = self.members.get_mut(&id).unwrap();
        let term = member.node().term();
        for decision in member.take_decisions() {
            self.trace.decision(id, &decision);
        }
        let mut committed = false;
        for effect in effects {
            self.trace.effect(id, term, &effect);
            self.seen.effect(&effect, &self.members[&id].log);
            committed |= matches!(effect, Effect::Committed(_));
            self.carry_out_one(id, effect, received);
        }
        let member = &self.members[&id];
        member.check_view();
        self.facts.check_beliefs(member, &self.members);
        if committed && self.applies_at_once {
            self.apply(id);
            self.flush(id);
        }
        if !self.slow_disks.contains(&id) {
            self.complete_writes(id, usize::MAX);
        }
    }

    fn carry_out_one(&mut self, id: NodeId, effect: Effect, received: &[Entry]) {
        let member = self.members.get_mut(&id).unwrap();
        match effect {
            Effect::Persist(persist) => {
                let next_entry = &mut self.next_entry;
                let proposed = || {
                    *next_entry += 1;
                    *next_entry
                };
                member.stage(persist, received, proposed, &mut self.facts);
            }
            Effect::Send { to, message } => {
                self.facts.check_message(member, to, &message);
                let entries = match &message.body {
                    Body::AppendEntries(AppendEntries { entries, .. }) | Body::Pulled(entries) => {
                        assert!(member.log.has(entries), "{id} sends entries that it does not hold");
                        member.log.read(entries.prev.index.next(), entries.last)
                    }
                    _ => Vec::new(),
                };
                self.network.send(Packet { from: id, to, content: Content::Message(message, entries) });
            }
            Effect::Committed(index) => {
                let member = &self.members[&id];
                self.facts.committed(member, index, &self.members);
                self.seen.committed = self.seen.committed.max(index.0);
                self.member_mut(id).committed = index;
            }
            Effect::ReadReady { id: read, index } => self.facts.read_ready(read, index),
            Effect::ReadRefused(read) => self.facts.read_refused(read),
            Effect::ProposalRefused(refusal) => self.refusals.push((id, refusal)),
            Effect::ChangeRefused(_) => {}
            Effect::Excluded(exclusion) => {
                member.excluded = Some((exclusion, Arc::clone(member.log.configuration())));
            }
            Effect::SendSnapshot { to, at_least } => {
                let meta = member.snapshot();
                // One without members helps nobody: this member does not know who they were then.
                if meta.position.index >= at_least && !meta.configuration.voters.is_empty() {
                    self.network.send(Packet { from: id, to, content: Content::Snapshot(meta) });
                }
            }
            Effect::InstallSnapshot(meta) => {
                self.facts.installs(member, &meta);
                member.install(meta);
            }
            Effect::LeadershipChanged(leadership) => self.facts.leadership(member, leadership),
        }
    }

    /// The oldest `count` writes of a member become durable.
    pub fn complete_writes(&mut self, id: NodeId, count: usize) {
        for _ in 0..count {
            let member = self.member_mut(id);
            if member.paused {
                return;
            }
            let Some(ticket) = member.complete_write() else { return };
            self.turn(id, Input::Persisted(ticket));
        }
    }

    /// A packet arrives. The turn does not end.
    pub fn arrive(&mut self, packet: Packet) {
        if self.network.cut.contains(&(packet.from, packet.to)) || !self.runs(packet.to) {
            return;
        }
        if self.members[&packet.to].paused {
            self.waiting.push(packet);
            return;
        }
        let Packet { from, to, content } = packet;
        match content {
            Content::Message(message, entries) => self.step_with(to, Input::Receive { from, message }, entries),
            Content::Snapshot(meta) => {
                let position = meta.position;
                self.receive_snapshot(to, meta);
                // The stream's own acknowledgement; it is not subject to the test's choice of packets.
                self.turn(from, Input::SnapshotSent { to, installed: Some(position) });
            }
        }
    }

    pub fn receive_snapshot(&mut self, to: NodeId, meta: SnapshotMeta) {
        self.turn(to, Input::SnapshotReceived(meta));
    }

    /// A packet arrives and the receiver's turn ends.
    pub fn deliver(&mut self, packet: Packet) {
        let to = packet.to;
        self.arrive(packet);
        self.flush(to);
    }

    /// The chosen packets arrive, oldest first, but nothing that this causes; in one turn, or each in a turn of its own.
    pub fn deliver_chosen(&mut self, chosen: Choice, one_turn: bool) {
        for packet in self.network.take(chosen) {
            if one_turn { self.arrive(packet) } else { self.deliver(packet) }
        }
        for id in self.ids() {
            self.flush(id);
        }
    }

    /// Copies of what is chosen: behind everything else, or held back until they are released.
    pub fn repeat(&mut self, mut chosen: Choice, late: bool) {
        let network = &mut self.network;
        let all = network.packets.iter().chain(&network.held);
        let copies: Vec<Packet> = all.filter(|packet| chosen.takes(packet)).cloned().collect();
        if late { network.held.extend(copies) } else { network.packets.extend(copies) }
    }

    /// A message arrives that nobody has sent.
    pub fn forge(&mut self, from: NodeId, to: NodeId, message: Message, entries: Vec<Entry>) {
        self.deliver(Packet { from, to, content: Content::Message(message, entries) });
    }

    /// Everything that is under way arrives, and everything that follows from it.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.network.packets.is_empty() {
                return;
            }
            let packet = self.network.packets.remove(0);
            self.deliver(packet);
        }
        panic!("the network does not come to rest");
    }

    /// Proposes entries at a member.
    pub fn propose(&mut self, id: NodeId, count: u64) {
        self.turn(id, Input::Propose { count, bytes: count });
    }

    /// Asks a member for a change of membership.
    pub fn change(&mut self, id: NodeId, changes: Vec<MemberChange>) {
        self.turn(id, Input::ChangeMembership(changes));
    }

    /// Asks for a linearizable read at a member.
    pub fn read(&mut self, id: NodeId) -> ReadId {
        self.next_read += 1;
        let read = ReadId(self.next_read);
        self.facts.read_asked(read);
        self.turn(id, Input::Read(read));
        read
    }

    /// The state machine of a member applies what is committed.
    pub fn apply(&mut self, id: NodeId) {
        let committed = self.members[&id].committed;
        self.step(id, Input::Applied(committed));
    }

    /// A member takes a checkpoint of what is applied and durable, and cuts its log behind it.
    pub fn compact(&mut self, id: NodeId, keep: u64) {
        self.apply(id);
        let member = self.member_mut(id);
        if member.node.is_none() || member.paused {
            return;
        }
        if let Some(index) = member.checkpoint(keep) {
            self.step(id, Input::Compacted(index));
            self.members[&id].check_view();
        }
    }

    /// A member's process dies. Of its unfinished writes the oldest `survive` are on disk all the same.
    pub fn crash(&mut self, id: NodeId, survive: usize) {
        self.seen.crashes += 1;
        self.member_mut(id).crash(survive);
        self.network.forget(id);
        self.waiting.retain(|packet| packet.to != id);
    }

    /// A member starts anew from its disk.
    pub fn restart(&mut self, id: NodeId, seed: u64) {
        self.member_mut(id).restart(seed);
    }

    /// A member loses its disk, and with it its life.
    pub fn wipe(&mut self, id: NodeId, joins: bool) {
        self.crash(id, 0);
        self.seen.wipes += 1;
        let number = self.members[&id].former.len() as u64 + 2;
        let next = self.lives.then(|| life(id, number));
        self.member_mut(id).wipe(next, joins);
    }

    /// A member's process stands still.
    pub fn sleep(&mut self, id: NodeId) {
        self.seen.pauses += 1;
        self.member_mut(id).paused = true;
    }

    /// It goes on, and knows that time was lost. What waited for it is under way again.
    pub fn wake(&mut self, id: NodeId) {
        let member = self.member_mut(id);
        if !std::mem::take(&mut member.paused) {
            return;
        }
        self.turn(id, Input::Paused);
        let waiting = self.waiting.extract_if(.., |packet| packet.to == id);
        self.network.packets.extend(waiting);
    }

    /// A member goes on alone by force. Nothing can be held against the cores after that.
    pub fn force_new_cluster(&mut self, id: NodeId) {
        self.facts.suspend();
        self.turn(id, Input::ForceNewCluster);
    }

    /// Cuts a member off from all others.
    pub fn isolate(&mut self, id: NodeId) {
        for other in self.ids() {
            self.cut_pair(id, other);
        }
    }

    /// Cuts the connection between two members.
    pub fn cut_pair(&mut self, one: NodeId, two: NodeId) {
        self.network.cut(one, two);
        self.network.cut(two, one);
    }

    /// All can hear each other again.
    pub fn heal(&mut self) {
        self.network.cut.clear();
    }

    /// Replaces what a stopped member has on its disk.
    pub fn write_disk(&mut self, id: NodeId, stored: Stored) {
        for position in stored.log.positions() {
            let entry = stored.log.entry(position.index).unwrap();
            let before = stored.log.term_at(position.index.previous()).unwrap();
            self.facts.entry(position, entry, before);
        }
        self.member_mut(id).stored = stored;
    }

    /// The position of the newest entry that any member has committed.
    pub fn newest_committed(&self) -> LogPosition {
        self.facts.newest_committed()
    }

    /// Whether every running member has committed up to `index`.
    pub fn all_committed(&self, index: Index) -> bool {
        self.members.values().filter_map(|member| member.node.as_ref()).all(|node| node.commit_index() >= index)
    }
}

/// The lives of members are numbered, so that they can be told in words.
pub fn life(id: NodeId, number: u64) -> Incarnation {
    Incarnation(id.0 * 0x100 + number)
}
