//! Every flag that etcd's `--help` lists, one row each: what it takes, its default, and what it does here.

use super::Kind::{Anything, Bool, Duration, List, Signed, Text, Unsigned};
use super::{Effect, Flag, Kind};

/// A flag that does here what it does in etcd.
const fn used(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, default, effect: Effect::Used, help }
}

/// A flag that is accepted and changes nothing; `why` completes "has no effect: …".
const fn idle(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Flag {
    Flag { name, kind, default, effect: Effect::Idle(why), help: why }
}

/// A flag that does what it does in etcd, but for `how`.
const fn differs(name: &'static str, kind: Kind, default: &'static str, help: &'static str, how: &'static str) -> Flag {
    Flag { name, kind, default, effect: Effect::Differs(how), help }
}

/// A flag that asks for something without which the member would not be what its operator believes it is.
const fn refused(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Flag {
    Flag { name, kind, default, effect: Effect::Refused(why), help: why }
}

const OLD: &str = "etcd itself no longer uses it";
const NO_PROXY: &str = "the proxy mode went with etcd's second API";
const NO_BBOLT: &str = "the storage engine here has no such setting";
const NO_SNAPSHOT_FILES: &str = "checkpoints are paced by bytes and time, and the log is cut behind them";
const NO_TRACING: &str = "distributed tracing is not in this version";
const NO_DISCOVERY: &str = "discovery is not in this version; name all members in --initial-cluster";
const COMPACTED: &str = "what is compacted is removed along with the checkpoints, in pieces of their size";
const COMPARED: &str = "data is checked against sums where it lies, and members are compared on request, by HashKV";
const HEARTBEATS: &str = "a silent peer is noticed by its missing heartbeats";

/// The groups of flags, in the order of etcd's help.
pub const GROUPS: &[(&str, &[Flag])] = &[
    ("Member", MEMBER),
    ("Addresses", ADDRESSES),
    ("Cluster", CLUSTER),
    ("Storage", STORAGE),
    ("Limits", LIMITS),
    ("Security", SECURITY),
    ("Web", WEB),
    ("Authentication", AUTH),
    ("Logging, metrics and tracing", OBSERVE),
    ("Checks", CHECKS),
    ("Features", FEATURES),
    ("Accepted for old unit files", LEGACY),
];

/// Flags whose `--experimental-` spelling of etcd 3.5 and 3.6 means the same.
pub const EXPERIMENTAL_TWINS: &[&str] = &[
    "peer-skip-client-san-verification",
    "enable-distributed-tracing",
    "distributed-tracing-address",
    "distributed-tracing-service-name",
    "distributed-tracing-instance-id",
    "distributed-tracing-sampling-rate",
    "corrupt-check-time",
    "compact-hash-check-time",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "watch-progress-notify-interval",
    "downgrade-check-time",
    "warning-apply-duration",
    "warning-unary-request-duration",
    "memory-mlock",
    "bootstrap-defrag-threshold-megabytes",
    "snapshot-catchup-entries",
    "max-learners",
];

/// A feature that `--feature-gates` switches.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// As in the flag.
    pub name: &'static str,
    /// Whether it is on when nobody says so.
    pub default: bool,
    /// How ripe etcd says it is; empty for what is ripe, and for the two that switch whole stages.
    pub stage: &'static str,
    /// What switching it does here; empty where it does what it does in etcd.
    pub differs: &'static str,
}

const fn gate(name: &'static str, default: bool, stage: &'static str, differs: &'static str) -> Gate {
    Gate { name, default, stage, differs }
}

/// Feature gates that etcd 3.6 and 3.7 know.
pub const FEATURE_GATES: &[Gate] = &[
    gate("AllAlpha", false, "ALPHA", ""),
    gate("AllBeta", false, "BETA", ""),
    gate("CompactHashCheck", false, "ALPHA", COMPARED),
    gate("FastLeaseKeepAlive", true, "BETA", "there is one way to keep leases alive"),
    gate("InitialCorruptCheck", false, "ALPHA", COMPARED),
    gate("LeaseCheckpoint", false, "ALPHA", "the remaining time of leases is always kept"),
    gate("LeaseCheckpointPersist", false, "ALPHA", "the remaining time of leases is always kept"),
    gate("PriorityRequest", false, "ALPHA", "what is let in is bounded by bytes, alike for all requests"),
    gate("SetMemberLocalAddr", false, "ALPHA", "the system chooses the address of connections to members"),
    gate("StopGRPCServiceOnDefrag", false, "ALPHA", "defragmenting stops nothing here"),
    gate("TxnModeWriteWithSharedBuffer", true, "BETA", "the storage engine here has no such buffer"),
];

const MEMBER: &[Flag] = &[
    used("name", Text, "default", "name of this member, unique in the cluster"),
    used("data-dir", Text, "", "data directory (default ${name}.etcd)"),
    used("wal-dir", Text, "", "directory of the log, if it is to be on a device of its own"),
    idle("snapshot-count", Unsigned, "10000", NO_SNAPSHOT_FILES),
    used("heartbeat-interval", Unsigned, "100", "milliseconds between a leader's heartbeats"),
    used("election-timeout", Unsigned, "1000", "milliseconds without a leader before an election"),
    idle("initial-election-tick-advance", Bool, "true", "a member that starts always waits a whole election timeout"),
    idle("max-wals", Unsigned, "5", NO_SNAPSHOT_FILES),
    idle("max-snapshots", Unsigned, "5", NO_SNAPSHOT_FILES),
    used("config-file", Text, "", "a file of settings; then all flags and variables are ignored"),
];

const ADDRESSES: &[Flag] = &[
    used("listen-client-urls", List, "http://localhost:2379", "where clients are served"),
    used("listen-peer-urls", List, "http://localhost:2380", "where other members are heard"),
    used("listen-metrics-urls", List, "", "more places for /metrics, /health, /livez and /readyz"),
    used("listen-client-http-urls", List, "", "where HTTP is served; the client URLs then serve gRPC only"),
    used("advertise-client-urls", List, "http://localhost:2379", "client URLs that the cluster is told"),
    used("initial-advertise-peer-urls", List, "http://localhost:2380", "peer URLs that the cluster is told"),
    idle("socket-reuse-port", Bool, "false", "ports are not shared between processes"),
    differs(
        "socket-reuse-address",
        Bool,
        "false",
        "listen although connections to the address have just ended",
        "addresses of connections that just ended are always reused",
    ),
];

const CLUSTER: &[Flag] = &[
    used("initial-cluster", Text, "default=http://localhost:2380", "all members as name=peer-url,…"),
    used("initial-cluster-state", Text, "new", "new, or existing"),
    used("initial-cluster-token", Text, "etcd-cluster", "tells clusters with the same addresses apart"),
    used("force-new-cluster", Bool, "false", "a quorum is lost for good: go on alone with this member's data"),
    used("strict-reconfig-check", Bool, "true", "refuse changes of the membership that could cost the quorum"),
    used("pre-vote", Bool, "true", "ask whether an election could be won before standing for it"),
    used("max-learners", Unsigned, "1", "most members at a time that only learn"),
    refused("discovery", Text, "", NO_DISCOVERY),
    refused("discovery-proxy", Text, "", NO_DISCOVERY),
    refused("discovery-srv", Text, "", NO_DISCOVERY),
    refused("discovery-srv-name", Text, "", NO_DISCOVERY),
    refused("discovery-token", Text, "", NO_DISCOVERY),
    refused("discovery-endpoints", List, "", NO_DISCOVERY),
    idle("discovery-dial-timeout", Duration, "2s", NO_DISCOVERY),
    idle("discovery-request-timeout", Duration, "5s", NO_DISCOVERY),
    idle("discovery-keepalive-time", Duration, "2s", NO_DISCOVERY),
    idle("discovery-keepalive-timeout", Duration, "6s", NO_DISCOVERY),
    idle("discovery-insecure-transport", Bool, "true", NO_DISCOVERY),
    idle("discovery-insecure-skip-tls-verify", Bool, "false", NO_DISCOVERY),
    refused("discovery-cert", Text, "", NO_DISCOVERY),
    refused("discovery-key", Text, "", NO_DISCOVERY),
    refused("discovery-cacert", Text, "", NO_DISCOVERY),
    refused("discovery-user", Text, "", NO_DISCOVERY),
    refused("discovery-password", Text, "", NO_DISCOVERY),
    idle("discovery-fallback", Text, "exit", NO_DISCOVERY),
];

const STORAGE: &[Flag] = &[
    used("quota-backend-bytes", Signed, "0", "most bytes of data (0: 2 GiB; negative: no bound)"),
    idle("backend-batch-interval", Duration, "100ms", NO_BBOLT),
    idle("backend-batch-limit", Unsigned, "10000", NO_BBOLT),
    idle("backend-bbolt-freelist-type", Text, "map", NO_BBOLT),
    used("auto-compaction-mode", Text, "periodic", "periodic, or revision"),
    used("auto-compaction-retention", Text, "0", "what compaction keeps: a time, or a number of revisions (0: all)"),
    idle("compaction-batch-limit", Unsigned, "1000", COMPACTED),
    idle("compaction-sleep-interval", Duration, "10ms", COMPACTED),
    idle("bootstrap-defrag-threshold-megabytes", Unsigned, "0", NO_BBOLT),
    used("snapshot-catchup-entries", Unsigned, "5000", "entries kept behind a checkpoint for slow followers"),
    idle("memory-mlock", Bool, "false", "memory is not locked; the data is not held in memory"),
    idle("unsafe-no-fsync", Bool, "false", "writes are always synced: what is acknowledged survives"),
];

const LIMITS: &[Flag] = &[
    used("max-txn-ops", Unsigned, "128", "most operations in one transaction"),
    used("max-request-bytes", Unsigned, "1572864", "most bytes in one request"),
    used("max-concurrent-streams", Unsigned, "4294967295", "most calls at a time on one client connection"),
    used("grpc-keepalive-min-time", Duration, "5s", "clients that ping more often are sent away"),
    used("grpc-keepalive-interval", Duration, "2h", "how often idle client connections are pinged"),
    used("grpc-keepalive-timeout", Duration, "20s", "how long an answer to such a ping may take"),
    idle("raft-read-timeout", Duration, "5s", HEARTBEATS),
    idle("raft-write-timeout", Duration, "5s", HEARTBEATS),
];

const SECURITY: &[Flag] = &[
    used("cert-file", Text, "", "certificate that clients are shown, with its chain"),
    used("key-file", Text, "", "its private key"),
    used("client-cert-file", Text, "", "certificate of connections that this member opens to client ports"),
    used("client-key-file", Text, "", "its private key"),
    used("client-cert-auth", Bool, "false", "clients must show a certificate of the trusted authority"),
    used("client-crl-file", Text, "", "certificates of clients that were revoked"),
    used("client-cert-allowed-hostname", List, "", "names of which a client's certificate must bear one"),
    used("trusted-ca-file", Text, "", "the authority that clients' certificates must come from"),
    used("auto-tls", Bool, "false", "towards clients, a certificate of one's own making"),
    used("peer-cert-file", Text, "", "certificate that other members are shown, with its chain"),
    used("peer-key-file", Text, "", "its private key"),
    used("peer-client-cert-file", Text, "", "certificate of connections that this member opens to others"),
    used("peer-client-key-file", Text, "", "its private key"),
    used("peer-client-cert-auth", Bool, "false", "members must show a certificate of the trusted authority"),
    used("peer-trusted-ca-file", Text, "", "the authority that members' certificates must come from"),
    used("peer-auto-tls", Bool, "false", "between members, certificates of their own making"),
    used("peer-crl-file", Text, "", "certificates of members that were revoked"),
    used("peer-cert-allowed-cn", List, "", "common names of which a member's certificate must bear one"),
    used("peer-cert-allowed-hostname", List, "", "names of which a member's certificate must bear one"),
    used("peer-skip-client-san-verification", Bool, "false", "a member's certificate need not name its address"),
    used("cipher-suites", List, "", "ciphers of TLS 1.2, by their Go names (empty: all that are sound)"),
    used("tls-min-version", Text, "TLS1.2", "TLS1.2, or TLS1.3"),
    used("tls-max-version", Text, "", "TLS1.2, TLS1.3, or empty for the newest"),
    used("self-signed-cert-validity", Unsigned, "1", "years that certificates of one's own making are valid"),
];

const WEB: &[Flag] = &[
    used("cors", List, "*", "origins whose pages may read the answers"),
    used("host-whitelist", List, "*", "host names that HTTP requests may ask for"),
    used("enable-grpc-gateway", Bool, "true", "serve JSON under /v3/"),
    differs(
        "enable-pprof",
        Bool,
        "false",
        "serve /debug/pprof/",
        "profiles of the Go runtime do not exist: the pages list the threads and their processor time",
    ),
];

const AUTH: &[Flag] = &[
    used("auth-token", Text, "simple", "kind of tokens: simple, or jwt,pub-key=…,priv-key=…,sign-method=…,ttl=…"),
    used("auth-token-ttl", Unsigned, "300", "seconds that a simple token lives unused"),
    used("bcrypt-cost", Unsigned, "10", "cost of hashing a password: 4 to 31"),
];

const OBSERVE: &[Flag] = &[
    used("metrics", Text, "basic", "basic, or extensive"),
    used("logger", Text, "zap", "zap is the only one: structured lines in etcd's form"),
    differs("log-level", Text, "info", "debug, info, warn or error", "panic, dpanic and fatal mean error"),
    used("log-format", Text, "json", "json, or console"),
    used("log-outputs", List, "default", "stderr, stdout or file paths"),
    used("enable-log-rotation", Bool, "false", "rotate the file of --log-outputs"),
    differs(
        "log-rotation-config-json",
        Text,
        "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \"compress\": false}",
        "megabytes of a file, days and number of old ones that are kept (0: all)",
        "old files are named in UTC and not compressed: localtime and compress warn",
    ),
    idle("disable-log-sampling", Bool, "false", "no log line is left out"),
    idle(
        "warning-apply-duration",
        Duration,
        "100ms",
        "the time of each kind of call is in the metrics (--metrics=extensive)",
    ),
    used("warning-unary-request-duration", Duration, "300ms", "a unary call that takes longer is logged"),
    idle("enable-distributed-tracing", Bool, "false", NO_TRACING),
    idle("distributed-tracing-address", Text, "localhost:4317", NO_TRACING),
    idle("distributed-tracing-service-name", Text, "etcd", NO_TRACING),
    idle("distributed-tracing-instance-id", Text, "", NO_TRACING),
    idle("distributed-tracing-sampling-rate", Unsigned, "0", NO_TRACING),
];

const CHECKS: &[Flag] = &[
    idle("corrupt-check-time", Duration, "0s", COMPARED),
    idle("compact-hash-check-time", Duration, "1m", COMPARED),
    idle("downgrade-check-time", Duration, "5s", "what a downgrade needs is looked at when it is asked for"),
    used("watch-progress-notify-interval", Duration, "10m", "how often quiet watches report progress"),
];

const FEATURES: &[Flag] = &[
    differs(
        "feature-gates",
        List,
        "",
        "features that are on or off, as Name=true,…",
        "names and values are checked and shown in the metrics; no gate changes what a member does",
    ),
    idle("experimental-initial-corrupt-check", Bool, "false", COMPARED),
    idle("experimental-compact-hash-check-enabled", Bool, "false", COMPARED),
    idle("experimental-enable-lease-checkpoint", Bool, "false", "the remaining time of leases is always kept"),
    idle("experimental-enable-lease-checkpoint-persist", Bool, "false", "the remaining time of leases is always kept"),
    idle("experimental-txn-mode-write-with-shared-buffer", Bool, "true", NO_BBOLT),
    idle("experimental-stop-grpc-service-on-defrag", Bool, "false", "defragmenting stops nothing here"),
    idle("experimental-wait-cluster-ready-timeout", Duration, "5s", "clients are answered once a leader is known"),
    idle(
        "experimental-set-member-localaddr",
        Bool,
        "false",
        "the system chooses the address of connections to members",
    ),
];

const LEGACY: &[Flag] = &[
    idle("v2-deprecation", Text, "write-only", OLD),
    idle("enable-v2", Bool, "false", OLD),
    idle("experimental-enable-v2v3", Text, "", OLD),
    refused("proxy", Text, "off", NO_PROXY),
    idle("proxy-failure-wait", Unsigned, "5000", NO_PROXY),
    idle("proxy-refresh-interval", Unsigned, "30000", NO_PROXY),
    idle("proxy-dial-timeout", Unsigned, "1000", NO_PROXY),
    idle("proxy-write-timeout", Unsigned, "5000", NO_PROXY),
    idle("proxy-read-timeout", Unsigned, "0", NO_PROXY),
    idle("cluster-active-size", Anything, "", OLD),
    idle("cluster-remove-delay", Anything, "", OLD),
    idle("cluster-sync-interval", Anything, "", OLD),
    idle("config", Anything, "", OLD),
    idle("force", Anything, "", OLD),
    idle("max-result-buffer", Anything, "", OLD),
    idle("max-retry-attempts", Anything, "", OLD),
    idle("peer-heartbeat-interval", Anything, "", OLD),
    idle("peer-election-timeout", Anything, "", OLD),
    idle("retry-interval", Anything, "", OLD),
    idle("snapshot", Anything, "", OLD),
    idle("v", Anything, "", OLD),
    idle("vv", Anything, "", OLD),
];
