//! The state that commands change, and how each kind of command does.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::auth::{self, Auth, Proposer};
use crate::base::{Base, Mark};
use crate::codec::{alarm_byte, alarm_of, decode_level, encode_level};
use crate::command::{Alarm, Command, FeatureLevel, Outcome, Reply};
use crate::count::Fences;
use crate::digest::Digest;
use crate::error::{Failure, KvError, OperationError};

use crate::layers::{Table, View, write};
use crate::mvcc::Writing;
use crate::planted::planted;
use crate::range::Moment;
use crate::request::{DeleteRangeRequest, Event, PutRequest, TxnRequest};
use crate::scan::Scan;
use crate::txn::{self, Path};
use crate::{check, compact, lease, membership};

/// The row of the version that all members know.
pub(crate) const VERSION_ROW: &[u8] = b"version";
/// The row of the version that a downgrade is allowed to.
pub(crate) const DOWNGRADE_ROW: &[u8] = b"downgrade";

/// Everything that commands change.
#[derive(Debug)]
pub(crate) struct State {
    pub view: View,
    /// Position of the last log entry applied.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The store's revision.
    pub revision: i64,
    /// The compacted revision, −1 for never.
    pub compacted: i64,
    pub fences: Fences,
    /// Over everything that was applied.
    pub digest: Digest,
    /// Users, roles and tokens, also in their tables.
    pub auth: Auth,
    /// Raised alarms, also in their table; looked at by every command.
    alarms: BTreeSet<(Alarm, u64)>,
    /// A command failed half way: nothing may be applied on top.
    stopped: bool,
}

impl State {
    /// As the checkpoint left it.
    pub(crate) fn open(base: Base) -> Result<State, KvError> {
        let Mark { index, term, revision, compacted, digest, .. } = *base.mark();
        let view = View::of_base(Arc::new(base));
        let fences = Fences::load(&view)?;
        let alarms = alarms(&view)?.into_iter().map(|(member, alarm)| (alarm, member)).collect();
        let digest = Digest::of(digest);
        let auth = Auth::load(&view)?;
        Ok(State { view, index, term, revision, compacted, fences, digest, auth, alarms, stopped: false })
    }

