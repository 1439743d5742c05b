//! Who serves a run: the members behind the endpoints, the connections to them, and the keys before and after.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use kontiki_api::rpc::request_op::Request;
use kontiki_api::rpc::{
    DeleteRangeRequest, MemberListRequest, PutRequest, RangeRequest, RequestOp, StatusRequest, TxnRequest,
};
use serde::Serialize;
use tonic::Status;

use super::operate::Work;
use super::plan::{BadInput, Plan};
use crate::ctl::client::{Connection, Context};
use crate::ctl::failure::Failure;
use crate::progress::Progress;

/// Most keys, and bytes, that are written in one transaction before a run; servers allow 128 and 1.5 MiB.
const BATCH_KEYS: u64 = 100;
const BATCH_BYTES: u64 = 512 * 1024;

/// A member behind an endpoint, as it was before the run.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    pub endpoint: String,
    pub version: String,
    /// In hexadecimal, as everywhere.
    pub member_id: String,
    pub leads: bool,
    pub db_size_bytes: i64,
}

/// The members of the cluster.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Members {
    pub voters: usize,
    pub learners: usize,
}

/// Asks the member behind each endpoint who it is.
pub async fn ask(context: &Context) -> Result<Vec<Server>, BadInput> {
    let mut servers = Vec::new();
    for endpoint in &context.settings.endpoints {
        let status = context
            .ask_endpoint(endpoint, async |member| {
                Ok(member.maintenance().status(StatusRequest {}).await?.into_inner())
            })
            .await;
        let status = status.map_err(|reason| BadInput::Unreachable { endpoint: endpoint.clone(), reason })?;
        let member_id = status.header.unwrap_or_default().member_id;
        servers.push(Server {
            endpoint: endpoint.clone(),
            version: status.version,
            member_id: format!("{member_id:x}"),
            leads: status.leader != 0 && status.leader == member_id,
            db_size_bytes: status.db_size,
        });
    }
    Ok(servers)
}

/// Counts the members of the cluster.
pub async fn count_members(context: &Context) -> Result<Members, Failure> {
    let request = MemberListRequest { linearizable: false };
    let list = context.read(async |from| Ok(from.cluster().member_list(request).await?.into_inner())).await?;
    let learners = list.members.iter().filter(|member| member.is_learner).count();
    Ok(Members { voters: list.members.len() - learners, learners })
}

/// Opens the connections of a run: to the endpoints in turn, or all to the leader.
pub async fn connect(context: &Context, plan: &Plan, servers: &[Server]) -> Result<Vec<Arc<Connection>>, BadInput> {
    let targets: Vec<&str> =
        servers.iter().filter(|server| server.leads || !plan.target_leader).map(|server| &*server.endpoint).collect();
    if targets.is_empty() {
        return Err(BadInput::LeaderNotNamed(plan.endpoints.join(", ")));
    }
    let mut connections = Vec::new();
    for endpoint in targets.iter().cycle().take(plan.connections) {
        let connection = context.connect_only(endpoint).await;
        let connection =
            connection.map_err(|reason| BadInput::Unreachable { endpoint: (*endpoint).to_owned(), reason })?;
        connections.push(Arc::new(connection));
    }
    Ok(connections)
}

/// The cluster's revision, and how many of the run's keys there are.
pub async fn revision_and_keys(context: &Context, work: &Work) -> Result<(i64, u64), Failure> {
    let (key, range_end) = work.keys.bounds();
    let request = RangeRequest { key, range_end, count_only: true, ..Default::default() };
    let found = context.read(async |from| Ok(from.kv().range(request.clone()).await?.into_inner())).await?;
    Ok((found.header.unwrap_or_default().revision, u64::try_from(found.count).unwrap_or(0)))
}

/// Writes all keys of the run, many at once.
pub async fn fill(connections: &[Arc<Connection>], work: &Work) -> Result<(), Failure> {
    let bytes = (work.keys.size + work.value.len()) as u64;
    let batch = (BATCH_BYTES / bytes.max(1)).clamp(1, BATCH_KEYS);
    let progress = Progress::of_steps("keys written");
    stream::iter((0..work.keys.count).step_by(batch as usize).enumerate())
        .map(|(position, first)| {
            let end = (first + batch).min(work.keys.count);
            write(&connections[position % connections.len()], work, first..end)
        })
        .buffer_unordered(connections.len() * 2)
        .try_for_each(|written| {
            progress.advance(written);
            std::future::ready(Ok(()))
        })
        .await
}

async fn write(connection: &Connection, work: &Work, numbers: std::ops::Range<u64>) -> Result<u64, Failure> {
    let written = numbers.end - numbers.start;
    let puts = numbers.map(|number| PutRequest {
        key: work.keys.key(number),
        value: work.value.clone(),
        ..Default::default()
    });
    let success = puts.map(|put| RequestOp { request: Some(Request::RequestPut(put)) }).collect();
    let request = TxnRequest { success, ..Default::default() };
    let answer: Result<_, Status> = connection.kv().txn(request).await;
    answer.map(|_| written).map_err(|status| connection.failure(&status).within("the keys cannot be written"))
}

/// Deletes the keys of the run, and no others.
pub async fn clean(context: &Context, work: &Work) -> Result<u64, Failure> {
    let (key, range_end) = work.keys.bounds();
    let request = DeleteRangeRequest { key, range_end, prev_kv: false };
    let deleted = context.write(async |to| Ok(to.kv().delete_range(request.clone()).await?.into_inner())).await;
    let deleted = deleted.map_err(|failure| failure.within("the keys are still there; --cleanup failed"))?;
    Ok(u64::try_from(deleted.deleted).unwrap_or(0))
}
