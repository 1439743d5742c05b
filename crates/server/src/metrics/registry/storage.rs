//! What `/metrics` says of disk, keys and the network.

use super::MetricKind::{Counter, Gauge, Histogram};
use super::{
    FROM_0_1_BY_10, FROM_0_1_BY_13, FROM_0_001_BY_14, FROM_0_01_BY_15, FROM_0_0001_BY_16, FROM_0_01_BY_17,
    MetricFamily, noted, same,
};

pub(super) static DISK: &[MetricFamily] = &[
    noted(
        "etcd_disk_wal_fsync_duration_seconds",
        Histogram(&FROM_0_001_BY_14),
        &[],
        "The latency distributions of fsync called by WAL.",
        "the write and its sync, which are one operation",
    ),
    noted(
        "etcd_disk_wal_write_duration_seconds",
        Histogram(&FROM_0_001_BY_14),
        &[],
        "The latency distributions of write called by WAL.",
        "has no samples: a write is measured with its sync",
    ),
    noted(
        "etcd_disk_wal_write_bytes_total",
        Gauge,
        &[],
        "Total number of bytes written in WAL.",
        "stays zero: kontiki_log_bytes tells how long the log is",
    ),
    noted(
        "etcd_disk_backend_commit_duration_seconds",
        Histogram(&FROM_0_001_BY_14),
        &[],
        "The latency distributions of commit called by backend.",
        "the time of a checkpoint",
    ),
    same(
        "etcd_disk_backend_defrag_duration_seconds",
        Histogram(&FROM_0_1_BY_13),
        &[],
        "The latency distribution of backend defragmentation.",
    ),
    noted(
        "etcd_disk_backend_snapshot_duration_seconds",
        Histogram(&FROM_0_01_BY_17),
        &[],
        "The latency distribution of backend snapshots.",
        "has no samples",
    ),
    noted(
        "etcd_disk_defrag_inflight",
        Gauge,
        &[],
        "Whether or not defrag is active on the member. 1 means active, 0 means not.",
        "stays zero: defragmenting stops nothing",
    ),
    noted(
        "etcd_snap_fsync_duration_seconds",
        Histogram(&FROM_0_001_BY_14),
        &[],
        "The latency distributions of fsync called by snap.",
        "no snapshot files are written: checkpoints take their place",
    ),
    noted(
        "etcd_snap_db_fsync_duration_seconds",
        Histogram(&FROM_0_001_BY_14),
        &[],
        "The latency distributions of fsyncing .snap.db file.",
        "no snapshot files are written: checkpoints take their place",
    ),
    noted(
        "etcd_snap_db_save_total_duration_seconds",
        Histogram(&FROM_0_1_BY_10),
        &[],
        "The total latency distributions of v3 snapshot save.",
        "no snapshot files are written: checkpoints take their place",
    ),
];

pub(super) static MVCC: &[MetricFamily] = &[
    same(
        "etcd_mvcc_db_total_size_in_bytes",
        Gauge,
        &[],
        "Total size of the underlying database physically allocated in bytes.",
    ),
    same(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        Gauge,
        &[],
        "Total size of the underlying database logically in use in bytes.",
    ),
    noted(
        "etcd_mvcc_db_open_read_transactions",
        Gauge,
        &[],
        "The number of currently open read transactions.",
        "stays zero: reads hold nothing open",
    ),
    same("etcd_mvcc_put_total", Counter, &[], "Total number of puts seen by this member."),
    same("etcd_mvcc_delete_total", Counter, &[], "Total number of deletes seen by this member."),
    same("etcd_mvcc_range_total", Counter, &[], "Total number of ranges seen by this member."),
    same("etcd_mvcc_txn_total", Counter, &[], "Total number of txns seen by this member."),
    same(
        "etcd_mvcc_hash_duration_seconds",
        Histogram(&FROM_0_01_BY_15),
        &[],
        "The latency distribution of storage hash operation.",
    ),
    same(
        "etcd_mvcc_hash_rev_duration_seconds",
        Histogram(&FROM_0_01_BY_15),
        &[],
        "The latency distribution of storage hash by revision operation.",
    ),
];

pub(super) static NETWORK: &[MetricFamily] = &[
    same(
        "etcd_network_peer_round_trip_time_seconds",
        Histogram(&FROM_0_0001_BY_16),
        &["To"],
        "Round-Trip-Time histogram between peers.",
    ),
    same("etcd_network_peer_sent_bytes_total", Counter, &["To"], "The total number of bytes sent to peers."),
    same(
        "etcd_network_peer_received_bytes_total",
        Counter,
        &["From"],
        "The total number of bytes received from peers.",
    ),
    same("etcd_network_peer_sent_failures_total", Counter, &["To"], "The total number of send failures from peers."),
    noted(
        "etcd_network_peer_received_failures_total",
        Counter,
        &["From"],
        "The total number of receive failures from peers.",
        "stays zero: what breaks a connection is counted as a disconnect",
    ),
    same("etcd_network_active_peers", Gauge, &["Local", "Remote"], "The current number of active peer connections."),
    same(
        "etcd_network_disconnected_peers_total",
        Counter,
        &["Local", "Remote"],
        "The total number of disconnected peers.",
    ),
    same("etcd_network_known_peers", Gauge, &["Local", "Remote"], "The current number of known peers."),
    same("etcd_network_client_grpc_sent_bytes_total", Counter, &[], "The total number of bytes sent to grpc clients."),
    same(
        "etcd_network_client_grpc_received_bytes_total",
        Counter,
        &[],
        "The total number of bytes received from grpc clients.",
    ),
    noted(
        "etcd_network_server_stream_failures_total",
        Counter,
        &["Type", "API"],
        "The total number of stream failures from the local server.",
        "Type is always send",
    ),
    noted(
        "etcd_network_snapshot_send_success",
        Counter,
        &["To"],
        "Total number of successful snapshot sends.",
        "peers are not told apart: To and From are empty",
    ),
    noted(
        "etcd_network_snapshot_send_failures",
        Counter,
        &["To"],
        "Total number of snapshot send failures.",
        "has no samples: a transfer that breaks off goes on later",
    ),
    noted(
        "etcd_network_snapshot_send_inflights_total",
        Gauge,
        &["To"],
        "Total number of inflight snapshot sends.",
        "has no samples",
    ),
    noted(
        "etcd_network_snapshot_send_total_duration_seconds",
        Histogram(&FROM_0_1_BY_10),
        &["To"],
        "Total latency distributions of v3 snapshot sends.",
        "has no samples",
    ),
    noted(
        "etcd_network_snapshot_receive_success",
        Counter,
        &["From"],
        "Total number of successful snapshot receives.",
        "peers are not told apart: To and From are empty",
    ),
    noted(
        "etcd_network_snapshot_receive_failures",
        Counter,
        &["From"],
        "Total number of snapshot receive failures.",
        "has no samples: a transfer that breaks off goes on later",
    ),
    noted(
        "etcd_network_snapshot_receive_inflights_total",
        Gauge,
        &["From"],
        "Total number of inflight snapshot receives.",
        "has no samples",
    ),
    noted(
        "etcd_network_snapshot_receive_total_duration_seconds",
        Histogram(&FROM_0_1_BY_10),
        &["From"],
        "Total latency distributions of v3 snapshot receives.",
        "has no samples",
    ),
];
