//! The words of the paper as types: terms, indexes, identities and positions.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::configuration::Configuration;

/// A Raft term: numbers elections, grows for ever (dissertation §3.3). Zero is before the first election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// The place of an entry in a group's log. The first entry has index 1; zero is before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

/// A member's identity within its cluster. Never zero in a running cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// One life of a member's disk: drawn at random when its data directory is made, and kept there (bugs M28, M29).
///
/// A member that comes back without its disk has another incarnation, and with it no claim to the identity of the one
/// that promised and acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// One replicated log among the many that a process may take part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

/// Names a batch of linearizable reads. The driver never uses one twice, not even across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// Names a write to stable storage. Tickets grow; when one is durable, so are all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// An entry's term and index. The derived order is "at least as up-to-date" (dissertation §3.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Term of the leader that created the entry.
    pub term: Term,
    /// Where it stands in the log.
    pub index: Index,
}

impl Index {
    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Index {
        Index(self.0 + 1)
    }

    /// The index before this one; zero stays zero.
    #[must_use]
    pub const fn previous(self) -> Index {
        Index(self.0.saturating_sub(1))
    }
}

impl LogPosition {
    /// The position before the first entry of every log.
    pub const START: LogPosition = LogPosition { term: Term(0), index: Index(0) };
}

/// What must survive a crash besides the log (dissertation Figure 3.1, "persistent state"). Written as one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardState {
    /// Latest term this replica has seen.
    pub term: Term,
    /// The candidate that got this replica's vote in `term`, if any.
    pub voted_for: Option<NodeId>,
}

/// A maximal stretch of entries of one term: it begins at `first` and ends before the next run or at the log's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TermRun {
    /// Term of every entry in the run.
    pub term: Term,
    /// Index of the run's first entry.
    pub first: Index,
}

/// The terms of a stretch of entries, as runs. Nearly always one, which is held in place.
#[derive(Clone, Debug, Default)]
pub enum TermRuns {
    /// No entries.
    #[default]
    None,
    /// Entries of one term.
    One([TermRun; 1]),
    /// Entries of several terms.
    Many(Vec<TermRun>),
}

impl TermRuns {
    /// Adds a run at the end.
    pub fn push(&mut self, run: TermRun) {
        match self {
            TermRuns::None => *self = TermRuns::One([run]),
            TermRuns::One([only]) => *self = TermRuns::Many(vec![*only, run]),
            TermRuns::Many(runs) => runs.push(run),
        }
    }

    /// Keeps the runs `from .. to`.
    pub(crate) fn keep(&mut self, from: usize, to: usize) {
        match (self.len(), to - from) {
            (before, after) if before == after => {}
            (_, 0) => *self = TermRuns::None,
            (_, 1) => *self = TermRuns::One([self[from]]),
            _ => {
                let TermRuns::Many(runs) = self else { unreachable!("several runs are kept of more") };
                runs.truncate(to);
                runs.drain(..from);
            }
        }
    }

    pub(crate) fn first_mut(&mut self) -> Option<&mut TermRun> {
        match self {
            TermRuns::None => None,
            TermRuns::One([only]) => Some(only),
            TermRuns::Many(runs) => runs.first_mut(),
        }
    }
}

impl Deref for TermRuns {
    type Target = [TermRun];

    fn deref(&self) -> &[TermRun] {
        match self {
            TermRuns::None => &[],
            TermRuns::One(only) => only,
            TermRuns::Many(runs) => runs,
        }
    }
}

impl From<&[TermRun]> for TermRuns {
    fn from(runs: &[TermRun]) -> TermRuns {
        match runs {
            [] => TermRuns::None,
            [only] => TermRuns::One([*only]),
            several => TermRuns::Many(several.to_vec()),
        }
    }
}

impl From<Vec<TermRun>> for TermRuns {
    fn from(runs: Vec<TermRun>) -> TermRuns {
        if runs.len() > 1 { TermRuns::Many(runs) } else { TermRuns::from(&runs[..]) }
    }
}

impl FromIterator<TermRun> for TermRuns {
    fn from_iter<I: IntoIterator<Item = TermRun>>(runs: I) -> TermRuns {
        let mut all = TermRuns::None;
        runs.into_iter().for_each(|run| all.push(run));
        all
    }
}

impl PartialEq for TermRuns {
    fn eq(&self, other: &TermRuns) -> bool {
        self[..] == other[..]
    }
}

impl Eq for TermRuns {}

impl std::hash::Hash for TermRuns {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}

/// What a snapshot stands for: every entry up to `position`, and the membership in force there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SnapshotMeta {
    /// Last entry that the snapshot contains.
    pub position: LogPosition,
    /// Membership in force at `position`.
    pub configuration: Arc<Configuration>,
}

macro_rules! display_number {
    ($($name:ident $prefix:literal),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}
display_number!(Term "", Index "", GroupId "g", ReadId "r", Ticket "t");

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Small identities are those of tests and stories; real ones are etcd's 64-bit hashes, shown as etcd does.
        if self.0 < 1000 { write!(f, "n{}", self.0) } else { write!(f, "{:x}", self.0) }
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}
