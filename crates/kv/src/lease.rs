//! Leases: identities with a time to live that keys can be attached to. Time itself is the leader's business: expiry
//! arrives here as a revocation.

use bytes::Bytes;

use crate::command::Reply;
use crate::error::{Failure, KvError, OperationError};
use crate::key;
use crate::layers::{Table, View};
use crate::mvcc::Writing;
use crate::request::Event;
use crate::scan::Scan;
use crate::state::State;

/// A lease as in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// Seconds granted.
    pub ttl: i64,
    /// The entry that granted it: tells its life from others of the same identity.
    pub granted: u64,
    /// Seconds that it has left, as its leader said last. None where it is to be given its full time.
    pub left: Option<i64>,
}

impl LeaseRow {
    fn encode(self) -> Bytes {
        let mut row = Vec::with_capacity(24);
        row.extend_from_slice(&self.ttl.to_be_bytes());
        row.extend_from_slice(&self.granted.to_be_bytes());
        row.extend(self.left.iter().flat_map(|left| left.to_be_bytes()));
        Bytes::from(row)
    }

    /// Reads a row. One without the entry is of a version that did not write it.
    pub(crate) fn decode(row: &[u8]) -> Result<LeaseRow, KvError> {
        let (words, rest) = row.as_chunks::<8>();
        let word = |at: usize| words.get(at).map(|word| i64::from_be_bytes(*word));
        match (word(0), words.len(), rest.len()) {
            (Some(ttl), 1..=3, 0) => Ok(LeaseRow { ttl, granted: word(1).unwrap_or(0).cast_unsigned(), left: word(2) }),
            _ => Err(KvError::Damaged { table: Table::Leases, what: "row of wrong length" }),
        }
    }
}

/// Creates a lease.
pub(crate) fn grant(state: &mut State, id: i64, ttl: i64) -> Result<Reply, Failure> {
    if row(&state.view, id)?.is_some() {
        return Err(OperationError::LeaseExists.into());
    }
    let granted = LeaseRow { ttl, granted: state.index, left: None };
    state.write_row(Table::Leases, &key::lease(id), Some(granted.encode()));
    Ok(Reply::LeaseGrant { id, ttl })
}

/// Notes how long leases have left. One that its leader did not know when it said so is passed over: it is another one.
pub(crate) fn checkpoint(state: &mut State, applied: u64, leases: &[(i64, Option<i64>)]) -> Result<Reply, Failure> {
    for (id, left) in leases {
        let Some(before) = row(&state.view, *id)?.filter(|lease| lease.granted <= applied) else { continue };
        let after = LeaseRow { left: *left, ..before };
        if after != before {
            state.write_row(Table::Leases, &key::lease(*id), Some(after.encode()));
        }
    }
    Ok(Reply::LeaseCheckpoint)
}

/// Ends a lease and deletes its keys, in key order, in one revision.
pub(crate) fn revoke(state: &mut State, id: i64, events: &mut Vec<Event>) -> Result<Reply, Failure> {
    if row(&state.view, id)?.is_none() {
        return Err(OperationError::LeaseNotFound.into());
    }
    let keys = keys(&state.view, id)?;
    let at = state.revision;
    let versions = keys.iter().map(|key| state.view.live(key, at)).collect::<Result<Vec<_>, _>>()?;
    state.write_row(Table::Leases, &key::lease(id), None);
    let mut writing = Writing::new(state, events);
    for (key, version) in keys.into_iter().zip(versions) {
        let version = version.expect("an attached key is there: deleting it detaches it");
        assert_eq!(version.lease, id, "a key is attached to the lease of its last put");
        writing.delete_key(key, &version)?;
    }
    writing.finish()?;
    Ok(Reply::LeaseRevoke)
}

/// Ends a lease whose time is over, unless its leader did not know it when it said so: then it is another one.
pub(crate) fn expire(state: &mut State, applied: u64, id: i64, events: &mut Vec<Event>) -> Result<Reply, Failure> {
    if row(&state.view, id)?.is_some_and(|lease| lease.granted > applied) {
        return Err(OperationError::LeaseNotFound.into());
    }
    revoke(state, id, events)
}

/// Keys attached to a lease, in order.
pub(crate) fn keys(view: &View, id: i64) -> Result<Vec<Bytes>, KvError> {
    let from = key::lease(id);
    let to = id.checked_add(1).map(key::lease);
    let mut scan = Scan::new(view, Table::LeaseKeys, &from, to.as_ref().map(|to| &to[..]));
    let mut keys = Vec::new();
    while let Some((row, _)) = scan.next()? {
        let (_, key) = key::split_lease(Table::LeaseKeys, &row)?;
        keys.push(Bytes::copy_from_slice(key));
    }
    Ok(keys)
}

/// Whether something holds of every key that is attached to whichever lease.
pub(crate) fn all_keys(view: &View, mut holds: impl FnMut(&Bytes) -> bool) -> Result<bool, KvError> {
    let mut scan = Scan::new(view, Table::LeaseKeys, &[], None);
    while let Some((row, _)) = scan.next()? {
        let (_, key) = key::split_lease(Table::LeaseKeys, &row)?;
        if !holds(&Bytes::copy_from_slice(key)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A lease, if there is one of that identity.
pub(crate) fn row(view: &View, id: i64) -> Result<Option<LeaseRow>, KvError> {
    view.get(Table::Leases, &key::lease(id))?.as_deref().map(LeaseRow::decode).transpose()
}

/// Leases from an identity on, in order, so many at most.
pub(crate) fn page(view: &View, from: i64, count: usize) -> Result<Vec<(i64, LeaseRow)>, KvError> {
    let mut leases = Vec::new();
    let mut scan = Scan::new(view, Table::Leases, &key::lease(from), None);
    while leases.len() < count
        && let Some((row_key, row)) = scan.next()?
    {
        leases.push((key::split_lease(Table::Leases, &row_key)?.0, LeaseRow::decode(&row)?));
    }
    Ok(leases)
}
