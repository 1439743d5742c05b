//! The contestants of `core` and `groups`: the same replica under different consensus.

mod bare;
mod kontiki;
mod raft;

pub use bare::BareReplica;
pub use kontiki::KontikiReplica;
pub use raft::RaftReplica;
