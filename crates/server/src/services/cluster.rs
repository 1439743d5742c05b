//! `Cluster`: who the members are, and changing that. Answers of this service show no revision.

use kontiki_api::rpc;
use kontiki_store::MemberChanged;
use tonic::Status;

use crate::front::Front;
use crate::{convert, errors};

/// The members.
pub(crate) async fn member_list(
    front: &Front,
    request: rpc::MemberListRequest,
) -> Result<rpc::MemberListResponse, Status> {
    if request.linearizable {
        front.store.read_barrier().await.map_err(errors::store)?;
    }
    let members = front.store.members().into_iter().map(convert::member).collect();
    Ok(rpc::MemberListResponse { header: Some(front.header(0)), members })
}

/// Somebody new, who is to be started after this.
pub(crate) async fn member_add(
    front: &Front,
    request: rpc::MemberAddRequest,
) -> Result<rpc::MemberAddResponse, Status> {
    let added = front.store.member_add(request.peer_urls, request.is_learner).await.map_err(errors::store)?;
    let MemberChanged { member, members } = added;
    Ok(rpc::MemberAddResponse {
        header: Some(front.header(0)),
        member: member.map(convert::member),
        members: members.into_iter().map(convert::member).collect(),
    })
}

/// A member leaves for good.
pub(crate) async fn member_remove(
    front: &Front,
    request: rpc::MemberRemoveRequest,
) -> Result<rpc::MemberRemoveResponse, Status> {
    let members = members(front.store.member_remove(request.id).await)?;
    Ok(rpc::MemberRemoveResponse { header: Some(front.header(0)), members })
}

/// A member is reached elsewhere.
pub(crate) async fn member_update(
    front: &Front,
    request: rpc::MemberUpdateRequest,
) -> Result<rpc::MemberUpdateResponse, Status> {
    let members = members(front.store.member_update(request.id, request.peer_urls).await)?;
    Ok(rpc::MemberUpdateResponse { header: Some(front.header(0)), members })
}

/// A learner votes from now on.
pub(crate) async fn member_promote(
    front: &Front,
    request: rpc::MemberPromoteRequest,
) -> Result<rpc::MemberPromoteResponse, Status> {
    let members = members(front.store.member_promote(request.id).await)?;
    Ok(rpc::MemberPromoteResponse { header: Some(front.header(0)), members })
}

fn members(changed: Result<MemberChanged, kontiki_store::StoreError>) -> Result<Vec<rpc::Member>, Status> {
    let changed = changed.map_err(errors::store)?;
    Ok(changed.members.into_iter().map(convert::member).collect())
}
