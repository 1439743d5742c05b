//! Whole clusters in one thread, from one seed.
//!
//! The production code, unchanged, on a simulated world that is far worse than reality: disks that tear, lose, rot and fill,
//! networks that lose, double and cut, clocks that drift, processes that end at any moment. Any failure is replayed from its
//! seed.
//!
//! Somebody's state machine, with those who use it, is a [`Subject`]. A [`Plan`] says what its cluster is like and what
//! happens to it: drawn from a seed ([`Plan::draw`]), or made by hand, with a [`Script`]. A [`Cluster`] runs it, and feeds
//! what it sees to [`Checker`]s.

pub mod checkers;
mod clock;
mod cluster;
pub mod etcd;
mod executor;
pub mod marks;
mod observation;
mod order;
#[cfg(feature = "planted")]
mod planted;
mod run;
mod script;
mod shrink;
mod subject;
mod swarm;
mod trace;

pub use clock::MemberClock;
pub use cluster::{Cluster, Counts, Pace, Quality};
pub use executor::{Executor, Scope, Sleep, Spawner, Task};
pub use observation::{Checker, CoreView, End, LogEntry, Observation, Violation};
pub use order::{Failure, Order, OrderError, Report, Summary};
#[cfg(feature = "planted")]
pub use planted::{PLANTED, Planted};
pub use run::{check, fresh_seed, run, script};
pub use script::{
    Action, ClockFault, DiskFault, Line as ScriptLine, MemberOrder, Problem, RotPlace, Script, ScriptError, Shape,
    Strike, StrikeKind, SyncFate, Target,
};
pub use shrink::shrink;
pub use subject::{Birth, Process, StartFailure, Subject};
pub use swarm::{Family, Plan, Profile, UnknownProfile};
pub use trace::{Fingerprint, Journal, Line, Trace};
