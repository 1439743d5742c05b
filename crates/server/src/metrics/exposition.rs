//! `/metrics`, under etcd's names, so that its dashboards and alerts keep working.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kontiki_kv::{KeyRange, RangeRequest};
use kontiki_store::{HistogramSnapshot, Statistics};
use tonic::Code;

use super::process;
use super::text::Text;
use super::{CODES, Check, HANDLING_BOUNDS, Metrics};
use crate::front::Front;
use crate::methods::{METHODS, Method};

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
    doors(&mut text, front);
    outcomes(&mut text, &front.metrics);
    front.metrics.timed.write(&mut text);
    scrapes(&mut text, &front.metrics);
    process::write(&mut text);
    text.finish()
}

fn doors(text: &mut Text, front: &Front) {
    let name = "kontiki_door_connections_total";
    text.family(name);
    for (outcome, times) in front.doors.all() {
        text.sample(name, &[("outcome", outcome)], times);
    }
}

fn server(text: &mut Text, front: &Front, statistics: &Statistics) {
    let status = front.store.status();
    let versions = &front.settings.versions;
    let flag = u8::from;
    text.value("etcd_server_has_leader", flag(status.leader.is_some()));
    text.value("etcd_server_is_leader", flag(status.is_leader));
    text.value("etcd_server_is_learner", flag(status.is_learner));
    text.family("etcd_server_id");
    text.sample("etcd_server_id", &[("server_id", &format!("{:x}", status.member_id))], 1);
    text.family("etcd_server_version");
    text.sample("etcd_server_version", &[("server_version", &versions.server)], 1);
    text.family("etcd_server_go_version");
    let built_with = concat!("rust", env!("CARGO_PKG_RUST_VERSION"));
    text.sample("etcd_server_go_version", &[("server_go_version", built_with)], 1);
    text.family("etcd_server_feature_enabled");
    for feature in &front.settings.features {
        let labels = [("name", feature.name), ("stage", feature.stage)];
        text.sample("etcd_server_feature_enabled", &labels, flag(feature.on));
    }
    text.family("etcd_cluster_version");
    text.sample("etcd_cluster_version", &[("cluster_version", cluster_version(&versions.cluster))], 1);
    text.value("etcd_server_quota_backend_bytes", status.quota);
    text.value("kontiki_disk_full", flag(statistics.low_space));
    text.value("kontiki_disk_stalled", flag(statistics.disk_stalled));
    text.value("kontiki_mended_total", statistics.mended);
    text.value("etcd_server_leader_changes_seen_total", statistics.leader_changes);
    text.value("etcd_server_proposals_committed_total", statistics.proposals_committed);
    text.value("etcd_server_proposals_applied_total", statistics.proposals_applied);
    text.value("etcd_server_proposals_pending", statistics.proposals_pending);
    text.value("etcd_server_proposals_failed_total", statistics.proposals_failed);
    text.value("etcd_server_read_indexes_failed_total", statistics.read_indexes_failed);
}

/// Major and minor: the cluster's version has no more.
fn cluster_version(version: &str) -> &str {
    version.rsplit_once('.').map_or(version, |(short, _)| short)
}

fn disk(text: &mut Text, statistics: &Statistics) {
    let snapshot = |text: &mut Text, name: &str, histogram: &HistogramSnapshot| {
        text.family(name);
        text.histogram(name, &[], &histogram.bounds, &histogram.counts, histogram.sum);
    };
    snapshot(text, "etcd_disk_wal_fsync_duration_seconds", &statistics.log_sync);
    snapshot(text, "etcd_disk_backend_commit_duration_seconds", &statistics.checkpoint);
    text.value("kontiki_log_bytes", statistics.log_bytes);
}

fn mvcc(text: &mut Text, front: &Front, statistics: &Statistics) {
    let reader = front.store.reader();
    let (allocated, in_use) = reader.size();
    text.value("etcd_mvcc_db_total_size_in_bytes", allocated);
    text.value("etcd_mvcc_db_total_size_in_use_in_bytes", in_use);
    text.value("etcd_mvcc_put_total", statistics.put_total);
    text.value("etcd_mvcc_delete_total", statistics.delete_total);
    text.value("etcd_mvcc_txn_total", statistics.txn_total);
    text.value("etcd_mvcc_range_total", front.metrics.ranges());
    text.value("etcd_debugging_mvcc_range_total", front.metrics.ranges());
    let all = KeyRange { key: "\0".into(), range_end: "\0".into() };
    let request = RangeRequest { range: all, count_only: true, ..RangeRequest::default() };
    if let Ok((keys, _)) = reader.range(&request) {
        text.value("etcd_debugging_mvcc_keys_total", keys.count);
    }
    text.value("etcd_debugging_mvcc_current_revision", reader.revision());
    text.value("etcd_debugging_mvcc_compact_revision", reader.compacted());
    text.value("etcd_debugging_mvcc_events_total", statistics.events_total);
    text.value("etcd_debugging_mvcc_watcher_total", statistics.watchers);
    text.value("etcd_debugging_mvcc_watch_stream_total", statistics.watch_streams);
    text.value("etcd_debugging_mvcc_slow_watcher_total", statistics.slow_watchers);
}

fn leases(text: &mut Text, statistics: &Statistics) {
    text.value("etcd_debugging_lease_granted_total", statistics.leases_granted);
    text.value("etcd_debugging_lease_revoked_total", statistics.leases_revoked);
    text.value("etcd_debugging_lease_renewed_total", statistics.leases_renewed);
    text.value("etcd_debugging_server_lease_expired_total", statistics.leases_expired);
}

