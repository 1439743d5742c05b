//! The words of the paper as types: terms, indexes, identities and positions.

use std::fmt;

/// A Raft term: numbers elections, grows for ever (dissertation §3.3). Zero is before the first election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// The place of an entry in a group's log. The first entry has index 1; zero is before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

/// A member's identity within its cluster. Never zero in a running cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

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

/// The members of a group. Joint while `outgoing` is not empty: then every decision needs a majority of both halves
/// (dissertation §4.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Configuration {
    /// Voters of the configuration in force, or of the new half of a joint one. Sorted, without repetition.
    pub voters: Vec<NodeId>,
    /// Voters of the old half of a joint configuration; empty otherwise. Sorted.
    pub outgoing: Vec<NodeId>,
    /// Members that receive the log and neither vote nor count. Sorted, disjoint from both halves.
    pub learners: Vec<NodeId>,
}

impl Configuration {
    /// A plain configuration of these voters.
    #[must_use]
    pub fn of(voters: impl IntoIterator<Item = NodeId>) -> Configuration {
        let mut voters: Vec<NodeId> = voters.into_iter().collect();
        voters.sort_unstable();
        voters.dedup();
        Configuration { voters, ..Configuration::default() }
    }

    /// Whether two halves are in force at once.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether `node` votes in either half.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }

    /// Every member once, voters of both halves and learners, in order of identity.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        let mut all: Vec<NodeId> = self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// What a snapshot stands for: every entry up to `position`, and the membership in force there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SnapshotMeta {
    /// Last entry that the snapshot contains.
    pub position: LogPosition,
    /// Membership in force at `position`.
    pub configuration: Configuration,
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

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}
