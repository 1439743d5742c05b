//! Who is let in at all: the bounds on connections, and what became of those that were not admitted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::options::Limits;

/// What is counted at the doors, each since the start.
#[derive(Debug, Default)]
pub(crate) struct DoorCounters {
    pub(crate) accepted: AtomicU64,
    pub(crate) over_total: AtomicU64,
    pub(crate) over_address: AtomicU64,
    pub(crate) tls_failed: AtomicU64,
    pub(crate) tls_late: AtomicU64,
    pub(crate) plain_on_tls: AtomicU64,
    pub(crate) silent: AtomicU64,
    pub(crate) pings: AtomicU64,
    pub(crate) host_refused: AtomicU64,
    pub(crate) origin_refused: AtomicU64,
}

impl DoorCounters {
    /// All of them: the reason, as a label's value, and how often. The first is those that were let in.
    pub(crate) fn all(&self) -> [(&'static str, u64); 10] {
        [
            ("accepted", &self.accepted),
            ("too_many_connections", &self.over_total),
            ("too_many_connections_of_address", &self.over_address),
            ("tls_handshake_failed", &self.tls_failed),
            ("tls_handshake_late", &self.tls_late),
            ("plain_on_tls_port", &self.plain_on_tls),
            ("silent", &self.silent),
            ("too_many_pings", &self.pings),
            ("host_not_served", &self.host_refused),
            ("origin_not_allowed", &self.origin_refused),
        ]
        .map(|(name, counter)| (name, counter.load(Relaxed)))
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// The open connections of one kind of listeners.
#[derive(Debug, Default)]
pub(crate) struct Open {
    total: AtomicUsize,
    by_address: Mutex<BTreeMap<IpAddr, usize>>,
}

/// Why a connection is closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Total,
    Address,
}

/// A place that is taken as long as this lives.
#[derive(Debug)]
pub(crate) struct Place {
    open: Arc<Open>,
    address: Option<IpAddr>,
}

impl Open {
    /// Takes a place, if there is one. Connections over a path have no address, and no bound of their own.
    pub(crate) fn enter(self: &Arc<Open>, address: Option<IpAddr>, limits: &Limits) -> Result<Place, Full> {
        if self.total.load(Relaxed) >= limits.connections_max {
            return Err(Full::Total);
        }
        if let Some(address) = address {
            let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            let here = by_address.entry(address).or_default();
            if *here >= limits.connections_per_address_max {
                return Err(Full::Address);
            }
            *here += 1;
        }
        self.total.fetch_add(1, Relaxed);
        Ok(Place { open: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.total.fetch_sub(1, Relaxed);
        let Some(address) = self.address else { return };
        let mut by_address = self.open.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_come_back() {
        let limits = Limits { connections_max: 3, connections_per_address_max: 2, ..Limits::default() };
        let open = Arc::new(Open::default());
        let [one, other] = ["127.0.0.1", "127.0.0.2"].map(|text| Some(text.parse().unwrap()));
        let first = open.enter(one, &limits).unwrap();
        let _second = open.enter(one, &limits).unwrap();
        assert_eq!(open.enter(one, &limits).unwrap_err(), Full::Address);
        let _third = open.enter(other, &limits).unwrap();
        assert_eq!(open.enter(None, &limits).unwrap_err(), Full::Total);
        drop(first);
        let _again = open.enter(one, &limits).unwrap();
    }
}
