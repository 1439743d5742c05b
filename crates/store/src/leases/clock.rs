//! The clock of the leases: runs on the leader only. Renewal is not replicated; expiry is, as a revocation.
//!
//! A new leader gives every lease the time that its predecessor [said](LeaseClock::due) it had left, or its full time where
//! nothing was said, from the moment of its election, and one election timeout more: a lease may outlive its time across a
//! change of leader, it never falls short of it.
//!
//! What is in force of a lease is in one map. When to look at it next is in a set that may be too early, and never is too
//! late: a renewal changes only the map, and whoever looks files the lease anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kontiki_kv::LeaseRow;
use kontiki_raft::planted::planted;

use super::pace::{
    CLEAR_AGAIN, LOOKS_PER_TURN, REVOKE_AGAIN, REVOKES_IN_FLIGHT, REVOKES_PER_TURN, ROWS_PER_TURN, SAID_PER_TURN,
};
use crate::calls::LeaseAnswer;

/// How far apply's idea of the time may lag behind the clock: a few ticks. Added to each new lease, so that it never ends
/// early.
const MARGIN_MS: u64 = 100;
/// When to look at leases is kept in steps of so much: the most that a lease is late for it.
const STEP_MS: u64 = 64;
/// Nothing was said of the time that a lease has left.
const UNSAID: u32 = u32::MAX;
/// Of longer leases nothing is ever said: more than a century.
const SAID_MAX: u64 = (UNSAID - 1) as u64;
/// Smaller errors are never worth an entry: what is said is whole seconds, rounded up.
const ERROR_MIN_MS: u64 = 2_000;
/// The largest error that is left where a leader changes, unless the half of a lease's time is less.
const ERROR_MAX: Duration = Duration::from_secs(300);

/// One lease on the clock. Small: there may be millions.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// When it is over, in milliseconds.
    expiry: u64,
    /// Seconds granted.
    ttl: u64,
    /// When it is looked at next, in steps.
    look: u32,
    /// Seconds that it was last said to have left.
    said: u32,
}

/// A word that is being taken back: a renewal waits for it.
#[derive(Clone, Copy, Debug)]
struct Clearing {
    /// The proposal, once there is one.
    token: Option<u64>,
    since: Duration,
}

/// How this replica leads.
#[derive(Debug)]
struct Reign {
    began: Duration,
    /// What a new leader adds to each lease.
    grace: Duration,
    /// Everything of earlier terms is applied: what the table says holds.
    started: bool,
    /// From which identity on the table is still to be read.
    rest: Option<i64>,
}

/// The leases' clock.
#[derive(Debug)]
pub struct LeaseClock {
    /// The smallest error across a change of leader that is worth an entry.
    error_least: Duration,
    reign: Option<Reign>,
    leases: BTreeMap<i64, Running>,
    /// When to look at which lease.
    looks: BTreeSet<(u32, i64)>,
    /// Leases whose time is over and whose revocation was proposed: when to propose it again.
    ending: BTreeMap<i64, Duration>,
    clearing: BTreeMap<i64, Clearing>,
}

/// What is to be proposed now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Leases whose time is over: to be revoked. One that is not revoked in time is named again.
    pub over: Vec<i64>,
    /// How many of them are named for the first time.
    pub first: usize,
    /// Leases, and seconds that they have left.
    pub said: Vec<(i64, Option<i64>)>,
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4)
}

/// Rounded up: from when on something may be said to be over.
fn ms_up(time: Duration) -> u64 {
    ms(time + Duration::from_nanos(999_999))
}

fn seconds(ttl: i64) -> u64 {
    u64::try_from(ttl).unwrap_or(0).min(u64::MAX / 8_000)
}

/// The first step that begins at or behind a moment.
fn step(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(STEP_MS)).unwrap_or(u32::MAX)
}

impl LeaseClock {
    /// A clock that does not run. `error_least` is the smallest error across a change of leader that is worth an entry.
    #[must_use]
    pub fn new(error_least: Duration) -> LeaseClock {
        LeaseClock {
            error_least,
            reign: None,
            leases: BTreeMap::new(),
            looks: BTreeSet::new(),
            ending: BTreeMap::new(),
            clearing: BTreeMap::new(),
        }
    }

    /// This replica leads now. The clock runs from when it is [started](LeaseClock::start).
    pub fn lead(&mut self, now: Duration, election_timeout: Duration) {
        self.follow();
        self.reign = Some(Reign { began: now, grace: election_timeout, started: false, rest: Some(i64::MIN) });
    }