    /// What reads see between commands.
    pub(crate) fn moment(&self) -> Moment<'_> {
        Moment { view: &self.view, revision: self.revision, compacted: self.unreadable_below() }
    }

    /// Commands read nothing below this revision, on whichever member: not what a member's file has lost already, but what
    /// the log has compacted.
    pub(crate) fn unreadable_below(&self) -> i64 {
        if planted(59) { self.view.base.mark().compacted } else { self.compacted }
    }

    /// Notes that everything up to an entry is applied.
    pub(crate) fn advance(&mut self, index: u64, term: u64) {
        let next = if planted(54) && index == self.index { index } else { self.index + 1 };
        assert_eq!(index, next, "entries are applied in order, each once");
        self.index = index;
        self.term = term;
    }

    /// Applies an entry that was proposed in somebody's name.
    pub(crate) fn apply(
        &mut self,
        index: u64,
        term: u64,
        proposer: &Proposer,
        command: &Command,
    ) -> Result<Outcome, KvError> {
        if self.stopped {
            return Err(KvError::Stopped);
        }
        self.advance(index, term);
        let mut events = Vec::new();
        let result = match self.carry_out(proposer, command, &mut events) {
            Ok(reply) => Ok(reply),
            Err(Failure::Operation(refusal)) => Err(refusal),
            Err(Failure::Storage(error)) => {
                self.stopped = true;
                return Err(error);
            }
        };
        let outcome = Outcome { result, revision: self.revision, events };
        self.digest.add(index, self.compacted, command, &outcome);
        Ok(outcome)
    }

    fn carry_out(&mut self, proposer: &Proposer, command: &Command, events: &mut Vec<Event>) -> Result<Reply, Failure> {
        auth::admit(&self.auth, &self.view, proposer, command)?;
        self.refuse_by_alarm(command)?;
        match command {
            Command::Put(request) => self.put(request, events),
            Command::DeleteRange(request) => self.delete_range(request, events),
            Command::Txn(request) => self.txn(request, events),
            Command::Compact { revision } => compact::apply(self, *revision),
            Command::LeaseGrant { id, ttl } => lease::grant(self, *id, *ttl),
            Command::LeaseRevoke { id } => lease::revoke(self, *id, events),
            Command::Alarm { raise, member, alarm } => Ok(self.alarm(*raise, *member, *alarm)),
            Command::MemberAttributes(member) => membership::describe(self, member),
            Command::Membership(command) => membership::apply(self, command),
            Command::LeaseExpire { applied, id } => lease::expire(self, *applied, *id, events),
            Command::LeaseCheckpoint { applied, leases } => lease::checkpoint(self, *applied, leases),
            Command::ClusterVersion(level) => {
                self.write_row(Table::Cluster, VERSION_ROW, Some(encode_level(*level)));
                Ok(Reply::ClusterVersion)
            }
            Command::Downgrade(target) => {
                self.write_row(Table::Cluster, DOWNGRADE_ROW, target.map(encode_level));
                Ok(Reply::Downgrade)
            }
            Command::Auth(command) => Ok(Reply::Auth(auth::apply(self, command)?)),
        }
    }

    /// Writes a row of a table that has no history.
    pub(crate) fn write_row(&mut self, table: Table, key: &[u8], value: Option<Bytes>) {
        write(&self.view.active).put(table, key.into(), value);
    }

    fn refuse_by_alarm(&self, command: &Command) -> Result<(), OperationError> {
        if self.alarms.is_empty() {
            return Ok(());
        }
        let raised = |wanted| self.alarms.iter().any(|(alarm, _)| *alarm == wanted);
        let mutates = match command {
            Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Txn(_)
            | Command::Compact { .. }
            | Command::LeaseGrant { .. }
            | Command::LeaseRevoke { .. }
            | Command::LeaseExpire { .. } => true,
            // Otherwise an alarm could never be cleared.
            Command::Alarm { .. }
            | Command::MemberAttributes(_)
            | Command::LeaseCheckpoint { .. }
            | Command::ClusterVersion(_)
            | Command::Downgrade(_)
            | Command::Auth(_)
            | Command::Membership(_) => false,
        };
        if mutates && raised(Alarm::Corrupt) {
            return Err(OperationError::Corrupt);
        }
        if check::cost(command) > 0 && raised(Alarm::NoSpace) {
            return Err(OperationError::NoSpace);
        }
        Ok(())
    }

    fn put(&mut self, request: &PutRequest, events: &mut Vec<Event>) -> Result<Reply, Failure> {
        txn::verify_lease(self.moment(), request)?;
        txn::verify_kept(self.moment(), request)?;
        let mut writing = Writing::new(self, events);
        let previous = writing.put_key(request)?;
        writing.finish()?;
        Ok(Reply::Put(previous))
    }

    fn delete_range(&mut self, request: &DeleteRangeRequest, events: &mut Vec<Event>) -> Result<Reply, Failure> {
        let mut writing = Writing::new(self, events);
        let reply = writing.delete_keys(request)?;
        writing.finish()?;
        Ok(Reply::DeleteRange(reply))
    }

    fn txn(&mut self, request: &TxnRequest, events: &mut Vec<Event>) -> Result<Reply, Failure> {
        let path = Path::choose(self.moment(), request)?;
        path.verify(self.moment(), request)?;
        let mut writing = Writing::new(self, events);
        let reply = path.execute(request, &mut writing)?;
        writing.finish()?;
        Ok(Reply::Txn(reply))
    }

    fn alarm(&mut self, raise: bool, member: u64, alarm: Alarm) -> Reply {
        let changed = if raise { self.alarms.insert((alarm, member)) } else { self.alarms.remove(&(alarm, member)) };
        if !changed {
            // Raising it once more is answered as the first time, clearing it is not.
            return Reply::Alarm(if raise { vec![(member, alarm)] } else { Vec::new() });
        }
        let mut row = [alarm_byte(alarm); 9];
        row[1..].copy_from_slice(&member.to_be_bytes());
        self.write_row(Table::Alarms, &row, raise.then(Bytes::new));
        Reply::Alarm(vec![(member, alarm)])
    }
}

/// Raised alarms, by kind, then member.
pub(crate) fn alarms(view: &View) -> Result<Vec<(u64, Alarm)>, KvError> {
    let mut alarms = Vec::new();
    let mut scan = Scan::new(view, Table::Alarms, &[], None);
    while let Some((row, _)) = scan.next()? {
        let alarm = row.split_first().and_then(|(kind, member)| {
            let member = u64::from_be_bytes(member.try_into().ok()?);
            Some((member, alarm_of(*kind)?))
        });
        alarms.push(alarm.ok_or(KvError::Damaged { table: Table::Alarms, what: "unknown key" })?);
    }
    Ok(alarms)
}

/// A version in the table of the cluster.
pub(crate) fn cluster_row(view: &View, row: &[u8]) -> Result<Option<FeatureLevel>, KvError> {
    let damaged = |_| KvError::Damaged { table: Table::Cluster, what: "unreadable version" };
    view.get(Table::Cluster, row)?.map(|level| decode_level(&level).map_err(damaged)).transpose()
}

/// Whether a lease exists, and its time to live.
pub(crate) fn lease_ttl(view: &View, id: i64) -> Result<Option<i64>, KvError> {
    Ok(lease::row(view, id)?.map(|lease| lease.ttl))
}
