//! What is simulated: a state machine of somebody's, with those who use it.

use std::sync::Arc;
use std::time::Duration;

use kontiki_engine::{Engine, Inbox, StateMachine};
use kontiki_raft::{Configuration, GroupId, Incarnation, NodeId};
use kontiki_world::{Clock, Disk, Entropy};

use crate::executor::{Scope, Spawner, Task};
use crate::observation::{End, Violation};
use crate::trace::Journal;

/// What a process of a member is born with.
#[derive(Debug)]
pub struct Birth {
    /// Which member.
    pub member: NodeId,
    /// Counts the lives of its process, from one.
    pub life: u64,
    /// Its disk, with what earlier lives left on it.
    pub disk: Arc<dyn Disk>,
    /// Its clock, which may drift. Sleeping on it needs no runtime.
    pub clock: Arc<dyn Clock>,
    /// Its chance.
    pub entropy: Arc<dyn Entropy>,
    /// The first members of the cluster; empty for a member that waits to be added.
    pub founders: Arc<Configuration>,
    /// This life of its disk.
    pub incarnation: Incarnation,
    /// A quorum is lost for good: it goes on alone.
    pub force_new_cluster: bool,
    /// Where the process gives its tasks, in its scope.
    pub spawner: Spawner,
    /// The tasks of this process: they end with it, and get no time while it gets none.
    pub scope: Scope,
    /// The engine's settings for this run, chosen by the seed.
    pub settings: kontiki_engine::Settings,
    /// The log's options for this run, chosen by the seed.
    pub log: kontiki_log::Options,
}

/// A process that begins.
pub struct Process<M: StateMachine> {
    /// Its groups, on its opened log.
    pub engine: Engine<M>,
    /// Where its own tasks post events.
    pub inbox: Arc<Inbox<M>>,
    /// What runs beside the engine, as long as the process lives.
    pub tasks: Vec<Task>,
    /// Told when work that needs space on its disk is held back, because the disk is full (true), and when that is over.
    pub waits_for_space: Option<Box<dyn Fn(bool) + Send>>,
    /// Told after each write of the log how long it took.
    pub log_written: Option<Box<dyn Fn(Duration) + Send>>,
}

/// Why a member does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("member {member} does not start: {reason}")]
pub struct StartFailure {
    /// Which.
    pub member: NodeId,
    /// Its words.
    pub reason: String,
    /// It refuses because its data is lost or damaged beyond what it can tell; that is its right where the faults did that.
    pub damaged: bool,
}

/// A state machine under simulation, with its clients and its own checks.
pub trait Subject {
    /// What is replicated.
    type Machine: StateMachine;

    /// The groups that every member has.
    fn groups(&self) -> Vec<GroupId> {
        vec![GroupId(1)]
    }

    /// Where lines for the run's trace can be written. Called once, before anything starts.
    fn journal(&mut self, _journal: &Journal) {}

    /// A member's process starts.
    ///
    /// # Errors
    /// Where it refuses to.
    fn start(&mut self, birth: Birth) -> Result<Process<Self::Machine>, StartFailure>;

    /// Why a member's process ends itself, where it does: asked after each of its turns.
    fn gives_up(&self, _member: NodeId) -> Option<String> {
        None
    }

    /// A member's process has ended: whoever spoke with it is cut off.
    fn ended(&mut self, member: NodeId, end: &End);

    /// The cluster stands: clients may begin. Called once, before time passes.
    fn begin(&mut self, spawner: &Spawner);

    /// From now on no new work is to be begun; what is under way ends by itself.
    fn finish_work(&mut self) {}

    /// Whether all work has ended.
    fn is_idle(&self) -> bool {
        true
    }

    /// A turn of a member has ended.
    ///
    /// # Errors
    /// Where something that must hold does not.
    fn turned(&mut self, _at: Duration, _member: NodeId, _engine: &mut Engine<Self::Machine>) -> Result<(), Violation> {
        Ok(())
    }

    /// All faults are over, the members agree, and no work is under way.
    ///
    /// # Errors
    /// Where something that must hold does not.
    fn check(&mut self, _at: Duration, _engines: &mut [(NodeId, &mut Engine<Self::Machine>)]) -> Result<(), Violation> {
        Ok(())
    }
}
