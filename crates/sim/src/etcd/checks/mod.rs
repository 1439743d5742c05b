//! What etcd promises its clients, checked over a whole run: the history of what they saw, and the committed log.
//!
//! Each file checks one promise and can be used alone. All of them compare with the [`Replay`] of the log, so they find what
//! clients were told that is not so, and what was committed that nobody asked for. That the members' logs themselves agree
//! is the business of the checkers of Raft.

pub mod durability;
pub mod equal_states;
mod known;
mod lease_lives;
pub mod leases;
pub mod linearizable;
pub mod locks;
pub mod per_key;
pub mod revision_order;
#[cfg(test)]
mod tests;
pub mod watch;

use std::ops::Range;
use std::time::Duration;

use super::history::{Call, History};
use super::replay::Replay;
use crate::observation::Violation;

/// What a run permits; times are bounds, not wishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The members' election timeout: how much more time than granted a new leader gives to leases.
    pub election_timeout: Duration,
    /// For how long after a leader has begun another one may still answer for leases, because it was cut off and does not know.
    /// Zero is the strict reading; a leader without a quorum gives up within an election timeout.
    pub leader_doubt: Duration,
    /// While nobody could expire a lease: no leader, no quorum, or the leader's process or disk hung.
    pub unavailable: Vec<Range<Duration>>,
    /// For how long a question may be on its way from the member that was asked to the leader: what is still on its way when
    /// the client gives up is done all the same.
    pub question_way: Duration,
    /// How much faster or slower than true time a member's clock may run, in parts of a thousand.
    pub clock_drift_permille: u32,
}

/// Checks everything.
///
/// # Errors
/// The first violation, of the promise that says most about its cause.
pub fn all(history: &History, limits: &Limits) -> Result<(), Violation> {
    let replay = Replay::of(history)?;
    durability::check(history, &replay)?;
    linearizable::check(history, &replay)?;
    revision_order::check(history, &replay)?;
    watch::check(history, &replay)?;
    leases::check(history, &replay, limits)?;
    locks::check(history, &replay, limits)?;
    per_key::check(history, &replay)
}

/// A violation that a call shows.
fn shown_by(property: &'static str, call: &Call, why: impl std::fmt::Display) -> Violation {
    let Call { client, member, invoked, ended, request, answer } = call;
    let what = format!(
        "{why}; client {client} asked member {} from {invoked:?} to {ended:?} for {request:?} and was told {answer:?}",
        member.0
    );
    Violation { property, at: *ended, what }
}
