//! What large answers do to the memory of the process that sends them. A process of its own: other tests would show in it.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "shared with the tests of the contract, which use all of it")]
#[path = "wire/harness.rs"]
mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kontiki_api::rpc::request_op::Request;
use kontiki_api::rpc::{RangeRequest, RequestOp, TxnRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use harness::{Member, put};

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Looks at it from time to time until told to stop; gives the most that it saw.
fn most_resident(stop: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let most = AtomicU64::new(0);
    std::thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            most.fetch_max(resident(), Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
        }
        most.into_inner()
    })
}

async fn fill(member: &Member, keys: usize, value_bytes: usize, in_one: usize) {
    let value = "v".repeat(value_bytes);
    for first in (0..keys).step_by(in_one) {
        let success = (first..first + in_one)
            .map(|number| RequestOp { request: Some(Request::RequestPut(put(&format!("k{number:08}"), &value))) })
            .collect();
        member.kv().txn(TxnRequest { success, ..TxnRequest::default() }).await.unwrap();
    }
}

/// Reads everything as a stream and as one JSON text, keeping nothing. Gives the bytes of both.
async fn read_all(member: &Member) -> (usize, usize) {
    let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() };
    let mut chunks = member.kv().range_stream(all).await.unwrap().into_inner();
    let mut streamed = 0;
    while let Some(chunk) = chunks.message().await.unwrap() {
        streamed += chunk.range_response.unwrap().kvs.iter().map(|kv| kv.value.len()).sum::<usize>();
    }
    let mut socket = TcpStream::connect(member.address).await.unwrap();
    let body = r#"{"key":"AA==","range_end":"AA=="}"#;
    let length = body.len();
    let request =
        format!("POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    socket.write_all(request.as_bytes()).await.unwrap();
    let (mut buffer, mut text) = (vec![0; 64 * 1024], 0);
    loop {
        match socket.read(&mut buffer).await.unwrap() {
            0 => return (streamed, text),
            read => text += read,
        }
    }
}

/// By how many KiB memory moved while everything was read.
async fn moved(member: &Member, bytes: usize) -> u64 {
    let before = resident();
    let stop = Arc::new(AtomicBool::new(false));
    let watching = most_resident(Arc::clone(&stop));
    let (streamed, text) = read_all(member).await;
    assert_eq!(streamed, bytes);
    assert!(text > bytes, "base64 is longer");
    stop.store(true, Ordering::SeqCst);
    watching.join().unwrap().saturating_sub(before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_all_of_a_store_moves_little_memory() {
    let member = Member::start().await;
    fill(&member, 1_500, 60_000, 1).await;
    read_all(&member).await; // caches and the allocator have what they keep
    let moved = moved(&member, 1_500 * 60_000).await;
    assert!(moved < 64 << 10, "{moved} KiB for 86 MiB");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; run it with --release"]
async fn reading_a_million_keys_moves_little_memory() {
    let member = Member::start().await;
    fill(&member, 1_000_000, 256, 100).await;
    let moved = moved(&member, 256_000_000).await;
    println!("{moved} KiB for a million keys of 256 bytes");
    assert!(moved < 64 << 10, "{moved} KiB for 256 MB");
    member.stop().await;
}
