//! What `/metrics` says of the member and its clients.

use super::super::HANDLING_BOUNDS;
use super::MetricKind::{Counter, Gauge, Histogram};
use super::{FROM_0_0001_BY_20, MetricFamily, noted, same};

pub(super) static SERVER: &[MetricFamily] = &[
    same("etcd_server_has_leader", Gauge, &[], "Whether or not a leader exists. 1 is existence, 0 is not."),
    same("etcd_server_is_leader", Gauge, &[], "Whether or not this member is a leader. 1 if is, 0 otherwise."),
    same("etcd_server_is_learner", Gauge, &[], "Whether or not this member is a learner. 1 if is, 0 otherwise."),
    same(
        "etcd_server_id",
        Gauge,
        &["server_id"],
        "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
    ),
    same(
        "etcd_server_version",
        Gauge,
        &["server_version"],
        "Which version is running. 1 for 'server_version' label with current version.",
    ),
    noted(
        "etcd_server_go_version",
        Gauge,
        &["server_go_version"],
        "What the server was built with. 1 for 'server_go_version' label with current version.",
        "names the compiler of Rust",
    ),
    same(
        "etcd_cluster_version",
        Gauge,
        &["cluster_version"],
        "Which version is running. 1 for 'cluster_version' label with current cluster version.",
    ),
    same("etcd_server_leader_changes_seen_total", Counter, &[], "The number of leader changes seen."),
    same("etcd_server_proposals_committed_total", Gauge, &[], "The total number of consensus proposals committed."),
    same("etcd_server_proposals_applied_total", Gauge, &[], "The total number of consensus proposals applied."),
    same("etcd_server_proposals_pending", Gauge, &[], "The current number of pending proposals to commit."),
    same("etcd_server_proposals_failed_total", Counter, &[], "The total number of failed proposals seen."),
    noted(
        "etcd_server_heartbeat_send_failures_total",
        Counter,
        &[],
        "The total number of leader heartbeat send failures (likely overloaded from slow disk).",
        "stays zero: heartbeats do not wait for the disk; kontiki_disk_stalled tells of a slow one",
    ),
    noted(
        "etcd_server_slow_apply_total",
        Counter,
        &[],
        "The total number of slow apply requests (likely overloaded from slow disk).",
        "stays zero: entries are applied in memory, apart from the disk",
    ),
    noted(
        "etcd_server_slow_read_indexes_total",
        Counter,
        &[],
        "The total number of pending read indexes not in sync with leader's or timed out read index requests.",
        "stays zero: reads that time out are counted as failed",
    ),
    same("etcd_server_read_indexes_failed_total", Counter, &[], "The total number of failed read indexes seen."),
    same("etcd_server_quota_backend_bytes", Gauge, &[], "Current backend storage quota size in bytes."),
    same(
        "etcd_server_client_requests_total",
        Counter,
        &["type", "client_api_version"],
        "The total number of client requests per client version.",
    ),
    noted(
        "etcd_server_apply_duration_seconds",
        Histogram(&FROM_0_0001_BY_20),
        &["version", "op", "success"],
        "The latency distributions of applying entries.",
        "has no samples: entries are applied many at a time",
    ),
    noted(
        "etcd_server_range_duration_seconds",
        Histogram(&FROM_0_0001_BY_20),
        &["success"],
        "The latency distributions of ranges.",
        "measured at the front door: with the wait for a quorum's word",
    ),
    noted(
        "etcd_server_request_duration_seconds",
        Histogram(&FROM_0_0001_BY_20),
        &["type", "success"],
        "The latency distributions of unary requests.",
        "has no samples: grpc_server_handling_seconds tells it, with --metrics=extensive",
    ),
    same("etcd_server_health_success", Counter, &[], "The total number of successful health checks."),
    same("etcd_server_health_failures", Counter, &[], "The total number of failed health checks."),
    same("etcd_server_healthcheck", Gauge, &["type", "name"], "The result of each kind of healthcheck."),
    same(
        "etcd_server_healthchecks_total",
        Counter,
        &["type", "name", "status"],
        "The total number of each kind of healthcheck.",
    ),
    noted(
        "etcd_server_snapshot_apply_in_progress_total",
        Gauge,
        &[],
        "1 if the server is applying the incoming snapshot. 0 if none.",
        "stays zero: a received state is put in place in one step",
    ),
    noted(
        "etcd_server_learner_promote_successes",
        Counter,
        &[],
        "The total number of successful learner promotions while this member is leader.",
        "counted where the call was answered",
    ),
    noted(
        "etcd_server_learner_promote_failures",
        Counter,
        &["Reason"],
        "The total number of failed learner promotions (likely learner not ready) while this member is leader.",
        "Reason is the code of the answer",
    ),
    same(
        "etcd_server_feature_enabled",
        Gauge,
        &["name", "stage"],
        "Whether or not a feature is enabled. 1 is enabled, 0 is not.",
    ),
];

