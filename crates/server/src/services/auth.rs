//! `Auth`: users, roles, permissions and log-ins.

use bytes::Bytes;
use kontiki_api::auth::{Permission as WirePermission, permission::Type};
use kontiki_api::rpc;
use kontiki_kv::{AuthCommand, Command, KeyRange, OperationError, Permission, PermissionKind, ROOT};
use kontiki_store::ChangeAuth;
use tonic::Status;

use crate::access;
use crate::errors;
use crate::front::Front;
use crate::services::propose::propose;

/// Carries out a change; gives the answer's header.
async fn change(front: &Front, command: AuthCommand) -> Result<Option<rpc::ResponseHeader>, Status> {
    let applied = propose(front, Command::Auth(command)).await?;
    Ok(Some(front.header_at(applied.revision, applied.term)))
}

/// Whether authentication is on.
pub(crate) fn status(front: &Front) -> rpc::AuthStatusResponse {
    let (enabled, auth_revision) = front.store.reader().auth_status();
    rpc::AuthStatusResponse { header: Some(front.current_header()), enabled, auth_revision }
}

/// Gives out a token for a password.
pub(crate) async fn authenticate(
    front: &Front,
    request: rpc::AuthenticateRequest,
) -> Result<rpc::AuthenticateResponse, Status> {
    let given = front.store.authenticate(&request.name, request.password).await.map_err(errors::store);
    let (token, revision, term) = given.inspect_err(|status| access::log_in_refused(&request.name, status))?;
    Ok(rpc::AuthenticateResponse { header: Some(front.header_at(revision, term)), token: token.reveal().to_owned() })
}

/// Switches authentication on.
pub(crate) async fn enable(front: &Front) -> Result<rpc::AuthEnableResponse, Status> {
    Ok(rpc::AuthEnableResponse { header: change(front, AuthCommand::Enable).await? })
}

/// Switches authentication off.
pub(crate) async fn disable(front: &Front) -> Result<rpc::AuthDisableResponse, Status> {
    Ok(rpc::AuthDisableResponse { header: change(front, AuthCommand::Disable).await? })
}

/// Adds a user.
pub(crate) async fn user_add(
    front: &Front,
    request: rpc::AuthUserAddRequest,
) -> Result<rpc::AuthUserAddResponse, Status> {
    let without = request.options.is_some_and(|options| options.no_password);
    let password = (!without).then_some(request.password);
    let add = ChangeAuth::UserAdd { name: request.name, password };
    let applied = front.store.change_auth(add).await.map_err(errors::store)?;
    Ok(rpc::AuthUserAddResponse { header: Some(front.header_at(applied.revision, applied.term)) })
}

/// Removes a user.
pub(crate) async fn user_delete(
    front: &Front,
    request: rpc::AuthUserDeleteRequest,
) -> Result<rpc::AuthUserDeleteResponse, Status> {
    let header = change(front, AuthCommand::UserDelete { name: request.name }).await?;
    Ok(rpc::AuthUserDeleteResponse { header })
}

/// Changes a password.
pub(crate) async fn user_change_password(
    front: &Front,
    request: rpc::AuthUserChangePasswordRequest,
) -> Result<rpc::AuthUserChangePasswordResponse, Status> {
    let change = ChangeAuth::ChangePassword { name: request.name, password: request.password };
    let applied = front.store.change_auth(change).await.map_err(errors::store)?;
    Ok(rpc::AuthUserChangePasswordResponse { header: Some(front.header_at(applied.revision, applied.term)) })
}

/// A user's roles.
pub(crate) async fn user_get(
    front: &Front,
    request: rpc::AuthUserGetRequest,
) -> Result<rpc::AuthUserGetResponse, Status> {
    front.store.read_barrier().await.map_err(errors::store)?;
    let reader = front.store.reader();
    let user = reader.user(&request.name).ok_or_else(|| errors::operation(OperationError::UserNotFound))?;
    let roles = user.roles.iter().map(ToString::to_string).collect();
    Ok(rpc::AuthUserGetResponse { header: Some(front.header(reader.revision())), roles })
}

/// All users.
pub(crate) async fn user_list(front: &Front) -> Result<rpc::AuthUserListResponse, Status> {
    front.store.read_barrier().await.map_err(errors::store)?;
    let reader = front.store.reader();
    let users = reader.user_names().iter().map(ToString::to_string).collect();
    Ok(rpc::AuthUserListResponse { header: Some(front.header(reader.revision())), users })
}

