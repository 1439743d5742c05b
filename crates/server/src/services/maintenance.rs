//! `Maintenance`: state of this member, sums over the data, alarms, moving the leader.

use kontiki_api::rpc;
use kontiki_api::rpc::alarm_request::AlarmAction;
use kontiki_api::rpc::downgrade_request::DowngradeAction as RequestedAction;
use kontiki_kv::{Alarm, Command, Failure, Reply};
use kontiki_store::{DowngradeAction, StoreError};
use tonic::Status;

use crate::front::Front;
use crate::services::propose::{mismatch, propose};
use crate::{convert, errors};

/// What this member knows, without asking others.
pub(crate) fn status(front: &Front) -> rpc::StatusResponse {
    let status = front.store.status();
    let versions = &front.settings.versions;
    let downgrade = front.store.downgrade_target().map(|target| format!("{target}.0"));
    rpc::StatusResponse {
        header: Some(front.current_header()),
        version: versions.server.clone(),
        db_size: status.db_size.max(1), // clients divide by it
        leader: status.leader.unwrap_or(0),
        raft_index: status.raft_index,
        raft_term: status.term,
        raft_applied_index: status.applied_index,
        errors: status.errors,
        db_size_in_use: status.db_size_in_use,
        is_learner: status.is_learner,
        storage_version: downgrade.clone().unwrap_or_else(|| versions.storage.clone()),
        db_size_quota: status.quota,
        downgrade_info: Some(rpc::DowngradeInfo {
            enabled: downgrade.is_some(),
            target_version: downgrade.unwrap_or_default(),
        }),
    }
}

/// Makes the state file smaller in the background: the answer does not wait for it, and neither does anybody else. Space
/// behind compactions is reused without it. The answer has no header, as etcd's has none.
pub(crate) fn defragment(front: &Front) -> rpc::DefragmentResponse {
    front.store.defragment();
    rpc::DefragmentResponse { header: None }
}

/// A sum over the state now. Comparable between members of one cluster at the same revision, not with etcd.
pub(crate) async fn hash(front: &Front) -> Result<rpc::HashResponse, Status> {
    let reader = front.store.reader();
    let header = front.header(reader.revision());
    let hash = apart(front, move || reader.hash()).await?;
    Ok(rpc::HashResponse { header: Some(header), hash })
}

/// A sum over all that is readable up to a revision: the same on members that hold the same.
pub(crate) async fn hash_kv(front: &Front, request: rpc::HashKvRequest) -> Result<rpc::HashKvResponse, Status> {
    let reader = front.store.reader();
    let header = front.header(reader.revision());
    let sum = apart(front, move || reader.hash_kv(request.revision)).await?;
    Ok(rpc::HashKvResponse {
        header: Some(header),
        hash: sum.hash,
        compact_revision: sum.compact_revision,
        hash_revision: if request.revision < 0 { request.revision } else { sum.hash_revision }, // as etcd says it
    })
}

/// Reads everything, and not on a thread that serves requests.
async fn apart<T: Send + 'static>(
    front: &Front,
    read: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result.map_err(|failure| front.read_failed(failure)),
        Err(_) => Err(errors::store(StoreError::Stopped)),
    }
}

/// Lists, raises or clears alarms. A list is current: it waits for what was raised before.
pub(crate) async fn alarm(front: &Front, request: rpc::AlarmRequest) -> Result<rpc::AlarmResponse, Status> {
    let action = AlarmAction::try_from(request.action)
        .map_err(|_| Status::invalid_argument(format!("etcdserver: no alarm action has number {}", request.action)))?;
    let wanted = wanted(request.alarm)?;
    let raise = match (action, wanted) {
        (AlarmAction::Get, _) => {
            front.store.read_barrier().await.map_err(errors::store)?;
            let reader = front.store.reader();
            let alarms = reader
                .alarms()
                .map_err(|error| front.read_failed(error.into()))?
                .into_iter()
                .filter(|(_, alarm)| wanted.is_none_or(|wanted| wanted == *alarm));
            return Ok(response(front.header(reader.revision()), alarms));
        }
        (AlarmAction::Activate, _) => true,
        (AlarmAction::Deactivate, _) => false,
    };
    let Some(alarm) = wanted else {
        return Ok(response(front.current_header(), std::iter::empty())); // no alarm named: none changed
    };
    let applied = propose(front, Command::Alarm { raise, member: request.member_id, alarm }).await?;
    let header = front.header_at(applied.revision, applied.term);
    match applied.reply {
        Reply::Alarm(changed) => Ok(response(header, changed.into_iter())),
        other => mismatch(&other),
    }
}

fn wanted(alarm: i32) -> Result<Option<Alarm>, Status> {
    match rpc::AlarmType::try_from(alarm) {
        Ok(rpc::AlarmType::None) => Ok(None),
        Ok(rpc::AlarmType::Nospace) => Ok(Some(Alarm::NoSpace)),
        Ok(rpc::AlarmType::Corrupt) => Ok(Some(Alarm::Corrupt)),
        Err(_) => Err(Status::invalid_argument(format!("etcdserver: no alarm has number {alarm}"))),
    }
}

fn response(header: rpc::ResponseHeader, alarms: impl Iterator<Item = (u64, Alarm)>) -> rpc::AlarmResponse {
    let alarms =
        alarms.map(|(member_id, alarm)| rpc::AlarmMember { member_id, alarm: convert::alarm_type(alarm) }).collect();
    rpc::AlarmResponse { header: Some(header), alarms }
}

/// Hands leadership to a member; only the leader can. The answer has no header, as etcd's has none.
pub(crate) async fn move_leader(
    front: &Front,
    request: rpc::MoveLeaderRequest,
) -> Result<rpc::MoveLeaderResponse, Status> {
    front.store.move_leader(Some(request.target_id)).await.map_err(errors::store)?;
    Ok(rpc::MoveLeaderResponse { header: None })
}

/// Looks at, allows, or ends the allowance of a downgrade. The answer names the cluster's version from before, as etcd's.
pub(crate) async fn downgrade(front: &Front, request: rpc::DowngradeRequest) -> Result<rpc::DowngradeResponse, Status> {
    let action = match RequestedAction::try_from(request.action) {
        Ok(RequestedAction::Validate) => DowngradeAction::Validate(request.version),
        Ok(RequestedAction::Enable) => DowngradeAction::Enable(request.version),
        Ok(RequestedAction::Cancel) => DowngradeAction::Cancel,
        Err(_) => return Err(Status::unknown("etcdserver: unknown method")), // as etcd sends it
    };
    let cluster = front.store.downgrade(action).await.map_err(errors::store)?;
    Ok(rpc::DowngradeResponse { header: Some(front.current_header()), version: cluster.to_string() })
}
