//! `KV.Put`.

use kontiki_api::rpc;
use kontiki_kv::{Command, Reply, check_put};
use tonic::Status;

use crate::front::Front;
use crate::services::propose::{mismatch, propose};
use crate::{convert, errors};

/// Writes a key.
pub(crate) async fn put(front: &Front, request: rpc::PutRequest) -> Result<rpc::PutResponse, Status> {
    let request = convert::put_request(request);
    check_put(&request).map_err(errors::operation)?;
    let applied = propose(front, Command::Put(request)).await?;
    let header = front.header_at(applied.revision, applied.term);
    match applied.reply {
        Reply::Put(prev_kv) => Ok(convert::put_response(header, prev_kv)),
        other => mismatch(&other),
    }
}
