//! What the tools for looking at a stopped member say: of whole directories, of damaged ones, and of what is in them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kontiki_api::rpc::PutRequest;
use tempfile::TempDir;

mod support;

use support::{Cluster, kontiki, run};

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() }
}

/// A member with a checkpoint, and entries in its log behind that; ended as by a crash.
async fn stopped() -> Cluster {
    let mut cluster = Cluster::start(1, &[]).await;
    for number in 0..50 {
        cluster.kv(0).put(put(&format!("before/{number}"), "checkpoint")).await.unwrap();
    }
    let scratch = TempDir::new().unwrap();
    let words = ["snapshot", "save", "--endpoints", &cluster.client_url(0), "s.db"];
    assert!(run(scratch.path(), &words).0.success(), "a snapshot makes a checkpoint");
    for number in 0..50 {
        cluster.kv(0).put(put(&format!("behind/{number}"), "\u{1}checkpoint")).await.unwrap();
    }
    cluster.kill(0);
    cluster
}

/// Runs `check`: exit code, and its JSON.
fn check(dir: &Path) -> (i32, serde_json::Value) {
    let scratch = TempDir::new().unwrap();
    let (status, out, error) = run(scratch.path(), &["check", dir.to_str().unwrap(), "-w", "json"]);
    assert!(!error.contains("panicked"), "{error}");
    (status.code().unwrap(), serde_json::from_str(&out).unwrap_or(serde_json::Value::Null))
}

