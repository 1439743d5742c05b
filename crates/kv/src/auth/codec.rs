//! Commands and rows of users, roles and tokens as bytes; the layout is in `docs/formats/`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::command::{AuthCommand, PasswordHash, TokenDigest};
use super::ranges::Grants;
use super::records::{Permission, PermissionKind, Role, User};
use super::tokens::Token;
use crate::codec::{DecodeError, Reader, write_key_range};
use crate::error::KvError;
use crate::layers::Table;
use crate::wire::{Wire, put_bytes, put_varint};

const ENABLE: u8 = 20;
const DISABLE: u8 = 21;
const USER_ADD: u8 = 22;
const USER_DELETE: u8 = 23;
const USER_CHANGE_PASSWORD: u8 = 24;
const USER_GRANT_ROLE: u8 = 25;
const USER_REVOKE_ROLE: u8 = 26;
const ROLE_ADD: u8 = 27;
const ROLE_DELETE: u8 = 28;
const ROLE_GRANT_PERMISSION: u8 = 29;
const ROLE_REVOKE_PERMISSION: u8 = 30;
const ISSUE_TOKEN: u8 = 31;
const RENEW_TOKEN: u8 = 32;
const EXPIRE_TOKENS: u8 = 33;

/// Appends a command's kind and fields.
pub(crate) fn encode_command(out: &mut Vec<u8>, command: &AuthCommand) {
    match command {
        AuthCommand::Enable => out.push(ENABLE),
        AuthCommand::Disable => out.push(DISABLE),
        AuthCommand::UserAdd { name, password } => {
            put_texts(out, USER_ADD, &[name]);
            write_password(out, password.as_ref());
        }
        AuthCommand::UserDelete { name } => put_texts(out, USER_DELETE, &[name]),
        AuthCommand::UserChangePassword { name, password } => {
            put_texts(out, USER_CHANGE_PASSWORD, &[name]);
            put_bytes(out, &password.0);
        }
        AuthCommand::UserGrantRole { user, role } => put_texts(out, USER_GRANT_ROLE, &[user, role]),
        AuthCommand::UserRevokeRole { user, role } => put_texts(out, USER_REVOKE_ROLE, &[user, role]),
        AuthCommand::RoleAdd { name } => put_texts(out, ROLE_ADD, &[name]),
        AuthCommand::RoleDelete { name } => put_texts(out, ROLE_DELETE, &[name]),
        AuthCommand::RoleGrantPermission { role, permission } => {
            put_texts(out, ROLE_GRANT_PERMISSION, &[role]);
            write_permission(out, permission);
        }
        AuthCommand::RoleRevokePermission { role, range } => {
            put_texts(out, ROLE_REVOKE_PERMISSION, &[role]);
            write_key_range(out, range);
        }
        AuthCommand::IssueToken { user, since, digest } => {
            put_texts(out, ISSUE_TOKEN, &[user]);
            put_varint(out, *since);
            out.extend_from_slice(digest);
        }
        AuthCommand::RenewToken { digest } => {
            out.push(RENEW_TOKEN);
            out.extend_from_slice(digest);
        }
        AuthCommand::ExpireTokens { digests } => {
            out.push(EXPIRE_TOKENS);
            put_varint(out, digests.len() as u64);
            digests.iter().for_each(|digest| out.extend_from_slice(digest));
        }
    }
}

/// Reads the fields of a command of this kind; none where the kind is not one of these.
pub(crate) fn decode_command(kind: u8, reader: &mut Reader<'_>) -> Result<Option<AuthCommand>, DecodeError> {
    Ok(Some(match kind {
        ENABLE => AuthCommand::Enable,
        DISABLE => AuthCommand::Disable,
        USER_ADD => AuthCommand::UserAdd { name: reader.text()?, password: read_password(reader)? },
        USER_DELETE => AuthCommand::UserDelete { name: reader.text()? },
        USER_CHANGE_PASSWORD => {
            AuthCommand::UserChangePassword { name: reader.text()?, password: PasswordHash(reader.bytes()?) }
        }
        USER_GRANT_ROLE => AuthCommand::UserGrantRole { user: reader.text()?, role: reader.text()? },
        USER_REVOKE_ROLE => AuthCommand::UserRevokeRole { user: reader.text()?, role: reader.text()? },
        ROLE_ADD => AuthCommand::RoleAdd { name: reader.text()? },
        ROLE_DELETE => AuthCommand::RoleDelete { name: reader.text()? },
        ROLE_GRANT_PERMISSION => {
            AuthCommand::RoleGrantPermission { role: reader.text()?, permission: read_permission(reader)? }
        }
        ROLE_REVOKE_PERMISSION => {
            AuthCommand::RoleRevokePermission { role: reader.text()?, range: reader.key_range()? }
        }
        ISSUE_TOKEN => {
            AuthCommand::IssueToken { user: reader.text()?, since: reader.varint()?, digest: read_digest(reader)? }
        }
        RENEW_TOKEN => AuthCommand::RenewToken { digest: read_digest(reader)? },
        EXPIRE_TOKENS => AuthCommand::ExpireTokens { digests: reader.list(read_digest)? },
        _ => return Ok(None),
    }))
}

