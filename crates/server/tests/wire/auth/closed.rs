//! Nothing is open that need not be.

use super::*;
use crate::harness::{get, refused, soon};
use tonic::Code;

/// Every call that the gateway serves, with a request that would be answered while authentication is off.
const CALLS: [(&str, &str, Level); 46] = {
    use Level::{Everybody, Keys, Root, User};
    [
        ("/v3/kv/range", r#"{"key":"eg=="}"#, Keys),
        ("/v3/kv/put", r#"{"key":"eg=="}"#, Keys),
        ("/v3/kv/txn", r#"{"success":[{"request_put":{"key":"eg=="}}]}"#, Keys),
        ("/v3/kv/deleterange", r#"{"key":"eg=="}"#, Keys),
        ("/v3/kv/compaction", r#"{"revision":"1"}"#, Root),
        ("/v3/lease/grant", r#"{"ID":"77","TTL":"100"}"#, User),
        ("/v3/lease/keepalive", r#"{"ID":"7"}"#, Keys),
        ("/v3/lease/timetolive", r#"{"ID":"7","keys":true}"#, Keys),
        ("/v3/kv/lease/timetolive", r#"{"ID":"7"}"#, User),
        ("/v3/lease/leases", "{}", Keys),
        ("/v3/kv/lease/leases", "{}", Keys),
        ("/v3/lease/revoke", r#"{"ID":"7"}"#, Keys),
        ("/v3/kv/lease/revoke", r#"{"ID":"7"}"#, Keys),
        ("/v3/cluster/member/list", "{}", User),
        ("/v3/cluster/member/add", r#"{"peerURLs":["http://127.0.0.1:1"]}"#, Root),
        ("/v3/cluster/member/remove", r#"{"ID":"1"}"#, Root),
        ("/v3/cluster/member/update", r#"{"ID":"1","peerURLs":["http://127.0.0.1:1"]}"#, Root),
        ("/v3/cluster/member/promote", r#"{"ID":"1"}"#, Root),
        ("/v3/maintenance/status", "{}", User),
        ("/v3/maintenance/alarm", "{}", User),
        ("/v3/maintenance/alarm", r#"{"action":"ACTIVATE","alarm":"NOSPACE"}"#, Root),
        ("/v3/maintenance/alarm", r#"{"action":"DEACTIVATE","alarm":"NOSPACE"}"#, Root),
        ("/v3/maintenance/defragment", "{}", Root),
        ("/v3/maintenance/hash", "{}", Root),
        ("/v3/maintenance/hashkv", "{}", Root),
        ("/v3/maintenance/snapshot", "{}", Root),
        ("/v3/maintenance/transfer-leadership", r#"{"targetID":"1"}"#, Root),
        ("/v3/maintenance/downgrade", "{}", Root),
        ("/v3/auth/status", "{}", Everybody),
        ("/v3/auth/enable", "{}", Root),
        ("/v3/auth/user/add", r#"{"name":"eve","password":"x"}"#, Root),
        ("/v3/auth/user/get", r#"{"name":"root"}"#, Root),
        ("/v3/auth/user/list", "{}", Root),
        ("/v3/auth/user/delete", r#"{"name":"eve"}"#, Root),
        ("/v3/auth/user/changepw", r#"{"name":"root","password":"x"}"#, Root),
        ("/v3/auth/user/grant", r#"{"user":"alice","role":"root"}"#, Root),
        ("/v3/auth/user/revoke", r#"{"name":"alice","role":"root"}"#, Root),
        ("/v3/auth/role/add", r#"{"name":"evil"}"#, Root),
        ("/v3/auth/role/get", r#"{"role":"root"}"#, Root),
        ("/v3/auth/role/list", "{}", Root),
        ("/v3/auth/role/delete", r#"{"role":"evil"}"#, Root),
        ("/v3/auth/role/grant", r#"{"name":"some","perm":{"key":"AA==","range_end":"AA=="}}"#, Root),
        ("/v3/auth/role/revoke", r#"{"role":"some","key":"YQ=="}"#, Root),
        ("/v3/lock/lock", r#"{"name":"eg==","lease":"7"}"#, Keys),
        ("/v3/election/leader", r#"{"name":"eg=="}"#, Keys),
        ("/v3/auth/disable", "{}", Root),
    ]
};

/// Who may make a call with exactly this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Everybody,
    User,
    /// Not alice: the keys are others'.
    Keys,
    Root,
}

/// CVE-2026-33413: calls that nobody had thought of asking for an identity.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_2026_33413_every_call_asks_who_calls() {
    let member = Member::start().await;
    member.lease().lease_grant(rpc::LeaseGrantRequest { id: 7, ttl: 600 }).await.unwrap();
    let theirs = rpc::PutRequest { key: "theirs".into(), lease: 7, ..rpc::PutRequest::default() };
    member.kv().put(theirs).await.unwrap();
    let (_, alice) = closed(&member).await;
    for (path, body, level) in CALLS {
        let nobody = member.post(path, body).await;
        if level == Level::Everybody {
            assert_eq!(nobody.status, 200, "{path}");
            continue;
        }
        assert!(nobody.body.contains("etcdserver: user name is empty"), "{path} {body}: {nobody:?}");
        let stranger = member.post_as("abcdefghijklmnop.5", path, body).await;
        assert!(stranger.body.contains("etcdserver: invalid auth token"), "{path} {body}: {stranger:?}");
        let user = member.post_as(&alice, path, body).await;
        let denied = user.body.contains("etcdserver: permission denied");
        assert_eq!(denied, level != Level::User, "{path} {body}: {user:?}");
    }
    let (users, _) = (member.store.reader().user_names(), ());
    assert_eq!(users.iter().map(|name| &**name).collect::<Vec<_>>(), ["alice", "root"], "nothing came of it");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_nobody_is_a_short_list() {
    let member = Member::start().await;
    closed(&member).await;
    for path in ["/version", "/health", "/metrics", "/livez", "/readyz"] {
        assert_eq!(member.get(path).await.status, 200, "{path}");
    }
    let status = member.auth().auth_status(rpc::AuthStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.enabled, status.auth_revision), (true, 10));
    // Streams of gRPC, too.
    let mut requests = member.maintenance().snapshot(rpc::SnapshotRequest {}).await.unwrap().into_inner();
    refused(soon(requests.message()).await, Code::InvalidArgument, "etcdserver: user name is empty");
    let mut pieces = member.kv().range_stream(get("a")).await.unwrap().into_inner();
    refused(soon(pieces.message()).await, Code::InvalidArgument, "etcdserver: user name is empty");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_come_in_each_of_etcds_ways() {
    let member = Member::start().await;
    let (_, alice) = closed(&member).await;
    let path = "/v3/kv/range";
    let body = r#"{"key":"YQ=="}"#;
    for header in
        ["Authorization: ", "Authorization: Bearer ", "Grpc-Metadata-Token: ", "Grpc-Metadata-Authorization: "]
    {
        let answer = http(member.address, "POST", path, &format!("{header}{alice}\r\n"), body).await;
        assert_eq!(answer.status, 200, "{header}: {answer:?}");
    }
    refused(member.kv().range(with("", get("a"))).await, Code::Unauthenticated, "etcdserver: invalid auth token");
    refused(member.kv().range(get("a")).await, Code::InvalidArgument, "etcdserver: user name is empty");
    let (letters, index) = alice.split_once('.').unwrap();
    for forged in [letters.to_owned(), format!("{letters}.1"), format!("{letters}x.{index}"), "x".into(), ".".into()] {
        refused(
            member.kv().range(with(&forged, get("a"))).await,
            Code::Unauthenticated,
            "etcdserver: invalid auth token",
        );
    }
    member.kv().range(with(&alice, get("a"))).await.unwrap();
    member.stop().await;
}
