//! All calls of the contract, once: identity, gRPC name, kind and gateway paths. Dispatch, gateway routes and the counters
//! in `/metrics` are read from this table.

/// A call. Its number is its place in [`METHODS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "each is the RPC of that name, with the service before it where the name alone would not say"
)]
pub(crate) enum Method {
    Range,
    Put,
    Txn,
    DeleteRange,
    Compact,
    RangeStream,
    Watch,
    LeaseKeepAlive,
    LeaseGrant,
    LeaseRevoke,
    LeaseTimeToLive,
    LeaseLeases,
    MemberList,
    MemberAdd,
    MemberRemove,
    MemberUpdate,
    MemberPromote,
    Status,
    Alarm,
    Defragment,
    Hash,
    HashKv,
    Snapshot,
    MoveLeader,
    Downgrade,
    AuthStatus,
    Authenticate,
    AuthEnable,
    AuthDisable,
    UserAdd,
    UserGet,
    UserList,
    UserDelete,
    UserChangePassword,
    UserGrantRole,
    UserRevokeRole,
    RoleAdd,
    RoleGet,
    RoleList,
    RoleDelete,
    RoleGrantPermission,
    RoleRevokePermission,
    Lock,
    Unlock,
    Campaign,
    Proclaim,
    Leader,
    Observe,
    Resign,
    HealthCheck,
    HealthWatch,
}

/// How many messages go either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One request, one answer.
    Unary,
    /// One request, many answers.
    ServerStream,
    /// Many of both.
    BidiStream,
}

/// What is known of a method.
#[derive(Debug)]
pub(crate) struct MethodInfo {
    /// Which.
    pub(crate) method: Method,
    /// `/package.Service/Method`.
    pub(crate) path: &'static str,
    /// How many messages.
    pub(crate) kind: Kind,
    /// Where the gateway serves it.
    pub(crate) gateway: &'static [&'static str],
}

const fn row(method: Method, path: &'static str, kind: Kind, gateway: &'static [&'static str]) -> MethodInfo {
    MethodInfo { method, path, kind, gateway }
}

/// How many methods there are.
pub(crate) const METHOD_COUNT: usize = 51;

/// The table, in the order of [`Method`], what is called most first: lookups walk it.
#[rustfmt::skip]
pub(crate) static METHODS: [MethodInfo; METHOD_COUNT] = {
    use Kind::{BidiStream, ServerStream, Unary};
    use Method as M;
    [
        row(M::Range, "/etcdserverpb.KV/Range", Unary, &["/v3/kv/range"]),
        row(M::Put, "/etcdserverpb.KV/Put", Unary, &["/v3/kv/put"]),
        row(M::Txn, "/etcdserverpb.KV/Txn", Unary, &["/v3/kv/txn"]),
        row(M::DeleteRange, "/etcdserverpb.KV/DeleteRange", Unary, &["/v3/kv/deleterange"]),
        row(M::Compact, "/etcdserverpb.KV/Compact", Unary, &["/v3/kv/compaction"]),
        row(M::RangeStream, "/etcdserverpb.KV/RangeStream", ServerStream, &[]),
        row(M::Watch, "/etcdserverpb.Watch/Watch", BidiStream, &["/v3/watch"]),
        row(M::LeaseKeepAlive, "/etcdserverpb.Lease/LeaseKeepAlive", BidiStream, &["/v3/lease/keepalive"]),
        row(M::LeaseGrant, "/etcdserverpb.Lease/LeaseGrant", Unary, &["/v3/lease/grant"]),
        row(M::LeaseRevoke, "/etcdserverpb.Lease/LeaseRevoke", Unary, &["/v3/lease/revoke", "/v3/kv/lease/revoke"]),
        row(M::LeaseTimeToLive, "/etcdserverpb.Lease/LeaseTimeToLive", Unary, &["/v3/lease/timetolive", "/v3/kv/lease/timetolive"]),
        row(M::LeaseLeases, "/etcdserverpb.Lease/LeaseLeases", Unary, &["/v3/lease/leases", "/v3/kv/lease/leases"]),
        row(M::MemberList, "/etcdserverpb.Cluster/MemberList", Unary, &["/v3/cluster/member/list"]),
        row(M::MemberAdd, "/etcdserverpb.Cluster/MemberAdd", Unary, &["/v3/cluster/member/add"]),
        row(M::MemberRemove, "/etcdserverpb.Cluster/MemberRemove", Unary, &["/v3/cluster/member/remove"]),
        row(M::MemberUpdate, "/etcdserverpb.Cluster/MemberUpdate", Unary, &["/v3/cluster/member/update"]),
        row(M::MemberPromote, "/etcdserverpb.Cluster/MemberPromote", Unary, &["/v3/cluster/member/promote"]),
        row(M::Status, "/etcdserverpb.Maintenance/Status", Unary, &["/v3/maintenance/status"]),
        row(M::Alarm, "/etcdserverpb.Maintenance/Alarm", Unary, &["/v3/maintenance/alarm"]),
        row(M::Defragment, "/etcdserverpb.Maintenance/Defragment", Unary, &["/v3/maintenance/defragment"]),
        row(M::Hash, "/etcdserverpb.Maintenance/Hash", Unary, &["/v3/maintenance/hash"]),
        row(M::HashKv, "/etcdserverpb.Maintenance/HashKV", Unary, &["/v3/maintenance/hashkv"]),
        row(M::Snapshot, "/etcdserverpb.Maintenance/Snapshot", ServerStream, &["/v3/maintenance/snapshot"]),
        row(M::MoveLeader, "/etcdserverpb.Maintenance/MoveLeader", Unary, &["/v3/maintenance/transfer-leadership"]),
        row(M::Downgrade, "/etcdserverpb.Maintenance/Downgrade", Unary, &["/v3/maintenance/downgrade"]),
        row(M::AuthStatus, "/etcdserverpb.Auth/AuthStatus", Unary, &["/v3/auth/status"]),
        row(M::Authenticate, "/etcdserverpb.Auth/Authenticate", Unary, &["/v3/auth/authenticate"]),
        row(M::AuthEnable, "/etcdserverpb.Auth/AuthEnable", Unary, &["/v3/auth/enable"]),
        row(M::AuthDisable, "/etcdserverpb.Auth/AuthDisable", Unary, &["/v3/auth/disable"]),
        row(M::UserAdd, "/etcdserverpb.Auth/UserAdd", Unary, &["/v3/auth/user/add"]),
        row(M::UserGet, "/etcdserverpb.Auth/UserGet", Unary, &["/v3/auth/user/get"]),
        row(M::UserList, "/etcdserverpb.Auth/UserList", Unary, &["/v3/auth/user/list"]),
        row(M::UserDelete, "/etcdserverpb.Auth/UserDelete", Unary, &["/v3/auth/user/delete"]),
        row(M::UserChangePassword, "/etcdserverpb.Auth/UserChangePassword", Unary, &["/v3/auth/user/changepw"]),
        row(M::UserGrantRole, "/etcdserverpb.Auth/UserGrantRole", Unary, &["/v3/auth/user/grant"]),
        row(M::UserRevokeRole, "/etcdserverpb.Auth/UserRevokeRole", Unary, &["/v3/auth/user/revoke"]),
        row(M::RoleAdd, "/etcdserverpb.Auth/RoleAdd", Unary, &["/v3/auth/role/add"]),
        row(M::RoleGet, "/etcdserverpb.Auth/RoleGet", Unary, &["/v3/auth/role/get"]),
        row(M::RoleList, "/etcdserverpb.Auth/RoleList", Unary, &["/v3/auth/role/list"]),
        row(M::RoleDelete, "/etcdserverpb.Auth/RoleDelete", Unary, &["/v3/auth/role/delete"]),
        row(M::RoleGrantPermission, "/etcdserverpb.Auth/RoleGrantPermission", Unary, &["/v3/auth/role/grant"]),
        row(M::RoleRevokePermission, "/etcdserverpb.Auth/RoleRevokePermission", Unary, &["/v3/auth/role/revoke"]),
        row(M::Lock, "/v3lockpb.Lock/Lock", Unary, &["/v3/lock/lock"]),
        row(M::Unlock, "/v3lockpb.Lock/Unlock", Unary, &["/v3/lock/unlock"]),
        row(M::Campaign, "/v3electionpb.Election/Campaign", Unary, &["/v3/election/campaign"]),
        row(M::Proclaim, "/v3electionpb.Election/Proclaim", Unary, &["/v3/election/proclaim"]),
        row(M::Leader, "/v3electionpb.Election/Leader", Unary, &["/v3/election/leader"]),
        row(M::Observe, "/v3electionpb.Election/Observe", ServerStream, &["/v3/election/observe"]),
        row(M::Resign, "/v3electionpb.Election/Resign", Unary, &["/v3/election/resign"]),
        row(M::HealthCheck, "/grpc.health.v1.Health/Check", Unary, &[]),
        row(M::HealthWatch, "/grpc.health.v1.Health/Watch", ServerStream, &[]),
    ]
};

/// Every call: its path, and where the gateway serves it.
pub fn calls() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    METHODS.iter().map(|info| (info.path, info.gateway))
}