/// Gives a user a role.
pub(crate) async fn user_grant_role(
    front: &Front,
    request: rpc::AuthUserGrantRoleRequest,
) -> Result<rpc::AuthUserGrantRoleResponse, Status> {
    let header = change(front, AuthCommand::UserGrantRole { user: request.user, role: request.role }).await?;
    Ok(rpc::AuthUserGrantRoleResponse { header })
}

/// Takes a role from a user.
pub(crate) async fn user_revoke_role(
    front: &Front,
    request: rpc::AuthUserRevokeRoleRequest,
) -> Result<rpc::AuthUserRevokeRoleResponse, Status> {
    let header = change(front, AuthCommand::UserRevokeRole { user: request.name, role: request.role }).await?;
    Ok(rpc::AuthUserRevokeRoleResponse { header })
}

/// Adds a role.
pub(crate) async fn role_add(
    front: &Front,
    request: rpc::AuthRoleAddRequest,
) -> Result<rpc::AuthRoleAddResponse, Status> {
    Ok(rpc::AuthRoleAddResponse { header: change(front, AuthCommand::RoleAdd { name: request.name }).await? })
}

/// Removes a role.
pub(crate) async fn role_delete(
    front: &Front,
    request: rpc::AuthRoleDeleteRequest,
) -> Result<rpc::AuthRoleDeleteResponse, Status> {
    Ok(rpc::AuthRoleDeleteResponse { header: change(front, AuthCommand::RoleDelete { name: request.role }).await? })
}

/// A role's permissions. The role root's are those that it has by its name.
pub(crate) async fn role_get(
    front: &Front,
    request: rpc::AuthRoleGetRequest,
) -> Result<rpc::AuthRoleGetResponse, Status> {
    front.store.read_barrier().await.map_err(errors::store)?;
    let reader = front.store.reader();
    let role = reader.role(&request.role).ok_or_else(|| errors::operation(OperationError::RoleNotFound))?;
    let perm = if *role.name == *ROOT {
        let (perm_type, range_end) = (Type::Readwrite as i32, Bytes::from_static(&[0]));
        vec![WirePermission { perm_type, key: Bytes::new(), range_end }]
    } else {
        role.permissions.iter().map(to_wire).collect()
    };
    Ok(rpc::AuthRoleGetResponse { header: Some(front.header(reader.revision())), perm })
}

/// All roles.
pub(crate) async fn role_list(front: &Front) -> Result<rpc::AuthRoleListResponse, Status> {
    front.store.read_barrier().await.map_err(errors::store)?;
    let reader = front.store.reader();
    let roles = reader.role_names().iter().map(ToString::to_string).collect();
    Ok(rpc::AuthRoleListResponse { header: Some(front.header(reader.revision())), roles })
}

/// Gives a role a permission.
pub(crate) async fn role_grant_permission(
    front: &Front,
    request: rpc::AuthRoleGrantPermissionRequest,
) -> Result<rpc::AuthRoleGrantPermissionResponse, Status> {
    let given = request.perm.ok_or(OperationError::PermissionNotGiven).and_then(from_wire);
    let permission = given.map_err(errors::operation)?;
    let header = change(front, AuthCommand::RoleGrantPermission { role: request.name, permission }).await?;
    Ok(rpc::AuthRoleGrantPermissionResponse { header })
}

/// Takes a permission from a role.
pub(crate) async fn role_revoke_permission(
    front: &Front,
    request: rpc::AuthRoleRevokePermissionRequest,
) -> Result<rpc::AuthRoleRevokePermissionResponse, Status> {
    let range = KeyRange { key: request.key, range_end: request.range_end };
    let header = change(front, AuthCommand::RoleRevokePermission { role: request.role, range }).await?;
    Ok(rpc::AuthRoleRevokePermissionResponse { header })
}

fn to_wire(permission: &Permission) -> WirePermission {
    let perm_type = match permission.kind {
        PermissionKind::Read => Type::Read,
        PermissionKind::Write => Type::Write,
        PermissionKind::ReadWrite => Type::Readwrite,
    };
    let KeyRange { key, range_end } = permission.range.clone();
    WirePermission { perm_type: perm_type as i32, key, range_end }
}

fn from_wire(permission: WirePermission) -> Result<Permission, OperationError> {
    let kind = match Type::try_from(permission.perm_type) {
        Ok(Type::Read) => PermissionKind::Read,
        Ok(Type::Write) => PermissionKind::Write,
        Ok(Type::Readwrite) => PermissionKind::ReadWrite,
        Err(_) => return Err(OperationError::InvalidAuthManagement),
    };
    Ok(Permission { kind, range: KeyRange { key: permission.key, range_end: permission.range_end } })
}
