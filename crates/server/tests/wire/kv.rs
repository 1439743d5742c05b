//! Range, Put, DeleteRange, Compact, RangeStream.

use kontiki_api::rpc::range_request::{SortOrder, SortTarget};
use kontiki_api::rpc::{self, PutRequest, RangeRequest};
use prost::Message;
use tonic::Code;

use crate::harness::{Member, REQUEST_BYTES_MAX, delete, get, keys, put, range, refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_and_revisions() {
    let member = Member::start().await;
    let fresh = member.range(get("a")).await;
    let header = fresh.header.unwrap();
    assert_eq!((header.revision, fresh.count, fresh.kvs.len()), (1, 0, 0), "a fresh store is at revision 1");
    let status = member.store.status();
    assert_eq!((header.cluster_id, header.member_id), (status.cluster_id, status.member_id));
    assert_ne!(header.raft_term, 0);
    assert_eq!(member.put("a", "1").await, 2);
    assert_eq!(member.put("a", "1").await, 3, "a put bumps even where it changes nothing");
    let none = member.kv().delete_range(delete("nothing", "")).await.unwrap().into_inner();
    assert_eq!((none.deleted, none.header.unwrap().revision), (0, 3), "deleting nothing does not bump");
    let kv = member.range(get("a")).await.kvs.remove(0);
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
    let old = member.range(RangeRequest { revision: 2, ..get("a") }).await;
    assert_eq!((old.kvs[0].version, old.header.unwrap().revision), (1, 3), "the header shows the store's revision");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges() {
    let member = Member::start().await;
    for key in ["a", "b", "b1", "b2", "c"] {
        member.put(key, &format!("value of {key}")).await;
    }
    let found = |response: rpc::RangeResponse| (keys(&response.kvs).join(" "), response.more, response.count);
    assert_eq!(found(member.range(get("b")).await), ("b".into(), false, 1));
    assert_eq!(found(member.range(range("b", "c")).await), ("b b1 b2".into(), false, 3));
    assert_eq!(found(member.range(range("b1", "\0")).await), ("b1 b2 c".into(), false, 3));
    assert_eq!(found(member.range(range("\0", "\0")).await), ("a b b1 b2 c".into(), false, 5));
    assert_eq!(found(member.range(range("c", "a")).await), (String::new(), false, 0));
    let limited = RangeRequest { limit: 2, ..range("\0", "\0") };
    assert_eq!(found(member.range(limited.clone()).await), ("a b".into(), true, 5), "count ignores the limit");
    let descending =
        RangeRequest { sort_order: SortOrder::Descend as i32, sort_target: SortTarget::Mod as i32, ..limited };
    assert_eq!(found(member.range(descending).await), ("c b2".into(), true, 5));
    let counted = RangeRequest { count_only: true, ..range("\0", "\0") };
    assert_eq!(found(member.range(counted).await), (String::new(), false, 5));
    let bare = member.range(RangeRequest { keys_only: true, ..get("b") }).await.kvs.remove(0);
    assert_eq!((bare.key.as_ref(), bare.value.as_ref(), bare.mod_revision), (b"b".as_slice(), b"".as_slice(), 3));
    let filtered = RangeRequest { min_mod_revision: 4, max_create_revision: 5, ..range("\0", "\0") };
    let filtered = member.range(filtered).await;
    assert_eq!((keys(&filtered.kvs), filtered.count), (vec!["b1".into(), "b2".into()], 5));
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_refused() {
    let member = Member::start().await;
    member.put("a", "1").await;
    let mut kv = member.kv();
    refused(kv.range(get("")).await, Code::InvalidArgument, "etcdserver: key is not provided");
    let strange = RangeRequest { sort_order: 7, ..get("a") };
    refused(kv.range(strange).await, Code::InvalidArgument, "etcdserver: invalid sort option");
    let future = RangeRequest { revision: 3, ..get("a") };
    refused(kv.range(future).await, Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision");
    for serializable in [false, true] {
        let response = member.range(RangeRequest { serializable, ..get("a") }).await;
        assert_eq!(response.kvs[0].value.as_ref(), b"1");
    }
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts() {
    let member = Member::start().await;
    let mut kv = member.kv();
    refused(kv.put(put("", "1")).await, Code::InvalidArgument, "etcdserver: key is not provided");
    let kept = PutRequest { ignore_value: true, ..put("a", "") };
    refused(kv.put(kept.clone()).await, Code::InvalidArgument, "etcdserver: key not found");
    let both = PutRequest { ignore_value: true, ..put("a", "1") };
    refused(kv.put(both).await, Code::InvalidArgument, "etcdserver: value is provided");
    let both = PutRequest { ignore_lease: true, lease: 5, ..put("a", "1") };
    refused(kv.put(both).await, Code::InvalidArgument, "etcdserver: lease is provided");
    let unknown = PutRequest { lease: 5, ..put("a", "1") };
    refused(kv.put(unknown).await, Code::NotFound, "etcdserver: requested lease not found");
    assert_eq!(member.range(get("a")).await.header.unwrap().revision, 1, "nothing was written");
    let first = kv.put(PutRequest { prev_kv: true, ..put("a", "1") }).await.unwrap().into_inner();
    assert_eq!(first.prev_kv, None);
    let second = kv.put(PutRequest { prev_kv: true, ..put("a", "2") }).await.unwrap().into_inner();
    assert_eq!(second.prev_kv.unwrap().value.as_ref(), b"1");
    kv.put(kept).await.unwrap();
    assert_eq!(member.range(get("a")).await.kvs[0].value.as_ref(), b"2");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions() {
    let member = Member::start().await;
    for key in ["a", "b", "c"] {
        member.put(key, key).await;
    }
    let mut kv = member.kv();
    refused(kv.delete_range(delete("", "")).await, Code::InvalidArgument, "etcdserver: key is not provided");
    let request = rpc::DeleteRangeRequest { prev_kv: true, ..delete("a", "c") };
    let deleted = kv.delete_range(request).await.unwrap().into_inner();
    assert_eq!((deleted.deleted, keys(&deleted.prev_kvs)), (2, vec!["a".into(), "b".into()]));
    assert_eq!(deleted.header.unwrap().revision, 5, "one deletion, one revision");
    assert_eq!(keys(&member.range(range("\0", "\0")).await.kvs), ["c"]);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction() {
    let member = Member::start().await;
    for value in ["1", "2", "3"] {
        member.put("a", value).await;
    }
    let mut kv = member.kv();
    let compact = |revision| rpc::CompactionRequest { revision, physical: true };
    refused(kv.compact(compact(5)).await, Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision");
    assert_eq!(kv.compact(compact(3)).await.unwrap().into_inner().header.unwrap().revision, 4);
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    refused(kv.compact(compact(3)).await, Code::OutOfRange, compacted);
    refused(kv.range(RangeRequest { revision: 2, ..get("a") }).await, Code::OutOfRange, compacted);
    let at = member.range(RangeRequest { revision: 3, ..get("a") }).await;
    assert_eq!(at.kvs[0].value.as_ref(), b"2", "the compacted revision itself can be read");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_requests() {
    let member = Member::start().await;
    let mut kv = member.kv();
    let large = "x".repeat(REQUEST_BYTES_MAX);
    refused(kv.put(put("a", &large)).await, Code::InvalidArgument, "etcdserver: request is too large");
    member.put("a", &large[..REQUEST_BYTES_MAX - 200]).await;
    let limit = REQUEST_BYTES_MAX + 512 * 1024;
    let huge = put("a", &"x".repeat(limit));
    let text = format!("grpc: received message larger than max ({} vs. {limit})", huge.encoded_len());
    refused(kv.put(huge).await, Code::ResourceExhausted, &text);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn range_streams() {
    let member = Member::start().await;
    for number in 0..60 {
        member.put(&format!("k{number:02}"), &"v".repeat(2000)).await;
    }
    let mut kv = member.kv();
    let mut pieces = kv.range_stream(RangeRequest { limit: 50, ..range("k", "l") }).await.unwrap().into_inner();
    let mut joined = rpc::RangeResponse::default();
    let mut sizes = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        let piece = piece.range_response.unwrap();
        assert_eq!(joined.header, None, "only the last piece has a header");
        sizes.push(piece.kvs.len());
        joined.merge(piece.encode_to_vec().as_slice()).unwrap();
    }
    assert_eq!(sizes, [10, 20, 20]);
    assert_eq!(joined, member.range(RangeRequest { limit: 50, ..range("k", "l") }).await);
    let sorted = RangeRequest { sort_order: SortOrder::Descend as i32, ..range("k", "l") };
    refused(
        kv.range_stream(sorted).await.unwrap().into_inner().message().await,
        Code::Unimplemented,
        "RangeStream does not support custom sort orders",
    );
    let filtered = RangeRequest { min_mod_revision: 3, ..range("k", "l") };
    refused(
        kv.range_stream(filtered).await.unwrap().into_inner().message().await,
        Code::Unimplemented,
        "RangeStream does not support revision filters",
    );
    member.stop().await;
}
