//! What time does to the state, at the leader: leases whose time is over, what is said of others' time, tokens that nobody used.

use std::time::Duration;

use kontiki_kv::{AuthCommand, Command, KvError, Outcome};

use super::StoreMachine;
use crate::calls::LeaseAnswer;
use crate::leases::clock::LeaseClock;
use crate::status::Counters;

impl StoreMachine {
    /// As leader, runs the leases' clock once everything of earlier terms is applied, and goes on taking leases on it: no more
    /// than a turn may.
    pub(super) fn run_clock(&mut self) -> Result<(), KvError> {
        if !self.clock.runs() && self.kv.applied().1 == self.term {
            self.clock.start();
        }
        if let Some((from, count)) = self.clock.wants() {
            let rows = self.kv.reader().lease_rows(from, count)?;
            self.clock.load(&rows);
        }
        Ok(())
    }

    /// Answers a question about a lease, also where it is not on the clock yet. None where this replica does not rule over
    /// leases.
    pub(super) fn ask_clock(
        &mut self,
        id: i64,
        answer: impl Fn(&mut LeaseClock) -> LeaseAnswer,
    ) -> Option<LeaseAnswer> {
        if !self.clock.runs() {
            return None;
        }
        if self.clock.may_lack(id)
            && let Some(row) = self.kv.reader().lease_row(id).ok()?
        {
            self.clock.add(id, row);
        }
        Some(answer(&mut self.clock))
    }

    /// What is due of leases, as commands with the tokens that they are proposed with.
    pub(super) fn lease_commands(&mut self, now: Duration) -> Vec<(u64, Command)> {
        let due = self.clock.due(now);
        let applied = self.kv.applied().0;
        Counters::add(&self.link.counters.leases_expired, due.first as u64);
        let mut commands: Vec<(u64, Command)> =
            due.over.into_iter().map(|id| (self.link.token(), Command::LeaseExpire { applied, id })).collect();
        let token = self.link.token();
        let leases = [due.said, self.clock.take_back(now, token)].concat();
        if !leases.is_empty() {
            commands.push((token, Command::LeaseCheckpoint { applied, leases }));
        }
        commands
    }

    /// The clock of tokens follows what was applied.
    pub(super) fn follow_tokens(&self, command: &AuthCommand, outcome: &Outcome) {
        match command {
            AuthCommand::IssueToken { digest, .. } | AuthCommand::RenewToken { digest } if outcome.result.is_ok() => {
                self.link.tokens.hear(*digest, self.now);
            }
            AuthCommand::ExpireTokens { digests } => self.link.tokens.forget(digests),
            _ => self.link.follow_auth(), // any of them may have switched it, as far as this file cares
        }
    }

    /// What takes old tokens out of the state: the leader's business.
    pub(super) fn old_tokens(&self, now: Duration, leading: bool) -> Option<Command> {
        let over = if leading { self.link.tokens.expired(now) } else { Vec::new() };
        (!over.is_empty()).then_some(Command::Auth(AuthCommand::ExpireTokens { digests: over }))
    }
}
