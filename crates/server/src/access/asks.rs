//! What requests ask for, read as the services read them: what is malformed is refused here as it would be there.

use bytes::Bytes;
use kontiki_api::election::{CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest};
use kontiki_api::lock::{LockRequest, UnlockRequest};
use kontiki_api::rpc;
use kontiki_kv::{self as kv, Access, KeyRange, Need, OperationError, check};
use tonic::Status;

use crate::front::Settings;
use crate::services::line;
use crate::{convert, errors};

/// A request that says what it needs.
pub(crate) trait Asks {
    /// What has to be permitted. Nothing at all means that the request is of a method whose rule does not look at it; where
    /// the rule does, nothing is refused.
    fn needs(&self, settings: &Settings) -> Result<Vec<Need>, Status>;

    /// Whether it only reads, outside of the log: then nobody looks at its permission once more but the front door.
    fn only_reads(&self) -> bool {
        false
    }
}

/// Of a method that is not decided by its request.
pub(crate) struct Nothing;

impl Asks for Nothing {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        Ok(Vec::new())
    }
}

/// Requests of methods whose rule does not look at them.
macro_rules! asks_nothing {
    ($($request:ty),* $(,)?) => {
        $(impl Asks for $request {
            fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
                Ok(Vec::new())
            }
        })*
    };
}

asks_nothing!(
    rpc::CompactionRequest,
    rpc::LeaseGrantRequest,
    rpc::MemberListRequest,
    rpc::HashKvRequest,
    rpc::MoveLeaderRequest,
    rpc::DowngradeRequest,
    rpc::MemberAddRequest,
    rpc::MemberRemoveRequest,
    rpc::MemberUpdateRequest,
    rpc::MemberPromoteRequest,
    rpc::AuthenticateRequest,
    rpc::AuthUserAddRequest,
    rpc::AuthUserDeleteRequest,
    rpc::AuthUserChangePasswordRequest,
    rpc::AuthUserGrantRoleRequest,
    rpc::AuthUserRevokeRoleRequest,
    rpc::AuthRoleAddRequest,
    rpc::AuthRoleDeleteRequest,
    rpc::AuthRoleGrantPermissionRequest,
    rpc::AuthRoleRevokePermissionRequest,
);

fn refused(refusal: OperationError) -> Status {
    errors::operation(refusal)
}

impl Asks for rpc::RangeRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        let request = convert::range_request(self.clone()).map_err(refused)?;
        Ok(vec![Need::of_read(&request.range)])
    }

    fn only_reads(&self) -> bool {
        true
    }
}

impl Asks for rpc::PutRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        let request = convert::put_request(self.clone());
        kv::check_put(&request).map_err(refused)?;
        Ok(Need::of_put(&request).collect())
    }
}

impl Asks for rpc::DeleteRangeRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        let request = convert::delete_range_request(self.clone());
        kv::check_delete_range(&request).map_err(refused)?;
        Ok(Need::of_delete(&request).collect())
    }
}

impl Asks for rpc::TxnRequest {
    fn needs(&self, settings: &Settings) -> Result<Vec<Need>, Status> {
        let request = convert::txn_request(self.clone(), settings.txn_ops_max).map_err(refused)?;
        check(&request, settings.txn_ops_max).map_err(refused)?;
        Ok(Need::of_txn(&request))
    }

    fn only_reads(&self) -> bool {
        use rpc::request_op::Request;
        let ranges = |op: &rpc::RequestOp| matches!(op.request, Some(Request::RequestRange(_)));
        self.success.iter().chain(&self.failure).all(ranges)
    }
}

impl Asks for rpc::WatchCreateRequest {
    /// Of the range as it is watched: no key at all stands for the first one.
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        let key = if self.key.is_empty() { Bytes::from_static(&[0]) } else { self.key.clone() };
        Ok(vec![Need::of_read(&KeyRange { key, range_end: self.range_end.clone() })])
    }
}

impl Asks for rpc::LeaseRevokeRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        Ok(vec![Need::LeaseKeys(Access::Write, self.id)])
    }
}

impl Asks for rpc::LeaseKeepAliveRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        Ok(vec![Need::LeaseKeys(Access::Write, self.id)])
    }
}

impl Asks for rpc::LeaseTimeToLiveRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        Ok(vec![if self.keys { Need::LeaseKeys(Access::Read, self.id) } else { Need::User }])
    }

    fn only_reads(&self) -> bool {
        true
    }
}

impl Asks for rpc::LeaseLeasesRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        Ok(vec![Need::AllLeases])
    }

    fn only_reads(&self) -> bool {
        true
    }
}

impl Asks for rpc::AlarmRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        let looks = self.action == rpc::alarm_request::AlarmAction::Get as i32;
        Ok(vec![if looks { Need::User } else { Need::Root }])
    }
}

impl Asks for rpc::AuthUserGetRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        Ok(vec![Need::OwnUser(self.name.clone())])
    }
}

impl Asks for rpc::AuthRoleGetRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        Ok(vec![Need::OwnRole(self.role.clone())])
    }
}

/// Standing in line: reading it, and writing a key in it, which hangs on the lease. Without one, the key is named after a
/// lease that does not exist yet; then it is decided when the key is proposed.
fn place(name: &Bytes, lease: i64) -> Vec<Need> {
    let prefix = line::prefix(name);
    let mut needs = vec![Need::of_read(&line::line(&prefix))];
    if lease != 0 {
        let key = [prefix.as_ref(), format!("{lease:x}").as_bytes()].concat().into();
        needs.push(Need::Keys(Access::Write, KeyRange { key, range_end: Bytes::new() }));
        needs.push(Need::LeaseKeys(Access::Write, lease));
    }
    needs
}

fn one(access: Access, key: &Bytes) -> Need {
    Need::Keys(access, KeyRange { key: key.clone(), range_end: Bytes::new() })
}

/// Changing what a leader wrote, on condition that it still leads.
fn leader_key(leader: Option<&LeaderKey>) -> Vec<Need> {
    let Some(leader) = leader else { return vec![Need::User] }; // refused by the service
    vec![one(Access::Read, &leader.key), one(Access::Write, &leader.key)]
}

impl Asks for LockRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        Ok(place(&self.name, self.lease))
    }
}

impl Asks for UnlockRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        if self.key.is_empty() {
            return Err(refused(OperationError::EmptyKey));
        }
        Ok(vec![one(Access::Write, &self.key)])
    }
}

impl Asks for CampaignRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        Ok(place(&self.name, self.lease))
    }
}

impl Asks for ProclaimRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        let mut needs = leader_key(self.leader.as_ref());
        let lease = self.leader.as_ref().map_or(0, |leader| leader.lease);
        needs.extend((lease != 0).then_some(Need::LeaseKeys(Access::Write, lease)));
        Ok(needs)
    }
}

impl Asks for ResignRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        Ok(leader_key(self.leader.as_ref()))
    }
}

impl Asks for LeaderRequest {
    fn needs(&self, _: &Settings) -> Result<Vec<Need>, Status> {
        Ok(vec![Need::of_read(&line::line(&line::prefix(&self.name)))])
    }

    fn only_reads(&self) -> bool {
        true
    }
}
