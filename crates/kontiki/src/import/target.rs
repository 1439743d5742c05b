//! What the target holds before the import: nothing, or what an earlier import left.

use std::collections::VecDeque;

use bytes::Bytes;
use kontiki_api::kv::KeyValue;
use kontiki_api::rpc::{AuthRoleListRequest, AuthUserListRequest, LeaseLeasesRequest, RangeRequest};

use super::pages::Pages;
use super::spool::Spool;
use super::write::{apply, delete};
use crate::ctl::client::{Connection, Context};
use crate::ctl::failure::Failure;

/// Keys named in a complaint.
const NAMED: usize = 3;

/// Refuses a target that holds anything.
pub async fn refuse_data(target: &Context) -> Result<(), Failure> {
    let every = RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        count_only: true,
        ..Default::default()
    };
    let count = async |at: &Connection| {
        let keys = at.kv().range(every.clone()).await?.into_inner().count;
        let leases = at.lease().lease_leases(LeaseLeasesRequest {}).await?.into_inner().leases.len();
        let users = at.auth().user_list(AuthUserListRequest {}).await?.into_inner().users.len();
        let roles = at.auth().role_list(AuthRoleListRequest {}).await?.into_inner().roles.len();
        Ok((keys, leases, users, roles))
    };
    let (keys, leases, users, roles) = target.read(count).await?;
    if (keys, leases, users, roles) == (0, 0, 0, 0) {
        return Ok(());
    }
    Err(Failure::arguments(format!(
        "the target holds {keys} keys, {leases} leases, {users} users and {roles} roles already: name an empty cluster, or \
         go on with an import that was cut short with --resume"
    )))
}

/// Settles what the target has already, and finds what the source does not have.
pub async fn compare(target: &Context, spool: &mut Spool) -> Result<Vec<Bytes>, Failure> {
    let mut there = Vec::new();
    let mut pages = Pages::new(target, 0);
    while let Some(page) = pages.next().await? {
        there.extend(page.into_iter().map(fingerprint));
    }
    let mut there = VecDeque::from(there);
    let mut extra = Vec::new();
    spool.settle(|pair| {
        while there.front().is_some_and(|(key, _)| *key < pair.key) {
            extra.extend(there.pop_front().map(|(key, _)| key));
        }
        match there.front() {
            Some((key, _)) if *key == pair.key => {
                there.pop_front().is_some_and(|found| found == fingerprint(pair.clone()))
            }
            _ => false,
        }
    })?;
    extra.extend(there.into_iter().map(|(key, _)| key));
    Ok(extra)
}

/// A key, and a digest in place of its value and lease.
fn fingerprint(pair: KeyValue) -> (Bytes, String) {
    let mut summing = super::sum::Summing::default();
    summing.add(&pair);
    (pair.key, summing.finish().digest)
}

/// Deletes keys that the source does not have, if that is wanted.
pub async fn settle_extra(target: &Context, extra: Vec<Bytes>, delete_them: bool) -> Result<u64, Failure> {
    if extra.is_empty() {
        return Ok(0);
    }
    if !delete_them {
        let named: Vec<String> =
            extra.iter().take(NAMED).map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        return Err(Failure::arguments(format!(
            "the target holds {} keys that the etcd does not have ({}…): with --force they are deleted",
            extra.len(),
            named.join(", ")
        )));
    }
    let count = extra.len() as u64;
    for part in extra.chunks(100) {
        apply(target, part.iter().cloned().map(delete).collect()).await?;
    }
    Ok(count)
}
