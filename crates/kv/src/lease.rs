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
use crate::state::{State, lease_ttl};

/// Creates a lease.
pub(crate) fn grant(state: &mut State, id: i64, ttl: i64) -> Result<Reply, Failure> {
    if lease_ttl(&state.view, id)?.is_some() {
        return Err(OperationError::LeaseExists.into());
    }
    state.write_row(Table::Leases, &key::lease(id), Some(Bytes::copy_from_slice(&ttl.to_be_bytes())));
    Ok(Reply::LeaseGrant { id, ttl })
}

/// Ends a lease and deletes its keys, in key order, in one revision.
pub(crate) fn revoke(state: &mut State, id: i64, events: &mut Vec<Event>) -> Result<Reply, Failure> {
    if lease_ttl(&state.view, id)?.is_none() {
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

/// All leases with their granted time to live.
pub(crate) fn all(view: &View) -> Result<Vec<(i64, i64)>, KvError> {
    let mut leases = Vec::new();
    let mut scan = Scan::new(view, Table::Leases, &[], None);
    while let Some((row, ttl)) = scan.next()? {
        leases.push((key::split_lease(Table::Leases, &row)?.0, decode_ttl(&ttl)?));
    }
    Ok(leases)
}

/// The time to live in a lease's row.
pub(crate) fn decode_ttl(row: &[u8]) -> Result<i64, KvError> {
    let row = row.try_into().map_err(|_| KvError::Damaged { table: Table::Leases, what: "time of wrong length" })?;
    Ok(i64::from_be_bytes(row))
}
