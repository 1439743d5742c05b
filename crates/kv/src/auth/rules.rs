//! What each change does, and when it is refused: etcd's checks, in etcd's order.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::codec::{encode_role, encode_token, encode_user};
use super::command::{AuthCommand, AuthReply, PasswordHash, TokenDigest};
use super::ranges::Grants;
use super::records::{Permission, Role, User};
use super::tokens::Token;
use super::{ROOT, STATE_ROW};
use crate::error::OperationError;
use crate::layers::Table;
use crate::request::KeyRange;
use crate::state::State;

/// Applies a change. Where it is refused, nothing has changed.
pub(crate) fn apply(state: &mut State, command: &AuthCommand) -> Result<AuthReply, OperationError> {
    match command {
        AuthCommand::Enable => enable(state)?,
        AuthCommand::Disable => disable(state),
        AuthCommand::UserAdd { name, password } => user_add(state, name, password.as_ref())?,
        AuthCommand::UserDelete { name } => user_delete(state, name)?,
        AuthCommand::UserChangePassword { name, password } => user_change_password(state, name, password)?,
        AuthCommand::UserGrantRole { user, role } => user_grant_role(state, user, role)?,
        AuthCommand::UserRevokeRole { user, role } => user_revoke_role(state, user, role)?,
        AuthCommand::RoleAdd { name } => role_add(state, name)?,
        AuthCommand::RoleDelete { name } => role_delete(state, name)?,
        AuthCommand::RoleGrantPermission { role, permission } => role_grant_permission(state, role, permission)?,
        AuthCommand::RoleRevokePermission { role, range } => role_revoke_permission(state, role, range)?,
        AuthCommand::IssueToken { user, since, digest } => return issue_token(state, user, *since, *digest),
        AuthCommand::RenewToken { .. } => {} // only the clock of those who judge tokens' age hears of it
        AuthCommand::ExpireTokens { digests } => digests.iter().for_each(|digest| drop_token(state, digest)),
    }
    Ok(AuthReply::Done)
}

fn enable(state: &mut State) -> Result<(), OperationError> {
    if state.auth.enabled {
        return Ok(());
    }
    let root = state.auth.users.get(ROOT).ok_or(OperationError::RootUserNotExist)?;
    if !root.is_root() {
        return Err(OperationError::RootRoleNotExist);
    }
    state.auth.enabled = true;
    write_state(state); // the revision stays: it counts changes of users and roles
    Ok(())
}

fn disable(state: &mut State) {
    if !state.auth.enabled {
        return;
    }
    state.auth.enabled = false;
    let tokens: Vec<TokenDigest> = state.auth.tokens.digests().copied().collect();
    tokens.iter().for_each(|digest| drop_token(state, digest));
    bump(state);
}

fn user_add(state: &mut State, name: &str, password: Option<&PasswordHash>) -> Result<(), OperationError> {
    if name.is_empty() {
        return Err(OperationError::UserEmpty);
    }
    if state.auth.users.contains_key(name) {
        return Err(OperationError::UserAlreadyExists);
    }
    bump(state);
    let (name, since) = (Arc::from(name), state.auth.revision);
    let user = User { name, password: password.cloned(), since, roles: BTreeSet::new(), grants: Arc::default() };
    write_user(state, user);
    Ok(())
}

fn user_delete(state: &mut State, name: &str) -> Result<(), OperationError> {
    if state.auth.enabled && name == ROOT {
        return Err(OperationError::InvalidAuthManagement);
    }
    let user = user(state, name)?;
    bump(state);
    state.auth.users.remove(name);
    state.write_row(Table::AuthUsers, name.as_bytes(), None);
    drop_tokens_of(state, &user.name);
    Ok(())
}

fn user_change_password(state: &mut State, name: &str, password: &PasswordHash) -> Result<(), OperationError> {
    let mut user = User::clone(&*user(state, name)?);
    bump(state);
    user.since = state.auth.revision;
    // A user without a password stays one.
    user.password = user.password.map(|_| password.clone());
    drop_tokens_of(state, &user.name);
    write_user(state, user);
    Ok(())
}

fn user_grant_role(state: &mut State, name: &str, role: &str) -> Result<(), OperationError> {
    let mut user = User::clone(&*user(state, name)?);
    // The role root means something whether it was added or not.
    if role != ROOT && !state.auth.roles.contains_key(role) {
        return Err(OperationError::RoleNotFound);
    }
    if user.roles.insert(Arc::from(role)) {
        bump(state);
        write_user(state, user);
    }
    Ok(())
}

fn user_revoke_role(state: &mut State, name: &str, role: &str) -> Result<(), OperationError> {
    if state.auth.enabled && name == ROOT && role == ROOT {
        return Err(OperationError::InvalidAuthManagement);
    }
    let mut user = User::clone(&*user(state, name)?);
    if !user.roles.remove(role) {
        return Err(OperationError::RoleNotGranted);
    }
    bump(state);
    write_user(state, user);
    Ok(())
}

