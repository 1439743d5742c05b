//! From a method's number and the bytes of its request to the bytes of its answer. gRPC and the JSON gateway differ only
//! in the [`Codec`], so that a rule holds for both or for neither.

use std::sync::Arc;

use bytes::Bytes;
use kontiki_store::StoreError;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

use crate::access::{self, Asks, Nothing};
use crate::errors;
use crate::front::Front;
use crate::grpc;
use crate::methods::Method;
use crate::services::long_range::{LongRange, Ranged};
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

/// The answer to a unary call.
pub(crate) enum Answer {
    /// All of it.
    Whole(Bytes),
    /// To be sent as it is read.
    Long(Box<LongRange>),
}

/// Decodes a request, lets it in or not, has a service answer it, and encodes the answer.
macro_rules! answer {
    ($codec:ty, $front:expr, $method:expr, $body:expr, $service:path) => {{
        let request = <$codec>::decode($body)?;
        let pass = access::admit($front, $method, &request).await?;
        let reads = Asks::only_reads(&request);
        let answer = $service(pass.front($front), request).await.map_err(|status| pass.refusal($front, status))?;
        if reads {
            pass.confirm($front)?;
        }
        <$codec>::encode(&answer)
    }};
}

/// As `answer`, for services that look at no request.
macro_rules! answer_plain {
    ($codec:ty, $front:expr, $method:expr, $service:path) => {{
        let pass = access::admit($front, $method, &Nothing).await?;
        <$codec>::encode(&$service(pass.front($front)).await?)
    }};
}

/// Answers a unary call. What is called a million times stands here; the rest is boxed, to keep the future small.
pub(crate) async fn unary<C: Codec>(front: &Arc<Front>, method: Method, body: Bytes) -> Result<Answer, Status> {
    if method == Method::Range {
        return ranged::<C>(front, body).await;
    }
    short::<C>(front, method, body).await.map(Answer::Whole)
}

async fn short<C: Codec>(front: &Arc<Front>, method: Method, body: Bytes) -> Result<Bytes, Status> {
    match method {
        Method::Put => answer!(C, front, method, body, put::put),
        Method::Txn => answer!(C, front, method, body, txn::txn),
        Method::DeleteRange => answer!(C, front, method, body, delete_range::delete_range),
        Method::LeaseGrant => answer!(C, front, method, body, lease::grant),
        Method::LeaseRevoke => answer!(C, front, method, body, lease::revoke),
        _ => Box::pin(rare::<C>(front, method, body)).await,
    }
}

/// A range of more than a few keys runs and is encoded on a task of its own, so that it does not hold up the connection.
async fn ranged<C: Codec>(front: &Arc<Front>, body: Bytes) -> Result<Answer, Status> {
    let request = C::decode(body)?;
    let pass = access::admit(front, Method::Range, &request).await?;
    if !range::is_long(&request) {
        let answer = range::range(pass.front(front), request).await?;
        pass.confirm(front)?;
        return C::encode(&answer).map(Answer::Whole);
    }
    let front = Arc::clone(front);
    let task = tokio::spawn(async move {
        let ranged = range::long(pass.front(&front), request).await?;
        pass.confirm(&front)?;
        match ranged {
            Ranged::Whole(answer) => C::encode(&answer).map(Answer::Whole),
            Ranged::Long(answer) => Ok(Answer::Long(answer)),
        }
    });
    task.await.unwrap_or_else(|_| Err(errors::store(StoreError::Stopped)))
}

async fn rare<C: Codec>(front: &Arc<Front>, method: Method, body: Bytes) -> Result<Bytes, Status> {
    match method {
        Method::Compact => answer!(C, front, method, body, compact::compact),
        Method::LeaseTimeToLive => answer!(C, front, method, body, lease::time_to_live),
        Method::LeaseLeases => answer!(C, front, method, body, lease::leases),
        Method::MemberList => answer!(C, front, method, body, cluster::member_list),
        Method::MemberAdd => answer!(C, front, method, body, cluster::member_add),
        Method::MemberRemove => answer!(C, front, method, body, cluster::member_remove),
        Method::MemberUpdate => answer!(C, front, method, body, cluster::member_update),
        Method::MemberPromote => answer!(C, front, method, body, cluster::member_promote),
        Method::Status => {
            access::admit(front, method, &Nothing).await?;
            C::encode(&maintenance::status(front))
        }
        Method::Alarm => answer!(C, front, method, body, maintenance::alarm),
        Method::Defragment => {
            access::admit(front, method, &Nothing).await?;
            C::encode(&maintenance::defragment(front))
        }
        Method::Hash => answer_plain!(C, front, method, maintenance::hash),
        Method::HashKv => answer!(C, front, method, body, maintenance::hash_kv),
        Method::MoveLeader => answer!(C, front, method, body, maintenance::move_leader),
        Method::Downgrade => answer!(C, front, method, body, maintenance::downgrade),
        Method::AuthStatus => C::encode(&auth::status(front)),
        Method::Authenticate => answer!(C, front, method, body, auth::authenticate),
        Method::AuthEnable => answer_plain!(C, front, method, auth::enable),
        Method::AuthDisable => answer_plain!(C, front, method, auth::disable),
        Method::UserAdd => answer!(C, front, method, body, auth::user_add),
        Method::UserGet => answer!(C, front, method, body, auth::user_get),
        Method::UserList => answer_plain!(C, front, method, auth::user_list),
        Method::UserDelete => answer!(C, front, method, body, auth::user_delete),
        Method::UserChangePassword => answer!(C, front, method, body, auth::user_change_password),
        Method::UserGrantRole => answer!(C, front, method, body, auth::user_grant_role),
        Method::UserRevokeRole => answer!(C, front, method, body, auth::user_revoke_role),
        Method::RoleAdd => answer!(C, front, method, body, auth::role_add),
        Method::RoleGet => answer!(C, front, method, body, auth::role_get),
        Method::RoleList => answer_plain!(C, front, method, auth::role_list),
        Method::RoleDelete => answer!(C, front, method, body, auth::role_delete),
        Method::RoleGrantPermission => answer!(C, front, method, body, auth::role_grant_permission),
        Method::RoleRevokePermission => answer!(C, front, method, body, auth::role_revoke_permission),
        Method::HealthCheck => C::encode(&health::check(C::decode(body)?)?),
        Method::Lock => answer!(C, front, method, body, lock::lock),
        Method::Unlock => answer!(C, front, method, body, lock::unlock),
        Method::Campaign => answer!(C, front, method, body, election::campaign),
        Method::Proclaim => answer!(C, front, method, body, election::proclaim),
        Method::Leader => answer!(C, front, method, body, election::leader),
        Method::Resign => answer!(C, front, method, body, election::resign),
        Method::Range => unreachable!("{method:?} is answered by `ranged`"),
        Method::Put | Method::Txn | Method::DeleteRange | Method::LeaseGrant | Method::LeaseRevoke => {
            unreachable!("{method:?} is answered by `short`")
        }
        Method::RangeStream
        | Method::Watch
        | Method::LeaseKeepAlive
        | Method::Snapshot
        | Method::Observe
        | Method::HealthWatch => unreachable!("{method:?} has a stream of answers"),
    }
}
