//! Questions about users, roles and tokens.

use std::sync::Arc;

use super::access::{permit_all, recognized};
use super::{Need, Role, Subject, Token, TokenDigest, User};
use crate::error::Failure;
use crate::layers::read;
use crate::reader::Reader;

impl Reader {
    /// Whether authentication is on, and the auth revision.
    #[must_use]
    pub fn auth_status(&self) -> (bool, u64) {
        let state = read(&self.state);
        (state.auth.enabled, state.auth.revision)
    }

    /// A user.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        read(&self.state).auth.users.get(name).cloned()
    }

    /// A role.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<Arc<Role>> {
        read(&self.state).auth.roles.get(name).cloned()
    }

    /// Names of all users, in order.
    #[must_use]
    pub fn user_names(&self) -> Vec<Arc<str>> {
        read(&self.state).auth.users.keys().cloned().collect()
    }

    /// Names of all roles, in order.
    #[must_use]
    pub fn role_names(&self) -> Vec<Arc<str>> {
        read(&self.state).auth.roles.keys().cloned().collect()
    }

    /// The simple token with this hash, and the auth revision.
    #[must_use]
    pub fn token(&self, digest: &TokenDigest) -> Option<(Token, u64)> {
        let state = read(&self.state);
        Some((state.auth.tokens.get(digest)?.clone(), state.auth.revision))
    }

    /// The hashes of all simple tokens.
    #[must_use]
    pub fn token_digests(&self) -> Vec<TokenDigest> {
        read(&self.state).auth.tokens.digests().copied().collect()
    }

    /// Decides whether a user may do what a request needs. Everybody may while authentication is off.
    ///
    /// # Errors
    /// `UserEmpty`, `AuthOldRevision`, `PermissionDenied`; or where the state file cannot be read.
    pub fn permit(&self, subject: &Subject, needs: &[Need]) -> Result<(), Failure> {
        let (user, view) = {
            let state = read(&self.state);
            let Some(user) = recognized(&state.auth, subject, needs)? else { return Ok(()) };
            (user, state.view.clone())
        };
        permit_all(&user, &view, needs) // which may read the disk
    }
}
