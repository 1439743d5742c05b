//! Three members: requests to followers, and what happens without a leader.

use kontiki_api::rpc::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, MoveLeaderRequest};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use crate::harness::{Member, get, put, refused, soon};
use crate::watch::{Watcher, on};

/// Index of the leader, once all agree.
async fn leader(members: &[Member]) -> usize {
    for member in members {
        soon(member.store.leadership().wait_for(|now| now.leader.is_some())).await.unwrap();
    }
    let id = members[0].store.status().leader;
    members.iter().position(|member| Some(member.store.status().member_id) == id).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_answer_like_the_leader() {
    let members = Member::start_of_three(3).await;
    let leader = leader(&members).await;
    let follower = &members[(leader + 1) % 3];
    let mut watcher = Watcher::open_with(&members[(leader + 2) % 3], |_| ()).await;
    watcher.created(on("a", "")).await;
    assert_eq!(follower.put("a", "1").await, 2);
    for member in &members {
        assert_eq!(member.range(get("a")).await.kvs[0].value.as_ref(), b"1", "reads are linearizable everywhere");
    }
    assert_eq!(soon(watcher.responses.message()).await.unwrap().unwrap().events.len(), 1);
    let mut lease = follower.lease();
    lease.lease_grant(LeaseGrantRequest { id: 9, ttl: 60 }).await.unwrap();
    let requests = futures_util::stream::iter([LeaseKeepAliveRequest { id: 9 }]);
    let mut renewals = lease.lease_keep_alive(requests).await.unwrap().into_inner();
    assert_eq!(soon(renewals.message()).await.unwrap().unwrap().ttl, 60);
    let question = LeaseTimeToLiveRequest { id: 9, keys: false };
    assert_eq!(lease.lease_time_to_live(question).await.unwrap().into_inner().granted_ttl, 60);
    let target = MoveLeaderRequest { target_id: follower.store.status().member_id };
    refused(follower.maintenance().move_leader(target).await, Code::FailedPrecondition, "etcdserver: not leader");
    let moved = soon(members[leader].maintenance().move_leader(target)).await.unwrap().into_inner();
    assert_eq!(moved.header, None, "no header at all");
    soon(follower.store.leadership().wait_for(|now| now.is_leader)).await.unwrap();
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_leader() {
    let mut members = Member::start_of_three(2).await;
    leader(&members).await;
    let demand = MetadataValue::from_static("true");
    let mut watcher =
        Watcher::open_with(&members[0], |metadata| drop(metadata.insert("hasleader", demand.clone()))).await;
    watcher.created(on("a", "")).await;
    let mut patient = Watcher::open_with(&members[0], |_| ()).await;
    patient.created(on("a", "")).await;
    members[0].put("a", "1").await;
    for watcher in [&mut watcher, &mut patient] {
        assert_eq!(soon(watcher.responses.message()).await.unwrap().unwrap().events.len(), 1);
    }
    members.remove(1).stop().await;
    let member = members.remove(0);
    let no_leader = "etcdserver: no leader";
    refused(soon(watcher.responses.message()).await, Code::Unavailable, no_leader);
    let mut request = Request::new(put("a", "2"));
    request.metadata_mut().insert("hasleader", demand);
    refused(member.kv().put(request).await, Code::Unavailable, no_leader);
    let local = kontiki_api::rpc::RangeRequest { serializable: true, ..get("a") };
    assert_eq!(member.range(local).await.count, 1, "a serializable read needs nobody else");
    let health = member.get("/health").await;
    assert_eq!(health.status, 503);
    assert_eq!(health.body, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n");
    assert_eq!(member.get("/health?serializable=true").await.status, 200);
    assert_eq!(member.get("/livez").await.status, 200);
    let mut request = Request::new(get("a"));
    request.set_timeout(std::time::Duration::from_millis(200));
    let status = member.kv().range(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled | Code::Unavailable), "{status:?}");
    drop(patient);
    member.stop().await;
}
