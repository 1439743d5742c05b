//! Leases of the source under the same ids in the target, kept alive there as long as the source has them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream;
use kontiki_api::rpc::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
};
use tokio::time::{Instant, sleep};

use crate::ctl::client::{Connection, Context};
use crate::ctl::failure::Failure;

/// What a server says about a grant of an id that is in use.
const LEASE_EXISTS: &str = "etcdserver: lease already exists";
/// How often the source is asked which leases it has.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The leases that came over.
pub struct Leases<'a> {
    source: &'a Context,
    target: &'a Context,
    /// Granted life in seconds, by id.
    granted: RefCell<BTreeMap<i64, i64>>,
}

impl<'a> Leases<'a> {
    /// Grants in the target what the source has.
    pub async fn bring(source: &'a Context, target: &'a Context) -> Result<Leases<'a>, Failure> {
        let leases = Leases { source, target, granted: RefCell::default() };
        for id in leases.listed().await? {
            leases.ensure(id).await?;
        }
        Ok(leases)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.granted.borrow().len()
    }

    /// Whether the target has this lease.
    pub fn contains(&self, id: i64) -> bool {
        self.granted.borrow().contains_key(&id)
    }

    async fn listed(&self) -> Result<BTreeSet<i64>, Failure> {
        let request = LeaseLeasesRequest {};
        let list = async |from: &Connection| Ok(from.lease().lease_leases(request).await?.into_inner());
        Ok(self.source.read(list).await?.leases.into_iter().map(|lease| lease.id).collect())
    }

    /// Makes sure that the target has the lease; whether the source still has it.
    pub async fn ensure(&self, id: i64) -> Result<bool, Failure> {
        if self.contains(id) {
            return Ok(true);
        }
        let request = LeaseTimeToLiveRequest { id, keys: false };
        let ask = async |from: &Connection| Ok(from.lease().lease_time_to_live(request).await?.into_inner());
        let life: LeaseTimeToLiveResponse = self.source.read(ask).await?;
        if life.ttl < 0 || life.granted_ttl <= 0 {
            return Ok(false);
        }
        let request = LeaseGrantRequest { ttl: life.granted_ttl, id };
        let grant = async |to: &Connection| match to.lease().lease_grant(request).await {
            Err(status) if status.message() == LEASE_EXISTS => Ok(()),
            other => other.map(|_| ()),
        };
        self.target.read(grant).await?; // asked again where a member is away: the id makes that harmless
        self.granted.borrow_mut().insert(id, life.granted_ttl);
        Ok(true)
    }

    /// Renews the leases in the target, and ends those that the source has lost. Runs beside the work until that is done.
    pub async fn keep(&self) -> Failure {
        let mut due = Instant::now();
        loop {
            sleep(LOOK_EVERY).await;
            let outcome = async {
                let listed = self.listed().await?;
                let lost: Vec<i64> = self.granted.borrow().keys().filter(|id| !listed.contains(id)).copied().collect();
                for id in lost {
                    self.end(id).await?;
                }
                if Instant::now() >= due {
                    self.renew().await?;
                    let shortest = self.granted.borrow().values().min().copied().unwrap_or(60);
                    due = Instant::now() + Duration::from_secs(shortest.unsigned_abs().clamp(3, 180)) / 3;
                }
                Ok::<(), Failure>(())
            };
            if let Err(failure) = outcome.await {
                return failure.within("leases cannot be kept");
            }
        }
    }

    async fn end(&self, id: i64) -> Result<(), Failure> {
        let request = LeaseRevokeRequest { id };
        self.granted.borrow_mut().remove(&id);
        let revoke = async |to: &Connection| match to.lease().lease_revoke(request).await {
            Err(status) if status.message() == "etcdserver: requested lease not found" => Ok(()),
            other => other.map(|_| ()),
        };
        self.target.read(revoke).await
    }

    async fn renew(&self) -> Result<(), Failure> {
        let ids: Vec<i64> = self.granted.borrow().keys().copied().collect();
        let renew = async |to: &Connection| {
            let requests: Vec<_> = ids.iter().map(|id| LeaseKeepAliveRequest { id: *id }).collect();
            let mut answers = to.lease().lease_keep_alive(stream::iter(requests)).await?.into_inner();
            while answers.message().await?.is_some() {}
            Ok(())
        };
        if ids.is_empty() { Ok(()) } else { self.target.read(renew).await }
    }
}
