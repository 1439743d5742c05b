//! What stands in the log: commands to the state machine, and what applying them gives.

use bytes::Bytes;

use crate::auth::{AuthCommand, AuthReply};
use crate::error::OperationError;
use crate::membership::MemberCommand;
use crate::request::{DeleteRangeRequest, Event, KeyValue, PutRequest, RangeResult, TxnRequest};

/// A change of the state, replicated as one log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Writes a key.
    Put(PutRequest),
    /// Deletes keys.
    DeleteRange(DeleteRangeRequest),
    /// A transaction.
    Txn(TxnRequest),
    /// Makes history below a revision unreadable.
    Compact {
        /// The first revision that stays readable.
        revision: i64,
    },
    /// Creates a lease. The identity is chosen before proposing: apply has no chance source.
    LeaseGrant {
        /// Its identity, not zero.
        id: i64,
        /// Granted time to live in seconds, already raised to the minimum.
        ttl: i64,
    },
    /// Ends a lease and deletes its keys, by a client's wish.
    LeaseRevoke {
        /// Which.
        id: i64,
    },
    /// Raises or clears an alarm.
    Alarm {
        /// Raise, or clear.
        raise: bool,
        /// The member concerned.
        member: u64,
        /// Which alarm.
        alarm: Alarm,
    },
    /// A member says its name and the URLs that clients reach it by.
    MemberAttributes(Member),
    /// Who belongs to the cluster, and where it is reached.
    Membership(MemberCommand),
    /// Changes users, roles or tokens.
    Auth(AuthCommand),
    /// The leader says how long leases have left, so that its successor need not give them their full time again.
    LeaseCheckpoint {
        /// The leader had applied this entry when it said so: a lease granted behind it is another one of that identity.
        applied: u64,
        /// Identities, and seconds left; none takes back what was said before.
        leases: Vec<(i64, Option<i64>)>,
    },
    /// The leader ends a lease whose time is over.
    LeaseExpire {
        /// The leader had applied this entry when it said so: a lease granted behind it is another one of that identity, and
        /// stays.
        applied: u64,
        /// Which.
        id: i64,
    },
    /// The version of etcd's features that all members know.
    ClusterVersion(FeatureLevel),
    /// A downgrade to a version is allowed from now on, or not any more.
    Downgrade(Option<FeatureLevel>),
}

/// A version of etcd without its patch number: what a cluster can do as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeatureLevel {
    /// Major version.
    pub major: u32,
    /// Minor version.
    pub minor: u32,
}

impl std::fmt::Display for FeatureLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Kinds of alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// The database has reached its quota.
    NoSpace,
    /// Members' states differ.
    Corrupt,
}

/// A member of the cluster as clients see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its identity.
    pub id: u64,
    /// Its name; empty until it has started once.
    pub name: String,
    /// Where members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// Whether it only learns.
    pub is_learner: bool,
}

/// What applying a command gave. The same on every member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The answer to who proposed it.
    pub result: Result<Reply, OperationError>,
    /// The store's revision afterwards.
    pub revision: i64,
    /// What watchers are told, in order. All of one revision.
    pub events: Vec<Event>,
}

/// Answers to commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To a put: what was there before, where asked for.
    Put(Option<KeyValue>),
    /// To a deletion.
    DeleteRange(DeleteRangeReply),
    /// To a transaction.
    Txn(TxnReply),
    /// To a compaction.
    Compact,
    /// To a grant.
    LeaseGrant {
        /// The lease.
        id: i64,
        /// Its time to live in seconds.
        ttl: i64,
    },
    /// To a revocation.
    LeaseRevoke,
    /// To an alarm: which; none where it was to be cleared and was not raised.
    Alarm(Vec<(u64, Alarm)>),
    /// To a member's attributes.
    MemberAttributes,
    /// To a change of what is known of the members.
    Membership,
    /// To what is said of leases' time.
    LeaseCheckpoint,
    /// To a version of the cluster.
    ClusterVersion,
    /// To a downgrade, allowed or not any more.
    Downgrade,
    /// To a change of users, roles or tokens.
    Auth(AuthReply),
}

/// What a deletion removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRangeReply {
    /// How many keys.
    pub deleted: i64,
    /// Which, where asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// What a transaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnReply {
    /// Whether the conditions held.
    pub succeeded: bool,
    /// Revision to show in the header of this (possibly nested) answer's parts.
    pub revision: i64,
    /// One answer for each operation of the branch taken.
    pub responses: Vec<ResponseOp>,
}

/// Answer to one operation of a transaction. Each carries the revision for its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseOp {
    /// To a range.
    Range(RangeResult, i64),
    /// To a put.
    Put(Option<KeyValue>, i64),
    /// To a deletion.
    DeleteRange(DeleteRangeReply, i64),
    /// To a transaction within.
    Txn(TxnReply),
}

impl Command {
    /// The bytes that stand in the log.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        crate::codec::encode(self)
    }

    /// Reads a command back. Keys and values are slices of `bytes`, not copies.
    ///
    /// # Errors
    /// Where the bytes are not a command of this version.
    pub fn decode(bytes: &Bytes) -> Result<Command, crate::codec::DecodeError> {
        crate::codec::decode(bytes)
    }
}
