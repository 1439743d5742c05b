//! Scripts as text: a time in seconds, and words.

use std::fmt;
use std::time::Duration;

use super::action::{
    Action, ClockFault, DiskFault, MemberOrder, RotPlace, Shape, Strike, StrikeKind, SyncFate, Target,
};
use super::{Line, Script};
use crate::cluster::Quality;

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Seconds(self.at), self.action)
    }
}

/// A time as seconds, to the microsecond.
pub(super) struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0.as_secs(), self.0.subsec_micros())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Member(id) => write!(f, "n{id}"),
            Target::Leader => write!(f, "leader"),
            Target::Follower(which) => write!(f, "follower{which}"),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Isolate(target) => write!(f, "isolate {target}"),
            Shape::Minority => write!(f, "minority"),
            Shape::Majority => write!(f, "majority"),
            Shape::Deaf(target) => write!(f, "deaf {target}"),
            Shape::Mute(target) => write!(f, "mute {target}"),
            Shape::Bridge(target) => write!(f, "bridge {target}"),
            Shape::Chain => write!(f, "chain"),
            Shape::Ring => write!(f, "ring"),
            Shape::Star(target) => write!(f, "star {target}"),
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quality { delay_us, jitter_us, loss, doubled, reordered, late, late_ms } = self;
        write!(f, "delay {delay_us} jitter {jitter_us} loss {loss} doubled {doubled} ")?;
        write!(f, "reordered {reordered} late {late} late-ms {late_ms}")
    }
}

impl fmt::Display for ClockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClockFault::Drift(ppm) => write!(f, "drift {ppm}"),
            ClockFault::Jump(by) => write!(f, "jump {}", Seconds(*by)),
            ClockFault::Wall(ahead) => write!(f, "wall {ahead}"),
        }
    }
}

impl StrikeKind {
    /// All kinds, with their words.
    pub(super) const WORDS: [(StrikeKind, &'static str); 7] = [
        (StrikeKind::ReadError, "read-error"),
        (StrikeKind::WriteError, "write-error"),
        (StrikeKind::SyncError, "sync-error"),
        (StrikeKind::ReadFlip, "read-flip"),
        (StrikeKind::WriteFlip, "write-flip"),
        (StrikeKind::LoseWrite, "lose-write"),
        (StrikeKind::MisdirectWrite, "misdirect-write"),
    ];
}

impl fmt::Display for StrikeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = StrikeKind::WORDS.iter().find(|(kind, _)| kind == self);
        f.write_str(words.map_or("", |(_, word)| word))
    }
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskFault::Slow(times) => write!(f, "slow {times}"),
            DiskFault::Hang => write!(f, "hang"),
            DiskFault::Unhang => write!(f, "unhang"),
            DiskFault::Full(left) => write!(f, "full {left}"),
            DiskFault::Free => write!(f, "free"),
            DiskFault::SyncFails(after) => write!(f, "sync-fails after {after}"),
            DiskFault::SyncsFail(SyncFate::Kept) => write!(f, "syncs-fail kept"),
            DiskFault::SyncsFail(SyncFate::Dropped) => write!(f, "syncs-fail dropped"),
            DiskFault::Strike(Strike { kind, after, times, files }) => {
                write!(f, "strike {kind} after {after} times {times} files {files}")
            }
        }
    }
}

impl fmt::Display for RotPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RotPlace::Log => "log",
            RotPlace::LogBoth => "log-both",
            RotPlace::State => "state",
        })
    }
}

impl fmt::Display for MemberOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemberOrder::Add(target) => write!(f, "add {target}"),
            MemberOrder::AddLearner(target) => write!(f, "add-learner {target}"),
            MemberOrder::Promote(target) => write!(f, "promote {target}"),
            MemberOrder::Demote(target) => write!(f, "demote {target}"),
            MemberOrder::Remove(target) => write!(f, "remove {target}"),
            MemberOrder::Replace(target) => write!(f, "replace {target}"),
            MemberOrder::Swap(target) => write!(f, "swap {target}"),
            MemberOrder::Prefer(target) => write!(f, "prefer {target}"),
            MemberOrder::ReadLease(ticks) => write!(f, "read-lease ticks {ticks}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Crash(target) => write!(f, "crash {target}"),
            Action::CrashAll => write!(f, "crash-all"),
            Action::CrashInWork(target, after) => write!(f, "crash-in-work {target} after {after}"),
            Action::Kill(target) => write!(f, "kill {target}"),
            Action::Start(target) => write!(f, "start {target}"),
            Action::StartAll => write!(f, "start-all"),
            Action::Wipe(target) => write!(f, "wipe {target}"),
            Action::Pause(target) => write!(f, "pause {target}"),
            Action::Suspend(target) => write!(f, "suspend {target}"),
            Action::Resume(target) => write!(f, "resume {target}"),
            Action::Partition(shape) => write!(f, "partition {shape}"),
            Action::Cut(from, to) => write!(f, "cut {from} {to}"),
            Action::Join(from, to) => write!(f, "join {from} {to}"),
            Action::Heal => write!(f, "heal"),
            Action::Link(from, to, quality) => write!(f, "link {from} {to} {quality}"),
            Action::Links(quality) => write!(f, "links {quality}"),
            Action::Stall(from, to, time) => write!(f, "stall {from} {to} {}", Seconds(*time)),
            Action::Reset(one, other) => write!(f, "reset {one} {other}"),
            Action::DamageFrames(from, to, frames) => write!(f, "damage-frames {from} {to} {frames}"),
            Action::DamageSnapshots(parts) => write!(f, "damage-snapshots {parts}"),
            Action::Clock(target, fault) => write!(f, "clock {target} {fault}"),
            Action::Disk(target, fault) => write!(f, "disk {target} {fault}"),
            Action::Rot(target, what) => write!(f, "rot {target} {what}"),
            Action::Transfer(target) => write!(f, "transfer {target}"),
            Action::Members(order) => write!(f, "member {order}"),
            Action::OldFormat(target) => write!(f, "old-format {target}"),
        }
    }
}
