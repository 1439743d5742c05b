//! Flags that fit together, and flags that do not.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::flags::{Request, read};

fn settle(words: &[&str]) -> Result<ServerConfig, ConfigError> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    match read(&words, &[]).unwrap() {
        Request::Serve(settings) => ServerConfig::settle(&settings),
        other => panic!("expected to serve, got {other:?}"),
    }
}

fn message(words: &[&str]) -> String {
    settle(words).unwrap_err().to_string()
}

#[test]
fn without_flags_everything_is_etcds_default() {
    let config = settle(&[]).unwrap();
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(joined(&config.listen_client), "http://localhost:2379");
    assert_eq!(joined(&config.advertise_peer), "http://localhost:2380");
    assert_eq!(config.initial_cluster.len(), 1);
    assert_eq!(config.initial_cluster[0].name, "default");
    assert_eq!(joined(&config.initial_cluster[0].peer_urls), "http://localhost:2380");
    assert_eq!(config.initial_cluster_token, "etcd-cluster");
    assert!(config.new_cluster && config.pre_vote);
    assert_eq!(config.heartbeat_interval, Duration::from_millis(100));
    assert_eq!(config.election_timeout, Duration::from_secs(1));
    assert_eq!(config.request_bytes_max, 1_572_864);
}

#[test]
fn the_static_cluster_of_etcds_documentation_is_understood() {
    let config = settle(&[
        "--name",
        "infra1",
        "--initial-advertise-peer-urls",
        "http://10.0.1.11:2380",
        "--listen-peer-urls",
        "http://10.0.1.11:2380",
        "--listen-client-urls",
        "http://10.0.1.11:2379,http://127.0.0.1:2379",
        "--advertise-client-urls",
        "http://10.0.1.11:2379",
        "--initial-cluster-token",
        "etcd-cluster-1",
        "--initial-cluster",
        "infra0=http://10.0.1.10:2380,infra1=http://10.0.1.11:2380,infra2=http://10.0.1.12:2380",
        "--initial-cluster-state",
        "new",
    ])
    .unwrap();
    assert_eq!(config.data_dir, PathBuf::from("infra1.etcd"));
    assert_eq!(config.initial_cluster.len(), 3);
    assert_eq!(config.listen_client.len(), 2);
}

#[test]
fn a_name_alone_makes_a_cluster_of_that_name() {
    let config = settle(&["--name=solo"]).unwrap();
    assert_eq!(config.initial_cluster[0].name, "solo");
}

#[test]
fn a_member_may_have_several_peer_urls() {
    let config = settle(&[
        "--name=a",
        "--initial-advertise-peer-urls=http://127.0.0.1:1,http://127.0.0.1:2",
        "--initial-cluster=a=http://127.0.0.1:2,b=http://127.0.0.1:3,a=http://127.0.0.1:1",
    ])
    .unwrap();
    assert_eq!(config.initial_cluster[0].peer_urls.len(), 2);
}

#[test]
fn mistakes_between_flags_are_explained() {
    let cases: [(&[&str], &str); 15] = [
        (&["--election-timeout=400"], "500 or more"),
        (&["--election-timeout=60000"], "between 1 and 50000"),
        (&["--heartbeat-interval=0"], "out of bounds"),
        (&["--initial-cluster=a=http://h:1"], "does not name this member"),
        (&["--name=a", "--initial-cluster=a=http://127.0.0.1:9"], "make both the same"),
        (&["--initial-cluster=default=http://h:1,x=http://h:1"], "again for \"x\""),
        (&["--initial-cluster=default"], "name=peer-url"),
        (&["--initial-cluster-state=newish"], "new or existing"),
        (&["--listen-client-urls=http://127.0.0.1:1"], "must be given when --listen-client-urls is"),
        (&["--listen-peer-urls=https://127.0.0.1:1"], "TLS"),
        (&["--listen-peer-urls=http://localhost:2379"], "give each its own port"),
        (&["--log-level=loud"], "--log-level"),
        (&["--name=a\nb"], "control character"),
        (&["--initial-cluster-token=a\tb"], "control character"),
        (&["--initial-cluster=default=http://localhost:2380,a\u{7f}=http://h:1"], "control character"),
    ];
    for (words, expected) in cases {
        let error = message(words);
        assert!(error.contains(expected), "{words:?}: {error}");
    }
}

#[test]
fn a_member_with_data_no_longer_minds_the_initial_cluster() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("member")).unwrap();
    let data_dir = format!("--data-dir={}", directory.path().display());
    let words = [data_dir.as_str(), "--initial-cluster=a=http://h:1"];
    assert!(settle(&words).is_err(), "there is no identity yet");
    std::fs::write(directory.path().join("member/identity"), "").unwrap();
    assert!(settle(&words).is_ok());
}
