//! The calls, one family per file: validate what came, ask the store, put the answer together.

pub(crate) mod auth;
pub(crate) mod cluster;
pub(crate) mod compact;
pub(crate) mod delete_range;
pub(crate) mod election;
pub(crate) mod health;
pub(crate) mod lease;
pub(crate) mod lease_keep_alive;
pub(crate) mod line;
pub(crate) mod lock;
pub(crate) mod long_range;
pub(crate) mod maintenance;
pub(crate) mod pair_wire;
pub(crate) mod propose;
pub(crate) mod put;
pub(crate) mod range;
pub(crate) mod range_stream;
pub(crate) mod snapshot;
pub(crate) mod turns;
pub(crate) mod txn;
pub(crate) mod watch;
pub(crate) mod watch_session;
pub(crate) mod watch_wire;
