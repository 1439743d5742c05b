//! `Cluster`: who the members are. Changing that comes in a later version.

use kontiki_api::rpc;
use tonic::Status;

use crate::front::Front;
use crate::{convert, errors};

/// The members. Answers of this service show no revision.
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

/// The answer to every change.
pub(crate) fn change_unsupported() -> Status {
    Status::unimplemented("kontiki: membership changes are not supported by this version")
}
