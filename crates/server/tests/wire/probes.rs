//! Health, version and metrics over HTTP/1.1.

use crate::harness::{Member, http};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_version() {
    let member = Member::start().await;
    let health = member.get("/health").await;
    assert_eq!((health.status, health.body.as_str()), (200, "{\"health\":\"true\",\"reason\":\"\"}"));
    assert_eq!(member.get("/health?serializable=true").await.status, 200);
    let posted = member.post("/health", "").await;
    assert_eq!(posted.status, 405);
    assert!(posted.head.to_ascii_lowercase().contains("\r\nallow: get"));
    let version = member.get("/version").await;
    assert_eq!(version.body, "{\"etcdserver\":\"3.7.1\",\"etcdcluster\":\"3.7.0\",\"storage\":\"3.7.0\"}");
    assert_eq!(member.get("/nothing").await.status, 404);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_and_ready() {
    let member = Member::start().await;
    for path in
        ["/livez", "/readyz", "/livez/serializable_read", "/readyz/linearizable_read", "/readyz?exclude=non_learner"]
    {
        let answer = member.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"), "{path}");
    }
    assert_eq!(
        member.get("/readyz?verbose").await.body,
        "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n"
    );
    assert_eq!(member.get("/livez/linearizable_read").await.status, 404);
    assert_eq!(member.post("/livez", "").await.status, 405);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_their_own_port() {
    let member = Member::start().await;
    member.put("a", "1").await;
    for address in [member.address, member.metrics_address] {
        let metrics = http(address, "GET", "/metrics", "", "").await;
        assert_eq!(metrics.status, 200);
        for line in [
            "etcd_server_has_leader 1",
            "etcd_server_is_leader 1",
            "etcd_server_version{server_version=\"3.7.1\"} 1",
            "etcd_cluster_version{cluster_version=\"3.7\"} 1",
            "etcd_debugging_mvcc_current_revision 2",
            "etcd_mvcc_put_total 1",
            "etcd_server_client_requests_total{type=\"unary\",client_api_version=\"unknown\"} 1",
            "grpc_server_started_total{grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1",
            "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1",
            "grpc_server_handled_total{grpc_code=\"Unavailable\",grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"} 0",
        ] {
            assert!(metrics.body.lines().any(|found| found == line), "{line}\nis not in\n{}", metrics.body);
        }
        for name in [
            "etcd_disk_wal_fsync_duration_seconds_bucket",
            "etcd_disk_backend_commit_duration_seconds_count",
            "etcd_mvcc_db_total_size_in_bytes",
            "process_resident_memory_bytes",
            "process_open_fds",
        ] {
            assert!(metrics.body.contains(name), "{name}");
        }
        assert!(!metrics.body.contains("grpc_server_handling_seconds"));
        assert_eq!(http(address, "GET", "/health", "", "").await.status, 200);
    }
    assert_eq!(http(member.metrics_address, "GET", "/version", "", "").await.status, 404);
    assert_eq!(http(member.metrics_address, "POST", "/v3/kv/range", "", "{}").await.status, 404);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_hosts_are_misdirected() {
    let member = Member::start_with(|options| options.host_whitelist = vec!["etcd.example".into()]).await;
    assert_eq!(member.get("/health").await.status, 421);
    let request = "GET /health HTTP/1.1\r\nHost: etcd.example:2379\r\nConnection: close\r\n\r\n";
    assert_eq!(crate::harness::exchange(member.address, request).await.status, 200);
    member.put("a", "1").await; // gRPC is not asked
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_say_what_is_wrong() {
    let member = Member::start().await;
    for (number, alarm) in [(1, "NOSPACE"), (2, "CORRUPT")] {
        let raise =
            format!(r#"{{"action":"ACTIVATE","memberID":"{}","alarm":"{alarm}"}}"#, member.store.status().member_id);
        assert_eq!(member.post("/v3/maintenance/alarm", &raise).await.status, 200);
        let health = member.get("/health").await;
        let first = "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n";
        assert_eq!((health.status, health.body.as_str()), (503, first), "alarm {number}");
    }
    let health = member.get("/health?exclude=NOSPACE").await;
    assert_eq!((health.status, health.body.as_str()), (503, "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n"));
    assert_eq!(member.get("/health?exclude=NOSPACE&exclude=CORRUPT").await.status, 200);
    let ready = member.get("/readyz").await;
    let told = "[-]data_corruption failed: alarm activated: CORRUPT\n[+]serializable_read ok\n[+]linearizable_read ok\n\
                [+]non_learner ok\n\n";
    assert_eq!((ready.status, ready.body.as_str()), (503, told));
    let one = member.get("/readyz/data_corruption").await;
    assert_eq!((one.status, one.body.as_str()), (503, "[-]data_corruption failed: alarm activated: CORRUPT\n\n"));
    assert_eq!(member.get("/readyz?exclude=data_corruption&exclude=no_such_check").await.status, 200);
    assert_eq!(member.get("/livez?verbose").await.body, "[+]serializable_read ok\nok\n");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_leader_only_local_probes_pass() {
    let mut members = Member::start_of_three(1).await;
    let member = members.remove(0);
    let health = member.get("/health").await;
    assert_eq!((health.status, health.body.as_str()), (503, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n"));
    assert_eq!(member.get("/health?serializable=true").await.status, 200);
    assert_eq!(member.get("/livez").await.status, 200);
    let ready = member.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("[-]linearizable_read failed: etcdserver: "), "{}", ready.body);
    assert!(ready.body.contains("[+]serializable_read ok"), "{}", ready.body);
    member.stop().await;
}
