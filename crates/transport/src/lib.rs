//! Peer connections: what members say to each other, and the sockets on which they say it.
//!
//! The crate has two halves. The *codec* ([`Frame`], [`encode`], [`decode`], [`split_frame`]) is pure: bytes in, values
//! out, no clock and no socket. The *connections* ([`Transport`]) are a few tokio tasks around real sockets. Nothing here
//! knows what a group decides or what a payload means.
//!
//! # Connections
//!
//! Every member dials every other member twice, once per [`Class`] of traffic, and sends only on connections that it
//! dialed; it receives on those that it accepted. Snapshots thus never stand in front of a heartbeat. A connection opens
//! with a handshake in which both sides name their cluster, member and boot (`docs/formats/peer.md`); whoever does
//! not belong is told why in words that an operator can act on.
//!
//! # What is promised, and what is not
//!
//! - Frames of one class arrive in the order sent, each at most once, as long as one connection lives. A frame may be lost
//!   at any time: while there is no connection, at the bound of the queue, or with a connection that breaks. Raft repairs.
//! - [`Transport::send`] never blocks. What a slow peer has not taken yet is bounded in bytes; beyond that, frames are
//!   dropped and counted.
//! - The end of an established connection and a refused dial are reported at once as [`Received::Suspect`], once per
//!   outage. A machine that falls silent is not noticed here but by Raft's timeouts; its connection is given up after an
//!   unanswered ping, so that a healed network is used again quickly.
//! - After a peer's restart nothing from before it is delivered any more.
//!
//! # TLS
//!
//! A peer whose address begins with `https://` is dialed in TLS, and a [`Listener`] may demand it. Encryption happens on the
//! thread that sends, so that a batch goes to the system at once there, too ([`kontiki_tls::TlsSocket`]).
//!
//! # Left out
//!
//! Compression, and credits per group; the bounds here are per peer.

mod accept;
mod codec;
mod dial;
mod error;
mod frame;
mod handshake;
mod link;
mod listener;
mod options;
mod peer;
mod pending;
mod question;
mod report;
mod statistics;
mod stream;
mod transport;
mod wire;

pub use codec::{FRAME_BYTES_MAX, HEADER_BYTES, decode, encode, split_frame};
pub use error::FrameError;
pub use frame::{Class, Frame, Held, REFUSED_HEAD_BYTES};
pub use listener::Listener;
pub use options::{Identity, Options};
pub use question::{AskError, Tell, ask};
pub use report::{Deliver, Received, Tend};
pub use statistics::PeerStatistics;
pub use transport::Transport;
