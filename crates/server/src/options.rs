//! How the front door is to behave: etcd's limits and intervals with etcd's defaults.

use std::net::TcpListener;
use std::time::Duration;

/// Everything that [`crate::serve`] needs besides the store.
#[derive(Debug)]
pub struct ServerOptions {
    /// Where clients connect: gRPC, gateway and HTTP endpoints on each of them. Already bound and listening.
    pub listeners: Vec<TcpListener>,
    /// Where only `/metrics`, `/health`, `/livez` and `/readyz` are answered.
    pub metrics_listeners: Vec<TcpListener>,
    /// Largest command that may be proposed, in encoded bytes. A request may be 512 KiB larger on the wire.
    pub request_bytes_max: usize,
    /// Most compares, and most operations in one branch, of a transaction.
    pub txn_ops_max: usize,
    /// Most requests at a time on one HTTP/2 connection.
    pub streams_max: u32,
    /// Most connections at a time, over all listeners of one kind.
    pub connections_max: usize,
    /// How long a connection is silent before the server asks whether the client is still there.
    pub keepalive_interval: Duration,
    /// How long the server waits for the answer to that.
    pub keepalive_timeout: Duration,
    /// The store's election timeout: a stream opened with `hasleader` ends after three of them without a leader.
    pub election_timeout: Duration,
    /// What clients are told about versions.
    pub versions: Versions,
    /// Measure how long each kind of call takes (`--metrics=extensive`).
    pub extensive_metrics: bool,
    /// Host names that HTTP/1 requests may ask for; empty, or one that is `*`, admits all.
    pub host_whitelist: Vec<String>,
    /// Serve JSON under `/v3/`.
    pub gateway: bool,
    /// How long a stopping server waits for calls in flight.
    pub shutdown_grace: Duration,
}

/// Versions as etcd reports them; clients decide by them which features they use.
#[derive(Clone, Debug)]
pub struct Versions {
    /// Of the server.
    pub server: String,
    /// That the cluster as a whole speaks.
    pub cluster: String,
    /// Of the data on disk.
    pub storage: String,
}

impl Default for Versions {
    fn default() -> Versions {
        Versions { server: "3.7.1".into(), cluster: "3.7.0".into(), storage: "3.7.0".into() }
    }
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            listeners: Vec::new(),
            metrics_listeners: Vec::new(),
            request_bytes_max: 3 * 512 * 1024,
            txn_ops_max: 128,
            streams_max: u32::MAX,
            connections_max: 4096,
            keepalive_interval: Duration::from_secs(2 * 60 * 60),
            keepalive_timeout: Duration::from_secs(20),
            election_timeout: Duration::from_secs(1),
            versions: Versions::default(),
            extensive_metrics: false,
            host_whitelist: Vec::new(),
            gateway: true,
            shutdown_grace: Duration::from_secs(2),
        }
    }
}
