//! The core's two sides: inputs that a driver feeds in, effects that it carries out.

use std::sync::Arc;

use crate::configuration::{ChangeRefusal, Configuration, Exclusion, MemberChange};
use crate::message::Message;
use crate::types::{HardState, Incarnation, Index, LogPosition, NodeId, ReadId, SnapshotMeta, Term, TermRuns, Ticket};

/// Something that happened in the driver's world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// One unit of time has passed.
    Tick,
    /// A message came from a member. The bytes of its entries, if any, stay with the driver until the effects of this
    /// step are carried out.
    Receive {
        /// The sender, as authenticated by the transport.
        from: NodeId,
        /// The message.
        message: Message,
    },
    /// Commands to replicate. Answered in the same step by [`Effect::Persist`] with [`Content::Proposals`] or by
    /// [`Effect::ProposalRefused`].
    Propose {
        /// How many entries.
        count: u64,
        /// Their size in bytes, for the bound on what is uncommitted.
        bytes: u64,
    },
    /// Wants to know when a read that starts now is linearizable.
    Read(ReadId),
    /// All writes up to this ticket are durable.
    Persisted(Ticket),
    /// The state machine holds everything up to here.
    Applied(Index),
    /// The driver cut the log behind a checkpoint: entries up to this index are gone.
    Compacted(Index),
    /// A snapshot sent to `to` ended: whole, or not.
    SnapshotSent {
        /// The receiver.
        to: NodeId,
        /// What it stood for, where it arrived whole and was installed; none where it failed.
        installed: Option<LogPosition>,
    },
    /// A snapshot arrived whole and is durable beside the state. Answered by [`Effect::InstallSnapshot`] if it is still
    /// of use.
    SnapshotReceived(SnapshotMeta),
    /// The connection to a member was reset or refused: its process is probably dead (design decision 9).
    Suspect(NodeId),
    /// Hand leadership to a member, or to the most caught-up voter (§3.10).
    TransferLeadership(Option<NodeId>),
    /// Stand for election now, by pre-vote first.
    Campaign,
    /// Change the membership, in one step. Answered in the same step by [`Effect::Persist`] with
    /// [`Content::Configuration`] or by [`Effect::ChangeRefused`]. The change is done when a configuration that is not
    /// joint and has it is committed.
    ChangeMembership(Vec<MemberChange>),
    /// The process slept, or time passed that no tick told of: nobody knows how long. A leader's lease is void and its
    /// office given up, since others may have elected another (bug G11).
    Paused,
    /// A quorum of the group is lost for good, and the operator has decided that this replica goes on alone, with what
    /// its log holds, as the only member of its group.
    ///
    /// This breaks the rules on purpose: whatever a quorum had committed and this replica lacks is lost, and if any of
    /// the other members still runs, there are two groups from now on. Never feed it but by an operator's order.
    ForceNewCluster,
}

/// Something that the driver must do. Every effect may be carried out at once; those that rest on a write which is not
/// yet durable are withheld by the core until its ticket comes back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Write to stable storage, in order, and report the ticket with [`Input::Persisted`] once it is durable.
    Persist(Persist),
    /// Send a message. For `AppendEntries` and `Pulled`, attach the bytes of the entries `prev.index + 1 ..= last`.
    Send {
        /// The receiver.
        to: NodeId,
        /// The message.
        message: Message,
    },
    /// Entries up to here are committed: apply them in order.
    Committed(Index),
    /// Reads of this batch may be served once the state machine has applied `index`.
    ReadReady {
        /// The batch.
        id: ReadId,
        /// What must be applied first.
        index: Index,
    },
    /// Reads of this batch cannot be confirmed now (no leader, or leadership lost): ask again or tell the client.
    ReadRefused(ReadId),
    /// The proposal of this step was not accepted; nothing of it is in the log.
    ProposalRefused(Refusal),
    /// The change of membership of this step was not accepted; nothing of it is in the log.
    ChangeRefused(ChangeRefusal),
    /// This replica was told that it does not count as a member. It stands no more; the driver should stop it and tell
    /// the operator.
    Excluded(Exclusion),
    /// Stream the newest snapshot to a member whose entries are compacted; report with [`Input::SnapshotSent`].
    SendSnapshot {
        /// The receiver.
        to: NodeId,
        /// Only a snapshot at or beyond this index helps, and only one whose configuration has voters: a replica that
        /// was added to its group and applies the group's first entries knows of none until it reaches the entry that
        /// added it.
        at_least: Index,
    },
    /// Replace state machine and log by the received snapshot. The log afterwards is empty and starts behind it.
    InstallSnapshot(SnapshotMeta),
    /// Role, term or known leader changed.
    LeadershipChanged(Leadership),
}

