//! Metadata, unknown calls, streams and limits of the transport.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;

use crate::harness::{Member, get, put, range, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_is_understood() {
    let member = Member::start().await;
    let mut request = Request::new(get("a"));
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    request.metadata_mut().insert("token", MetadataValue::from_static("means nothing here"));
    request.metadata_mut().insert("client-api-version", MetadataValue::from_static("3.6.1"));
    request.set_timeout(Duration::from_secs(5));
    member.kv().range(request).await.unwrap();
    let line = "etcd_server_client_requests_total{type=\"unary\",client_api_version=\"3.6.1\"} 1";
    assert!(member.get("/metrics").await.body.contains(line));
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_on_one_connection() {
    let member = Member::start().await;
    let mut calls = Vec::new();
    for number in 0..400 {
        let mut kv = member.kv();
        calls.push(tokio::spawn(async move {
            kv.put(put(&format!("k{number}"), "v")).await.unwrap();
            kv.range(range("k", "l")).await.unwrap().into_inner().count
        }));
    }
    let mut last = 0;
    for call in calls {
        last = last.max(call.await.unwrap());
    }
    assert_eq!(last, 400);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_flow() {
    let member = Member::start().await;
    for number in 0..200 {
        member.put(&format!("k{number}"), &"v".repeat(32 * 1024)).await;
    }
    let mut kv = member.kv().max_decoding_message_size(usize::MAX);
    let all = soon(kv.range(range("k", "l"))).await.unwrap().into_inner();
    assert_eq!(all.kvs.len(), 200);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_closed() {
    let member = Member::start_with(|options| options.limits.connections_max = 2).await;
    member.put("a", "1").await; // the first connection
    let second = TcpStream::connect(member.address).await.unwrap(); // connections are accepted in the order they came
    let mut third = TcpStream::connect(member.address).await.unwrap();
    let read = soon(third.read(&mut [0; 8])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    drop(second);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_clients_do_not_delay_the_end() {
    let member = Member::start_with(|options| options.shutdown_grace = Duration::from_secs(60)).await;
    let silent = TcpStream::connect(member.address).await.unwrap();
    let mut waiting = TcpStream::connect(member.address).await.unwrap();
    waiting.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    soon(waiting.read_u8()).await.unwrap(); // kept alive from here on
    soon(member.stop()).await;
    drop((silent, waiting));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_harms_nobody() {
    let member = Member::start().await;
    for garbage in
        [&b"\x16\x03\x01\x02\x00hello"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame at all......", b"GET"]
    {
        let mut socket = TcpStream::connect(member.address).await.unwrap();
        socket.write_all(garbage).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        drop(soon(socket.read_to_end(&mut answer)).await);
    }
    member.put("a", "1").await;
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_is_asked_and_stays() {
    let member = Member::start_with(|options| {
        options.keepalive_interval = Duration::from_millis(50);
        options.keepalive_timeout = Duration::from_millis(500);
    })
    .await;
    let endpoint = Endpoint::from_shared(format!("http://{}", member.address)).unwrap();
    let channel = endpoint.connect().await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    kontiki_api::rpc::kv_client::KvClient::new(channel).range(get("a")).await.unwrap();
    member.stop().await;
}
