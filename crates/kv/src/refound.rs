//! A state that came out of one cluster as the first state of another: the same keys and leases, other members.

use std::sync::Arc;

use bytes::Bytes;
use redb::StorageBackend;

use crate::base::{Base, File, Mark, write_mark};
use crate::error::{KvError, storage};
use crate::layers::Table;

/// Cache of a file that is opened for one small change.
const CACHE_BYTES: usize = 1 << 20;

/// What is different in the new cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refounding {
    /// Stored beside the state from now on, in the place of what was: the new cluster's membership.
    pub opaque: Bytes,
    /// How far the revision jumps. What is above zero also compacts everything before: clients that remember a revision
    /// of the old cluster, perhaps one that this state never had, are told so instead of being served something else.
    pub bump_revision: u64,
}

/// Where the new cluster begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Founded {
    /// Index and term of the last log entry in the state.
    pub applied: (u64, u64),
    /// The store's revision.
    pub revision: i64,
}

/// Changes a state file that nobody uses, durably. Members as clients see them are forgotten, and simple tokens: who was
/// let into the old cluster shows its password to the new one. Users, leases and alarms stay.
/// Answers what stands in the file now.
///
/// # Errors
/// Where the file holds no whole state or cannot be written.
pub fn refound(backend: impl StorageBackend, refounding: &Refounding) -> Result<Founded, KvError> {
    let file = Arc::new(File::open(backend, CACHE_BYTES, 0)?);
    let base = Base::pin(Arc::clone(&file))?;
    let mut rows = Vec::new();
    for table in [Table::Members, Table::Standings, Table::AuthTokens] {
        for row in base.range(table, &[], None)? {
            let (key, value) = row?;
            rows.push((table, key.value().to_vec(), value.value().len()));
        }
    }
    let mut mark: Mark = base.mark().clone();
    if refounding.bump_revision > 0 {
        mark.revision = mark.revision.saturating_add_unsigned(refounding.bump_revision);
        mark.compacted = mark.revision;
    }
    let transaction = file.begin()?;
    for (table, key, value_bytes) in rows {
        mark.bytes = mark.bytes.saturating_sub((key.len() + value_bytes) as u64);
        let mut table = transaction.open_table(table.definition()).map_err(storage("writing to"))?;
        table.remove(&key[..]).map_err(storage("writing to"))?;
    }
    write_mark(&transaction, &mark, &refounding.opaque)?;
    transaction.commit().map_err(storage("committing to"))?;
    Ok(Founded { applied: (mark.index, mark.term), revision: mark.revision })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::auth::AuthCommand;
    use crate::command::{Command, Member};
    use crate::error::{Failure, OperationError};
    use crate::request::{KeyRange, PutRequest, RangeRequest};
    use crate::tests::Disk;
    use crate::{Kv, Options};

    fn state() -> Disk {
        let file = Disk::default();
        let mut kv = Kv::open(file.clone(), Options::default()).unwrap();
        let put = PutRequest { key: "boat".into(), value: "Fram".into(), ..PutRequest::default() };
        let member = Member { id: 7, name: "m0".into(), ..Member::default() };
        for (index, command) in
            (1..).zip([Command::Put(put.clone()), Command::MemberAttributes(member), Command::Put(put)])
        {
            kv.batch().apply(index, 3, &command).unwrap();
        }
        let done = kv.begin_checkpoint("old members".into()).unwrap().run().unwrap();
        drop(kv.finish_checkpoint(done));
        file
    }

    #[test]
    fn keys_stay_and_members_go() {
        let file = state();
        let refounding = Refounding { opaque: "new members".into(), bump_revision: 0 };
        assert_eq!(refound(file.clone(), &refounding).unwrap(), Founded { applied: (3, 3), revision: 3 });
        let kv = Kv::open(file, Options::default()).unwrap();
        assert_eq!((kv.applied(), kv.revision(), kv.compacted()), ((3, 3), 3, -1));
        assert_eq!(kv.opaque(), "new members");
        assert_eq!(kv.reader().members().unwrap(), []);
        assert_eq!(kv.reader().hash_kv(2).unwrap().hash_revision, 2, "history is still there");
    }

    #[test]
    fn users_stay_and_their_tokens_go() {
        let file = Disk::default();
        let mut kv = Kv::open(file.clone(), Options::default()).unwrap();
        let root = || "root".to_owned();
        let digest = [7; 32];
        let commands = [
            AuthCommand::UserAdd { name: root(), password: None },
            AuthCommand::UserGrantRole { user: root(), role: root() },
            AuthCommand::Enable,
            AuthCommand::IssueToken { user: root(), since: 2, digest },
        ];
        for (index, command) in (1..).zip(commands) {
            kv.batch().apply(index, 3, &Command::Auth(command)).unwrap();
        }
        assert!(kv.reader().token(&digest).is_some());
        let done = kv.begin_checkpoint(Bytes::new()).unwrap().run().unwrap();
        drop(kv.finish_checkpoint(done));
        drop(kv);
        refound(file.clone(), &Refounding::default()).unwrap();
        let reader = Kv::open(file, Options::default()).unwrap().reader();
        assert!(reader.auth_status().0 && reader.user("root").is_some());
        assert_eq!(reader.token(&digest), None);
    }

    #[test]
    fn a_revision_that_jumps_leaves_nothing_behind_it() {
        let file = state();
        let refounding = Refounding { bump_revision: 1_000, ..Refounding::default() };
        assert_eq!(refound(file.clone(), &refounding).unwrap().revision, 1_003);
        let mut kv = Kv::open(file, Options::default()).unwrap();
        assert_eq!((kv.revision(), kv.compacted()), (1_003, 1_003));
        let range = KeyRange { key: "boat".into(), range_end: Bytes::new() };
        let at = |revision| RangeRequest { range: range.clone(), revision, ..RangeRequest::default() };
        let refused = kv.reader().range(&at(3)).unwrap_err();
        assert!(matches!(refused, Failure::Operation(OperationError::Compacted)), "{refused}");
        let kvs = kv.reader().range(&at(0)).unwrap().0.kvs;
        assert_eq!((&kvs[0].value[..], kvs[0].mod_revision), (&b"Fram"[..], 3));
        let put = PutRequest { key: "boat".into(), ..PutRequest::default() };
        assert_eq!(kv.batch().apply(4, 3, &Command::Put(put)).unwrap().revision, 1_004);
        let done = kv.begin_checkpoint(Bytes::new()).unwrap().run().unwrap();
        drop(kv.finish_checkpoint(done)); // sweeps what the jump compacted
        assert_eq!(kv.reader().range(&at(0)).unwrap().0.kvs[0].mod_revision, 1_004);
    }
}
