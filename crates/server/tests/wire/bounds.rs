//! What a client may do to the doors themselves: the vulnerabilities of others as test cases, and our own bounds.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Member, http, soon};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// A field, written out.
fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

fn grpc_call(stream: u32, path: &str, flags: u8) -> Vec<u8> {
    let fields = [
        field(":method", "POST"),
        field(":scheme", "http"),
        field(":path", path),
        field(":authority", "x"),
        field("content-type", "application/grpc"),
        field("te", "trailers"),
    ];
    frame(HEADERS, END_HEADERS | flags, stream, &fields.concat())
}

/// HTTP/2, byte by byte.
struct Raw(TcpStream);

impl Raw {
    async fn open(address: SocketAddr) -> Raw {
        let mut io = TcpStream::connect(address).await.unwrap();
        io.write_all(PREFACE).await.unwrap();
        io.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        Raw(io)
    }

    /// The next frame: type, flags, stream, content. None at the connection's end.
    async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut content).await.ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), content))
    }

    /// Writes until it fails or there is no more; gives how many bytes left.
    async fn flood(&mut self, piece: &[u8], times: usize) -> usize {
        let mut sent = 0;
        for _ in 0..times {
            if self.0.write_all(piece).await.is_err() {
                break;
            }
            sent += piece.len();
        }
        sent
    }
}

/// CVE-2026-33186 (of gRPC for Go): a path that is not exactly a method's is no method, before anybody asks who calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2026_33186_only_exact_paths_are_methods() {
    let member = Member::start().await;
    let mut raw = Raw::open(member.address).await;
    let paths = [
        "etcdserverpb.KV/Range",
        "//etcdserverpb.KV/Range",
        "/etcdserverpb.KV//Range",
        "/etcdserverpb.KV/%52ange",
        "/etcdserverpb.KV/Range/",
        "/etcdserverpb.KV/Range?x=1",
        "/etcdserverpb.KV/./Range",
        "/EtcdServerPB.KV/Range",
    ];
    for (number, path) in (0..).zip(paths) {
        let stream = 1 + 2 * number;
        raw.0.write_all(&grpc_call(stream, path, END_STREAM)).await.unwrap();
        loop {
            let (kind, flags, of, _) = soon(raw.next()).await.expect("the connection goes on");
            if of == stream {
                // Reset as malformed, or refused without a body.
                let refused = kind == RST_STREAM || (kind == HEADERS && flags & END_STREAM != 0);
                assert!(refused, "{path}: {kind} {flags}");
                break;
            }
        }
    }
    let metrics = member.get("/metrics").await.body;
    let started =
        metrics.lines().find(|line| line.starts_with("grpc_server_started_total") && line.contains("\"Range\""));
    assert!(started.unwrap().ends_with(" 0"), "{started:?}");
    member.stop().await;
}

/// CVE-2018-1098: a page of another origin cannot make a browser change something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2018_1098_foreign_pages_change_nothing() {
    let member = Member::start_with(|options| options.cors = vec!["https://admin.example".to_owned()]).await;
    let body = "{\"key\":\"YQ==\",\"value\":\"YQ==\"}";
    let post = |origin: &'static str| http(member.address, "POST", "/v3/kv/put", origin, body);
    let foreign = post("Origin: https://evil.example\r\nContent-Type: text/plain\r\n").await;
    assert_eq!(foreign.status, 403, "{foreign:?}");
    assert!(!foreign.head.to_lowercase().contains("access-control-allow-origin"));
    assert_eq!(post("Origin: null\r\n").await.status, 403);
    let admitted = post("Origin: https://admin.example\r\n").await;
    assert_eq!(admitted.status, 200);
    assert!(admitted.head.contains("https://admin.example"), "{admitted:?}");
    assert_eq!(post("").await.status, 200);
    member.stop().await;
}

