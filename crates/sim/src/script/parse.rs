//! Reads scripts: one line each, a time in seconds and words; what stands behind `#` is for people.

use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

use super::action::{
    Action, ClockFault, DiskFault, MemberOrder, RotPlace, Shape, Strike, StrikeKind, SyncFate, Target,
};
use super::{Line, Script};
use crate::cluster::Quality;

/// Why a text is no script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ScriptError {
    /// Which line, from one.
    pub line: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It ends where something must stand.
    #[error("ends where {0} is expected")]
    Ends(&'static str),
    /// Something else stands there.
    #[error("`{found}` is not {expected}")]
    NotA {
        /// What must stand there.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// It goes on where nothing must stand.
    #[error("`{0}` is too much")]
    TooMuch(String),
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Script, ScriptError> {
        let mut script = Script::default();
        for (place, line) in text.lines().enumerate() {
            let told = line.split('#').next().unwrap_or("");
            let mut words = Words(told.split_whitespace());
            if told.trim().is_empty() {
                continue;
            }
            let read = words
                .line()
                .and_then(|line| words.0.next().map_or(Ok(line), |more| Err(Problem::TooMuch(more.to_owned()))));
            script.lines.push(read.map_err(|problem| ScriptError { line: place + 1, problem })?);
        }
        script.sort();
        Ok(script)
    }
}

struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn next(&mut self, expected: &'static str) -> Result<&'a str, Problem> {
        self.0.next().ok_or(Problem::Ends(expected))
    }

    fn number<T: FromStr>(&mut self) -> Result<T, Problem> {
        let word = self.next("a number")?;
        word.parse().map_err(|_| Problem::NotA { expected: "a number that fits", found: word.to_owned() })
    }

    /// A number behind its name.
    fn named<T: FromStr>(&mut self, name: &'static str) -> Result<T, Problem> {
        let word = self.next(name)?;
        if word == name { self.number() } else { Err(Problem::NotA { expected: name, found: word.to_owned() }) }
    }

    fn time(&mut self) -> Result<Duration, Problem> {
        let word = self.next("a time")?;
        let wrong = || Problem::NotA { expected: "a time in seconds", found: word.to_owned() };
        let (seconds, rest) = word.split_once('.').unwrap_or((word, "0"));
        let digits = rest.len() <= 6 && rest.bytes().all(|byte| byte.is_ascii_digit());
        let micros = format!("{rest:0<6}");
        match (seconds.parse(), micros.parse::<u64>()) {
            (Ok(seconds), Ok(micros)) if digits => Ok(Duration::from_secs(seconds) + Duration::from_micros(micros)),
            _ => Err(wrong()),
        }
    }

    fn target(&mut self) -> Result<Target, Problem> {
        let word = self.next("a member")?;
        let number = |prefix: &str| word.strip_prefix(prefix).and_then(|rest| rest.parse().ok());
        if word == "leader" {
            return Ok(Target::Leader);
        }
        let named = number("n").map(Target::Member).or_else(|| number("follower").map(Target::Follower));
        named.ok_or_else(|| Problem::NotA { expected: "a member", found: word.to_owned() })
    }

    fn line(&mut self) -> Result<Line, Problem> {
        Ok(Line { at: self.time()?, action: self.action()? })
    }

    fn action(&mut self) -> Result<Action, Problem> {
        let word = self.next("an action")?;
        Ok(match word {
            "crash" => Action::Crash(self.target()?),
            "crash-all" => Action::CrashAll,
            "crash-in-work" => Action::CrashInWork(self.target()?, self.named("after")?),
            "kill" => Action::Kill(self.target()?),
            "start" => Action::Start(self.target()?),
            "start-all" => Action::StartAll,
            "wipe" => Action::Wipe(self.target()?),
            "pause" => Action::Pause(self.target()?),
            "suspend" => Action::Suspend(self.target()?),
            "resume" => Action::Resume(self.target()?),
            "partition" => Action::Partition(self.shape()?),
            "cut" => Action::Cut(self.target()?, self.target()?),
            "join" => Action::Join(self.target()?, self.target()?),
            "heal" => Action::Heal,
            "link" => Action::Link(self.target()?, self.target()?, self.quality()?),
            "links" => Action::Links(self.quality()?),
            "stall" => Action::Stall(self.target()?, self.target()?, self.time()?),
            "reset" => Action::Reset(self.target()?, self.target()?),
            "damage-frames" => Action::DamageFrames(self.target()?, self.target()?, self.number()?),
            "damage-snapshots" => Action::DamageSnapshots(self.number()?),
            "clock" => Action::Clock(self.target()?, self.clock()?),
            "disk" => Action::Disk(self.target()?, self.disk()?),
            "rot" => Action::Rot(self.target()?, self.rot()?),
            "transfer" => Action::Transfer(self.target()?),
            "member" => Action::Members(self.order()?),
            "old-format" => Action::OldFormat(self.target()?),
            _ => return Err(Problem::NotA { expected: "an action", found: word.to_owned() }),
        })
    }

    fn shape(&mut self) -> Result<Shape, Problem> {
        let word = self.next("the shape of a partition")?;
        Ok(match word {
            "isolate" => Shape::Isolate(self.target()?),
            "minority" => Shape::Minority,
            "majority" => Shape::Majority,
            "deaf" => Shape::Deaf(self.target()?),
            "mute" => Shape::Mute(self.target()?),
            "bridge" => Shape::Bridge(self.target()?),
            "chain" => Shape::Chain,
            "ring" => Shape::Ring,
            "star" => Shape::Star(self.target()?),
            _ => return Err(Problem::NotA { expected: "the shape of a partition", found: word.to_owned() }),
        })
    }

    fn quality(&mut self) -> Result<Quality, Problem> {
        Ok(Quality {
            delay_us: self.named("delay")?,
            jitter_us: self.named("jitter")?,
            loss: self.named("loss")?,
            doubled: self.named("doubled")?,
            reordered: self.named("reordered")?,
            late: self.named("late")?,
            late_ms: self.named("late-ms")?,
        })
    }

    fn clock(&mut self) -> Result<ClockFault, Problem> {
        let word = self.next("a clock's fault")?;
        Ok(match word {
            "drift" => ClockFault::Drift(self.number()?),
            "jump" => ClockFault::Jump(self.time()?),
            "wall" => ClockFault::Wall(self.number()?),
            _ => return Err(Problem::NotA { expected: "a clock's fault", found: word.to_owned() }),
        })
    }

    fn disk(&mut self) -> Result<DiskFault, Problem> {
        let word = self.next("a disk's fault")?;
        Ok(match word {
            "slow" => DiskFault::Slow(self.number()?),
            "hang" => DiskFault::Hang,
            "unhang" => DiskFault::Unhang,
            "full" => DiskFault::Full(self.number()?),
            "free" => DiskFault::Free,
            "sync-fails" => DiskFault::SyncFails(self.named("after")?),
            "syncs-fail" => DiskFault::SyncsFail(match self.next("kept or dropped")? {
                "kept" => SyncFate::Kept,
                "dropped" => SyncFate::Dropped,
                other => return Err(Problem::NotA { expected: "kept or dropped", found: other.to_owned() }),
            }),
            "strike" => DiskFault::Strike(self.strike()?),
            _ => return Err(Problem::NotA { expected: "a disk's fault", found: word.to_owned() }),
        })
    }

    fn strike(&mut self) -> Result<Strike, Problem> {
        let word = self.next("a kind of strike")?;
        let known = StrikeKind::WORDS.iter().find(|(_, known)| *known == word);
        let (kind, _) = known.ok_or_else(|| Problem::NotA { expected: "a kind of strike", found: word.to_owned() })?;
        let (after, times) = (self.named("after")?, self.named("times")?);
        Ok(Strike { kind: *kind, after, times, files: self.named("files")? })
    }

    fn rot(&mut self) -> Result<RotPlace, Problem> {
        match self.next("where bits rot")? {
            "log" => Ok(RotPlace::Log),
            "log-both" => Ok(RotPlace::LogBoth),
            "state" => Ok(RotPlace::State),
            other => Err(Problem::NotA { expected: "where bits rot", found: other.to_owned() }),
        }
    }

    fn order(&mut self) -> Result<MemberOrder, Problem> {
        let word = self.next("an order")?;
        let order = match word {
            "add" => MemberOrder::Add,
            "add-learner" => MemberOrder::AddLearner,
            "promote" => MemberOrder::Promote,
            "demote" => MemberOrder::Demote,
            "remove" => MemberOrder::Remove,
            "replace" => MemberOrder::Replace,
            "swap" => MemberOrder::Swap,
            "prefer" => MemberOrder::Prefer,
            "read-lease" => return Ok(MemberOrder::ReadLease(self.named("ticks")?)),
            _ => return Err(Problem::NotA { expected: "an order", found: word.to_owned() }),
        };
        Ok(order(self.target()?))
    }
}
