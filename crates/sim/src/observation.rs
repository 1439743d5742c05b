//! What checkers see of a running cluster: values, so that a test can make up a lie and see it found.

use std::sync::Arc;
use std::time::Duration;

use kontiki_raft::{Configuration, Decision, GroupId, Index, LogPosition, NodeId, PeerStatus, RoleKind, Term};
use kontiki_transport::Frame;

/// A replica's core at the end of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreView {
    /// Current term.
    pub term: Term,
    /// Whom it voted for in this term.
    pub voted_for: Option<NodeId>,
    /// What it is.
    pub role: RoleKind,
    /// The leader that it knows.
    pub leader: Option<NodeId>,
    /// Known to be committed.
    pub commit: Index,
    /// Given to the state machine.
    pub applied: Index,
    /// The entry before the first one of the log.
    pub compacted: LogPosition,
    /// The last entry of the log.
    pub last: LogPosition,
    /// Up to here the log is durable.
    pub durable: Index,
    /// The membership in force here.
    pub configuration: Arc<Configuration>,
}

/// An entry as it stands in a replica's log.
pub use kontiki_log::Entry as LogEntry;

/// Why a process is not there any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The power went, or it was killed.
    Crash,
    /// The power went, and some of what it had written had silently gone wrong. If that was the newest, nobody can tell it from
    /// what a crash tears: it may have lost the end of its log.
    Struck,
    /// It lost its disk as well.
    Wiped,
    /// It ended itself, and said why.
    Itself(String),
}

/// Something that happened, as the simulator sees it from above. Times are true times.
#[derive(Debug)]
pub enum Observation<'a> {
    /// A process began, from what its disk holds.
    Started {
        /// Which.
        member: NodeId,
        /// Counts the lives of the process.
        life: u64,
    },
    /// A process ended.
    Ended {
        /// Which.
        member: NodeId,
        /// Which life.
        life: u64,
        /// Why.
        end: &'a End,
    },
    /// The operator gives a lost quorum up: from here on this member alone is the cluster, with what its log holds. Told before
    /// the member is started so; the others never run again with what they hold.
    Forced {
        /// Which.
        member: NodeId,
    },
    /// A member gave a frame to the network.
    Sent {
        /// From.
        from: NodeId,
        /// To.
        to: NodeId,
        /// What.
        frame: &'a Frame,
    },
    /// A replica changed in a turn.
    Turned {
        /// Which member.
        member: NodeId,
        /// In which life.
        life: u64,
        /// Which group.
        group: GroupId,
        /// How it stood before; none in the first turn of a life, or while it had no core.
        before: Option<&'a CoreView>,
        /// How it stands; none where it was found damaged and has no core.
        now: Option<&'a CoreView>,
        /// Entries that were appended in this turn, in order; the first of them took the place of whatever stood there. Where there
        /// was no core before, all that the log holds.
        appended: &'a [LogEntry],
        /// Entries that were given to the state machine in this turn, in order, as far as the log still holds them.
        applied: &'a [LogEntry],
        /// What was decided in this turn, in order.
        decisions: &'a [Decision],
        /// Of a leader, the others as it sees them; of anybody else, nothing.
        peers: &'a [PeerStatus],
    },
}

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{property} does not hold at {at:?}: {what}")]
pub struct Violation {
    /// The property's name, as in the paper or in the list of the checkers.
    pub property: &'static str,
    /// When it was noticed, in virtual time.
    pub at: Duration,
    /// What was seen, with all that is needed to understand it.
    pub what: String,
}

/// Watches a run for one property.
pub trait Checker: Send {
    /// The property's name.
    fn property(&self) -> &'static str;

    /// Something happened.
    ///
    /// # Errors
    /// Where the property does not hold.
    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation>;

    /// All faults are over, and these members live and agree.
    ///
    /// # Errors
    /// Where the property does not hold.
    fn finish(&mut self, _at: Duration, _live: &[NodeId]) -> Result<(), Violation> {
        Ok(())
    }
}
