//! Members on loopback for tests, and ways to wait for what they hear.
#![allow(dead_code, reason = "each test program uses its part")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_raft::{Configuration, GroupId, LogPosition, NodeId, SnapshotMeta};
use kontiki_transport::{Frame, Identity, Options, PeerStatistics, Received, Transport};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

/// Nothing that a test waits for takes nearly as long.
pub const LIMIT: Duration = Duration::from_secs(20);

pub const CLUSTER: u64 = 0xc1;

/// A transport and what it delivered.
pub struct Member {
    pub id: NodeId,
    pub transport: Arc<Transport>,
    pub events: UnboundedReceiver<Received>,
}

pub fn identity(id: u64, boot: u64) -> Identity {
    Identity { cluster_id: CLUSTER, member_id: NodeId(id), boot }
}

pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Takes an address again whose former owner may still be ending.
pub async fn listener_at(address: SocketAddr) -> TcpListener {
    timeout(LIMIT, async {
        loop {
            match TcpListener::bind(address) {
                Ok(listener) => return listener,
                Err(_) => sleep(Duration::from_millis(1)).await,
            }
        }
    })
    .await
    .expect("the port becomes free")
}

impl Member {
    pub fn start(identity: Identity, listener: TcpListener, peers: &[(u64, SocketAddr)], options: Options) -> Member {
        let (sender, events) = unbounded_channel();
        let peers = peers.iter().map(|(id, address)| (NodeId(*id), vec![address.to_string()])).collect();
        let deliver = Arc::new(move |batch: Vec<Received>| {
            for event in batch {
                let _ = sender.send(event);
            }
        });
        let transport = Transport::start(identity, vec![listener.into()], peers, None, deliver, options).unwrap();
        Member { id: identity.member_id, transport: Arc::new(transport), events }
    }

    /// The first event that `pick` takes; others are passed over.
    pub async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(Received) -> Option<T>) -> T {
        let found = timeout(LIMIT, async {
            loop {
                let event = self.events.recv().await.expect("the transport lives");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("{} never got {what}; {:?}", self.id, self.transport))
    }

    pub async fn connected(&mut self, peer: u64) {
        self.wait("a connection", |event| (event == Received::Connected(NodeId(peer))).then_some(())).await;
    }

    pub async fn suspects(&mut self, peer: u64) {
        self.wait("a suspicion", |event| (event == Received::Suspect(NodeId(peer))).then_some(())).await;
    }

    pub async fn refusal(&mut self) -> String {
        self.wait("a refusal", |event| match event {
            Received::Refused { reason, .. } => Some(reason),
            _ => None,
        })
        .await
    }

    pub async fn frame(&mut self) -> (NodeId, Frame) {
        self.wait("a frame", |event| match event {
            Received::Frame { from, frame } => Some((from, frame)),
            _ => None,
        })
        .await
    }

    pub fn send(&self, to: u64, frames: Vec<Frame>) {
        self.transport.send(NodeId(to), frames);
    }

    pub fn statistics(&self, peer: u64) -> PeerStatistics {
        self.transport.statistics()[&NodeId(peer)]
    }
}

/// Looks until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Members 1 to `count`, each with its connections to every other, and nothing left to hear.
pub async fn cluster(count: u64) -> (Vec<Member>, Vec<SocketAddr>) {
    let (listeners, addresses): (Vec<_>, Vec<_>) = (0..count).map(|_| listener()).unzip();
    let all: Vec<(u64, SocketAddr)> = (1..).zip(addresses.iter().copied()).collect();
    let mut members: Vec<Member> = (1..)
        .zip(listeners)
        .map(|(id, listener)| Member::start(identity(id, id), listener, &all, Options::default()))
        .collect();
    for id in 1..=count {
        for peer in (1..=count).filter(|peer| *peer != id) {
            // Both directions of both classes, so that nothing that a test sends is dropped.
            let statistics = || members[id as usize - 1].statistics(peer);
            until("connected both ways", || statistics().connected && statistics().accepted).await;
            members[id as usize - 1].snapshots_arrive(peer).await;
        }
    }
    for member in &mut members {
        for _ in 1..count {
            assert_eq!(member.frame().await.1, chunk(u64::MAX, 0)); // the one that was not dropped
        }
    }
    (members, addresses)
}

impl Member {
    /// Waits until the connection for snapshots is there as well.
    async fn snapshots_arrive(&self, peer: u64) {
        until("snapshots leave", || {
            let before = self.statistics(peer).frames_sent;
            self.send(peer, vec![chunk(u64::MAX, 0)]);
            self.statistics(peer).frames_sent > before
        })
        .await;
    }
}

pub fn call(id: u64, bytes: usize) -> Frame {
    Frame::Call { group: GroupId(1), id, body: Bytes::from(vec![id as u8; bytes]) }
}

pub fn chunk(sequence: u64, bytes: usize) -> Frame {
    let rows = Bytes::from(vec![sequence as u8; bytes]);
    let meta = SnapshotMeta { position: LogPosition::START, configuration: Configuration::of([NodeId(1)]).into() };
    Frame::SnapshotChunk { group: GroupId(1), meta, sequence, last: false, rows }
}

pub fn ack(sequence: u64) -> Frame {
    Frame::SnapshotAck { group: GroupId(1), position: LogPosition::START, sequence, accepted: true }
}
