//! One member with its front door on a port of its own, and small clients.

use std::fmt::Debug;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use kontiki_api::kv::KeyValue;
use kontiki_api::rpc;
use kontiki_api::rpc::cluster_client::ClusterClient;
use kontiki_api::rpc::kv_client::KvClient;
use kontiki_api::rpc::lease_client::LeaseClient;
use kontiki_api::rpc::maintenance_client::MaintenanceClient;
use kontiki_api::rpc::watch_client::WatchClient;
use kontiki_server::{ServerOptions, serve};
use kontiki_store::{InitialMember, Options, Store};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// Most a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The largest command: small, so that tests of the limit are.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
const ELECTION_TIMEOUT: Duration = Duration::from_millis(100);

/// A running member.
pub struct Member {
    pub store: Store,
    pub address: SocketAddr,
    pub metrics_address: SocketAddr,
    channel: Channel,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    dir: TempDir,
}

impl Member {
    /// Starts a cluster of one, with an empty store.
    pub async fn start() -> Member {
        Member::start_with(|_| ()).await
    }

    /// The same, with other options for the front door.
    pub async fn start_with(change: impl FnOnce(&mut ServerOptions)) -> Member {
        let mut seats = Seat::reserve(1);
        let peers = Seat::peers(&seats);
        let member = Member::join(seats.remove(0), peers, change).await;
        soon(member.store.leadership().wait_for(|now| now.is_leader)).await.unwrap();
        soon(async {
            while member.store.members()[0].name.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        member
    }

    /// Starts so many members of a cluster of three.
    pub async fn start_of_three(count: usize) -> Vec<Member> {
        let mut seats = Seat::reserve(3);
        let peers = Seat::peers(&seats);
        let mut members = Vec::new();
        for seat in seats.drain(..count) {
            members.push(Member::join(seat, peers.clone(), |_| ()).await);
        }
        members
    }

    /// Starts a whole cluster of three, with other options for the front doors.
    pub async fn start_of_three_with(change: impl Fn(&mut ServerOptions)) -> Vec<Member> {
        let seats = Seat::reserve(3);
        let peers = Seat::peers(&seats);
        let mut members = Vec::new();
        for seat in seats {
            members.push(Member::join(seat, peers.clone(), &change).await);
        }
        members
    }

    async fn join(seat: Seat, peers: Vec<InitialMember>, change: impl FnOnce(&mut ServerOptions)) -> Member {
        let dir = tempfile::tempdir().unwrap();
        let clients = TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, metrics_address) = (clients.local_addr().unwrap(), metrics.local_addr().unwrap());
        let store = Store::start(Options {
            name: seat.name,
            given: kontiki_store::Given::default(),
            data_dir: dir.path().to_path_buf(),
            wal_dir: None,
            initial_cluster: peers,
            initial_cluster_token: "wire".into(),
            new_cluster: true,
            force_new_cluster: false,
            advertise_peer_urls: vec![seat.peer_url],
            advertise_client_urls: vec![format!("http://{address}")],
            peer_listeners: vec![seat.listener.into()],
            peer_connector: None,
            heartbeat_interval: ELECTION_TIMEOUT / 10,
            election_timeout: ELECTION_TIMEOUT,
            pre_vote: true,
            quota_bytes: 0,
            trailing_entries: 5000,
            progress_notify_interval: Duration::from_millis(300),
            request_bytes_max: REQUEST_BYTES_MAX,
            upkeep: kontiki_store::Upkeep::default(),
            auth: kontiki_store::AuthOptions { bcrypt_cost: 4, ..kontiki_store::AuthOptions::default() },
            membership: kontiki_store::MembershipOptions::default(),
            tuning: kontiki_store::Tuning::default(),
        })
        .await
        .unwrap();
        let mut options = ServerOptions {
            listeners: vec![clients.into()],
            metrics_listeners: vec![metrics.into()],
            request_bytes_max: REQUEST_BYTES_MAX,
            election_timeout: ELECTION_TIMEOUT,
            ..ServerOptions::default()
        };
        change(&mut options);
        let (stop, stopped) = oneshot::channel();
        let serving = serve(store.clone(), options, async { drop(stopped.await) });
        let served = tokio::spawn(async { serving.await.unwrap() });
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Member { store, address, metrics_address, channel, stop, served, dir }
    }

    /// Stops the front door, then the store.
    pub async fn stop(self) {
        drop(self.stop);
        soon(self.served).await.unwrap();
        soon(self.store.stop()).await;
    }

    /// Where its data lies.
    pub fn data_dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel())
    }

    pub fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel())
    }

    pub fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel())
    }

    pub fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel())
    }

    pub fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel())
    }

    /// Puts; gives the revision.
    pub async fn put(&self, key: &str, value: &str) -> i64 {
        let response = self.kv().put(put(key, value)).await.unwrap().into_inner();
        response.header.unwrap().revision
    }

    /// All of a range.
    pub async fn range(&self, request: rpc::RangeRequest) -> rpc::RangeResponse {
        self.kv().range(request).await.unwrap().into_inner()
    }

    /// Asks for a page with `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        http(self.address, "GET", path, "", "").await
    }

    /// Asks the gateway.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        http(self.address, "POST", path, "", body).await
    }
}

/// A place in a cluster that is about to start.
struct Seat {
    name: String,
    peer_url: String,
    listener: TcpListener,
}

impl Seat {
    fn reserve(count: usize) -> Vec<Seat> {
        let seat = |number| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let peer_url = format!("http://{}", listener.local_addr().unwrap());
            let name = if count == 1 { "solo".into() } else { format!("m{number}") };
            Seat { name, peer_url, listener }
        };
        (1..=count).map(seat).collect()
    }

    fn peers(seats: &[Seat]) -> Vec<InitialMember> {
        seats
            .iter()
            .map(|seat| InitialMember { name: seat.name.clone(), peer_urls: vec![seat.peer_url.clone()] })
            .collect()
    }
}

/// Waits, but not for ever.
pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("this takes too long")
}

pub fn put(key: &str, value: &str) -> rpc::PutRequest {
    rpc::PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..rpc::PutRequest::default() }
}

pub fn get(key: &str) -> rpc::RangeRequest {
    rpc::RangeRequest { key: key.to_owned().into(), ..rpc::RangeRequest::default() }
}

pub fn range(key: &str, range_end: &str) -> rpc::RangeRequest {
    rpc::RangeRequest { range_end: range_end.to_owned().into(), ..get(key) }
}

pub fn delete(key: &str, range_end: &str) -> rpc::DeleteRangeRequest {
    rpc::DeleteRangeRequest { key: key.to_owned().into(), range_end: range_end.to_owned().into(), prev_kv: false }
}

/// Keys as text, in order.
pub fn keys(kvs: &[KeyValue]) -> Vec<String> {
    kvs.iter().map(|kv| String::from_utf8(kv.key.to_vec()).unwrap()).collect()
}

/// The call must fail like this.
#[track_caller]
pub fn refused<T: Debug>(result: Result<T, Status>, code: Code, text: &str) {
    let status = result.expect_err("this must be refused");
    assert_eq!((status.code(), status.message()), (code, text));
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// One HTTP/1.1 request on a connection of its own.
pub async fn http(address: SocketAddr, verb: &str, path: &str, headers: &str, body: &str) -> Answer {
    let request = format!(
        "{verb} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    soon(exchange(address, &request)).await
}

/// Sends bytes, reads the whole answer.
pub async fn exchange(address: SocketAddr, request: &str) -> Answer {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    socket.read_to_end(&mut read).await.unwrap();
    let text = String::from_utf8(read).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
