//! The JSON gateway over HTTP/1.1.

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::harness::{Member, http, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_and_ranges() {
    let member = Member::start().await;
    let put = member.post("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#).await;
    let status = member.store.status();
    assert_eq!(put.status, 200);
    assert_eq!(
        put.json(),
        json!({"header": {
            "cluster_id": status.cluster_id.to_string(),
            "member_id": status.member_id.to_string(),
            "revision": "2",
            "raft_term": status.term.to_string(),
        }})
    );
    for path in ["/v3/kv/range", "/v3beta/kv/range"] {
        let form = "Content-Type: application/x-www-form-urlencoded\r\n";
        let range = http(member.address, "POST", path, form, r#"{"key":"Zm9v"}"#).await;
        assert_eq!(range.json()["kvs"][0]["value"], "YmFy");
        assert_eq!(range.json()["count"], "1");
    }
    let txn = r#"{"compare":[{"target":"VALUE","key":"Zm9v","value":"YmFy"}],
                  "success":[{"request_range":{"key":"Zm9v"}}]}"#;
    let txn = member.post("/v3/kv/txn", txn).await.json();
    assert_eq!((&txn["succeeded"], &txn["responses"][0]["response_range"]["count"]), (&json!(true), &json!("1")));
    let deleted = member.post("/v3/kv/deleterange", r#"{"key":"Zm9v"}"#).await;
    assert_eq!(deleted.json()["deleted"], "1");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_services() {
    let member = Member::start().await;
    let grant = member.post("/v3/lease/grant", r#"{"ID":"12","TTL":"60"}"#).await.json();
    assert_eq!((&grant["ID"], &grant["TTL"]), (&json!("12"), &json!("60")));
    let left = member.post("/v3/kv/lease/timetolive", r#"{"ID":12}"#).await.json();
    assert_eq!(left["grantedTTL"], "60");
    let renewed = member.post("/v3/lease/keepalive", r#"{"ID":"12"}"#).await;
    assert!(renewed.body.contains(r#""ID":"12","TTL":"60"}}"#), "{}", renewed.body);
    let status = member.post("/v3/maintenance/status", "").await.json();
    assert_eq!(status["version"], "3.7.1");
    assert_eq!(status["downgradeInfo"], json!({}));
    let members = member.post("/v3/cluster/member/list", "{}").await.json();
    assert_eq!(members["members"][0]["clientURLs"][0], format!("http://{}", member.address));
    assert_eq!(member.post("/v3/auth/status", "{}").await.json()["authRevision"], "1");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals() {
    let member = Member::start().await;
    let table = [
        ("/v3/kv/range", "{}", 400, 3, "etcdserver: key is not provided"),
        (
            "/v3/kv/range",
            r#"{"key":"YQ==","revision":"9"}"#,
            400,
            11,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        ("/v3/lease/revoke", r#"{"ID":"5"}"#, 404, 5, "etcdserver: requested lease not found"),
        ("/v3/auth/enable", "{}", 400, 9, "etcdserver: root user does not exist"),
        ("/v3/no/such", "{}", 404, 5, "Not Found"),
    ];
    for (path, body, status, code, text) in table {
        let answer = member.post(path, body).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.json(), json!({"code": code, "message": text, "error": text}));
    }
    let malformed = member.post("/v3/kv/put", "{\"key\":").await;
    assert_eq!((malformed.status, &malformed.json()["code"]), (400, &json!(3)));
    let read = member.get("/v3/kv/range").await;
    assert_eq!((read.status, &read.json()["message"]), (501, &json!("Method Not Allowed")));
    let large = format!("{{\"key\":\"{}\"}}", "A".repeat(3 * 1024 * 1024));
    assert_eq!(member.post("/v3/kv/range", &large).await.status, 429);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_of_every_origin_are_welcome() {
    let member = Member::start().await;
    let asked = http(member.address, "OPTIONS", "/v3/kv/range", "Origin: http://elsewhere\r\n", "").await;
    assert_eq!((asked.status, asked.body.as_str()), (200, ""));
    for head in [asked.head, member.post("/v3/kv/range", r#"{"key":"YQ=="}"#).await.head] {
        assert!(head.to_ascii_lowercase().contains("\r\naccess-control-allow-origin: *"), "{head}");
    }
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_line_by_line() {
    let member = Member::start().await;
    let mut socket = TcpStream::connect(member.address).await.unwrap();
    let body = r#"{"create_request":{"key":"YQ=="}}"#;
    let head = format!("POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(socket).lines();
    let mut next = async || loop {
        let line = soon(lines.next_line()).await.unwrap().unwrap();
        if line.starts_with("{\"") {
            return serde_json::from_str::<serde_json::Value>(&line).unwrap();
        }
    };
    assert_eq!(next().await["result"]["created"], true);
    member.put("a", "1").await;
    let event = next().await;
    assert_eq!(event["result"]["events"][0]["kv"]["key"], "YQ==");
    assert_eq!(event["result"]["header"]["revision"], "2");
    member.stop().await;
    assert_eq!(next().await["error"]["message"], "etcdserver: server stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_comes_in_lines() {
    let member = Member::start().await;
    member.put("a", "1").await;
    let answer = member.post("/v3/maintenance/snapshot", "{}").await;
    assert_eq!(answer.status, 200);
    let objects = answer.body.lines().filter(|line| line.starts_with('{')); // between lengths of HTTP's chunks
    let lines: Vec<serde_json::Value> = objects.map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, .., last] = lines.as_slice() else { panic!("{}", answer.body) };
    assert!(first["result"]["blob"].as_str().unwrap().starts_with("a29udGlraS1zbmFwc2hvd"), "{first}");
    assert_eq!(last["result"]["blob"].as_str().unwrap().len(), 44, "the digest");
    member.stop().await;
}
