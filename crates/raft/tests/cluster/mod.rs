//! A cluster in memory: replicas with disks that may be slow or forget, a network that a test holds in its hands, and a
//! record of everything that must never happen. Scripts and random runs both drive it.

#![allow(clippy::unwrap_used, dead_code)] // each test binary uses its part of the harness

pub mod facts;
pub mod member;
pub mod trace;

use std::collections::{BTreeMap, BTreeSet};

use facts::Facts;
use kontiki_raft::{
    Body, Configuration, Effect, Index, Input, LogPosition, Message, NodeId, ReadId, Refusal, RoleKind, Settings,
    SnapshotMeta, Term,
};
use member::{Entry, Member, Stored};

/// Something on its way between two members.
#[derive(Clone, Debug)]
pub struct Packet {
    pub from: NodeId,
    pub to: NodeId,
    pub content: Content,
}

/// What is on its way.
#[derive(Clone, Debug)]
pub enum Content {
    /// A message with the entries that travel beside it.
    Message(Message, Vec<Entry>),
    /// A whole snapshot.
    Snapshot(SnapshotMeta),
}

/// Replicas, their network, and what is known about the run.
pub struct Cluster {
    pub members: BTreeMap<NodeId, Member>,
    /// Packets under way, oldest first. The test decides which arrive.
    pub network: Vec<Packet>,
    /// Pairs that cannot hear each other.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    pub facts: Facts,
    /// What happened, in words, since somebody last looked.
    pub trace: trace::Trace,
    /// Disks that complete their writes only when told.
    pub slow_disks: BTreeSet<NodeId>,
    pub settings: Settings,
    pub refusals: Vec<(NodeId, Refusal)>,
    /// How many snapshots were installed.
    pub installed: u64,
    next_entry: u64,
    next_read: u64,
}

impl Cluster {
    /// Members 1 to `size`, all with empty disks and running.
    pub fn new(size: u64, settings: Settings, seed: u64) -> Cluster {
        Cluster::with_configuration(Configuration::of((1..=size).map(NodeId)), settings, seed)
    }

    /// The members of `configuration`, all with empty disks and running.
    pub fn with_configuration(configuration: Configuration, settings: Settings, seed: u64) -> Cluster {
        let mut cluster = Cluster {
            members: BTreeMap::new(),
            network: Vec::new(),
            cut: BTreeSet::new(),
            facts: Facts::default(),
            trace: trace::Trace::default(),
            slow_disks: BTreeSet::new(),
            settings,
            refusals: Vec::new(),
            installed: 0,
            next_entry: 0,
            next_read: 0,
        };
        for id in configuration.members() {
            cluster.members.insert(id, Member::new(id, configuration.clone(), settings, seed));
        }
        cluster
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.members.keys().copied().collect()
    }

    pub fn member(&self, id: NodeId) -> &Member {
        &self.members[&id]
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
        let member = self.members.get_mut(&id).unwrap();
        let Some(node) = &mut member.node else { return };
        let mut effects = Vec::new();
        node.step(input, &mut effects);
        self.carry_out(id, effects, &received);
    }

    /// The end of a member's turn.
    pub fn flush(&mut self, id: NodeId) {
        let member = self.members.get_mut(&id).unwrap();
        let Some(node) = &mut member.node else { return };
        let mut effects = Vec::new();
        node.flush(&member.log, &mut effects);
        self.carry_out(id, effects, &[]);
    }

