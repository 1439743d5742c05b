//! Leases.

use kontiki_api::rpc::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    PutRequest,
};
use tonic::Code;

use crate::harness::{Member, get, keys, put, range, refused, soon};

fn grant(id: i64, ttl: i64) -> LeaseGrantRequest {
    LeaseGrantRequest { id, ttl }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn granted_listed_revoked() {
    let member = Member::start().await;
    let mut lease = member.lease();
    let chosen = lease.lease_grant(grant(0, 0)).await.unwrap().into_inner();
    assert!(chosen.id > 0, "the server chooses");
    assert_eq!((chosen.ttl, chosen.error.as_str()), (1, ""), "raised to the minimum");
    let given = lease.lease_grant(grant(42, 600)).await.unwrap().into_inner();
    assert_eq!((given.id, given.ttl, given.header.unwrap().revision), (42, 600, 1));
    refused(lease.lease_grant(grant(42, 600)).await, Code::FailedPrecondition, "etcdserver: lease already exists");
    refused(lease.lease_grant(grant(43, 9_000_000_001)).await, Code::OutOfRange, "etcdserver: too large lease TTL");
    let listed = lease.lease_leases(LeaseLeasesRequest {}).await.unwrap().into_inner();
    assert!(listed.leases.iter().any(|lease| lease.id == 42));
    for key in ["b", "a"] {
        member.kv().put(PutRequest { lease: 42, ..put(key, "1") }).await.unwrap();
    }
    let question = LeaseTimeToLiveRequest { id: 42, keys: true };
    let asked = lease.lease_time_to_live(question).await.unwrap().into_inner();
    assert_eq!((asked.id, asked.granted_ttl), (42, 600));
    assert!((590..=600).contains(&asked.ttl));
    assert_eq!(asked.keys, ["a", "b"]);
    let revoked = lease.lease_revoke(LeaseRevokeRequest { id: 42 }).await.unwrap().into_inner();
    assert_eq!(revoked.header.unwrap().revision, 4, "both keys go in one revision");
    assert_eq!(keys(&member.range(range("\0", "\0")).await.kvs), Vec::<String>::new());
    refused(
        lease.lease_revoke(LeaseRevokeRequest { id: 42 }).await,
        Code::NotFound,
        "etcdserver: requested lease not found",
    );
    let gone = lease.lease_time_to_live(question).await.unwrap().into_inner();
    assert_eq!((gone.ttl, gone.granted_ttl, gone.keys.len()), (-1, 0, 0), "unknown is no error here");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_and_expired() {
    let member = Member::start().await;
    let mut lease = member.lease();
    lease.lease_grant(grant(7, 2)).await.unwrap();
    member.kv().put(PutRequest { lease: 7, ..put("a", "1") }).await.unwrap();
    let requests = [7, 8].map(|id| LeaseKeepAliveRequest { id });
    let mut answers = lease.lease_keep_alive(futures_util::stream::iter(requests)).await.unwrap().into_inner();
    let renewed = soon(answers.message()).await.unwrap().unwrap();
    assert_eq!((renewed.id, renewed.ttl, renewed.header.unwrap().revision), (7, 2, 2));
    let unknown = soon(answers.message()).await.unwrap().unwrap();
    assert_eq!((unknown.id, unknown.ttl), (8, 0), "unknown is zero, not an error");
    assert!(soon(answers.message()).await.unwrap().is_none(), "the stream ends with the requests");
    soon(async {
        while member.range(get("a")).await.count == 1 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_many_renewals_is_answered_in_order() {
    let member = Member::start().await;
    let mut lease = member.lease();
    for id in 1..=20 {
        lease.lease_grant(grant(id, 100 + id)).await.unwrap();
    }
    let requests: Vec<_> = (0..5_000).map(|number| LeaseKeepAliveRequest { id: number % 25 }).collect();
    let mut answers = lease.lease_keep_alive(futures_util::stream::iter(requests)).await.unwrap().into_inner();
    for number in 0..5_000 {
        let answer = soon(answers.message()).await.unwrap().unwrap();
        let id = number % 25;
        assert_eq!((answer.id, answer.ttl), (id, if (1..=20).contains(&id) { 100 + id } else { 0 }));
    }
    assert!(soon(answers.message()).await.unwrap().is_none());
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_comes_too_late_is_told_so_when_the_keys_are_gone() {
    let member = Member::start().await;
    let mut lease = member.lease();
    lease.lease_grant(grant(7, 2)).await.unwrap();
    member.kv().put(PutRequest { lease: 7, ..put("a", "1") }).await.unwrap();
    soon(async {
        loop {
            let question = LeaseTimeToLiveRequest { id: 7, keys: false };
            let left = lease.lease_time_to_live(question).await.unwrap().into_inner();
            if left.ttl == -1 {
                break;
            }
        }
    })
    .await;
    let request = futures_util::stream::iter([LeaseKeepAliveRequest { id: 7 }]);
    let mut answers = lease.lease_keep_alive(request).await.unwrap().into_inner();
    assert_eq!(soon(answers.message()).await.unwrap().unwrap().ttl, 0);
    assert_eq!(member.range(get("a")).await.count, 0, "whoever is told that a lease is over finds no key of it");
    member.stop().await;
}
