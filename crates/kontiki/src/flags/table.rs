//! Every flag that etcd's `--help` lists, one row each: what it takes, its default, and what it does here.

use super::Kind::{Bool, Duration, List, Signed, Text, Unsigned};
use super::{Effect, Flag, Kind};

/// A flag that does here what it does in etcd.
const fn used(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, default, effect: Effect::Used, help }
}

/// A flag that is accepted and changes nothing; `why` completes "has no effect: …".
const fn idle(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Flag {
    Flag { name, kind, default, effect: Effect::Idle(why), help: why }
}

/// A flag that asks for encryption, which this version cannot give.
const fn tls(name: &'static str, kind: Kind, default: &'static str) -> Flag {
    Flag { name, kind, default, effect: Effect::Tls, help: "refused: TLS is not in this version" }
}

/// A flag that asks for something without which the member would not be what its operator believes it is.
const fn refused(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Flag {
    Flag { name, kind, default, effect: Effect::Refused(why), help: why }
}

const OLD: &str = "etcd itself no longer uses it";
const NO_BBOLT: &str = "the storage engine here has no such setting";
const NO_SNAPSHOT_FILES: &str = "checkpoints are paced by bytes and time, and the log is cut behind them";
const NO_AUTH: &str = "authentication is not in this version";
const NO_TRACING: &str = "distributed tracing is not in this version";
const NO_RECONFIGURATION: &str = "changes of the membership are not in this version";
const NO_COMPACTOR: &str = "automatic compaction is not in this version; compact through the API";
const NO_CHECKS: &str = "periodic comparison of members' hashes is not in this version";
const NO_DISCOVERY: &str = "discovery is not in this version; name all members in --initial-cluster";
const NO_TLS_DETAIL: &str = "TLS is not in this version";
const NO_ROTATION: &str = "rotation of log files is left to the system";

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

/// Feature gates that etcd 3.6 and 3.7 know.
pub const FEATURE_GATES: &[&str] = &[
    "AllAlpha",
    "AllBeta",
    "CompactHashCheck",
    "FastLeaseKeepAlive",
    "InitialCorruptCheck",
    "LeaseCheckpoint",
    "LeaseCheckpointPersist",
    "PriorityRequest",
    "SetMemberLocalAddr",
    "StopGRPCServiceOnDefrag",
    "TxnModeWriteWithSharedBuffer",
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
    refused("listen-client-http-urls", List, "", "HTTP and gRPC share the client port in this version"),
    used("advertise-client-urls", List, "http://localhost:2379", "client URLs that the cluster is told"),
    used("initial-advertise-peer-urls", List, "http://localhost:2380", "peer URLs that the cluster is told"),
    idle("socket-reuse-port", Bool, "false", "ports are not shared between processes"),
    idle("socket-reuse-address", Bool, "false", "addresses of connections that just ended are always reused"),
];

const CLUSTER: &[Flag] = &[
    used("initial-cluster", Text, "default=http://localhost:2380", "all members as name=peer-url,…"),
    used("initial-cluster-state", Text, "new", "new, or existing"),
    used("initial-cluster-token", Text, "etcd-cluster", "tells clusters with the same addresses apart"),
    used("force-new-cluster", Bool, "false", "a quorum is lost for good: go on alone with this member's data"),
    idle("strict-reconfig-check", Bool, "true", NO_RECONFIGURATION),
    used("pre-vote", Bool, "true", "ask whether an election could be won before standing for it"),
    idle("max-learners", Unsigned, "1", NO_RECONFIGURATION),
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
    idle("auto-compaction-mode", Text, "periodic", NO_COMPACTOR),
    idle("auto-compaction-retention", Text, "0", NO_COMPACTOR),
    idle("compaction-batch-limit", Unsigned, "1000", NO_BBOLT),
    idle("compaction-sleep-interval", Duration, "10ms", NO_BBOLT),
    idle("bootstrap-defrag-threshold-megabytes", Unsigned, "0", NO_BBOLT),
    used("snapshot-catchup-entries", Unsigned, "5000", "entries kept behind a checkpoint for slow followers"),
    idle("memory-mlock", Bool, "false", "memory is not locked; the data is not held in memory"),
    idle("unsafe-no-fsync", Bool, "false", "writes are always synced"),
];

const LIMITS: &[Flag] = &[
    used("max-txn-ops", Unsigned, "128", "most operations in one transaction"),
    used("max-request-bytes", Unsigned, "1572864", "most bytes in one request"),
    used("max-concurrent-streams", Unsigned, "4294967295", "most calls at a time on one client connection"),
    idle("grpc-keepalive-min-time", Duration, "5s", "clients that ping often are not disconnected in this version"),
    used("grpc-keepalive-interval", Duration, "2h", "how often idle client connections are pinged"),
    used("grpc-keepalive-timeout", Duration, "20s", "how long an answer to such a ping may take"),
    idle("raft-read-timeout", Duration, "5s", "a silent peer is noticed by its missing heartbeats"),
    idle("raft-write-timeout", Duration, "5s", "a silent peer is noticed by its missing heartbeats"),
];

const SECURITY: &[Flag] = &[
    tls("cert-file", Text, ""),
    tls("key-file", Text, ""),
    tls("client-cert-file", Text, ""),
    tls("client-key-file", Text, ""),
    tls("client-cert-auth", Bool, "false"),
    tls("client-crl-file", Text, ""),
    tls("client-cert-allowed-hostname", Text, ""),
    tls("trusted-ca-file", Text, ""),
    tls("auto-tls", Bool, "false"),
    tls("peer-cert-file", Text, ""),
    tls("peer-key-file", Text, ""),
    tls("peer-client-cert-file", Text, ""),
    tls("peer-client-key-file", Text, ""),
    tls("peer-client-cert-auth", Bool, "false"),
    tls("peer-trusted-ca-file", Text, ""),
    tls("peer-auto-tls", Bool, "false"),
    tls("peer-crl-file", Text, ""),
    tls("peer-cert-allowed-cn", Text, ""),
    tls("peer-cert-allowed-hostname", Text, ""),
    idle("peer-skip-client-san-verification", Bool, "false", NO_TLS_DETAIL),
    idle("cipher-suites", List, "", NO_TLS_DETAIL),
    idle("tls-min-version", Text, "TLS1.2", NO_TLS_DETAIL),
    idle("tls-max-version", Text, "", NO_TLS_DETAIL),
    idle("self-signed-cert-validity", Unsigned, "1", NO_TLS_DETAIL),
];

const WEB: &[Flag] = &[
    idle("cors", List, "*", "every origin is allowed in this version"),
    used("host-whitelist", List, "*", "host names that HTTP requests may ask for"),
    used("enable-grpc-gateway", Bool, "true", "serve JSON under /v3/"),
    idle("enable-pprof", Bool, "false", "profiles of the Go runtime do not exist here"),
];

const AUTH: &[Flag] = &[
    idle("auth-token", Text, "simple", NO_AUTH),
    idle("auth-token-ttl", Unsigned, "300", NO_AUTH),
    idle("bcrypt-cost", Unsigned, "10", NO_AUTH),
];

const OBSERVE: &[Flag] = &[
    used("metrics", Text, "basic", "basic, or extensive"),
    used("logger", Text, "zap", "zap is the only one: structured lines in etcd's form"),
    used("log-level", Text, "info", "debug, info, warn or error"),
    used("log-format", Text, "json", "json, or console"),
    used("log-outputs", List, "default", "stderr, stdout or file paths"),
    idle("enable-log-rotation", Bool, "false", NO_ROTATION),
    idle("log-rotation-config-json", Text, "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0}", NO_ROTATION),
    idle("warning-apply-duration", Duration, "100ms", "slow requests are counted in the metrics only"),
    idle("warning-unary-request-duration", Duration, "300ms", "slow requests are counted in the metrics only"),
    idle("enable-distributed-tracing", Bool, "false", NO_TRACING),
    idle("distributed-tracing-address", Text, "localhost:4317", NO_TRACING),
    idle("distributed-tracing-service-name", Text, "etcd", NO_TRACING),
    idle("distributed-tracing-instance-id", Text, "", NO_TRACING),
    idle("distributed-tracing-sampling-rate", Unsigned, "0", NO_TRACING),
];

const CHECKS: &[Flag] = &[
    idle("corrupt-check-time", Duration, "0s", NO_CHECKS),
    idle("compact-hash-check-time", Duration, "1m", NO_CHECKS),
    idle("downgrade-check-time", Duration, "5s", "downgrades are not in this version"),
    used("watch-progress-notify-interval", Duration, "10m", "how often quiet watches report progress"),
];

const FEATURES: &[Flag] = &[
    idle("feature-gates", List, "", "none of etcd's gated features is in this version"),
    idle("experimental-initial-corrupt-check", Bool, "false", NO_CHECKS),
    idle("experimental-compact-hash-check-enabled", Bool, "false", NO_CHECKS),
    idle("experimental-enable-lease-checkpoint", Bool, "false", "leases are extended by a new leader, as by default"),
    idle("experimental-enable-lease-checkpoint-persist", Bool, "false", "leases are extended by a new leader"),
    idle("experimental-txn-mode-write-with-shared-buffer", Bool, "true", NO_BBOLT),
    idle("experimental-stop-grpc-service-on-defrag", Bool, "false", "there is nothing to defragment here"),
];

const LEGACY: &[Flag] = &[
    idle("v2-deprecation", Text, "write-only", OLD),
    idle("enable-v2", Bool, "false", OLD),
    idle("proxy", Text, "off", OLD),
    idle("cluster-active-size", Text, "", OLD),
    idle("cluster-remove-delay", Text, "", OLD),
    idle("cluster-sync-interval", Text, "", OLD),
    idle("config", Text, "", OLD),
    idle("force", Bool, "false", OLD),
    idle("max-result-buffer", Text, "", OLD),
    idle("max-retry-attempts", Text, "", OLD),
    idle("peer-heartbeat-interval", Text, "", OLD),
    idle("peer-election-timeout", Text, "", OLD),
    idle("retry-interval", Text, "", OLD),
    idle("snapshot", Bool, "false", OLD),
    idle("v", Bool, "false", OLD),
    idle("vv", Bool, "false", OLD),
];
