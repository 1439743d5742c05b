//! What can go wrong: refusals that every member gives alike, and trouble with the disk that stops a replica.

use std::io;

use crate::damage::{self, BlockDamage};
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
    /// A request in nobody's name while authentication is on; a user without a name.
    #[error("etcdserver: user name is empty")]
    UserEmpty,
    /// A role without a name.
    #[error("etcdserver: role name is empty")]
    RoleEmpty,
    /// No such user, or another password.
    #[error("etcdserver: authentication failed, invalid user ID or password")]
    AuthFailed,
    /// A password for a user who has none.
    #[error("auth: authentication failed, password was given for no password user")]
    NoPasswordUser,
    /// A permission without content.
    #[error("etcdserver: permission not given")]
    PermissionNotGiven,
    /// What would make the tables senseless, or lock everyone out.
    #[error("etcdserver: invalid auth management")]
    InvalidAuthManagement,
    /// Users or roles have changed since the request was let in.
    #[error("etcdserver: revision of auth store is old")]
    AuthOldRevision,
    /// Authentication cannot be switched on without the user root,
    #[error("etcdserver: root user does not exist")]
    RootUserNotExist,
    /// nor with one that does not have the role root.
    #[error("etcdserver: root user does not have root role")]
    RootRoleNotExist,
    /// A user of that name is already there.
    #[error("etcdserver: user name already exists")]
    UserAlreadyExists,
    /// No user of that name.
    #[error("etcdserver: user name not found")]
    UserNotFound,
    /// A role of that name is already there.
    #[error("etcdserver: role name already exists")]
    RoleAlreadyExists,
    /// No role of that name.
    #[error("etcdserver: role name not found")]
    RoleNotFound,
    /// A role to be revoked that the user does not have.
    #[error("etcdserver: role is not granted to the user")]
    RoleNotGranted,
    /// A permission to be revoked that the role does not have.
    #[error("etcdserver: permission is not granted to the role")]
    PermissionNotGranted,
    /// A log-in while authentication is off.
    #[error("etcdserver: authentication is not enabled")]
    AuthNotEnabled,
    /// The user may not do that.
    #[error("etcdserver: permission denied")]
    PermissionDenied,
    /// A token that was never given out, or is no longer good.
    #[error("etcdserver: invalid auth token")]
    InvalidAuthToken,
    /// A password of which bcrypt would leave out the end.
    #[error("bcrypt: password length exceeds 72 bytes")]
    PasswordTooLong,
    /// Two members cannot be reached at one URL.
    #[error("etcdserver: Peer URLs already exists")]
    PeerUrlExists,
    /// As many learners as are allowed are there already.
    #[error("etcdserver: too many learner members in cluster")]
    TooManyLearners,
    /// A member has, or had, this identity.
    #[error("etcdserver: member ID already exist")]
    MemberExists,
    /// No member has this identity.
    #[error("etcdserver: member not found")]
    MemberNotFound,
}

/// The world is wrong: the state file or a snapshot. None of these is retried; the replica stops and says why.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// The state file could not be opened.
    #[error("cannot open the state file: {source}")]
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
    /// A block of the state file is not what was written, or the disk did not read it.
    #[error("{}", block_text(.0))]
    Block(#[from] BlockDamage),
    /// A row is not what this program writes.
    #[error(
        "the state file is damaged: table `{}` holds an unusable row ({what}); the member needs the state of another one",
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
    /// The state file is to be looked at, and there is nothing in it.
    #[error("the state file is empty: no checkpoint was ever written to it")]
    Empty,
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

impl KvError {
    /// Whether the disk failed to read or write: nothing more can be expected of the file before it is opened anew.
    #[must_use]
    pub fn is_io(&self) -> bool {
        matches!(self, KvError::Storage { .. } | KvError::Block(_)) && !self.is_damage()
    }

    /// Whether the state file is damaged: what it held cannot be had from it, the disk may be fine otherwise. The member
    /// then needs another state. A disk that fails to read is not damage: the member stops, and reads anew when it is
    /// restarted.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            KvError::Block(damage) => damage.is_damage(),
            KvError::Damaged { .. } | KvError::HalfSnapshot => true,
            KvError::Open { source } | KvError::Storage { source, .. } => says_damage(source),
            KvError::Format { .. }
            | KvError::Empty
            | KvError::NotEmpty
            | KvError::Snapshot { .. }
            | KvError::Stopped => false,
        }
    }

    /// Whether the disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            KvError::Open { source } | KvError::Storage { source, .. } => match &**source {
                redb::Error::Io(source) => {
                    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
                }
                _ => false, // the storage library's own words
            },
            KvError::Block(_)
            | KvError::Damaged { .. }
            | KvError::Format { .. }
            | KvError::HalfSnapshot
            | KvError::Empty
            | KvError::NotEmpty
            | KvError::Snapshot { .. }
            | KvError::Stopped => false,
        }
    }

    /// Names what was being done when the disk failed.
    pub(crate) fn from_io(doing: &'static str, source: io::Error) -> KvError {
        storage(doing)(redb::Error::Io(source))
    }
}

fn block_text(damage: &BlockDamage) -> String {
    if damage.is_damage() {
        format!("the state file is damaged: {damage}; the member needs the state of another one")
    } else {
        format!(
            "reading the state file failed: {damage}; what it holds may be fine: check the disk, then restart this \
             member, which reads it anew"
        )
    }
}

/// What the storage library calls damage: what no file says that it has written itself.
fn says_damage(error: &redb::Error) -> bool {
    matches!(
        error,
        redb::Error::Corrupted(_)
            | redb::Error::RepairAborted
            | redb::Error::UpgradeRequired(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableIsNotMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_)
    )
}

fn wrap(error: redb::Error, other: impl FnOnce(Box<redb::Error>) -> KvError) -> KvError {
    match &error {
        redb::Error::Io(source) => match damage::of(source) {
            Some(damage) => KvError::Block(damage),
            None => other(Box::new(error)),
        },
        _ => other(Box::new(error)),
    }
}

/// Names what was being done when the storage library failed.
pub(crate) fn storage<E: Into<redb::Error>>(doing: &'static str) -> impl FnOnce(E) -> KvError {
    move |source| wrap(source.into(), |source| KvError::Storage { doing, source })
}

/// The storage library could not open the file.
pub(crate) fn opening<E: Into<redb::Error>>(source: E) -> KvError {
    wrap(source.into(), |source| KvError::Open { source })
}
