//! A whole cluster in one thread: production engines, logs and frames on simulated disks, network and time, from a seed.

#![allow(dead_code, reason = "each test uses its part of the harness")]

pub mod damage;
mod disks;
pub mod ledger;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kontiki_engine::{COMMAND, CheckpointJob, Engine, Event, GroupStart, Outbox, PartJob, Scrub, Settings};
use kontiki_log::{Identity, Log, Options as LogOptions, ReserveJob, WriteJob};
use kontiki_raft::{Configuration, GroupId, Incarnation, Index, MemberChange, NodeId, RoleKind};
use kontiki_transport::{Frame, Received, decode, encode};
use kontiki_world::{Disk, OpenMode, Random, SimDisk};

use ledger::{Content, Ledger};

/// What is going to happen.
#[allow(clippy::large_enum_variant, reason = "few are under way at a time")]
enum Happening {
    Frame { from: NodeId, to: NodeId, bytes: Bytes },
    Written { node: NodeId, life: u64, job: WriteJob },
    Reserved { node: NodeId, life: u64, job: ReserveJob },
    Part { node: NodeId, life: u64, group: GroupId, job: PartJob },
    Checkpoint { node: NodeId, life: u64, group: GroupId, job: CheckpointJob<Content> },
    Scrub { node: NodeId, life: u64, job: Scrub },
    Suspect { node: NodeId, peer: NodeId },
    Connected { node: NodeId, peer: NodeId },
}

struct Member {
    disk: SimDisk,
    engine: Option<Engine<Ledger>>,
    /// Which life this is: work of a former one is lost.
    life: u64,
    inbox: Vec<Event<Ledger>>,
    /// A turn left work behind.
    more: bool,
}

/// The cluster.
pub struct Cluster {
    pub now: Duration,
    pub random: Random,
    members: BTreeMap<NodeId, Member>,
    groups: Vec<GroupId>,
    settings: Settings,
    happenings: BTreeMap<(Duration, u64), Happening>,
    sequence: u64,
    /// One-way cuts: nothing gets from the first to the second.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// One frame in so many is lost; zero for none.
    pub loss: u64,
    /// What was applied at each index of each group, by whoever came first: State Machine Safety.
    history: BTreeMap<(GroupId, u64), Bytes>,
    checked: BTreeMap<(NodeId, u64, GroupId), u64>,
    pub snapshots_sent: u64,
    next_command: u64,
    /// The first members of every group, where not all are.
    founders: Option<BTreeSet<NodeId>>,
    /// How often a member lost its disk.
    wipes: BTreeMap<NodeId, u64>,
    /// Members that go on alone at their next start.
    forced: BTreeSet<NodeId>,
    /// Members whose process gets no time.
    asleep: BTreeSet<NodeId>,
    /// Size of the logs' segments, from the next start on.
    pub segment_bytes: u64,
    disks: disks::Disks,
    links: disks::Links,
    /// Bytes of entries that were sent to mend others.
    pub repair_bytes: u64,
    /// How often a member was mended.
    pub mends: u64,
    /// Entries that the log of a member is told to have lost at its next start.
    losses: BTreeMap<NodeId, Vec<(GroupId, u64, u64)>>,
}

/// Collects a turn's work with random delays.
struct SimOutbox<'a> {
    from: NodeId,
    life: u64,
    now: Duration,
    random: &'a mut Random,
    out: Vec<(Duration, Happening)>,
    snapshots: u64,
    /// How much slower the disk is than others.
    slower: u32,
    repair_bytes: u64,
    /// Groups about which this member sent messages of a core in this turn.
    spoke: BTreeSet<GroupId>,
}

impl SimOutbox<'_> {
    fn after(&mut self, least: u64, spread: u64) -> Duration {
        self.now + Duration::from_micros(least + self.random.below(spread))
    }
}

