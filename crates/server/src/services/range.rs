//! `KV.Range`.

use kontiki_api::rpc;
use kontiki_kv::{SortOrder, SortTarget};
use tonic::Status;

use crate::front::Front;
use crate::services::long_range::{self, Ranged};
use crate::{convert, errors};

/// Up to so many keys are read where the request came in; more go to a task of their own.
const SHORT: i64 = 100;

/// A sort is cut to so many keys without asking whether there is room for it.
const SORTED_MAX: i64 = 10_000;

/// Reads a key or a few.
pub(crate) async fn range(front: &Front, request: rpc::RangeRequest) -> Result<rpc::RangeResponse, Status> {
    let request = readable(front, request).await?;
    read(front, &request)
}

/// Reads a range that may hold much. In the order of keys it is read piece by piece; to sort it, all of it must be held.
pub(crate) async fn long(front: &Front, request: rpc::RangeRequest) -> Result<Ranged, Status> {
    let request = readable(front, request).await?;
    if request.sort_target == SortTarget::Key && request.sort_order != SortOrder::Descend {
        return long_range::begin(front, request).await;
    }
    let sorting = if (1..=SORTED_MAX).contains(&request.limit) { None } else { front.turns.sort().await };
    let answer = read(front, &request)?;
    drop(sorting);
    Ok(Ranged::Whole(answer))
}

/// Checks a request, and waits until this member may answer it.
pub(crate) async fn readable(front: &Front, request: rpc::RangeRequest) -> Result<kontiki_kv::RangeRequest, Status> {
    let linearizable = !request.serializable;
    if linearizable && front.store.is_learner() {
        return Err(errors::learner());
    }
    let request = convert::range_request(request).map_err(errors::operation)?;
    if linearizable {
        front.store.read_barrier().await.map_err(errors::store)?;
    } else {
        front.store.check_state().map_err(errors::store)?;
    }
    Ok(request)
}

fn read(front: &Front, request: &kontiki_kv::RangeRequest) -> Result<rpc::RangeResponse, Status> {
    let (result, revision) = front.store.reader().range(request).map_err(|failure| front.read_failed(failure))?;
    Ok(convert::range_response(front.header(revision), result))
}

/// Whether a range may touch many keys.
pub(crate) fn is_long(request: &rpc::RangeRequest) -> bool {
    !request.range_end.is_empty() && !(1..=SHORT).contains(&request.limit)
}
