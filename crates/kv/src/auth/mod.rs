//! Who may do what: users, roles, permissions and tokens, replicated like everything else.
//!
//! - [`AuthCommand`] changes them, under the rules of `rules`; what they are made of is in `records`.
//! - `ranges` is a user's permissions as one sorted union, so that a decision costs the logarithm of their number. It is
//!   made anew only for the users that a change concerns.
//! - `access` decides, over the decoded request: the front door asks it before a service runs, and every member asks it
//!   again when the entry is applied, where an entry says in whose name it was proposed ([`Proposer`]).
//! - `tokens` are the simple tokens that were given out, as hashes. How long one lives is the store's business: time
//!   arrives here as a command.
//!
//! Passwords never come here: a command carries what bcrypt made of them.

mod access;
mod codec;
mod command;
mod ranges;
mod reading;
mod records;
mod rules;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::KvError;
use crate::layers::{Table, View};
use crate::scan::Scan;

pub(crate) use access::admit;
pub use access::{Access, Need, Proposer, Subject, needs_of};
pub(crate) use codec::{decode_command, encode_command};
pub use command::{AuthCommand, AuthReply, PasswordHash, TokenDigest};
pub use ranges::Grants;
pub use records::{Permission, PermissionKind, Role, User};
pub(crate) use rules::apply;
pub use tokens::Token;
pub(crate) use tokens::Tokens;

/// The user that exists before authentication can be switched on, and the role that may do everything.
pub const ROOT: &str = "root";

/// Row of the table `auth` that holds the switch and the revision.
const STATE_ROW: &[u8] = b"state";

/// The tables in memory. Users and roles are few beside keys, and every request asks for them.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    pub(crate) enabled: bool,
    /// Counts changes of users and roles.
    pub(crate) revision: u64,
    pub(crate) users: BTreeMap<Arc<str>, Arc<User>>,
    pub(crate) roles: BTreeMap<Arc<str>, Arc<Role>>,
    pub(crate) tokens: Tokens,
}

impl Default for Auth {
    fn default() -> Auth {
        let (users, roles) = (BTreeMap::new(), BTreeMap::new());
        Auth { enabled: false, revision: 1, users, roles, tokens: Tokens::default() }
    }
}

impl Auth {
    /// As the tables have it.
    pub(crate) fn load(view: &View) -> Result<Auth, KvError> {
        let mut auth = Auth::default();
        if let Some(row) = view.get(Table::Auth, STATE_ROW)? {
            (auth.enabled, auth.revision) = codec::decode_state(&row)?;
        }
        let mut scan = Scan::new(view, Table::AuthRoles, &[], None);
        while let Some((name, row)) = scan.next()? {
            let role = codec::decode_role(&name, &row)?;
            auth.roles.insert(Arc::clone(&role.name), Arc::new(role));
        }
        let mut scan = Scan::new(view, Table::AuthUsers, &[], None);
        while let Some((name, row)) = scan.next()? {
            let mut user = codec::decode_user(&name, &row)?;
            user.grants = Arc::new(auth.grants_of(&user));
            auth.users.insert(Arc::clone(&user.name), Arc::new(user));
        }
        let mut scan = Scan::new(view, Table::AuthTokens, &[], None);
        while let Some((digest, row)) = scan.next()? {
            let (digest, token) = codec::decode_token(&digest, &row)?;
            auth.tokens.insert(digest, token);
        }
        Ok(auth)
    }

    /// The union of what a user's roles permit.
    fn grants_of(&self, user: &User) -> Grants {
        let roles = user.roles.iter().filter_map(|role| self.roles.get(role));
        Grants::of(roles.flat_map(|role| &role.permissions))
    }

    /// The row that says whether authentication is on, and the revision.
    fn state_row(&self) -> Bytes {
        codec::encode_state(self.enabled, self.revision)
    }
}

/// Checks a row, for who looks through a state file.
pub(crate) fn check_row(table: Table, key: &[u8], row: &[u8]) -> Result<(), KvError> {
    let row = &Bytes::copy_from_slice(row);
    match table {
        Table::Auth => codec::decode_state(row).map(|_| ()),
        Table::AuthUsers => codec::decode_user(key, row).map(|_| ()),
        Table::AuthRoles => codec::decode_role(key, row).map(|_| ()),
        Table::AuthTokens => codec::decode_token(key, row).map(|_| ()),
        other => panic!("{} is no table of users and roles", other.name()),
    }
}
