//! Members in TLS: who is let in, and what those hear who are not.
#![allow(clippy::unwrap_used)]

#[path = "../../tls/tests/support/authority.rs"]
mod authority;
mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use authority::Authority;
use common::{LIMIT, Member, call, identity, listener, until};
use kontiki_raft::NodeId;
use kontiki_tls::{Acceptor, Connector, Role, TlsFiles};
use kontiki_transport::{Listener, Options, Received, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

/// A member whose port demands TLS, and which dials with the same settings.
fn start(id: u64, port: std::net::TcpListener, files: TlsFiles, peers: &[(u64, SocketAddr)]) -> Member {
    let (sender, events) = unbounded_channel();
    let peers = peers.iter().map(|(id, address)| (NodeId(*id), vec![format!("https://{address}")])).collect();
    let deliver = Arc::new(move |batch: Vec<Received>| batch.into_iter().for_each(|event| drop(sender.send(event))));
    let connector = Arc::new(Connector::for_peers(&files).unwrap());
    let tls = Some(Arc::new(Acceptor::new(Role::Peer, files).unwrap()));
    let listeners = vec![Listener { socket: port, tls }];
    let transport =
        Transport::start(identity(id, id), listeners, peers, Some(connector), deliver, Options::default()).unwrap();
    Member { id: NodeId(id), transport: Arc::new(transport), events }
}

/// Two members: 1 with the first settings, 2 with the second.
fn pair(first: TlsFiles, second: TlsFiles) -> (Member, Member) {
    let ((port1, address1), (port2, address2)) = (listener(), listener());
    let all = [(1, address1), (2, address2)];
    (start(1, port1, first, &all), start(2, port2, second, &all))
}

async fn are_connected(one: &Member, other: &Member) {
    until("both ways", || one.statistics(other.id.0).connected && other.statistics(one.id.0).connected).await;
}

/// Long enough for many redials.
async fn stay_apart(one: &Member, other: &Member) {
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!one.statistics(other.id.0).connected || !other.statistics(one.id.0).connected);
    assert!(!one.statistics(other.id.0).accepted, "a member that is not let in must not be heard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_talk_in_tls() {
    let authority = Authority::new();
    authority.issue("m1", 1, &["127.0.0.1"]);
    authority.issue("m2", 2, &["127.0.0.1", "localhost"]);
    let (one, mut two) = pair(authority.files("m1"), authority.files("m2"));
    are_connected(&one, &two).await;
    // Many small frames and one that is larger than all buffers.
    for id in 0..1000 {
        one.send(2, vec![call(id, 100)]);
    }
    one.send(2, vec![call(1000, 20 << 20)]);
    for id in 0..=1000 {
        assert_eq!(two.frame().await.1, call(id, if id == 1000 { 20 << 20 } else { 100 }));
    }
    // The end is noticed at once.
    let began = Instant::now();
    drop(one);
    two.suspects(1).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_of_another_authority_is_not_heard() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    ours.issue("m1", 1, &["127.0.0.1"]);
    theirs.issue("m2", 2, &["127.0.0.1"]);
    let (one, two) = pair(ours.files("m1"), theirs.files("m2"));
    stay_apart(&one, &two).await;
}

/// CVE-2026-59818 on the peer port: the revocation list counts for those who connect and for those who are dialed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2026_59818_a_revoked_member_is_not_heard() {
    let authority = Authority::new();
    authority.issue("m1", 1, &["127.0.0.1"]);
    authority.issue("m2", 2, &["127.0.0.1"]);
    authority.revoke(2);
    let files = TlsFiles { crl_file: Some(authority.path("crl.pem")), ..authority.files("m1") };
    let (one, two) = pair(files, authority.files("m2"));
    stay_apart(&one, &two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_allowed_names_are_heard() {
    let authority = Authority::new();
    authority.issue("m1", 1, &["127.0.0.1"]);
    authority.issue("m2", 2, &["127.0.0.1"]);
    let allowing = |names: &[&str]| TlsFiles {
        allowed_cn: names.iter().map(|name| (*name).to_owned()).collect(),
        ..authority.files("m1")
    };
    let (one, two) = pair(allowing(&["m1", "m3"]), authority.files("m2"));
    stay_apart(&one, &two).await;
    let (one, two) = pair(allowing(&["m1", "m2"]), authority.files("m2"));
    are_connected(&one, &two).await;
    let allowing = |name: &str| TlsFiles { allowed_hostname: vec![name.to_owned()], ..authority.files("m1") };
    let (one, two) = pair(allowing("10.1.1.1"), authority.files("m2"));
    stay_apart(&one, &two).await;
    let (one, two) = pair(allowing("127.0.0.1"), authority.files("m2"));
    are_connected(&one, &two).await;
}

/// A member's certificate must be made out to where it connects from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_elsewhere_is_not_heard() {
    let authority = Authority::new();
    authority.issue("m1", 1, &["127.0.0.1"]);
    authority.issue("m2", 2, &["127.0.0.1"]);
    authority.issue("away", 3, &["192.0.2.1"]);
    let dials_as_another = TlsFiles {
        client_cert_file: Some(authority.path("away.pem")),
        client_key_file: Some(authority.path("away.key")),
        ..authority.files("m2")
    };
    let (one, two) = pair(authority.files("m1"), dials_as_another.clone());
    stay_apart(&one, &two).await;
    let lenient = TlsFiles { skip_client_san_verification: true, ..authority.files("m1") };
    let (one, two) = pair(lenient, dials_as_another);
    are_connected(&one, &two).await;
}

/// A renewed certificate is used without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_files_count_from_the_next_connection_on() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    ours.issue("m1", 1, &["127.0.0.1"]);
    ours.issue("m2", 2, &["127.0.0.1"]);
    theirs.issue("m2", 2, &["127.0.0.1"]);
    let (one, two) = pair(ours.files("m1"), theirs.files("m2"));
    stay_apart(&one, &two).await;
    for name in ["ca.pem", "m2.pem", "m2.key"] {
        std::fs::copy(ours.path(name), theirs.path(name)).unwrap();
    }
    are_connected(&one, &two).await;
}

