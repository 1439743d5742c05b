//! The decision: whether a user may do what a decoded request asks for. Everything that a request can touch counts,
//! whichever way a transaction goes, at any depth: ranges compared, read, written, values from before that are returned,
//! and keys that hang on a lease that is given.

use std::sync::Arc;

use bytes::Bytes;

use super::{Auth, AuthCommand, User};
use crate::command::Command;
use crate::error::{Failure, KvError, OperationError};
use crate::layers::View;
use crate::lease;
use crate::request::{DeleteRangeRequest, KeyRange, PutRequest, RequestOp, TxnRequest};

/// A user who was recognized, and the auth revision at which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The user's name.
    pub user: Arc<str>,
    /// The auth revision. Where it has moved since, permissions may have, too.
    pub revision: u64,
}

/// In whose name an entry is proposed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proposer {
    /// A member's own: the end of a lease, an alarm, a description of itself.
    #[default]
    Member,
    /// A client that said nothing about itself. It may do nothing while authentication is on.
    Anonymous,
    /// A user.
    User(Subject),
}

/// Reading or writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing.
    Write,
}

/// What has to be permitted for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Being somebody.
    User,
    /// The role root.
    Root,
    /// Being this user, or the role root.
    OwnUser(String),
    /// Having this role, or the role root.
    OwnRole(String),
    /// Access to every key of a range.
    Keys(Access, KeyRange),
    /// Access to every key that is attached to a lease.
    LeaseKeys(Access, i64),
    /// Reading every key that is attached to whichever lease.
    AllLeases,
}

/// What a command needs that arrives in a client's name.
#[must_use]
pub fn needs_of(command: &Command) -> Vec<Need> {
    let mut needs = Vec::new();
    match command {
        Command::Put(put) => needs.extend(Need::of_put(put)),
        Command::DeleteRange(delete) => needs.extend(Need::of_delete(delete)),
        Command::Txn(txn) => needs = Need::of_txn(txn),
        Command::LeaseGrant { .. } => needs.push(Need::User),
        Command::LeaseRevoke { id } => needs.push(Need::LeaseKeys(Access::Write, *id)),
        // A token is given to who showed a password and renewed for who shows it: before that nobody is anybody.
        Command::Auth(AuthCommand::IssueToken { .. } | AuthCommand::RenewToken { .. }) => {}
        Command::Auth(_)
        | Command::Compact { .. }
        | Command::Alarm { .. }
        | Command::MemberAttributes(_)
        | Command::LeaseCheckpoint { .. }
        | Command::LeaseExpire { .. }
        | Command::ClusterVersion(_)
        | Command::Downgrade(_)
        | Command::Membership(_) => needs.push(Need::Root),
    }
    needs
}

impl Need {
    /// Of reading a range.
    #[must_use]
    pub fn of_read(range: &KeyRange) -> Need {
        Need::Keys(Access::Read, range.clone())
    }

    /// Of a put. Attaching a key to a lease puts it in the hands of who may end the lease, and ends with it the other keys
    /// there: so these must be writable, too.
    pub fn of_put(put: &PutRequest) -> impl Iterator<Item = Need> + use<> {
        let range = KeyRange { key: put.key.clone(), range_end: Bytes::new() };
        let read = put.prev_kv.then(|| Need::of_read(&range));
        let lease = (put.lease != 0).then_some(Need::LeaseKeys(Access::Write, put.lease));
        [Some(Need::Keys(Access::Write, range)), read, lease].into_iter().flatten()
    }

    /// Of a deletion.
    pub fn of_delete(delete: &DeleteRangeRequest) -> impl Iterator<Item = Need> + use<> {
        let read = delete.prev_kv.then(|| Need::of_read(&delete.range));
        [Some(Need::Keys(Access::Write, delete.range.clone())), read].into_iter().flatten()
    }

    /// Of a transaction: of both its branches, and of those within.
    #[must_use]
    pub fn of_txn(txn: &TxnRequest) -> Vec<Need> {
        let mut needs = vec![Need::User]; // also where it does nothing
        let mut pending = vec![txn]; // not by recursion: the depth is a client's choice
        while let Some(txn) = pending.pop() {
            needs.extend(txn.compare.iter().map(|compare| Need::of_read(&compare.range)));
            for operation in txn.success.iter().chain(&txn.failure) {
                match operation {
                    RequestOp::Range(range) => needs.push(Need::of_read(&range.range)),
                    RequestOp::Put(put) => needs.extend(Need::of_put(put)),
                    RequestOp::DeleteRange(delete) => needs.extend(Need::of_delete(delete)),
                    RequestOp::Txn(txn) => pending.push(txn),
                }
            }
        }
        needs
    }

    /// Whether it says something about keys. Those decisions hold only for the auth revision that they were made at.
    fn is_of_keys(&self) -> bool {
        matches!(self, Need::Keys(..) | Need::LeaseKeys(..) | Need::AllLeases)
    }
}

/// Decides about an entry that is being applied.
pub(crate) fn admit(auth: &Auth, view: &View, proposer: &Proposer, command: &Command) -> Result<(), Failure> {
    if !auth.enabled {
        return Ok(());
    }
    match proposer {
        Proposer::Member => Ok(()),
        Proposer::Anonymous if needs_of(command).is_empty() => Ok(()),
        Proposer::Anonymous => Err(OperationError::UserEmpty.into()),
        Proposer::User(subject) => decide(auth, view, subject, &needs_of(command)),
    }
}

/// Decides about a request.
fn decide(auth: &Auth, view: &View, subject: &Subject, needs: &[Need]) -> Result<(), Failure> {
    match recognized(auth, subject, needs)? {
        None => Ok(()),
        Some(user) => permit_all(&user, view, needs),
    }
}

/// The user whose permissions are to be looked at; none where there is nothing to look at.
pub(super) fn recognized(auth: &Auth, subject: &Subject, needs: &[Need]) -> Result<Option<Arc<User>>, OperationError> {
    if !auth.enabled {
        return Ok(None);
    }
    if subject.user.is_empty() {
        return Err(OperationError::UserEmpty);
    }
    if subject.revision < auth.revision && needs.iter().any(Need::is_of_keys) {
        return Err(OperationError::AuthOldRevision);
    }
    let user = auth.users.get(&subject.user).ok_or(OperationError::PermissionDenied)?;
    if subject.revision < user.since {
        return Err(OperationError::AuthOldRevision); // recognized by a password that is no more
    }
    Ok((!user.is_root()).then(|| Arc::clone(user)))
}

/// Whether a user without the role root may all of this.
pub(super) fn permit_all(user: &User, view: &View, needs: &[Need]) -> Result<(), Failure> {
    for need in needs {
        if !permits(user, view, need)? {
            return Err(OperationError::PermissionDenied.into());
        }
    }
    Ok(())
}

fn permits(user: &User, view: &View, need: &Need) -> Result<bool, KvError> {
    let grants = &*user.grants;
    let may = |access: Access, key: &Bytes| match access {
        Access::Read => grants.may_read_key(key),
        Access::Write => grants.may_write_key(key),
    };
    Ok(match need {
        Need::User => true,
        Need::Root => false,
        Need::OwnUser(name) => **name == *user.name,
        Need::OwnRole(role) => user.roles.contains(&**role),
        Need::Keys(Access::Read, range) => grants.may_read(range),
        Need::Keys(Access::Write, range) => grants.may_write(range),
        Need::LeaseKeys(access, id) => lease::keys(view, *id)?.iter().all(|key| may(*access, key)),
        Need::AllLeases => lease::all_keys(view, |key| may(Access::Read, key))?,
    })
}
