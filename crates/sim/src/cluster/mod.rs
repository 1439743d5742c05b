//! A whole cluster: production engines on simulated disks, links, clocks and time, in one thread.
//!
//! Everything that is to happen stands in one queue by time; what is due happens, tasks that were woken run, and members
//! whose inbox is not empty or whose tick is due have a turn. All chance comes from the plan's seed, in streams of their own
//! for the network and each disk, so that a line taken out of the script leaves the rest as alike as it can.

mod act;
mod counts;
mod flight;
mod heal;
mod life;
mod member;
mod network;
mod operator;
pub(crate) mod quality;
mod rot;
mod shadow;
mod turn;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kontiki_engine::Engine;
use kontiki_raft::{Configuration, GroupId, Index, NodeId, RoleKind};
use kontiki_world::{FaultyDisk, Random, SimDisk};

use self::flight::Flight;
use self::member::{Health, Member};
use self::network::Network;
use self::operator::Operator;
use self::turn::Given;
use crate::clock::MemberClock;
use crate::executor::{Executor, Spawner};
use crate::marks::SharedMarks;
use crate::observation::{Checker, Violation};
use crate::subject::Subject;
use crate::swarm::Plan;
use crate::trace::{Line, Trace};

pub use counts::Counts;
pub use quality::{Pace, Quality};

/// The least time between two turns of a member.
const TURN_TIME: Duration = Duration::from_micros(20);

/// Tasks that wake each other so often without time passing will do so for ever.
const ROUNDS_MAX: u32 = 1_000_000;

/// What is going to happen.
enum Happening {
    /// A frame arrives.
    Frame(Box<Flight>),
    /// A job of the log ends.
    LogJob { place: usize, life: u64 },
    /// A job of the background ends.
    Background { place: usize, life: u64 },
    /// A member learns of the connection to another.
    News { place: usize, life: u64, peer: NodeId, connected: bool },
    /// A supervisor starts a process that ended after this life.
    Restart { place: usize, life: u64 },
    /// The operator looks how far its orders are.
    Operator,
}

/// A cluster under simulation.
pub struct Cluster<S: Subject> {
    plan: Plan,
    subject: S,
    executor: Executor,
    now: Duration,
    queue: BTreeMap<(Duration, u64), Happening>,
    sequence: u64,
    /// The line of the script that is due next.
    next_line: usize,
    members: Vec<Member<S::Machine>>,
    network: Network,
    /// Chance of what belongs to no member and no link.
    random: Random,
    checkers: Vec<Box<dyn Checker>>,
    marks: SharedMarks,
    trace: Trace,
    counts: Counts,
    operator: Operator,
    /// The newest membership of each group that anybody knows to be committed, and up to where.
    committed: BTreeMap<GroupId, (Index, Arc<Configuration>)>,
    /// So many parts of snapshots are still to be damaged.
    snapshots_to_damage: u32,
    /// The buffers of a turn, kept.
    given: Given<S::Machine>,
    rounds: u32,
    turns: u64,
}

impl<S: Subject> std::fmt::Debug for Cluster<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("now", &self.now).field("members", &self.members.len()).finish_non_exhaustive()
    }
}

/// A stream of chance for one purpose.
pub(crate) fn stream(seed: u64, purpose: u64, number: u64) -> Random {
    let mut random = Random::new(seed ^ purpose.wrapping_mul(0xa076_1d64_78bd_642f));
    let mixed = random.next_u64() ^ number.wrapping_mul(0xe703_7ed1_a0b4_28db);
    Random::new(Random::new(mixed).next_u64())
}

/// What streams of chance are for.
pub(crate) mod purpose {
    pub const NETWORK: u64 = 1;
    pub const DISK: u64 = 2;
    pub const LIFE: u64 = 3;
    pub const CLUSTER: u64 = 4;
    pub const PLAN: u64 = 5;
    pub const SCRIPT: u64 = 6;
    pub const INCARNATION: u64 = 7;
}

impl<S: Subject> Cluster<S> {
    /// A cluster whose founders have started.
    ///
    /// # Errors
    /// Where something that must hold does not hold at the very start.
    pub fn new(plan: Plan, mut subject: S, checkers: Vec<Box<dyn Checker>>) -> Result<Cluster<S>, Violation> {
        let executor = Executor::default();
        let trace = Trace::new(plan.keep_trace);
        subject.journal(trace.journal());
        let count = plan.founders + plan.spares;
        let members = (1..=count).map(|id| Self::member(&plan, NodeId(id), executor.spawner())).collect();
        let mut cluster = Cluster {
            network: Network::new(count as usize, plan.network, stream(plan.seed, purpose::NETWORK, 0)),
            random: stream(plan.seed, purpose::CLUSTER, 0),
            plan,
            subject,
            executor,
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            sequence: 0,
            next_line: 0,
            members,
            checkers,
            marks: SharedMarks::default(),
            trace,
            counts: Counts::default(),
            operator: Operator::default(),
            committed: BTreeMap::new(),
            snapshots_to_damage: 0,
            given: Given::default(),
            rounds: 0,
            turns: 0,
        };
        for place in 0..cluster.plan.founders as usize {
            cluster.start(place)?;
        }
        cluster.subject.begin(cluster.executor.spawner());
        Ok(cluster)
    }