    fn carry_out(&mut self, id: NodeId, effects: Vec<Effect>, received: &[Entry]) {
        let (term, cut_off) = {
            let node = self.members[&id].node.as_ref().unwrap();
            (node.term(), self.cut.clone())
        };
        for effect in effects {
            self.trace.effect(id, term, &effect);
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
                    self.facts.check_promise(member, to, &message);
                    let entries = match &message.body {
                        Body::AppendEntries(request) => member.log.read(request.prev.index.next(), request.last),
                        _ => Vec::new(),
                    };
                    if !cut_off.contains(&(id, to)) {
                        self.network.push(Packet { from: id, to, content: Content::Message(message, entries) });
                    }
                }
                Effect::Committed(index) => {
                    let member = &self.members[&id];
                    self.facts.committed(member, index, &self.members);
                    self.members.get_mut(&id).unwrap().committed = index;
                }
                Effect::ReadReady { id: read, index } => self.facts.read_ready(read, index),
                Effect::ReadRefused(read) => self.facts.read_refused(read),
                Effect::ProposalRefused(refusal) => self.refusals.push((id, refusal)),
                Effect::SendSnapshot { to, at_least } => {
                    let meta = member.snapshot();
                    if meta.position.index >= at_least && !cut_off.contains(&(id, to)) {
                        self.network.push(Packet { from: id, to, content: Content::Snapshot(meta) });
                    }
                }
                Effect::InstallSnapshot(meta) => {
                    member.install(meta);
                    self.installed += 1;
                }
                Effect::LeadershipChanged(leadership) => self.facts.leadership(member, leadership),
            }
        }
        let member = &self.members[&id];
        member.check_view();
        if !self.slow_disks.contains(&id) {
            self.complete_writes(id, usize::MAX);
        }
    }

    /// The oldest `count` writes of a member become durable.
    pub fn complete_writes(&mut self, id: NodeId, count: usize) {
        for _ in 0..count {
            let Some(ticket) = self.members.get_mut(&id).unwrap().complete_write() else { return };
            self.turn(id, Input::Persisted(ticket));
        }
    }

    /// A packet arrives. The turn does not end.
    pub fn arrive(&mut self, packet: Packet) {
        let Packet { from, to, content } = packet;
        if self.cut.contains(&(from, to)) || self.members[&to].node.is_none() {
            return;
        }
        match content {
            Content::Message(message, entries) => self.step_with(to, Input::Receive { from, message }, entries),
            Content::Snapshot(meta) => {
                let position = meta.position;
                self.step(to, Input::SnapshotReceived(meta));
                self.flush(to);
                // The stream's own acknowledgement; it is not subject to the test's choice of packets.
                self.turn(from, Input::SnapshotSent { to, installed: Some(position) });
            }
        }
    }

    /// A packet arrives and the receiver's turn ends.
    pub fn deliver(&mut self, packet: Packet) {
        let to = packet.to;
        self.arrive(packet);
        self.flush(to);
    }

    /// Everything that is under way arrives, and everything that follows from it.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.network.is_empty() {
                return;
            }
            let packet = self.network.remove(0);
            self.deliver(packet);
        }
        panic!("the network does not come to rest");
    }

    /// Proposes one entry at a member.
    pub fn propose(&mut self, id: NodeId, count: u64) {
        self.turn(id, Input::Propose { count, bytes: count });
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
        let member = self.members.get_mut(&id).unwrap();
        if member.node.is_none() {
            return;
        }
        if let Some(index) = member.checkpoint(keep) {
            self.step(id, Input::Compacted(index));
            self.members[&id].check_view();
        }
    }

    /// A member's process dies. Of its unfinished writes the oldest `survive` are on disk all the same.
    pub fn crash(&mut self, id: NodeId, survive: usize) {
        self.members.get_mut(&id).unwrap().crash(survive);
        self.network.retain(|packet| packet.to != id);
    }

    /// A member starts anew from its disk.
    pub fn restart(&mut self, id: NodeId, seed: u64) {
        self.members.get_mut(&id).unwrap().restart(seed);
    }

    /// Cuts a member off from all others.
    pub fn isolate(&mut self, id: NodeId) {
        for other in self.ids() {
            self.cut_pair(id, other);
        }
    }

    /// Cuts the connection between two members.
    pub fn cut_pair(&mut self, one: NodeId, two: NodeId) {
        self.cut.insert((one, two));
        self.cut.insert((two, one));
        let cut = &self.cut;
        self.network.retain(|packet| !cut.contains(&(packet.from, packet.to)));
    }

    /// All can hear each other again.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Replaces what a stopped member has on its disk.
    pub fn write_disk(&mut self, id: NodeId, stored: Stored) {
        for position in stored.log.positions() {
            let entry = stored.log.entry(position.index).unwrap();
            let before = stored.log.term_at(position.index.previous()).unwrap();
            self.facts.entry(position, entry, before);
        }
        self.members.get_mut(&id).unwrap().stored = stored;
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
