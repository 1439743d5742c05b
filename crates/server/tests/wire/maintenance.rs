//! Maintenance, cluster, authentication, health.

use kontiki_api::health::HealthCheckRequest;
use kontiki_api::health::health_client::HealthClient;
use kontiki_api::rpc::alarm_request::AlarmAction;
use kontiki_api::rpc::auth_client::AuthClient;
use kontiki_api::rpc::downgrade_request::DowngradeAction;
use kontiki_api::rpc::{
    AlarmMember, AlarmRequest, AlarmType, AuthStatusRequest, AuthenticateRequest, DefragmentRequest, DowngradeRequest,
    HashKvRequest, HashRequest, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest, MoveLeaderRequest, SnapshotRequest, StatusRequest,
};
use kontiki_store::SnapshotFile;
use tonic::Code;

use crate::harness::{Member, delete, put, refused, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_members() {
    let member = Member::start().await;
    member.put("a", "1").await;
    let status = member.maintenance().status(StatusRequest {}).await.unwrap().into_inner();
    let header = status.header.unwrap();
    assert_eq!((status.version.as_str(), status.storage_version.as_str()), ("3.7.1", "3.7.0"));
    assert_eq!((status.leader, header.revision), (header.member_id, 2));
    assert!(status.db_size > 0 && status.db_size_in_use > 0 && status.raft_applied_index > 0);
    assert_eq!((status.db_size_quota, status.is_learner), (2_147_483_648, false));
    assert_eq!(status.errors, Vec::<String>::new());
    for linearizable in [false, true] {
        let request = MemberListRequest { linearizable };
        let list = member.cluster().member_list(request).await.unwrap().into_inner();
        assert_eq!(list.header.unwrap().revision, 0, "this service shows no revision");
        let [solo] = list.members.as_slice() else { panic!("{:?}", list.members) };
        assert_eq!((solo.id, solo.name.as_str()), (header.member_id, "solo"));
        assert_eq!(solo.client_urls, [format!("http://{}", member.address)]);
    }
    refused(
        member.cluster().member_add(MemberAddRequest::default()).await,
        Code::InvalidArgument,
        "etcdserver: given member URLs are invalid",
    );
    let absent = MemberAddRequest { peer_urls: vec!["http://127.0.0.1:1".into()], is_learner: false };
    let added = member.cluster().member_add(absent).await.unwrap().into_inner();
    let new = added.member.unwrap();
    assert_eq!((added.header.unwrap().revision, new.name.as_str(), added.members.len()), (0, "", 2));
    let remove = MemberRemoveRequest { id: new.id };
    assert_eq!(member.cluster().member_remove(remove).await.unwrap().into_inner().members.len(), 1);
    refused(member.cluster().member_remove(remove).await, Code::NotFound, "etcdserver: member not found");
    let update = MemberUpdateRequest { id: 7, ..MemberUpdateRequest::default() };
    refused(member.cluster().member_update(update).await, Code::NotFound, "etcdserver: member not found");
    let promote = MemberPromoteRequest { id: header.member_id };
    refused(
        member.cluster().member_promote(promote).await,
        Code::FailedPrecondition,
        "etcdserver: can only promote a learner member",
    );
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums() {
    let member = Member::start().await;
    for value in ["1", "2", "3"] {
        member.put("a", value).await;
    }
    let mut maintenance = member.maintenance();
    let mut hash_kv = async |revision| maintenance.hash_kv(HashKvRequest { revision }).await;
    let latest = hash_kv(0).await.unwrap().into_inner();
    assert_eq!((latest.hash_revision, latest.compact_revision), (4, -1));
    assert_eq!(hash_kv(4).await.unwrap().into_inner().hash, latest.hash);
    assert_ne!(hash_kv(3).await.unwrap().into_inner().hash, latest.hash);
    refused(hash_kv(5).await, Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision");
    member.kv().compact(kontiki_api::rpc::CompactionRequest { revision: 4, physical: true }).await.unwrap();
    assert_eq!(hash_kv(0).await.unwrap().into_inner().compact_revision, 4);
    refused(hash_kv(3).await, Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted");
    assert_ne!(maintenance.hash(HashRequest {}).await.unwrap().into_inner().hash, 0);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarms_and_what_they_forbid() {
    let member = Member::start().await;
    member.put("a", "1").await;
    let id = member.store.status().member_id;
    let mut maintenance = member.maintenance();
    let mut alarm = async |action: AlarmAction, alarm: AlarmType| {
        let request = AlarmRequest { action: action as i32, member_id: id, alarm: alarm as i32 };
        maintenance.alarm(request).await.unwrap().into_inner().alarms
    };
    let no_space = [AlarmMember { member_id: id, alarm: AlarmType::Nospace as i32 }];
    assert_eq!(alarm(AlarmAction::Get, AlarmType::None).await, []);
    for _ in 0..2 {
        assert_eq!(alarm(AlarmAction::Activate, AlarmType::Nospace).await, no_space);
    }
    let unknown = AlarmRequest { action: 9, member_id: id, alarm: AlarmType::Nospace as i32 };
    refused(
        member.maintenance().alarm(unknown).await,
        Code::InvalidArgument,
        "etcdserver: no alarm action has number 9",
    );
    assert_eq!(alarm(AlarmAction::Get, AlarmType::None).await, no_space);
    assert_eq!(alarm(AlarmAction::Get, AlarmType::Corrupt).await, []);
    refused(member.kv().put(put("b", "1")).await, Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded");
    member.kv().delete_range(delete("a", "")).await.unwrap();
    assert_eq!(alarm(AlarmAction::Deactivate, AlarmType::Nospace).await, no_space);
    assert_eq!(alarm(AlarmAction::Deactivate, AlarmType::Nospace).await, [], "nothing changes");
    member.put("b", "1").await;
    alarm(AlarmAction::Activate, AlarmType::Corrupt).await;
    refused(member.kv().put(put("b", "2")).await, Code::DataLoss, "etcdserver: corrupt cluster");
    member.range(crate::harness::get("b")).await;
    assert_eq!(member.get("/health").await.status, 503);
    assert_eq!(member.get("/health?exclude=CORRUPT").await.status, 200);
    assert!(member.get("/readyz").await.body.contains("[-]data_corruption failed: alarm activated: CORRUPT\n"));
    alarm(AlarmAction::Deactivate, AlarmType::Corrupt).await;
    member.put("b", "2").await;
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_comes_in_blobs_with_its_digest_last() {
    let member = Member::start().await;
    for number in 0..30 {
        member.put(&format!("key/{number}"), &"x".repeat(20_000)).await;
    }
    let mut blobs = member.maintenance().snapshot(SnapshotRequest {}).await.unwrap().into_inner();
    let (mut whole, mut remaining, mut last) = (Vec::new(), u64::MAX, 0);
    while let Some(message) = blobs.message().await.unwrap() {
        assert_eq!((message.header, message.version.as_str()), (None, "3.7.0"), "etcd sends no header here");
        assert!(message.blob.len() <= 1 << 20 && message.remaining_bytes <= remaining);
        (remaining, last) = (message.remaining_bytes, message.blob.len());
        whole.extend_from_slice(&message.blob);
    }
    assert_eq!((remaining, last), (0, 32), "the digest is a message of its own");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &whole).unwrap();
    let saved = SnapshotFile::open(file.path(), true, &mut |_| ()).unwrap();
    let summary = saved.summary(&mut |_| ()).unwrap();
    assert_eq!((summary.versions, summary.header.revision), (30, 31), "all that was acknowledged before the call");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest() {
    let member = Member::start().await;
    let mut maintenance = member.maintenance();
    let defragmented = maintenance.defragment(DefragmentRequest {}).await.unwrap().into_inner();
    assert_eq!(defragmented.header, None, "no header at all");
    refused(
        maintenance.move_leader(MoveLeaderRequest { target_id: 1 }).await,
        Code::FailedPrecondition,
        "etcdserver: bad leader transferee",
    );
    let mut auth = AuthClient::new(member.channel());
    let status = auth.auth_status(AuthStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.enabled, status.auth_revision), (false, 1));
    refused(
        auth.authenticate(AuthenticateRequest::default()).await,
        Code::FailedPrecondition,
        "etcdserver: authentication is not enabled",
    );
    let mut health = HealthClient::new(member.channel());
    let serving = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(serving.status, 1);
    let other = HealthCheckRequest { service: "other".into() };
    refused(health.check(other).await, Code::NotFound, "unknown service");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_downgrade_is_looked_at_allowed_and_called_off() {
    let member = Member::start().await;
    let mut maintenance = member.maintenance();
    let mut ask = async |action: DowngradeAction, version: &str| {
        let request = DowngradeRequest { action: action.into(), version: version.into() };
        maintenance.downgrade(request).await.map(|answer| answer.into_inner().version)
    };
    soon(async {
        while member.store.cluster_version().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    let refusals = [
        (
            DowngradeAction::Validate,
            "three",
            Code::InvalidArgument,
            "etcdserver: wrong downgrade target version format",
        ),
        (DowngradeAction::Enable, "3.5.0", Code::InvalidArgument, "etcdserver: invalid downgrade target version"),
        (DowngradeAction::Validate, "3.7", Code::InvalidArgument, "etcdserver: invalid downgrade target version"),
    ];
    for (action, version, code, text) in refusals {
        refused(ask(action, version).await, code, text);
    }
    assert_eq!(ask(DowngradeAction::Validate, "3.6").await.unwrap(), "3.7");
    assert_eq!(ask(DowngradeAction::Enable, "3.6.0").await.unwrap(), "3.7");
    let status = async || member.maintenance().status(StatusRequest {}).await.unwrap().into_inner();
    let allowed = status().await;
    let info = allowed.downgrade_info.unwrap();
    assert_eq!(
        (info.enabled, info.target_version.as_str(), allowed.storage_version.as_str()),
        (true, "3.6.0", "3.6.0")
    );
    refused(
        ask(DowngradeAction::Enable, "3.5.0").await,
        Code::FailedPrecondition,
        "etcdserver: cluster has a downgrade job in progress",
    );
    for _ in 0..2 {
        assert_eq!(ask(DowngradeAction::Cancel, "").await.unwrap(), "3.7", "also where none is allowed");
    }
    let info = status().await.downgrade_info.unwrap();
    assert_eq!((info.enabled, info.target_version.as_str()), (false, ""));
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_physical_compaction_answers_when_nothing_is_left_in_the_file() {
    let member = Member::start().await;
    for number in 0..50 {
        member.put("a", &number.to_string()).await;
    }
    let compact = kontiki_api::rpc::CompactionRequest { revision: 51, physical: true };
    soon(member.kv().compact(compact)).await.unwrap();
    assert!(member.store.reader().swept() >= 51);
    refused(
        member.kv().compact(compact).await,
        Code::OutOfRange,
        "etcdserver: mvcc: required revision has been compacted",
    );
    member.stop().await;
}
