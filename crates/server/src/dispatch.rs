//! From a method's number and the bytes of its request to the bytes of its answer. gRPC and the JSON gateway differ only
//! in the [`Codec`], so that a rule holds for both or for neither.

use std::sync::Arc;

use bytes::Bytes;
use kontiki_store::StoreError;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

use crate::errors;
use crate::front::Front;
use crate::grpc;
use crate::methods::Method;
use crate::services::{
    auth, cluster, compact, delete_range, election, health, lease, lock, maintenance, put, range, txn,
};

/// A form that messages travel in.
pub(crate) trait Codec {
    /// Reads a request.
    fn decode<T: Message + Default + DeserializeOwned>(bytes: Bytes) -> Result<T, Status>;
    /// Writes an answer.
    fn encode<T: Message + Serialize>(message: &T) -> Result<Bytes, Status>;
}

/// Protobuf, with gRPC's prefix on the way out.
pub(crate) struct Binary;

impl Codec for Binary {
    fn decode<T: Message + Default + DeserializeOwned>(bytes: Bytes) -> Result<T, Status> {
        grpc::decode(bytes)
    }

    fn encode<T: Message + Serialize>(message: &T) -> Result<Bytes, Status> {
        Ok(grpc::encode(message))
    }
}

/// Answers a unary call. What is called a million times stands here; the rest is boxed, to keep the future small.
pub(crate) async fn unary<C: Codec>(front: &Arc<Front>, method: Method, body: Bytes) -> Result<Bytes, Status> {
    match method {
        Method::Range => ranged::<C>(front, body).await,
        Method::Put => C::encode(&put::put(front, C::decode(body)?).await?),
        Method::Txn => C::encode(&txn::txn(front, C::decode(body)?).await?),
        Method::DeleteRange => C::encode(&delete_range::delete_range(front, C::decode(body)?).await?),
        Method::LeaseGrant => C::encode(&lease::grant(front, C::decode(body)?).await?),
        Method::LeaseRevoke => C::encode(&lease::revoke(front, C::decode(body)?).await?),
        _ => Box::pin(rare::<C>(front, method, body)).await,
    }
}

/// A range of more than a few keys runs and is encoded on a task of its own, so that it does not hold up the connection.
async fn ranged<C: Codec>(front: &Arc<Front>, body: Bytes) -> Result<Bytes, Status> {
    let request = C::decode(body)?;
    if !range::is_long(&request) {
        return C::encode(&range::range(front, request).await?);
    }
    let front = Arc::clone(front);
    let task = tokio::spawn(async move { C::encode(&range::range(&front, request).await?) });
    task.await.unwrap_or_else(|_| Err(errors::store(StoreError::Stopped)))
}

async fn rare<C: Codec>(front: &Arc<Front>, method: Method, body: Bytes) -> Result<Bytes, Status> {
    match method {
        Method::Compact => C::encode(&compact::compact(front, C::decode(body)?).await?),
        Method::LeaseTimeToLive => C::encode(&lease::time_to_live(front, C::decode(body)?).await?),
        Method::LeaseLeases => C::encode(&lease::leases(front, C::decode(body)?).await?),
        Method::MemberList => C::encode(&cluster::member_list(front, C::decode(body)?).await?),
        Method::MemberAdd | Method::MemberRemove | Method::MemberUpdate | Method::MemberPromote => {
            Err(cluster::change_unsupported())
        }
        Method::Status => C::encode(&maintenance::status(front)),
        Method::Alarm => C::encode(&maintenance::alarm(front, C::decode(body)?).await?),
        Method::Defragment => C::encode(&maintenance::defragment(front)),
        Method::Hash => C::encode(&maintenance::hash(front).await?),
        Method::HashKv => C::encode(&maintenance::hash_kv(front, C::decode(body)?).await?),
        Method::MoveLeader => C::encode(&maintenance::move_leader(front, C::decode(body)?).await?),
        Method::Downgrade => Err(maintenance::downgrade_unsupported()),
        Method::AuthStatus => C::encode(&auth::status(front)),
        Method::Authenticate => Err(auth::not_enabled()),
        Method::AuthEnable
        | Method::AuthDisable
        | Method::UserAdd
        | Method::UserGet
        | Method::UserList
        | Method::UserDelete
        | Method::UserChangePassword
        | Method::UserGrantRole
        | Method::UserRevokeRole
        | Method::RoleAdd
        | Method::RoleGet
        | Method::RoleList
        | Method::RoleDelete
        | Method::RoleGrantPermission
        | Method::RoleRevokePermission => Err(auth::unsupported()),
        Method::HealthCheck => C::encode(&health::check(C::decode(body)?)?),
        Method::Lock => C::encode(&lock::lock(front, C::decode(body)?).await?),
        Method::Unlock => C::encode(&lock::unlock(front, C::decode(body)?).await?),
        Method::Campaign => C::encode(&election::campaign(front, C::decode(body)?).await?),
        Method::Proclaim => C::encode(&election::proclaim(front, C::decode(body)?).await?),
        Method::Leader => C::encode(&election::leader(front, C::decode(body)?).await?),
        Method::Resign => C::encode(&election::resign(front, C::decode(body)?).await?),
        Method::Range | Method::Put | Method::Txn | Method::DeleteRange | Method::LeaseGrant | Method::LeaseRevoke => {
            unreachable!("{method:?} is answered by `unary`")
        }
        Method::RangeStream
        | Method::Watch
        | Method::LeaseKeepAlive
        | Method::Snapshot
        | Method::Observe
        | Method::HealthWatch => unreachable!("{method:?} has a stream of answers"),
    }
}
