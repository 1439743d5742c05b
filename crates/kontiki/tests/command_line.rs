//! The program as a process: what it prints, how it ends, and what it says when something is wrong.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;

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
fn tls_is_refused_rather_than_ignored() {
    assert!(refused(&["--cert-file=server.crt", "--key-file=server.key"]).contains("TLS"));
    assert!(refused(&["--listen-client-urls=https://127.0.0.1:1"]).contains("TLS"));
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