impl Outbox<Ledger> for SimOutbox<'_> {
    fn send(&mut self, to: NodeId, frames: Vec<Frame>) {
        let at = self.after(50, 2_000);
        for frame in frames {
            self.snapshots += u64::from(matches!(frame, Frame::SnapshotChunk { sequence: 0, .. }));
            match &frame {
                Frame::Repaired { payloads, .. } => {
                    self.repair_bytes += payloads.iter().map(|payload| payload.len() as u64).sum::<u64>();
                }
                Frame::Raft { group, .. } => drop(self.spoke.insert(*group)),
                _ => {}
            }
            let mut bytes = BytesMut::new();
            encode(&frame, &mut bytes);
            self.out.push((at, Happening::Frame { from: self.from, to, bytes: bytes.freeze() }));
        }
    }

    fn write(&mut self, job: WriteJob) {
        let at = self.now + (self.after(100, 5_000) - self.now) * self.slower;
        self.out.push((at, Happening::Written { node: self.from, life: self.life, job }));
    }

    fn reserve(&mut self, job: ReserveJob) {
        let at = self.after(100, 1_000);
        self.out.push((at, Happening::Reserved { node: self.from, life: self.life, job }));
    }

    fn receive(&mut self, group: GroupId, job: PartJob) {
        // Always as long: parts are written in order.
        let at = self.now + Duration::from_micros(300);
        self.out.push((at, Happening::Part { node: self.from, life: self.life, group, job }));
    }

    fn checkpoint(&mut self, group: GroupId, job: CheckpointJob<Content>) {
        let at = self.after(5_000, 50_000);
        self.out.push((at, Happening::Checkpoint { node: self.from, life: self.life, group, job }));
    }

    fn scrub(&mut self, job: Scrub) {
        let at = self.after(1_000, 20_000);
        self.out.push((at, Happening::Scrub { node: self.from, life: self.life, job }));
    }
}

impl Cluster {
    /// Members 1 to `size`, each with a replica of each group.
    pub fn new(seed: u64, size: u64, groups: u64, settings: Settings) -> Cluster {
        let mut cluster = Cluster {
            now: Duration::from_secs(1),
            random: Random::new(seed),
            members: BTreeMap::new(),
            groups: (1..=groups).map(GroupId).collect(),
            settings,
            happenings: BTreeMap::new(),
            sequence: 0,
            cut: BTreeSet::new(),
            loss: 0,
            history: BTreeMap::new(),
            checked: BTreeMap::new(),
            snapshots_sent: 0,
            next_command: 0,
            founders: None,
            wipes: BTreeMap::new(),
            forced: BTreeSet::new(),
            asleep: BTreeSet::new(),
            segment_bytes: 256 << 10,
            disks: disks::Disks::default(),
            links: disks::Links::default(),
            repair_bytes: 0,
            mends: 0,
            losses: BTreeMap::new(),
        };
        for id in (1..=size).map(NodeId) {
            let disk = SimDisk::new(seed ^ id.0 << 32);
            cluster.members.insert(id, Member { disk, engine: None, life: 0, inbox: Vec::new(), more: false });
        }
        for id in (1..=size).map(NodeId) {
            cluster.start(id);
        }
        cluster
    }

    /// As [`Cluster::new`], with groups of the first `founders` members; the others wait to be added.
    pub fn founded(seed: u64, size: u64, founders: u64, settings: Settings) -> Cluster {
        let mut cluster = Cluster::new(seed, size, 1, settings);
        for id in cluster.ids() {
            cluster.wipe(id);
        }
        cluster.founders = Some((1..=founders).map(NodeId).collect());
        for id in cluster.ids() {
            cluster.start(id);
        }
        cluster
    }

    /// The life of a member's disk.
    fn incarnation(&self, id: NodeId) -> Incarnation {
        Incarnation(id.0 + 1_000 * (1 + self.wipes.get(&id).copied().unwrap_or(0)))
    }

    /// A member's process ends and its disk is replaced by an empty one.
    pub fn wipe(&mut self, id: NodeId) {
        self.crash(id);
        *self.wipes.entry(id).or_default() += 1;
        let seed = self.random.next_u64();
        self.members.get_mut(&id).unwrap().disk = SimDisk::new(seed);
    }

    /// A member that is in no group any more gets an empty disk, and waits to be added.
    pub fn renew(&mut self, id: NodeId) {
        self.wipe(id);
        if let Some(founders) = &mut self.founders {
            founders.remove(&id);
        }
        self.start(id);
    }

