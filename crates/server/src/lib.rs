//! etcd v3's front door: gRPC, the JSON gateway and the HTTP endpoints on one port, over [`kontiki_store`].
//!
//! A connection is looked at once: HTTP/2 goes to `http2`, where each gRPC call is a future of the connection's task, the
//! rest to `http1`. `methods` is the table of all calls; `dispatch` leads from a call to its service in `services`, for
//! protobuf and JSON alike; `convert` and `errors` hold the two vocabularies together. Nothing here decides anything about
//! data: a service validates, asks the store, and puts etcd's answer together.
//!
//! Deliberately missing, and answered with `Unimplemented` and a text that says so: changes of membership, users and roles,
//! snapshots for clients, downgrades. WebSockets on the gateway's streams, too.
//! Clients that ping too often are not sent away.

mod accept;
mod call;
mod convert;
mod dispatch;
mod errors;
mod front;
mod grpc;
mod http1;
mod http2;
mod methods;
mod metrics;
mod options;
mod serve;
mod services;
mod web;

pub use options::{ServerOptions, Versions};
pub use serve::{ServeError, serve};
