//! `KV.Compact`.

use kontiki_api::rpc;
use tonic::Status;

use crate::errors;
use crate::front::Front;

/// Makes history below a revision unreadable. With `physical` the answer waits until it is also gone from this member's file.
pub(crate) async fn compact(front: &Front, request: rpc::CompactionRequest) -> Result<rpc::CompactionResponse, Status> {
    let applied = front.store.compact(request.revision, request.physical).await.map_err(errors::store)?;
    Ok(rpc::CompactionResponse { header: Some(front.header_at(applied.revision, applied.term)) })
}
