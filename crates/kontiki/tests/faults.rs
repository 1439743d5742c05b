//! Three real processes whose members are killed, halted and left behind: nothing acknowledged is lost.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use kontiki_api::rpc::compare::{CompareResult, CompareTarget, TargetUnion};
use kontiki_api::rpc::kv_client::KvClient;
use kontiki_api::rpc::{CompactionRequest, Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op};
use support::{Cluster, PATIENCE};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;

/// How long a writer waits for an answer before it tries another member.
const ANSWER: Duration = Duration::from_millis(700);
const WRITERS: u64 = 6;

/// What a writer knows when it ends.
struct Written {
    key: String,
    /// The last number that was acknowledged.
    acknowledged: u64,
    /// Revisions of all acknowledged writes, as they came.
    revisions: Vec<i64>,
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

/// The number under a key and its revision as a linearizable read sees them; none where no answer came in time.
async fn read(client: &mut KvClient<Channel>, key: &str) -> Option<(u64, i64)> {
    let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    let answer = timeout(ANSWER, client.range(request)).await.ok()?.ok()?.into_inner();
    Some(answer.kvs.first().map_or((0, 0), |kv| (number(&kv.value), kv.mod_revision)))
}

/// Puts the next number, if nothing has changed since `revision`: a write that was given up and is applied late after all
/// must not undo a later one.
fn step(key: &str, next: u64, revision: i64) -> TxnRequest {
    let key = key.to_owned();
    TxnRequest {
        compare: vec![Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: key.clone().into(),
            target_union: Some(TargetUnion::ModRevision(revision)),
            ..Compare::default()
        }],
        success: vec![put(key, next.to_string())],
        failure: Vec::new(),
    }
}

fn put(key: String, value: String) -> RequestOp {
    let put = PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() };
    RequestOp { request: Some(request_op::Request::RequestPut(put)) }
}

