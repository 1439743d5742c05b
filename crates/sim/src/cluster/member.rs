//! One member: its disk and clock, which outlive its process, and the process while there is one.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kontiki_engine::{CheckpointJob, Engine, Event, Inbox, PartJob, Scrub, StateMachine};
use kontiki_log::{ReserveJob, WriteJob};
use kontiki_raft::{Configuration, GroupId, NodeId};
use kontiki_world::{FaultId, FaultyDisk, Random, SimDisk};

use super::counts::Kind;
use super::shadow::Shadow;
use crate::clock::MemberClock;
use crate::executor::Scope;

/// A member.
pub(super) struct Member<M: StateMachine> {
    pub id: NodeId,
    pub disk: SimDisk,
    /// The same disk with faults in its way.
    pub faulty: FaultyDisk,
    pub clock: MemberClock,
    /// Counts the lives of its process.
    pub life: u64,
    /// Counts the lives of its disk.
    pub disks: u64,
    /// It was removed, and waits to be added to the group.
    pub waits_to_join: bool,
    pub process: Option<Running<M>>,
    pub health: Health,
    /// Chance of its disk.
    pub random: Random,
    /// The membership that each of its groups had last, committed or not.
    pub memberships: BTreeMap<GroupId, Arc<Configuration>>,
    /// How often it refused to start since it last did.
    pub refusals: u32,
    /// Files that say that they are of an older format, to be put right.
    pub format_changed: Vec<PathBuf>,
    /// Something that it stored was damaged, or what it read was.
    pub damaged: bool,
    /// Writes of this life may have silently gone wrong.
    pub struck: bool,
}

/// What is wrong with a member's disk, and what is to be undone.
#[derive(Default)]
pub(super) struct Health {
    pub slower: u32,
    pub hangs: bool,
    /// Files may grow by so many bytes together; none where nothing bounds them.
    pub full: Option<u64>,
    /// Faults in the way of its disk.
    pub faults: Vec<Faulty>,
    /// All syncs fail.
    pub syncs_fail: bool,
}

/// A fault in the way of a disk.
pub(super) struct Faulty {
    pub id: FaultId,
    pub kind: Kind,
    /// How often it may strike.
    pub times: u64,
}

/// A process.
pub(super) struct Running<M: StateMachine> {
    pub engine: Engine<M>,
    pub inbox: Arc<Inbox<M>>,
    pub scope: Scope,
    /// Gets no time.
    pub paused: bool,
    /// The last turn left work behind.
    pub more: bool,
    /// The thread of the engine has time from here on.
    pub free_at: Duration,
    /// When the engine's next tick is due, in true time; none while its clock stands still.
    pub tick_at: Option<Duration>,
    pub log_jobs: Queue<LogJob>,
    pub background: Queue<Background<M>>,
    pub waits_for_space: Option<Box<dyn Fn(bool) + Send>>,
    pub waits: bool,
    /// A write of its log takes far too long.
    pub stalls: bool,
    /// It refuses what takes space.
    pub low_on_space: bool,
    pub log_written: Option<Box<dyn Fn(Duration) + Send>>,
    /// What checkers were told of its groups.
    pub shadows: Vec<(GroupId, Shadow)>,
}

/// Work that is done one after the other.
pub(super) struct Queue<J> {
    pub jobs: VecDeque<J>,
    /// When the first one began, by the member's clock.
    pub began: Duration,
    /// Under what the end of the first one waits among all that is going to happen.
    pub end: (Duration, u64),
    /// It would have ended, but the disk hangs.
    pub held: bool,
}

impl<J> Default for Queue<J> {
    fn default() -> Queue<J> {
        Queue { jobs: VecDeque::new(), began: Duration::ZERO, end: (Duration::ZERO, 0), held: false }
    }
}

/// Work of the thread that writes the log.
#[allow(clippy::large_enum_variant, reason = "few are under way, and most are writes")]
pub(super) enum LogJob {
    Write(WriteJob),
    Reserve(ReserveJob),
}

impl LogJob {
    pub fn run<M: StateMachine>(self) -> Event<M> {
        match self {
            LogJob::Write(job) => Event::LogWritten(job.run()),
            LogJob::Reserve(job) => Event::LogReserved(job.run()),
        }
    }
}

/// Work of the thread for which nobody waits.
pub(super) enum Background<M: StateMachine> {
    Checkpoint(GroupId, CheckpointJob<M::CheckpointDone>),
    Part(GroupId, PartJob),
    Scrub(Scrub),
}

impl<M: StateMachine> Background<M> {
    /// Whether it may need space on the disk, and waits for it where there is none.
    pub fn takes_space(&self) -> bool {
        matches!(self, Background::Checkpoint(..) | Background::Part(..))
    }

    pub fn run(self, took: Duration) -> Event<M> {
        match self {
            Background::Checkpoint(group, job) => Event::CheckpointDone(group, job()),
            Background::Part(group, job) => Event::PartWritten(group, job.run()),
            Background::Scrub(job) => Event::Scrubbed(job.run(), took),
        }
    }
}

impl<M: StateMachine> Running<M> {
    /// Tells it whether work waits for space.
    pub fn tell_waits(&mut self, waits: bool) {
        if std::mem::replace(&mut self.waits, waits) != waits
            && let Some(tell) = &self.waits_for_space
        {
            tell(waits);
        }
    }
}

impl<M: StateMachine> Member<M> {
    /// When its engine wants its next turn; none where nothing is to come.
    pub fn next_turn(&self) -> Option<Duration> {
        let process = self.process.as_ref().filter(|process| !process.paused)?;
        if process.more || !process.inbox.is_empty() {
            return Some(process.free_at);
        }
        process.tick_at.map(|tick| tick.max(process.free_at))
    }

    /// Its power fails, and is back. Where a write was not made as it was reported, the ledger keeps its row of it: with both
    /// gone the log would look as if the write had never been, which is where its promise ends (decision 17).
    pub fn lose_power(&self, struck: bool) {
        if struck {
            self.disk.settle(|path| path.extension().is_some_and(|end| end == "ledger"));
        }
        self.disk.crash();
    }

    /// Its clock was changed.
    pub fn clock_changed(&mut self) {
        if let Some(process) = &mut self.process {
            process.tick_at = self.clock.true_at(process.engine.next_tick());
        }
    }

    /// How a process of it is named among the scopes.
    pub fn scope(&self) -> Scope {
        Scope(self.id.0 << 32 | self.life)
    }
}