fn put_texts(out: &mut Vec<u8>, kind: u8, texts: &[&str]) {
    out.push(kind);
    texts.iter().for_each(|text| put_bytes(out, text.as_bytes()));
}

fn write_password(out: &mut Vec<u8>, password: Option<&PasswordHash>) {
    out.push(u8::from(password.is_some()));
    if let Some(password) = password {
        put_bytes(out, &password.0);
    }
}

fn read_password(reader: &mut Reader<'_>) -> Result<Option<PasswordHash>, DecodeError> {
    Ok(if reader.flags(1)? == 1 { Some(PasswordHash(reader.bytes()?)) } else { None })
}

fn write_permission(out: &mut Vec<u8>, permission: &Permission) {
    out.push(match permission.kind {
        PermissionKind::Read => 0,
        PermissionKind::Write => 1,
        PermissionKind::ReadWrite => 2,
    });
    write_key_range(out, &permission.range);
}

fn read_permission(reader: &mut Reader<'_>) -> Result<Permission, DecodeError> {
    let kind = match reader.byte()? {
        0 => PermissionKind::Read,
        1 => PermissionKind::Write,
        2 => PermissionKind::ReadWrite,
        found => return Err(reader.unknown("permission", found)),
    };
    Ok(Permission { kind, range: reader.key_range()? })
}

fn read_digest(reader: &mut Reader<'_>) -> Result<TokenDigest, DecodeError> {
    let mut digest = [0; 32];
    for byte in &mut digest {
        *byte = reader.byte()?;
    }
    Ok(digest)
}

/// The row with the switch and the revision.
pub(super) fn encode_state(enabled: bool, revision: u64) -> Bytes {
    let mut out = vec![u8::from(enabled)];
    put_varint(&mut out, revision);
    out.into()
}

pub(super) fn decode_state(row: &Bytes) -> Result<(bool, u64), KvError> {
    whole(Table::Auth, row, |reader| Ok((reader.flags(1)? == 1, reader.varint()?)))
}

/// A user's row. The name is its key.
pub(super) fn encode_user(user: &User) -> Bytes {
    let mut out = Vec::new();
    write_password(&mut out, user.password.as_ref());
    put_varint(&mut out, user.since);
    put_varint(&mut out, user.roles.len() as u64);
    user.roles.iter().for_each(|role| put_bytes(&mut out, role.as_bytes()));
    out.into()
}

/// Reads a user; what its roles permit is put in by who knows the roles.
pub(super) fn decode_user(name: &[u8], row: &Bytes) -> Result<User, KvError> {
    let name = name_of(Table::AuthUsers, name)?;
    whole(Table::AuthUsers, row, |reader| {
        let (password, since) = (read_password(reader)?, reader.varint()?);
        let roles: Vec<String> = reader.list(Reader::text)?;
        let roles: BTreeSet<Arc<str>> = roles.into_iter().map(Arc::from).collect();
        Ok(User { name, password, since, roles, grants: Arc::new(Grants::default()) })
    })
}

/// A role's row. The name is its key.
pub(super) fn encode_role(role: &Role) -> Bytes {
    let mut out = Vec::new();
    put_varint(&mut out, role.permissions.len() as u64);
    role.permissions.iter().for_each(|permission| write_permission(&mut out, permission));
    out.into()
}

pub(super) fn decode_role(name: &[u8], row: &Bytes) -> Result<Role, KvError> {
    let name = name_of(Table::AuthRoles, name)?;
    let permissions = whole(Table::AuthRoles, row, |reader| reader.list(read_permission))?;
    Ok(Role { name, permissions })
}

/// A token's row. Its hash is its key.
pub(super) fn encode_token(token: &Token) -> Bytes {
    let mut out = Vec::new();
    put_varint(&mut out, token.index);
    put_bytes(&mut out, token.user.as_bytes());
    out.into()
}

pub(super) fn decode_token(digest: &[u8], row: &Bytes) -> Result<(TokenDigest, Token), KvError> {
    let table = Table::AuthTokens;
    let digest = digest.try_into().map_err(|_| KvError::Damaged { table, what: "key of wrong length" })?;
    let (index, user) = whole(table, row, |reader| Ok((reader.varint()?, reader.text()?)))?;
    Ok((digest, Token { user: user.into(), index }))
}

fn name_of(table: Table, name: &[u8]) -> Result<Arc<str>, KvError> {
    std::str::from_utf8(name).map(Arc::from).map_err(|_| KvError::Damaged { table, what: "name that is not UTF-8" })
}

/// Reads all of a row.
fn whole<T>(
    table: Table,
    row: &Bytes,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<T, KvError> {
    let mut reader = Reader { wire: Wire::new(row), whole: row };
    let value = read(&mut reader).ok().filter(|_| reader.wire.remaining() == 0);
    value.ok_or(KvError::Damaged { table, what: "unreadable user, role or token" })
}