/// Writes growing numbers to one key until told to stop, and reads them back from whichever member answers.
async fn write(at: u64, mut clients: Vec<KvClient<Channel>>, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) -> Written {
    let key = format!("writer/{at}");
    let (mut acknowledged, mut revisions, mut turn) = (0, Vec::new(), at as usize);
    let (mut value, mut revision) = (0, 0);
    while !stop.load(SeqCst) {
        let count = clients.len();
        let answer = timeout(ANSWER, clients[turn % count].txn(step(&key, value + 1, revision))).await;
        let succeeded = matches!(&answer, Ok(Ok(answer)) if answer.get_ref().succeeded);
        if succeeded {
            value += 1;
            acknowledged = value;
            revision = answer.unwrap().unwrap().into_inner().header.unwrap().revision;
            revisions.push(revision);
            done.fetch_add(1, SeqCst);
        }
        if !succeeded || value % 7 == 0 {
            turn += 1;
            if let Some(seen) = read(&mut clients[turn % count], &key).await {
                assert!(seen.0 >= acknowledged, "{key} went back: {seen:?} read after {acknowledged} was acknowledged");
                (value, revision) = seen;
            } else {
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
    Written { key, acknowledged, revisions }
}

/// Waits until writes are acknowledged again after a fault.
async fn progress(cluster: &Cluster, done: &AtomicU64, what: &str) {
    let (before, deadline) = (done.load(SeqCst), Instant::now() + PATIENCE);
    while done.load(SeqCst) < before + 20 {
        if Instant::now() >= deadline {
            (0..cluster.size()).for_each(|index| eprintln!("--- member {index}:\n{}", cluster.log(index)));
            panic!("no writes get through after {what}");
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// All members hold the same at the same revision.
async fn agree(cluster: &Cluster) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let revision = cluster.status(0).await.and_then(|status| status.header).map_or(0, |header| header.revision);
        let mut hashes = Vec::new();
        for index in 0..cluster.size() {
            hashes.push(cluster.hash_kv(index, revision).await.map(|answer| answer.hash));
        }
        if hashes.iter().all(|hash| hash.is_some() && *hash == hashes[0]) {
            return;
        }
        assert!(Instant::now() < deadline, "members differ at revision {revision}: {hashes:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_by_kills_and_halts() {
    let mut cluster = Cluster::start(3, &[]).await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<KvClient<Channel>> = (0..3).map(|index| cluster.kv(index)).collect();
    let writers: Vec<_> =
        (0..WRITERS).map(|at| tokio::spawn(write(at, clients.clone(), stop.clone(), done.clone()))).collect();
    progress(&cluster, &done, "the start").await;
    for round in 0..10 {
        let leader = cluster.wait_leader().await;
        cluster.kill(leader);
        progress(&cluster, &done, &format!("kill {round} of the leader")).await;
        cluster.spawn(leader);
        cluster.wait_ready(leader).await;
    }
    for round in 0..3 {
        (0..3).for_each(|index| cluster.kill(index));
        (0..3).for_each(|index| cluster.spawn(index));
        progress(&cluster, &done, &format!("kill {round} of all members")).await;
    }
    let leader = cluster.wait_leader().await;
    cluster.pause(leader);
    progress(&cluster, &done, "halting the leader").await;
    cluster.resume(leader);
    cluster.wait_ready(leader).await;
    progress(&cluster, &done, "the halted member's return").await;
    stop.store(true, SeqCst);

    let mut revisions = BTreeSet::new();
    for writer in writers {
        let written = writer.await.unwrap();
        assert!(written.revisions.windows(2).all(|pair| pair[0] < pair[1]), "{}'s revisions do not grow", written.key);
        for revision in &written.revisions {
            assert!(revisions.insert(*revision), "revision {revision} was given twice");
        }
        for index in 0..3 {
            let (seen, _) = read(&mut cluster.kv(index), &written.key).await.unwrap();
            assert!(seen >= written.acknowledged, "member {index} lost a write of {}", written.key);
        }
    }
    assert!(revisions.len() > 500, "only {} writes were acknowledged", revisions.len());
    agree(&cluster).await;
}

/// `count` puts of `width` bytes in one transaction, of keys `first..` modulo `keys`.
fn many(first: u64, count: u64, keys: u64, width: usize) -> TxnRequest {
    let put = |n: u64| put(format!("many/{:06}", n % keys), format!("{n:0width$}"));
    TxnRequest { success: (first..first + count).map(put).collect(), ..TxnRequest::default() }
}

/// Puts `total` values in transactions of a hundred, eight at a time; compacts now and then.
async fn load(cluster: &Cluster, member: usize, total: u64, keys: u64, width: usize, compact: bool) {
    let next = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, next) = (cluster.kv(member), next.clone());
            tokio::spawn(async move {
                loop {
                    let first = next.fetch_add(100, SeqCst);
                    if first >= total {
                        return;
                    }
                    let answer = client.txn(many(first, 100, keys, width)).await.unwrap().into_inner();
                    if compact && first.is_multiple_of(50_000) {
                        let revision = answer.header.unwrap().revision;
                        // Another worker may have compacted further already.
                        let _ = client.compact(CompactionRequest { revision, physical: false }).await;
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
}

fn bytes_in(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| entry.metadata().unwrap()).map(|metadata| metadata.len()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_straggler_comes_back_by_snapshot_and_log() {
    // A short trailing log, and values large enough that a checkpoint falls into the absence.
    let mut cluster = Cluster::start(3, &["--snapshot-catchup-entries=100"]).await;
    let straggler = (cluster.wait_leader().await + 1) % 3;
    let member = (straggler + 1) % 3;
    cluster.kill(straggler);
    load(&cluster, member, 200_000, 200_000, 400, false).await;
    cluster.spawn(straggler);
    load(&cluster, member, 10_000, 200_000, 400, false).await;
    cluster.wait_ready(straggler).await;
    agree(&cluster).await;
    assert!(cluster.log(straggler).contains("installing a snapshot"), "{}", cluster.log(straggler));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_overwrites_leave_a_small_directory() {
    let cluster = Cluster::start(3, &[]).await;
    load(&cluster, 0, 1_000_000, 1_000, 100, true).await;
    agree(&cluster).await;
    for index in 0..3 {
        let member = cluster.data_dir(index).join("member");
        let (log, state) = (bytes_in(&member.join("wal")), bytes_in(&member.join("state")));
        assert!(log <= 160 << 20, "member {index}'s log takes {log} bytes");
        assert!(state <= 400 << 20, "member {index}'s state takes {state} bytes");
    }
}
