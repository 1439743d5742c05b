//! `KV.Range`.

use kontiki_api::rpc;
use tonic::Status;

use crate::front::Front;
use crate::{convert, errors};

/// Up to so many keys are read where the request came in; more go to a task of their own.
const SHORT: i64 = 100;

/// Reads a key or a range.
pub(crate) async fn range(front: &Front, request: rpc::RangeRequest) -> Result<rpc::RangeResponse, Status> {
    let linearizable = !request.serializable;
    let request = convert::range_request(request).map_err(errors::operation)?;
    if linearizable {
        front.store.read_barrier().await.map_err(errors::store)?;
    } else {
        front.store.check_state().map_err(errors::store)?;
    }
    let (result, revision) = front.store.reader().range(&request).map_err(|failure| front.read_failed(failure))?;
    Ok(convert::range_response(front.header(revision), result))
}

/// Whether a range may touch many keys.
pub(crate) fn is_long(request: &rpc::RangeRequest) -> bool {
    !request.range_end.is_empty() && !(1..=SHORT).contains(&request.limit)
}
