//! Carries out the lines of a script.

use kontiki_raft::NodeId;
use kontiki_world::{Damage, Fault, Operation};

use super::member::Faulty;
use super::{Cluster, Happening};
use crate::observation::{End, Violation};
use crate::script::{Action, ClockFault, DiskFault, Shape, Strike, StrikeKind, SyncFate, Target};
use crate::subject::Subject;

impl<S: Subject> Cluster<S> {
    /// Whom a line means now.
    #[must_use]
    pub fn resolve(&self, target: Target) -> Option<NodeId> {
        let group = self.subject.groups().into_iter().next()?;
        let leader = self.leader(group);
        match target {
            Target::Member(id) => self.place_of(NodeId(id)).map(|_| NodeId(id)),
            Target::Leader => leader,
            Target::Follower(which) => {
                let running = self.members.iter().filter(|member| member.process.is_some());
                let others: Vec<NodeId> = running.map(|member| member.id).filter(|id| Some(*id) != leader).collect();
                let count = (others.len() as u64).max(1);
                others.get((which % count) as usize).copied()
            }
        }
    }

    /// Does what a line says. A line whose target is not there does nothing.
    ///
    /// # Errors
    /// Where something that must hold no longer does.
    pub fn act(&mut self, action: &Action) -> Result<(), Violation> {
        self.trace.say(self.now, None, "script", &action.to_string());
        match action {
            Action::Crash(target) => self.each(*target, "crash", |cluster, place| cluster.end(place, End::Crash)),
            Action::CrashAll => {
                self.counts.add("crash-all", 1);
                (0..self.members.len()).try_for_each(|place| self.end(place, End::Crash))
            }
            Action::CrashInWork(target, after) => self.each(*target, "fuse", |cluster, place| {
                cluster.members[place].disk.lose_power_after(*after);
                Ok(())
            }),
            Action::Kill(target) => self.each(*target, "kill-asked", Self::kill),
            Action::Start(target) => self.each(*target, "start-asked", Self::start),
            Action::StartAll => (0..self.members.len()).try_for_each(|place| self.start_member(place)),
            Action::Wipe(target) => self.each(*target, "wipe-asked", Self::wipe),
            Action::Pause(target) => self.each(*target, "pause", |cluster, place| {
                cluster.pause(place, false);
                Ok(())
            }),
            Action::Suspend(target) => self.each(*target, "suspend", |cluster, place| {
                cluster.pause(place, true);
                Ok(())
            }),
            Action::Resume(target) => self.each(*target, "resume", |cluster, place| {
                cluster.resume(place);
                Ok(())
            }),
            Action::Clock(target, fault) => self.each(*target, clock_kind(*fault), |cluster, place| {
                cluster.bend_clock(place, *fault);
                Ok(())
            }),
            Action::Disk(target, fault) => self.each(*target, disk_kind(fault), |cluster, place| {
                cluster.break_disk(place, fault);
                Ok(())
            }),
            Action::Rot(target, what) => self.each(*target, "rot-asked", |cluster, place| {
                cluster.members[place].damaged = true;
                let struck = cluster.rot(place, *what);
                cluster.counts.add("rot", u64::from(struck));
                Ok(())
            }),
            Action::OldFormat(target) => self.each(*target, "old-format", |cluster, place| {
                cluster.kill(place)?;
                cluster.make_old_format(place);
                cluster.start(place)
            }),
            Action::Transfer(target) => {
                self.transfer(*target);
                Ok(())
            }
            Action::Members(order) => {
                self.order(*order);
                self.schedule(self.now, Happening::Operator);
                Ok(())
            }
            network => {
                self.act_on_network(network);
                Ok(())
            }
        }
    }

    fn act_on_network(&mut self, action: &Action) {
        match action {
            Action::Partition(shape) => self.partition(*shape),
            Action::Cut(from, to) => self.between(*from, *to, "cut", |cluster, from, to| cluster.cut(from, to)),
            Action::Join(from, to) => self.between(*from, *to, "join", |cluster, from, to| cluster.join(from, to)),
            Action::Heal => self.heal_network(),
            Action::Link(from, to, quality) => self.between(*from, *to, "bad-link", |cluster, from, to| {
                cluster.network.set_quality(from, to, *quality);
            }),
            Action::Links(quality) => {
                self.counts.add("bad-links", 1);
                self.network.set_all(*quality);
            }
            Action::Stall(from, to, time) => self.between(*from, *to, "stall", |cluster, from, to| {
                cluster.network.stall(from, to, cluster.now + *time);
            }),
            Action::Reset(one, other) => self.between(*one, *other, "reset", |cluster, one, other| {
                cluster.break_connection(one, other);
            }),
            Action::DamageFrames(from, to, frames) => self.between(*from, *to, "damage-asked", |cluster, from, to| {
                cluster.network.damage(from, to, *frames);
            }),
            Action::DamageSnapshots(parts) => self.snapshots_to_damage += *parts,
            _ => {}
        }
    }

