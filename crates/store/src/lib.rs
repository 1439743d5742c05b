//! The replicated etcd store: a member as the front door sees it.
//!
//! [`Store::start`] opens a data directory and joins the cluster; [`Store::propose`] replicates a command and gives the
//! result of applying it here; [`Store::read_barrier`] makes the [`kontiki_kv::Reader`] linearizable;
//! [`Store::watch_stream`] tells what happens; [`Store::snapshot_stream`] saves all of it, and [`restore`] makes a member
//! of what was saved. Beneath are the engine with one group and kv's rules as its state machine.
//!
//! A proposal carries the member that waits for it and a token in front of its command. Every member applies it; the one
//! that it came from answers. A member that dies forgets who waited; tokens start at a random place in each life, so that a
//! replayed entry answers nobody.

mod calls;
mod claim;
mod comparison;
mod error;
mod identity;
mod inspect;
mod lease_clock;
mod link;
mod machine;
mod marks;
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
mod watch;

pub use error::{StartError, StopReason, StoreError};
pub use inspect::{
    CheckReport, CheckStep, DumpRecord, DumpValue, Finding, InspectError, KeyFilter, LogFigures, LogFilter, Severity,
    check, dump_keys, dump_log,
};
pub use kontiki_kv::StateReport;
pub use link::Applied;
pub use machine::{GROUP, StoreMachine, decode_entry};
pub use options::{Given, InitialMember, Options, QUOTA_BYTES_DEFAULT, Tuning};
pub use snapshot_file::{
    RestoreOptions, Restored, SnapshotBlob, SnapshotError, SnapshotFile, SnapshotHeader, SnapshotOrigin,
    SnapshotStream, SnapshotSummary, offline_snapshot, restore,
};
pub use start::{MemberParts, Opened, open};
pub use status::{HistogramSnapshot, Leadership, PeerStatistics, Statistics, Status};
pub use store::{LeaseTimeToLive, Store};
pub use surroundings::{Peers, Surroundings, Work};
pub use watch::{SharedEvent, WatchCreate, WatchKind, WatchResponse, WatchStream};
