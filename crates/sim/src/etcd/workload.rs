//! Who uses the store in a run, and how hard: drawn from the seed.

use std::sync::Arc;
use std::time::Duration;

use kontiki_world::Random;

use super::client::{Client, Line, Site};
use super::clients::{admin, bursts, elections, keys, leases, locks, ranges, txns, watches};
use super::requests::KeySpace;

/// Clients of every kind, and their habits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Draws what each client does.
    pub seed: u64,
    /// Clients that put, get and delete.
    pub keys: u32,
    /// Clients with a key of their own.
    pub own: u32,
    /// Clients that read ranges.
    pub ranges: u32,
    /// Clients that transact.
    pub txns: u32,
    /// Clients that watch.
    pub watches: u32,
    /// Clients with leases.
    pub leases: u32,
    /// Clients that take locks.
    pub locks: u32,
    /// Clients that campaign.
    pub elections: u32,
    /// Clients that compact history.
    pub compactors: u32,
    /// Operators.
    pub admins: u32,
    /// Operators move the leader, too.
    pub moves_leader: bool,
    /// Clients that overload the members now and then.
    pub bursts: u32,
    /// Most writes of such an overload.
    pub burst_writes_max: u64,
    /// How long a client thinks between two calls, about.
    pub thinks: Duration,
    /// How many keys are shared.
    pub key_space: u64,
    /// Longest value.
    pub value_bytes_max: u64,
    /// Longest way between clients and members.
    pub delay_max: Duration,
    /// One in so many answers is lost on its way to the client; zero for none.
    pub loses_one_in: u64,
}

impl Mix {
    /// What a seed gives: some ten to twenty calls a second.
    #[must_use]
    pub fn drawn(seed: u64) -> Mix {
        let mut chance = Random::new(seed);
        let mut upto = |most: u64| u32::try_from(chance.below(most + 1)).unwrap_or(0);
        let mut mix = Mix {
            keys: 1 + upto(3),
            own: upto(2),
            ranges: upto(2),
            txns: upto(3),
            watches: 1 + upto(3),
            leases: upto(2),
            locks: if upto(1) == 0 { 0 } else { 2 + upto(1) },
            elections: if upto(3) == 0 { 2 } else { 0 },
            compactors: u32::from(upto(2) > 0),
            admins: upto(1),
            moves_leader: upto(1) > 0,
            bursts: u32::from(upto(7) == 0),
            ..Mix::calm(seed)
        };
        mix.key_space = 3 + chance.below(30);
        mix.value_bytes_max = [0, 100, 2_000][usize::try_from(chance.below(3)).unwrap_or(0)];
        mix.loses_one_in = if chance.one_in(2) { 100 + chance.below(400) } else { 0 };
        let rate = 8 + chance.below(12);
        mix.thinks = Duration::from_millis(1_000 * mix.weight() / rate);
        mix
    }

    /// About how many calls all clients together make while one of them thinks.
    fn weight(&self) -> u64 {
        let (light, heavy) =
            (self.keys + self.own + self.ranges, self.txns + self.leases + self.locks + self.elections);
        u64::from(light + 2 * heavy).max(1)
    }

    /// Every kind, and nothing that is lost on its way.
    #[must_use]
    pub fn calm(seed: u64) -> Mix {
        Mix {
            seed,
            keys: 3,
            own: 1,
            ranges: 1,
            txns: 2,
            watches: 2,
            leases: 1,
            locks: 2,
            elections: 1,
            compactors: 1,
            admins: 1,
            moves_leader: false,
            bursts: 0,
            burst_writes_max: 200,
            thinks: Duration::from_millis(700),
            key_space: 12,
            value_bytes_max: 100,
            delay_max: Duration::from_millis(2),
            loses_one_in: 0,
        }
    }

    /// Many times as much of everything.
    #[must_use]
    pub fn storm(seed: u64) -> Mix {
        let drawn = Mix::drawn(seed);
        Mix {
            keys: 12,
            txns: 6,
            watches: 6,
            locks: 4,
            bursts: 2,
            burst_writes_max: 600,
            thinks: Duration::from_millis(40),
            value_bytes_max: 16_000,
            ..drawn
        }
    }

    pub(crate) fn line(&self) -> Line {
        Line { delay_max: self.delay_max, loses_one_in: self.loses_one_in }
    }

    /// Sets all clients to work.
    pub(crate) fn begin(&self, site: &Arc<Site>) {
        let mut chance = Random::new(self.seed ^ 0x636c_6965_6e74_7321);
        let mut each = |count: u32, begin: &dyn Fn(Client)| {
            (0..count).for_each(|_| begin(Client::new(site, chance.next_u64())));
        };
        let spawner = &site.spawner;
        let (space, thinks) = (KeySpace { prefix: "k/", keys: self.key_space, hot: 2 }, self.thinks);
        let leased = KeySpace { prefix: "l/", keys: 4, hot: 2 };
        let (bytes, most) = (self.value_bytes_max, self.burst_writes_max);
        each(self.keys, &|client| spawner.spawn(keys::run(client, space.clone(), bytes, thinks)));
        each(self.own, &|client| spawner.spawn(keys::run_own(client, 2 * thinks)));
        each(self.ranges, &|client| spawner.spawn(ranges::run(client, space.clone(), thinks)));
        each(self.txns, &|client| spawner.spawn(txns::run(client, space.clone(), thinks)));
        each(self.watches, &|client| spawner.spawn(watches::run(client, space.clone())));
        each(self.leases, &|client| spawner.spawn(leases::run(client, leased.clone(), 2 * thinks)));
        each(self.locks, &|client| spawner.spawn(locks::run(client, 4 * thinks)));
        each(self.elections, &|client| spawner.spawn(elections::run(client, 4 * thinks)));
        each(self.compactors, &|client| spawner.spawn(admin::run_compactor(client, 40 * thinks)));
        each(self.admins, &|client| spawner.spawn(admin::run(client, 10 * thinks, self.moves_leader)));
        each(self.bursts, &|client| spawner.spawn(bursts::run(client, space.clone(), 100 * thinks, most, bytes)));
    }
}
