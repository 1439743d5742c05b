//! The program as a process: what it prints, how it ends, and what it says when something is wrong.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::time::{Duration, Instant};

mod support;

use kontiki_api::rpc::{PutRequest, RangeRequest};
use support::{Cluster, http_get, run};

/// Starts the server with flags that must not work, and gives its message.
fn refused(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (status, _, error) = run(directory.path(), arguments);
    assert_eq!(status.code(), Some(1), "{arguments:?}: {error}");
    error
}

#[test]
fn the_version_is_printed_as_etcd_prints_it() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["--version"][..], &["version"], &["server", "--version"]] {
        let (status, out, _) = run(directory.path(), arguments);
        assert!(status.success());
        assert!(out.starts_with("etcd Version: 3.7"), "{out}");
        assert_eq!(out.lines().count(), 5, "{out}");
    }
}

#[test]
fn a_mistyped_flag_ends_the_program_with_a_suggestion() {
    assert!(refused(&["--data-dri=x"]).contains("did you mean --data-dir?"));
    assert!(refused(&["server", "--data-dri=x"]).contains("did you mean --data-dir?"));
}

#[test]
fn half_a_certificate_is_refused() {
    assert!(refused(&["--cert-file=server.crt"]).contains("--key-file: must be given when --cert-file is"));
}

#[test]
fn a_port_in_use_is_named_with_its_flag_and_nothing_is_written() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", held.local_addr().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let listen = format!("--listen-client-urls={url}");
    let advertise = format!("--advertise-client-urls={url}");
    let (status, _, error) = run(directory.path(), &[&listen, &advertise]);
    assert_eq!(status.code(), Some(1));
    assert!(error.contains("--listen-client-urls") && error.contains(&url), "{error}");
    assert!(!directory.path().join("default.etcd").exists());
}

