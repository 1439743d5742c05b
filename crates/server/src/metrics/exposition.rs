//! `/metrics`, under etcd's names, so that its dashboards and alerts keep working.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kontiki_store::{HistogramSnapshot, Statistics};
use tonic::Code;

use super::process;
use super::text::Text;
use super::{CODES, Check, HANDLING_BOUNDS, Metrics};
use crate::front::Front;
use crate::methods::METHODS;

/// The text.
pub(crate) fn render(front: &Front) -> String {
    let mut text = Text::default();
    let statistics = front.store.statistics();
    server(&mut text, front, &statistics);
    disk(&mut text, &statistics);
    mvcc(&mut text, front, &statistics);
    leases(&mut text, &statistics);
    network(&mut text, front, &statistics);
    probes(&mut text, &front.metrics);
    clients(&mut text, &front.metrics);
    grpc(&mut text, &front.metrics);
    process::write(&mut text);
    text.finish()
}

fn server(text: &mut Text, front: &Front, statistics: &Statistics) {
    let status = front.store.status();
    let versions = &front.settings.versions;
    let flag = u8::from;
    text.gauge(
        "etcd_server_has_leader",
        "Whether or not a leader exists. 1 is existence, 0 is not.",
        flag(status.leader.is_some()),
    );
    text.gauge(
        "etcd_server_is_leader",
        "Whether or not this member is a leader. 1 if is, 0 otherwise.",
        flag(status.is_leader),
    );
    text.gauge(
        "etcd_server_is_learner",
        "Whether or not this member is a learner. 1 if is, 0 otherwise.",
        flag(status.is_learner),
    );
    text.family(
        "etcd_server_id",
        "gauge",
        "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
    );
    text.sample("etcd_server_id", &[("server_id", &format!("{:x}", status.member_id))], 1);
    text.family(
        "etcd_server_version",
        "gauge",
        "Which version is running. 1 for 'server_version' label with current version.",
    );
    text.sample("etcd_server_version", &[("server_version", &versions.server)], 1);
    text.family(
        "etcd_cluster_version",
        "gauge",
        "Which version is running. 1 for 'cluster_version' label with current cluster version.",
    );
    text.sample("etcd_cluster_version", &[("cluster_version", cluster_version(&versions.cluster))], 1);
    text.gauge("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.", status.quota);
    text.gauge(
        "kontiki_disk_full",
        "Whether a disk of this member is full, so that it refuses what takes space.",
        flag(statistics.low_space),
    );
    text.gauge(
        "kontiki_disk_stalled",
        "Whether a write of the log has been under way for longer than an election timeout.",
        flag(statistics.disk_stalled),
    );
    text.counter(
        "kontiki_mended_total",
        "How often this member was found damaged and mended by the others.",
        statistics.mended,
    );
    text.counter(
        "etcd_server_leader_changes_seen_total",
        "The number of leader changes seen.",
        statistics.leader_changes,
    );
    text.gauge(
        "etcd_server_proposals_committed_total",
        "The total number of consensus proposals committed.",
        statistics.proposals_committed,
    );
    text.gauge(
        "etcd_server_proposals_applied_total",
        "The total number of consensus proposals applied.",
        statistics.proposals_applied,
    );
    text.gauge(
        "etcd_server_proposals_pending",
        "The current number of pending proposals to commit.",
        statistics.proposals_pending,
    );
    text.counter(
        "etcd_server_proposals_failed_total",
        "The total number of failed proposals seen.",
        statistics.proposals_failed,
    );
    text.counter(
        "etcd_server_read_indexes_failed_total",
        "The total number of failed read indexes seen.",
        statistics.read_indexes_failed,
    );
}

/// Major and minor: the cluster's version has no more.
fn cluster_version(version: &str) -> &str {
    version.rsplit_once('.').map_or(version, |(short, _)| short)
}

fn disk(text: &mut Text, statistics: &Statistics) {
    let snapshot = |text: &mut Text, name: &str, help: &str, histogram: &HistogramSnapshot| {
        text.family(name, "histogram", help);
        text.histogram(name, &[], &histogram.bounds, &histogram.counts, histogram.sum);
    };
    let wal = "The latency distributions of fsync called by WAL.";
    snapshot(text, "etcd_disk_wal_fsync_duration_seconds", wal, &statistics.log_sync);
    let commit = "The latency distributions of commit called by backend.";
    snapshot(text, "etcd_disk_backend_commit_duration_seconds", commit, &statistics.checkpoint);
    text.gauge(
        "etcd_disk_defrag_inflight",
        "Whether or not defrag is active on the member. 1 means active, 0 means not.",
        0,
    );
}

