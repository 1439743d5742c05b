//! How the front door is to behave: etcd's limits and intervals with etcd's defaults.

use std::time::Duration;

use crate::listener::Listener;

/// Everything that [`crate::serve`] needs besides the store.
#[derive(Debug)]
pub struct ServerOptions {
    /// Where clients connect: gRPC, gateway and HTTP endpoints on each of them. Already bound and listening.
    pub listeners: Vec<Listener>,
    /// Where the HTTP endpoints and the gateway are instead, if there are any such: then the others serve gRPC alone.
    pub http_listeners: Vec<Listener>,
    /// Where only `/metrics`, `/health`, `/livez` and `/readyz` are answered.
    pub metrics_listeners: Vec<Listener>,
    /// Largest command that may be proposed, in encoded bytes. A request may be 512 KiB larger on the wire.
    pub request_bytes_max: usize,
    /// Most compares, and most operations in one branch, of a transaction.
    pub txn_ops_max: usize,
    /// Most requests at a time on one HTTP/2 connection.
    pub streams_max: u32,
    /// What a connection may cost before and beside its calls.
    pub limits: Limits,
    /// How long a connection is silent before the server asks whether the client is still there.
    pub keepalive_interval: Duration,
    /// How long the server waits for the answer to that.
    pub keepalive_timeout: Duration,
    /// Clients that ping more often than this are sent away (`--grpc-keepalive-min-time`).
    pub keepalive_min: Duration,
    /// The store's election timeout: a stream opened with `hasleader` ends after three of them without a leader.
    pub election_timeout: Duration,
    /// What clients are told about versions.
    pub versions: Versions,
    /// Measure how long each kind of call takes (`--metrics=extensive`).
    pub extensive_metrics: bool,
    /// Host names that HTTP/1 requests may ask for; empty, or one that is `*`, admits all.
    pub host_whitelist: Vec<String>,
    /// Origins whose pages may read answers and change things (`--cors`); empty, or one that is `*`, admits all.
    pub cors: Vec<String>,
    /// Serve JSON under `/v3/`.
    pub gateway: bool,
    /// Serve `/debug/…`.
    pub debug: bool,
    /// A unary call that takes longer is logged; zero logs none.
    pub slow_request: Duration,
    /// Features that are on or off, for `/metrics`.
    pub features: Vec<Feature>,
    /// How long a stopping server waits for calls in flight.
    pub shutdown_grace: Duration,
}

/// Bounds of connections. etcd has no flags for them; docs/decisions/0024 says why they are what they are.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at a time, over all listeners of one kind.
    pub connections_max: usize,
    /// The same, from one address.
    pub connections_per_address_max: usize,
    /// How long a TLS handshake may take.
    pub tls_handshake: Duration,
    /// After how long a connection that has said nothing is closed, TLS handshake included.
    pub first_words: Duration,
    /// How long an HTTP/1 client may take for the head of a request, and be idle between two.
    pub head: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 16 * 1024,
            connections_per_address_max: 8 * 1024,
            tls_handshake: Duration::from_secs(10),
            first_words: Duration::from_secs(12),
            head: Duration::from_secs(30),
        }
    }
}

/// A feature that can be switched, as `/metrics` tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Its name.
    pub name: &'static str,
    /// How ripe it is, in capitals; empty for what is ripe.
    pub stage: &'static str,
    /// Whether it is on.
    pub on: bool,
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
            http_listeners: Vec::new(),
            metrics_listeners: Vec::new(),
            request_bytes_max: 3 * 512 * 1024,
            txn_ops_max: 128,
            streams_max: 16 * 1024,
            limits: Limits::default(),
            keepalive_interval: Duration::from_secs(2 * 60 * 60),
            keepalive_timeout: Duration::from_secs(20),
            keepalive_min: Duration::from_secs(5),
            election_timeout: Duration::from_secs(1),
            versions: Versions::default(),
            extensive_metrics: false,
            host_whitelist: Vec::new(),
            cors: Vec::new(),
            gateway: true,
            debug: false,
            slow_request: Duration::from_millis(300),
            features: Vec::new(),
            shutdown_grace: Duration::from_secs(2),
        }
    }
}
