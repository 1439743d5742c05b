//! `kontiki bench` as a process, against members as processes: what it counts is what the members did.
#![allow(clippy::unwrap_used)]

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

mod support;

use serde_json::Value;
use support::{Cluster, PATIENCE, kontiki, run};

/// Runs `kontiki bench` against all members of a cluster.
fn bench(cluster: &Cluster, line: &str) -> (ExitStatus, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let endpoints = format!("--endpoints={}", cluster.endpoints().join(","));
    let words: Vec<&str> = ["bench", &endpoints].into_iter().chain(line.split(' ')).collect();
    run(directory.path(), &words)
}

/// The report of a run that must succeed.
fn report(cluster: &Cluster, line: &str) -> Value {
    let (status, out, err) = bench(cluster, &format!("{line} -w json --command-timeout 30s"));
    assert!(status.success(), "{line}: {err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line}: {error}: {out}"))
}

/// A whole number of a report.
fn number(report: &Value, path: &str) -> i64 {
    report.pointer(path).and_then(Value::as_i64).unwrap_or_else(|| panic!("{path} of {report}"))
}

/// The newest revision that a member knows.
async fn revision(cluster: &Cluster) -> i64 {
    let request = kontiki_api::rpc::RangeRequest { key: "any".into(), ..Default::default() };
    let answer = cluster.kv(0).range(request).await.unwrap().into_inner();
    answer.header.unwrap().revision
}

/// Keys of the runs that are there.
async fn keys(cluster: &Cluster) -> i64 {
    let (key, range_end) = ("bench/".into(), "bench0".into());
    let request = kontiki_api::rpc::RangeRequest { key, range_end, count_only: true, ..Default::default() };
    cluster.kv(0).range(request).await.unwrap().into_inner().count
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_is_what_the_members_did() {
    let cluster = Cluster::start(3, &[]).await;
    cluster.wait_leader().await;
    let before = revision(&cluster).await;
    let puts = report(&cluster, "put --clients 8 --keys 50 --seconds 2 --warmup 0.2");
    let done = number(&puts, "/result/operations") + number(&puts, "/result/warmup_operations");
    let moved = revision(&cluster).await - before;
    assert_eq!(number(&puts, "/result/errors") + number(&puts, "/result/warmup_errors"), 0, "{puts}");
    assert_eq!(moved, done, "each put is a revision of its own");
    assert_eq!(number(&puts, "/result/revision_after") - number(&puts, "/result/revision_before"), done);
    assert!(number(&puts, "/result/operations") > 0);
    assert_eq!((number(&puts, "/members/voters"), puts["servers"].as_array().unwrap().len()), (3, 3));
    let leaders = puts["servers"].as_array().unwrap().iter().filter(|server| server["leads"] == true).count();
    assert_eq!(leaders, 1, "{puts}");

    // Three calls each, of which one puts and one deletes. What an open loop says was due is what was sent.
    let leases = report(&cluster, "lease --rate 100 --total 40 --arrivals poisson --clients 4 --keys 1000000");
    assert_eq!((number(&leases, "/result/operations"), number(&leases, "/result/open_loop/due")), (40, 40));
    assert_eq!(number(&leases, "/result/open_loop/not_sent"), 0);
    assert_eq!(number(&leases, "/result/revision_after") - number(&leases, "/result/revision_before"), 80);

    let watched = report(&cluster, "watch --total 50 --clients 2 --watchers 5 --target-leader --keys 50");
    assert_eq!(number(&watched, "/result/events/expected"), 250);
    assert_eq!(number(&watched, "/result/events/received"), 250, "{watched}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_succeeds_and_leaves_nothing_where_that_is_asked() {
    let cluster = Cluster::start(1, &[]).await;
    for operation in ["get", "sget", "range", "cas", "mixed", "put", "lease", "watch"] {
        let line = format!("{operation} --total 30 --clients 3 --keys 250 --watchers 2 --sequential --cleanup");
        let report = report(&cluster, &line);
        assert_eq!(number(&report, "/result/operations"), 30, "{report}");
        assert_eq!((number(&report, "/result/errors"), number(&report, "/result/keys_before")), (0, 0), "{report}");
        assert_eq!(keys(&cluster).await, 0, "{operation}");
        let deleted = number(&report, "/result/keys_deleted");
        let expected = match operation {
            "put" | "watch" => 30,
            "lease" => 0,
            _ => 250, // reads write what they read before they begin
        };
        assert_eq!(deleted, expected, "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_interrupted_tells_what_there_is_and_cleans_up() {
    let cluster = Cluster::start(1, &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let endpoint = format!("--endpoints={}", cluster.client_url(0));
    let mut command = kontiki();
    command.args(["bench", "put", &endpoint, "--seconds=600", "--warmup=0", "--clients=2", "--cleanup", "-w=json"]);
    let mut process = command.stdin(Stdio::null()).stdout(std::fs::File::create(&out).unwrap()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while keys(&cluster).await < 20 {
        assert!(Instant::now() < deadline && process.try_wait().unwrap().is_none(), "the load does not begin");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&process), rustix::process::Signal::INT).unwrap();
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            process.kill().unwrap();
            panic!("an interrupted run does not end");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(status.success());
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(report["interrupted"], true);
    assert!(number(&report, "/result/operations") >= 20);
    assert_eq!(keys(&cluster).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_refused_before_anything_is_written() {
    let cluster = Cluster::start(1, &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone");
    let disk = format!("put --disk {}", gone.display());
    let hgrm = format!("put --hgrm {}", gone.join("file").display());
    let before = revision(&cluster).await;
    for (line, code, text) in [
        ("put --clients 0", 128, "--clients is 0"),
        ("put -w table", 128, "simple or json"),
        ("put --pids 4294967295", 128, "no process 4294967295"),
        ("put --endpoints http://127.0.0.1:1 --dial-timeout 1s", 2, "http://127.0.0.1:1 cannot be used"),
        (&disk, 128, "name a directory that can be written to"),
        (&hgrm, 128, "name a file that can be written"),
    ] {
        let words: Vec<&str> = ["bench"].into_iter().chain(line.split(' ')).collect();
        let own = line.contains("--endpoints");
        let (status, out, err) = if own { run(directory.path(), &words) } else { bench(&cluster, line) };
        assert_eq!((status.code(), out.as_str()), (Some(code), ""), "{line}: {err}");
        assert!(err.contains(text), "{line}: {err}");
    }
    assert_eq!(revision(&cluster).await, before);
}
