//! Members that meet something else than a member: garbage, outdated connections, peers that do not read or answer.
//! The bytes are made by hand from `docs/formats/peer.md`, so these tests also hold the page to its word.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use common::{CLUSTER, LIMIT, Member, call, chunk, identity, listener, until};
use kontiki_raft::NodeId;
use kontiki_transport::{Frame, Options, Received, decode, encode, split_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const CONSENSUS: u8 = 0;
const ANSWER_BYTES: usize = 44;
const HELLO_BYTES: usize = 56;

/// What a dialer says first.
fn hello(class: u8, member: u64, boot: u64, expected: u64, sequence: u64) -> BytesMut {
    let mut out = BytesMut::from(&b"kontiki\n"[..]);
    out.put_u16_le(4);
    out.put_slice(&[class, 0]);
    for number in [CLUSTER, member, boot, expected, sequence] {
        out.put_u64_le(number);
    }
    out.put_u32_le(crc32c::crc32c(&out));
    out
}

/// A connection to `address` as member 2 would open it.
async fn dial_as_member_2(address: SocketAddr, boot: u64, sequence: u64) -> (TcpStream, Result<(), String>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&hello(CONSENSUS, 2, boot, 1, sequence)).await.unwrap();
    let mut answer = [0; ANSWER_BYTES];
    stream.read_exact(&mut answer).await.unwrap();
    let mut text = vec![0; u32::from_le_bytes(*answer[36..].first_chunk().unwrap()) as usize];
    stream.read_exact(&mut text).await.unwrap();
    let verdict = if answer[10] == 0 { Ok(()) } else { Err(String::from_utf8(text).unwrap()) };
    (stream, verdict)
}

/// Lets member 1 in at a listener that stands for member 2. Returns the class that it wants.
async fn accept_as_member_2(listener: &TcpListener) -> (TcpStream, u8) {
    let (mut stream, _) = timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
    let mut hello = [0; HELLO_BYTES];
    stream.read_exact(&mut hello).await.unwrap();
    let mut answer = BytesMut::from(&b"kontiki\n"[..]);
    answer.put_u16_le(4);
    answer.put_slice(&[0, 0]);
    for number in [CLUSTER, 2, 0x22] {
        answer.put_u64_le(number);
    }
    answer.put_u32_le(0);
    answer.put_u32_le(crc32c::crc32c(&answer));
    stream.write_all(&answer).await.unwrap();
    (stream, hello[10])
}

/// The consensus connection among the two that member 1 dials; the other one is kept open beside it.
async fn accept_consensus_as_member_2(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let (first, class) = accept_as_member_2(listener).await;
    let (second, _) = accept_as_member_2(listener).await;
    if class == CONSENSUS { (first, second) } else { (second, first) }
}

fn bytes_of(frames: impl IntoIterator<Item = Frame>) -> BytesMut {
    let mut out = BytesMut::new();
    frames.into_iter().for_each(|frame| encode(&frame, &mut out));
    out
}

/// Member 1, whose peer 2 cannot be dialed.
fn member_1() -> (Member, SocketAddr) {
    let (ours, address) = listener();
    let (theirs, nowhere) = listener();
    drop(theirs);
    (Member::start(identity(1, 0x11), ours, &[(2, nowhere)], Options::default()), address)
}

/// Member 1, whose peer 2 is the returned listener.
async fn member_1_dialing(options: Options) -> (Member, TcpListener) {
    let (ours, _) = listener();
    let theirs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let member = Member::start(identity(1, 0x11), ours, &[(2, theirs.local_addr().unwrap())], options);
    (member, theirs)
}

