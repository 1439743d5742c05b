//! Members of real files, threads and sockets in one process: what the front door relies on.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{Command, DeleteRangeRequest, KeyRange, PutRequest, RangeRequest, Reply, RequestOp, TxnRequest};
use kontiki_store::{
    Given, InitialMember, MembershipOptions, Options, StartError, Store, StoreError, Tuning, Upkeep, WatchCreate,
    WatchKind,
};

const PATIENCE: Duration = Duration::from_secs(20);

struct Cluster {
    dir: tempfile::TempDir,
    members: Vec<InitialMember>,
    stores: Vec<Option<Store>>,
}

fn options(dir: &Path, members: &[InitialMember], at: usize, listener: TcpListener) -> Options {
    Options {
        name: members[at].name.clone(),
        given: Given { name: true, initial_cluster: true, initial_cluster_token: true },
        data_dir: dir.join(&members[at].name),
        wal_dir: None,
        initial_cluster: members.to_vec(),
        initial_cluster_token: "test".into(),
        new_cluster: true,
        force_new_cluster: false,
        advertise_peer_urls: members[at].peer_urls.clone(),
        advertise_client_urls: vec![format!("http://127.0.0.1:{}", 1 + at)],
        peer_listeners: vec![listener.into()],
        peer_connector: None,
        heartbeat_interval: Duration::from_millis(100),
        election_timeout: Duration::from_secs(1),
        pre_vote: true,
        quota_bytes: 0,
        trailing_entries: 5_000,
        progress_notify_interval: Duration::from_millis(200),
        request_bytes_max: 1 << 20,
        upkeep: Upkeep { lease_error: Duration::from_secs(2), ..Upkeep::default() },
        auth: kontiki_store::AuthOptions::default(),
        membership: MembershipOptions::default(),
        tuning: Tuning::default(),
    }
}

impl Cluster {
    async fn of(size: usize) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let listeners: Vec<TcpListener> = (0..size).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let members: Vec<InitialMember> = listeners
            .iter()
            .enumerate()
            .map(|(at, listener)| InitialMember {
                name: format!("m{at}"),
                peer_urls: vec![format!("http://{}", listener.local_addr().unwrap())],
            })
            .collect();
        let mut stores = Vec::new();
        for (at, listener) in listeners.into_iter().enumerate() {
            stores.push(Some(Store::start(options(dir.path(), &members, at, listener)).await.unwrap()));
        }
        Cluster { dir, members, stores }
    }

    fn store(&self, at: usize) -> &Store {
        self.stores[at].as_ref().unwrap()
    }

    async fn leader(&self) -> usize {
        let mut seen = self.stores.iter().flatten().next().unwrap().leadership();
        let leader =
            tokio::time::timeout(PATIENCE, seen.wait_for(|now| now.leader.is_some())).await.unwrap().unwrap().leader;
        let found = self
            .stores
            .iter()
            .position(|store| store.as_ref().is_some_and(|store| Some(store.status().member_id) == leader));
        found.unwrap()
    }

    async fn restart(&mut self, at: usize) {
        let address = self.members[at].peer_urls[0].trim_start_matches("http://").to_owned();
        // The sockets of the stopped member close on tasks of the runtime, shortly after it has stopped.
        let end = tokio::time::Instant::now() + PATIENCE;
        let listener = loop {
            match TcpListener::bind(&address) {
                Ok(listener) => break listener,
                Err(error) => assert!(tokio::time::Instant::now() < end, "{address}: {error}"),
            }
            tokio::task::yield_now().await;
        };
        let options = options(self.dir.path(), &self.members, at, listener);
        self.stores[at] = Some(Store::start(options).await.unwrap());
    }

    async fn stop(&mut self, at: usize) {
        self.stores[at].take().unwrap().stop().await;
    }
}

fn put(key: &str, value: &str) -> Command {
    Command::Put(PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..PutRequest::default()
    })
}

fn one(key: &str) -> KeyRange {
    KeyRange { key: Bytes::copy_from_slice(key.as_bytes()), range_end: Bytes::new() }
}

fn all() -> KeyRange {
    KeyRange { key: Bytes::from_static(&[0]), range_end: Bytes::from_static(&[0]) }
}