fn role_add(state: &mut State, name: &str) -> Result<(), OperationError> {
    if name.is_empty() {
        return Err(OperationError::RoleEmpty);
    }
    if state.auth.roles.contains_key(name) {
        return Err(OperationError::RoleAlreadyExists);
    }
    bump(state);
    write_role(state, Role { name: Arc::from(name), permissions: Vec::new() });
    Ok(())
}

fn role_delete(state: &mut State, name: &str) -> Result<(), OperationError> {
    if state.auth.enabled && name == ROOT {
        return Err(OperationError::InvalidAuthManagement);
    }
    role(state, name)?;
    bump(state);
    state.auth.roles.remove(name);
    state.write_row(Table::AuthRoles, name.as_bytes(), None);
    for user in holders(state, name) {
        let mut user = User::clone(&user);
        user.roles.remove(name);
        write_user(state, user);
    }
    Ok(())
}

fn role_grant_permission(state: &mut State, name: &str, permission: &Permission) -> Result<(), OperationError> {
    let KeyRange { key, range_end } = &permission.range;
    let sensible = range_end.is_empty() || range_end[..] == [0] || key < range_end;
    if key.is_empty() || !sensible {
        return Err(OperationError::InvalidAuthManagement);
    }
    let mut role = Role::clone(&*role(state, name)?);
    let place = |other: &Permission| (&other.range.key, &other.range.range_end).cmp(&(key, range_end));
    match role.permissions.binary_search_by(place) {
        Ok(at) => role.permissions[at] = permission.clone(),
        Err(at) => role.permissions.insert(at, permission.clone()),
    }
    change_permissions(state, role);
    Ok(())
}

fn role_revoke_permission(state: &mut State, name: &str, range: &KeyRange) -> Result<(), OperationError> {
    let mut role = Role::clone(&*role(state, name)?);
    let before = role.permissions.len();
    role.permissions.retain(|permission| permission.range != *range);
    if role.permissions.len() == before {
        return Err(OperationError::PermissionNotGranted);
    }
    change_permissions(state, role);
    Ok(())
}

fn issue_token(state: &mut State, name: &str, since: u64, digest: TokenDigest) -> Result<AuthReply, OperationError> {
    if !state.auth.enabled {
        return Err(OperationError::AuthNotEnabled);
    }
    let user = state.auth.users.get(name).cloned().ok_or(OperationError::AuthFailed)?;
    if user.since != since {
        return Err(OperationError::AuthFailed); // the password that was checked is not the password any more
    }
    let token = Token { user: Arc::clone(&user.name), index: state.index };
    state.write_row(Table::AuthTokens, &digest, Some(encode_token(&token)));
    state.auth.tokens.insert(digest, token);
    if let Some(oldest) = state.auth.tokens.surplus() {
        drop_token(state, &oldest);
    }
    Ok(AuthReply::Issued { index: state.index })
}

fn user(state: &State, name: &str) -> Result<Arc<User>, OperationError> {
    state.auth.users.get(name).cloned().ok_or(OperationError::UserNotFound)
}

fn role(state: &State, name: &str) -> Result<Arc<Role>, OperationError> {
    state.auth.roles.get(name).cloned().ok_or(OperationError::RoleNotFound)
}

/// Users that have a role.
fn holders(state: &State, role: &str) -> Vec<Arc<User>> {
    state.auth.users.values().filter(|user| user.roles.contains(role)).cloned().collect()
}

fn bump(state: &mut State) {
    state.auth.revision += 1;
    write_state(state);
}

fn write_state(state: &mut State) {
    let row = state.auth.state_row();
    state.write_row(Table::Auth, STATE_ROW, Some(row));
}

/// Writes a user, whose permissions are made anew.
fn write_user(state: &mut State, mut user: User) {
    user.grants = Arc::new(state.auth.grants_of(&user));
    let row = encode_user(&user);
    state.write_row(Table::AuthUsers, user.name.as_bytes(), Some(row));
    state.auth.users.insert(Arc::clone(&user.name), Arc::new(user));
}

fn write_role(state: &mut State, role: Role) {
    state.write_row(Table::AuthRoles, role.name.as_bytes(), Some(encode_role(&role)));
    state.auth.roles.insert(Arc::clone(&role.name), Arc::new(role));
}

/// A role's permissions changed: so do those of its holders, and of nobody else.
fn change_permissions(state: &mut State, role: Role) {
    bump(state);
    let name = Arc::clone(&role.name);
    write_role(state, role);
    for holder in holders(state, &name) {
        let grants: Grants = state.auth.grants_of(&holder);
        let user = User { grants: Arc::new(grants), ..User::clone(&holder) };
        state.auth.users.insert(Arc::clone(&user.name), Arc::new(user));
    }
}

fn drop_token(state: &mut State, digest: &TokenDigest) {
    if state.auth.tokens.remove(digest) {
        state.write_row(Table::AuthTokens, digest, None::<Bytes>);
    }
}

fn drop_tokens_of(state: &mut State, user: &Arc<str>) {
    for digest in state.auth.tokens.of_user(user) {
        drop_token(state, &digest);
    }
}
