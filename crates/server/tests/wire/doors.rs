//! What is served where: HTTP apart from gRPC, origins, and what is only there when asked for.

use std::net::TcpListener;

use crate::harness::{Member, http};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_may_have_a_port_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let member = Member::start_with(|options| options.http_listeners = vec![listener.into()]).await;
    member.put("a", "1").await; // gRPC stays where it was
    for path in ["/health", "/version", "/metrics", "/readyz"] {
        assert_eq!(http(address, "GET", path, "", "").await.status, 200, "{path}");
    }
    let range = http(address, "POST", "/v3/kv/range", "", r#"{"key":"YQ=="}"#).await;
    assert_eq!(range.json()["count"], "1");
    let mut socket = tokio::net::TcpStream::connect(member.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut socket, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let ended = crate::harness::soon(tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut answer)).await;
    assert!(ended.is_err() || answer.is_empty(), "{answer:?}");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_pages_of_named_origins_may_read() {
    let member = Member::start_with(|options| options.cors = vec!["http://mine".into()]).await;
    for (origin, named) in [("http://mine", true), ("http://other", false)] {
        let answer = http(member.address, "OPTIONS", "/v3/kv/range", &format!("Origin: {origin}\r\n"), "").await;
        assert_eq!(answer.status, 200);
        let head = answer.head.to_ascii_lowercase();
        assert_eq!(head.contains(&format!("access-control-allow-origin: {origin}")), named, "{head}");
        assert_eq!(head.contains("access-control-allow-methods"), named, "{head}");
    }
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debug_pages_are_there_only_when_asked_for() {
    let member = Member::start().await;
    assert_eq!(member.get("/debug/vars").await.status, 404);
    assert_eq!(member.get("/debug/pprof/").await.status, 404);
    member.stop().await;
    let member = Member::start_with(|options| options.debug = true).await;
    let vars = member.get("/debug/vars").await.json();
    assert_eq!(vars["raft.status"]["raftState"], "StateLeader");
    assert!(vars["file_descriptor_limit"].as_u64().unwrap() > 0);
    assert!(member.get("/debug/pprof/").await.body.contains("threads"));
    assert!(member.get("/debug/pprof/threads").await.body.lines().count() > 2);
    assert_eq!(member.get("/debug/pprof/profile").await.status, 501);
    assert_eq!(member.post("/debug/vars", "").await.status, 405);
    assert_eq!(http(member.metrics_address, "GET", "/debug/vars", "", "").await.status, 404);
    member.stop().await;
}
