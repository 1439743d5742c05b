//! `kontiki import` as a process: from one running server into another, which both speak etcd's API.
#![allow(clippy::unwrap_used)]

use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

mod support;

use kontiki_api::rpc::request_op::Request;
use kontiki_api::rpc::{PutRequest, RequestOp, TxnRequest};
use support::{Cluster, PATIENCE, kontiki, run};

fn ctl(cluster: &Cluster, words: &[&str]) -> String {
    let endpoint = format!("--endpoints={}", cluster.client_url(0));
    let words: Vec<&str> = ["ctl", &endpoint].into_iter().chain(words.iter().copied()).collect();
    let (status, out, err) = program(&words);
    assert!(status.success(), "{words:?}: {err}");
    out
}

fn program(words: &[&str]) -> (ExitStatus, String, String) {
    run(tempfile::tempdir().unwrap().path(), words)
}

/// Keys in more than one revision, and one on a lease.
async fn filled() -> (Cluster, String) {
    let cluster = Cluster::start(1, &[]).await;
    let put = |key: String| {
        let put = PutRequest { key: key.into(), value: vec![b'v'; 100].into(), ..Default::default() };
        RequestOp { request: Some(Request::RequestPut(put)) }
    };
    for block in 0..20 {
        let success = (0..100).map(|number| put(format!("k/{number:03}/{block:03}"))).collect();
        cluster.kv(0).txn(TxnRequest { success, ..Default::default() }).await.unwrap();
    }
    ctl(&cluster, &["put", "z", "late"]);
    ctl(&cluster, &["put", "a", "later"]);
    let granted = ctl(&cluster, &["lease", "grant", "600"]);
    let lease = granted.split(' ').nth(1).unwrap().to_string();
    ctl(&cluster, &["put", "leased", "x", &format!("--lease={lease}")]);
    (cluster, lease)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_over_in_its_order_and_an_import_goes_on_where_it_was_cut() {
    let (source, lease) = filled().await;
    let target = Cluster::start(1, &[]).await;
    let (from, to) = (format!("--from={}", source.client_url(0)), format!("--to={}", target.client_url(0)));
    let (status, out, err) = program(&["import", &from, &to]);
    assert!(status.success(), "{out}{err}");
    assert!(out.contains("2003 written in 23 transactions") && out.contains("Verified: both hold 2003 keys"), "{out}");
    let ordered =
        ctl(&target, &["get", "", "--prefix", "--sort-by=MODIFY", "--order=DESCEND", "--limit=3", "--keys-only"]);
    assert_eq!(ordered, "leased\n\na\n\nz\n\n");
    assert!(ctl(&target, &["lease", "timetolive", &lease, "--keys"]).contains("attached keys([leased])"));

    let (status, _, err) = program(&["import", &from, &to]);
    assert!(!status.success() && err.contains("--resume"), "{err}");

    ctl(&target, &["del", "k/001/", "--prefix"]);
    ctl(&target, &["put", "a", "other"]);
    let (status, out, err) = program(&["import", &from, &to, "--resume", "-w", "json"]);
    assert!(status.success(), "{err}");
    assert!(out.contains("\"keysWritten\":21,\"keysThereAlready\":1982,") && out.contains("\"same\":true"), "{out}");

    ctl(&target, &["put", "stranger", "x"]);
    let (status, _, err) = program(&["import", &from, &to, "--resume"]);
    assert!(!status.success() && err.contains("(stranger…)"), "{err}");
    let (status, out, err) = program(&["import", &from, &to, "--force"]);
    assert!(status.success() && out.contains("1 deleted"), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_followed_until_told_to_stop() {
    let (source, _) = filled().await;
    let target = Cluster::start(1, &[]).await;
    let (from, to) = (format!("--from={}", source.client_url(0)), format!("--to={}", target.client_url(0)));
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let file = std::fs::File::create(&out).unwrap();
    let mut command = kontiki();
    command.args(["import", &from, &to, "--follow", "--batch=10"]).stdin(Stdio::null()).stdout(file);
    let follower = command.stderr(Stdio::null()).spawn().unwrap();
    let holds = |words: &[&str], expected: &str| ctl(&target, words) == expected;
    until("the copy is there", || holds(&["get", "a", "--print-value-only"], "later\n"));
    ctl(&source, &["put", "a", "changed"]);
    ctl(&source, &["del", "k/", "--prefix"]);
    let granted = ctl(&source, &["lease", "grant", "600"]);
    let lease = granted.split(' ').nth(1).unwrap();
    ctl(&source, &["put", "new", "x", &format!("--lease={lease}")]);
    until("the changes are there", || holds(&["get", "new", "--print-value-only"], "x\n"));
    ctl(&source, &["lease", "revoke", lease]);
    until("the end of a lease is there", || !ctl(&target, &["lease", "list"]).contains(lease));
    assert!(interrupted(follower).success());
    let report = std::fs::read_to_string(&out).unwrap();
    assert!(report.contains("Verified: both hold 3 keys"), "{report}");
    assert!(holds(&["get", "", "--prefix"], "a\nchanged\nleased\nx\nz\nlate\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_is_made_for_a_member_that_is_started_later() {
    let (source, _) = filled().await;
    let mut later = Cluster::prepare(1, &[]);
    let directory = later.data_dir(0);
    let flag = |name: &str| {
        let prefix = format!("--{name}=");
        later.arguments(0).iter().find_map(|flag| flag.strip_prefix(&prefix)).unwrap().to_string()
    };
    let words = [
        "import".to_string(),
        format!("--from={}", source.client_url(0)),
        format!("--data-dir={}", directory.display()),
        "--name=m0".to_string(),
        format!("--initial-advertise-peer-urls={}", flag("initial-advertise-peer-urls")),
        format!("--initial-cluster-token={}", flag("initial-cluster-token")),
    ];
    let (status, out, err) = program(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(status.success() && out.contains("Verified"), "{out}{err}");
    later.spawn(0);
    later.wait_ready(0).await;
    assert!(ctl(&later, &["get", "", "--prefix", "--count-only", "-w", "fields"]).contains("\"Count\" : 2003"));
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn interrupted(mut process: Child) -> ExitStatus {
    rustix::process::kill_process(rustix::process::Pid::from_child(&process), rustix::process::Signal::INT).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            process.kill().unwrap();
            panic!("the import does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