    /// The next start of a member goes on alone.
    pub fn force(&mut self, id: NodeId) {
        self.forced.insert(id);
    }

    /// Asks for a change of membership at a member, by a name of its own.
    pub fn change(&mut self, at: NodeId, group: GroupId, id: u64, changes: Vec<MemberChange>) {
        let event = Event::ChangeMembership { group, id, changes };
        self.members.get_mut(&at).unwrap().inbox.push(event);
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.members.keys().copied().collect()
    }

    pub fn is_up(&self, id: NodeId) -> bool {
        self.members[&id].engine.is_some()
    }

    pub fn disk(&self, id: NodeId) -> &SimDisk {
        &self.members[&id].disk
    }

    pub fn engine(&self, id: NodeId) -> Option<&Engine<Ledger>> {
        self.members[&id].engine.as_ref()
    }

    /// Whether a member's last turn left work behind: it is called again at once.
    pub fn is_busy(&self, id: NodeId) -> bool {
        self.members[&id].more
    }

    /// Starts a member from its disk.
    pub fn start(&mut self, id: NodeId) {
        let configuration = Arc::new(match &self.founders {
            None => Configuration::of(self.ids()),
            Some(founders) if founders.contains(&id) => Configuration::of(founders.iter().copied()),
            Some(_) => Configuration::default(), // waits to be added
        });
        let incarnation = Some(self.incarnation(id));
        let member = self.members.get_mut(&id).unwrap();
        assert!(member.engine.is_none());
        member.life += 1;
        member.inbox.clear();
        let disk: Arc<dyn kontiki_world::Disk> = Arc::new(member.disk.clone());
        let options = LogOptions {
            segment_bytes: self.segment_bytes,
            cache_bytes: 64 << 10,
            salt: Some(7),
            ..LogOptions::default()
        };
        let identity = Identity { cluster_id: 1, member_id: id.0 };
        let (mut log, mut recovered) = Log::open(disk.clone(), Path::new("/wal"), identity, options).unwrap();
        for (group, first, last) in self.losses.remove(&id).unwrap_or_default() {
            log.lose(group, Index(first), Index(last));
            recovered.insert(group, log.recovered(group).unwrap());
        }
        let mut engine = Engine::new(id, log, self.settings, self.now);
        for group in &self.groups {
            let machine = Ledger::open(disk.clone(), &Path::new("/state").join(group.0.to_string()));
            let start = GroupStart {
                group: *group,
                configuration: configuration.clone(),
                incarnation,
                seed: self.random.next_u64(),
                force_new_cluster: self.forced.remove(&id),
            };
            engine.add_group(start, recovered.remove(group), machine).unwrap();
        }
        self.members.get_mut(&id).unwrap().engine = Some(engine);
    }