/// A write to stable storage. Hard state first, then the log: entries from `append.first` on are replaced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Persist {
    /// Reported back when durable.
    pub ticket: Ticket,
    /// New term and vote, where they changed. One atomic record.
    pub hard_state: Option<HardState>,
    /// New entries, where there are some.
    pub append: Option<Append>,
}

/// Entries to write. Whatever the log holds from `first` on is truncated by the same record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Append {
    /// Index of the first entry.
    pub first: Index,
    /// Index of the last entry.
    pub last: Index,
    /// Terms of `first ..= last`.
    pub runs: TermRuns,
    /// Where the bytes are.
    pub content: Content,
}

/// Where the bytes of appended entries come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// The commands of this step's [`Input::Propose`], in order.
    Proposals,
    /// The entries of this step's `AppendEntries` or `Pulled`, from index `first` on (earlier ones are already held).
    Received,
    /// An entry without a command, by which a new leader commits its predecessors' entries (§3.6.2).
    Blank,
    /// A configuration entry.
    Configuration(Arc<Configuration>),
}

/// Why a proposal was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// This replica does not lead; the leader it knows, if any.
    NotLeader(Option<NodeId>),
    /// Leadership is being handed over.
    Transferring,
    /// Too many bytes wait for commitment.
    TooMuchUncommitted,
}

/// Who leads, as this replica knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leadership {
    /// This replica's current term.
    pub term: Term,
    /// The leader of that term, if known.
    pub leader: Option<NodeId>,
    /// This replica's role.
    pub role: RoleKind,
}

/// The roles of Figure 3.3, with the pre-candidate of §9.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoleKind {
    /// Answers; times out.
    Follower,
    /// Asks whether an election could be won, disturbing nobody.
    PreCandidate,
    /// Stands for election.
    Candidate,
    /// Replicates.
    Leader,
}

/// What the core must know of entries' sizes; the driver's log answers.
pub trait EntrySizes {
    /// How many of the entries `first ..= last` fit in `bytes_max`, at least one: the last index that fits and the
    /// bytes of the part that fits.
    fn fit(&self, first: Index, last: Index, bytes_max: u64) -> (Index, u64);
}

/// Everything a replica is born with. Chance comes as a seed.
#[derive(Clone, Debug)]
pub struct Start {
    /// This replica's identity.
    pub id: NodeId,
    /// The life of its disk; none where the driver does not tell lives apart.
    pub incarnation: Option<Incarnation>,
    /// Recovered term and vote.
    pub hard_state: HardState,
    /// The entry before the first one in the log; [`LogPosition::START`] for a log never compacted.
    pub compacted: LogPosition,
    /// Terms of the entries in the log, oldest first.
    pub runs: TermRuns,
    /// Last index in the log; `compacted.index` when it is empty.
    pub last: Index,
    /// Membership in force at `applied`. Empty for a replica that waits to be added to a group.
    pub configuration: Arc<Configuration>,
    /// All configurations among the entries of the log, oldest first: also those before `applied`.
    pub configurations: Vec<(Index, Arc<Configuration>)>,
    /// What the state machine holds. Known to be committed.
    pub applied: Index,
    /// Chance of this life, other in each.
    pub seed: u64,
    /// Settings, shared by all groups that have the same.
    pub settings: Arc<Settings>,
}

/// A replica's settings. Times are in ticks of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// An election starts after this many ticks without a leader, plus a random part of up to a quarter of as many; up to
    /// as many again without pre-vote, and after a split vote (§3.4).
    pub election_timeout_ticks: u32,
    /// A leader sends heartbeats this often. At most a fifth of the election timeout is sensible.
    pub heartbeat_interval_ticks: u32,
    /// Ask before standing (§9.6).
    pub pre_vote: bool,
    /// A leader that has not heard from a quorum for an election timeout steps down (§6.2).
    pub check_quorum: bool,
    /// Tell followers at once when the commit index moves, even where nothing else is to be sent. Otherwise they learn it
    /// with the next entries or heartbeat: two messages less for each commit that stands alone, and followers that
    /// apply it up to a heartbeat later.
    pub tell_commit_at_once: bool,
    /// Most bytes of entries in one message. One entry is sent even if larger.
    pub append_bytes_max: u64,
    /// Most append messages on their way to one follower.
    pub inflight_messages_max: usize,
    /// Most bytes of entries on their way to one follower.
    pub inflight_bytes_max: u64,
    /// Most bytes that wait at the leader for commitment or for its own disk; proposals beyond are refused.
    pub uncommitted_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            election_timeout_ticks: 10,
            heartbeat_interval_ticks: 1,
            pre_vote: true,
            check_quorum: true,
            tell_commit_at_once: true,
            append_bytes_max: 1 << 20,
            inflight_messages_max: 64,
            inflight_bytes_max: 16 << 20,
            uncommitted_bytes_max: 256 << 20,
        }
    }
}
