//! Who may call what. One line per method and no line for the rest: a new method does not compile before it has one.

use crate::methods::Method;

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Whoever comes.
    Everybody,
    /// Whoever is somebody.
    User,
    /// Who has the role root.
    Root,
    /// Who may what the request asks for.
    Request,
}

/// The table.
pub(super) fn rule(method: Method) -> Rule {
    match method {
        Method::Range | Method::RangeStream | Method::Put | Method::Txn | Method::DeleteRange | Method::Watch => {
            Rule::Request
        }
        Method::LeaseGrant => Rule::User,
        Method::LeaseRevoke | Method::LeaseKeepAlive | Method::LeaseTimeToLive | Method::LeaseLeases => Rule::Request,
        Method::Lock
        | Method::Unlock
        | Method::Campaign
        | Method::Proclaim
        | Method::Leader
        | Method::Observe
        | Method::Resign => Rule::Request,
        Method::Status | Method::MemberList => Rule::User,
        Method::Alarm => Rule::Request,
        Method::Compact
        | Method::MemberAdd
        | Method::MemberRemove
        | Method::MemberUpdate
        | Method::MemberPromote
        | Method::Defragment
        | Method::Hash
        | Method::HashKv
        | Method::Snapshot
        | Method::MoveLeader
        | Method::Downgrade => Rule::Root,
        Method::AuthStatus | Method::Authenticate => Rule::Everybody,
        Method::UserGet | Method::RoleGet => Rule::Request,
        Method::AuthEnable
        | Method::AuthDisable
        | Method::UserAdd
        | Method::UserList
        | Method::UserDelete
        | Method::UserChangePassword
        | Method::UserGrantRole
        | Method::UserRevokeRole
        | Method::RoleAdd
        | Method::RoleList
        | Method::RoleDelete
        | Method::RoleGrantPermission
        | Method::RoleRevokePermission => Rule::Root,
        Method::HealthCheck | Method::HealthWatch => Rule::Everybody,
    }
}