    /// This replica does not lead: it forgets.
    pub fn follow(&mut self) {
        *self = LeaseClock::new(self.error_least);
    }

    /// An entry of the own term is applied, and so everything that earlier leaders said.
    pub fn start(&mut self) {
        if let Some(reign) = &mut self.reign {
            reign.started = true;
        }
    }

    /// Whether it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.reign.as_ref().is_some_and(|reign| reign.started)
    }

    /// From which identity on, and how many, leases are to be [loaded](LeaseClock::load) in this turn.
    #[must_use]
    pub fn wants(&self) -> Option<(i64, usize)> {
        let reign = self.reign.as_ref().filter(|reign| reign.started)?;
        reign.rest.map(|from| (from, ROWS_PER_TURN))
    }

    /// Takes the next leases of the table on the clock. Fewer than were wanted are the last ones.
    pub fn load(&mut self, rows: &[(i64, LeaseRow)]) {
        for (id, row) in rows {
            self.add(*id, *row);
        }
        let next = rows.last().filter(|_| rows.len() >= ROWS_PER_TURN).and_then(|(last, _)| last.checked_add(1));
        if let Some(reign) = &mut self.reign {
            reign.rest = next;
        }
    }

    /// Whether a lease may be in the table without being on the clock yet.
    #[must_use]
    pub fn may_lack(&self, id: i64) -> bool {
        let unread = self.reign.as_ref().and_then(|reign| reign.rest).is_some_and(|from| id >= from);
        unread && !self.leases.contains_key(&id)
    }

    /// Takes a lease of the table on the clock, unless it is there.
    pub fn add(&mut self, id: i64, row: LeaseRow) {
        let Some(reign) = &self.reign else { return };
        if self.leases.contains_key(&id) {
            return;
        }
        let ttl = seconds(row.ttl);
        let said = row.left.map(|left| seconds(left).min(ttl));
        let expiry = ms_up(reign.began + reign.grace) + said.unwrap_or(ttl) * 1_000;
        let said = said.map_or(UNSAID, |said| u32::try_from(said.min(SAID_MAX)).unwrap_or(UNSAID - 1));
        self.file(id, Running { expiry, ttl, look: 0, said });
    }

    /// Puts a lease on the clock, to be looked at when something is due.
    fn file(&mut self, id: i64, mut lease: Running) {
        lease.look = step(self.to_say(&lease).unwrap_or(lease.expiry).min(lease.expiry));
        if let Some(before) = self.leases.insert(id, lease) {
            self.looks.remove(&(before.look, id));
        }
        self.looks.insert((lease.look, id));
    }

    /// When a next leader would give the lease so much more than it has that it is to be told, if ever.
    fn to_say(&self, lease: &Running) -> Option<u64> {
        if lease.ttl > SAID_MAX {
            return None;
        }
        let worth =
            ms(Duration::from_secs(lease.ttl) / 2).min(ms(ERROR_MAX)).max(ms(self.error_least)).max(ERROR_MIN_MS);
        let known = if lease.said == UNSAID { lease.ttl } else { u64::from(lease.said) };
        let at = (lease.expiry + worth).saturating_sub(known * 1_000);
        (at + 1_000 < lease.expiry).then_some(at)
    }

    /// A lease was granted.
    pub fn granted(&mut self, now: Duration, id: i64, ttl: i64) {
        if self.runs() {
            let ttl = seconds(ttl);
            self.file(id, Running { expiry: ms_up(now) + ttl * 1_000 + MARGIN_MS, ttl, look: 0, said: UNSAID });
        }
    }

    /// A lease was revoked.
    pub fn revoked(&mut self, id: i64) {
        if let Some(before) = self.leases.remove(&id) {
            self.looks.remove(&(before.look, id));
            self.ending.remove(&id);
            self.clearing.remove(&id);
        }
    }

    /// Gives a lease its full time again.
    ///
    /// Of one that it was said of how long it has left, that is to be taken back first: until then the answer is to ask
    /// again.
    pub fn renew(&mut self, now: Duration, id: i64) -> LeaseAnswer {
        let Some(lease) = self.leases.get_mut(&id) else { return LeaseAnswer::NONE };
        let granted = i64::try_from(lease.ttl).unwrap_or(i64::MAX);
        let over = self.ending.contains_key(&id) || lease.expiry <= ms(now);
        if over && !planted(45) {
            return LeaseAnswer { ttl: 0, granted_ttl: granted };
        }
        lease.expiry = ms_up(now) + lease.ttl * 1_000;
        if lease.said != UNSAID {
            let clearing = self.clearing.entry(id).or_insert(Clearing { token: None, since: now });
            if clearing.token.is_some() && now.saturating_sub(clearing.since) >= CLEAR_AGAIN {
                clearing.token = None;
            }
            return LeaseAnswer { ttl: LeaseAnswer::AGAIN, granted_ttl: granted };
        }
        if step(lease.expiry) < lease.look {
            let lease = *lease;
            self.file(id, lease); // a new leader had given it more
        }
        LeaseAnswer { ttl: granted, granted_ttl: granted }
    }

    /// How long a lease has left.
    #[must_use]
    pub fn time_to_live(&self, now: Duration, id: i64) -> LeaseAnswer {
        match self.leases.get(&id) {
            Some(lease) if !self.ending.contains_key(&id) && lease.expiry > ms(now) => {
                // Whole seconds, rounded down as etcd does; never more than was granted, whatever the margins add.
                let left = ((lease.expiry - ms(now)) / 1_000).min(lease.ttl);
                let of = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
                LeaseAnswer { ttl: of(left), granted_ttl: of(lease.ttl) }
            }
            _ => LeaseAnswer { ttl: -1, granted_ttl: 0 },
        }
    }

    /// What is due, in the order of time and no more than one turn may do.
    pub fn due(&mut self, now: Duration) -> Due {
        let mut due = Due::default();
        for (id, again) in &mut self.ending {
            if *again <= now && due.over.len() < REVOKES_PER_TURN {
                *again = now + REVOKE_AGAIN;
                due.over.push(*id);
            }
        }
        let today = u32::try_from(ms(now) / STEP_MS).unwrap_or(u32::MAX);
        for _ in 0..LOOKS_PER_TURN {
            let Some(&(look, id)) = self.looks.first().filter(|(look, _)| *look <= today) else { break };
            let lease = *self.leases.get(&id).expect("whatever is to be looked at is on the clock");
            if lease.expiry <= ms(now) {
                if self.ending.len() >= REVOKES_IN_FLIGHT || due.over.len() >= REVOKES_PER_TURN {
                    break;
                }
                self.looks.remove(&(look, id));
                self.ending.insert(id, now + REVOKE_AGAIN);
                due.over.push(id);
                due.first += 1;
            } else if self.to_say(&lease).is_some_and(|at| at <= ms(now)) {
                if due.said.len() >= SAID_PER_TURN {
                    break;
                }
                let left = (lease.expiry - ms(now)).div_ceil(1_000);
                due.said.push((id, Some(i64::try_from(left).unwrap_or(i64::MAX))));
                // From here on no renewal is answered before this is taken back: what is under way to take back an earlier
                // word stands before this one in the log, and says nothing about it.
                if let Some(clearing) = self.clearing.get_mut(&id) {
                    clearing.token = None;
                }
                let said = u32::try_from(left.min(SAID_MAX)).unwrap_or(UNSAID - 1);
                self.file(id, Running { said, ..lease });
            } else {
                self.file(id, lease);
            }
        }
        due
    }

    /// What was named just now was not proposed, for lack of room: the revocations are named again in the next turn.
    pub fn dropped(&mut self, now: Duration) {
        let named = now + REVOKE_AGAIN;
        self.ending.values_mut().filter(|again| **again == named).for_each(|again| *again = now);
    }

    /// Leases of which is to be taken back what was said, as the proposal of this name.
    pub fn take_back(&mut self, now: Duration, token: u64) -> Vec<(i64, Option<i64>)> {
        let waiting = self.clearing.iter_mut().filter(|(_, clearing)| clearing.token.is_none()).take(SAID_PER_TURN);
        let mut clear = Vec::new();
        for (id, clearing) in waiting {
            *clearing = Clearing { token: Some(token), since: now };
            clear.push((*id, None));
        }
        clear
    }

    /// A proposal of this replica is applied: what it took back is taken back, if nothing was said since.
    pub fn said(&mut self, token: u64, leases: &[(i64, Option<i64>)]) {
        for (id, _) in leases.iter().filter(|(_, left)| left.is_none()) {
            if self.clearing.get(id).is_some_and(|clearing| clearing.token == Some(token)) {
                self.clearing.remove(id);
                if let Some(lease) = self.leases.get_mut(id) {
                    lease.said = UNSAID;
                }
            }
        }
    }
}
