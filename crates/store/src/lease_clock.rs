//! The clock of the leases: runs on the leader only. Renewal is not replicated; expiry is, as a revocation.
//!
//! A new leader gives every lease its full time again, from the moment of its election, and one election timeout more: a
//! lease may outlive its time across a change of leader, it never falls short of it (etcd's rule).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kontiki_raft::planted::planted;

use crate::calls::LeaseAnswer;

/// How far apply's idea of the time may lag behind the clock: a few ticks. Added to each new lease, so that it never ends
/// early.
const MARGIN: Duration = Duration::from_millis(100);
/// A revocation that was proposed and not seen after this long is proposed again.
const PROPOSE_AGAIN: Duration = Duration::from_secs(5);
/// Most revocations proposed in one go, so that a mass expiry does not stall writes.
const REVOKE_MAX: usize = 500;

/// One lease on the clock.
#[derive(Clone, Copy, Debug)]
struct Running {
    ttl: i64,
    expiry: Duration,
    /// Its time is over and its revocation was proposed.
    ending: bool,
}

/// The leases' clock.
#[derive(Debug, Default)]
pub struct LeaseClock {
    leading: bool,
    leases: BTreeMap<i64, Running>,
    /// Expiries in order. A renewed lease leaves its old entry behind, which is skipped.
    order: BTreeSet<(Duration, i64)>,
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

impl LeaseClock {
    /// This replica leads now: all leases begin anew.
    pub fn lead(&mut self, now: Duration, election_timeout: Duration, leases: impl IntoIterator<Item = (i64, i64)>) {
        self.follow();
        self.leading = true;
        for (id, ttl) in leases {
            self.set(id, ttl, now + seconds(ttl) + election_timeout);
        }
    }

    /// This replica does not lead: it forgets.
    pub fn follow(&mut self) {
        *self = LeaseClock::default();
    }

    fn set(&mut self, id: i64, ttl: i64, expiry: Duration) {
        if let Some(before) = self.leases.insert(id, Running { ttl, expiry, ending: false }) {
            self.order.remove(&(before.expiry, id));
        }
        self.order.insert((expiry, id));
    }

    /// A lease was granted.
    pub fn granted(&mut self, now: Duration, id: i64, ttl: i64) {
        if self.leading {
            self.set(id, ttl, now + seconds(ttl) + MARGIN);
        }
    }

    /// A lease was revoked.
    pub fn revoked(&mut self, id: i64) {
        if let Some(before) = self.leases.remove(&id) {
            self.order.remove(&(before.expiry, id));
        }
    }

    /// Gives a lease its full time again. Zero in the answer where there is none or its time is over.
    pub fn renew(&mut self, now: Duration, id: i64) -> LeaseAnswer {
        match self.leases.get(&id).copied() {
            Some(lease) if !lease.ending && lease.expiry > now || planted(45) => {
                self.set(id, lease.ttl, now + seconds(lease.ttl));
                LeaseAnswer { ttl: lease.ttl, granted_ttl: lease.ttl }
            }
            _ => LeaseAnswer { ttl: 0, granted_ttl: 0 },
        }
    }

    /// How long a lease has left.
    #[must_use]
    pub fn time_to_live(&self, now: Duration, id: i64) -> LeaseAnswer {
        match self.leases.get(&id) {
            Some(lease) if !lease.ending && lease.expiry > now => {
                let left = (lease.expiry - now).as_secs_f64();
                // Whole seconds, rounded down as etcd does; never more than was granted, whatever the margins add.
                #[allow(clippy::cast_possible_truncation, reason = "at most the granted time")]
                let left = (left as i64).min(lease.ttl);
                LeaseAnswer { ttl: left, granted_ttl: lease.ttl }
            }
            _ => LeaseAnswer { ttl: -1, granted_ttl: 0 },
        }
    }

    /// Leases whose time is over: to be revoked now. One that is not revoked in time is named again later.
    pub fn expired(&mut self, now: Duration) -> Vec<i64> {
        let mut over = Vec::new();
        while over.len() < REVOKE_MAX
            && let Some(&(expiry, id)) = self.order.first()
            && expiry <= now
        {
            self.order.remove(&(expiry, id));
            if let Some(lease) = self.leases.get_mut(&id) {
                lease.ending = true;
                lease.expiry = now + PROPOSE_AGAIN;
                self.order.insert((lease.expiry, id));
                over.push(id);
            }
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_lease_lives_its_time_and_renewal_starts_it_anew() {
        let mut clock = LeaseClock::default();
        clock.lead(at(0.0), at(1.0), []);
        clock.granted(at(10.0), 7, 5);
        assert_eq!(clock.time_to_live(at(10.0), 7).ttl, 5);
        assert!(clock.expired(at(15.0)).is_empty(), "never early");
        assert_eq!(clock.renew(at(15.0), 7).ttl, 5);
        assert!(clock.expired(at(19.9)).is_empty());
        assert_eq!(clock.expired(at(20.2)), vec![7]);
        assert_eq!(clock.renew(at(20.2), 7).ttl, 0, "its time is over");
        assert_eq!(clock.time_to_live(at(20.2), 7).ttl, -1);
        assert!(clock.expired(at(20.3)).is_empty(), "named once");
        assert_eq!(clock.expired(at(26.0)), vec![7], "and again when nothing came of it");
        clock.revoked(7);
        assert!(clock.expired(at(60.0)).is_empty());
        assert_eq!(clock.time_to_live(at(60.0), 7).ttl, -1);
    }

    #[test]
    fn a_new_leader_gives_the_full_time_and_an_election_timeout() {
        let mut clock = LeaseClock::default();
        clock.granted(at(1.0), 1, 5);
        assert_eq!(clock.time_to_live(at(1.0), 1).ttl, -1, "a follower has no clock");
        clock.lead(at(100.0), at(1.0), [(1, 5), (2, 9)]);
        assert!(clock.expired(at(105.9)).is_empty());
        assert_eq!(clock.expired(at(106.0)), vec![1]);
        clock.follow();
        assert!(clock.expired(at(200.0)).is_empty());
    }
}
