//! Permissions of keys, on the wire.

use kontiki_api::lock::LockRequest;
use kontiki_api::lock::lock_client::LockClient;
use kontiki_api::rpc::WatchCreateRequest;
use kontiki_api::rpc::request_op::Request as Op;
use kontiki_api::rpc::watch_request::RequestUnion;
use tonic::Code;

use super::*;
use crate::harness::{delete, get, put, range, refused};
use crate::watch::Watcher;

const DENIED: &str = "etcdserver: permission denied";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_does_what_its_roles_permit_and_nothing_else() {
    let member = Member::start().await;
    let (root, alice) = closed(&member).await;
    let mut kv = member.kv();
    kv.put(with(&alice, put("a", "1"))).await.unwrap();
    refused(kv.put(with(&alice, put("c", "1"))).await, Code::PermissionDenied, DENIED);
    kv.range(with(&alice, range("a", "c"))).await.unwrap();
    refused(kv.range(with(&alice, range("a", "d"))).await, Code::PermissionDenied, DENIED);
    refused(kv.range(with(&alice, range("a", "\0"))).await, Code::PermissionDenied, DENIED);
    kv.delete_range(with(&alice, delete("a", ""))).await.unwrap();
    refused(kv.delete_range(with(&alice, delete("a", "c"))).await, Code::PermissionDenied, DENIED);
    // aa may be read, not written; a write-only key does not show what was there.
    let before = rpc::PutRequest { prev_kv: true, ..put("a", "2") };
    kv.put(with(&alice, before)).await.unwrap();
    refused(kv.put(with(&alice, put("aa", "1"))).await, Code::PermissionDenied, DENIED);
    kv.put(with(&root, put("anything", "1"))).await.unwrap();
    // What is malformed is told as it is to everyone.
    refused(kv.range(with(&alice, get(""))).await, Code::InvalidArgument, "etcdserver: key is not provided");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_branches_of_a_transaction_are_decided() {
    let member = Member::start().await;
    let (_, alice) = closed(&member).await;
    let mut kv = member.kv();
    let op = |op| rpc::RequestOp { request: Some(op) };
    let theirs = || vec![op(Op::RequestPut(put("x", "1")))];
    let failing = rpc::TxnRequest { failure: theirs(), ..rpc::TxnRequest::default() };
    refused(kv.txn(with(&alice, failing.clone())).await, Code::PermissionDenied, DENIED);
    // CVE-2026-33343
    let nested = rpc::TxnRequest { success: vec![op(Op::RequestTxn(failing))], ..rpc::TxnRequest::default() };
    refused(kv.txn(with(&alice, nested)).await, Code::PermissionDenied, DENIED);
    let compare = vec![rpc::Compare { key: "x".into(), ..rpc::Compare::default() }];
    refused(
        kv.txn(with(&alice, rpc::TxnRequest { compare, ..rpc::TxnRequest::default() })).await,
        Code::PermissionDenied,
        DENIED,
    );
    let own = rpc::TxnRequest { success: vec![op(Op::RequestRange(get("a")))], ..rpc::TxnRequest::default() };
    kv.txn(with(&alice, own)).await.unwrap();
    member.stop().await;
}

/// CVE-2023-32082: who may not read the keys of a lease is not told their names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2023_32082_leases_do_not_show_others_keys() {
    let member = Member::start().await;
    member.lease().lease_grant(rpc::LeaseGrantRequest { id: 7, ttl: 600 }).await.unwrap();
    member.kv().put(rpc::PutRequest { lease: 7, ..put("theirs", "1") }).await.unwrap();
    let (_, alice) = closed(&member).await;
    let (mut lease, mut kv) = (member.lease(), member.kv());
    let about = |id, keys| rpc::LeaseTimeToLiveRequest { id, keys };
    refused(lease.lease_time_to_live(with(&alice, about(7, true))).await, Code::PermissionDenied, DENIED);
    let without = lease.lease_time_to_live(with(&alice, about(7, false))).await.unwrap().into_inner();
    assert_eq!((without.granted_ttl, without.keys.len()), (600, 0));
    refused(lease.lease_leases(with(&alice, rpc::LeaseLeasesRequest {})).await, Code::PermissionDenied, DENIED);
    refused(lease.lease_revoke(with(&alice, rpc::LeaseRevokeRequest { id: 7 })).await, Code::PermissionDenied, DENIED);
    // CVE-2026-44283: nor may it be joined.
    let joining = rpc::PutRequest { lease: 7, ..put("a", "1") };
    refused(kv.put(with(&alice, joining)).await, Code::PermissionDenied, DENIED);
    lease.lease_grant(with(&alice, rpc::LeaseGrantRequest { id: 8, ttl: 600 })).await.unwrap();
    kv.put(with(&alice, rpc::PutRequest { lease: 8, ..put("a", "1") })).await.unwrap();
    let own = lease.lease_time_to_live(with(&alice, about(8, true))).await.unwrap().into_inner();
    assert_eq!(own.keys, ["a"]);
    lease.lease_revoke(with(&alice, rpc::LeaseRevokeRequest { id: 8 })).await.unwrap();
    member.stop().await;
}

