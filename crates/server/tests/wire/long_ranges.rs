//! Ranges whose answers are sent as they are read: the same as short ones, whoever reads how slowly.

use std::time::Duration;

use kontiki_api::rpc::{CompactionRequest, RangeRequest, RangeResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::harness::{Member, get, put, range, refused, soon};

const KEYS: usize = 40;

/// A store whose keys together are far above what is answered at once.
async fn filled() -> Member {
    let member = Member::start().await;
    for number in 0..KEYS {
        let value = format!("{number:02}").repeat(10_000 + number * 100);
        member.kv().put(put(&format!("k{number:03}"), &value)).await.unwrap();
    }
    member
}

/// All pieces of a stream, joined.
async fn streamed(member: &Member, request: RangeRequest) -> RangeResponse {
    let mut chunks = member.kv().range_stream(request).await.unwrap().into_inner();
    let mut whole = RangeResponse::default();
    while let Some(chunk) = soon(chunks.message()).await.unwrap() {
        assert!(whole.header.is_none(), "the chunk with the header is the last one");
        let chunk = chunk.range_response.unwrap();
        whole.kvs.extend(chunk.kvs);
        whole = RangeResponse { kvs: whole.kvs, ..chunk };
    }
    whole
}

#[tokio::test]
async fn a_long_answer_is_what_its_keys_are_one_by_one() {
    let member = filled().await;
    let mut all = Vec::new();
    for number in 0..KEYS {
        all.extend(member.range(get(&format!("k{number:03}"))).await.kvs);
    }
    let whole = member.range(range("k", "l")).await;
    assert_eq!((whole.count, whole.more), (40, false));
    assert!(whole.kvs == all);
    let old = member.put("k000", "new").await - 1;
    for request in [
        RangeRequest { revision: old, ..range("k", "l") },
        RangeRequest { limit: 30, revision: old, ..range("k", "l") },
        RangeRequest { min_mod_revision: 5, limit: 30, revision: old, ..range("k", "l") },
        RangeRequest { keys_only: true, revision: old, ..range("k", "l") },
        RangeRequest { limit: 200, serializable: true, revision: old, ..range("k005", "\0") },
    ] {
        let answer = member.range(request.clone()).await;
        let mut expected: Vec<_> = all.iter().filter(|kv| kv.key >= request.key).cloned().collect();
        expected.retain(|kv| kv.mod_revision >= request.min_mod_revision);
        let more = request.limit > 0 && expected.len() > request.limit as usize;
        expected.truncate(if more { request.limit as usize } else { KEYS });
        if request.keys_only {
            expected.iter_mut().for_each(|kv| kv.value.clear());
        }
        assert!(answer.kvs == expected, "{request:?}");
        assert_eq!(answer.more, more);
        assert_eq!(answer.count, all.iter().filter(|kv| kv.key >= request.key).count() as i64);
        assert_eq!(answer.header.unwrap().revision, old + 1);
        if request.min_mod_revision == 0 {
            assert!(streamed(&member, request).await == answer);
        }
    }
    member.stop().await;
}

#[tokio::test]
async fn json_of_a_long_answer_is_whole() {
    let member = filled().await;
    let answer = member.post("/v3/kv/range", r#"{"key":"aw==","range_end":"bA=="}"#).await;
    let json: serde_json::Value = serde_json::from_str(&unchunked(&answer.body)).unwrap();
    assert_eq!(json["kvs"].as_array().unwrap().len(), KEYS);
    assert_eq!((json["count"].as_str(), json.get("more")), (Some("40"), None));
    assert_eq!(json["kvs"][39]["key"], "azAzOQ==");
    assert!(json["header"]["revision"].is_string());
    member.stop().await;
}

/// The text of a body that came in chunks.
fn unchunked(body: &str) -> String {
    let (mut text, mut rest) = (String::new(), body);
    while let Some((length, behind)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        text.push_str(&behind[..length]);
        rest = &behind[length + 2..];
        if length == 0 {
            break;
        }
    }
    text
}

#[tokio::test]
async fn many_at_a_time_wait_and_none_fails() {
    let member = filled().await;
    let mut reads = tokio::task::JoinSet::new();
    for number in 0..150 {
        let mut kv = member.kv();
        reads.spawn(async move {
            if number % 3 == 0 {
                let mut chunks = kv.range_stream(range("k", "l")).await.unwrap().into_inner();
                let mut keys = 0;
                while let Some(chunk) = chunks.message().await.unwrap() {
                    keys += chunk.range_response.unwrap().kvs.len();
                }
                keys
            } else {
                kv.range(range("k", "l")).await.unwrap().into_inner().kvs.len()
            }
        });
    }
    while let Some(keys) = tokio::time::timeout(Duration::from_secs(60), reads.join_next()).await.unwrap() {
        assert_eq!(keys.unwrap(), KEYS);
    }
    member.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_holds_up_nobody() {
    let member = filled().await;
    let mut idle = Vec::new();
    for _ in 0..80 {
        // The gateway, because a bare socket can be left unread.
        let mut socket = TcpStream::connect(member.address).await.unwrap();
        let body = r#"{"key":"aw==","range_end":"bA=="}"#;
        let head = format!("POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        socket.write_all(head.as_bytes()).await.unwrap();
        idle.push(socket);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(member.range(range("k", "l")).await.kvs.len(), KEYS);
    let mut first = [0; 15];
    soon(idle[0].read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    drop(idle);
    member.stop().await;
}

#[tokio::test]
async fn streams_begin_at_revisions_that_can_be_read() {
    let member = filled().await;
    let revision = member.put("z", "last").await;
    member.kv().compact(CompactionRequest { revision, physical: false }).await.unwrap();
    let mut kv = member.kv();
    let behind = RangeRequest { revision: revision - 1, ..range("k", "l") };
    let mut stream = kv.range_stream(behind).await.unwrap().into_inner();
    let text = "etcdserver: mvcc: required revision has been compacted";
    refused(stream.message().await, Code::OutOfRange, text);
    let ahead = RangeRequest { revision: revision + 1, ..range("k", "l") };
    let mut stream = kv.range_stream(ahead).await.unwrap().into_inner();
    let text = "etcdserver: mvcc: required revision is a future revision";
    refused(stream.message().await, Code::OutOfRange, text);
    let counted = RangeRequest { count_only: true, ..range("k", "l") };
    let answer = streamed(&member, counted.clone()).await;
    assert_eq!((answer.kvs.len(), answer.count), (0, 40));
    assert!(answer == member.range(counted).await);
    member.stop().await;
}
