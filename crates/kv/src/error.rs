//! What can go wrong: refusals that every member gives alike, and trouble with the disk that stops a replica.

use crate::layers::Table;

/// The protocol says no. Decided by the state and the request alone, so it is the same on every member. The texts are
/// those that etcd's clients match on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// A request without a key.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// A put that keeps value or lease of a key that is not there; an operation of a transaction without content.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// A put that keeps the value and brings one.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// A put that keeps the lease and brings one.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// A transaction with more operations than allowed.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// A transaction that would write a key twice.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A sort order or target that does not exist.
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    /// The revision asked for is below the compacted one.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// The revision asked for is above the current one.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// A time to live above the maximum.
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    /// The NOSPACE alarm is raised.
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// No lease of that identity.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// A lease of that identity is already there.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// The CORRUPT alarm is raised.
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
}

/// The world is wrong: the state file or a snapshot. None of these is retried; the replica stops and says why.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// The state file could not be opened.
    #[error(
        "cannot open the state file: {source}; if it is damaged, restore this member's data directory from a backup; \
         replacing a member needs membership changes, which this version does not have yet"
    )]
    Open {
        /// What the storage library said.
        source: Box<redb::Error>,
    },
    /// Reading or writing the state file failed.
    #[error("{doing} the state file failed: {source}; check the disk, then restart this member")]
    Storage {
        /// What was being done.
        doing: &'static str,
        /// What the storage library said.
        source: Box<redb::Error>,
    },
    /// A row is not what this program writes.
    #[error(
        "table `{}` of the state file holds a damaged row ({what}); restore this member's data directory from a backup; \
         replacing a member needs membership changes, which this version does not have yet",
        table.name()
    )]
    Damaged {
        /// Where.
        table: Table,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file is of another format.
    #[error("the state file has format {found}, this program reads {supported}; use the version that wrote it")]
    Format {
        /// What the file says.
        found: u32,
        /// What this program reads.
        supported: u32,
    },
    /// A snapshot was being received into the file when the process ended.
    #[error("the state file holds half a snapshot; remove it, the snapshot will be sent again")]
    HalfSnapshot,
    /// A snapshot is to be received into a file that is not empty.
    #[error("the file to receive a snapshot into already holds state; give an empty one")]
    NotEmpty,
    /// A piece of a snapshot does not fit.
    #[error("piece {piece} of the snapshot is unusable ({what}); drop what was received and ask for it again")]
    Snapshot {
        /// Which piece, counted from zero.
        piece: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An earlier command could not be applied whole.
    #[error("the state machine stopped at an earlier failure; restart this member")]
    Stopped,
}

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The protocol says no.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The state file could not be read.
    #[error(transparent)]
    Storage(#[from] KvError),
}

/// Names what was being done when the storage library failed.
pub(crate) fn storage<E: Into<redb::Error>>(doing: &'static str) -> impl FnOnce(E) -> KvError {
    move |source| KvError::Storage { doing, source: Box::new(source.into()) }
}
