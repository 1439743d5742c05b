//! Snapshots as people keep them: saved from members that run and that do not, checked, and restored as new clusters.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use kontiki_api::rpc::lease_client::LeaseClient;
use kontiki_api::rpc::maintenance_client::MaintenanceClient;
use kontiki_api::rpc::{
    LeaseGrantRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, SnapshotRequest,
};
use tempfile::TempDir;

mod support;

use support::{Cluster, run};

/// Runs the program, which must succeed, and gives what it prints.
fn told(directory: &Path, arguments: &[&str]) -> String {
    let (status, out, error) = run(directory, arguments);
    assert!(status.success(), "{arguments:?}: {error}");
    out
}

/// Runs the program, which must fail, and gives its complaint.
fn refused(directory: &Path, arguments: &[&str]) -> String {
    let (status, _, error) = run(directory, arguments);
    assert!(matches!(status.code(), Some(1 | 128)), "{arguments:?}: {status}, {error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

/// Saves a snapshot of a running member.
fn save(cluster: &Cluster, index: usize, directory: &Path) -> PathBuf {
    let path = directory.join("snapshot.db");
    let out = told(directory, &["snapshot", "save", "--endpoints", &cluster.client_url(index), path.to_str().unwrap()]);
    assert!(out.starts_with(&format!("Snapshot saved at {}\n", path.display())), "{out}");
    path
}

fn status(directory: &Path, path: &Path) -> serde_json::Value {
    let out = told(directory, &["snapshot", "status", path.to_str().unwrap(), "-w", "json"]);
    serde_json::from_str(&out).unwrap()
}

/// Restores every member of a cluster that is prepared, and starts it.
async fn restore(cluster: &mut Cluster, directory: &Path, path: &Path, extra: &[&str]) {
    for index in 0..cluster.size() {
        let wanted = ["--name=", "--data-dir=", "--initial-cluster=", "--initial-cluster-token=", "--initial-adv"];
        let flags = cluster.flags(index);
        let flags = flags.iter().filter(|flag| wanted.iter().any(|start| flag.starts_with(start)));
        let words = ["snapshot", "restore", path.to_str().unwrap()].into_iter();
        let words: Vec<&str> = words.chain(flags.map(String::as_str)).chain(extra.iter().copied()).collect();
        let out = told(directory, &words);
        assert!(out.contains("of the new cluster"), "{out}");
        let out = told(directory, &["check", cluster.data_dir(index).to_str().unwrap()]);
        assert!(out.ends_with("is whole\n"), "{out}");
    }
    (0..cluster.size()).for_each(|index| cluster.spawn(index));
    for index in 0..cluster.size() {
        cluster.wait_ready(index).await;
    }
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() }
}

/// All pairs, as one member has them.
async fn all(cluster: &Cluster, index: usize) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    let everything = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() };
    let answer = cluster.kv(index).range(everything).await.unwrap().into_inner();
    answer.kvs.into_iter().map(|kv| (kv.key.to_vec(), kv.value.to_vec(), kv.mod_revision)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_saved_under_load_is_restored_on_three_members() {
    let directory = TempDir::new().unwrap();
    let cluster = Cluster::start(3, &[]).await;
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (mut client, stop, written) = (cluster.kv(writer % 3), stop.clone(), written.clone());
            tokio::spawn(async move {
                let mut number = 0;
                while !stop.load(SeqCst) {
                    client
                        .put(put(&format!("load/{writer}/{}", number % 500), &format!("{number:0200}")))
                        .await
                        .unwrap();
                    number += 1;
                    written.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    while written.load(SeqCst) < 2_000 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // What is acknowledged by one member before the call is in what another member gives.
    let before = cluster.kv(0).put(put("before", "the call")).await.unwrap().into_inner().header.unwrap().revision;
    let client_url = cluster.client_url(1);
    let path = directory.path().join("snapshot.db");
    let (save_in, save_as) = (directory.path().to_owned(), path.clone());
    let saved = tokio::task::spawn_blocking(move || {
        told(&save_in, &["snapshot", "save", save_as.to_str().unwrap(), "--endpoints", &client_url])
    });
    saved.await.unwrap();
    stop.store(true, SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    let found = status(directory.path(), &path);
    let revision = found["revision"].as_i64().unwrap();
    assert!(revision >= before, "{found} lacks revision {before}");
    assert_eq!(found["totalSize"].as_u64().unwrap(), path.metadata().unwrap().len());
    assert_eq!(found["totalKey"].as_i64().unwrap(), revision - 1, "every version is kept");
    let original = cluster.hash_kv(2, revision).await.unwrap();

    let mut restored = Cluster::prepare(3, &[]);
    restore(&mut restored, directory.path(), &path, &[]).await;
    let state = all(&restored, 0).await;
    assert!(state.iter().any(|(key, ..)| key == b"before"));
    for index in 0..3 {
        let hash = restored.hash_kv(index, revision).await.unwrap();
        assert_eq!((hash.hash, hash.compact_revision), (original.hash, original.compact_revision), "member {index}");
        assert_eq!(all(&restored, index).await, state);
    }
    let answer = restored.kv(1).put(put("after", "it")).await.unwrap().into_inner().header.unwrap();
    assert_eq!(answer.revision, revision + 1);
    let of_old = cluster.status(0).await.unwrap().header.unwrap();
    assert_ne!(answer.cluster_id, of_old.cluster_id);
    let members = told(directory.path(), &["ctl", "member", "list", "--endpoints", &restored.client_url(0)]);
    assert_eq!(members.lines().count(), 3, "{members}");
    assert!(members.lines().all(|line| line.contains("started")), "{members}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_live_on_and_a_raised_revision_leaves_no_history() {
    let directory = TempDir::new().unwrap();
    let cluster = Cluster::start(1, &[]).await;
    let mut leases = LeaseClient::new(cluster.channel(0));
    leases.lease_grant(LeaseGrantRequest { id: 77, ttl: 600 }).await.unwrap();
    let leased = PutRequest { lease: 77, ..put("leased", "yes") };
    let revision = cluster.kv(0).put(leased).await.unwrap().into_inner().header.unwrap().revision;
    let path = save(&cluster, 0, directory.path());
    drop(cluster);

    let mut restored = Cluster::prepare(1, &[]);
    restore(&mut restored, directory.path(), &path, &["--bump-revision=1000000", "--mark-compacted"]).await;
    let mut leases = LeaseClient::new(restored.channel(0));
    let left = leases.lease_time_to_live(LeaseTimeToLiveRequest { id: 77, keys: true }).await.unwrap().into_inner();
    assert_eq!((left.granted_ttl, left.keys.len()), (600, 1));
    let old = RangeRequest { key: "leased".into(), revision, ..RangeRequest::default() };
    let refusal = restored.kv(0).range(old).await.unwrap_err();
    assert!(refusal.message().contains("required revision has been compacted"), "{refusal}");
    let revoked = leases.lease_revoke(LeaseRevokeRequest { id: 77 }).await.unwrap().into_inner();
    assert_eq!(revoked.header.unwrap().revision, revision + 1_000_001);
    assert_eq!(all(&restored, 0).await, []);
    save(&restored, 0, directory.path()); // a checkpoint sweeps what the jump compacted
    assert!(restored.terminate(0).await.success());
    told(directory.path(), &["check", restored.data_dir(0).to_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_member_of_a_broken_cluster_can_be_saved() {
    let directory = TempDir::new().unwrap();
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.kv(0).put(put("boat", "Fram")).await.unwrap();
    cluster.kill(1);
    cluster.kill(2);
    let path = save(&cluster, 0, directory.path());
    assert_eq!(status(directory.path(), &path)["origin"], "unconfirmed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_member_is_saved_as_of_its_checkpoint_and_a_running_one_is_not_touched() {
    let directory = TempDir::new().unwrap();
    let mut cluster = Cluster::start(1, &[]).await;
    cluster.kv(0).put(put("boat", "Fram")).await.unwrap();
    save(&cluster, 0, directory.path()); // makes a checkpoint
    let data_dir = cluster.data_dir(0);
    let (data_dir, file) = (data_dir.to_str().unwrap(), directory.path().join("offline.db"));
    let words = ["snapshot", "save", "--data-dir", data_dir, file.to_str().unwrap()];
    let error = refused(directory.path(), &words);
    assert!(error.contains("in use by process"), "{error}");
    cluster.kill(0);
    let out = told(directory.path(), &words);
    assert!(out.contains("last checkpoint") && out.contains("prefer --endpoints"), "{out}");
    let found = status(directory.path(), &file);
    assert_eq!((found["origin"].as_str().unwrap(), found["revision"].as_i64().unwrap()), ("checkpoint", 2));
    let error = refused(directory.path(), &["snapshot", "save", "--data-dir", "nowhere", "x.db"]);
    assert!(error.contains("nowhere holds no member"), "{error}");
    assert!(!directory.path().join("x.db").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_whole_snapshot_is_refused_by_name() {
    let directory = TempDir::new().unwrap();
    let dir = directory.path();
    let cluster = Cluster::start(1, &[]).await;
    let path = save(&cluster, 0, dir);
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    let mut bolt = vec![0; 4096 + 32];
    bolt[16..20].copy_from_slice(&0xED0C_DAED_u32.to_le_bytes());
    for (name, bytes, expected) in [
        ("flipped.db", &flipped[..], "is damaged: its SHA-256"),
        ("short.db", &whole[..whole.len() - 100], "cut short"),
        ("etcd.db", &bolt, "bbolt"),
        ("empty.db", &[], "no snapshot of Kontiki's"),
    ] {
        std::fs::write(dir.join(name), bytes).unwrap();
        for words in [&["snapshot", "status", name][..], &["snapshot", "restore", name, "--data-dir=restored"]] {
            let error = refused(dir, words);
            assert!(error.contains(name) && error.contains(expected), "{words:?}: {error}");
        }
        assert!(!dir.join("restored").exists(), "{name}");
    }
    let name = path.to_str().unwrap();
    let error = refused(dir, &["snapshot", "restore", name, "--bump-revision=5"]);
    assert!(error.contains("--mark-compacted"), "{error}");
    let error = refused(dir, &["snapshot", "restore", name, "--name=x", "--initial-cluster=y=http://localhost:2380"]);
    assert!(error.contains("does not name this member"), "{error}");
    told(dir, &["ctl", "snapshot", "restore", name]);
    assert!(dir.join("default.etcd/member/identity").exists(), "etcd's defaults");
    let error = refused(dir, &["snapshot", "restore", name]);
    assert!(error.contains("default.etcd is not empty"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_nothing_holds_up_nobody_and_no_more_than_a_few_are_served() {
    let cluster = Cluster::start(1, &[]).await;
    for number in 0..40 {
        cluster.kv(0).put(put(&format!("big/{number}"), &"x".repeat(500_000))).await.unwrap();
    }
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut client = MaintenanceClient::new(cluster.channel(0));
        held.push(client.snapshot(SnapshotRequest {}).await.unwrap().into_inner());
        held.last_mut().unwrap().message().await.unwrap().unwrap();
    }
    let mut fifth = MaintenanceClient::new(cluster.channel(0));
    let refusal = match fifth.snapshot(SnapshotRequest {}).await {
        Err(status) => status,
        Ok(stream) => stream.into_inner().message().await.unwrap_err(),
    };
    assert!(refusal.message().contains("too many requests"), "{refusal}");
    cluster.kv(0).put(put("still", "served")).await.unwrap();
    drop(held);
    let deadline = tokio::time::Instant::now() + support::PATIENCE;
    loop {
        let answer = fifth.snapshot(SnapshotRequest {}).await.unwrap().into_inner().message().await;
        if answer.is_ok() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "streams that were dropped are still counted");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