fn mvcc(text: &mut Text, front: &Front, statistics: &Statistics) {
    let reader = front.store.reader();
    let (allocated, in_use) = reader.size();
    text.gauge(
        "etcd_mvcc_db_total_size_in_bytes",
        "Total size of the underlying database physically allocated in bytes.",
        allocated,
    );
    text.gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Total size of the underlying database logically in use in bytes.",
        in_use,
    );
    text.counter("etcd_mvcc_put_total", "Total number of puts seen by this member.", statistics.put_total);
    text.counter("etcd_mvcc_delete_total", "Total number of deletes seen by this member.", statistics.delete_total);
    text.counter("etcd_mvcc_txn_total", "Total number of txns seen by this member.", statistics.txn_total);
    text.counter("etcd_mvcc_range_total", "Total number of ranges seen by this member.", front.metrics.ranges());
    text.gauge("etcd_debugging_mvcc_current_revision", "The current revision of store.", reader.revision());
    text.gauge(
        "etcd_debugging_mvcc_compact_revision",
        "The revision of the last compaction in store.",
        reader.compacted(),
    );
    text.counter(
        "etcd_debugging_mvcc_events_total",
        "Total number of events sent by this member.",
        statistics.events_total,
    );
    text.gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers.", statistics.watchers);
    text.gauge("etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams.", statistics.watch_streams);
    text.gauge(
        "etcd_debugging_mvcc_slow_watcher_total",
        "Total number of unsynced slow watchers.",
        statistics.slow_watchers,
    );
}

fn leases(text: &mut Text, statistics: &Statistics) {
    text.counter(
        "etcd_debugging_lease_granted_total",
        "The total number of granted leases.",
        statistics.leases_granted,
    );
    text.counter(
        "etcd_debugging_lease_revoked_total",
        "The total number of revoked leases.",
        statistics.leases_revoked,
    );
    text.counter(
        "etcd_debugging_lease_renewed_total",
        "The number of renewed leases seen by the leader.",
        statistics.leases_renewed,
    );
    text.counter(
        "etcd_debugging_server_lease_expired_total",
        "The total number of expired leases.",
        statistics.leases_expired,
    );
}

fn network(text: &mut Text, front: &Front, statistics: &Statistics) {
    let (sent, received) = front.metrics.bytes();
    text.counter("etcd_network_client_grpc_sent_bytes_total", "The total number of bytes sent to grpc clients.", sent);
    text.counter(
        "etcd_network_client_grpc_received_bytes_total",
        "The total number of bytes received from grpc clients.",
        received,
    );
    let own = format!("{:x}", front.member_id());
    let peers: Vec<_> = statistics.peers.iter().map(|peer| (format!("{:x}", peer.id), peer)).collect();
    let name = "etcd_network_peer_sent_bytes_total";
    text.family(name, "counter", "The total number of bytes sent to peers.");
    peers.iter().for_each(|(id, peer)| text.sample(name, &[("To", id)], peer.sent_bytes));
    let name = "etcd_network_peer_received_bytes_total";
    text.family(name, "counter", "The total number of bytes received from peers.");
    peers.iter().for_each(|(id, peer)| text.sample(name, &[("From", id)], peer.received_bytes));
    let name = "etcd_network_peer_sent_failures_total";
    text.family(name, "counter", "The total number of send failures from peers.");
    peers.iter().for_each(|(id, peer)| text.sample(name, &[("To", id)], peer.sent_failures));
    let name = "etcd_network_active_peers";
    text.family(name, "gauge", "The current number of active peer connections.");
    peers.iter().for_each(|(id, peer)| text.sample(name, &[("Local", &own), ("Remote", id)], u8::from(peer.connected)));
    let name = "etcd_network_known_peers";
    text.family(name, "gauge", "The current number of known peers.");
    peers.iter().for_each(|(id, _)| text.sample(name, &[("Local", &own), ("Remote", id)], 1));
    let name = "etcd_network_snapshot_send_success";
    text.counter(name, "Total number of successful snapshot sends.", statistics.snapshots_sent);
    let name = "etcd_network_snapshot_receive_success";
    text.counter(name, "Total number of successful snapshot receives.", statistics.snapshots_installed);
}

