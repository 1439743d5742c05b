//! `KV.DeleteRange`.

use kontiki_api::rpc;
use kontiki_kv::{Command, Reply, check_delete_range};
use tonic::Status;

use crate::front::Front;
use crate::services::propose::{mismatch, propose};
use crate::{convert, errors};

/// Deletes a key or a range.
pub(crate) async fn delete_range(
    front: &Front,
    request: rpc::DeleteRangeRequest,
) -> Result<rpc::DeleteRangeResponse, Status> {
    let request = convert::delete_range_request(request);
    check_delete_range(&request).map_err(errors::operation)?;
    let applied = propose(front, Command::DeleteRange(request)).await?;
    let header = front.header_at(applied.revision, applied.term);
    match applied.reply {
        Reply::DeleteRange(reply) => Ok(convert::delete_range_response(header, reply)),
        other => mismatch(&other),
    }
}
