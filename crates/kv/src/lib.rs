//! etcd's state machine: a multi-version key-value store with transactions and leases. Deterministic: the same commands
//! give the same state and the same answers on every member, whatever its disk and its checkpoints do meanwhile.
//!
//! - [`Kv`] belongs to who applies the log: [`Kv::batch`] applies commands, [`Kv::begin_checkpoint`] makes what was
//!   applied durable, [`Kv::snapshot`] sends it elsewhere.
//! - [`Reader`] answers questions from any thread.
//! - [`check`](check()) and its like say what can be refused before anything is proposed.
//!
//! Nothing here reads a clock, starts a thread or draws a random number. Nothing is durable but checkpoints: the log is
//! what survives a crash, and opening yields the last checkpoint, behind which the log is applied again.
//!
//! ```
//! use bytes::Bytes;
//! use kontiki_kv::{Command, KeyRange, Kv, Options, PutRequest, RangeRequest};
//!
//! let mut kv = Kv::open(redb::backends::InMemoryBackend::new(), Options::default())?;
//! let put = PutRequest { key: "greeting".into(), value: "hello".into(), ..PutRequest::default() };
//! let outcome = kv.batch().apply(1, 1, &Command::Put(put))?;
//! assert_eq!(outcome.revision, 2); // a fresh store is at revision 1
//!
//! let range = KeyRange { key: "greeting".into(), range_end: Bytes::new() };
//! let (found, revision) = kv.reader().range(&RangeRequest { range, ..RangeRequest::default() })?;
//! assert_eq!((&found.kvs[0].value[..], revision), (&b"hello"[..], 2));
//!
//! if let Some(checkpoint) = kv.begin_checkpoint(Bytes::from("configuration")) {
//!     let done = checkpoint.run()?; // on another thread, in a real process
//!     assert_eq!(done.applied(), (1, 1)); // the log may be cut up to here
//!     drop(kv.finish_checkpoint(done));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! How it is stored is told in `layers` and `versions`, how keys are ordered in `key`, how a range is counted without being
//! walked in `count`, how history goes away in `compact`, who may do what in `auth`.

mod auth;
mod base;
mod changes;
mod check;
mod checkpoint;
mod codec;
mod command;
mod compact;
mod count;
mod damage;
mod digest;
mod error;
mod events;
mod hash;
mod inspect;
mod key;
mod kv;
mod layers;
mod lease;
mod membership;
mod memory;
mod mvcc;
mod overlay;
mod pages;
pub mod planted;
mod range;
mod reader;
mod record;
mod refound;
mod request;
mod scan;
mod scrub;
mod sealed;
mod shrink;
mod snapshot;
mod state;
mod tally;
#[cfg(test)]
mod tests;
mod txn;
mod verify;
mod versions;
mod visible;
mod walk;
mod wire;

pub use auth::{
    Access, AuthCommand, AuthReply, Grants, Need, PasswordHash, Permission, PermissionKind, Proposer, ROOT, Role,
    Subject, Token, TokenDigest, User, needs_of,
};
pub use check::{
    LEASE_TTL_MAX, check, check_delete_range, check_lease_ttl, check_put, check_range, cost, is_read_only,
};
pub use checkpoint::{Checkpoint, CheckpointDone, Retired};
pub use codec::DecodeError;
pub use command::{Alarm, Command, DeleteRangeReply, FeatureLevel, Member, Outcome, Reply, ResponseOp, TxnReply};
pub use damage::{BlockDamage, DamageKind};
pub use error::{Failure, KvError, OperationError};
pub use events::EventPage;
pub use hash::HashKv;
pub use inspect::{Inspection, StateReport, check as check_state};
pub use kv::{Batch, Kv, Options};
pub use layers::Table;
pub use lease::LeaseRow;
pub use membership::{MemberCommand, Standing};
pub use pages::{Found, RangePages};
pub use reader::Reader;
pub use refound::{Founded, Refounding, refound};
pub use request::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Event, EventKind, KeyRange, KeyValue, PutRequest,
    RangeRequest, RangeResult, RequestOp, SortOrder, SortTarget, TxnRequest,
};
pub use scrub::{Scrub, Scrubbed};
pub use shrink::{Shrink, Shrunk};
pub use snapshot::{SnapshotSink, SnapshotSource};
pub use tally::{SnapshotTally, Tally};