#[test]
fn an_initial_cluster_that_does_not_fit_is_explained() {
    assert!(refused(&["--name=a", "--initial-cluster=b=http://127.0.0.1:2380"]).contains("does not name this member"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_says_that_it_is_ready_and_stops_when_asked() {
    let mut cluster = Cluster::start(1, &[]).await;
    let port = cluster.client_url(0).rsplit(':').next().unwrap().parse().unwrap();
    assert!(http_get(port, "/version").await.unwrap().contains("etcdserver"));
    assert!(cluster.log(0).contains("\"msg\":\"ready to serve client requests\""), "{}", cluster.log(0));
    let status = cluster.terminate(0).await;
    assert!(status.success(), "{status}: {}", cluster.log(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_in_use_or_of_another_member_is_refused() {
    let mut cluster = Cluster::start(1, &[]).await;
    let data_dir = format!("--data-dir={}", cluster.data_dir(0).display());
    let ports = support::free_ports(2);
    let urls = [
        format!("--listen-client-urls=http://127.0.0.1:{}", ports[0]),
        format!("--advertise-client-urls=http://127.0.0.1:{}", ports[0]),
        format!("--listen-peer-urls=http://127.0.0.1:{}", ports[1]),
        format!("--initial-advertise-peer-urls=http://127.0.0.1:{}", ports[1]),
    ];
    let start = |name: &str| {
        let name = format!("--name={name}");
        let arguments: Vec<&str> = [&name, &data_dir].into_iter().chain(&urls).map(String::as_str).collect();
        refused(&arguments)
    };
    let error = start("m0");
    assert!(error.contains("in use"), "{error}");
    assert!(cluster.terminate(0).await.success());
    let error = start("other");
    assert!(error.contains("belongs to") && error.contains("m0"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_asked_to_stop_hands_over_and_nothing_is_lost() {
    let mut cluster = Cluster::start(3, &[]).await;
    let leader = cluster.wait_leader().await;
    let (other, third) = ((leader + 1) % 3, (leader + 2) % 3);
    let put = PutRequest { key: "boat".into(), value: "Fram".into(), ..PutRequest::default() };
    cluster.kv(other).put(put).await.unwrap();

    assert!(cluster.terminate(leader).await.success(), "{}", cluster.log(leader));
    let successor = cluster.wait_leader().await;
    assert_ne!(successor, leader);
    for index in [other, third] {
        cluster.wait_ready(index).await;
        let get = RangeRequest { key: "boat".into(), ..RangeRequest::default() };
        let answer = cluster.kv(index).range(get).await.unwrap().into_inner();
        assert_eq!(answer.kvs[0].value.as_ref(), b"Fram");
    }

    cluster.spawn(leader);
    cluster.wait_ready(leader).await;
    let revision = answer_revision(&cluster, successor).await;
    let mut hashes = Vec::new();
    for index in 0..3 {
        hashes.push(cluster.hash_kv(index, revision).await.unwrap().hash);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "members disagree: {hashes:?}");
}

async fn answer_revision(cluster: &Cluster, index: usize) -> i64 {
    cluster.status(index).await.and_then(|status| status.header).map(|header| header.revision).unwrap()
}

/// A member's directory in which a value was written, and the member gone.
async fn with_data() -> Cluster {
    let mut cluster = Cluster::start(1, &[]).await;
    let put = PutRequest { key: "boat".into(), value: "Fram".into(), ..PutRequest::default() };
    cluster.kv(0).put(put).await.unwrap();
    cluster.kill(0);
    cluster
}

/// What a member says that must end by itself with status 1.
async fn refusal(cluster: &mut Cluster, index: usize) -> String {
    let status = cluster.ended(index).await;
    let text = cluster.log(index);
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_data_starts_with_bare_flags() {
    let mut cluster = with_data().await;
    let mut flags = cluster.flags(0);
    flags.retain(|flag| !["--initial", "--name", "--listen-peer"].iter().any(|start| flag.starts_with(start)));
    cluster.set_flags(0, flags);
    let port = support::free_ports(1)[0];
    cluster.add_flag(0, format!("--listen-peer-urls=http://127.0.0.1:{port}"));
    cluster.spawn(0);
    cluster.wait_ready(0).await;
    let get = RangeRequest { key: "boat".into(), ..RangeRequest::default() };
    assert_eq!(cluster.kv(0).range(get).await.unwrap().into_inner().kvs[0].value.as_ref(), b"Fram");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_newer_identity_is_told_with_its_path() {
    let mut cluster = with_data().await;
    let path = cluster.data_dir(0).join("member/identity");
    let whole = std::fs::read_to_string(&path).unwrap();
    for (wrong, expected) in [
        (whole.replacen("token test", "token best", 1), "is damaged"),
        (whole.replacen("identity 2", "identity 9", 1), "format 9, of a newer version"),
        (whole.replacen("identity 2", "identity 1", 1), "format 1, of an older version"),
        (String::new(), "not a Kontiki data directory"),
    ] {
        std::fs::write(&path, wrong).unwrap();
        cluster.spawn(0);
        let text = refusal(&mut cluster, 0).await;
        assert!(text.contains(expected) && text.contains("member/identity"), "{expected}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_headers_are_all_lost_is_told_with_its_path() {
    let mut cluster = with_data().await;
    let log = cluster.data_dir(0).join("member/wal");
    let files: Vec<_> = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).collect();
    let first = files.iter().filter(|path| path.extension().is_some_and(|end| end == "log")).min().unwrap();
    for file in files.iter().filter(|path| path.file_stem() == first.file_stem()) {
        let mut bytes = std::fs::read(file).unwrap();
        bytes[20] ^= 0xff; // in the segment and in its ledger
        std::fs::write(file, bytes).unwrap();
    }
    cluster.spawn(0);
    let text = refusal(&mut cluster, 0).await;
    assert!(text.contains("is damaged at byte") && text.contains(first.to_str().unwrap()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_file_without_a_header_is_told_or_made_anew_and_never_served() {
    let mut cluster = with_data().await;
    let state = cluster.data_dir(0).join("member/state/state.redb");
    let mut bytes = std::fs::read(&state).unwrap();
    let header = bytes.len().min(64 << 10);
    bytes[..header].fill(0x5a);
    std::fs::write(&state, bytes).unwrap();
    cluster.spawn(0);
    let deadline = Instant::now() + support::PATIENCE;
    loop {
        if cluster.exited(0).is_some() {
            let text = cluster.log(0);
            assert!(text.contains("state.redb") || text.contains("state file"), "{text}");
            assert!(!text.contains("panicked"), "{text}");
            return;
        }
        if cluster.is_healthy(0).await {
            break;
        }
        assert!(Instant::now() < deadline, "the member neither ends nor serves: {}", cluster.log(0));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let get = RangeRequest { key: "boat".into(), ..RangeRequest::default() };
    assert_eq!(cluster.kv(0).range(get).await.unwrap().into_inner().kvs[0].value.as_ref(), b"Fram");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_disagree_on_their_cluster_say_so_and_can_be_corrected() {
    for wrong in ["--initial-cluster-token=other", "list"] {
        let mut cluster = Cluster::prepare(2, &[]);
        let right = cluster.flags(1);
        let flag = match wrong {
            "list" => {
                let list = right.iter().find(|flag| flag.starts_with("--initial-cluster=")).unwrap();
                format!("{list},m2=http://127.0.0.1:{}", support::free_ports(1)[0])
            }
            token => token.to_owned(),
        };
        cluster.add_flag(1, flag);
        (0..2).for_each(|index| cluster.spawn(index));
        // Whoever is refused first ends, and leaves the other without anyone to be refused by.
        let deadline = Instant::now() + support::PATIENCE;
        let first = loop {
            if let Some(index) = (0..2).find(|index| cluster.exited(*index).is_some()) {
                break index;
            }
            assert!(Instant::now() < deadline, "nobody is refused: {}{}", cluster.log(0), cluster.log(1));
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let text = refusal(&mut cluster, first).await;
        assert!(text.contains("the members do not agree on their cluster"), "{text}");
        assert!(text.contains("cluster id mismatch"), "{text}");
        cluster.kill(1 - first);
        cluster.set_flags(1, right);
        (0..2).for_each(|index| cluster.spawn(index));
        cluster.wait_ready(1).await;
        assert!(cluster.log(1).contains("came to nothing"), "{}", cluster.log(1));
    }
}

#[test]
fn a_command_line_that_ctl_cannot_read_ends_it_with_etcdctls_codes() {
    let directory = tempfile::tempdir().unwrap();
    let (status, _, error) = run(directory.path(), &["ctl", "--no-such-flag", "get", "a"]);
    assert_eq!(status.code(), Some(1), "{error}");
    let (status, _, error) = run(directory.path(), &["ctl", "put", "key"]);
    assert_eq!(status.code(), Some(128), "{error}");
    assert!(error.contains("the input is empty"), "{error}");
}

#[test]
fn a_second_demo_in_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let held = std::fs::File::create(directory.path().join("demo.lock")).unwrap();
    held.lock().unwrap();
    let data_dir = format!("--data-dir={}", directory.path().display());
    let (status, _, error) = run(directory.path(), &["demo", "--no-tty", &data_dir]);
    assert_eq!(status.code(), Some(1));
    assert!(error.contains("another demo"), "{error}");
}
