//! Changes of users, roles and tokens.

use std::fmt;

use bytes::Bytes;

use super::records::Permission;
use crate::request::KeyRange;

/// What bcrypt made of a password. Does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub Bytes);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// SHA-256 of a simple token's letters: what is kept of it.
pub type TokenDigest = [u8; 32];

/// A change of users, roles or tokens.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthCommand {
    /// Switches authentication on.
    Enable,
    /// Switches authentication off.
    Disable,
    /// Adds a user; without a password, one who proves itself otherwise.
    UserAdd {
        /// The name.
        name: String,
        /// The password, hashed.
        password: Option<PasswordHash>,
    },
    /// Removes a user.
    UserDelete {
        /// The name.
        name: String,
    },
    /// Changes a password.
    UserChangePassword {
        /// Whose.
        name: String,
        /// The new one, hashed.
        password: PasswordHash,
    },
    /// Gives a user a role.
    UserGrantRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// Takes a role from a user.
    UserRevokeRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// Adds a role without permissions.
    RoleAdd {
        /// The name.
        name: String,
    },
    /// Removes a role, also from those who have it.
    RoleDelete {
        /// The name.
        name: String,
    },
    /// Gives a role a permission, or changes the kind of the one with the same range.
    RoleGrantPermission {
        /// The role.
        role: String,
        /// The permission.
        permission: Permission,
    },
    /// Takes a permission from a role.
    RoleRevokePermission {
        /// The role.
        role: String,
        /// The permission's range.
        range: KeyRange,
    },
    /// Gives out a simple token to a user whose password was checked.
    IssueToken {
        /// The user.
        user: String,
        /// [`super::User::since`] when the password was checked.
        since: u64,
        /// The token, hashed.
        digest: TokenDigest,
    },
    /// A token is in use: it lives on.
    RenewToken {
        /// The token, hashed.
        digest: TokenDigest,
    },
    /// The time of tokens is over.
    ExpireTokens {
        /// The tokens, hashed.
        digests: Vec<TokenDigest>,
    },
}

impl fmt::Debug for AuthCommand {
    /// Names, never hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthCommand::Enable => f.write_str("Enable"),
            AuthCommand::Disable => f.write_str("Disable"),
            AuthCommand::UserAdd { name, .. } => write!(f, "UserAdd({name})"),
            AuthCommand::UserDelete { name } => write!(f, "UserDelete({name})"),
            AuthCommand::UserChangePassword { name, .. } => write!(f, "UserChangePassword({name})"),
            AuthCommand::UserGrantRole { user, role } => write!(f, "UserGrantRole({user}, {role})"),
            AuthCommand::UserRevokeRole { user, role } => write!(f, "UserRevokeRole({user}, {role})"),
            AuthCommand::RoleAdd { name } => write!(f, "RoleAdd({name})"),
            AuthCommand::RoleDelete { name } => write!(f, "RoleDelete({name})"),
            AuthCommand::RoleGrantPermission { role, permission } => {
                write!(f, "RoleGrantPermission({role}, {permission:?})")
            }
            AuthCommand::RoleRevokePermission { role, range } => write!(f, "RoleRevokePermission({role}, {range:?})"),
            AuthCommand::IssueToken { user, .. } => write!(f, "IssueToken({user})"),
            AuthCommand::RenewToken { .. } => f.write_str("RenewToken"),
            AuthCommand::ExpireTokens { digests } => write!(f, "ExpireTokens({})", digests.len()),
        }
    }
}

impl AuthCommand {
    /// What it does, in a word, for dumps and counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            AuthCommand::Enable => "auth enable",
            AuthCommand::Disable => "auth disable",
            AuthCommand::UserAdd { .. } => "user add",
            AuthCommand::UserDelete { .. } => "user delete",
            AuthCommand::UserChangePassword { .. } => "user change password",
            AuthCommand::UserGrantRole { .. } => "user grant role",
            AuthCommand::UserRevokeRole { .. } => "user revoke role",
            AuthCommand::RoleAdd { .. } => "role add",
            AuthCommand::RoleDelete { .. } => "role delete",
            AuthCommand::RoleGrantPermission { .. } => "role grant permission",
            AuthCommand::RoleRevokePermission { .. } => "role revoke permission",
            AuthCommand::IssueToken { .. } => "token issue",
            AuthCommand::RenewToken { .. } => "token renew",
            AuthCommand::ExpireTokens { .. } => "token expire",
        }
    }
}

/// What a change of users, roles or tokens gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthReply {
    /// It is done.
    Done,
    /// A token was given out by the entry of this index.
    Issued {
        /// The index: the end of the token.
        index: u64,
    },
}