/// Runs `dump` and gives its lines as JSON.
fn dump(dir: &Path, flags: &[&str]) -> Vec<serde_json::Value> {
    let scratch = TempDir::new().unwrap();
    let words: Vec<&str> = ["dump", dir.to_str().unwrap(), "-w", "json"].iter().chain(flags).copied().collect();
    let (status, out, error) = run(scratch.path(), &words);
    assert!(status.success(), "{error}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The bytes of all files below a directory.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}

/// Where some bytes stand in a file for the last time.
fn find(path: &Path, wanted: &[u8]) -> u64 {
    let bytes = fs::read(path).unwrap();
    bytes.windows(wanted.len()).rposition(|window| window == wanted).expect("the bytes are there") as u64
}

fn first_segment(dir: &Path) -> PathBuf {
    let names = fs::read_dir(dir.join("member/wal")).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|end| end == "log")).min().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_directory_is_whole_and_nothing_in_it_is_changed() {
    let mut cluster = stopped().await;
    let dir = cluster.data_dir(0);
    let before = contents(&dir);
    let (code, report) = check(&dir);
    assert_eq!((code, &report["whole"]), (0, &true.into()), "{report}");
    assert_eq!(report["identity"]["name"], "m0");
    assert_eq!(report["state"]["keys"], 50);
    assert!(report["log"]["entries"].as_u64().unwrap() >= 50, "{report}");
    dump(&dir, &[]);
    let scratch = TempDir::new().unwrap();
    assert!(run(scratch.path(), &["snapshot", "save", "--data-dir", dir.to_str().unwrap(), "s.db"]).0.success());
    assert!(contents(&dir) == before, "looking changed something");
    cluster.spawn(0);
    cluster.wait_ready(0).await;
    assert!(cluster.terminate(0).await.success());
    assert_eq!(check(&dir).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_checked_is_told() {
    let cluster = Cluster::start(1, &[]).await;
    let scratch = TempDir::new().unwrap();
    for (dir, expected) in [
        (cluster.data_dir(0), "is in use by process"),
        (scratch.path().to_owned(), "holds no member"),
        ("/no/such".into(), "holds no"),
    ] {
        let (status, _, error) = run(scratch.path(), &["check", dir.to_str().unwrap()]);
        assert_eq!(status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
        let (status, _, error) = run(scratch.path(), &["dump", dir.to_str().unwrap()]);
        assert_eq!(status.code(), Some(1), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told_with_its_place_and_what_to_do() {
    let cluster = stopped().await;
    let dir = cluster.data_dir(0);
    let state = dir.join("member/state/state.redb");
    let segment = first_segment(&dir);
    for (path, at, advice) in [
        (&segment, find(&segment, b"behind/7"), "fetches what it lacks"),
        (&state, find(&state, b"before/7"), "fetches what it lacks"),
        (&dir.join("member/identity"), 60, "restore a snapshot"),
    ] {
        flip(path, at);
        let (code, report) = check(&dir);
        assert_eq!((code, &report["whole"]), (1, &false.into()), "{}: {report}", path.display());
        let told = report["findings"].as_array().unwrap();
        let named = told.iter().any(|finding| {
            finding["what"].as_str().unwrap().contains(path.to_str().unwrap())
                && finding["advice"].as_str().unwrap().contains(advice)
        });
        assert!(named, "{}: {told:?}", path.display());
        let scratch = TempDir::new().unwrap();
        let (_, out, _) = run(scratch.path(), &["check", dir.to_str().unwrap()]);
        assert!(out.contains(path.to_str().unwrap()) && out.contains("is damaged in"), "{out}");
        flip(path, at);
        assert_eq!(check(&dir).0, 0, "{} is as before", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_its_log_is_not_whole() {
    let cluster = stopped().await;
    let dir = cluster.data_dir(0);
    let aside = dir.join("aside");
    fs::rename(dir.join("member/wal"), &aside).unwrap();
    let (code, report) = check(&dir);
    assert_eq!(code, 1, "{report}");
    assert_eq!(report["findings"][0]["severity"], "fatal", "{report}");
    let scratch = TempDir::new().unwrap();
    let words = ["check", dir.to_str().unwrap(), "--wal-dir", aside.to_str().unwrap()];
    assert_eq!(run(scratch.path(), &words).0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_and_the_keys_can_be_read() {
    let cluster = stopped().await;
    let dir = cluster.data_dir(0);
    let log = dump(&dir, &["--log"]);
    let puts: Vec<_> = log.iter().filter(|line| line["is"] == "put").collect();
    let values = puts.iter().filter(|line| line["key"] == "YmVoaW5kLzc=" && line["value"] == "AWNoZWNrcG9pbnQ=");
    assert_eq!(values.count(), 1, "behind/7 = \\x01checkpoint");
    assert!(log.iter().any(|line| line["kind"] == "hard_state"), "terms and votes are told");
    let index = puts[10]["index"].as_u64().unwrap();
    let few = dump(&dir, &["--log", "--from", &index.to_string(), "--to", &(index + 2).to_string()]);
    let indexes: Vec<u64> = few.iter().map(|line| line["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, [index, index + 1, index + 2]);
    assert_eq!(dump(&dir, &["--log", "--group", "9"]).len(), 0);

    let keys = dump(&dir, &["--keys"]);
    assert_eq!(keys.len(), 50, "those of the checkpoint");
    let revision = keys[7]["mod_revision"].as_i64().unwrap().to_string();
    let one = dump(&dir, &["--keys", "--min-revision", &revision, "--max-revision", &revision]);
    assert_eq!(one, keys[7..8]);
    assert_eq!(dump(&dir, &["--keys", "--prefix", "before/1"]).len(), 11);
    assert_eq!(dump(&dir, &["--keys", "--prefix", "none"]).len(), 0);
    assert_eq!(dump(&dir, &[]).len(), log.len() + keys.len());

    let scratch = TempDir::new().unwrap();
    let (_, out, _) = run(scratch.path(), &["dump", dir.to_str().unwrap()]);
    assert!(out.contains("is=put key=\"behind/7\" value=\"\\x01checkpoint\""), "{out}");
    assert!(out.contains("key key=\"before/7\" value=\"checkpoint\""), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_ends_the_dump_quietly() {
    let cluster = stopped().await;
    let mut command = kontiki();
    command.arg("dump").arg(cluster.data_dir(0)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    drop(process.stdout.take());
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stderr, b"");
}
