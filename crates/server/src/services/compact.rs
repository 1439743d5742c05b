//! `KV.Compact`.

use kontiki_api::rpc;
use kontiki_kv::Command;
use tonic::Status;

use crate::front::Front;
use crate::services::propose::propose;

/// Makes history below a revision unreadable. `physical` asks to wait until the space is free; here removal is part of
/// applying, so there is nothing to wait for.
pub(crate) async fn compact(front: &Front, request: rpc::CompactionRequest) -> Result<rpc::CompactionResponse, Status> {
    let applied = propose(front, Command::Compact { revision: request.revision }).await?;
    Ok(rpc::CompactionResponse { header: Some(front.header_at(applied.revision, applied.term)) })
}