fn network(text: &mut Text, front: &Front, statistics: &Statistics) {
    let (sent, received) = front.metrics.bytes();
    text.value("etcd_network_client_grpc_sent_bytes_total", sent);
    text.value("etcd_network_client_grpc_received_bytes_total", received);
    let own = format!("{:x}", front.member_id());
    let peers: Vec<_> = statistics.peers.iter().map(|peer| (format!("{:x}", peer.id), peer)).collect();
    let name = "etcd_network_peer_sent_bytes_total";
    text.family(name);
    peers.iter().for_each(|(id, peer)| text.sample(name, &[("To", id)], peer.sent_bytes));
    let name = "etcd_network_peer_received_bytes_total";
    text.family(name);
    peers.iter().for_each(|(id, peer)| text.sample(name, &[("From", id)], peer.received_bytes));
    let name = "etcd_network_peer_sent_failures_total";
    text.family(name);
    peers.iter().for_each(|(id, peer)| text.sample(name, &[("To", id)], peer.sent_failures));
    let name = "etcd_network_peer_round_trip_time_seconds";
    text.family(name);
    for (id, peer) in &peers {
        text.histogram(name, &[("To", id)], &peer.rtt.bounds, &peer.rtt.counts, peer.rtt.sum);
    }
    let name = "etcd_network_disconnected_peers_total";
    text.family(name);
    peers.iter().for_each(|(id, peer)| text.sample(name, &[("Local", &own), ("Remote", id)], peer.disconnects));
    let name = "etcd_network_active_peers";
    text.family(name);
    peers.iter().for_each(|(id, peer)| text.sample(name, &[("Local", &own), ("Remote", id)], u8::from(peer.connected)));
    let name = "etcd_network_known_peers";
    text.family(name);
    peers.iter().for_each(|(id, _)| text.sample(name, &[("Local", &own), ("Remote", id)], 1));
    let name = "etcd_network_snapshot_send_success";
    text.family(name);
    text.sample(name, &[("To", "")], statistics.snapshots_sent);
    let name = "etcd_network_snapshot_receive_success";
    text.family(name);
    text.sample(name, &[("From", "")], statistics.snapshots_installed);
}

fn probes(text: &mut Text, metrics: &Metrics) {
    let read = |count: &AtomicU64| count.load(Relaxed);
    text.value("etcd_server_health_success", read(&metrics.health[0]));
    text.value("etcd_server_health_failures", read(&metrics.health[1]));
    let name = "etcd_server_healthchecks_total";
    text.family(name);
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
    let name = "etcd_server_healthcheck";
    text.family(name);
    for (kind, checks, registered) in
        [("livez", &metrics.checks[0], Check::LIVE.as_slice()), ("readyz", &metrics.checks[1], Check::READY.as_slice())]
    {
        for check in registered {
            let last = &checks[*check as usize].last_passed;
            text.sample(name, &[("type", kind), ("name", check.name())], u8::from(last.load(Relaxed)));
        }
    }
}

fn clients(text: &mut Text, metrics: &Metrics) {
    let name = "etcd_server_client_requests_total";
    text.family(name);
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

/// This text itself.
fn scrapes(text: &mut Text, metrics: &Metrics) {
    text.value("promhttp_metric_handler_requests_in_flight", 1);
    let name = "promhttp_metric_handler_requests_total";
    text.family(name);
    text.sample(name, &[("code", "200")], metrics.scrapes.fetch_add(1, Relaxed));
}

/// Chooses one of a call's counters.
type Counter = fn(&super::Call) -> &AtomicU64;

fn grpc(text: &mut Text, metrics: &Metrics) {
    let families: [(&str, Counter); 3] = [
        ("grpc_server_started_total", |call| &call.started),
        ("grpc_server_msg_received_total", |call| &call.messages_received),
        ("grpc_server_msg_sent_total", |call| &call.messages_sent),
    ];
    let calls = || METHODS.iter().map(|info| (info, metrics.call(info.method)));
    for (name, counter) in families {
        text.family(name);
        for (info, call) in calls() {
            let (service, method) = info.names();
            let labels = [("grpc_method", method), ("grpc_service", service), ("grpc_type", info.kind.label())];
            text.sample(name, &labels, counter(call).load(Relaxed));
        }
    }
    let name = "grpc_server_handled_total";
    text.family(name);
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
    } else {
        text.leave_out("grpc_server_handling_seconds");
    }
}

/// What follows from how calls were answered.
fn outcomes(text: &mut Text, metrics: &Metrics) {
    let handled = |method, code: Code| metrics.call(method).handled[code as usize].load(Relaxed);
    text.value("etcd_server_learner_promote_successes", handled(Method::MemberPromote, Code::Ok));
    let name = "etcd_server_learner_promote_failures";
    text.family(name);
    let failures = |method| (1..CODES).map(move |code| (code, metrics.call(method).handled[code].load(Relaxed)));
    for (code, count) in failures(Method::MemberPromote).filter(|(_, count)| *count > 0) {
        text.sample(name, &[("Reason", CODE_NAMES[code])], count);
    }
    let name = "etcd_network_server_stream_failures_total";
    text.family(name);
    for (method, api) in [(Method::Watch, "watch"), (Method::LeaseKeepAlive, "lease-keepalive")] {
        let failed = failures(method).filter(|(code, _)| *code != Code::Cancelled as usize).map(|(_, count)| count);
        text.sample(name, &[("Type", "send"), ("API", api)], failed.sum::<u64>());
    }
}

fn handling(text: &mut Text, metrics: &Metrics) {
    let name = "grpc_server_handling_seconds";
    text.family(name);
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
