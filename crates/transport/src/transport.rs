//! The front of the crate: starts the tasks, routes what is sent, knows the peers.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use kontiki_raft::NodeId;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::accept;
use crate::dial;
use crate::frame::{Class, Frame};
use crate::options::{Identity, Options};
use crate::peer::{Peer, Task};
use crate::report::{Deliver, Reporter, WarnLimit, lock};
use crate::statistics::PeerStatistics;

/// The connections of one member to all its peers. Ends with [`Transport::shutdown`] or when dropped.
pub struct Transport {
    shared: Arc<Shared>,
    runtime: Handle,
    acceptors: Mutex<Vec<Task>>,
}

/// What the tasks of a transport have in common.
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) options: Options,
    pub(crate) reporter: Arc<Reporter>,
    /// Of warnings about connections that are not let in.
    pub(crate) warnings: WarnLimit,
    peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    dials: AtomicU64,
    started: Instant,
}

impl Transport {
    /// Starts to listen and to dial. `peers`: every other member with its addresses, each `host:port`; an entry for this
    /// member itself is passed over. Must be called within a tokio runtime, whose threads do the work.
    ///
    /// # Errors
    ///
    /// If there is no runtime, or if it cannot take over a listener.
    pub fn start(
        identity: Identity,
        listeners: Vec<std::net::TcpListener>,
        peers: Vec<(NodeId, Vec<String>)>,
        deliver: Deliver,
        options: Options,
    ) -> io::Result<Transport> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let listeners = listeners.into_iter().map(take_over).collect::<io::Result<Vec<TcpListener>>>()?;
        let shared = Arc::new(Shared {
            identity,
            options,
            reporter: Arc::new(Reporter::new(deliver)),
            warnings: WarnLimit::default(),
            peers: RwLock::default(),
            dials: AtomicU64::new(0),
            started: Instant::now(),
        });
        let transport = Transport { shared, runtime, acceptors: Mutex::default() };
        // Who belongs here must be known before the first stranger is told that it does not.
        transport.set_peers(peers);
        let accept = |listener| Task::new(&transport.runtime.spawn(accept::accept(transport.shared.clone(), listener)));
        let acceptors = listeners.into_iter().map(accept).collect();
        *transport.acceptors.lock().unwrap_or_else(PoisonError::into_inner) = acceptors;
        Ok(transport)
    }

    /// Sends frames to a peer, in order within a class. Never blocks, may be called on any thread. What cannot be sent is
    /// dropped and counted: frames to an unknown peer (not even counted), without a connection, or beyond the bound.
    pub fn send(&self, to: NodeId, frames: Vec<Frame>) {
        if let Some(peer) = self.shared.peer(to) {
            peer.send(&frames);
        }
    }

    /// Replaces the set of peers. Connections of those that are none any more are closed; a new address of one that
    /// stays counts from the next dial on.
    pub fn set_peers(&self, peers: Vec<(NodeId, Vec<String>)>) {
        let mut former = self.shared.peers.write().unwrap_or_else(PoisonError::into_inner);
        let mut current = BTreeMap::new();
        for (id, addresses) in peers {
            if id == self.shared.identity.member_id {
                continue;
            }
            let peer = match former.remove(&id) {
                Some(peer) => {
                    peer.set_addresses(addresses);
                    peer
                }
                None => self.start_peer(id, addresses),
            };
            current.insert(id, peer);
        }
        let removed = std::mem::replace(&mut *former, current);
        drop(former);
        for peer in removed.values() {
            peer.close();
        }
    }

    /// Figures per peer.
    #[must_use]
    pub fn statistics(&self) -> BTreeMap<NodeId, PeerStatistics> {
        let peers = self.shared.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.iter().map(|(id, peer)| (*id, peer.statistics())).collect()
    }

    /// Closes every connection and ends every task. Nothing is delivered afterwards but what is being delivered now;
    /// ports are free once the runtime has run the tasks' ends.
    pub fn shutdown(&self) {
        self.shared.reporter.close();
        lock(&self.acceptors).clear();
        self.set_peers(Vec::new());
    }

    fn start_peer(&self, id: NodeId, addresses: Vec<String>) -> Arc<Peer> {
        let shared = &self.shared;
        let peer = Arc::new(Peer::new(id, addresses, &shared.options, shared.reporter.clone()));
        let dialer = |class| self.runtime.spawn(dial::keep_connected(shared.clone(), peer.clone(), class));
        peer.keep(Class::ALL.map(|class| Task::new(&dialer(class))).into());
        peer
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("identity", &self.shared.identity)
            .field("peers", &self.statistics())
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn peer(&self, id: NodeId) -> Option<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Numbers our dials.
    pub(crate) fn next_dial(&self) -> u64 {
        self.dials.fetch_add(1, Ordering::Relaxed)
    }

    /// Microseconds since the start: the stamp of a ping.
    pub(crate) fn uptime_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// Tells the operator, now and then, of a connection that was not let in.
    pub(crate) fn warn_inbound(&self, address: SocketAddr, reason: &str) {
        if self.warnings.is_due() {
            tracing::warn!(%address, %reason, "a connection to the peer port is closed");
        }
    }
}

fn take_over(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
