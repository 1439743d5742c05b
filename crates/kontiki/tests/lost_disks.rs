//! Real processes that lose their disks: one that comes back empty under its old identity is not let in, and a last one
//! goes on alone only by order.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use kontiki_api::rpc::{PutRequest, RangeRequest};
use support::{Cluster, PATIENCE};
use tokio::time::{Instant, sleep, timeout};

/// Puts one key at a member, however often it takes.
async fn put(cluster: &Cluster, index: usize, key: &str) {
    let begin = Instant::now();
    loop {
        let request = PutRequest { key: key.to_owned().into(), value: key.to_owned().into(), ..PutRequest::default() };
        let mut client = cluster.kv(index);
        match timeout(Duration::from_secs(2), client.put(request)).await {
            Ok(Ok(_)) => return,
            _ if begin.elapsed() < PATIENCE => sleep(Duration::from_millis(50)).await,
            other => panic!("{key} cannot be put: {other:?}"),
        }
    }
}

/// Whether a key is there, by a linearizable read that may take its time.
async fn holds(cluster: &Cluster, index: usize, key: &str) -> bool {
    let begin = Instant::now();
    loop {
        let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
        let mut client = cluster.kv(index);
        match timeout(Duration::from_secs(2), client.range(request)).await {
            Ok(Ok(answer)) => return answer.into_inner().count == 1,
            _ if begin.elapsed() < PATIENCE => sleep(Duration::from_millis(50)).await,
            other => panic!("{key} cannot be read: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_member_is_not_let_in_under_its_old_identity() {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.wait_leader().await;
    put(&cluster, 0, "all").await;
    // The third member misses a write that the first and the second acknowledge.
    cluster.kill(2);
    put(&cluster, 0, "two").await;
    // The second loses its disk while the first is away: what is left must not form a quorum.
    cluster.kill(0);
    cluster.kill(1);
    std::fs::remove_dir_all(cluster.data_dir(1)).unwrap();
    cluster.spawn(2);
    cluster.spawn(1);
    let status = cluster.ended(1).await;
    assert!(!status.success());
    let log = cluster.log(1);
    assert!(log.contains("has already been bootstrapped"), "the wiped member does not say why it ends:\n{log}");
    assert_eq!(cluster.leader().await, None, "a member that forgot makes no quorum");
    // With the first one back everything that was acknowledged is there.
    cluster.spawn(0);
    assert!(holds(&cluster, 2, "two").await, "an acknowledged write is lost");
    assert!(holds(&cluster, 0, "all").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_member_goes_on_alone_by_order_only() {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.wait_leader().await;
    for index in 0..20 {
        put(&cluster, index % 3, &format!("key/{index}")).await;
    }
    assert!(holds(&cluster, 2, "key/19").await);
    // Two of three are lost for good.
    for index in [0, 1] {
        cluster.kill(index);
        std::fs::remove_dir_all(cluster.data_dir(index)).unwrap();
    }
    let _ = cluster.terminate(2).await;
    let plain = cluster.flags(2);
    cluster.add_flag(2, "--force-new-cluster".to_owned());
    cluster.spawn(2);
    for index in 0..20 {
        assert!(holds(&cluster, 2, &format!("key/{index}")).await, "key/{index} is lost");
    }
    put(&cluster, 2, "alone").await;
    assert!(cluster.log(2).contains("goes on ALONE"), "the order is told loudly");
    // The next start needs no order.
    cluster.kill(2);
    cluster.set_flags(2, plain);
    cluster.spawn(2);
    assert!(holds(&cluster, 2, "alone").await);
}