    fn member(plan: &Plan, id: NodeId, spawner: &Spawner) -> Member<S::Machine> {
        let mut random = stream(plan.seed, purpose::DISK, id.0);
        let disk = SimDisk::new(random.next_u64());
        let faulty = FaultyDisk::new(Arc::new(disk.clone()), random.next_u64());
        Member {
            id,
            disk,
            faulty,
            clock: MemberClock::new(spawner.clone(), Duration::ZERO),
            life: 0,
            disks: 0,
            waits_to_join: id.0 > plan.founders,
            process: None,
            health: Health { slower: 1, ..Health::default() },
            random,
            memberships: BTreeMap::new(),
            refusals: 0,
            format_changed: Vec::new(),
            damaged: false,
            struck: false,
        }
    }

    /// Marks that no observation shows are told to these from now on.
    pub fn tell_marks(&mut self, marks: SharedMarks) {
        self.marks = marks;
    }

    /// Lets time pass, with all that the script says, until `until`.
    ///
    /// # Errors
    /// The first property that does not hold.
    ///
    /// # Panics
    /// Where tasks wake each other without end.
    pub fn run_until(&mut self, until: Duration) -> Result<(), Violation> {
        while let Some(next) = self.next_event()
            && next <= until
        {
            self.step(next)?;
        }
        if self.now < until {
            self.now = until;
            self.executor.advance(until);
        }
        Ok(())
    }

    /// Lets so much time pass.
    ///
    /// # Errors
    /// As [`Cluster::run_until`].
    pub fn run_for(&mut self, time: Duration) -> Result<(), Violation> {
        self.run_until(self.now + time)
    }

    /// When something is due next.
    fn next_event(&self) -> Option<Duration> {
        if self.executor.is_ready() {
            return Some(self.now);
        }
        let happening = self.queue.first_key_value().map(|((at, _), _)| *at);
        let line = self.plan.script.lines.get(self.next_line).map(|line| line.at);
        let turn = self.members.iter().filter_map(Member::next_turn).min();
        [happening, line, self.executor.next_timer(), turn].into_iter().flatten().min().map(|at| at.max(self.now))
    }

    fn step(&mut self, at: Duration) -> Result<(), Violation> {
        self.rounds = if at > self.now { 0 } else { self.rounds + 1 };
        assert!(self.rounds < ROUNDS_MAX, "something wakes something else without end at {at:?}");
        self.now = at;
        self.executor.advance(at);
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= at
        {
            let happening = entry.remove();
            self.happen(happening)?;
        }
        while let Some(line) = self.plan.script.lines.get(self.next_line)
            && line.at <= at
        {
            let action = line.action.clone();
            self.next_line += 1;
            self.act(&action)?;
        }
        self.executor.run_ready();
        self.trace.collect(at);
        for place in 0..self.members.len() {
            if self.members[place].next_turn().is_some_and(|due| due <= at) {
                self.turn(place)?;
            }
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Frame(flight) => self.arrive(*flight),
            Happening::LogJob { place, life } => self.log_job(place, life),
            Happening::Background { place, life } => self.background_job(place, life),
            Happening::News { place, life, peer, connected } => {
                self.tell_news(place, life, peer, connected);
                Ok(())
            }
            Happening::Restart { place, life } if self.members[place].life == life => self.start(place),
            Happening::Restart { .. } => Ok(()),
            Happening::Operator => self.operate(),
        }
    }

    /// Says under what it waits in the queue.
    fn schedule(&mut self, at: Duration, what: Happening) -> (Duration, u64) {
        self.sequence += 1;
        let key = (at, self.sequence);
        self.queue.insert(key, what);
        key
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// How many turns the members' engines have had.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// What it is run by.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where tasks are given.
    #[must_use]
    pub fn spawner(&self) -> &Spawner {
        self.executor.spawner()
    }

    /// What is simulated.
    #[must_use]
    pub fn subject(&self) -> &S {
        &self.subject
    }

    /// What is simulated.
    pub fn subject_mut(&mut self) -> &mut S {
        &mut self.subject
    }

    /// What happened so far.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Takes the lines of the trace that were not taken before.
    pub fn take_lines(&mut self) -> Vec<Line> {
        self.trace.take_lines()
    }

    /// How often each kind of fault has struck so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts.clone();
        for member in &self.members {
            member.health.faults.iter().for_each(|fault| counts.add(fault.kind, member.faulty.struck(fault.id)));
        }
        counts
    }

    /// The members' identities, those that only may join included.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.members.iter().map(|member| member.id).collect()
    }

    fn place_of(&self, id: NodeId) -> Option<usize> {
        usize::try_from(id.0).ok()?.checked_sub(1).filter(|place| *place < self.members.len())
    }

    /// A member's engine, while its process runs.
    #[must_use]
    pub fn engine(&self, id: NodeId) -> Option<&Engine<S::Machine>> {
        self.members[self.place_of(id)?].process.as_ref().map(|process| &process.engine)
    }

    /// A member's disk as it is, without the faults in its way.
    #[must_use]
    pub fn disk(&self, id: NodeId) -> Option<&SimDisk> {
        self.place_of(id).map(|place| &self.members[place].disk)
    }

    /// Who leads a group: in the latest term, where several believe it.
    #[must_use]
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        let running = self.members.iter().filter_map(|member| Some((member.id, member.process.as_ref()?)));
        let cores = running.filter_map(|(id, process)| Some((id, process.engine.node(group)?)));
        let leaders = cores.filter(|(_, node)| node.role() == RoleKind::Leader);
        leaders.max_by_key(|(_, node)| node.term()).map(|(id, _)| id)
    }
}