    fn each(
        &mut self,
        target: Target,
        kind: &'static str,
        act: impl FnOnce(&mut Self, usize) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        match self.resolve(target).and_then(|id| self.place_of(id)) {
            Some(place) => {
                self.counts.add(kind, 1);
                act(self, place)
            }
            None => Ok(()),
        }
    }

    fn between(&mut self, one: Target, other: Target, kind: &'static str, act: impl FnOnce(&mut Self, NodeId, NodeId)) {
        if let (Some(one), Some(other)) = (self.resolve(one), self.resolve(other))
            && one != other
        {
            self.counts.add(kind, 1);
            act(self, one, other);
        }
    }

    /// Starts a member that is in the cluster or waits to be.
    fn start_member(&mut self, place: usize) -> Result<(), Violation> {
        if self.members[place].life == 0 { Ok(()) } else { self.start(place) }
    }

    fn pause(&mut self, place: usize, sleeps: bool) {
        let member = &mut self.members[place];
        let Some(process) = member.process.as_mut().filter(|process| !process.paused) else { return };
        process.paused = true;
        self.executor.hold(process.scope);
        if sleeps {
            member.clock.freeze(true);
        }
    }

    pub(super) fn resume(&mut self, place: usize) {
        let member = &mut self.members[place];
        member.clock.freeze(false);
        member.clock_changed();
        let Some(process) = member.process.as_mut().filter(|process| process.paused) else { return };
        process.paused = false;
        self.executor.release(process.scope);
        self.let_work_end(place);
    }

    fn bend_clock(&mut self, place: usize, fault: ClockFault) {
        let member = &mut self.members[place];
        match fault {
            ClockFault::Drift(ppm) => member.clock.drift(ppm),
            ClockFault::Jump(by) => member.clock.jump(by),
            ClockFault::Wall(ahead) => member.clock.set_wall(ahead),
        }
        member.clock_changed();
    }

    fn break_disk(&mut self, place: usize, fault: &DiskFault) {
        let member = &mut self.members[place];
        match fault {
            DiskFault::Slow(times) => self.slow_down(place, (*times).max(1)),
            DiskFault::Hang => member.health.hangs = true,
            DiskFault::Unhang => {
                member.health.hangs = false;
                self.let_work_end(place);
            }
            DiskFault::Full(left) => {
                member.faulty.full(Some(*left));
                member.health.full = Some(*left);
            }
            DiskFault::Free => self.free_disk(place),
            DiskFault::SyncsFail(SyncFate::Dropped) => {
                member.disk.fail_syncs(true);
                member.health.syncs_fail = true;
            }
            DiskFault::SyncsFail(SyncFate::Kept) => {
                let fault = Fault {
                    operation: Operation::Sync,
                    name: "*".to_owned(),
                    after: 0,
                    times: u64::MAX,
                    damage: Damage::Error,
                };
                let id = member.faulty.inject(fault);
                member.health.faults.push(Faulty { id, kind: "sync-error", times: u64::MAX });
            }
            DiskFault::SyncFails(after) => {
                member.disk.fail_one_sync_after(Some(*after));
            }
            DiskFault::Strike(strike) => {
                member.damaged |= !matches!(strike.kind, StrikeKind::WriteError | StrikeKind::SyncError);
                member.struck |= strike.kind.is_silent();
                let id = member.faulty.inject(fault_of(strike));
                member.health.faults.push(Faulty { id, kind: strike_kind(strike.kind), times: strike.times });
            }
        }
    }

    /// All faults in the way of a member's disk are over.
    pub(super) fn withdraw_faults(&mut self, place: usize) {
        let member = &mut self.members[place];
        for fault in std::mem::take(&mut member.health.faults) {
            self.counts.add(fault.kind, member.faulty.withdraw(fault.id));
        }
        self.members[place].disk.fail_one_sync_after(None);
        self.syncs_succeed(place);
        self.free_disk(place);
    }

    /// Faults that have struck as often as they may are forgotten.
    pub(super) fn retire_faults(&mut self, place: usize) {
        let member = &mut self.members[place];
        for fault in std::mem::take(&mut member.health.faults) {
            if member.faulty.struck(fault.id) < fault.times {
                member.health.faults.push(fault);
            } else {
                self.counts.add(fault.kind, member.faulty.withdraw(fault.id));
            }
        }
    }

    /// Syncs do what they should again.
    pub(super) fn syncs_succeed(&mut self, place: usize) {
        let member = &mut self.members[place];
        member.disk.fail_syncs(false);
        member.health.syncs_fail = false;
    }

    /// There is room again: work that waited for it goes on.
    fn free_disk(&mut self, place: usize) {
        let member = &mut self.members[place];
        member.faulty.full(None);
        member.health.full = None;
        if let Some(process) = &mut member.process {
            process.tell_waits(false);
        }
        self.let_work_end(place);
    }

