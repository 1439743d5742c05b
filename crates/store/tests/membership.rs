//! Members come, move and go while a cluster of real files, threads and sockets works.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{Command, KeyRange, OperationError, PutRequest, RangeRequest};
use kontiki_store::{
    Given, InitialMember, MembershipOptions, Options, StartError, StopReason, Store, StoreError, Tuning,
};
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster that grows. Places are never given to another member; those that are empty have left.
struct Cluster {
    dir: tempfile::TempDir,
    membership: MembershipOptions,
    stores: Vec<Option<Store>>,
}

fn free() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn url(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

fn initial(name: &str, url: &str) -> InitialMember {
    InitialMember { name: name.to_owned(), peer_urls: vec![url.to_owned()] }
}

fn options(
    dir: &Path,
    name: &str,
    listener: TcpListener,
    cluster: Vec<InitialMember>,
    membership: MembershipOptions,
) -> Options {
    Options {
        name: name.to_owned(),
        given: Given { name: true, initial_cluster: true, initial_cluster_token: true },
        data_dir: dir.join(name),
        wal_dir: None,
        advertise_peer_urls: vec![url(&listener)],
        initial_cluster: cluster,
        initial_cluster_token: "test".into(),
        new_cluster: false,
        force_new_cluster: false,
        advertise_client_urls: vec![format!("http://{name}:1")],
        peer_listeners: vec![listener.into()],
        peer_connector: None,
        heartbeat_interval: Duration::from_millis(100),
        election_timeout: Duration::from_secs(1),
        pre_vote: true,
        quota_bytes: 0,
        trailing_entries: 5_000,
        progress_notify_interval: Duration::from_millis(200),
        request_bytes_max: 1 << 20,
        membership,
        auth: kontiki_store::AuthOptions::default(),
        upkeep: kontiki_store::Upkeep::default(),
        tuning: Tuning::default(),
    }
}

fn put(key: &str, value: &str) -> Command {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Command::Put(PutRequest { key: bytes(key), value: bytes(value), ..PutRequest::default() })
}

async fn read(store: &Store, key: &str) -> Option<String> {
    store.read_barrier().await.unwrap();
    let range = KeyRange { key: Bytes::copy_from_slice(key.as_bytes()), range_end: Bytes::new() };
    let (result, _) = store.reader().range(&RangeRequest { range, ..RangeRequest::default() }).unwrap();
    result.kvs.first().map(|kv| String::from_utf8(kv.value.to_vec()).unwrap())
}

/// Waits until it is so.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "waited in vain: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

impl Cluster {
    /// A cluster of one, which tells its name first.
    async fn of_one(membership: MembershipOptions) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let listener = free();
        let list = vec![initial("m0", &url(&listener))];
        let founder = Options { new_cluster: true, ..options(dir.path(), "m0", listener, list, membership) };
        let store = Store::start(founder).await.unwrap();
        let cluster = Cluster { dir, membership, stores: vec![Some(store)] };
        cluster.until_started(1).await;
        cluster
    }

    /// Without the checks that wait for members to have been connected for long.
    async fn lax() -> Cluster {
        Cluster::of_one(MembershipOptions { strict: false, ..MembershipOptions::default() }).await
    }

    fn store(&self, at: usize) -> &Store {
        self.stores[at].as_ref().unwrap()
    }

    fn any(&self) -> &Store {
        self.stores.iter().flatten().next().unwrap()
    }

    fn id(&self, at: usize) -> u64 {
        self.store(at).status().member_id
    }

    /// The list that `member add` prints: the members, and the new one under its name.
    fn list(&self, name: &str, own: &str) -> Vec<InitialMember> {
        let members = self.any().members();
        let mut list: Vec<InitialMember> = members
            .iter()
            .filter(|member| member.peer_urls != [own])
            .map(|m| initial(&m.name, &m.peer_urls[0]))
            .collect();
        list.push(initial(name, own));
        list
    }

    async fn until_started(&self, size: usize) {
        until("all members tell their names", async || {
            let members = self.any().members();
            members.len() == size && members.iter().all(|member| !member.name.is_empty())
        })
        .await;
    }

    /// Adds a member and starts it. Ends when it votes, or learns.
    async fn grow(&mut self, through: usize, learner: bool) -> usize {
        let at = self.stores.len();
        let name = format!("m{at}");
        let listener = free();
        let own = url(&listener);
        let size = self.any().members().len();
        let added = self.store(through).member_add(vec![own.clone()], learner).await.unwrap();
        let member = added.member.unwrap();
        assert_eq!((member.name.as_str(), member.is_learner, added.members.len()), ("", learner, size + 1));
        until("all have applied it", async || self.any().members().len() == size + 1).await;
        let options = options(self.dir.path(), &name, listener, self.list(&name, &own), self.membership);
        self.stores.push(Some(Store::start(options).await.unwrap()));
        assert_eq!(self.id(at), member.id);
        self.until_started(size + 1).await;
        at
    }

    /// Starts a member again, at another port where one is given.
    async fn restart(&mut self, at: usize, listener: TcpListener) {
        let name = format!("m{at}");
        let list = vec![initial(&name, &url(&listener))];
        let options = options(self.dir.path(), &name, listener, list, self.membership);
        self.stores[at] = Some(Store::start(options).await.unwrap());
    }

    async fn stop(&mut self, at: usize) {
        self.stores[at].take().unwrap().stop().await;
    }

    async fn leader(&self) -> usize {
        let mut found = None;
        until("somebody leads", async || self.position_of_leader().is_some()).await;
        found = found.or(self.position_of_leader());
        found.unwrap()
    }

    fn position_of_leader(&self) -> Option<usize> {
        self.stores.iter().position(|store| store.as_ref().is_some_and(|store| store.status().is_leader))
    }

    async fn end(self) {
        for store in self.stores.iter().flatten() {
            store.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_grows_to_five_while_clients_write_and_none_of_their_writes_is_lost() {
    let mut cluster = Cluster::lax().await;
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = {
        let (store, stop, written) = (cluster.store(0).clone(), stop.clone(), written.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let n = written.load(Ordering::Relaxed);
                store.propose(put(&format!("k{n}"), &n.to_string())).await.unwrap();
                written.store(n + 1, Ordering::Relaxed);
                sleep(Duration::from_millis(1)).await;
            }
        })
    };
    for _ in 0..4 {
        let through = cluster.stores.len() - 1;
        let before = written.load(Ordering::Relaxed);
        let at = cluster.grow(through, false).await;
        until("it votes", async || cluster.store(at).propose(put("own", "1")).await.is_ok()).await;
        until("writes go on", async || written.load(Ordering::Relaxed) > before + 20).await;
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    let last = written.load(Ordering::Relaxed) - 1;
    let mut hashes = Vec::new();
    for at in 0..5 {
        assert_eq!(read(cluster.store(at), &format!("k{last}")).await, Some(last.to_string()), "at member {at}");
        hashes.push(cluster.store(at).reader().hash_kv(0).unwrap().hash);
        assert_eq!(cluster.store(at).members(), cluster.store(0).members());
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    // Three of five are a quorum: all five vote.
    cluster.stop(3).await;
    cluster.stop(4).await;
    until("three of five write", async || cluster.store(0).propose(put("three", "1")).await.is_ok()).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_removed_says_so_and_ends_and_may_come_back_as_somebody_else() {
    let mut cluster = Cluster::lax().await;
    for _ in 0..2 {
        cluster.grow(0, false).await;
    }
    let leader = cluster.leader().await;
    let gone = cluster.id(leader);
    let mut failed = cluster.store(leader).failed();
    let left = cluster.store(leader).member_remove(gone).await.unwrap();
    assert!(left.member.is_none() || left.members.iter().all(|member| member.id != gone));
    assert_eq!(left.members.len(), 2);
    let reason = timeout(PATIENCE, failed.wait_for(Option::is_some)).await.unwrap().unwrap().clone();
    assert!(matches!(reason, Some(StopReason::Removed { member, .. }) if member == gone), "{reason:?}");
    cluster.stop(leader).await;
    cluster.any().propose(put("a", "1")).await.unwrap();
    let again = cluster.any().member_remove(gone).await;
    assert_eq!(again, Err(StoreError::Operation(OperationError::MemberNotFound)));

    // With its old data it is told so as soon as it calls.
    let listener = free();
    cluster.restart(leader, listener).await;
    let mut failed = cluster.store(leader).failed();
    let reason = timeout(PATIENCE, failed.wait_for(Option::is_some)).await.unwrap().unwrap().clone();
    assert!(matches!(reason, Some(StopReason::Removed { .. })), "{reason:?}");
    cluster.stop(leader).await;

    let through = cluster.stores.iter().position(Option::is_some).unwrap();
    let back = cluster.grow(through, false).await;
    assert_ne!(cluster.id(back), gone);
    assert_eq!(read(cluster.store(back), "a").await.as_deref(), Some("1"));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_is_promoted_when_it_has_caught_up_and_not_before() {
    let mut cluster = Cluster::lax().await;
    for n in 0..50 {
        cluster.store(0).propose(put("k", &n.to_string())).await.unwrap();
    }
    let listener = free();
    let own = url(&listener);
    let id = cluster.store(0).member_add(vec![own.clone()], true).await.unwrap().member.unwrap().id;
    assert_eq!(cluster.store(0).member_promote(id).await, Err(StoreError::LearnerNotReady), "it never started");
    assert_eq!(
        cluster.store(0).member_add(vec!["http://127.0.0.1:1".into()], true).await,
        Err(StoreError::Operation(OperationError::TooManyLearners))
    );
    let founder = cluster.id(0);
    assert_eq!(cluster.store(0).member_promote(founder).await, Err(StoreError::NotLearner));
    assert_eq!(cluster.store(0).member_promote(77).await, Err(StoreError::Operation(OperationError::MemberNotFound)));
    let list = cluster.list("m1", &own);
    let learner = Store::start(options(cluster.dir.path(), "m1", listener, list, cluster.membership)).await.unwrap();
    cluster.stores.push(Some(learner));
    cluster.until_started(2).await;
    until("the learner knows what it is", async || cluster.store(1).is_learner()).await;
    assert!(cluster.store(1).status().is_learner);
    until("it can be promoted", async || cluster.store(0).member_promote(id).await.is_ok()).await;
    assert!(cluster.store(0).members().iter().all(|member| !member.is_learner));
    until("it knows that it votes", async || !cluster.store(1).is_learner()).await;
    assert_eq!(cluster.store(1).member_promote(id).await, Err(StoreError::NotLearner));
    // Its place among the learners is free again, and whoever is asked sees to it.
    let added = cluster.store(1).member_add(vec!["http://127.0.0.1:1".into()], true).await.unwrap();
    cluster.store(1).member_remove(added.member.unwrap().id).await.unwrap();
    assert_eq!(cluster.store(1).members().len(), 2);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn learners_are_promoted_by_themselves_where_that_is_wished() {
    let membership = MembershipOptions { strict: false, promotes_learners: true, ..MembershipOptions::default() };
    let mut cluster = Cluster::of_one(membership).await;
    cluster.grow(0, true).await;
    until("both vote", async || cluster.store(0).members().iter().all(|member| !member.is_learner)).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_cost_the_quorum_is_refused() {
    let after = Duration::from_millis(500);
    let cluster = Cluster::of_one(MembershipOptions { healthy_after: after, ..MembershipOptions::default() }).await;
    let mut cluster = cluster;
    let founder = cluster.id(0);
    assert_eq!(cluster.store(0).member_remove(founder).await, Err(StoreError::NotEnoughStarted), "the last one");
    for bad in ["", "127.0.0.1:1", "http://127.0.0.1", "http://127.0.0.1:1/path"] {
        assert_eq!(cluster.store(0).member_add(vec![bad.into()], false).await, Err(StoreError::BadPeerUrls), "{bad:?}");
    }
    let absent = cluster.store(0).member_add(vec!["http://127.0.0.1:1".into()], false).await.unwrap().member.unwrap();
    let second = cluster.store(0).member_add(vec!["http://127.0.0.1:2".into()], false).await;
    assert_eq!(second, Err(StoreError::NotEnoughStarted));
    cluster.store(0).propose(put("a", "1")).await.unwrap(); // nobody waits for the one that is not there
    cluster.store(0).member_remove(absent.id).await.unwrap();
    cluster.grow(0, false).await;
    sleep(after).await;
    cluster.grow(0, false).await;
    until("all have been connected for long", async || {
        let peers = cluster.store(0).statistics().peers;
        peers.len() == 2 && peers.iter().all(|peer| peer.connected)
    })
    .await;
    sleep(after).await;
    let taken = cluster.store(0).members().last().unwrap().peer_urls.clone();
    let twice = cluster.store(0).member_add(taken.clone(), true).await;
    assert_eq!(twice, Err(StoreError::Operation(OperationError::PeerUrlExists)));
    assert_eq!(
        cluster.store(0).member_update(founder, taken).await.map(|_| ()),
        if cluster.store(0).members().last().unwrap().id == founder {
            Ok(())
        } else {
            Err(StoreError::Operation(OperationError::PeerUrlExists))
        }
    );
    cluster.stop(2).await;
    let (one, gone) = (cluster.id(1), cluster.store(0).members().iter().find(|m| m.name == "m2").unwrap().id);
    until("the leader notices", async || {
        cluster.store(0).member_remove(one).await == Err(StoreError::Unhealthy)
            && cluster.store(0).statistics().peers.iter().any(|peer| !peer.connected)
    })
    .await;
    cluster.store(0).member_remove(gone).await.unwrap();
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_moves_to_another_port() {
    let mut cluster = Cluster::lax().await;
    for _ in 0..2 {
        cluster.grow(0, false).await;
    }
    let (id, listener) = (cluster.id(2), free());
    let moved = cluster.store(0).member_update(id, vec![url(&listener)]).await.unwrap();
    assert_eq!(moved.member.unwrap().peer_urls, [url(&listener)]);
    cluster.stop(2).await;
    cluster.restart(2, listener).await;
    // With another one gone, nothing is committed without the one that moved.
    let other = if cluster.store(0).status().is_leader { 1 } else { 0 };
    cluster.stop(other).await;
    until("it is reached", async || cluster.store(2).propose(put("a", "1")).await.is_ok()).await;
    let members = cluster.store(2).members();
    let known = members.iter().find(|member| member.id == id).unwrap();
    assert_eq!((known.name.as_str(), known.peer_urls.len()), ("m2", 1), "{members:?}");
    let unknown = cluster.store(2).member_update(77, vec!["http://127.0.0.1:1".into()]).await;
    assert_eq!(unknown, Err(StoreError::Operation(OperationError::MemberNotFound)));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_join_is_told_why() {
    let mut cluster = Cluster::lax().await;
    let start =
        async |cluster: &Cluster, name: &str, listener: TcpListener, list: Vec<InitialMember>| match Store::start(
            options(cluster.dir.path(), name, listener, list, cluster.membership),
        )
        .await
        {
            Ok(_) => panic!("{name} started"),
            Err(StartError::Configuration(why)) => why,
            Err(error) => panic!("{error}"),
        };
    let listener = free();
    let own = url(&listener);
    let list = cluster.list("m1", &own);
    let why = start(&cluster, "m1", listener, list).await;
    assert!(why.contains(&format!("etcdctl member add m1 --peer-urls={own}")), "{why}");

    let (registered, other) = (free(), free());
    cluster.store(0).member_add(vec![url(&registered)], false).await.unwrap();
    let members = cluster.list("m1", &url(&other));
    let list = members.into_iter().filter(|member| !member.name.is_empty()).collect();
    let why = start(&cluster, "m1", other, list).await;
    assert!(why.contains("waiting to be started") && why.contains("member update"), "{why}");

    let alone = vec![initial("m1", &url(&registered))];
    let why = start(&cluster, "m1", free(), alone).await;
    assert!(why.contains("names no other member"), "{why}");

    let mut list = cluster.list("m1", &url(&registered));
    list.push(initial("m7", "http://127.0.0.1:1"));
    let why = start(&cluster, "m1", free(), list).await;
    assert!(why.contains("names m7") && why.contains("no member of cluster"), "{why}");

    let list = cluster.list("m1", &url(&registered));
    let joined = Store::start(options(cluster.dir.path(), "m1", registered, list.clone(), cluster.membership)).await;
    cluster.stores.push(Some(joined.unwrap()));
    cluster.until_started(2).await;
    read(cluster.store(1), "a").await;
    cluster.stop(1).await;
    std::fs::remove_dir_all(cluster.dir.path().join("m1")).unwrap();
    let why = start(&cluster, "m1", free(), list).await;
    assert!(why.contains("has already been bootstrapped") && why.contains("member remove"), "{why}");
}
