//! `kontiki ctl` as a process, against members as processes: what only shows when both run.
#![allow(clippy::unwrap_used)]

use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

mod support;

use support::{Cluster, PATIENCE, kontiki, run};

/// Runs `kontiki ctl` against all members of a cluster.
fn ctl(cluster: &Cluster, words: &[&str]) -> (ExitStatus, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let endpoints = format!("--endpoints={}", cluster.endpoints().join(","));
    let words: Vec<&str> = ["ctl", &endpoints].into_iter().chain(words.iter().copied()).collect();
    run(directory.path(), &words)
}

/// The output of a command that must succeed.
fn said(cluster: &Cluster, words: &[&str]) -> String {
    let (status, out, err) = ctl(cluster, words);
    assert!(status.success(), "{words:?}: {err}");
    out
}

/// Starts `kontiki` and leaves it running, with its output in a file.
fn started(words: &[&str], out: &std::path::Path) -> Child {
    let file = std::fs::File::create(out).unwrap();
    kontiki().args(words).stdin(Stdio::null()).stdout(file).stderr(Stdio::inherit()).spawn().unwrap()
}

/// Sends an interrupt and gives the exit status.
fn interrupted(mut process: Child) -> ExitStatus {
    rustix::process::kill_process(rustix::process::Pid::from_child(&process), rustix::process::Signal::INT).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            process.kill().unwrap();
            panic!("an interrupted command does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a condition holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_run_commands_and_end_with_their_code() {
    let cluster = Cluster::start(1, &[]).await;
    let out = said(&cluster, &["lock", "door", "--", "sh", "-c", "echo $ETCD_LOCK_KEY"]);
    assert!(out.starts_with("door/"), "{out}");
    let (status, _, err) = ctl(&cluster, &["lock", "door", "--", "sh", "-c", "exit 7"]);
    assert_eq!(status.code(), Some(7));
    assert_eq!(err, "Error: exit status 7\n");
    assert_eq!(said(&cluster, &["get", "door", "--prefix"]), "", "both are free again");
    assert_eq!(said(&cluster, &["lease", "list"]), "found 0 leases\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_election_is_won_watched_and_given_up() {
    let cluster = Cluster::start(1, &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let endpoint = format!("--endpoints={}", cluster.client_url(0));
    let (won, seen) = (directory.path().join("won"), directory.path().join("seen"));
    let leader = started(&["ctl", &endpoint, "elect", "captain", "ahab"], &won);
    let listener = started(&["ctl", &endpoint, "elect", "-l", "captain"], &seen);
    for path in [&won, &seen] {
        until("the election is won and seen", || std::fs::read_to_string(path).unwrap().ends_with("\nahab\n"));
    }
    assert!(interrupted(leader).success());
    assert!(interrupted(listener).success());
    assert_eq!(said(&cluster, &["get", "captain", "--prefix"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_cluster_tells_what_is_wrong() {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.wait_leader().await;
    let out = said(&cluster, &["status"]);
    assert!(out.contains("is healthy.\n3 of 3 voters answer"), "{out}");
    assert!(out.contains("it survives the loss of 1 more voter"), "{out}");
    let leader = cluster.wait_leader().await;
    cluster.kill((leader + 1) % 3);
    let (status, out, _) = ctl(&cluster, &["status"]);
    assert_eq!(status.code(), Some(1), "{out}");
    assert!(out.contains("2 of 3 voters answer") && out.contains("cannot be reached"), "{out}");
    let (status, out, _) = ctl(&cluster, &["status", "-w", "json"]);
    assert_eq!(status.code(), Some(1));
    assert!(out.starts_with("{\"healthy\":false,") && out.contains("\"failuresSurvived\":0"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_has_what_was_there_and_what_comes() {
    let (source, copy) = (Cluster::start(1, &[]).await, Cluster::start(1, &[]).await);
    for key in ["a/1", "a/2", "b/1"] {
        said(&source, &["put", key, "x"]);
    }
    let directory = tempfile::tempdir().unwrap();
    let (endpoint, target) = (format!("--endpoints={}", source.client_url(0)), copy.client_url(0));
    let words = ["ctl", &endpoint, "make-mirror", &target, "--prefix=a/", "--dest-prefix=c/"];
    let mirror = started(&words, &directory.path().join("out"));
    until("what was there is copied", || said(&copy, &["get", "", "--prefix"]) == "c/1\nx\nc/2\nx\n");
    said(&source, &["put", "a/3", "y"]);
    said(&source, &["del", "a/1"]);
    until("what comes is copied", || said(&copy, &["get", "", "--prefix"]) == "c/2\nx\nc/3\ny\n");
    assert!(interrupted(mirror).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_and_a_lease_is_kept_when_a_member_goes_away() {
    let mut cluster = Cluster::start(3, &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let endpoints = format!("--endpoints={}", cluster.endpoints().join(","));
    let out = directory.path().join("out");
    let held = started(&["ctl", &endpoints, "lock", "door", "--ttl=3"], &out);
    until("the lock is held", || std::fs::read_to_string(&out).unwrap().starts_with("door/"));
    let follower = (cluster.wait_leader().await + 1) % 3;
    cluster.kill(follower);
    std::thread::sleep(Duration::from_secs(5)); // more than the life of the lease
    assert!(said(&cluster, &["get", "door", "--prefix", "--keys-only"]).starts_with("door/"), "the lock was lost");
    assert!(interrupted(held).success());
}

#[test]
fn scripts_for_shells_and_the_list_of_options() {
    let directory = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let (status, out, _) = run(directory.path(), &["ctl", "completion", shell]);
        assert!(status.success() && out.contains("make-mirror"), "{shell}");
    }
    let (status, out, _) = run(directory.path(), &["ctl", "options"]);
    assert!(status.success() && out.contains("--insecure-skip-tls-verify"), "{out}");
}
