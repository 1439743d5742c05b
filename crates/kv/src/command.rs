//! What stands in the log: commands to the state machine, and what applying them gives.

use bytes::Bytes;

use crate::error::OperationError;
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
    /// Ends a lease and deletes its keys, by a client's wish or by expiry.
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
    /// To an alarm: what changed; empty where nothing did.
    Alarm(Vec<(u64, Alarm)>),
    /// To a member's attributes.
    MemberAttributes,
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
