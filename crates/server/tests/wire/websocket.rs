//! WebSockets on the gateway's streams.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::harness::{Member, http, soon};

type Socket = WebSocketStream<TcpStream>;

async fn open(member: &Member, path: &str) -> Socket {
    let io = TcpStream::connect(member.address).await.unwrap();
    soon(client_async(format!("ws://{}{path}", member.address), io)).await.unwrap().0
}

async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

async fn hear(socket: &mut Socket) -> Value {
    let message = soon(socket.next()).await.expect("the socket ended").unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_both_ways() {
    let member = Member::start().await;
    let mut socket = open(&member, "/v3/watch").await;
    say(&mut socket, json!({"create_request": {"key": "YQ=="}})).await;
    assert_eq!(hear(&mut socket).await["result"]["created"], true);
    member.put("a", "1").await;
    assert_eq!(hear(&mut socket).await["result"]["events"][0]["kv"]["key"], "YQ==");
    say(&mut socket, json!({"cancel_request": {"watch_id": "0"}})).await;
    assert_eq!(hear(&mut socket).await["result"]["canceled"], true);
    socket.close(None).await.unwrap();
    soon(async {
        while member.get("/metrics").await.body.contains("etcd_debugging_mvcc_watch_stream_total 1") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_kept_alive_and_unary_calls_answered() {
    let member = Member::start().await;
    member.post("/v3/lease/grant", r#"{"ID":"7","TTL":"60"}"#).await;
    let mut socket = open(&member, "/v3/lease/keepalive").await;
    for _ in 0..2 {
        say(&mut socket, json!({"ID": "7"})).await;
        assert_eq!(hear(&mut socket).await["result"]["TTL"], "60");
    }
    let mut socket = open(&member, "/v3/kv/put").await;
    say(&mut socket, json!({"key": "Yg==", "value": "MQ=="})).await;
    assert!(hear(&mut socket).await["header"]["revision"].is_string());
    let mut socket = open(&member, "/v3beta/watch").await;
    say(&mut socket, json!([])).await;
    assert_eq!(hear(&mut socket).await["error"]["code"], 3);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_socket_ends_with_the_server() {
    let member = Member::start().await;
    let mut socket = open(&member, "/v3/watch").await;
    say(&mut socket, json!({"create_request": {"key": "YQ=="}})).await;
    hear(&mut socket).await;
    member.stop().await;
    assert_eq!(hear(&mut socket).await["error"]["message"], "etcdserver: server stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_handshake_is_refused() {
    let member = Member::start().await;
    let ask = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert_eq!(http(member.address, "GET", "/v3/watch", ask, "").await.status, 400);
    let old = format!("{ask}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n");
    assert_eq!(http(member.address, "GET", "/v3/watch", &old, "").await.status, 400);
    assert_eq!(http(member.address, "GET", "/v3/nothing", ask, "").await.status, 404);
    member.stop().await;
}
