//! The front of the crate: starts the tasks, routes what is sent, knows the peers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use kontiki_raft::NodeId;
use kontiki_tls::{Acceptor, Connector};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::accept;
use crate::dial;
use crate::frame::{Class, Frame};
use crate::handshake::Hello;
use crate::listener::{Address, Listener};
use crate::options::{Identity, Options};
use crate::peer::{Peer, Task};
use crate::question::Tell;
use crate::report::{Deliver, Reporter, Tend, WarnLimit, lock};
use crate::statistics::PeerStatistics;

/// Most members that are let in before the layer above names them.
const GUESTS_MAX: usize = 16;

/// The connections of one member to all its peers. Ends with [`Transport::shutdown`] or when dropped.
pub struct Transport {
    shared: Arc<Shared>,
    acceptors: Mutex<Vec<Task>>,
}

/// What the tasks of a transport have in common.
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) options: Options,
    /// Dials in TLS.
    pub(crate) connector: Option<Arc<Connector>>,
    pub(crate) reporter: Arc<Reporter>,
    /// Of warnings about connections that are not let in.
    pub(crate) warnings: WarnLimit,
    runtime: Handle,
    peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    /// Members of this cluster that the layer above has not named yet: its log may lack the entry that does. They came by
    /// themselves and told where they are reached.
    guests: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    /// Where this member is reached, told to whoever is dialed.
    own_addresses: RwLock<Vec<String>>,
    /// Former members, to be told so.
    removed: RwLock<BTreeSet<NodeId>>,
    /// Answers those who ask for the members.
    tell: RwLock<Option<Tell>>,
    dials: AtomicU64,
    started: Instant,
}

