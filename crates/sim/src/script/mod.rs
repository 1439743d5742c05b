//! Faults as data: what happens to a cluster and when, in a form that is drawn from a seed, printed, read, and shortened.

mod action;
mod parse;
mod print;

use std::time::Duration;

pub use action::{Action, ClockFault, DiskFault, MemberOrder, RotPlace, Shape, Strike, StrikeKind, SyncFate, Target};
pub use parse::{Problem, ScriptError};

/// One line of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, in virtual time, to the microsecond.
    pub at: Duration,
    /// What.
    pub action: Action,
}

/// What happens to a cluster. Lines of the same time happen in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The lines, by time.
    pub lines: Vec<Line>,
}

impl Script {
    /// Adds a line.
    pub fn add(&mut self, at: Duration, action: Action) {
        self.lines.push(Line { at: Duration::from_micros(at.as_micros() as u64), action });
    }

    /// Brings the lines into the order of their times.
    pub fn sort(&mut self) {
        self.lines.sort_by_key(|line| line.at);
    }
}
