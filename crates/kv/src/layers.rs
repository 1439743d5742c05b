//! The state as layers of sorted tables: an active one in memory that commands write to, perhaps a frozen one that a
//! checkpoint is writing out, and the base on disk. A newer layer's row hides an older one's of the same key.
//!
//! A [`View`] holds one of each and stays valid whatever happens next: after a freeze its active table takes no more
//! rows, and a base stays readable behind later checkpoints. Versions are never changed in place, so a reader that
//! remembers the revision it began at sees one state throughout, while commands go on.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use redb::TableDefinition;

use crate::base::Base;
use crate::error::KvError;
use crate::key;
use crate::memory::Memory;
use crate::record::Version;
use crate::versions::{self, Place};

/// The tables. Keys and values are described in `docs/formats/state.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The newest version of every key.
    Keys,
    /// Older versions of keys, newest first.
    History,
    /// What changed, in the order of revisions.
    Revisions,
    /// Granted leases.
    Leases,
    /// Keys attached to leases.
    LeaseKeys,
    /// Members as clients see them.
    Members,
    /// Raised alarms.
    Alarms,
    /// Where blocks of live keys begin and how many each holds.
    Fences,
    /// What the checkpoint stands for.
    Meta,
    /// What the cluster is as a whole: its version, and a downgrade.
    Cluster,
    /// Whether authentication is on, and the auth revision.
    Auth,
    /// Users.
    AuthUsers,
    /// Roles.
    AuthRoles,
    /// Simple tokens, as hashes.
    AuthTokens,
    /// Identities that are to become members, and those that were.
    Standings,
}

impl Table {
    pub(crate) const ALL: [Table; 15] = [
        Table::Keys,
        Table::History,
        Table::Revisions,
        Table::Leases,
        Table::LeaseKeys,
        Table::Members,
        Table::Alarms,
        Table::Fences,
        Table::Meta,
        Table::Cluster,
        Table::Auth,
        Table::AuthUsers,
        Table::AuthRoles,
        Table::AuthTokens,
        Table::Standings,
    ];

    /// Its name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Table::Keys => "keys",
            Table::History => "history",
            Table::Revisions => "revisions",
            Table::Leases => "leases",
            Table::LeaseKeys => "lease_keys",
            Table::Members => "members",
            Table::Alarms => "alarms",
            Table::Cluster => "cluster",
            Table::Fences => "fences",
            Table::Meta => "meta",
            Table::Auth => "auth",
            Table::AuthUsers => "auth_users",
            Table::AuthRoles => "auth_roles",
            Table::AuthTokens => "auth_tokens",
            Table::Standings => "standings",
        }
    }

    pub(crate) fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(self.name())
    }
}

/// A table in memory that several hold.
pub(crate) type Shared = Arc<RwLock<Memory>>;

/// Locks for reading.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    // A holder that panicked takes the process down in release builds; in tests the state is still readable.
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// The layers at some moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub active: Shared,
    pub frozen: Option<Shared>,
    pub base: Arc<Base>,
}

impl View {
    /// Only the base.
    pub(crate) fn of_base(base: Arc<Base>) -> View {
        View { active: Shared::default(), frozen: None, base }
    }

    /// The layers in memory, newest first.
    pub(crate) fn memories(&self) -> impl Iterator<Item = &Shared> {
        std::iter::once(&self.active).chain(&self.frozen)
    }

    /// A row.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        for memory in self.memories() {
            if let Some(row) = read(memory).get(table, key) {
                return Ok(row.clone());
            }
        }
        self.base.get(table, key)
    }

    /// The newest version of a prefix's key at or before a place in history: a put, or a deletion, or none ever was.
    pub(crate) fn version_at(&self, prefix: &[u8], place: Place) -> Result<Option<Version>, KvError> {
        for memory in self.memories() {
            if let Some(version) = read(memory).chain(prefix).and_then(|chain| chain.at(place)) {
                return version.version(true).map(Some);
            }
        }
        if self.base.mark().revision == 1 {
            return Ok(None); // no checkpoint has a key yet
        }
        versions::in_base(&self.base, prefix, place)
    }

    /// The version of a prefix's key that is there at a revision, if the key is.
    pub(crate) fn visible(&self, prefix: &[u8], at: i64) -> Result<Option<Version>, KvError> {
        Ok(self.version_at(prefix, (at, u32::MAX))?.filter(|version| !version.tombstone))
    }

    /// As [`View::visible`], by user key.
    pub(crate) fn live(&self, key: &[u8], at: i64) -> Result<Option<Version>, KvError> {
        self.visible(&key::prefix(key), at)
    }
}
