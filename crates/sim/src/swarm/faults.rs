//! Writes the script of a plan: each family of faults from a stream of chance of its own.

use std::time::Duration;

use super::draw::Dice;
use super::{Family, Plan, Profile};
use crate::cluster::{Quality, purpose, stream};
use crate::script::{
    Action, ClockFault, DiskFault, MemberOrder, RotPlace, Script, Shape, Strike, StrikeKind, SyncFate, Target,
};

/// Nothing happens before the cluster has had a moment.
const QUIET: Duration = Duration::from_secs(3);

/// The script of a plan.
pub(super) fn script(plan: &Plan, profile: Profile) -> Script {
    let mut script = Script::default();
    for (family, gap) in profile.families() {
        let mut random = stream(plan.seed, purpose::SCRIPT, family as u64);
        let mut dice = Dice(&mut random);
        let on = matches!(profile, Profile::Storm) || dice.percent(60);
        let gap_ms = gap * dice.between(300, 2_000);
        if !on {
            continue;
        }
        let mut at = QUIET + Duration::from_millis(dice.between(0, gap_ms));
        while at < plan.duration {
            Author { plan, script: &mut script, dice: Dice(dice.0), at }.write(family);
            at += Duration::from_millis(dice.between(gap_ms / 4, gap_ms * 7 / 4));
        }
    }
    // A lease stands neither clocks that jump nor machines that sleep.
    let exact = !profile.families().any(|(family, _)| matches!(family, Family::Clock | Family::Pause));
    let mut random = stream(plan.seed, purpose::SCRIPT, u64::MAX);
    let mut dice = Dice(&mut random);
    if exact && profile.families().next().is_some() && dice.percent(25) {
        let ticks = dice.between(3, u64::from(plan.settings.raft.election_timeout_ticks));
        script.add(QUIET / 2, Action::Members(MemberOrder::ReadLease(ticks as u32)));
    }
    script.sort();
    script
}

/// Writes the lines of one fault.
struct Author<'a> {
    plan: &'a Plan,
    script: &'a mut Script,
    dice: Dice<'a>,
    at: Duration,
}