async fn read(store: &Store, key: &str) -> Option<String> {
    store.read_barrier().await.unwrap();
    let (result, _) = store.reader().range(&RangeRequest { range: one(key), ..RangeRequest::default() }).unwrap();
    result.kvs.first().map(|kv| String::from_utf8(kv.value.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_serves_and_remembers() {
    let mut cluster = Cluster::of(1).await;
    let applied = cluster.store(0).propose(put("a", "1")).await.unwrap();
    assert_eq!((applied.revision, applied.reply), (2, Reply::Put(None)));
    assert_eq!(read(cluster.store(0), "a").await.as_deref(), Some("1"));
    cluster.stop(0).await;
    cluster.restart(0).await;
    assert_eq!(read(cluster.store(0), "a").await.as_deref(), Some("1"));
    assert_eq!(cluster.store(0).propose(put("a", "2")).await.unwrap().revision, 3);
    let end = tokio::time::Instant::now() + PATIENCE;
    while cluster.store(0).members()[0].name != "m0" {
        assert!(tokio::time::Instant::now() < end, "the member never told its name");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.stop(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_take_writes_and_reads_anywhere_and_survive_their_leader() {
    let mut cluster = Cluster::of(3).await;
    for at in 0..3 {
        cluster.store(at).propose(put("k", &format!("{at}"))).await.unwrap();
        for other in 0..3 {
            assert_eq!(read(cluster.store(other), "k").await, Some(format!("{at}")));
        }
    }
    let leader = cluster.leader().await;
    cluster.stop(leader).await;
    let other = (leader + 1) % 3;
    cluster.store(other).propose(put("k", "after")).await.unwrap();
    cluster.restart(leader).await;
    assert_eq!(read(cluster.store(leader), "k").await.as_deref(), Some("after"));
    let hashes: Vec<u32> = {
        let mut hashes = Vec::new();
        for at in 0..3 {
            cluster.store(at).read_barrier().await.unwrap();
            hashes.push(cluster.store(at).reader().hash_kv(0).unwrap().hash);
        }
        hashes
    };
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    for at in 0..3 {
        cluster.stop(at).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_see_history_and_the_present_once_and_in_order() {
    let mut cluster = Cluster::of(1).await;
    let store = cluster.store(0).clone();
    for n in 0..50 {
        store.propose(put("w", &n.to_string())).await.unwrap();
    }
    let mut stream = store.watch_stream();
    stream.create(WatchCreate { range: all(), start_revision: 2, prev_kv: true, ..WatchCreate::default() });
    stream.create(WatchCreate { range: one("w"), ..WatchCreate::default() });
    for n in 50..100 {
        store.propose(put("w", &n.to_string())).await.unwrap();
    }
    store.propose(Command::DeleteRange(DeleteRangeRequest { range: all(), prev_kv: false })).await.unwrap();
    let (mut past, mut present) = (Vec::new(), Vec::new());
    while past.len() < 101 || present.len() < 51 {
        let response = tokio::time::timeout(PATIENCE, stream.next()).await;
        let response = response.unwrap_or_else(|_| panic!("only {past:?} and {present:?}"));
        if let WatchKind::Events(events) = response.kind {
            let seen = if response.watch_id == 0 { &mut past } else { &mut present };
            seen.extend(events.iter().map(|event| event.kv.mod_revision));
        }
    }
    // The member's own attributes are no key: revisions 2 to 102 are all of the key's.
    assert_eq!(past, (2..=102).collect::<Vec<i64>>());
    assert_eq!(present, (52..=102).collect::<Vec<i64>>());
    stream.request_progress();
    let progress = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap();
    assert_eq!((progress.watch_id, progress.revision, progress.kind), (-1, 102, WatchKind::Progress));
    cluster.stop(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_takes_its_keys_with_it_unless_it_is_kept_alive() {
    let mut cluster = Cluster::of(3).await;
    let follower = (cluster.leader().await + 1) % 3;
    let store = cluster.store(follower).clone();
    let (kept, lost) = (100, 200);
    for id in [kept, lost] {
        let granted = store.lease_grant(id, 1).await.unwrap();
        assert_eq!(granted.reply, Reply::LeaseGrant { id, ttl: 2 }, "raised to the minimum");
        let key = Bytes::from(format!("lease/{id}"));
        store.propose(Command::Put(PutRequest { key, lease: id, ..PutRequest::default() })).await.unwrap();
    }
    assert_eq!(store.lease_time_to_live(lost, true).await.unwrap().keys, vec![Bytes::from("lease/200")]);
    let end = tokio::time::Instant::now() + PATIENCE;
    while read(&store, "lease/200").await.is_some() {
        assert!(tokio::time::Instant::now() < end, "the lease never ended");
        assert_eq!(store.lease_keep_alive(kept).await.unwrap(), 2);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(read(&store, "lease/100").await.is_some());
    assert_eq!(store.lease_keep_alive(lost).await.unwrap(), 0);
    assert_eq!(store.lease_time_to_live(lost, false).await.unwrap().ttl, -1);
    for at in 0..3 {
        cluster.stop(at).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_says_why() {
    let mut cluster = Cluster::of(1).await;
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let mut wrong = options(cluster.dir.path(), &cluster.members, 0, listener());
    let locked = Store::start(wrong).await.unwrap_err();
    assert!(matches!(locked, StartError::Locked { .. }), "{locked}");
    assert!(locked.to_string().contains(&std::process::id().to_string()), "{locked}");
    cluster.stop(0).await;

    wrong = options(cluster.dir.path(), &cluster.members, 0, listener());
    wrong.initial_cluster_token = "other".into();
    let foreign = Store::start(wrong).await.unwrap_err().to_string();
    assert!(foreign.contains("belongs to a cluster with the token \"test\""), "{foreign}");

    wrong = options(cluster.dir.path(), &cluster.members, 0, listener());
    wrong.name = "stranger".into();
    let foreign = Store::start(wrong).await.unwrap_err().to_string();
    assert!(foreign.contains("belongs to member \"m0\""), "{foreign}");

    wrong = options(cluster.dir.path(), &cluster.members, 0, listener());
    wrong.name = "stranger".into();
    wrong.data_dir = cluster.dir.path().join("elsewhere");
    let unnamed = Store::start(wrong).await.unwrap_err().to_string();
    assert!(unnamed.contains("does not name this member"), "{unnamed}");

    let identity = cluster.dir.path().join("m0/member/identity");
    let text = std::fs::read_to_string(&identity).unwrap();
    std::fs::write(&identity, text.replacen("kontiki-identity 2", "kontiki-identity 9", 1)).unwrap();
    let newer =
        Store::start(options(cluster.dir.path(), &cluster.members, 0, listener())).await.unwrap_err().to_string();
    assert!(newer.contains("format 9"), "{newer}");
    std::fs::write(&identity, text.replacen("token test", "token best", 1)).unwrap();
    let damaged =
        Store::start(options(cluster.dir.path(), &cluster.members, 0, listener())).await.unwrap_err().to_string();
    assert!(damaged.contains("damaged"), "{damaged}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bare_flags_start_a_member_that_has_data() {
    let mut cluster = Cluster::of(1).await;
    cluster.store(0).propose(put("a", "1")).await.unwrap();
    cluster.stop(0).await;
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let mut bare = options(cluster.dir.path(), &cluster.members, 0, listener());
    (bare.name, bare.initial_cluster_token) = ("default".into(), "etcd-cluster".into());
    bare.initial_cluster = vec![InitialMember { name: "default".into(), peer_urls: vec!["http://h:1".into()] }];
    bare.given = Given::default();
    cluster.stores[0] = Some(Store::start(bare).await.unwrap());
    assert_eq!(read(cluster.store(0), "a").await.as_deref(), Some("1"));
    assert_eq!(cluster.store(0).name(), "m0");
    cluster.stop(0).await;
    // The list without the token: the one that the directory remembers counts.
    let mut listed = options(cluster.dir.path(), &cluster.members, 0, listener());
    listed.initial_cluster_token = "etcd-cluster".into();
    listed.given.initial_cluster_token = false;
    cluster.stores[0] = Some(Store::start(listed).await.unwrap());
    cluster.stop(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_came_to_nothing_does_not_bind_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own =
        InitialMember { name: "m0".into(), peer_urls: vec![format!("http://{}", listener.local_addr().unwrap())] };
    // Nobody answers as m1, so that nothing is ever written.
    let m1 = InitialMember { name: "m1".into(), peer_urls: vec!["http://127.0.0.1:1".into()] };
    let wrong = options(dir.path(), &[own.clone(), m1], 0, listener);
    let store = Store::start(wrong).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await; // elections come to nothing
    store.stop().await;
    drop(store);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let store = Store::start(options(dir.path(), &[own], 0, listener)).await.unwrap();
    store.propose(put("a", "1")).await.unwrap();
    assert_eq!(store.members().len(), 1);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_does_not_come_back_without_its_log() {
    let mut cluster = Cluster::of(1).await;
    cluster.store(0).propose(put("a", "1")).await.unwrap();
    let member = cluster.dir.path().join("m0/member");
    let end = tokio::time::Instant::now() + PATIENCE;
    while !member.join("started").exists() {
        assert!(tokio::time::Instant::now() < end, "the start was never noted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.stop(0).await;
    let (log, away) = (member.join("wal"), member.join("away"));
    std::fs::rename(&log, &away).unwrap();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = Store::start(options(cluster.dir.path(), &cluster.members, 0, listener)).await.unwrap_err();
        assert!(matches!(error, StartError::LogMissing { .. }), "{error}");
        assert!(error.to_string().contains("--wal-dir"), "{error}");
    }
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::rename(&away, &log).unwrap();
    std::fs::remove_file(member.join("started")).unwrap();
    cluster.restart(0).await;
    assert!(member.join("started").exists(), "a member with a log is marked at once");
    assert_eq!(read(cluster.store(0), "a").await.as_deref(), Some("1"));
    cluster.stop(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_too_large_is_refused_before_the_log() {
    let mut cluster = Cluster::of(1).await;
    let before = cluster.store(0).propose(put("a", "1")).await.unwrap().revision;
    let large = "x".repeat(2 << 20);
    assert_eq!(cluster.store(0).propose(put("b", &large)).await, Err(StoreError::RequestTooLarge));
    assert_eq!(cluster.store(0).propose(put("c", "1")).await.unwrap().revision, before + 1);
    cluster.stop(0).await;
}

/// A hundred puts in one transaction.
fn hundred() -> Command {
    let op = |n: u32| {
        let key = Bytes::from(format!("slow/{n:03}"));
        RequestOp::Put(PutRequest { key, value: Bytes::from_static(b"value"), ..PutRequest::default() })
    };
    Command::Txn(TxnRequest { success: (0..100).map(op).collect(), ..TxnRequest::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_is_too_slow_reads_on_from_storage_and_its_name_can_be_used_again() {
    let mut cluster = Cluster::of(1).await;
    let store = cluster.store(0).clone();
    let mut stream = store.watch_stream();
    stream.create(WatchCreate { range: all(), watch_id: 5, ..WatchCreate::default() });
    stream.create(WatchCreate { range: all(), watch_id: 6, ..WatchCreate::default() });
    let mut last = 0;
    for _ in 0..120 {
        last = store.propose(hundred()).await.unwrap().revision;
    }
    // Watch 5 has waited too long by now. It ends, and another one takes its name before anything was read.
    stream.cancel(5);
    stream.create(WatchCreate { range: one("slow/000"), start_revision: last, watch_id: 5, ..WatchCreate::default() });
    let (mut told, mut again) = (Vec::new(), Vec::new());
    while told.len() < 12_000 || again.len() != 1 {
        let response = tokio::time::timeout(PATIENCE, stream.next()).await;
        let response = response.unwrap_or_else(|_| panic!("only {} and {again:?}", told.len()));
        match response.kind {
            WatchKind::Events(events) => {
                let seen = if response.watch_id == 6 { &mut told } else { &mut again };
                seen.extend(events.iter().map(|event| (event.kv.mod_revision, event.kv.key.clone())));
            }
            // What came before was still the former watch's.
            WatchKind::Created if response.watch_id == 5 => again.clear(),
            _ => {}
        }
    }
    assert!(told.is_sorted() && told.windows(2).all(|pair| pair[0] != pair[1]), "in order, each once");
    assert_eq!(again, vec![(last, Bytes::from_static(b"slow/000"))]);
    drop(stream);
    cluster.stop(0).await;
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_files_rotted_is_mended_by_the_others() {
    let mut cluster = Cluster::of(3).await;
    for n in 0..20 {
        cluster.store(n % 3).propose(put(&format!("k{n}"), &format!("value {n} {}", "v".repeat(500)))).await.unwrap();
    }
    cluster.stop(1).await;
    // A value in the log changes a bit, and the state file is not even a state file any more.
    let mut flipped = 0;
    for path in files(&cluster.dir.path().join("m1")) {
        let mut bytes = std::fs::read(&path).unwrap();
        if path.ends_with("state.redb") {
            bytes.fill(0x5a);
        } else if let Some(at) = bytes.windows(9).position(|window| window == b"value 7 v") {
            bytes[at + 20] ^= 1;
            flipped += 1;
        } else {
            continue;
        }
        std::fs::write(&path, bytes).unwrap();
    }
    assert_eq!(flipped, 1, "the log holds the value once");
    cluster.restart(1).await;
    for n in 0..20 {
        let value = read(cluster.store(1), &format!("k{n}")).await.unwrap();
        assert!(value.starts_with(&format!("value {n} ")) && value.ends_with(&"v".repeat(500)), "{value}");
    }
    assert_eq!(cluster.store(1).statistics().mended, 1);
    assert!(cluster.store(1).status().errors.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_file_shrinks_beside_writes() {
    let mut cluster = Cluster::of(1).await;
    let store = cluster.store(0).clone();
    let value = Bytes::from(vec![7; 4_096]);
    let put = |key: String| Command::Put(PutRequest { key: key.into(), value: value.clone(), ..PutRequest::default() });
    for round in 0..40 {
        let mut puts = tokio::task::JoinSet::new();
        for n in 0..50 {
            let (store, put) = (store.clone(), put(format!("big/{}", 50 * round + n)));
            puts.spawn(async move { store.propose(put).await });
        }
        for done in puts.join_all().await {
            done.unwrap();
        }
    }
    let file = cluster.dir.path().join("m0/member/state/state.redb");
    let large = {
        // All of it is in the file once the member has been quiet.
        let mut large = 0;
        tokio::time::timeout(PATIENCE, async {
            while large < 8 << 20 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                large = std::fs::metadata(&file).unwrap().len();
            }
        })
        .await
        .unwrap();
        large
    };
    store.propose(Command::DeleteRange(DeleteRangeRequest { range: all(), prev_kv: false })).await.unwrap();
    let revision = store.reader().revision();
    store.propose(Command::Compact { revision }).await.unwrap();
    // Sweeping what the compaction made unreadable takes a few checkpoints; each shrinking is one.
    let mut n = 0;
    tokio::time::timeout(PATIENCE, async {
        while std::fs::metadata(&file).unwrap().len() > large / 4 {
            store.defragment();
            n += 1;
            store.propose(put(format!("meanwhile/{n}"))).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    let hash = store.reader().hash_kv(0).unwrap();
    drop(store);
    cluster.stop(0).await;
    cluster.restart(0).await;
    cluster.leader().await;
    cluster.store(0).read_barrier().await.unwrap();
    assert_eq!(cluster.store(0).reader().hash_kv(hash.hash_revision).unwrap().hash, hash.hash);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lease_has_left_is_kept_across_a_restart_until_it_is_renewed() {
    let mut cluster = Cluster::of(1).await;
    let store = cluster.store(0).clone();
    for id in [1, 2] {
        store.lease_grant(id, 8).await.unwrap();
    }
    let said = |store: &Store, id| store.reader().lease_row(id).unwrap().unwrap().left;
    let end = tokio::time::Instant::now() + PATIENCE;
    while said(&store, 1).is_none() || said(&store, 2).is_none() {
        assert!(tokio::time::Instant::now() < end, "nothing was said of the time that the leases have left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.lease_keep_alive(2).await.unwrap(), 8);
    assert_eq!(said(&store, 2), None, "taken back before the client is told");
    drop(store);
    cluster.stop(0).await;
    cluster.restart(0).await;
    let store = cluster.store(0).clone();
    assert!(store.lease_time_to_live(1, false).await.unwrap().ttl <= 5, "its time went on");
    assert!(store.lease_time_to_live(2, false).await.unwrap().ttl >= 5, "it was renewed");
    cluster.stop(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_renewals_at_a_follower_reach_the_leader_together() {
    let mut cluster = Cluster::of(3).await;
    let follower = (cluster.leader().await + 1) % 3;
    let store = cluster.store(follower).clone();
    for id in 1..=10 {
        store.lease_grant(id, 60).await.unwrap();
    }
    let renewals: Vec<_> = (0..5_000)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.lease_keep_alive(number % 11).await })
        })
        .collect();
    for (number, renewal) in renewals.into_iter().enumerate() {
        assert_eq!(renewal.await.unwrap(), Ok(if number % 11 == 0 { 0 } else { 60 }));
    }
    for at in 0..3 {
        cluster.stop(at).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_that_end_together_all_end_and_writes_go_on() {
    let mut cluster = Cluster::of(3).await;
    let store = cluster.store(cluster.leader().await).clone();
    let count = 1_500;
    let grants: Vec<_> = (1..=count)
        .map(|id| {
            let store = store.clone();
            tokio::spawn(async move {
                store.lease_grant(id, 3).await.unwrap();
                let key = Bytes::from(format!("lease/{id:05}"));
                store.propose(Command::Put(PutRequest { key, lease: id, ..PutRequest::default() })).await.unwrap();
            })
        })
        .collect();
    for grant in grants {
        grant.await.unwrap();
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut puts = 0;
    while !store.reader().leases().unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < end, "they never ended");
        store.propose(put("beside", "value")).await.unwrap();
        puts += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (result, revision) = store.reader().range(&RangeRequest { range: all(), ..RangeRequest::default() }).unwrap();
    assert_eq!(result.count, 1, "no key of theirs is left");
    assert_eq!(revision, 1 + count + count + puts, "each lease ends in a revision of its own");
    for at in 0..3 {
        cluster.stop(at).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_alarm_of_a_used_up_quota_is_lowered_where_that_is_wanted() {
    let mut cluster = Cluster::of(1).await;
    cluster.stop(0).await;
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = Options {
        upkeep: Upkeep { clears_no_space: true, ..Upkeep::default() },
        ..options(cluster.dir.path(), &cluster.members, 0, listener())
    };
    let store = Store::start(wanted).await.unwrap();
    let member = store.status().member_id;
    let raise = Command::Alarm { raise: true, member, alarm: kontiki_kv::Alarm::NoSpace };
    store.read_barrier().await.unwrap();
    store.propose(raise).await.unwrap();
    let refused = store.propose(put("a", "1")).await.unwrap_err();
    assert_eq!(refused, StoreError::Operation(kontiki_kv::OperationError::NoSpace));
    let end = tokio::time::Instant::now() + PATIENCE;
    while !store.reader().alarms().unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < end, "the alarm was never lowered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.propose(put("a", "1")).await.unwrap();
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_compacted_by_the_rule_that_was_given() {
    let mut cluster = Cluster::of(1).await;
    cluster.stop(0).await;
    let auto_compaction = Some(kontiki_store::AutoCompaction::Periodic(Duration::from_millis(500)));
    let wanted = Options {
        upkeep: Upkeep { auto_compaction, ..Upkeep::default() },
        ..options(cluster.dir.path(), &cluster.members, 0, TcpListener::bind("127.0.0.1:0").unwrap())
    };
    let store = Store::start(wanted).await.unwrap();
    for number in 0..10 {
        store.propose(put("a", &number.to_string())).await.unwrap();
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    while store.reader().swept() < 11 {
        assert!(tokio::time::Instant::now() < end, "compacted to {}", store.reader().compacted());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(read(&store, "a").await.as_deref(), Some("9"));
    store.stop().await;
}

/// Memory of this process in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

/// The longest of the puts that are made for so long.
async fn longest_put(store: &Store, time: Duration) -> Duration {
    let (end, mut longest) = (tokio::time::Instant::now() + time, Duration::ZERO);
    while tokio::time::Instant::now() < end {
        let begin = tokio::time::Instant::now();
        store.propose(put("beside", "value")).await.unwrap();
        longest = longest.max(begin.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures: a million leases in memory, and across a restart"]
async fn a_million_leases() {
    let count: i64 = 1_000_000;
    let mut cluster = Cluster::of(1).await;
    let store = cluster.store(0).clone();
    store.propose(put("a", "1")).await.unwrap();
    let (before, begin) = (resident(), std::time::Instant::now());
    let granters: Vec<_> = (0..1_000)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                for id in (1 + number..=count).step_by(1_000) {
                    store.lease_grant(id.wrapping_mul(0x9e37_79b9) & i64::MAX, 3_600).await.unwrap();
                }
            })
        })
        .collect();
    for granter in granters {
        granter.await.unwrap();
    }
    println!("granted in {:?}; {} MiB, before {before}", begin.elapsed(), resident());
    println!("longest put beside: {:?}", longest_put(&store, Duration::from_secs(5)).await);
    drop(store);
    cluster.stop(0).await;
    let begin = std::time::Instant::now();
    cluster.restart(0).await;
    let store = cluster.store(0).clone();
    store.read_barrier().await.unwrap();
    println!("read after a restart: {:?}", begin.elapsed());
    let last = (count.wrapping_mul(0x9e37_79b9)) & i64::MAX;
    assert!(store.lease_keep_alive(last).await.unwrap() > 0);
    println!("renewal after a restart: {:?}", begin.elapsed());
    println!(
        "longest put while leases are taken on the clock: {:?}",
        longest_put(&store, Duration::from_secs(8)).await
    );
    println!("{} MiB", resident());
    cluster.stop(0).await;
}
