//! The life of each lease, from its grant to its revocation, and who renewed it when.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_kv::{Command, Reply};

use super::Limits;
use crate::etcd::history::{Answer, Call, History, Request};
use crate::etcd::replay::{Replay, Step};

/// A lease, once. Its identity may have been used before, and again.
#[derive(Clone, Debug)]
pub(super) struct LeaseLife {
    pub(super) id: i64,
    /// Seconds granted.
    pub(super) ttl: i64,
    /// The step that granted it.
    pub(super) granted: usize,
    /// The step that revoked it.
    pub(super) revoked: Option<usize>,
    /// When it was given its full time for certain: asked from, answered at. The grant comes first.
    pub(super) renewals: Vec<(Duration, Duration)>,
    /// When it may have been given its full time: the answer was lost.
    pub(super) lost_renewals: Vec<(Duration, Duration)>,
}

/// All leases, in the order of their grants, and where to find them by identity.
#[derive(Debug, Default)]
pub(super) struct LeaseLives {
    pub(super) all: Vec<LeaseLife>,
    by_id: BTreeMap<i64, Vec<usize>>,
    by_end: BTreeMap<usize, usize>,
}

impl LeaseLives {
    pub(super) fn of(history: &History, replay: &Replay) -> LeaseLives {
        let mut lives = LeaseLives::default();
        for (number, step) in replay.steps.iter().enumerate() {
            match (&step.command, &step.result) {
                (Command::LeaseGrant { .. }, Ok(Reply::LeaseGrant { id, ttl })) => {
                    let call = replay.matching.call_of[number].map(|call| &history.calls[call]);
                    let acked = call.filter(|call| matches!(call.answer, Answer::Written(..)));
                    let renewals = acked.map(|call| (call.invoked, call.ended)).into_iter().collect();
                    lives.by_id.entry(*id).or_default().push(lives.all.len());
                    lives.all.push(LeaseLife {
                        id: *id,
                        ttl: *ttl,
                        granted: number,
                        revoked: None,
                        renewals,
                        lost_renewals: Vec::new(),
                    });
                }
                (Command::LeaseRevoke { id } | Command::LeaseExpire { id, .. }, Ok(_)) => {
                    if let Some(life) = lives.by_id.get(id).and_then(|lives| lives.last()).copied() {
                        lives.all[life].revoked = Some(number);
                        lives.by_end.insert(number, life);
                    }
                }
                _ => {}
            }
        }
        for call in &history.calls {
            lives.renewed(call, &replay.steps);
        }
        lives
    }

    /// Writes a renewal down, where it is clear of which life it is.
    fn renewed(&mut self, call: &Call, steps: &[Step]) {
        let Request::KeepAlive(id) = call.request else { return };
        let possible: Vec<usize> = self.possible(id, call, steps).collect();
        for life in &possible {
            let life = &mut self.all[*life];
            match &call.answer {
                Answer::KeepAlive(ttl) if *ttl > 0 && possible.len() == 1 => {
                    life.renewals.push((call.invoked, call.ended));
                }
                Answer::KeepAlive(ttl) if *ttl > 0 => life.lost_renewals.push((call.invoked, call.ended)),
                Answer::Unknown(_) => life.lost_renewals.push((call.invoked, call.ended)),
                _ => {}
            }
        }
    }

    /// The lives of an identity that a call may have met.
    fn possible<'l>(&'l self, id: i64, call: &'l Call, steps: &'l [Step]) -> impl Iterator<Item = usize> + 'l {
        self.around(id, call, steps).filter(move |life| !self.was_over(*life, call, steps))
    }

    /// The lives of an identity that a call may have met, and the one before them; the newest first.
    pub(super) fn around<'l>(&'l self, id: i64, call: &'l Call, steps: &'l [Step]) -> impl Iterator<Item = usize> + 'l {
        let lives = self.by_id.get(&id).map_or(&[][..], Vec::as_slice);
        let begun = lives.partition_point(|life| steps[self.all[*life].granted].at <= call.ended);
        let mut before = false;
        lives[..begun].iter().rev().copied().take_while(move |life| {
            let wanted = !before;
            before = self.was_over(*life, call, steps);
            wanted
        })
    }

    /// The life that a step ended.
    pub(super) fn ended_by(&self, step: usize) -> Option<&LeaseLife> {
        self.by_end.get(&step).map(|life| &self.all[*life])
    }

    fn was_over(&self, life: usize, call: &Call, steps: &[Step]) -> bool {
        self.all[life].revoked.is_some_and(|revoked| steps[revoked].at < call.invoked)
    }

    /// The life of an identity that a key may have as of a revision. One that ended while keys were attached ended with a later
    /// revision than they show.
    pub(super) fn at_revision(&self, id: i64, revision: i64, steps: &[Step]) -> Option<&LeaseLife> {
        let lives = self.by_id.get(&id)?;
        let begun = lives.partition_point(|life| steps[self.all[*life].granted].revision <= revision);
        let life = &self.all[*lives.get(begun.checked_sub(1)?)?];
        life.revoked.is_none_or(|revoked| revision < steps[revoked].revision).then_some(life)
    }
}

impl LeaseLife {
    /// The granted time by the fastest clock that is permitted.
    pub(super) fn ttl_least(&self, limits: &Limits) -> Duration {
        let permille = 1_000_u32.saturating_sub(limits.clock_drift_permille);
        self.seconds() * permille / 1_000
    }

    /// The granted time, with what a new leader adds to it, by the slowest clock that is permitted.
    pub(super) fn time_most(&self, limits: &Limits) -> Duration {
        let time = self.seconds().saturating_add(limits.election_timeout);
        time.saturating_add(time.saturating_mul(limits.clock_drift_permille) / 1_000)
    }

    fn seconds(&self) -> Duration {
        // A thousand years are enough for any run, and can be multiplied.
        Duration::from_secs(u64::try_from(self.ttl).unwrap_or(0).min(1_000 * 366 * 86_400))
    }

    /// Whether a client that was told of the renewals may rely on the lease at a time.
    pub(super) fn is_relied_on(&self, time: Duration, limits: &Limits) -> bool {
        let least = self.ttl_least(limits);
        self.renewals.iter().any(|(asked, answered)| *answered <= time && time < *asked + least)
    }
}