async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is as good an end as a plain one.
    let _ = timeout(LIMIT, stream.read_to_end(&mut rest)).await.expect("the connection is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_closes_its_connection_and_nothing_else() {
    let (mut member, address) = member_1();
    let (mut good, verdict) = dial_as_member_2(address, 0x22, 0).await;
    verdict.unwrap();
    let mut damaged = hello(CONSENSUS, 2, 0x22, 1, 1);
    damaged[30] ^= 1;
    for garbage in [&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], &[0xff; 4096], &[0; 100], &damaged] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        closed(&mut stream).await;
    }
    good.write_all(&bytes_of([call(1, 10)])).await.unwrap();
    assert_eq!(member.frame().await, (NodeId(2), call(1, 10)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_before_a_broken_one_count() {
    let mut wrong_checksum = bytes_of([call(3, 10)]);
    wrong_checksum[20] ^= 1;
    let far_too_long = BytesMut::from(&[0xff; 16][..]);
    let other_class = bytes_of([chunk(1, 10)]);
    let (mut member, address) = member_1();
    for (sequence, broken) in (0..).zip([wrong_checksum, far_too_long, other_class]) {
        let (mut stream, verdict) = dial_as_member_2(address, 0x22, sequence).await;
        verdict.unwrap();
        let mut bytes = bytes_of([call(1, 10), call(2, 10)]);
        bytes.extend_from_slice(&broken);
        bytes.extend_from_slice(&bytes_of([call(4, 10)]));
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(member.frame().await.1, call(1, 10));
        assert_eq!(member.frame().await.1, call(2, 10));
        closed(&mut stream).await;
    }
    until("the connection is forgotten", || !member.statistics(2).accepted).await;
    assert_eq!(member.statistics(2).frames_received, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_comes_byte_by_byte_arrives() {
    let (mut member, address) = member_1();
    let (mut stream, _) = dial_as_member_2(address, 0x22, 0).await;
    stream.set_nodelay(true).unwrap();
    let big = call(9, 300_000);
    for piece in bytes_of([call(1, 50)]).chunks(1) {
        stream.write_all(piece).await.unwrap();
    }
    for piece in bytes_of([big.clone()]).chunks(777) {
        stream.write_all(piece).await.unwrap();
    }
    assert_eq!(member.frame().await.1, call(1, 50));
    assert_eq!(member.frame().await.1, big);
}

/// A restarted peer's connection ends those of its former life, and the death that was missed is reported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_boot_ends_the_former() {
    let (mut member, address) = member_1();
    member.suspects(2).await; // refused dials; the next connection ends this outage
    let (mut former, verdict) = dial_as_member_2(address, 0x21, 70).await;
    verdict.unwrap();
    former.write_all(&bytes_of([call(1, 1)])).await.unwrap();
    assert_eq!(member.frame().await.1, call(1, 1));
    let (mut current, verdict) = dial_as_member_2(address, 0x22, 0).await;
    verdict.unwrap();
    closed(&mut former).await;
    current.write_all(&bytes_of([call(2, 1)])).await.unwrap();
    let mut suspected = false;
    loop {
        match member.wait("news", Some).await {
            Received::Suspect(NodeId(2)) => suspected = true,
            Received::Frame { frame, .. } => break assert_eq!(frame, call(2, 1)),
            other => panic!("{other:?}"),
        }
    }
    assert!(suspected, "the former life's end comes before the new life's frames");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_connections_the_one_dialed_last_counts() {
    let (mut member, address) = member_1();
    let (mut first, verdict) = dial_as_member_2(address, 0x22, 5).await;
    verdict.unwrap();
    let (mut second, verdict) = dial_as_member_2(address, 0x22, 6).await;
    verdict.unwrap();
    closed(&mut first).await;
    let (_, verdict) = dial_as_member_2(address, 0x22, 4).await;
    assert!(verdict.unwrap_err().starts_with("outdated connection"));
    second.write_all(&bytes_of([call(1, 1)])).await.unwrap();
    assert_eq!(member.frame().await.1, call(1, 1));
    drop(second);
    member.suspects(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_version_of_the_protocol_is_named() {
    let (member, address) = member_1();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut from_the_future = hello(CONSENSUS, 2, 0x22, 1, 0);
    from_the_future[8] = 9;
    stream.write_all(&from_the_future[..10]).await.unwrap();
    let mut answer = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&answer[ANSWER_BYTES..]);
    assert!(text.starts_with("peer protocol version 9 is not spoken by this release"), "{text}");
    drop(member);
}

/// A peer that takes nothing costs a bounded number of bytes; what was queued arrives whole once it reads again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_is_bounded_while_the_peer_does_not_read() {
    const BOUND: usize = 1 << 20;
    const FRAME: usize = 50_000;
    let options = Options { consensus_bytes_max: BOUND, ..Options::default() };
    let (mut member, theirs) = member_1_dialing(options).await;
    let (mut stream, _snapshots) = accept_consensus_as_member_2(&theirs).await;
    member.connected(2).await;
    let mut sent = 0;
    while member.statistics(2).frames_dropped < 100 {
        member.send(2, vec![call(sent, FRAME), call(sent + 1, 10)]);
        sent += 2;
        let pending = member.statistics(2).bytes_pending as usize;
        assert!(pending <= BOUND + FRAME, "{pending}");
    }
    let taken = member.statistics(2).frames_sent;
    let (mut buffer, mut ids) = (BytesMut::new(), Vec::new());
    while (ids.len() as u64) < taken {
        assert!(timeout(LIMIT, stream.read_buf(&mut buffer)).await.unwrap().unwrap() > 0);
        while let Some(frame) = split_frame(&mut buffer).unwrap() {
            // The transport's own pings are not for the layer above.
            if let Ok(Frame::Call { id, .. }) = decode(frame) {
                ids.push(id);
            }
        }
    }
    assert!(ids.is_sorted(), "the order holds across what was dropped");
    assert!(ids.len() < sent as usize);
    until("the queue drains", || member.statistics(2).bytes_pending == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_answers_no_ping_is_dialed_anew() {
    let options = Options { ping_interval: Duration::from_millis(50), ..Options::default() };
    let (mut member, theirs) = member_1_dialing(options).await;
    for _ in 0..2 {
        let (mut consensus, mut snapshots) = accept_consensus_as_member_2(&theirs).await;
        member.connected(2).await;
        closed(&mut consensus).await;
        closed(&mut snapshots).await;
    }
}

/// The other end of the same: nothing leaves, so no ping is sent, but the queue stands still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_nothing_for_long_is_dialed_anew() {
    let options = Options { ping_interval: Duration::from_millis(50), ..Options::default() };
    let (mut member, theirs) = member_1_dialing(options).await;
    let (stuck, _snapshots) = accept_consensus_as_member_2(&theirs).await;
    member.connected(2).await;
    member.send(2, vec![call(1, 40 << 20)]);
    until("the connection is given up", || member.statistics(2).disconnects > 0).await;
    let (_again, _) = accept_as_member_2(&theirs).await;
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_on_the_wrong_direction_ends_the_connection() {
    let (mut member, theirs) = member_1_dialing(Options::default()).await;
    let (mut stream, _snapshots) = accept_consensus_as_member_2(&theirs).await;
    member.connected(2).await;
    stream.write_all(&bytes_of([call(1, 1)])).await.unwrap();
    closed(&mut stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_has_a_deadline_and_a_bound() {
    let options = Options { handshake_timeout: Duration::from_millis(100), handshakes_max: 2, ..Options::default() };
    let (ours, address) = listener();
    let _member = Member::start(identity(1, 0x11), ours, &[], options);
    let mut idle = Vec::new();
    for _ in 0..5 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    for stream in &mut idle {
        closed(stream).await;
    }
}
