//! The state machine written the simple way: a whole copy of all keys for every revision.

use std::collections::BTreeMap;

use super::*;

type Keys = BTreeMap<Bytes, KeyValue>;

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub revision: i64,
    pub compacted: i64,
    states: BTreeMap<i64, Keys>,
    events: BTreeMap<i64, Vec<Event>>,
    pub leases: BTreeMap<i64, i64>,
    alarms: Vec<Alarm>,
}

/// A revision in the making.
struct Work {
    keys: Keys,
    events: Vec<Event>,
    start: Keys,
    before: i64,
}

impl Work {
    fn revision(&self) -> i64 {
        self.before + i64::from(!self.events.is_empty())
    }
}

impl Model {
    pub(crate) fn new() -> Model {
        Model {
            revision: 1,
            compacted: -1,
            states: BTreeMap::from([(1, Keys::new())]),
            events: BTreeMap::new(),
            leases: BTreeMap::new(),
            alarms: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Outcome {
        let start = self.states[&self.revision].clone();
        let mut work = Work { keys: start.clone(), events: Vec::new(), start, before: self.revision };
        let result = self.carry_out(command, &mut work);
        if result.is_ok() && !work.events.is_empty() {
            self.revision += 1;
            self.states.insert(self.revision, work.keys);
            self.events.insert(self.revision, work.events.clone());
        }
        let events = if result.is_ok() { work.events } else { Vec::new() };
        Outcome { result, revision: self.revision, events }
    }

    fn carry_out(&mut self, command: &Command, work: &mut Work) -> Result<Reply, OperationError> {
        let free = matches!(
            command,
            Command::Alarm { .. }
                | Command::MemberAttributes(_)
                | Command::LeaseCheckpoint { .. }
                | Command::ClusterVersion(_)
                | Command::Downgrade(_)
                | Command::Membership(_)
        );
        if !free && self.alarms.contains(&Alarm::Corrupt) {
            return Err(OperationError::Corrupt);
        }
        if cost(command) > 0 && self.alarms.contains(&Alarm::NoSpace) {
            return Err(OperationError::NoSpace);
        }
        Ok(match command {
            Command::Put(request) => {
                if request.lease != 0 && !self.leases.contains_key(&request.lease) {
                    return Err(OperationError::LeaseNotFound);
                }
                if (request.ignore_lease || request.ignore_value) && !work.keys.contains_key(&request.key) {
                    return Err(OperationError::KeyNotFound);
                }
                Reply::Put(put(work, request))
            }
            Command::DeleteRange(request) => Reply::DeleteRange(delete(work, request)),
            Command::Txn(request) => Reply::Txn(self.txn(work, request)?),
            Command::Compact { revision } => {
                if *revision <= self.compacted {
                    return Err(OperationError::Compacted);
                }
                if *revision > self.revision {
                    return Err(OperationError::FutureRevision);
                }
                self.compacted = *revision;
                Reply::Compact
            }
            Command::LeaseGrant { id, ttl } => {
                if self.leases.contains_key(id) {
                    return Err(OperationError::LeaseExists);
                }
                self.leases.insert(*id, *ttl);
                Reply::LeaseGrant { id: *id, ttl: *ttl }
            }
            Command::LeaseRevoke { id } | Command::LeaseExpire { id, .. } => {
                self.leases.remove(id).ok_or(OperationError::LeaseNotFound)?;
                for key in self.lease_keys(*id) {
                    delete(
                        work,
                        &DeleteRangeRequest { range: KeyRange { key, range_end: Bytes::new() }, prev_kv: false },
                    );
                }
                Reply::LeaseRevoke
            }
            Command::Alarm { raise, member, alarm } => {
                let known = self.alarms.contains(alarm);
                self.alarms.retain(|known| known != alarm);
                self.alarms.extend(raise.then_some(*alarm));
                Reply::Alarm(if known || *raise { vec![(*member, *alarm)] } else { vec![] })
            }
            Command::MemberAttributes(_) => Reply::MemberAttributes,
            Command::LeaseCheckpoint { .. } => Reply::LeaseCheckpoint,
            Command::ClusterVersion(_) => Reply::ClusterVersion,
            Command::Downgrade(_) => Reply::Downgrade,
            Command::Auth(_) => unreachable!("users and roles have tests of their own"),
            Command::Membership(_) => Reply::Membership,
        })
    }

    pub(crate) fn lease_keys(&self, id: i64) -> Vec<Bytes> {
        let attached = self.states[&self.revision].values().filter(|kv| kv.lease == id);
        attached.map(|kv| kv.key.clone()).collect()
    }

    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeResult, OperationError> {
        self.range_in(&self.states[&self.revision], self.revision, request)
    }

    fn range_in(&self, latest: &Keys, revision: i64, request: &RangeRequest) -> Result<RangeResult, OperationError> {
        if request.revision > revision {
            return Err(OperationError::FutureRevision);
        }
        let at = if request.revision <= 0 { revision } else { request.revision };
        if at < self.compacted {
            return Err(OperationError::Compacted);
        }
        let keys = if at == revision { latest } else { &self.states[&at] };
        let mut kvs = within(keys, &request.range);
        let count = kvs.len() as i64;
        if request.count_only {
            return Ok(RangeResult { kvs: vec![], more: false, count });
        }
        let bounds = [
            (request.min_mod_revision, request.max_mod_revision),
            (request.min_create_revision, request.max_create_revision),
        ];
        let limit = if request.limit > 0 { request.limit as usize } else { usize::MAX };
        if request.sort_order == SortOrder::None && bounds == [(0, 0); 2] {
            kvs.truncate(limit.saturating_add(1));
        }
        kvs.retain(|kv| {
            let values = [kv.mod_revision, kv.create_revision];
            std::iter::zip(values, bounds).all(|(v, (min, max))| (min == 0 || v >= min) && (max == 0 || v <= max))
        });
        match request.sort_target {
            SortTarget::Key => {}
            SortTarget::Version => kvs.sort_by_key(|kv| kv.version),
            SortTarget::Create => kvs.sort_by_key(|kv| kv.create_revision),
            SortTarget::Mod => kvs.sort_by_key(|kv| kv.mod_revision),
            SortTarget::Value => kvs.sort_by_key(|kv| kv.value.clone()),
        }
        if request.sort_order == SortOrder::Descend {
            match request.sort_target {
                SortTarget::Key => kvs.reverse(),
                SortTarget::Version => kvs.sort_by_key(|kv| -kv.version),
                SortTarget::Create => kvs.sort_by_key(|kv| -kv.create_revision),
                SortTarget::Mod => kvs.sort_by_key(|kv| -kv.mod_revision),
                SortTarget::Value => kvs.sort_by(|a, b| b.value.cmp(&a.value)),
            }
        }
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
            if request.sort_target != SortTarget::Value {
                kvs.iter_mut().for_each(|kv| kv.lease = 0);
            }
        }
        Ok(RangeResult { kvs, more, count })
    }

    /// All events from a revision on that are readable, with what was before them where that is.
    pub(crate) fn events(&self, from: i64) -> Result<Vec<(i64, Vec<Event>)>, OperationError> {
        if from < self.compacted {
            return Err(OperationError::Compacted);
        }
        let readable = |(revision, events): (&i64, &Vec<Event>)| {
            let mut events = events.clone();
            if *revision - 1 < self.compacted {
                events.iter_mut().for_each(|event| event.prev_kv = None);
            }
            (*revision, events)
        };
        Ok(self.events.range(from..).map(readable).collect())
    }

    fn txn(&self, work: &mut Work, request: &TxnRequest) -> Result<TxnReply, OperationError> {
        let before = self.states[&self.revision].clone();
        let mut chosen = Vec::new();
        self.flatten(&before, request, &mut chosen);
        for operation in &chosen {
            if let RequestOp::Put(put) = operation {
                if (put.ignore_lease || put.ignore_value) && !before.contains_key(&put.key) {
                    return Err(OperationError::KeyNotFound);
                }
                if put.lease != 0 && !self.leases.contains_key(&put.lease) {
                    return Err(OperationError::LeaseNotFound);
                }
            }
            if let RequestOp::Range(range) = operation {
                match range.revision {
                    revision if revision < 0 => return Err(OperationError::Compacted),
                    revision => self.range_in(&before, self.revision, &at(revision, range.clone())).map(|_| ())?,
                }
            }
        }
        self.execute(&before, work, request)
    }

    /// The operations on the path, those of transactions within after the transaction.
    fn flatten<'r>(&self, before: &Keys, request: &'r TxnRequest, chosen: &mut Vec<&'r RequestOp>) {
        let succeeded = request.compare.iter().all(|compare| holds(before, compare));
        for operation in if succeeded { &request.success } else { &request.failure } {
            chosen.push(operation);
            if let RequestOp::Txn(txn) = operation {
                self.flatten(before, txn, chosen);
            }
        }
    }

