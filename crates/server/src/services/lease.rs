//! `Lease`, but for the stream of renewals.

use kontiki_api::rpc;
use kontiki_kv::{Command, Reply};
use tonic::Status;

use crate::errors;
use crate::front::Front;
use crate::services::propose::{mismatch, propose};

/// Creates a lease. The answer shows the identity and the time to live that count.
pub(crate) async fn grant(front: &Front, request: rpc::LeaseGrantRequest) -> Result<rpc::LeaseGrantResponse, Status> {
    let applied = front.store.lease_grant(request.id, request.ttl).await.map_err(errors::store)?;
    let header = Some(front.header_at(applied.revision, applied.term));
    match applied.reply {
        Reply::LeaseGrant { id, ttl } => Ok(rpc::LeaseGrantResponse { header, id, ttl, error: String::new() }),
        other => mismatch(&other),
    }
}

/// Ends a lease and deletes its keys.
pub(crate) async fn revoke(
    front: &Front,
    request: rpc::LeaseRevokeRequest,
) -> Result<rpc::LeaseRevokeResponse, Status> {
    let applied = propose(front, Command::LeaseRevoke { id: request.id }).await?;
    Ok(rpc::LeaseRevokeResponse { header: Some(front.header_at(applied.revision, applied.term)) })
}

/// How long a lease will live: −1, and no error, where there is none.
pub(crate) async fn time_to_live(
    front: &Front,
    request: rpc::LeaseTimeToLiveRequest,
) -> Result<rpc::LeaseTimeToLiveResponse, Status> {
    let answer = front.store.lease_time_to_live(request.id, request.keys).await.map_err(errors::store)?;
    Ok(rpc::LeaseTimeToLiveResponse {
        header: Some(front.current_header()),
        id: request.id,
        ttl: answer.ttl,
        granted_ttl: answer.granted_ttl,
        keys: answer.keys,
    })
}

/// All leases.
pub(crate) async fn leases(
    front: &Front,
    _request: rpc::LeaseLeasesRequest,
) -> Result<rpc::LeaseLeasesResponse, Status> {
    front.store.read_barrier().await.map_err(errors::store)?;
    let reader = front.store.reader();
    let leases = reader.leases().map_err(|error| front.read_failed(error.into()))?;
    Ok(rpc::LeaseLeasesResponse {
        header: Some(front.header(reader.revision())),
        leases: leases.into_iter().map(|(id, _)| rpc::LeaseStatus { id }).collect(),
    })
}
