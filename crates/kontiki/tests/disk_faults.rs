//! Real processes that are halted and killed under load: a leader that stood still answers nothing stale and revokes no
//! lease early, and nothing acknowledged is lost when all end at once.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod ledger;
mod support;
mod whole;

use std::time::Duration;

use kontiki_api::rpc::compare::{CompareResult, CompareTarget, TargetUnion};
use kontiki_api::rpc::lease_client::LeaseClient;
use kontiki_api::rpc::{
    Compare, LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op,
};
use ledger::Load;
use support::{Cluster, PATIENCE};
use tokio::time::{Instant, sleep, timeout};
use whole::{progress, whole};

/// How long one question may take before another member is asked.
const ANSWER: Duration = Duration::from_millis(700);
const REGISTER: &str = "register";
/// Members' election timeout, as by default.
const ELECTION: Duration = Duration::from_secs(1);

/// Puts a key with a lease at any of some members, however often it takes; its revision.
async fn put(cluster: &Cluster, members: &[usize], key: &str, value: &str, lease: i64) -> i64 {
    let begin = Instant::now();
    for turn in 0.. {
        let request =
            PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), lease, ..PutRequest::default() };
        let mut client = cluster.kv(members[turn % members.len()]);
        match timeout(ANSWER, client.put(request)).await {
            Ok(Ok(answer)) => return answer.into_inner().header.unwrap().revision,
            _ if begin.elapsed() < PATIENCE => sleep(Duration::from_millis(20)).await,
            other => panic!("{key} cannot be put: {other:?}"),
        }
    }
    unreachable!("the loop ends by itself")
}

/// The value of a key as a linearizable read at a member sees it; none where no answer came in time.
async fn read(cluster: &Cluster, member: usize, key: &str, limit: Duration) -> Option<Option<String>> {
    let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    let answer = timeout(limit, cluster.kv(member).range(request)).await.ok()?.ok()?.into_inner();
    Some(answer.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned()))
}

/// The value of a key as the first of some members that answers sees it.
async fn read_any(cluster: &Cluster, members: &[usize], key: &str) -> Option<String> {
    let begin = Instant::now();
    for turn in 0.. {
        if let Some(seen) = read(cluster, members[turn % members.len()], key, ANSWER).await {
            return seen;
        }
        assert!(begin.elapsed() < PATIENCE, "nobody answers a read of {key}");
    }
    unreachable!("the loop ends by itself")
}

async fn grant(cluster: &Cluster, seconds: i64) -> i64 {
    let mut leases = LeaseClient::new(cluster.channel(0));
    leases.lease_grant(LeaseGrantRequest { ttl: seconds, id: 0 }).await.unwrap().into_inner().id
}

/// Keeps a lease alive once, through any of some members.
async fn keep_alive(cluster: &Cluster, members: &[usize], id: i64) {
    let begin = Instant::now();
    for turn in 0.. {
        let mut leases = LeaseClient::new(cluster.channel(members[turn % members.len()]));
        let requests = futures_util::stream::iter([LeaseKeepAliveRequest { id }]);
        let asked = async { leases.lease_keep_alive(requests).await?.into_inner().message().await };
        match timeout(ANSWER, asked).await {
            Ok(Ok(Some(answer))) => {
                assert!(answer.ttl > 0, "a lease that was kept alive is gone");
                return;
            }
            _ => assert!(begin.elapsed() < PATIENCE, "nobody keeps a lease alive"),
        }
    }
}

