//! The replicated etcd store: a member as the front door sees it.
//!
//! [`Store::start`] opens a data directory and joins the cluster; [`Store::propose`] replicates a command and gives the
//! result of applying it here; [`Store::read_barrier`] makes the [`kontiki_kv::Reader`] linearizable;
//! [`Store::watch_stream`] tells what happens; [`Store::snapshot_stream`] saves all of it, and [`restore`] makes a member
//! of what was saved. Beneath are the engine with one group and kv's rules as its state machine.
//!
//! A proposal carries the member that waits for it and a token in front of its command. Every member applies it; the one
//! that it came from answers. A member that dies forgets who waited; tokens start at a random place in each life, so that a
//! replayed entry answers nobody. It may also carry in whose name it is made ([`Store::acting_for`]); every member then
//! decides again, when it applies it, whether that one may.

mod auth;
mod calls;
mod claim;
mod compactor;
mod comparison;
mod downgrade;
mod error;
mod identity;
mod inspect;
mod leases;
mod link;
mod machine;
mod marks;
mod membership;
mod options;
#[cfg(feature = "planted")]
pub mod planted;
mod receiving;
mod saves;
mod shrinking;
mod snapshot_file;
mod space;
mod start;
mod state_file;
mod states;
mod status;
mod store;
mod surroundings;
mod upkeep;
mod watch;

pub use auth::{AuthOptions, Caller, ChangeAuth, TokenText};
pub use compactor::{AutoCompaction, RetentionError};
pub use downgrade::{DowngradeAction, FEATURE_LEVEL};
pub use error::{StartError, StopReason, StoreError};
pub use inspect::{
    CheckReport, CheckStep, DumpRecord, DumpValue, Finding, InspectError, KeyFilter, LogFigures, LogFilter, Severity,
    check, dump_keys, dump_log,
};
pub use kontiki_kv::{FeatureLevel, StateReport};
pub use kontiki_transport::Listener as PeerListener;
pub use link::Applied;
pub use machine::{GROUP, StoreMachine, decode_entry};
pub use membership::{MemberChanged, MembershipOptions};
pub use options::{Given, InitialMember, Options, QUOTA_BYTES_DEFAULT, Tuning, Upkeep};
pub use snapshot_file::{
    RestoreOptions, Restored, SnapshotBlob, SnapshotError, SnapshotFile, SnapshotHeader, SnapshotOrigin,
    SnapshotStream, SnapshotSummary, offline_snapshot, restore,
};
pub use start::{MemberParts, Opened, open};
pub use status::{HistogramSnapshot, Leadership, PeerStatistics, Statistics, Status};
pub use store::{LeaseTimeToLive, Store};
pub use surroundings::{Peers, Surroundings, Work};
pub use watch::{SharedEvent, WatchCreate, WatchKind, WatchResponse, WatchStream};