async fn watch(watcher: &mut Watcher, key: &str, range_end: &str) -> rpc::WatchResponse {
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    let create = WatchCreateRequest { key, range_end, ..WatchCreateRequest::default() };
    watcher.send(RequestUnion::CreateRequest(create)).await;
    watcher.next().await
}

/// CVE-2026-73499: a watch from a key on sees all later keys, so one key is not enough for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2026_73499_a_watch_is_decided_by_the_range_that_it_watches() {
    let member = Member::start().await;
    let (_, alice) = closed(&member).await;
    let mut watcher = Watcher::open_with(&member, |metadata| {
        metadata.insert("token", alice.parse().unwrap());
    })
    .await;
    for (key, range_end) in [("a", "\0"), ("", "\0"), ("", ""), ("a", "d"), ("x", "")] {
        let refused = watch(&mut watcher, key, range_end).await;
        assert!(refused.created && refused.canceled && refused.watch_id == -1, "{key:?} {range_end:?}: {refused:?}");
        assert_eq!(refused.cancel_reason, "rpc error: code = PermissionDenied desc = etcdserver: permission denied");
    }
    let own = watch(&mut watcher, "a", "c").await;
    assert!(own.created && !own.canceled, "the stream is still good");
    member.kv().put(with(&alice, put("b", "1"))).await.unwrap();
    assert_eq!(watcher.next().await.events.len(), 1);
    let mut nobodys = Watcher::open_with(&member, |_| ()).await;
    let refused = watch(&mut nobodys, "a", "").await;
    assert_eq!(refused.cancel_reason, "rpc error: code = InvalidArgument desc = etcdserver: user name is empty");
    let mut strangers = Watcher::open_with(&member, |metadata| {
        metadata.insert("token", "abc.1".parse().unwrap());
    })
    .await;
    let refused = watch(&mut strangers, "a", "").await;
    assert_eq!(refused.cancel_reason, "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_needs_the_keys_of_its_line() {
    let member = Member::start().await;
    let (root, alice) = closed(&member).await;
    let mut lock = LockClient::new(member.channel());
    let named = |name: &'static str| LockRequest { name: name.into(), lease: 0 };
    refused(lock.lock(with(&alice, named("theirs"))).await, Code::PermissionDenied, DENIED);
    // Reading the line is not enough to stand in it.
    refused(lock.lock(with(&alice, named("a"))).await, Code::PermissionDenied, DENIED);
    member.auth().role_grant_permission(with(&root, permit("some", Type::Readwrite, "a/", "a0"))).await.unwrap();
    let held = lock.lock(with(&alice, named("a"))).await.unwrap().into_inner();
    assert!(held.key.starts_with(b"a/"));
    member.stop().await;
}

/// A member that is late to learn of a permission looks again before it refuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_counts_from_its_answer_on_and_a_token_on_every_member() {
    let members = Member::start_of_three(3).await;
    let (root, alice) = closed(&members[0]).await;
    for (number, member) in members.iter().enumerate().cycle().take(12) {
        let key = format!("fresh{number}{}", member.store.reader().revision());
        let permission = permit("some", Type::Readwrite, &key, "");
        members[0].auth().role_grant_permission(with(&root, permission)).await.unwrap();
        let mut tries = 0;
        // The user's revision may be old on the way through raft: clients come again with a token of their own accord.
        while let Err(status) = member.kv().put(with(&alice, put(&key, "1"))).await {
            assert_eq!(status.message(), "etcdserver: revision of auth store is old");
            tries += 1;
            assert!(tries < 5);
        }
        member.kv().range(with(&alice, get(&key))).await.unwrap();
    }
    for member in members {
        member.stop().await;
    }
}