fn probes(text: &mut Text, metrics: &Metrics) {
    let read = |count: &AtomicU64| count.load(Relaxed);
    text.counter(
        "etcd_server_health_success",
        "The total number of successful health checks.",
        read(&metrics.health[0]),
    );
    text.counter("etcd_server_health_failures", "The total number of failed health checks.", read(&metrics.health[1]));
    let name = "etcd_server_healthchecks_total";
    text.family(name, "counter", "The total number of each healthcheck.");
    for (kind, checks, registered) in
        [("livez", &metrics.checks[0], Check::LIVE.as_slice()), ("readyz", &metrics.checks[1], Check::READY.as_slice())]
    {
        for check in registered {
            let count = &checks[*check as usize];
            for (status, count) in [("success", &count.passed), ("error", &count.failed)] {
                let labels = [("type", kind), ("name", check.name()), ("status", status)];
                text.sample(name, &labels, read(count));
            }
        }
    }
}

fn clients(text: &mut Text, metrics: &Metrics) {
    let name = "etcd_server_client_requests_total";
    text.family(name, "counter", "The total number of client requests per client version.");
    let mut write = |version: &str, counts: &[AtomicU64; 2]| {
        for (kind, count) in ["unary", "stream"].into_iter().zip(counts) {
            let count = count.load(Relaxed);
            if count > 0 {
                text.sample(name, &[("type", kind), ("client_api_version", version)], count);
            }
        }
    };
    write("unknown", &metrics.clients_unknown);
    for (version, counts) in &*metrics.clients.read().unwrap_or_else(PoisonError::into_inner) {
        write(version, counts);
    }
}

/// Chooses one of a call's counters.
type Counter = fn(&super::Call) -> &AtomicU64;

fn grpc(text: &mut Text, metrics: &Metrics) {
    let families: [(&str, &str, Counter); 3] = [
        ("grpc_server_started_total", "Total number of RPCs started on the server.", |call| &call.started),
        ("grpc_server_msg_received_total", "Total number of RPC stream messages received on the server.", |call| {
            &call.messages_received
        }),
        ("grpc_server_msg_sent_total", "Total number of gRPC stream messages sent by the server.", |call| {
            &call.messages_sent
        }),
    ];
    let calls = || METHODS.iter().map(|info| (info, metrics.call(info.method)));
    for (name, help, counter) in families {
        text.family(name, "counter", help);
        for (info, call) in calls() {
            let (service, method) = info.names();
            let labels = [("grpc_method", method), ("grpc_service", service), ("grpc_type", info.kind.label())];
            text.sample(name, &labels, counter(call).load(Relaxed));
        }
    }
    let name = "grpc_server_handled_total";
    text.family(name, "counter", "Total number of RPCs completed on the server, regardless of success or failure.");
    for (info, call) in calls() {
        let (service, method) = info.names();
        for (code, count) in call.handled.iter().enumerate() {
            let labels = [
                ("grpc_code", CODE_NAMES[code]),
                ("grpc_method", method),
                ("grpc_service", service),
                ("grpc_type", info.kind.label()),
            ];
            text.sample(name, &labels, count.load(Relaxed));
        }
    }
    if metrics.extensive() {
        handling(text, metrics);
    }
}

fn handling(text: &mut Text, metrics: &Metrics) {
    let name = "grpc_server_handling_seconds";
    text.family(name, "histogram", "Response latency of gRPC that had been application-level handled by the server.");
    for info in &METHODS {
        let call = metrics.call(info.method);
        let (service, method) = info.names();
        let labels = [("grpc_method", method), ("grpc_service", service), ("grpc_type", info.kind.label())];
        let counts: Vec<u64> = call.handling.iter().map(|count| count.load(Relaxed)).collect();
        let seconds = call.handling_nanoseconds.load(Relaxed) as f64 / 1e9;
        text.histogram(name, &labels, &HANDLING_BOUNDS, &counts, seconds);
    }
}

/// Codes as the Go library names them, by number.
const CODE_NAMES: [&str; CODES] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
const _: () = assert!(Code::Unauthenticated as usize + 1 == CODES);