    fn execute(&self, before: &Keys, work: &mut Work, request: &TxnRequest) -> Result<TxnReply, OperationError> {
        let succeeded = request.compare.iter().all(|compare| holds(before, compare));
        let mut responses = Vec::new();
        for operation in if succeeded { &request.success } else { &request.failure } {
            responses.push(match operation {
                RequestOp::Range(range) => {
                    ResponseOp::Range(self.range_in(&work.keys, work.revision(), range)?, work.revision())
                }
                RequestOp::Put(request) => {
                    let previous = put(work, request);
                    ResponseOp::Put(previous, work.revision())
                }
                RequestOp::DeleteRange(request) => {
                    let reply = delete(work, request);
                    ResponseOp::DeleteRange(reply, work.revision())
                }
                RequestOp::Txn(txn) => ResponseOp::Txn(self.execute(before, work, txn)?),
            });
        }
        Ok(TxnReply { succeeded, revision: work.revision(), responses })
    }
}

fn within(keys: &Keys, range: &KeyRange) -> Vec<KeyValue> {
    let inside = |key: &Bytes| match &range.range_end[..] {
        b"" => *key == range.key,
        b"\0" => *key >= range.key,
        end => *key >= range.key && key[..] < *end,
    };
    keys.values().filter(|kv| inside(&kv.key)).cloned().collect()
}