impl Method {
    /// Whether the answer may take as long as others wish.
    pub(crate) fn waits(self) -> bool {
        matches!(self, Method::Lock | Method::Campaign)
    }

    /// Whether a member that only learns answers it. Of ranges, only those that need no leader.
    pub(crate) fn is_for_learners(self) -> bool {
        matches!(self, Method::Status | Method::Range | Method::Snapshot)
    }

    /// The method at a gRPC path.
    pub(crate) fn at_path(path: &str) -> Option<&'static MethodInfo> {
        METHODS.iter().find(|info| info.path == path)
    }

    /// The method that the gateway serves at a path.
    pub(crate) fn at_gateway(path: &str) -> Option<&'static MethodInfo> {
        METHODS.iter().find(|info| info.gateway.contains(&path))
    }
}

impl MethodInfo {
    /// Service and method name, for the labels of counters.
    pub(crate) fn names(&self) -> (&'static str, &'static str) {
        self.path[1..].split_once('/').expect("every path of the table has a service and a method")
    }
}

impl Kind {
    /// As in the label `grpc_type`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Kind::Unary => "unary",
            Kind::ServerStream => "server_stream",
            Kind::BidiStream => "bidi_stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_stands_at_its_number() {
        for (number, info) in METHODS.iter().enumerate() {
            assert_eq!(info.method as usize, number, "{}", info.path);
        }
    }

    #[test]
    fn paths_are_found_and_unique() {
        for info in &METHODS {
            assert_eq!(Method::at_path(info.path).map(|found| found.method), Some(info.method));
            for path in info.gateway {
                assert_eq!(Method::at_gateway(path).map(|found| found.method), Some(info.method));
            }
        }
        assert!(Method::at_path("/etcdserverpb.KV/range").is_none());
        assert!(Method::at_gateway("/v3/kv/").is_none());
    }

    #[test]
    fn names_are_split_at_the_service() {
        assert_eq!(METHODS[Method::HashKv as usize].names(), ("etcdserverpb.Maintenance", "HashKV"));
    }
}
