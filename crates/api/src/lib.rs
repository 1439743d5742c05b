//! etcd's v3 contract as Rust types: messages, services, client stubs and the JSON form of the gateway.
//!
//! The `.proto` files in `proto/` are the source; everything below [`kv`], [`auth`], [`rpc`], [`lock`], [`election`] and
//! [`health`] is written from them by `cargo xtask codegen` and checked in. Package names, field numbers and field names are
//! etcd's, because they *are* the contract; a test spells them out once more, independently of the generator.
//!
//! - All `bytes` fields are [`bytes::Bytes`], so a decoded request shares the memory of the frame that carried it.
//! - Rust names follow Rust's habits (`peerURLs` is `peer_urls`); the wire and JSON know only the names of the `.proto` files.
//! - JSON, through serde, is what etcd's gateway speaks: fields named as in the `.proto` files on the way out (lower camel
//!   case is understood too on the way in), 64-bit numbers as strings, bytes in base64, enums by name, zero values left
//!   out, unknown fields ignored.
//!
//! ```
//! use kontiki_api::rpc::RangeRequest;
//! use prost::Message;
//!
//! let request = RangeRequest { key: "boat".into(), limit: 1, ..Default::default() };
//! assert_eq!(request.encode_to_vec(), b"\x0a\x04boat\x18\x01");
//! ```

/// Generated code, in modules named and nested as the generator's paths (`super::mvccpb::KeyValue`) expect.
#[allow(missing_docs, unreachable_pub, rust_2018_idioms, clippy::all, clippy::unwrap_used)]
#[rustfmt::skip::macros(include)]
mod generated {
    pub mod mvccpb {
        include!("generated/mvccpb.rs");
        include!("generated/mvccpb.serde.rs");
    }
    pub mod authpb {
        include!("generated/authpb.rs");
        include!("generated/authpb.serde.rs");
    }
    pub mod etcdserverpb {
        include!("generated/etcdserverpb.rs");
        include!("generated/etcdserverpb.serde.rs");
    }
    pub mod v3lockpb {
        include!("generated/v3lockpb.rs");
        include!("generated/v3lockpb.serde.rs");
    }
    pub mod v3electionpb {
        include!("generated/v3electionpb.rs");
        include!("generated/v3electionpb.serde.rs");
    }
    pub mod grpc_health_v1 {
        include!("generated/grpc_health_v1.rs");
        include!("generated/grpc_health_v1.serde.rs");
    }
}

mod json;
mod redacted;

/// Package `authpb`: users, roles and permissions as they are stored and returned.
pub use generated::authpb as auth;
/// Package `etcdserverpb`: the services KV, Watch, Lease, Cluster, Maintenance and Auth with their messages.
pub use generated::etcdserverpb as rpc;
/// Package `grpc.health.v1`: the health service.
pub use generated::grpc_health_v1 as health;
/// Package `mvccpb`: key-value pairs and events.
pub use generated::mvccpb as kv;
/// Package `v3electionpb`: leader election for clients.
pub use generated::v3electionpb as election;
/// Package `v3lockpb`: locks for clients.
pub use generated::v3lockpb as lock;