/// Certificates of the members' own making.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn automatic_certificates_are_enough_to_talk() {
    let dir = tempfile::tempdir().unwrap();
    let files = |name: &str| {
        let place = dir.path().join(name);
        let (cert, key) = kontiki_tls::self_signed(Role::Peer, &place, &["127.0.0.1".to_owned()], 1).unwrap();
        TlsFiles { cert_file: Some(cert), key_file: Some(key), auto_tls: true, ..TlsFiles::default() }
    };
    let (one, two) = pair(files("a"), files("b"));
    are_connected(&one, &two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_and_tls_do_not_mix() {
    let authority = Authority::new();
    authority.issue("m1", 1, &["127.0.0.1"]);
    let ((port1, address1), (port2, address2)) = (listener(), listener());
    let all = [(1, address1), (2, address2)];
    let secure = start(1, port1, authority.files("m1"), &all);
    let plain = Member::start(identity(2, 2), port2, &all, Options::default());
    stay_apart(&secure, &plain).await;
    stay_apart(&plain, &secure).await;
    // The port in TLS answers a plain hello with an alert, and ends the connection.
    let mut stream = TcpStream::connect(address1).await.unwrap();
    stream.write_all(b"kontiki\n\x03\0and so on").await.unwrap();
    let mut answer = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer[..2], [0x15, 0x03]);
    // The plain port ends the connection of one who begins in TLS.
    let mut stream = TcpStream::connect(address2).await.unwrap();
    stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await.unwrap();
    let ended = timeout(LIMIT, stream.read(&mut [0; 8])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

/// Nobody is let in without a certificate, and one who says nothing is not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2026_73500_a_tls_handshake_has_a_deadline() {
    let authority = Authority::new();
    authority.issue("m1", 1, &["127.0.0.1"]);
    let (port, address) = listener();
    let acceptor = Arc::new(Acceptor::new(Role::Peer, authority.files("m1")).unwrap());
    let listeners = vec![Listener { socket: port, tls: Some(acceptor) }];
    let options = Options { handshake_timeout: Duration::from_millis(200), ..Options::default() };
    let _transport =
        Transport::start(identity(1, 1), listeners, vec![], None, Arc::new(|_: Vec<Received>| {}), options).unwrap();
    for beginning in [&b""[..], &[0x16, 3, 1, 2, 0]] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        let ended = timeout(Duration::from_secs(5), stream.read(&mut [0; 64])).await.expect("closed in time");
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    let no_certificate = TlsFiles { trusted_ca_file: Some(authority.path("ca.pem")), ..TlsFiles::default() };
    let anonymous = Connector::for_peers(&no_certificate).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    if let Ok(mut stream) = anonymous.connect("127.0.0.1", stream, LIMIT).await {
        let refused = timeout(LIMIT, stream.read(&mut [0; 8])).await.unwrap();
        assert!(refused.is_err(), "in TLS 1.3 the refusal comes with the first read");
    }
}

/// A process that is to become a member asks in TLS, too, and only with a certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_question_for_the_members_goes_over_tls() {
    let authority = Authority::new();
    authority.issue("m1", 1, &["127.0.0.1"]);
    let (port, address) = listener();
    let member = start(1, port, authority.files("m1"), &[]);
    member.transport.answer_with(Arc::new(|| bytes::Bytes::from_static(b"these")));
    let connector = Connector::for_peers(&authority.files("m1")).unwrap();
    let url = format!("https://{address}");
    assert_eq!(kontiki_transport::ask(&url, Some(&connector), LIMIT).await.unwrap(), &b"these"[..]);
    let anonymous = TlsFiles { trusted_ca_file: Some(authority.path("ca.pem")), ..TlsFiles::default() };
    let anonymous = Connector::for_peers(&anonymous).unwrap();
    assert!(kontiki_transport::ask(&url, Some(&anonymous), LIMIT).await.is_err());
    let without = kontiki_transport::ask(&url, None, LIMIT).await.unwrap_err().to_string();
    assert!(without.contains("--peer-cert-file"), "{without}");
    let plain = kontiki_transport::ask(&address.to_string(), None, LIMIT).await.unwrap_err().to_string();
    assert!(plain.contains("https"), "{plain}");
}
