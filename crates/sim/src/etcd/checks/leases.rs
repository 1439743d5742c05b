//! Leases end neither early nor late. Nobody has a lease that was revoked, and nobody is told that a lease is over that is
//! not.
//!
//! Early: before the time is over that was granted with the last renewal that a client was told of, counted from its
//! question. Late: more than a second after the last moment from which the time may count, be it a renewal or the beginning of a
//! leader, which gives every lease its full time again, and one election timeout.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kontiki_store::LeaseTimeToLive;

use super::lease_lives::{LeaseLife, LeaseLives};
use super::{Limits, known, shown_by};
use crate::etcd::history::{Answer, Call, History, Request};
use crate::etcd::replay::Replay;
use crate::observation::Violation;

const PROPERTY: &str = "leases";

/// How late a lease may end by rule.
const LATE_MAX: Duration = Duration::from_secs(1);
/// How many of the clients' proposals before a revocation show how long its way was.
const NEIGHBOURS: usize = 8;
/// For how many revisions around a question the keys of a lease are looked at.
const WINDOW_MAX: i64 = 1_000;

/// Checks it.
///
/// # Errors
/// Where it does not hold.
pub fn check(history: &History, replay: &Replay, limits: &Limits) -> Result<(), Violation> {
    let checker = Checker { history, replay, limits, lives: LeaseLives::of(history, replay) };
    for life in &checker.lives.all {
        checker.not_early(life)?;
        checker.not_late(life)?;
    }
    let keys = keys_ever(replay);
    let revisions = known::revisions(history);
    for call in &history.calls {
        match (&call.request, &call.answer) {
            (Request::KeepAlive(id), Answer::KeepAlive(0)) => checker.is_over(*id, call)?,
            (Request::KeepAlive(id), Answer::KeepAlive(ttl)) => checker.is_there(*id, call, *ttl, *ttl)?,
            (Request::TimeToLive(id), Answer::TimeToLive(answer)) if answer.granted_ttl == 0 => {
                checker.is_over(*id, call)?;
            }
            (Request::TimeToLive(id), Answer::TimeToLive(answer)) => {
                checker.is_there(*id, call, answer.ttl, answer.granted_ttl)?;
                let window = (revisions.before(call.invoked, 1), replay.revision_at(call.ended));
                checker.has_keys(*id, call, answer, window, keys.get(id))?;
            }
            (Request::KeepAlive(_) | Request::TimeToLive(_), Answer::NotDone(_) | Answer::Unknown(_)) => {}
            (Request::KeepAlive(_) | Request::TimeToLive(_), Answer::Refused(_)) => {}
            (Request::KeepAlive(_) | Request::TimeToLive(_), _) => {
                return Err(shown_by(PROPERTY, call, "this is an answer to another question"));
            }
            (Request::Range { range, .. }, Answer::Range(result, revision)) => {
                let revision = if range.revision > 0 { range.revision } else { *revision };
                let leases = result.kvs.iter().map(|kv| kv.lease).filter(|lease| *lease != 0);
                checker.are_alive(leases, call, revision)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// For each lease, all keys that were ever attached to it.
fn keys_ever(replay: &Replay) -> BTreeMap<i64, BTreeSet<Bytes>> {
    let mut keys: BTreeMap<i64, BTreeSet<Bytes>> = BTreeMap::new();
    for revision in 2..=replay.model.revision() {
        for event in replay.model.events(revision).iter().filter(|event| event.kv.lease != 0) {
            keys.entry(event.kv.lease).or_default().insert(event.kv.key.clone());
        }
    }
    keys
}

struct Checker<'h> {
    history: &'h History,
    replay: &'h Replay,
    limits: &'h Limits,
    lives: LeaseLives,
}

impl Checker<'_> {
    fn revoked_at(&self, life: &LeaseLife) -> Option<Duration> {
        life.revoked.map(|step| self.replay.steps[step].at)
    }

    fn violation(at: Duration, life: &LeaseLife, why: &str) -> Violation {
        Violation { property: PROPERTY, at, what: format!("lease {}: {why}; {life:?}", life.id) }
    }

    fn not_early(&self, life: &LeaseLife) -> Result<(), Violation> {
        let Some(step) = life.revoked.filter(|step| self.replay.matching.call_of[*step].is_none()) else {
            return Ok(());
        };
        let at = self.replay.steps[step].at;
        let least = life.ttl_least(self.limits);
        let broken = life.renewals.iter().find(|(asked, _)| *asked <= at && at < *asked + least);
        match broken {
            None => Ok(()),
            Some((asked, answered)) => {
                let why = format!("the lease ended at {at:?}, but was renewed from {asked:?} to {answered:?}");
                Err(Self::violation(at, life, &why))
            }
        }
    }

    /// At each moment at which the lease was certainly there, its time must not have been over long since.
    fn not_late(&self, life: &LeaseLife) -> Result<(), Violation> {
        let granted = self.replay.steps[life.granted].at;
        let end = self.revoked_at(life).unwrap_or_else(|| end(self.history));
        let reigns = self.history.reigns.iter().map(|reign| (reign.from, reign.from));
        let lost = life.lost_renewals.iter().map(|(asked, left)| (*asked, *left + self.limits.question_way));
        let renewals = life.renewals.iter().copied().chain(lost);
        let mut resets: Vec<_> = renewals.chain(reigns).filter(|(from, _)| *from > granted && *from < end).collect();
        resets
            .push((granted, life.renewals.first().filter(|(from, _)| *from <= granted).map_or(granted, |(_, to)| *to)));
        resets.sort_unstable();
        let sightings = life.renewals.iter().map(|(asked, _)| *asked).filter(|asked| *asked > granted);
        let mut sightings: Vec<Duration> = sightings.chain([end]).collect();
        sightings.sort_unstable();
        let way = life.revoked.map_or(Duration::ZERO, |step| self.way_through_the_log(step));
        let permitted = life.time_most(self.limits) + LATE_MAX + way;
        let mut resets = resets.into_iter().peekable();
        let mut latest = granted;
        for seen in sightings {
            while let Some((_, to)) = resets.next_if(|(from, _)| *from < seen) {
                latest = latest.max(to);
            }
            let elapsed = self.available(latest, seen);
            if elapsed > permitted {
                let why = format!(
                    "the lease was there at {seen:?}; its time could last be counted from {latest:?}, since when the \
                     store was available for {elapsed:?}, and {permitted:?} are permitted"
                );
                return Err(Self::violation(seen, life, &why));
            }
        }
        Ok(())
    }

    /// How long a proposal takes at the time of a step until it is applied: as long as the quickest of the clients' own just
    /// before. A revocation takes its turn behind them.
    fn way_through_the_log(&self, step: usize) -> Duration {
        let Replay { steps, matching, .. } = self.replay;
        let taken = |before: usize| {
            let call = matching.call_of[before]?;
            Some(steps[before].at.saturating_sub(self.history.calls[call].invoked))
        };
        (0..step).rev().filter_map(taken).take(NEIGHBOURS).min().unwrap_or_default()
    }

    /// How much of a time somebody could have ended the lease.
    fn available(&self, from: Duration, to: Duration) -> Duration {
        let mut gaps: Vec<_> =
            self.limits.unavailable.iter().map(|gap| (gap.start.max(from), gap.end.min(to))).collect();
        gaps.sort_unstable();
        let (mut available, mut now) = (Duration::ZERO, from);
        for (start, end) in gaps.into_iter().filter(|(start, end)| start < end) {
            available += start.saturating_sub(now);
            now = now.max(end);
        }
        available + to.saturating_sub(now)
    }

    /// Somebody was told that a lease is there.
    fn is_there(&self, id: i64, call: &Call, ttl: i64, granted: i64) -> Result<(), Violation> {
        let there = |life: &LeaseLife| {
            let steps = &self.replay.steps;
            let until = life.revoked.map(|step| {
                let acked = self.replay.matching.call_of[step].map(|call| &self.history.calls[call]);
                let acked = acked.filter(|call| matches!(call.answer, Answer::Written(..))).map(|call| call.ended);
                let reign = self.history.reigns.iter().find(|reign| reign.term == steps[step].term);
                let deposed = reign.map(|reign| reign.from + self.doubt());
                acked.unwrap_or(steps[step].at).max(deposed.unwrap_or_default())
            });
            steps[life.granted].at <= call.ended && until.is_none_or(|until| call.invoked <= until)
        };
        let lives = self.lives.around(id, call, &self.replay.steps).map(|life| &self.lives.all[life]);
        let lives: Vec<&LeaseLife> = lives.collect();
        if !lives.iter().any(|life| there(life) && life.ttl == granted && (0..=granted).contains(&ttl)) {
            return Err(shown_by(PROPERTY, call, format_args!("there was no such lease; its last lives: {lives:?}")));
        }
        Ok(())
    }

    /// For how long a leader may not know of its successor.
    fn doubt(&self) -> Duration {
        let doubt = self.limits.leader_doubt;
        doubt + doubt * self.limits.clock_drift_permille / 1_000
    }

    /// Whether two leaders may have answered for leases during a call.
    fn is_doubtful(&self, call: &Call) -> bool {
        let successors = self.history.reigns.iter().skip(1);
        let mut doubts = successors.map(|reign| reign.from..reign.from + self.doubt());
        doubts.any(|doubt| doubt.start <= call.ended && call.invoked < doubt.end)
    }

    /// Somebody was told that a lease is not there, or its time over.
    fn is_over(&self, id: i64, call: &Call) -> Result<(), Violation> {
        for life in self.lives.around(id, call, &self.replay.steps).map(|life| &self.lives.all[life]) {
            let least = life.ttl_least(self.limits);
            let revoked = self.revoked_at(life).is_some_and(|at| at <= call.ended);
            let relied =
                |(asked, answered): &(Duration, Duration)| *answered < call.invoked && call.ended < *asked + least;
            let renewal = life.renewals.iter().find(|renewal| relied(renewal));
            if let Some((asked, answered)) = renewal.filter(|_| !revoked && !self.is_doubtful(call)) {
                let why = format!("the lease was given {least:?} from {asked:?}, as was told at {answered:?}");
                return Err(shown_by(PROPERTY, call, why));
            }
        }
        Ok(())
    }

    /// The keys that a lease is said to have are those that it had at some revision meanwhile.
    fn has_keys(
        &self,
        id: i64,
        call: &Call,
        answer: &LeaseTimeToLive,
        (from, to): (i64, i64),
        ever: Option<&BTreeSet<Bytes>>,
    ) -> Result<(), Violation> {
        if to - from > WINDOW_MAX {
            return Ok(());
        }
        let model = &self.replay.model;
        let attached = |key: &Bytes, revision| model.key_at(key, revision).is_some_and(|kv| kv.lease == id);
        if let Some(key) = answer.keys.iter().find(|key| !(from..=to).any(|revision| attached(key, revision))) {
            return Err(shown_by(PROPERTY, call, format_args!("key {key:?} was not attached to the lease")));
        }
        let always = |key: &&Bytes| (from..=to).all(|revision| attached(key, revision));
        match ever.into_iter().flatten().filter(always).find(|key| !answer.keys.contains(key)) {
            Some(key) => Err(shown_by(PROPERTY, call, format_args!("key {key:?} was attached to the lease"))),
            None => Ok(()),
        }
    }

    /// A key is not shown with a lease that is gone: it goes with it.
    fn are_alive(&self, leases: impl Iterator<Item = i64>, call: &Call, revision: i64) -> Result<(), Violation> {
        for id in leases {
            if self.lives.at_revision(id, revision, &self.replay.steps).is_none() {
                return Err(shown_by(PROPERTY, call, format_args!("lease {id} was not there at revision {revision}")));
            }
        }
        Ok(())
    }
}

/// The last moment that is known of.
fn end(history: &History) -> Duration {
    let called = history.calls.last().map_or(Duration::ZERO, |call| call.ended);
    history.applied.last().map_or(called, |entry| entry.at.max(called))
}
