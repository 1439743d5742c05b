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
    let cases: [(&[&str], &str); 33] = [
        (&["--election-timeout=400"], "500 or more"),
        (&["--election-timeout=60000"], "between 1 and 50000"),
        (&["--heartbeat-interval=0"], "out of bounds"),
        (&["--initial-cluster=a=http://h:1"], "does not name this member"),
        (&["--name=a", "--initial-cluster=a=http://127.0.0.1:9"], "make both the same"),
        (&["--initial-cluster=default=http://h:1,x=http://h:1"], "again for \"x\""),
        (&["--initial-cluster=default"], "name=peer-url"),
        (&["--initial-cluster-state=newish"], "new or existing"),
        (&["--listen-client-urls=http://127.0.0.1:1"], "must be given when --listen-client-urls is"),
        (&["--listen-peer-urls=ftp://127.0.0.1:1"], "scheme"),
        (&["--listen-peer-urls=http://localhost:2379"], "give each its own port"),
        (&["--log-level=loud"], "--log-level"),
        (&["--cert-file=a.pem"], "--key-file: must be given when --cert-file is"),
        (&["--peer-key-file=a.pem"], "--peer-cert-file: must be given"),
        (&["--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"], "choose one"),
        (&["--tls-min-version=TLS1.1"], "TLS1.2 or TLS1.3"),
        (&["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"], "lower than --tls-min-version"),
        (&["--tls-min-version=TLS1.3", "--cipher-suites=TLS_AES_128_GCM_SHA256"], "ciphers of its own"),
        (&["--auth-token=basic"], "simple, or jwt"),
        (&["--auth-token=jwt"], "sign-method"),
        (&["--auth-token=jwt,sign-method=RS256"], "needs a key"),
        (&["--auth-token=jwt,sign-method=RS256,pub-key=a,leeway=1s"], "option \"leeway\""),
        (&["--auto-compaction-mode=sometimes"], "periodic or revision"),
        (&["--auto-compaction-mode=revision", "--auto-compaction-retention=1h"], "number of revisions"),
        (&["--auto-compaction-retention=-1"], "negative"),
        (&["--compact-hash-check-time=0s"], "longer than zero"),
        (&["--feature-gates=LeaseCheckpointPersist=true"], "needs LeaseCheckpoint=true"),
        (&["--enable-log-rotation"], "exactly one file"),
        (&["--enable-log-rotation", "--log-outputs=/tmp/a", "--log-rotation-config-json={"], "rotation takes"),
        (&["--enable-distributed-tracing", "--distributed-tracing-sampling-rate=1000001"], "between 0 and 1000000"),
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

#[test]
fn typed_settings_carry_what_the_flags_say() {
    use super::compaction::AutoCompaction;
    let config = settle(&[
        "--cert-file=c.pem",
        "--key-file=k.pem",
        "--client-cert-auth",
        "--trusted-ca-file=ca.pem",
        "--peer-auto-tls",
        "--peer-cert-allowed-cn=a,b",
        "--tls-min-version=TLS1.3",
        "--auth-token=jwt,pub-key=p.pem,priv-key=q.pem,sign-method=RS256,ttl=10m",
        "--bcrypt-cost=3",
        "--auto-compaction-retention=2",
        "--feature-gates=AllAlpha=true,InitialCorruptCheck=false",
    ])
    .unwrap();
    assert_eq!(config.client_tls.cert_file, Some(PathBuf::from("c.pem")));
    assert!(config.client_tls.client_cert_auth && !config.client_tls.auto_tls && config.peer_tls.auto_tls);
    assert_eq!(config.peer_tls.allowed_cn, ["a", "b"]);
    assert_eq!(config.peer_tls.min_version, Some(kontiki_tls::TlsVersion::Tls13));
    assert!(config.auth.token.starts_with("jwt,pub-key=p.pem"));
    assert_eq!(config.auth.bcrypt_cost, 10, "an impossible cost is replaced");
    assert_eq!(config.auto_compaction, AutoCompaction::Periodic(Duration::from_secs(7200)));
    let on = |name: &str| config.gates.all.iter().any(|(gate, _, on)| *gate == name && *on);
    assert!(on("CompactHashCheck") && on("LeaseCheckpointPersist") && !on("InitialCorruptCheck"));
    for expected in ["plain text although TLS", "--bcrypt-cost", "--name is the default"] {
        assert!(config.warnings.iter().any(|warning| warning.contains(expected)), "{:?}", config.warnings);
    }
}

#[test]
fn retention_is_read_in_both_modes() {
    use super::compaction::AutoCompaction;
    let minutes = |minutes: u64| AutoCompaction::Periodic(Duration::from_secs(minutes * 60));
    for (mode, retention, expected) in [
        ("periodic", "0", AutoCompaction::Off),
        ("periodic", "1", minutes(60)),
        ("periodic", "5m", minutes(5)),
        ("periodic", "0s", AutoCompaction::Off),
        ("revision", "0", AutoCompaction::Off),
        ("revision", "1000", AutoCompaction::Revision(1000)),
    ] {
        let words = [format!("--auto-compaction-mode={mode}"), format!("--auto-compaction-retention={retention}")];
        let config = settle(&[&words[0], &words[1]]).unwrap();
        assert_eq!(config.auto_compaction, expected, "{mode} {retention}");
    }
}
