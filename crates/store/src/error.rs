//! What can go wrong: at start, in words for an operator; on a request, in etcd's words.

use std::path::PathBuf;

use kontiki_kv::{Failure, KvError, OperationError};

/// Why a member cannot start. The text says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The flags contradict each other or what is on disk.
    #[error("{0}")]
    Configuration(String),
    /// Others have, or could have had, their hands in the data directory.
    #[error("data directory: {0}")]
    Unsafe(#[from] kontiki_world::Unsafe),
    /// Another process uses the data directory.
    #[error(
        "data directory {dir} is in use{holder}: stop that process first, or give this member a data directory of its own \
         with --data-dir"
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// " by process N", where known.
        holder: String,
    },
    /// The data directory belongs to another member or cluster.
    #[error("data directory {dir} belongs to {found}, but this process was started as {expected}: {advice}")]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asked.
        expected: String,
        /// What to do.
        advice: &'static str,
    },
    /// A file is not what it should be.
    #[error("{path}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The operating system refused something.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] kontiki_log::LogError),
    /// A member that has lived comes without its log.
    #[error(
        "the log of this member is missing: {dir} says that it has taken part in its cluster, but {log} holds no log; put \
         the log back, or correct --wal-dir. Without it this member must not come back, because it could vote twice; \
         remove it from the cluster and add it anew with an empty data directory"
    )]
    LogMissing {
        /// The member's directory.
        dir: PathBuf,
        /// Where the log should be.
        log: PathBuf,
    },
    /// The state cannot be opened.
    #[error("{path}: {source}")]
    Kv {
        /// The state file.
        path: PathBuf,
        /// What is wrong with it.
        source: kontiki_kv::KvError,
    },
    /// The engine cannot start.
    #[error(transparent)]
    Engine(#[from] kontiki_engine::EngineError),
}

/// Why a running member has to stop for good. The text says what happened and what to do, in etcd's words where it has
/// some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// The cluster's configuration does not have this member any more.
    #[error(
        "the member has been permanently removed from the cluster: member {member:x} is not in its configuration any more; \
         to bring it back, remove the data directory {dir} and add it to the cluster as a new member"
    )]
    Removed {
        /// This member.
        member: u64,
        /// Its data directory.
        dir: PathBuf,
    },
    /// The cluster knows this member with another disk.
    #[error(
        "member {member:x} has already been bootstrapped: the cluster knows it with another disk than the one that holds \
         {dir}. A member that has lost what it promised must not take part under its old identity; put its former data \
         directory back, or remove the member from the cluster, empty {dir} and add it anew"
    )]
    Bootstrapped {
        /// This member.
        member: u64,
        /// Its data directory.
        dir: PathBuf,
    },
    /// The members were not started with the same flags.
    #[error(
        "the members do not agree on their cluster, so none was formed: peer {address} refused this member ({reason}). One \
         of the lists in --initial-cluster, or one --initial-cluster-token, is wrong: make them the same on every member \
         and start again"
    )]
    Disagreement {
        /// The peer.
        address: String,
        /// Its words.
        reason: String,
    },
    /// Disk or log failed.
    #[error("the member stopped because it can no longer keep its promises: {0}")]
    Engine(String),
}

/// Why a request was not answered as wished. The texts are etcd's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store's rules say no.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// There is no leader now.
    #[error("etcdserver: no leader")]
    NoLeader,
    /// The request was not committed in time; it may still be.
    #[error("etcdserver: request timed out")]
    Timeout,
    /// The same, and the leader has changed meanwhile.
    #[error("etcdserver: request timed out, possibly due to previous leader failure")]
    TimeoutDueToLeaderFail,
    /// Too many requests wait already.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    /// The command is larger than the limit.
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// This member is stopping.
    #[error("etcdserver: server stopped")]
    Stopped,
    /// Only the leader can do that.
    #[error("etcdserver: not leader")]
    NotLeader,
    /// Leadership cannot go to that member.
    #[error("etcdserver: bad leader transferee")]
    BadTransferee,
    /// The state file could not be read.
    #[error("kontiki: {0}")]
    Storage(String),
    /// Leadership did not move in time.
    #[error("etcdserver: request timed out, leader transfer took too long")]
    TransferTimeout,
    /// The version of a downgrade cannot be read.
    #[error("etcdserver: wrong downgrade target version format")]
    WrongDowngradeVersionFormat,
    /// A downgrade goes to the version right before the cluster's, and nowhere else.
    #[error("etcdserver: invalid downgrade target version")]
    InvalidDowngradeTarget,
    /// No member has said yet which version the cluster is of.
    #[error("etcdserver: cluster version not found during downgrade")]
    ClusterVersionUnavailable,
    /// A downgrade is allowed already.
    #[error("etcdserver: cluster has a downgrade job in progress")]
    DowngradeInProcess,
    /// Such peer URLs nobody can have.
    #[error("etcdserver: given member URLs are invalid")]
    BadPeerUrls,
    /// Too few members have started for this change to leave a quorum.
    #[error("etcdserver: re-configuration failed due to not enough started members")]
    NotEnoughStarted,
    /// Too few members are connected for this change to leave a quorum.
    #[error("etcdserver: unhealthy cluster")]
    Unhealthy,
    /// Only learners can be promoted.
    #[error("etcdserver: can only promote a learner member")]
    NotLearner,
    /// The learner lags too far behind.
    #[error("etcdserver: can only promote a learner member which is in sync with leader")]
    LearnerNotReady,
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> StoreError {
        match failure {
            Failure::Operation(refusal) => StoreError::Operation(refusal),
            Failure::Storage(error) => error.into(),
        }
    }
}

impl From<KvError> for StoreError {
    fn from(error: KvError) -> StoreError {
        StoreError::Storage(error.to_string())
    }
}
