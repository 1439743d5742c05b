//! What users and roles are.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ROOT;
use super::command::PasswordHash;
use super::ranges::Grants;
use crate::request::KeyRange;

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// The name.
    pub name: Arc<str>,
    /// What bcrypt made of the password; none for a user who proves itself otherwise.
    pub password: Option<PasswordHash>,
    /// The auth revision at which the user was made or the password last changed: what was given out before is void.
    pub since: u64,
    /// Names of its roles.
    pub roles: BTreeSet<Arc<str>>,
    /// The union of what the roles permit.
    pub grants: Arc<Grants>,
}

impl User {
    /// Whether the user may do everything.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.roles.contains(ROOT)
    }
}

/// A role: permissions with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The name.
    pub name: Arc<str>,
    /// What it permits, by range; each range once.
    pub permissions: Vec<Permission>,
}

/// Something that a role permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What may be done,
    pub kind: PermissionKind,
    /// and with which keys.
    pub range: KeyRange,
}

/// Kinds of permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionKind {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Both.
    ReadWrite,
}

impl PermissionKind {
    /// Whether reading is permitted.
    #[must_use]
    pub fn reads(self) -> bool {
        matches!(self, PermissionKind::Read | PermissionKind::ReadWrite)
    }

    /// Whether writing is permitted.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, PermissionKind::Write | PermissionKind::ReadWrite)
    }
}