/// Changes the register if its revision is still this one.
fn change_if(revision: i64) -> TxnRequest {
    let put = PutRequest { key: REGISTER.into(), value: "from the past".into(), ..PutRequest::default() };
    TxnRequest {
        compare: vec![Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: REGISTER.into(),
            target_union: Some(TargetUnion::ModRevision(revision)),
            ..Compare::default()
        }],
        success: vec![RequestOp { request: Some(request_op::Request::RequestPut(put)) }],
        failure: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_answers_nothing_stale() {
    let cluster = Cluster::start(3, &[]).await;
    let load = Load::start("load/", &cluster.endpoints(), 4, 100);
    for round in 0..3 {
        progress(&cluster, &load, 50, "the start").await;
        let leader = cluster.wait_leader().await;
        let others: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
        let old = put(&cluster, &[leader], REGISTER, "old", 0).await;
        // Connections to the leader that are open before it halts.
        let (mut reads, mut writes) = (cluster.kv(leader), cluster.kv(leader));
        assert!(read(&cluster, leader, REGISTER, ANSWER).await.is_some());
        reads.range(RangeRequest { key: REGISTER.into(), ..RangeRequest::default() }).await.unwrap();
        writes.range(RangeRequest { key: REGISTER.into(), ..RangeRequest::default() }).await.unwrap();
        cluster.pause(leader);
        put(&cluster, &others, REGISTER, "new", 0).await;
        // These wait in its sockets, and it finds them before it finds anything out.
        let read = tokio::spawn(async move {
            timeout(PATIENCE, reads.range(RangeRequest { key: REGISTER.into(), ..RangeRequest::default() })).await
        });
        let write = tokio::spawn(async move { timeout(PATIENCE, writes.txn(change_if(old))).await });
        sleep(Duration::from_millis(200)).await;
        cluster.resume(leader);
        if let Ok(answer) = read.await.unwrap().expect("an answer in time") {
            let value = &answer.get_ref().kvs[0].value;
            assert_eq!(&value[..], b"new", "a stale read in round {round}");
        }
        if let Ok(answer) = write.await.unwrap().expect("an answer in time") {
            assert!(!answer.get_ref().succeeded, "a stale write in round {round}");
        }
        assert_eq!(read_any(&cluster, &[0, 1, 2], REGISTER).await.as_deref(), Some("new"));
    }
    whole(&cluster, &load.stop().await).await;
}

/// It leads on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_for_less_than_an_election_revokes_no_lease_early() {
    leases_live_on(ELECTION / 3).await;
}

/// It was deposed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_for_two_elections_revokes_no_lease_early() {
    leases_live_on(ELECTION * 5 / 2).await;
}

/// The leader stands still for a time, and with it its view of two leases: one that others keep alive, and one that runs out.
async fn leases_live_on(pause: Duration) {
    const TTL: Duration = Duration::from_secs(4);
    let cluster = Cluster::start(3, &[]).await;
    let leader = cluster.wait_leader().await;
    let others: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
    let granted = Instant::now(); // or a moment later
    let (kept, left) = (grant(&cluster, TTL.as_secs() as i64).await, grant(&cluster, TTL.as_secs() as i64).await);
    put(&cluster, &others, "kept", "here", kept).await;
    put(&cluster, &others, "left", "here", left).await;
    cluster.pause(leader);
    let mut running = false;
    // To the old leader's eyes the lease that others keep alive has run out when it goes on.
    while granted.elapsed() < TTL + ELECTION {
        if !running && granted.elapsed() >= pause {
            cluster.resume(leader);
            running = true;
        }
        keep_alive(&cluster, &others, kept).await;
        assert!(read_any(&cluster, &others, "kept").await.is_some(), "a lease that was kept alive is revoked");
        let there = read_any(&cluster, &others, "left").await.is_some();
        let age = granted.elapsed();
        assert!(there || age >= TTL, "a lease is revoked {age:?} after its grant");
        sleep(Duration::from_millis(50)).await;
    }
    // Once nobody keeps it alive it ends, however leaders changed.
    let begin = Instant::now();
    while read_any(&cluster, &others, "kept").await.is_some() || read_any(&cluster, &others, "left").await.is_some() {
        assert!(begin.elapsed() < 3 * TTL, "a lease does not end");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_all_members_are_killed_at_once_again_and_again() {
    let mut cluster = Cluster::start(3, &[]).await;
    let load = Load::start("load/", &cluster.endpoints(), 8, 200);
    for round in 0..6_u64 {
        progress(&cluster, &load, 100, &format!("kill {round}")).await;
        sleep(Duration::from_millis(7 * round)).await;
        (0..3).for_each(|index| cluster.kill(index));
        (0..3).for_each(|index| cluster.spawn(index));
    }
    progress(&cluster, &load, 100, "the last kill").await;
    let ledger = load.stop().await;
    for index in 0..3 {
        cluster.wait_ready(index).await;
    }
    whole(&cluster, &ledger).await;
}
