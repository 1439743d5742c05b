//! Everything to start a member with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kontiki_engine::Settings as EngineSettings;
use kontiki_kv::Options as KvOptions;
use kontiki_log::Options as LogOptions;
use kontiki_raft::{Configuration, Incarnation};
use kontiki_tls::Connector;
use kontiki_transport::Listener;

use crate::compactor::AutoCompaction;

use crate::auth::AuthOptions;

use crate::membership::MembershipOptions;

/// Options of a member, after etcd's flags.
#[derive(Debug)]
pub struct Options {
    /// `--name`.
    pub name: String,
    /// Which of the flags that name a member and its cluster were really given.
    pub given: Given,
    /// `--data-dir`; holds `member/`.
    pub data_dir: PathBuf,
    /// `--wal-dir`; the log's place, `member/wal` in the data directory where none is given.
    pub wal_dir: Option<PathBuf>,
    /// `--initial-cluster`. Counts only at the first start.
    pub initial_cluster: Vec<InitialMember>,
    /// `--initial-cluster-token`.
    pub initial_cluster_token: String,
    /// `--initial-cluster-state` is `new`.
    pub new_cluster: bool,
    /// `--force-new-cluster`.
    pub force_new_cluster: bool,
    /// `--initial-advertise-peer-urls`.
    pub advertise_peer_urls: Vec<String>,
    /// `--advertise-client-urls`.
    pub advertise_client_urls: Vec<String>,
    /// Bound sockets for `--listen-peer-urls`.
    pub peer_listeners: Vec<Listener>,
    /// Dials peers whose URLs are `https`.
    pub peer_connector: Option<Arc<Connector>>,
    /// `--heartbeat-interval`.
    pub heartbeat_interval: Duration,
    /// `--election-timeout`.
    pub election_timeout: Duration,
    /// `--pre-vote`.
    pub pre_vote: bool,
    /// `--quota-backend-bytes`: zero for 2 GiB, negative for none.
    pub quota_bytes: i64,
    /// `--snapshot-catchup-entries`: entries that stay in the log behind a checkpoint.
    pub trailing_entries: u64,
    /// `--watch-progress-notify-interval`.
    pub progress_notify_interval: Duration,
    /// `--max-request-bytes`.
    pub request_bytes_max: usize,
    /// What a member does of its own accord.
    pub upkeep: Upkeep,
    /// How callers are recognized.
    pub auth: AuthOptions,
    /// Changes of the membership.
    pub membership: MembershipOptions,
    /// What no flag sets.
    pub tuning: Tuning,
}

/// What a member does of its own accord to keep the store in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// `--auto-compaction-mode` and `--auto-compaction-retention`; none for no compaction but by clients.
    pub auto_compaction: Option<AutoCompaction>,
    /// Whether a member lowers its own alarm NOSPACE once it is well below its quota again. etcd never does.
    pub clears_no_space: bool,
    /// The smallest error in a lease's time across a change of leader that is worth an entry in the log.
    pub lease_error: Duration,
}

impl Default for Upkeep {
    fn default() -> Upkeep {
        Upkeep { auto_compaction: None, clears_no_space: false, lease_error: Duration::from_secs(60) }
    }
}

/// Settings of the parts beneath. The flags' times and the place of the disk's chance are put in at the start.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    /// The log's.
    pub log: LogOptions,
    /// The state file's.
    pub kv: KvOptions,
    /// The engine's.
    pub engine: EngineSettings,
    /// The cluster's first configuration, where it is not all of `--initial-cluster`. A member outside of it waits to be added.
    pub founders: Option<Arc<Configuration>>,
    /// A member's identity by its name, where it does not follow from its peer URLs.
    pub numbered: Option<fn(&str) -> u64>,
    /// The first life of a new disk, where it is not left to chance.
    pub incarnation: Option<Incarnation>,
}

/// Which flags were given rather than left at their defaults. On existing data only those are compared with it: a member
/// may be started again with bare flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// `--name`.
    pub name: bool,
    /// `--initial-cluster`.
    pub initial_cluster: bool,
    /// `--initial-cluster-token`.
    pub initial_cluster_token: bool,
}

/// One member of `--initial-cluster`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Its name.
    pub name: String,
    /// Where the others reach it.
    pub peer_urls: Vec<String>,
}

/// etcd's default quota: 2 GiB.
pub const QUOTA_BYTES_DEFAULT: i64 = 2 << 30;