    fn partition(&mut self, shape: Shape) {
        let ids = self.ids();
        let of = |target| self.resolve(target);
        let leader = self.resolve(Target::Leader);
        let count = ids.len();
        let at = |id: NodeId| ids.iter().position(|other| *other == id).unwrap_or(0);
        let next_to = |one: NodeId, other: NodeId| at(one).abs_diff(at(other)) == 1;
        // The leader and so many others stand on one side.
        let with_leader = |size: usize| {
            let others = ids.iter().copied().filter(|id| Some(*id) != leader);
            leader.into_iter().chain(others).take(size).collect::<Vec<NodeId>>()
        };
        let passes: Box<dyn Fn(NodeId, NodeId) -> bool> = match shape {
            Shape::Isolate(target) => {
                let Some(one) = of(target) else { return };
                Box::new(move |from, to| from != one && to != one)
            }
            Shape::Minority | Shape::Majority => {
                let size = if shape == Shape::Minority { (count - 1) / 2 } else { count / 2 + 1 };
                let side = with_leader(size);
                Box::new(move |from, to| side.contains(&from) == side.contains(&to))
            }
            Shape::Deaf(target) => {
                let Some(one) = of(target) else { return };
                Box::new(move |_, to| to != one)
            }
            Shape::Mute(target) => {
                let Some(one) = of(target) else { return };
                Box::new(move |from, _| from != one)
            }
            Shape::Bridge(target) => {
                let Some(one) = of(target) else { return };
                Box::new(move |from, to| from == one || to == one || at(from) % 2 == at(to) % 2)
            }
            Shape::Chain => Box::new(next_to),
            Shape::Ring => Box::new(move |from, to| next_to(from, to) || at(from).abs_diff(at(to)) == count - 1),
            Shape::Star(target) => {
                let Some(one) = of(target) else { return };
                Box::new(move |from, to| from == one || to == one)
            }
        };
        let mut cuts = Vec::new();
        for from in &ids {
            cuts.extend(ids.iter().filter(|to| *to != from && !passes(*from, **to)).map(|to| (*from, *to)));
        }
        drop(passes);
        self.counts.add("partition", 1);
        cuts.into_iter().for_each(|(from, to)| self.cut(from, to));
    }

    fn cut(&mut self, from: NodeId, to: NodeId) {
        self.network.cut(from, to, self.now);
    }

    pub(super) fn join(&mut self, from: NodeId, to: NodeId) {
        if self.network.join(from, to, self.now) {
            self.break_connection(from, to);
        }
    }

    pub(super) fn heal_network(&mut self) {
        self.network.restore();
        let ids = self.ids();
        for from in &ids {
            ids.iter().filter(|to| *to != from).for_each(|to| self.join(*from, *to));
        }
    }
}

fn clock_kind(fault: ClockFault) -> &'static str {
    match fault {
        ClockFault::Drift(_) => "clock-drift",
        ClockFault::Jump(_) => "clock-jump",
        ClockFault::Wall(_) => "clock-wall",
    }
}

fn disk_kind(fault: &DiskFault) -> &'static str {
    match fault {
        DiskFault::Slow(_) => "disk-slow",
        DiskFault::Hang => "disk-hang",
        DiskFault::Unhang => "disk-unhang",
        DiskFault::Full(_) => "disk-full",
        DiskFault::Free => "disk-free",
        DiskFault::Strike(_) => "disk-fault-asked",
        DiskFault::SyncsFail(_) => "syncs-fail",
        DiskFault::SyncFails(_) => "sync-fails",
    }
}

fn strike_kind(kind: StrikeKind) -> &'static str {
    match kind {
        StrikeKind::ReadError => "read-error",
        StrikeKind::WriteError => "write-error",
        StrikeKind::SyncError => "sync-error",
        StrikeKind::ReadFlip => "read-flip",
        StrikeKind::WriteFlip => "write-flip",
        StrikeKind::LoseWrite => "lost-write",
        StrikeKind::MisdirectWrite => "misdirected-write",
    }
}

fn fault_of(strike: &Strike) -> Fault {
    let (operation, damage) = match strike.kind {
        StrikeKind::ReadError => (Operation::Read, Damage::Error),
        StrikeKind::WriteError => (Operation::Write, Damage::Error),
        StrikeKind::SyncError => (Operation::Sync, Damage::Error),
        StrikeKind::ReadFlip => (Operation::Read, Damage::Flip),
        StrikeKind::WriteFlip => (Operation::Write, Damage::Flip),
        StrikeKind::LoseWrite => (Operation::Write, Damage::Lose),
        StrikeKind::MisdirectWrite => (Operation::Write, Damage::Misdirect(MISDIRECTED_BY)),
    };
    Fault { operation, name: strike.files.clone(), after: strike.after, times: strike.times, damage }
}

/// Two sectors further on.
const MISDIRECTED_BY: u64 = 1_024;
