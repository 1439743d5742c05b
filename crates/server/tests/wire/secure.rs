//! TLS at the front door: who is let in at each port, and who is not; and Unix sockets.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use hyper_util::rt::TokioIo;
use kontiki_api::rpc;
use kontiki_api::rpc::kv_client::KvClient;
use kontiki_api::rpc::watch_client::WatchClient;
use kontiki_server::{ListenSocket, Listener};
use kontiki_tls::{Acceptor, Connector, ConnectorFiles, Role, TlsFiles, TlsVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::codegen::{BoxFuture, Service};
use tonic::transport::{Channel, Endpoint};

use crate::authority::Authority;
use crate::harness::{Member, PATIENCE, get, put, range, soon};

/// A member with ports in TLS beside its plain ones.
struct Secure {
    member: Member,
    authority: Authority,
    clients: SocketAddr,
    metrics: SocketAddr,
}

fn port(tls: Acceptor) -> (Listener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (Listener { socket: ListenSocket::Tcp(socket), tls: Some(Arc::new(tls)) }, address)
}

/// The settings are those of an authority that has issued what the tests need; `change` may change them.
async fn start(change: impl FnOnce(TlsFiles) -> TlsFiles) -> Secure {
    let authority = Authority::new();
    authority.issue("server", 1, &["127.0.0.1", "localhost"]);
    authority.issue("alice", 2, &["alice.example"]);
    authority.issue("mallory", 3, &[]);
    authority.issue_until("late", 4, &[], 2001);
    authority.revoke(3);
    let files = change(TlsFiles { crl_file: Some(authority.path("crl.pem")), ..authority.files("server") });
    let (for_clients, clients) = port(Acceptor::new(Role::Client, files.clone()).unwrap());
    let (for_metrics, metrics) = port(Acceptor::without_http2(Role::Client, files).unwrap());
    let member = Member::start_with(|options| {
        options.listeners.push(for_clients);
        options.metrics_listeners.push(for_metrics);
        options.limits.tls_handshake = Duration::from_millis(500);
    })
    .await;
    Secure { member, authority, clients, metrics }
}

impl Secure {
    /// A client that shows this certificate, if any, and trusts the authority.
    fn client(&self, shows: Option<(&Authority, &str)>, protocol: &[u8]) -> ClientConfig {
        use rustls_pki_types::pem::PemObject;
        use rustls_pki_types::{CertificateDer, PrivateKeyDer};
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.authority.path("ca.pem")).unwrap()).unwrap();
        let ring = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some((issuer, name)) => {
                let chain = vec![CertificateDer::from_pem_file(issuer.path(&format!("{name}.pem"))).unwrap()];
                let key = PrivateKeyDer::from_pem_file(issuer.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }

    /// Which of the ports answer a request: gRPC's, that of the HTTP endpoints, that of the metrics.
    async fn answering(&self, shows: Option<(&Authority, &str)>) -> [bool; 3] {
        let http = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        [
            answers(self.clients, self.client(shows, b"h2"), http2).await,
            answers(self.clients, self.client(shows, b"http/1.1"), http).await,
            answers(self.metrics, self.client(shows, b"http/1.1"), http).await,
        ]
    }

    /// gRPC in TLS.
    async fn channel(&self, name: &str) -> Channel {
        let files = ConnectorFiles {
            ca_file: Some(self.authority.path("ca.pem")),
            cert_file: Some(self.authority.path(&format!("{name}.pem"))),
            key_file: Some(self.authority.path(&format!("{name}.key"))),
            ..ConnectorFiles::default()
        };
        let dial = Dial { address: self.clients, connector: Arc::new(Connector::for_command_line(files).unwrap()) };
        Endpoint::from_static("http://in-tls").connect_with_connector(dial).await.unwrap()
    }
}

/// Whether anything is answered; in TLS 1.3 a refusal comes only after the client's side of the handshake.
async fn answers(address: SocketAddr, config: ClientConfig, request: &[u8]) -> bool {
    let io = TcpStream::connect(address).await.unwrap();
    let name = "127.0.0.1".to_owned().try_into().unwrap();
    let Ok(mut stream) = soon(TlsConnector::from(Arc::new(config)).connect(name, io)).await else { return false };
    if stream.write_all(request).await.is_err() {
        return false;
    }
    matches!(soon(stream.read(&mut [0; 64])).await, Ok(1..))
}

/// How tonic opens a connection.
#[derive(Clone)]
struct Dial {
    address: SocketAddr,
    connector: Arc<Connector>,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            let io = TcpStream::connect(dial.address).await?;
            Ok(TokioIo::new(dial.connector.connect("127.0.0.1", io, PATIENCE).await?))
        })
    }
}