impl Author<'_> {
    fn now(&mut self, action: Action) {
        self.script.add(self.at, action);
    }

    /// A line some time later.
    fn later(&mut self, least_ms: u64, most_ms: u64, action: Action) {
        let wait = self.dice.millis(least_ms, most_ms);
        self.script.add(self.at + wait, action);
    }

    fn member(&mut self) -> Target {
        Target::Member(self.dice.between(1, self.plan.founders))
    }

    /// A member; often the leader, since that hurts most.
    fn target(&mut self) -> Target {
        if self.dice.percent(40) { Target::Leader } else { self.member() }
    }

    /// One whose data may be damaged.
    fn damageable(&mut self) -> Target {
        Target::Member(self.dice.pick(&self.plan.damageable).unwrap_or(1))
    }

    fn write(&mut self, family: Family) {
        match family {
            Family::Crash => {
                let target = self.target();
                self.now(Action::Crash(target));
                self.later(200, 15_000, Action::StartAll);
            }
            Family::CrashAll => {
                self.now(Action::CrashAll);
                self.later(100, 3_000, Action::StartAll);
            }
            Family::CrashInWork => {
                let (target, after) = (self.target(), self.dice.any_size(1, 60) - 1);
                self.now(Action::CrashInWork(target, after));
            }
            Family::Kill => {
                let target = self.target();
                self.now(Action::Kill(target));
                self.later(50, 5_000, Action::StartAll);
            }
            Family::Pause => self.pause(),
            Family::Partition => self.partition(),
            Family::BadLinks => self.bad_links(),
            Family::Reset => {
                let (one, other, frames) = (self.target(), self.member(), self.dice.between(1, 3) as u32);
                let damages = self.dice.percent(50);
                self.now(if damages { Action::DamageFrames(one, other, frames) } else { Action::Reset(one, other) });
            }
            Family::Clock => self.clock(),
            Family::SlowDisk => self.slow_disk(),
            Family::FullDisk => {
                let (target, left) = (self.member(), self.dice.any_size(1, 64 << 10) - 1);
                self.now(Action::Disk(target, DiskFault::Full(left)));
                self.later(500, 20_000, Action::Disk(target, DiskFault::Free));
            }
            Family::DiskError => self.disk_error(),
            Family::Damage => self.damage(),
            Family::Wipe => {
                let target = self.damageable();
                self.now(Action::Wipe(target));
                self.later(100, 3_000, Action::StartAll);
                self.later(3_000, 10_000, Action::Members(MemberOrder::Replace(target)));
            }
            Family::DamagedSnapshot => {
                let parts = self.dice.between(1, 4) as u32;
                self.now(Action::DamageSnapshots(parts));
            }
            Family::Transfer => self.transfer(),
            Family::Membership => self.membership(),
            Family::OldFormat => {
                let target = self.member();
                self.now(Action::OldFormat(target));
            }
        }
    }

    fn transfer(&mut self) {
        let to = self.member();
        // Some are under way when the leader loses its office; it may have it again soon.
        let fails = self.dice.percent(35);
        if fails {
            let from = Target::Leader;
            self.now(Action::Stall(from, to, self.election()));
            self.now(Action::Stall(to, from, self.election()));
        }
        self.now(Action::Transfer(to));
        if fails {
            let soon = self.election() * self.dice.between(1, 10) as u32 / 10;
            self.script.add(self.at + soon, Action::Partition(Shape::Isolate(Target::Leader)));
            self.script.add(self.at + soon + self.election() * self.dice.between(5, 30) as u32 / 10, Action::Heal);
        }
    }

    fn pause(&mut self) {
        let target = self.member();
        let sleeps = self.dice.percent(30);
        self.now(if sleeps { Action::Suspend(target) } else { Action::Pause(target) });
        self.later(5, 20_000, Action::Resume(target));
    }

    /// Whoever leads is cut off, again and again, while those that led before come back with what they have.
    fn wandering_partition(&mut self) {
        for _ in 0..self.dice.between(2, 6) {
            let shape = if self.dice.percent(70) { Shape::Isolate(Target::Leader) } else { Shape::Minority };
            self.now(Action::Heal);
            self.now(Action::Partition(shape));
            self.at += self.election() * self.dice.between(2, 40) as u32 / 10;
        }
        self.now(Action::Heal);
    }

    fn election(&self) -> Duration {
        self.plan.settings.tick * self.plan.settings.raft.election_timeout_ticks
    }

    fn partition(&mut self) {
        if self.dice.percent(25) {
            return self.wandering_partition();
        }
        let target = self.target();
        let shape = match self.dice.between(0, 10) {
            0 | 1 => Shape::Isolate(target),
            2 => Shape::Minority,
            3 => Shape::Majority,
            4 => Shape::Deaf(target),
            5 => Shape::Mute(target),
            6 => Shape::Bridge(target),
            7 => Shape::Chain,
            8 => Shape::Ring,
            9 => Shape::Star(target),
            _ => {
                let (from, to) = (self.target(), self.member());
                self.now(Action::Cut(from, to));
                self.later(100, 20_000, Action::Heal);
                return;
            }
        };
        self.now(Action::Partition(shape));
        self.later(100, 20_000, Action::Heal);
    }

    fn bad_links(&mut self) {
        if self.dice.percent(40) {
            return self.stall();
        }
        // On the slowest of links answers come when elections are over.
        let slow = self.dice.percent(35);
        let election = self.election().as_micros() as u64;
        let dice = &mut self.dice;
        let (delay, jitter) = if slow {
            (dice.between(election / 16, election), dice.between(election / 16, 2 * election))
        } else {
            (dice.any_size(20, 60_000), dice.any_size(20, 200_000))
        };
        let mut share = |percent, most| if dice.percent(percent) { dice.any_size(1, most) as u32 } else { 0 };
        let shares = [share(70, 3_000), share(50, 3_000), share(50, 5_000), share(50, 300)];
        let quality = Quality {
            delay_us: delay as u32,
            jitter_us: jitter as u32,
            loss: shares[0],
            doubled: shares[1],
            reordered: shares[2],
            late: shares[3],
            late_ms: dice.any_size(100, 30_000) as u32,
        };
        let (one, other) = (self.target(), self.member());
        let all = self.dice.percent(60);
        self.now(if all { Action::Links(quality) } else { Action::Link(one, other, quality) });
        self.later(1_000, 20_000, Action::Heal);
    }

    /// What a member sends, or what it is sent, is held back for a while, on most of its links.
    fn stall(&mut self) {
        let (one, sends) = (self.target(), self.dice.percent(50));
        let time = self.dice.millis(50, 5_000);
        for other in (1..=self.plan.founders).map(Target::Member) {
            if self.dice.percent(75) {
                let (from, to) = if sends { (one, other) } else { (other, one) };
                self.now(Action::Stall(from, to, time));
            }
        }
    }

    fn clock(&mut self) {
        let target = self.member();
        let fault = match self.dice.between(0, 5) {
            0 => ClockFault::Jump(self.dice.millis(3_000, 60_000)),
            1 => ClockFault::Wall(self.dice.between(0, 7_200_000) as i64 - 3_600_000),
            _ => ClockFault::Drift(self.dice.between(0, 2 * DRIFT_PPM) as i32 - DRIFT_PPM as i32),
        };
        self.now(Action::Clock(target, fault));
    }

    fn slow_disk(&mut self) {
        let target = self.target();
        if self.dice.percent(25) {
            let times = self.dice.any_size(2, 500) as u32;
            // Whoever is meant when it begins is not known when it ends: all members' disks are as ever then.
            self.now(Action::Disk(target, DiskFault::Slow(times)));
            let wait = self.dice.millis(1_000, 20_000);
            for id in 1..=self.plan.founders {
                self.script.add(self.at + wait, Action::Disk(Target::Member(id), DiskFault::Slow(1)));
            }
        } else {
            self.now(Action::Disk(target, DiskFault::Hang));
            let wait = self.dice.millis(50, 30_000);
            for id in 1..=self.plan.founders {
                self.script.add(self.at + wait, Action::Disk(Target::Member(id), DiskFault::Unhang));
            }
        }
    }

    fn disk_error(&mut self) {
        let target = self.member();
        let fault = match self.dice.between(0, 4) {
            0 => DiskFault::SyncsFail(SyncFate::Dropped),
            1 => DiskFault::SyncFails(self.dice.any_size(1, 100) - 1),
            2 => self.strike(StrikeKind::SyncError, "*"),
            _ => self.strike(StrikeKind::WriteError, "*"),
        };
        self.now(Action::Disk(target, fault));
    }

    fn strike(&mut self, kind: StrikeKind, files: &str) -> DiskFault {
        let after = self.dice.any_size(1, 100) - 1;
        DiskFault::Strike(Strike { kind, after, times: 1, files: files.to_owned() })
    }

    fn damage(&mut self) {
        let target = self.damageable();
        let action = match self.dice.between(0, 9) {
            0..=2 => Action::Rot(target, RotPlace::Log),
            3 => Action::Rot(target, RotPlace::LogBoth),
            4 | 5 => Action::Rot(target, RotPlace::State),
            6 => Action::Disk(target, self.strike(StrikeKind::ReadError, "*")),
            7 => Action::Disk(target, self.strike(StrikeKind::ReadFlip, "*")),
            8 => Action::Disk(target, self.strike(StrikeKind::WriteFlip, "*.log")),
            _ => {
                let kind = if self.dice.percent(50) { StrikeKind::LoseWrite } else { StrikeKind::MisdirectWrite };
                Action::Disk(target, self.strike(kind, "*.log"))
            }
        };
        self.now(action);
    }

    fn membership(&mut self) {
        let all = self.plan.founders + self.plan.spares;
        let any = Target::Member(self.dice.between(1, all));
        let order = match self.dice.between(0, 12) {
            8..=10 => MemberOrder::Swap(any),
            11 => MemberOrder::AddLearner(Target::Member(all)),
            12 => MemberOrder::Prefer(if self.dice.percent(50) { any } else { Target::Member(all) }),
            0 | 1 => MemberOrder::Replace(any),
            2 | 3 => MemberOrder::Add(Target::Member(all)),
            4 => MemberOrder::Remove(self.target()),
            5 => MemberOrder::AddLearner(any),
            6 => MemberOrder::Demote(any),
            _ => MemberOrder::Promote(any),
        };
        self.now(Action::Members(order));
        // Changes that are interrupted are those that go wrong.
        match self.dice.between(0, 9) {
            0..=2 => {
                let to = self.member();
                self.later(1, 1_000, Action::Transfer(to));
            }
            3 | 4 => {
                self.later(1, 500, Action::Crash(Target::Leader));
                self.later(600, 5_000, Action::StartAll);
            }
            5 => {
                self.later(1, 500, Action::Partition(Shape::Isolate(Target::Leader)));
                self.later(600, 10_000, Action::Heal);
            }
            _ => {}
        }
    }
}

/// By how much clocks may go wrong and leases still be exact, in parts of a million.
const DRIFT_PPM: u64 = 4_000;
