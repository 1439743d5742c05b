//! Standing in line, etcd's recipe behind locks and elections: everyone who wants to be first creates a key under the same
//! prefix, bound to a lease; the key that was created first is first. Who leaves, or whose lease ends, deletes its key.

use std::sync::Arc;

use bytes::Bytes;
use kontiki_kv::{
    Command, Compare, CompareResult, CompareTarget, DeleteRangeRequest, KeyRange, KeyValue, PutRequest, RangeRequest,
    Reply, RequestOp, ResponseOp, SortOrder, SortTarget, TxnReply, TxnRequest,
};
use kontiki_store::{WatchCreate, WatchKind, WatchResponse};
use tonic::Status;

use crate::errors;
use crate::front::Front;
use crate::services::propose::{mismatch, propose};

/// Time to live of the lease of who brings none, in seconds. Nobody renews it.
const LEASE_TTL: i64 = 60;

/// A place in a line. Dropped before it is [kept](Place::keep), it is given up: the client stopped waiting.
pub(crate) struct Place {
    front: Arc<Front>,
    /// The key that holds the place.
    pub(crate) key: Bytes,
    /// Revision of its creation: the order of the line.
    pub(crate) created: i64,
    /// The lease that it is bound to.
    pub(crate) lease: i64,
    prefix: Bytes,
    kept: bool,
}

/// The keys of a line.
pub(crate) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

impl Place {
    /// Takes a place at the end, or the one that this lease already has. Gives also the value that stood there before.
    pub(crate) async fn take(
        front: &Arc<Front>,
        name: &[u8],
        lease: i64,
        value: Bytes,
    ) -> Result<(Place, Option<Bytes>), Status> {
        let lease = if lease == 0 { granted(front).await? } else { lease };
        let prefix = prefix(name);
        let key: Bytes = [prefix.as_ref(), format!("{lease:x}").as_bytes()].concat().into();
        let place = |created| Place { front: Arc::clone(front), key: key.clone(), created, lease, prefix, kept: false };
        let put = PutRequest { key: key.clone(), value, lease, ..PutRequest::default() };
        let request = TxnRequest {
            compare: vec![created_at(key.clone(), 0)],
            success: vec![RequestOp::Put(put)],
            failure: vec![RequestOp::Range(one(key.clone()))],
        };
        let (reply, revision) = transact(front, request).await?;
        if reply.succeeded {
            return Ok((place(revision), None));
        }
        match reply.responses.into_iter().next() {
            Some(ResponseOp::Range(found, _)) => match found.kvs.into_iter().next() {
                Some(kv) => Ok((place(kv.create_revision), Some(kv.value))),
                None => unreachable!("the key was there, and is read in the same transaction"),
            },
            other => unreachable!("a range is answered with a range, not with {other:?}"),
        }
    }

    /// Waits until nobody stands before it. What is read is this member's state, which holds the place itself and so
    /// everything created before it; it can only be late to learn who has left.
    pub(crate) async fn reach_front(&self) -> Result<(), Status> {
        let before = RangeRequest {
            max_create_revision: self.created - 1,
            sort_order: SortOrder::Descend,
            sort_target: SortTarget::Create,
            limit: 1,
            ..all(&self.prefix)
        };
        loop {
            let (found, revision) =
                self.front.store.reader().range(&before).map_err(|failure| self.front.read_failed(failure))?;
            let Some(neighbour) = found.kvs.into_iter().next() else { return Ok(()) };
            gone(&self.front, neighbour.key, revision).await;
        }
    }

    /// The place stays although nobody waits for it any more: its holder was told.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Without a runtime the process is ending, and the lease will do it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (front, key) = (Arc::clone(&self.front), self.key.clone());
            runtime.spawn(async move { delete(&front, key).await });
        }
    }
}

/// Deletes a key; gives the revision afterwards.
pub(crate) async fn delete(front: &Front, key: Bytes) -> Result<i64, Status> {
    let range = KeyRange { key, range_end: Bytes::new() };
    Ok(propose(front, Command::DeleteRange(DeleteRangeRequest { range, prev_kv: false })).await?.revision)
}

/// Does something on condition that a key was created at a revision.
pub(crate) async fn if_created_at(
    front: &Front,
    key: Bytes,
    revision: i64,
    operation: RequestOp,
) -> Result<(bool, i64), Status> {
    let compare = vec![created_at(key, revision)];
    let request = TxnRequest { compare, success: vec![operation], failure: Vec::new() };
    let (reply, revision) = transact(front, request).await?;
    Ok((reply.succeeded, revision))
}

/// Who is first in a line, and the revision when that was so.
pub(crate) async fn first(front: &Front, prefix: &Bytes) -> Result<(Option<KeyValue>, i64), Status> {
    front.store.read_barrier().await.map_err(errors::store)?;
    let oldest =
        RangeRequest { sort_order: SortOrder::Ascend, sort_target: SortTarget::Create, limit: 1, ..all(prefix) };
    let (found, revision) = front.store.reader().range(&oldest).map_err(|failure| front.read_failed(failure))?;
    Ok((found.kvs.into_iter().next(), revision))
}

/// A single key, read.
pub(crate) fn one(key: Bytes) -> RangeRequest {
    RangeRequest { range: KeyRange { key, range_end: Bytes::new() }, ..RangeRequest::default() }
}

/// Every key of a line. No prefix ends with the largest byte: its last is a slash.
pub(crate) fn line(prefix: &Bytes) -> KeyRange {
    let mut range_end = prefix.to_vec();
    if let Some(last) = range_end.last_mut() {
        *last += 1;
    }
    KeyRange { key: prefix.clone(), range_end: range_end.into() }
}

fn all(prefix: &Bytes) -> RangeRequest {
    RangeRequest { range: line(prefix), ..RangeRequest::default() }
}

fn created_at(key: Bytes, revision: i64) -> Compare {
    let range = KeyRange { key, range_end: Bytes::new() };
    Compare { range, result: CompareResult::Equal, target: CompareTarget::CreateRevision(revision) }
}

async fn granted(front: &Front) -> Result<i64, Status> {
    match front.store.lease_grant(0, LEASE_TTL).await.map_err(errors::store)?.reply {
        Reply::LeaseGrant { id, .. } => Ok(id),
        other => mismatch(&other),
    }
}

async fn transact(front: &Front, request: TxnRequest) -> Result<(TxnReply, i64), Status> {
    let applied = propose(front, Command::Txn(request)).await?;
    match applied.reply {
        Reply::Txn(reply) => Ok((reply, applied.revision)),
        other => mismatch(&other),
    }
}

/// Waits until a key that was there at a revision is deleted; returns early where that cannot be told.
async fn gone(front: &Front, key: Bytes, revision: i64) {
    let mut watch = front.store.watch_stream();
    watch.create(WatchCreate {
        range: KeyRange { key, range_end: Bytes::new() },
        start_revision: revision + 1,
        no_put: true,
        ..WatchCreate::default()
    });
    loop {
        match watch.next().await {
            WatchResponse { kind: WatchKind::Created | WatchKind::Progress, .. } => {}
            WatchResponse {
                kind: WatchKind::Events(_) | WatchKind::Canceled { .. } | WatchKind::Rejected(_), ..
            } => {
                return;
            }
        }
    }
}