pub(super) static GRPC: &[MetricFamily] = &[
    same(
        "grpc_server_started_total",
        Counter,
        &["grpc_method", "grpc_service", "grpc_type"],
        "Total number of RPCs started on the server.",
    ),
    same(
        "grpc_server_handled_total",
        Counter,
        &["grpc_code", "grpc_method", "grpc_service", "grpc_type"],
        "Total number of RPCs completed on the server, regardless of success or failure.",
    ),
    same(
        "grpc_server_msg_received_total",
        Counter,
        &["grpc_method", "grpc_service", "grpc_type"],
        "Total number of RPC stream messages received on the server.",
    ),
    same(
        "grpc_server_msg_sent_total",
        Counter,
        &["grpc_method", "grpc_service", "grpc_type"],
        "Total number of gRPC stream messages sent by the server.",
    ),
    same(
        "grpc_server_handling_seconds",
        Histogram(&HANDLING_BOUNDS),
        &["grpc_method", "grpc_service", "grpc_type"],
        "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.",
    ),
];

pub(super) static PROCESS: &[MetricFamily] = &[
    same("process_cpu_seconds_total", Counter, &[], "Total user and system CPU time spent in seconds."),
    same("process_resident_memory_bytes", Gauge, &[], "Resident memory size in bytes."),
    same("process_virtual_memory_bytes", Gauge, &[], "Virtual memory size in bytes."),
    same("process_virtual_memory_max_bytes", Gauge, &[], "Maximum amount of virtual memory available in bytes."),
    same("process_start_time_seconds", Gauge, &[], "Start time of the process since unix epoch in seconds."),
    same("process_open_fds", Gauge, &[], "Number of open file descriptors."),
    same("process_max_fds", Gauge, &[], "Maximum number of open file descriptors."),
    same("os_fd_used", Gauge, &[], "The number of used file descriptors."),
    same("os_fd_limit", Gauge, &[], "The file descriptor limit."),
    same("promhttp_metric_handler_requests_in_flight", Gauge, &[], "Current number of scrapes being served."),
    same("promhttp_metric_handler_requests_total", Counter, &["code"], "Total number of scrapes by HTTP status code."),
    noted(
        "etcd_grpc_proxy_cache_hits_total",
        Gauge,
        &[],
        "Total number of cache hits.",
        "it belongs to the gRPC proxy",
    ),
    noted(
        "etcd_grpc_proxy_cache_keys_total",
        Gauge,
        &[],
        "Total number of keys/ranges cached.",
        "it belongs to the gRPC proxy",
    ),
    noted(
        "etcd_grpc_proxy_cache_misses_total",
        Gauge,
        &[],
        "Total number of cache misses.",
        "it belongs to the gRPC proxy",
    ),
    noted(
        "etcd_grpc_proxy_events_coalescing_total",
        Counter,
        &[],
        "Total number of events coalescing.",
        "it belongs to the gRPC proxy",
    ),
    noted(
        "etcd_grpc_proxy_watchers_coalescing_total",
        Gauge,
        &[],
        "Total number of current watchers coalescing.",
        "it belongs to the gRPC proxy",
    ),
];

pub(super) static OURS: &[MetricFamily] = &[
    same(
        "kontiki_disk_full",
        Gauge,
        &[],
        "Whether a disk of this member is full, so that it refuses what takes space.",
    ),
    same(
        "kontiki_disk_stalled",
        Gauge,
        &[],
        "Whether a write of the log has been under way for longer than an election timeout.",
    ),
    same("kontiki_mended_total", Counter, &[], "How often this member was found damaged and mended by the others."),
    same("kontiki_log_bytes", Gauge, &[], "Bytes that the log holds on disk."),
    same(
        "kontiki_door_connections_total",
        Counter,
        &["outcome"],
        "Connections and requests of clients at the door: those accepted, and why others were not.",
    ),
];
