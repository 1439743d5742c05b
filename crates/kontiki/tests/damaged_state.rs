//! Real processes whose state files are damaged, removed or exchanged while they are down: a state is never believed
//! without its checksums, and comes back from a peer.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod ledger;
mod support;
mod whole;

use std::path::PathBuf;
use std::time::Duration;

use ledger::Load;
use support::{Cluster, PATIENCE};
use tokio::time::{Instant, sleep};
use whole::{FOUND, REPAIRED, agree, files, flip, progress, says, tell, whole};

/// A short trailing log, so that a state that is too old cannot be brought up from the log.
const TRAILING: &str = "--snapshot-catchup-entries=10";

fn state_file(cluster: &Cluster, index: usize) -> PathBuf {
    files(cluster, index, "state", ".redb").pop().expect("there is a state file")
}

/// Bytes of a state file that are taken on the disk.
fn state_len(cluster: &Cluster, index: usize) -> u64 {
    state_file(cluster, index).metadata().unwrap().len()
}

/// Puts values of a megabyte until every member has written a checkpoint that holds them.
async fn fill(cluster: &Cluster, prefix: &str) {
    let before: Vec<u64> = (0..cluster.size()).map(|index| state_len(cluster, index)).collect();
    ledger::fill(&cluster.client_url(0), prefix).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    for (index, before) in before.iter().enumerate() {
        // A second of quiet tells that the checkpoint has ended.
        let mut seen = (0, Instant::now());
        while seen.0 < before + (30 << 20) || seen.1.elapsed() < Duration::from_secs(1) {
            let len = state_len(cluster, index);
            if len != seen.0 {
                seen = (len, Instant::now());
            }
            assert!(Instant::now() < deadline, "member {index} writes no checkpoint: {len} bytes");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Starts a member again and expects it to say what it found and to be whole like the others.
async fn comes_back(cluster: &mut Cluster, index: usize, words: &[&str]) {
    let before = cluster.log(index).len();
    cluster.spawn(index);
    let begin = Instant::now();
    cluster.wait_ready(index).await;
    agree(cluster).await;
    says(cluster, index, before, words).await;
    println!("whole again after {:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_all_over_the_state_are_never_served() {
    let mut cluster = Cluster::start(3, &[]).await;
    fill(&cluster, "fill/").await;
    let load = Load::start("load/", &cluster.endpoints(), 4, 300);
    progress(&cluster, &load, 100, "the start").await;
    cluster.kill(2);
    let path = state_file(&cluster, 2);
    let len = state_len(&cluster, 2) as usize;
    (1..len >> 20).for_each(|mib| flip(&path, (mib << 20) + 4711));
    comes_back_under_load(&mut cluster, 2, &load).await;
    let ledger = load.stop().await;
    whole(&cluster, &ledger).await;
}

/// As [`comes_back`], while others write: the comparison waits for the load's end.
async fn comes_back_under_load(cluster: &mut Cluster, index: usize, load: &Load) {
    let before = cluster.log(index).len();
    cluster.spawn(index);
    // Reading everything finds the damage, if nothing did before.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let _ = cluster.hash_kv(index, 0).await;
        let said = cluster.log(index)[before..].to_lowercase();
        if FOUND.iter().any(|word| said.contains(word)) {
            break;
        }
        if Instant::now() > deadline {
            tell(cluster);
            panic!("member {index} reads damaged blocks and says nothing");
        }
        sleep(Duration::from_millis(50)).await;
    }
    says(cluster, index, before, REPAIRED).await;
    cluster.wait_ready(index).await;
    progress(cluster, load, 50, "the repair").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_gone_cut_or_from_an_older_copy_comes_from_a_peer() {
    let mut cluster = Cluster::start(3, &[TRAILING]).await;
    fill(&cluster, "one/").await;
    cluster.kill(1);
    let older = std::fs::read(state_file(&cluster, 1)).unwrap();
    cluster.spawn(1);
    cluster.wait_ready(1).await;
    fill(&cluster, "two/").await;

    cluster.kill(1);
    std::fs::write(state_file(&cluster, 1), older).unwrap();
    comes_back(&mut cluster, 1, REPAIRED).await;

    cluster.kill(0);
    std::fs::remove_file(state_file(&cluster, 0)).unwrap();
    comes_back(&mut cluster, 0, REPAIRED).await;

    cluster.kill(2);
    let path = state_file(&cluster, 2);
    let half = state_len(&cluster, 2) / 2;
    std::fs::File::options().write(true).open(path).unwrap().set_len(half).unwrap();
    comes_back(&mut cluster, 2, REPAIRED).await;
}
