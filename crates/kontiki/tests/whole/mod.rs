//! What must hold after every fault: all members have the same, and everything that was acknowledged; and what tests do to
//! members' files while they are down.
#![allow(clippy::unwrap_used, dead_code, reason = "each test file compiles this module and uses a part of it")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::ledger::{Ledger, Load};
use crate::support::{Cluster, PATIENCE};

/// All members hold the same at the same revision.
pub async fn agree(cluster: &Cluster) {
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
        if Instant::now() >= deadline {
            tell(cluster);
            panic!("members differ at revision {revision}: {hashes:?}");
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Nothing of a load is lost on any member, nothing was read stale, and members agree.
pub async fn whole(cluster: &Cluster, ledger: &Ledger) {
    assert_eq!(ledger.violations, Vec::<String>::new());
    for url in cluster.endpoints() {
        let missing = ledger.missing(&url).await.unwrap_or_else(|error| {
            tell(cluster);
            panic!("{error}");
        });
        assert!(
            missing.is_empty(),
            "{} of {} acknowledged writes are lost: {missing:?}",
            missing.len(),
            ledger.keys.len()
        );
    }
    agree(cluster).await;
}

/// Writes go on.
pub async fn progress(cluster: &Cluster, load: &Load, count: u64, what: &str) {
    if load.more(count, PATIENCE).await.is_none() {
        tell(cluster);
        panic!("no writes get through after {what}");
    }
}

/// Prints the end of all members' logs.
pub fn tell(cluster: &Cluster) {
    for index in 0..cluster.size() {
        let log = cluster.log(index);
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("--- member {index}:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
    }
}

/// Waits until a member's log, from byte `from` on, has one of some words, in any case.
pub async fn says(cluster: &Cluster, index: usize, from: usize, words: &[&str]) {
    let deadline = Instant::now() + SAYS;
    loop {
        let said = cluster.log(index).get(from..).unwrap_or_default().to_lowercase();
        if words.iter().any(|word| said.contains(word)) {
            return;
        }
        assert!(Instant::now() < deadline, "member {index} says none of {words:?}:\n{said}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// How long a member may take to say something.
const SAYS: Duration = Duration::from_secs(20);
/// What a member says of damage that it found, and of what it did about it.
pub const FOUND: &[&str] = &["damage", "corrupt", "checksum", "lost entries", "cut off", "cannot be read"];
/// What a member says of a repair.
pub const REPAIRED: &[&str] = &["mended", "repaired", "installing a snapshot"];

/// The files in a directory of a member whose names end in `end`, sorted.
pub fn files(cluster: &Cluster, index: usize, dir: &str, end: &str) -> Vec<PathBuf> {
    let dir = cluster.data_dir(index).join("member").join(dir);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_string_lossy().ends_with(end));
    paths.sort();
    paths
}

/// Where a text stands in a file.
pub fn places(path: &Path, text: &str) -> Vec<usize> {
    let (bytes, text) = (std::fs::read(path).unwrap(), text.as_bytes());
    let first = text[0];
    (0..bytes.len().saturating_sub(text.len()))
        .filter(|at| bytes[*at] == first && bytes[*at..].starts_with(text))
        .collect()
}

/// Flips one bit of a file. Doing it twice undoes it.
pub fn flip(path: &Path, at: usize) {
    let (file, mut byte) = (File::options().read(true).write(true).open(path).unwrap(), [0]);
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at as u64).unwrap();
}

/// The places in a member's log of the values that a load wrote, in the order of the log: each in a record's body.
pub fn bodies(cluster: &Cluster, index: usize) -> Vec<(PathBuf, usize)> {
    let logs = files(cluster, index, "wal", ".log");
    logs.into_iter()
        .flat_map(|path| places(&path, "=vvvvvvvv").into_iter().map(move |at| (path.clone(), at + 4)))
        .collect()
}
