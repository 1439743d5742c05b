//! etcd v3's front door: gRPC, the JSON gateway and the HTTP endpoints on one port, over [`kontiki_store`].
//!
//! A connection, plain or in TLS, is looked at once: HTTP/2 goes to `http2`, where each gRPC call is a future of the connection's task, the
//! rest to `http1`. `methods` is the table of all calls; `dispatch` leads from a call to its service in `services`, for
//! protobuf and JSON alike; `convert` and `errors` hold the two vocabularies together. `access` lets calls in or not. Nothing here decides anything about
//! data: a service validates, asks the store, and puts etcd's answer together.
//!
//! Deliberately missing, and answered with `Unimplemented` and a text that says so: changes of membership.

mod accept;
mod access;
mod arrival;
mod call;
mod convert;
mod dispatch;
mod doors;
mod errors;
mod front;
mod grpc;
mod http1;
mod http2;
mod listener;
mod methods;
mod metrics;
mod options;
mod origins;
mod path_names;
mod pings;
mod serve;
mod services;
mod socket;
mod web;

pub use listener::{ListenSocket, Listener};
pub use methods::calls;
pub use metrics::registry::{MetricFamily, MetricKind, metric_families};
pub use options::{Feature, Limits, ServerOptions, Versions};
pub use serve::{ServeError, serve};
