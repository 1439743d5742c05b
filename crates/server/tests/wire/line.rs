//! Locks and elections.

use std::time::Duration;

use kontiki_api::election::election_client::ElectionClient;
use kontiki_api::election::{CampaignRequest, LeaderRequest, ProclaimRequest, ResignRequest};
use kontiki_api::lock::lock_client::LockClient;
use kontiki_api::lock::{LockRequest, UnlockRequest};
use kontiki_api::rpc::{LeaseGrantRequest, LeaseRevokeRequest};
use tonic::Code;

use crate::harness::{Member, range, refused, soon};

async fn grant(member: &Member, id: i64) {
    member.lease().lease_grant(LeaseGrantRequest { id, ttl: 60 }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_go_to_one_after_the_other() {
    let member = Member::start().await;
    let lock = |lease| {
        let mut client = LockClient::new(member.channel());
        tokio::spawn(async move { client.lock(LockRequest { name: "door".into(), lease }).await })
    };
    for lease in [0xa1, 0xb2, 0xc3] {
        grant(&member, lease).await;
    }
    let first = soon(lock(0xa1)).await.unwrap().unwrap().into_inner();
    assert_eq!(first.key, "door/a1");
    assert_eq!(soon(lock(0xa1)).await.unwrap().unwrap().into_inner().key, first.key, "who holds it, gets it again");
    let second = lock(0xb2);
    let impatient = lock(0xc3);
    let waiting = async |count| {
        soon(async {
            while member.range(range("door/", "door0")).await.count != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    };
    waiting(3).await;
    assert!(!second.is_finished());
    impatient.abort();
    waiting(2).await; // who goes, leaves no key behind
    LockClient::new(member.channel()).unlock(UnlockRequest { key: first.key }).await.unwrap();
    assert_eq!(soon(second).await.unwrap().unwrap().into_inner().key, "door/b2");
    let third = lock(0);
    waiting(2).await;
    member.lease().lease_revoke(LeaseRevokeRequest { id: 0xb2 }).await.unwrap();
    assert!(soon(third).await.unwrap().unwrap().into_inner().key.starts_with(b"door/"), "the server grants a lease");
    let unknown = soon(lock(0xdead)).await.unwrap();
    refused(unknown, Code::NotFound, "etcdserver: requested lease not found");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn elections() {
    let member = Member::start().await;
    grant(&member, 1).await;
    grant(&member, 2).await;
    let mut client = ElectionClient::new(member.channel());
    let question = LeaderRequest { name: "crown".into() };
    refused(client.leader(question.clone()).await, Code::Unknown, "election: no leader");
    let mut seen = client.observe(question.clone()).await.unwrap().into_inner();
    let campaign = |lease, value: &'static str| {
        let mut client = ElectionClient::new(member.channel());
        let request = CampaignRequest { name: "crown".into(), lease, value: value.into() };
        tokio::spawn(async move { client.campaign(request).await })
    };
    let leader = soon(campaign(1, "one")).await.unwrap().unwrap().into_inner().leader.unwrap();
    assert_eq!((leader.name.as_ref(), leader.key.as_ref(), leader.lease), (&b"crown"[..], &b"crown/1"[..], 1));
    let mut next = async || soon(seen.message()).await.unwrap().unwrap().kv.unwrap().value;
    assert_eq!(next().await, "one");
    let rival = campaign(2, "two");
    let proclaim = ProclaimRequest { leader: Some(leader.clone()), value: "uno".into() };
    client.proclaim(proclaim.clone()).await.unwrap();
    assert_eq!(next().await, "uno");
    assert_eq!(client.leader(question).await.unwrap().into_inner().kv.unwrap().value, "uno");
    client.resign(ResignRequest { leader: Some(leader) }).await.unwrap();
    assert_eq!(next().await, "two");
    assert_eq!(soon(rival).await.unwrap().unwrap().into_inner().leader.unwrap().key, "crown/2");
    refused(client.proclaim(proclaim).await, Code::Unknown, "election: not leader");
    refused(client.resign(ResignRequest { leader: None }).await, Code::Unknown, "\"leader\" field must be provided");
    member.stop().await;
}
