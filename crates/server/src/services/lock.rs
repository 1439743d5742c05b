//! `Lock`: the first in line holds it.

use std::sync::Arc;

use bytes::Bytes;
use kontiki_api::lock::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use tonic::Status;

use crate::errors;
use crate::front::Front;
use crate::services::line::{Place, delete, one};

/// Waits until the lock is the caller's. It is until the key in the answer is deleted, or its lease ends.
pub(crate) async fn lock(front: &Arc<Front>, request: LockRequest) -> Result<LockResponse, Status> {
    let (mut place, _) = Place::take(front, &request.name, request.lease, Bytes::new()).await?;
    place.reach_front().await?;
    // While it waited, its lease may have ended.
    front.store.read_barrier().await.map_err(errors::store)?;
    let (own, revision) =
        front.store.reader().range(&one(place.key.clone())).map_err(|failure| front.read_failed(failure))?;
    place.keep();
    if own.kvs.first().is_none_or(|kv| kv.create_revision != place.created) {
        return Err(Status::unknown("mutex: session is expired"));
    }
    Ok(LockResponse { header: Some(front.header(revision)), key: place.key.clone() })
}

/// Gives the lock, or the place in its line, up.
pub(crate) async fn unlock(front: &Front, request: UnlockRequest) -> Result<UnlockResponse, Status> {
    if request.key.is_empty() {
        return Err(errors::operation(kontiki_kv::OperationError::EmptyKey));
    }
    let revision = delete(front, request.key).await?;
    Ok(UnlockResponse { header: Some(front.header(revision)) })
}