    /// Power fails at one member: its work under way is lost, whole or torn; the others' connections break.
    pub fn crash(&mut self, id: NodeId) {
        let life = self.members[&id].life;
        let keys: Vec<_> = self
            .happenings
            .iter()
            .filter(|(_, what)| match what {
                Happening::Written { node, life: of, .. }
                | Happening::Reserved { node, life: of, .. }
                | Happening::Part { node, life: of, .. }
                | Happening::Checkpoint { node, life: of, .. }
                | Happening::Scrub { node, life: of, .. } => *node == id && *of == life,
                Happening::Frame { .. } | Happening::Suspect { .. } | Happening::Connected { .. } => false,
            })
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            // Half of the writes under way have reached the disk's cache, from where a crash may tear them.
            if let Some(Happening::Written { job, .. }) = self.happenings.remove(&key)
                && self.random.one_in(2)
            {
                self.members[&id].disk.fail_syncs(true);
                assert!(job.run().is_err(), "no sync succeeds while the power fails");
            }
        }
        let member = self.members.get_mut(&id).unwrap();
        member.engine = None;
        member.more = false;
        member.disk.crash();
        member.disk.fail_syncs(false);
        for peer in self.ids().into_iter().filter(|peer| *peer != id) {
            let at = self.now + Duration::from_micros(self.random.below(3_000));
            self.schedule(at, Happening::Suspect { node: peer, peer: id });
        }
    }

    fn schedule(&mut self, at: Duration, what: Happening) {
        self.sequence += 1;
        self.happenings.insert((at, self.sequence), what);
    }

    /// Proposes a new command at a member; its number.
    pub fn propose(&mut self, at: NodeId, group: GroupId) -> u64 {
        let filling = 40 + self.random.below(200) as usize;
        self.propose_filled(at, group, filling)
    }

    /// Proposes a new command that counts as one that frees space.
    pub fn propose_deletion(&mut self, at: NodeId, group: GroupId) -> u64 {
        self.propose_filled(at, group, 0)
    }

    /// Proposes a new command of about this size.
    pub fn propose_filled(&mut self, at: NodeId, group: GroupId, filling: usize) -> u64 {
        self.next_command += 1;
        let mut payload = BytesMut::new();
        payload.put_u8(COMMAND);
        payload.put_u64_le(self.next_command);
        payload.put_bytes(b'.', filling);
        let event = Event::Propose { group, payload: payload.freeze() };
        self.members.get_mut(&at).unwrap().inbox.push(event);
        self.next_command
    }

    /// Asks for a linearizable read at a member.
    pub fn read(&mut self, at: NodeId, group: GroupId) {
        let member = self.members.get_mut(&at).unwrap();
        if let Some(engine) = &mut member.engine {
            engine.machine_mut(group).unwrap().reads_wanted += 1;
            member.inbox.push(Event::Read(group));
        }
    }

    /// A member's process sleeps for a while, and the others go on.
    pub fn sleep(&mut self, id: NodeId, time: Duration) {
        self.asleep.insert(id);
        self.run(time);
        self.asleep.remove(&id);
    }

    /// Lets this much time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let next_tick = self
                .members
                .iter()
                .filter(|(id, _)| !self.asleep.contains(id))
                .filter_map(|(_, member)| member.engine.as_ref().map(Engine::next_tick))
                .min()
                .unwrap_or(end);
            let next = self.happenings.keys().next().map_or(next_tick, |(at, _)| next_tick.min(*at));
            self.now = next.max(self.now).min(end);
            self.happen();
            self.turns();
        }
    }

    fn happen(&mut self) {
        while let Some(entry) = self.happenings.first_entry()
            && entry.key().0 <= self.now
        {
            match entry.remove() {
                Happening::Frame { from, to, bytes } => {
                    let lost = self.cut.contains(&(from, to)) || self.random.one_in(self.loss);
                    let lost = lost || self.meddle(from, to, &bytes);
                    let member = self.members.get_mut(&to).unwrap();
                    if !lost && member.engine.is_some() {
                        let frame = decode(bytes).unwrap();
                        member.inbox.push(Event::Received(vec![Received::Frame { from, frame }]));
                    }
                }
                Happening::Suspect { node, peer } => {
                    self.members.get_mut(&node).unwrap().inbox.push(Event::Received(vec![Received::Suspect(peer)]));
                }
                Happening::Connected { node, peer } => self.connect(node, peer),
                Happening::Written { node, life, job } if self.disks.hangs(node) => {
                    self.disks.hold(node, Happening::Written { node, life, job });
                }
                Happening::Written { node, life, job } => {
                    let member = self.members.get_mut(&node).unwrap();
                    if member.life == life && member.engine.is_some() {
                        member.inbox.push(Event::LogWritten(job.run()));
                    }
                }
                Happening::Reserved { node, life, job } => {
                    let member = self.members.get_mut(&node).unwrap();
                    if member.life == life && member.engine.is_some() {
                        member.inbox.push(Event::LogReserved(job.run()));
                    }
                }
                Happening::Part { node, life, group, job } => {
                    let member = self.members.get_mut(&node).unwrap();
                    if member.life == life && member.engine.is_some() {
                        member.inbox.push(Event::PartWritten(group, job.run()));
                    }
                }
                Happening::Checkpoint { node, life, group, job } => {
                    let member = self.members.get_mut(&node).unwrap();
                    if member.life == life && member.engine.is_some() {
                        member.inbox.push(Event::CheckpointDone(group, job()));
                    }
                }
                Happening::Scrub { node, life, job } => {
                    let member = self.members.get_mut(&node).unwrap();
                    if member.life == life && member.engine.is_some() {
                        member.inbox.push(Event::Scrubbed(job.run(), Duration::from_micros(100)));
                    }
                }
            }
        }
    }

    fn turns(&mut self) {
        let mut out = Vec::new();
        for (id, member) in &mut self.members {
            let Some(engine) = &mut member.engine else {
                member.inbox.clear();
                continue;
            };
            let due = engine.next_tick() <= self.now;
            if self.asleep.contains(id) || (!due && member.inbox.is_empty() && !member.more) {
                continue;
            }
            let (now, life, slower) = (self.now, member.life, self.disks.slower(*id));
            let (given, spoke) = (Vec::new(), BTreeSet::new());
            let random = &mut self.random;
            let mut outbox =
                SimOutbox { from: *id, life, now, random, out: given, snapshots: 0, slower, repair_bytes: 0, spoke };
            let mending: Vec<GroupId> = self.groups.iter().copied().filter(|group| engine.is_mending(*group)).collect();
            member.more = engine.turn(self.now, std::mem::take(&mut member.inbox), &mut outbox).unwrap();
            self.mends += mending.iter().filter(|group| !engine.is_mending(**group)).count() as u64;
            for group in mending.into_iter().filter(|group| engine.is_mending(*group)) {
                assert!(!outbox.spoke.contains(&group), "{id} takes part in {group} although it is damaged");
                assert!(engine.node(group).is_none(), "{id} has a core in {group} although it is damaged");
            }
            self.snapshots_sent += outbox.snapshots;
            self.repair_bytes += outbox.repair_bytes;
            out.append(&mut outbox.out);
        }
        for (at, what) in out {
            self.schedule(at, what);
        }
        self.check();
    }

    /// Election Safety is asserted by the core. State Machine Safety: all members apply the same at the same index, now
    /// and after every crash.
    fn check(&mut self) {
        for (id, member) in &self.members {
            let Some(engine) = &member.engine else { continue };
            for group in &self.groups {
                let content = &engine.machine(*group).unwrap().content;
                let checked = self.checked.entry((*id, member.life, *group)).or_insert(0);
                for (index, command) in content.commands.range(*checked + 1..) {
                    let before = self.history.entry((*group, *index)).or_insert_with(|| command.clone());
                    assert_eq!(before, command, "State Machine Safety: {group} entry {index} at {id}");
                }
                *checked = content.meta.position.index.0;
            }
        }
    }

    /// The member that leads a group, if exactly the majority's latest one is up.
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.members
            .iter()
            .filter_map(|(id, member)| Some((*id, member.engine.as_ref()?.node(group)?)))
            .filter(|(_, node)| node.role() == RoleKind::Leader)
            .max_by_key(|(_, node)| node.term())
            .map(|(id, _)| id)
    }

    /// The numbers of the commands that anyone has ever applied in a group.
    pub fn applied_commands(&self, group: GroupId) -> BTreeSet<u64> {
        self.history
            .range((group, 0)..=(group, u64::MAX))
            .map(|(_, command)| u64::from_le_bytes(command[..8].try_into().unwrap()))
            .collect()
    }

    /// Starts everyone, heals everything, and waits until all members hold the same; fails after a virtual minute.
    pub fn converge(&mut self) {
        self.cut.clear();
        self.loss = 0;
        for id in self.ids() {
            if !self.is_up(id) {
                self.start(id);
            }
        }
        for _ in 0..60 {
            self.run(Duration::from_secs(1));
            if self.groups.iter().all(|group| self.agrees(*group)) {
                return;
            }
        }
        for group in &self.groups {
            for id in self.ids() {
                let engine = self.engine(id).unwrap();
                eprintln!("{group} {id}: {:?}", engine.node(*group).map(kontiki_raft::Node::status));
            }
        }
        panic!("no agreement within a minute after all faults ended");
    }

    fn agrees(&self, group: GroupId) -> bool {
        let mut contents =
            self.members.values().map(|member| &member.engine.as_ref().unwrap().machine(group).unwrap().content);
        let first = contents.next().unwrap();
        let committed = self.leader(group).map(|id| self.engine(id).unwrap().node(group).unwrap().last_index());
        committed == Some(first.meta.position.index) && contents.all(|other| other.commands == first.commands)
    }
}