/// The matrix of mutual TLS: each bad case fails at each port, and the good one does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_port_asks_for_a_good_certificate() {
    let secure = start(|files| files).await;
    let stranger = Authority::new();
    stranger.issue("alice", 2, &[]);
    let ours = &secure.authority;
    assert_eq!(secure.answering(Some((ours, "alice"))).await, [true; 3], "a good certificate");
    for (bad, why) in [
        (None, "no certificate"),
        (Some((&stranger, "alice")), "of another authority"),
        (Some((ours, "late")), "expired"),
        (Some((ours, "mallory")), "revoked"),
    ] {
        assert_eq!(secure.answering(bad).await, [false; 3], "{why}");
    }
    let answer = secure.member.get("/metrics").await.body;
    let failed = answer.lines().find(|line| line.contains("outcome=\"tls_handshake_failed\"")).unwrap();
    assert!(failed.ends_with(" 12"), "{failed}");
    secure.member.stop().await;
}

/// The list of revoked certificates counts on a port of gRPC alone, and on that of the HTTP endpoints beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2026_59818_revocation_counts_where_http_is_apart() {
    let authority = Authority::new();
    authority.issue("server", 1, &["127.0.0.1"]);
    authority.issue("alice", 2, &[]);
    authority.issue("mallory", 3, &[]);
    authority.revoke(3);
    let files = TlsFiles { crl_file: Some(authority.path("crl.pem")), ..authority.files("server") };
    let (calls, clients) = port(Acceptor::new(Role::Client, files.clone()).unwrap());
    let (http, metrics) = port(Acceptor::new(Role::Client, files).unwrap());
    let member = Member::start_with(|options| {
        options.listeners.push(calls);
        options.http_listeners.push(http);
    })
    .await;
    let secure = Secure { member, authority, clients, metrics };
    // HTTP is not served where gRPC is.
    assert_eq!(secure.answering(Some((&secure.authority, "alice"))).await, [true, false, true]);
    assert_eq!(secure.answering(Some((&secure.authority, "mallory"))).await, [false; 3]);
    let mut kv = KvClient::new(secure.channel("alice").await);
    soon(kv.put(put("a", "1"))).await.unwrap();
    secure.member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_certificates_of_allowed_host_names_are_let_in() {
    let allowing =
        |name: &'static str| move |files: TlsFiles| TlsFiles { allowed_hostname: vec![name.to_owned()], ..files };
    let secure = start(allowing("alice.example")).await;
    assert_eq!(secure.answering(Some((&secure.authority, "alice"))).await, [true; 3]);
    secure.member.stop().await;
    let secure = start(allowing("bob.example")).await;
    assert_eq!(secure.answering(Some((&secure.authority, "alice"))).await, [false; 3]);
    secure.member.stop().await;
}

/// An authority alone is enough to be asked for a certificate, as in etcd; without one, none is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_asked_for_where_an_authority_is_given() {
    let secure = start(|files| TlsFiles { client_cert_auth: false, crl_file: None, ..files }).await;
    assert_eq!(secure.answering(None).await, [false; 3]);
    secure.member.stop().await;
    let secure =
        start(|files| TlsFiles { client_cert_auth: false, crl_file: None, trusted_ca_file: None, ..files }).await;
    assert_eq!(secure.answering(None).await, [true; 3]);
    secure.member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_versions_and_plain_words_are_refused() {
    let secure = start(|files| TlsFiles { min_version: Some(TlsVersion::Tls12), ..files }).await;
    for address in [secure.clients, secure.metrics] {
        // A greeting of TLS 1.1, as short as one can be: no extensions, one cipher.
        let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        drop(soon(stream.read_to_end(&mut answer)).await);
        assert_eq!(answer.first(), Some(&0x15), "an alert, and the end: {answer:?}");

        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        drop(soon(stream.read_to_end(&mut answer)).await);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("400") && answer.contains("HTTP request to an HTTPS server"), "{answer}");
    }
    secure.member.stop().await;
}

/// Whoever connects and says nothing, or half a greeting, is not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2026_73500_handshakes_have_a_deadline() {
    let secure = start(|files| files).await;
    for address in [secure.clients, secure.metrics] {
        for beginning in [&b""[..], &[0x16, 3, 1, 2, 0, 1]] {
            let began = Instant::now();
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(beginning).await.unwrap();
            let ended = soon(stream.read(&mut [0; 64])).await;
            assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
            assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        }
    }
    secure.member.stop().await;
}