impl Transport {
    /// Starts to listen and to dial. `peers`: every other member with its addresses, each `host:port`, or a URL
    /// with `http` or `https`; an entry for this member itself is passed over. Without a connector, peers with `https` cannot
    /// be reached. Must be called within a tokio runtime, whose threads do the work.
    ///
    /// # Errors
    ///
    /// If there is no runtime, or if it cannot take over a listener.
    pub fn start(
        identity: Identity,
        listeners: Vec<Listener>,
        peers: Vec<(NodeId, Vec<String>)>,
        connector: Option<Arc<Connector>>,
        deliver: Deliver,
        options: Options,
    ) -> io::Result<Transport> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let listeners =
            listeners.into_iter().map(take_over).collect::<io::Result<Vec<(TcpListener, Option<Arc<Acceptor>>)>>>()?;
        let shared = Arc::new(Shared {
            identity,
            options,
            connector,
            reporter: Arc::new(Reporter::new(deliver)),
            warnings: WarnLimit::default(),
            runtime,
            peers: RwLock::default(),
            guests: RwLock::default(),
            own_addresses: RwLock::default(),
            removed: RwLock::default(),
            tell: RwLock::default(),
            dials: AtomicU64::new(0),
            started: Instant::now(),
        });
        let transport = Transport { shared, acceptors: Mutex::default() };
        // Who belongs here must be known before the first stranger is told that it does not.
        transport.set_peers(peers);
        let accept = |(listener, tls)| {
            Task::new(&transport.shared.runtime.spawn(accept::accept(transport.shared.clone(), listener, tls)))
        };
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
        let mut guests = write(&self.shared.guests);
        let mut former = write(&self.shared.peers);
        let mut current = BTreeMap::new();
        for (id, addresses) in peers {
            if id == self.shared.identity.member_id {
                continue;
            }
            let peer = match former.remove(&id).or_else(|| guests.remove(&id)) {
                Some(peer) => {
                    peer.set_addresses(addresses);
                    peer
                }
                None => self.shared.start_peer(id, addresses),
            };
            current.insert(id, peer);
        }
        let removed = std::mem::replace(&mut *former, current);
        drop((former, guests));
        for peer in removed.values() {
            peer.close();
        }
    }

    /// Who was a member and never will be again: when it dials, it is told so.
    pub fn set_removed(&self, removed: BTreeSet<NodeId>) {
        let mut guests = write(&self.shared.guests);
        removed.iter().filter_map(|id| guests.remove(id)).for_each(|peer| peer.close());
        drop(guests);
        *write(&self.shared.removed) = removed;
    }

    /// Where this member is reached, `host:port` each. It is told to whoever is dialed: one that does not know this member yet
    /// can then answer.
    pub fn set_own_addresses(&self, addresses: Vec<String>) {
        *write(&self.shared.own_addresses) = addresses;
    }

    /// From now on whoever asks for the members gets this answer.
    pub fn answer_with(&self, tell: Tell) {
        *write(&self.shared.tell) = Some(tell);
    }

    /// Frames are seen to by this from now on, on the thread that delivered them. The first call counts.
    pub fn tend_with(&self, tend: Tend) {
        self.shared.reporter.tend_with(tend);
    }

    /// Figures per peer.
    #[must_use]
    pub fn statistics(&self) -> BTreeMap<NodeId, PeerStatistics> {
        let peers = read(&self.shared.peers);
        peers.iter().map(|(id, peer)| (*id, peer.statistics())).collect()
    }

    /// Closes every connection and ends every task. Nothing is delivered afterwards but what is being delivered now;
    /// ports are free once the runtime has run the tasks' ends.
    pub fn shutdown(&self) {
        self.shared.reporter.close();
        lock(&self.acceptors).clear();
        *write(&self.shared.tell) = None;
        self.set_peers(Vec::new());
        std::mem::take(&mut *write(&self.shared.guests)).values().for_each(|peer| peer.close());
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
        let known = read(&self.peers).get(&id).cloned();
        known.or_else(|| read(&self.guests).get(&id).cloned())
    }

    /// Who says this hello. A member of this cluster that says where it is reached is let in before the layer above has heard
    /// of it: a leader may have been elected by members that this one knows nothing of, and has to be heard and answered.
    pub(crate) fn met(self: &Arc<Shared>, hello: &Hello, addresses: &[String]) -> Option<Arc<Peer>> {
        let id = hello.identity.member_id;
        let peer = self.peer(id).or_else(|| {
            let ours = hello.identity.cluster_id == self.identity.cluster_id
                && hello.expected == self.identity.member_id
                && id != self.identity.member_id;
            if !ours || addresses.is_empty() || self.is_removed(id) || self.reporter.is_closed() {
                return None;
            }
            let mut guests = write(&self.guests);
            if let Some(known) = read(&self.peers).get(&id) {
                return Some(known.clone()); // named meanwhile
            }
            if guests.len() >= GUESTS_MAX && !guests.contains_key(&id) {
                // One that said who it is and left again holds nobody's place.
                let gone = guests.iter().find(|(_, guest)| !guest.is_heard()).map(|(gone, _)| *gone)?;
                guests.remove(&gone)?.close();
            }
            Some(guests.entry(id).or_insert_with(|| self.start_peer(id, Vec::new())).clone())
        });
        if let Some(peer) = &peer
            && hello.identity.cluster_id == self.identity.cluster_id
        {
            peer.tells(addresses);
        }
        peer
    }

    fn start_peer(self: &Arc<Shared>, id: NodeId, addresses: Vec<String>) -> Arc<Peer> {
        let peer = Arc::new(Peer::new(id, addresses, &self.options, self.reporter.clone()));
        let dialer = |class| self.runtime.spawn(dial::keep_connected(self.clone(), peer.clone(), class));
        peer.keep(Class::ALL.map(|class| Task::new(&dialer(class))).into());
        peer
    }

    /// Where this member is reached.
    pub(crate) fn own_addresses(&self) -> Vec<String> {
        read(&self.own_addresses).clone()
    }

    pub(crate) fn is_removed(&self, id: NodeId) -> bool {
        read(&self.removed).contains(&id)
    }

    /// The answer to who asks for the members, once there is one.
    pub(crate) fn tell(&self) -> Option<Bytes> {
        let tell = read(&self.tell).clone();
        tell.map(|tell| tell())
    }

    /// The host names and addresses that peers are known under.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        let addresses = peers.values().flat_map(|peer| peer.addresses());
        addresses.map(|address| Address::of(&address).host().to_owned()).collect()
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

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn take_over(listener: Listener) -> io::Result<(TcpListener, Option<Arc<Acceptor>>)> {
    listener.socket.set_nonblocking(true)?;
    Ok((TcpListener::from_std(listener.socket)?, listener.tls))
}
