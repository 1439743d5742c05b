//! What commands do to the model.

use kontiki_kv::{
    Alarm, Command, DeleteRangeReply, DeleteRangeRequest, Event, EventKind, KeyRange, KeyValue, OperationError,
    Outcome, PutRequest, Reply, RequestOp, ResponseOp, TxnReply, TxnRequest,
};

use super::read::{Moment, length, resolve_inside};
use super::{Model, Version};

/// Everything, however new.
const LATEST: i64 = i64::MAX;

/// The path that a transaction's conditions choose.
struct Path<'r> {
    succeeded: bool,
    steps: Vec<Step<'r>>,
}

enum Step<'r> {
    Operation(&'r RequestOp),
    Within(Path<'r>),
}

/// A revision in the making.
struct Work {
    main: i64,
    events: Vec<Event>,
}

impl Work {
    /// The revision that answers show now.
    fn revision(&self) -> i64 {
        if self.events.is_empty() { self.main - 1 } else { self.main }
    }
}

impl Model {
    /// Does what a command says.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        let mut work = Work { main: self.revision + 1, events: Vec::new() };
        let result = self.refusal_by_alarm(command).map_or_else(|| self.carry_out(command, &mut work), Err);
        if !work.events.is_empty() {
            self.revision = work.main;
            self.events.push(work.events.clone());
        }
        Outcome { result, revision: self.revision, events: work.events }
    }

    fn refusal_by_alarm(&self, command: &Command) -> Option<OperationError> {
        if matches!(
            command,
            Command::Alarm { .. }
                | Command::MemberAttributes(_)
                | Command::LeaseCheckpoint { .. }
                | Command::ClusterVersion(_)
                | Command::Downgrade(_)
                | Command::Membership(_)
        ) {
            return None; // otherwise no alarm could be cleared
        }
        let raised = |wanted: Alarm| self.alarms.iter().any(|(alarm, _)| *alarm == wanted);
        if raised(Alarm::Corrupt) {
            return Some(OperationError::Corrupt);
        }
        (takes_space(command) && raised(Alarm::NoSpace)).then_some(OperationError::NoSpace)
    }

    fn carry_out(&mut self, command: &Command, work: &mut Work) -> Result<Reply, OperationError> {
        match command {
            Command::Put(put) => {
                self.check_lease(put)?;
                self.check_kept(put)?;
                Ok(Reply::Put(self.put(put, work)))
            }
            Command::DeleteRange(delete) => Ok(Reply::DeleteRange(self.delete(delete, work))),
            Command::Txn(txn) => {
                let path = self.path(txn);
                self.check_path(&path)?;
                Ok(Reply::Txn(self.walk(&path, work)))
            }
            Command::Compact { revision } if *revision <= self.compacted => Err(OperationError::Compacted),
            Command::Compact { revision } if *revision > self.revision => Err(OperationError::FutureRevision),
            Command::Compact { revision } => {
                self.compacted = *revision;
                Ok(Reply::Compact)
            }
            Command::LeaseGrant { id, .. } if self.leases.contains_key(id) => Err(OperationError::LeaseExists),
            Command::LeaseGrant { id, ttl } => {
                self.leases.insert(*id, *ttl);
                self.granted.insert(*id, self.index);
                Ok(Reply::LeaseGrant { id: *id, ttl: *ttl })
            }
            Command::LeaseExpire { applied, id } if self.granted.get(id).is_some_and(|at| at > applied) => {
                Err(OperationError::LeaseNotFound)
            }
            Command::LeaseRevoke { id } | Command::LeaseExpire { id, .. } => {
                self.leases.remove(id).ok_or(OperationError::LeaseNotFound)?;
                self.granted.remove(id);
                for key in self.lease_keys(*id) {
                    let range = KeyRange { key, ..KeyRange::default() };
                    self.delete(&DeleteRangeRequest { range, prev_kv: false }, work);
                }
                Ok(Reply::LeaseRevoke)
            }
            Command::Alarm { raise, member, alarm } => {
                let alarm = (*alarm, *member);
                let known = if *raise { !self.alarms.insert(alarm) } else { self.alarms.remove(&alarm) };
                Ok(Reply::Alarm(if known || *raise { vec![(alarm.1, alarm.0)] } else { Vec::new() }))
            }
            Command::MemberAttributes(_) => Ok(Reply::MemberAttributes),
            Command::LeaseCheckpoint { .. } => Ok(Reply::LeaseCheckpoint),
            Command::ClusterVersion(_) => Ok(Reply::ClusterVersion),
            Command::Downgrade(_) => Ok(Reply::Downgrade),
            Command::Auth(_) => unreachable!("simulated clients leave authentication alone"),
            Command::Membership(_) => Ok(Reply::Membership),
        }
    }

    fn check_lease(&self, put: &PutRequest) -> Result<(), OperationError> {
        let there = put.lease == 0 || self.leases.contains_key(&put.lease);
        if there { Ok(()) } else { Err(OperationError::LeaseNotFound) }
    }

    fn check_kept(&self, put: &PutRequest) -> Result<(), OperationError> {
        let keeps = put.ignore_value || put.ignore_lease;
        if keeps && self.key_at(&put.key, LATEST).is_none() { Err(OperationError::KeyNotFound) } else { Ok(()) }
    }

    fn put(&mut self, request: &PutRequest, work: &mut Work) -> Option<KeyValue> {
        let previous = self.key_at(&request.key, LATEST).cloned();
        let kv = match &previous {
            Some(old) => KeyValue {
                mod_revision: work.main,
                version: old.version + 1,
                value: if request.ignore_value { old.value.clone() } else { request.value.clone() },
                lease: if request.ignore_lease { old.lease } else { request.lease },
                ..old.clone()
            },
            None => KeyValue {
                key: request.key.clone(),
                create_revision: work.main,
                mod_revision: work.main,
                version: 1,
                value: request.value.clone(),
                lease: request.lease,
            },
        };
        self.write(EventKind::Put, kv, previous.as_ref(), work);
        previous.filter(|_| request.prev_kv)
    }

    fn delete(&mut self, request: &DeleteRangeRequest, work: &mut Work) -> DeleteRangeReply {
        let gone: Vec<KeyValue> = self.within(&request.range, LATEST).cloned().collect();
        for kv in &gone {
            let tombstone = KeyValue { key: kv.key.clone(), mod_revision: work.main, ..KeyValue::default() };
            self.write(EventKind::Delete, tombstone, Some(kv), work);
        }
        DeleteRangeReply { deleted: length(gone.len()), prev_kvs: if request.prev_kv { gone } else { Vec::new() } }
    }

    fn write(&mut self, kind: EventKind, kv: KeyValue, replaced: Option<&KeyValue>, work: &mut Work) {
        // An event shows the state of the revision before, even where this revision has changed the key already.
        let prev_kv = self.key_at(&kv.key, work.main - 1).cloned();
        if let Some(old) = replaced.filter(|old| old.lease != 0) {
            self.attached.remove(&(old.lease, old.key.clone()));
        }
        if kv.lease != 0 {
            self.attached.insert((kv.lease, kv.key.clone()));
        }
        let version = Version { revision: work.main, kv: (kind == EventKind::Put).then(|| kv.clone()) };
        let versions = self.keys.entry(kv.key.clone()).or_default();
        if versions.last().is_some_and(|last| last.revision == work.main) {
            versions.pop();
        }
        versions.push(version);
        work.events.push(Event { kind, kv, prev_kv });
    }

    /// All conditions are looked at before anything is done.
    fn path<'r>(&self, request: &'r TxnRequest) -> Path<'r> {
        let succeeded = self.all_hold(request, LATEST);
        let operations = if succeeded { &request.success } else { &request.failure };
        let step = |operation: &'r RequestOp| match operation {
            RequestOp::Txn(within) => Step::Within(self.path(within)),
            RequestOp::Range(_) | RequestOp::Put(_) | RequestOp::DeleteRange(_) => Step::Operation(operation),
        };
        Path { succeeded, steps: operations.iter().map(step).collect() }
    }

    fn check_path(&self, path: &Path<'_>) -> Result<(), OperationError> {
        let moment = Moment { revision: self.revision, compacted: self.compacted };
        path.steps.iter().try_for_each(|step| match step {
            Step::Operation(RequestOp::Put(put)) => self.check_kept(put).and_then(|()| self.check_lease(put)),
            Step::Operation(RequestOp::Range(range)) => resolve_inside(range.revision, moment).map(|_| ()),
            Step::Operation(_) => Ok(()),
            Step::Within(path) => self.check_path(path),
        })
    }

    fn walk(&mut self, path: &Path<'_>, work: &mut Work) -> TxnReply {
        let mut responses = Vec::with_capacity(path.steps.len());
        for step in &path.steps {
            responses.push(match step {
                Step::Operation(RequestOp::Range(range)) => {
                    let at = if range.revision > 0 { range.revision } else { LATEST };
                    ResponseOp::Range(self.find(range, at).to_result(), work.revision())
                }
                Step::Operation(RequestOp::Put(put)) => ResponseOp::Put(self.put(put, work), work.main),
                Step::Operation(RequestOp::DeleteRange(delete)) => {
                    let reply = self.delete(delete, work);
                    ResponseOp::DeleteRange(reply, work.revision())
                }
                Step::Operation(RequestOp::Txn(_)) => unreachable!("transactions within have a path of their own"),
                Step::Within(path) => ResponseOp::Txn(self.walk(path, work)),
            });
        }
        TxnReply { succeeded: path.succeeded, revision: work.revision(), responses }
    }
}

/// Whether a command may make the database larger.
fn takes_space(command: &Command) -> bool {
    fn txn_takes_space(txn: &TxnRequest) -> bool {
        txn.success.iter().chain(&txn.failure).any(|operation| match operation {
            RequestOp::Put(_) => true,
            RequestOp::Txn(within) => txn_takes_space(within),
            RequestOp::Range(_) | RequestOp::DeleteRange(_) => false,
        })
    }
    match command {
        Command::Put(_) | Command::LeaseGrant { .. } => true,
        Command::Txn(txn) => txn_takes_space(txn),
        Command::DeleteRange(_)
        | Command::Compact { .. }
        | Command::LeaseRevoke { .. }
        | Command::Alarm { .. }
        | Command::MemberAttributes(_)
        | Command::LeaseCheckpoint { .. }
        | Command::LeaseExpire { .. }
        | Command::ClusterVersion(_)
        | Command::Downgrade(_)
        | Command::Auth(_)
        | Command::Membership(_) => false,
    }
}