/// A certificate that is renewed in its files is shown to the next client; broken files change nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_read_again_when_they_change() {
    let secure = start(|files| files).await;
    let alice = Some((&secure.authority, "alice"));
    assert_eq!(secure.answering(alice).await, [true; 3]);
    let certificate = secure.authority.path("server.pem");
    let good = std::fs::read(&certificate).unwrap();
    std::fs::write(&certificate, "nothing of use").unwrap();
    assert_eq!(secure.answering(alice).await, [true; 3], "the former one stays");
    std::fs::write(&certificate, good).unwrap();
    // From now on alice is revoked.
    secure.authority.revoke(2);
    assert_eq!(secure.answering(alice).await, [false; 3]);
    secure.member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_the_members_own_making_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("fixtures/client");
    let make = || kontiki_tls::self_signed(Role::Client, &place, &["127.0.0.1".to_owned()], 1).unwrap();
    let (cert_file, key_file) = make();
    let first = std::fs::read(&cert_file).unwrap();
    assert_eq!(make().0, cert_file);
    assert_eq!(std::fs::read(&cert_file).unwrap(), first);
    for path in [&cert_file, &key_file] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let files = TlsFiles { cert_file: Some(cert_file.clone()), key_file: Some(key_file), ..TlsFiles::default() };
    let (listener, address) = port(Acceptor::new(Role::Client, files).unwrap());
    let member = Member::start_with(|options| options.listeners.push(listener)).await;
    for (trusts, insecure, works) in [(Some(cert_file), false, true), (None, true, true), (None, false, false)] {
        let files = ConnectorFiles { ca_file: trusts, insecure_skip_verify: insecure, ..ConnectorFiles::default() };
        let Ok(connector) = Connector::for_command_line(files) else {
            assert!(!works, "a system may have no list of authorities");
            continue;
        };
        let io = TcpStream::connect(address).await.unwrap();
        assert_eq!(connector.connect("127.0.0.1", io, PATIENCE).await.is_ok(), works);
    }
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_serves_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("door");
    let listener = UnixListener::bind(&path).unwrap();
    let member = Member::start_with(|options| options.listeners.push(listener.into())).await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.contains("\"health\":\"true\""), "{answer}");
    let endpoint = Endpoint::from_shared(format!("unix://{}", path.display())).unwrap();
    let mut kv = KvClient::new(endpoint.connect().await.unwrap());
    soon(kv.put(put("a", "1"))).await.unwrap();
    assert_eq!(soon(kv.range(get("a"))).await.unwrap().into_inner().count, 1);
    member.stop().await;
}

/// etcd #15402: events must not wait behind a large answer on the same connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_in_tls_does_not_starve_beside_large_ranges() {
    let secure = start(|files| files).await;
    for number in 0..400 {
        secure.member.put(&format!("big{number}"), &"v".repeat(60 * 1024)).await;
    }
    let channel = secure.channel("alice").await;
    let create = rpc::WatchCreateRequest { key: "small".into(), ..rpc::WatchCreateRequest::default() };
    let request = rpc::WatchRequest { request_union: Some(rpc::watch_request::RequestUnion::CreateRequest(create)) };
    let (send, receive) = tokio::sync::mpsc::channel(1);
    send.send(request).await.unwrap();
    let requests = futures_util::stream::unfold(receive, async |mut receive| Some((receive.recv().await?, receive)));
    let mut watch = WatchClient::new(channel.clone()).watch(requests).await.unwrap().into_inner();
    soon(watch.message()).await.unwrap();
    let mut kv = KvClient::new(channel).max_decoding_message_size(usize::MAX);
    let reading = tokio::spawn(async move {
        for _ in 0..4 {
            assert_eq!(kv.range(range("big", "bih")).await.unwrap().into_inner().kvs.len(), 400);
        }
    });
    let mut worst = Duration::ZERO;
    let mut events = 0;
    while !reading.is_finished() {
        let began = Instant::now();
        secure.member.put("small", "x").await;
        let response = soon(watch.message()).await.unwrap().unwrap();
        events += response.events.len();
        worst = worst.max(began.elapsed());
    }
    reading.await.unwrap();
    assert!(events > 2, "events came while the ranges were read");
    assert!(worst < Duration::from_secs(3), "{worst:?}");
    drop(send);
    secure.member.stop().await;
}