/// CVE-2018-1099: a name that was bound to this address by somebody else is not served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2018_1099_other_host_names_are_misdirected() {
    let member = Member::start_with(|options| options.host_whitelist = vec!["127.0.0.1".to_owned()]).await;
    assert_eq!(member.get("/version").await.status, 200);
    let rebound = crate::harness::exchange(
        member.address,
        "POST /v3/kv/range HTTP/1.1\r\nHost: evil.example:2379\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
    );
    assert_eq!(soon(rebound).await.status, 421);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_comes_drop_by_drop_is_not_waited_for() {
    let member = Member::start_with(|options| options.limits.head = Duration::from_millis(500)).await;
    let mut slow = TcpStream::connect(member.address).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\n").await.unwrap();
    let began = Instant::now();
    while slow.write_all(b"X").await.is_ok() && began.elapsed() < Duration::from_secs(8) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // And one that is too long.
    let mut long = TcpStream::connect(member.address).await.unwrap();
    let head = format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    drop(long.write_all(head.as_bytes()).await);
    let mut answer = [0; 16];
    let read = soon(long.read(&mut answer)).await.unwrap_or(0);
    assert!(read == 0 || !answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    member.stop().await;
}

/// Connections that say nothing cost their place for a bounded time, and nobody else anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_idle_connections_are_closed_in_time() {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: most.maximum, maximum: most.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let member = Member::start_with(|options| options.limits.first_words = Duration::from_secs(3)).await;
    let mut idle = Vec::new();
    for _ in 0..5000 {
        idle.push(soon(TcpStream::connect(member.address)).await.unwrap());
    }
    let began = Instant::now();
    assert_eq!(member.get("/health").await.status, 200, "others are served meanwhile");
    for stream in &mut idle {
        let ended = soon(stream.read(&mut [0; 8])).await;
        assert!(matches!(ended, Ok(0) | Err(_)));
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let silent = member.get("/metrics").await.body;
    let silent = silent.lines().find(|line| line.contains("outcome=\"silent\"")).map(str::to_owned).unwrap();
    assert!(silent.ends_with(" 5000"), "{silent}");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_cannot_take_all_places() {
    let member = Member::start_with(|options| options.limits.connections_per_address_max = 3).await;
    member.put("a", "1").await; // the first connection
    let held = [TcpStream::connect(member.address).await.unwrap(), TcpStream::connect(member.address).await.unwrap()];
    let mut fourth = TcpStream::connect(member.address).await.unwrap();
    assert!(matches!(soon(fourth.read(&mut [0; 8])).await, Ok(0) | Err(_)));
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(member.address).await.unwrap();
    other.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(soon(other.read_u8()).await.unwrap(), b'H');
    drop(held);
    member.stop().await;
}

/// The words are those by which gRPC clients learn to ping less.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pings_too_often_is_sent_away() {
    let member = Member::start().await;
    let mut raw = Raw::open(member.address).await;
    for _ in 0..4 {
        raw.0.write_all(&frame(PING, 0, 0, &[1; 8])).await.unwrap();
    }
    let mut farewell = None;
    while let Some((kind, _, _, content)) = soon(raw.next()).await {
        if kind == GOAWAY {
            farewell = Some(content);
        }
    }
    let farewell = farewell.expect("a GOAWAY");
    assert_eq!(farewell[4..8], 11_u32.to_be_bytes());
    assert_eq!(&farewell[8..], b"too_many_pings");
    let metrics = member.get("/metrics").await.body;
    assert!(metrics.contains("outcome=\"too_many_pings\"} 1\n"));
    member.stop().await;
}

/// RUSTSEC-2024-0332: headers without an end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rustsec_2024_0332_a_flood_of_continuations_ends_the_connection() {
    let member = Member::start().await;
    let mut raw = Raw::open(member.address).await;
    raw.0.write_all(&frame(HEADERS, 0, 1, &field(":method", "POST"))).await.unwrap();
    let piece = frame(CONTINUATION, 0, 1, &field("x", &"y".repeat(100)).repeat(20));
    let sent = tokio::time::timeout(Duration::from_secs(10), raw.flood(&piece, 50_000)).await.expect("it is not taken");
    assert!(sent < 20 << 20, "{sent} bytes were taken");
    assert_eq!(member.get("/health").await.status, 200);
    member.stop().await;
}

/// RUSTSEC-2024-0003, and the rapid resets of 2023: streams that are opened and reset at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rustsec_2024_0003_rapid_resets_end_the_connection() {
    let member = Member::start().await;
    let raw = Raw::open(member.address).await;
    let mut flood = Vec::new();
    for number in 0..20_000 {
        let stream = 1 + 2 * number;
        flood.extend(grpc_call(stream, "/etcdserverpb.KV/Range", 0));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let (mut reader, mut writer) = raw.0.into_split();
    let writing = tokio::spawn(async move { writer.write_all(&flood).await });
    let mut answer = Vec::new();
    drop(soon(reader.read_to_end(&mut answer)).await);
    drop(soon(writing).await);
    // GOAWAY with ENHANCE_YOUR_CALM.
    let told = answer.windows(17).any(|bytes| bytes[3] == GOAWAY && bytes[13..17] == 11_u32.to_be_bytes());
    assert!(told, "{} bytes came", answer.len());
    assert_eq!(member.get("/health").await.status, 200);
    member.stop().await;
}

/// Headers beyond the bound that SETTINGS names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_headers_are_refused() {
    let member = Member::start().await;
    let mut raw = Raw::open(member.address).await;
    let fields = field("x", &"y".repeat(120)).repeat(200);
    let mut call = grpc_call(1, "/etcdserverpb.KV/Range", END_STREAM)[9..].to_vec();
    call.extend(&fields);
    let (first, rest) = call.split_at(12_000);
    raw.0.write_all(&frame(HEADERS, END_STREAM, 1, first)).await.unwrap();
    raw.0.write_all(&frame(CONTINUATION, END_HEADERS, 1, rest)).await.unwrap();
    let told = loop {
        match soon(raw.next()).await {
            Some((HEADERS, flags, 1, _)) => break flags & END_STREAM != 0,
            Some((RST_STREAM, _, 1, _) | (GOAWAY, ..)) | None => break true,
            Some(_) => {}
        }
    };
    assert!(told, "431, a reset, or the connection's end");
    member.stop().await;
}
