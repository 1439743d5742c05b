//! The contract on the wire: one real member behind its front door, asked through gRPC client stubs and plain HTTP. Each
//! test names the rule of etcd's that it holds; codes and texts are compared exactly.
#![allow(clippy::unwrap_used)]

mod auth;
#[path = "../../../tls/tests/support/authority.rs"]
mod authority;
mod bounds;
mod cluster;
mod dashboards;
mod doors;
mod gateway;
mod harness;
mod kv;
mod lease;
mod line;
mod long_ranges;
mod maintenance;
mod probes;
mod prometheus;
mod protocol;
mod secure;
mod txn;
mod watch;
mod websocket;
