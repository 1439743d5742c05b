//! The contract on the wire: one real member behind its front door, asked through gRPC client stubs and plain HTTP. Each
//! test names the rule of etcd's that it holds; codes and texts are compared exactly.
#![allow(clippy::unwrap_used)]

mod cluster;
mod gateway;
mod harness;
mod kv;
mod lease;
mod line;
mod maintenance;
mod probes;
mod protocol;
mod txn;
mod watch;