fn put(work: &mut Work, request: &PutRequest) -> Option<KeyValue> {
    let previous = work.keys.get(&request.key).cloned();
    let revision = work.before + 1;
    let old = previous.clone().unwrap_or(KeyValue { create_revision: revision, ..KeyValue::default() });
    let kv = KeyValue {
        key: request.key.clone(),
        create_revision: old.create_revision,
        mod_revision: revision,
        version: old.version + 1,
        value: if request.ignore_value { old.value } else { request.value.clone() },
        lease: if request.ignore_lease { old.lease } else { request.lease },
    };
    work.keys.insert(request.key.clone(), kv.clone());
    work.events.push(Event { kind: EventKind::Put, kv, prev_kv: work.start.get(&request.key).cloned() });
    previous.filter(|_| request.prev_kv)
}

fn delete(work: &mut Work, request: &DeleteRangeRequest) -> DeleteRangeReply {
    let gone = within(&work.keys, &request.range);
    for kv in &gone {
        work.keys.remove(&kv.key);
        let tombstone = KeyValue { key: kv.key.clone(), mod_revision: work.before + 1, ..KeyValue::default() };
        work.events.push(Event { kind: EventKind::Delete, kv: tombstone, prev_kv: work.start.get(&kv.key).cloned() });
    }
    DeleteRangeReply { deleted: gone.len() as i64, prev_kvs: if request.prev_kv { gone } else { vec![] } }
}

fn holds(keys: &Keys, compare: &Compare) -> bool {
    let mut found = within(keys, &compare.range);
    if found.is_empty() {
        if matches!(compare.target, CompareTarget::Value(_)) {
            return false;
        }
        found.push(KeyValue::default());
    }
    found.iter().all(|kv| {
        let order = match &compare.target {
            CompareTarget::Version(given) => kv.version.cmp(given),
            CompareTarget::CreateRevision(given) => kv.create_revision.cmp(given),
            CompareTarget::ModRevision(given) => kv.mod_revision.cmp(given),
            CompareTarget::Value(given) => kv.value.cmp(given),
            CompareTarget::Lease(given) => kv.lease.cmp(given),
        };
        match compare.result {
            CompareResult::Equal => order.is_eq(),
            CompareResult::Greater => order.is_gt(),
            CompareResult::Less => order.is_lt(),
            CompareResult::NotEqual => order.is_ne(),
        }
    })
}
