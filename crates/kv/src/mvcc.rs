//! Writing a revision: new versions of keys, the record of what changed, attachments to leases, and the events.

use bytes::Bytes;

use crate::changes::ChangeKind;
use crate::command::DeleteRangeReply;
use crate::error::{Failure, KvError};
use crate::key::{self, Span};
use crate::layers::{Table, write};
use crate::range::{self, Moment};
use crate::record::{self, Version};
use crate::request::{DeleteRangeRequest, Event, EventKind, KeyRange, KeyValue, PutRequest, RangeRequest, RangeResult};
use crate::state::State;
use crate::txn::Executor;
use crate::versions::Stored;
use crate::visible::Visible;

/// A revision in the making. What it writes is seen by its own reads at once, by others after [`Writing::finish`].
pub(crate) struct Writing<'s> {
    state: &'s mut State,
    events: &'s mut Vec<Event>,
    /// The revision that changes get.
    main: i64,
    /// Changes so far.
    sub: u32,
}

impl<'s> Writing<'s> {
    pub(crate) fn new(state: &'s mut State, events: &'s mut Vec<Event>) -> Writing<'s> {
        let main = state.revision + 1;
        Writing { state, events, main, sub: 0 }
    }

    /// Makes the revision the store's, if anything changed.
    pub(crate) fn finish(self) -> Result<(), KvError> {
        if self.sub > 0 {
            self.state.revision = self.main;
        }
        self.state.fences.settle(&self.state.view, self.main)
    }

    /// Writes a key and says what was there before, if asked.
    pub(crate) fn put_key(&mut self, request: &PutRequest) -> Result<Option<KeyValue>, KvError> {
        let prefix = key::prefix(&request.key);
        let previous = self.state.view.visible(&prefix, self.main)?;
        let (value, lease) = match &previous {
            Some(previous) => (
                if request.ignore_value { &previous.value } else { &request.value },
                if request.ignore_lease { previous.lease } else { request.lease },
            ),
            None => (&request.value, request.lease),
        };
        let (create_revision, version) =
            previous.as_ref().map_or((self.main, 1), |previous| (previous.create_revision, previous.version + 1));
        let row = record::encode(self.main, create_revision, version, lease, value);
        let attached = previous.as_ref().map_or(0, |previous| previous.lease);
        let kind = if previous.is_none() { ChangeKind::Created } else { ChangeKind::Changed };
        self.write(&request.key, &prefix, row, kind, (attached, lease));
        if previous.is_none() {
            self.state.fences.created(&request.key);
        }
        let kv = KeyValue {
            key: request.key.clone(),
            create_revision,
            mod_revision: self.main,
            version,
            value: value.clone(),
            lease,
        };
        let Some(previous) = previous else {
            self.events.push(Event { kind: EventKind::Put, kv, prev_kv: None });
            return Ok(None);
        };
        let replaced = previous.key_value(request.key.clone());
        let reply = request.prev_kv.then(|| replaced.clone());
        let prev_kv = self.before(&prefix, replaced)?;
        self.events.push(Event { kind: EventKind::Put, kv, prev_kv });
        Ok(reply)
    }

    /// Deletes the keys of a range.
    pub(crate) fn delete_keys(&mut self, request: &DeleteRangeRequest) -> Result<DeleteRangeReply, KvError> {
        let mut reply = DeleteRangeReply::default();
        for (key, version) in self.live_in(&request.range)? {
            let previous = self.delete_key(key, &version)?;
            reply.deleted += 1;
            if request.prev_kv {
                reply.prev_kvs.push(previous);
            }
        }
        Ok(reply)
    }

    /// Deletes a key of which `version` is the live version.
    pub(crate) fn delete_key(&mut self, key: Bytes, version: &Version) -> Result<KeyValue, KvError> {
        let prefix = key::prefix(&key);
        self.write(&key, &prefix, record::tombstone(), ChangeKind::Deleted, (version.lease, 0));
        self.state.fences.deleted(&key);
        let previous = version.key_value(key.clone());
        let kv = KeyValue { key, mod_revision: self.main, ..KeyValue::default() };
        let prev_kv = self.before(&prefix, previous.clone())?;
        self.events.push(Event { kind: EventKind::Delete, kv, prev_kv });
        Ok(previous)
    }

    /// What an event shows as the state before: that of the revision before, also where the same revision put the key
    /// that is now replaced (two transactions inside another can do that).
    fn before(&self, prefix: &[u8], replaced: KeyValue) -> Result<Option<KeyValue>, KvError> {
        if replaced.mod_revision < self.main {
            return Ok(Some(replaced));
        }
        let before = self.state.view.visible(prefix, self.main - 1)?;
        Ok(before.map(|version| version.key_value(replaced.key)))
    }

    /// The live keys of a range, with their versions.
    fn live_in(&self, range: &KeyRange) -> Result<Vec<(Bytes, Version)>, KvError> {
        let view = &self.state.view;
        match key::span(range) {
            Span::One(one) => {
                let found = view.live(one, self.main)?;
                Ok(found.into_iter().map(|version| (range.key.clone(), version)).collect())
            }
            Span::Many(start, end) if end.is_some_and(|end| end <= start) => Ok(Vec::new()),
            Span::Many(start, end) => {
                let mut found = Vec::new();
                let mut scan = Visible::new(view, &key::prefix(start), end.map(key::prefix), self.main, 64, true);
                while let Some((prefix, version)) = scan.next()? {
                    found.push((Bytes::from(key::user_key(prefix)), version.clone()));
                }
                Ok(found)
            }
        }
    }

    /// Writes a version and the move from one lease to another (zero for none).
    fn write(&mut self, key: &[u8], prefix: &[u8], row: Bytes, kind: ChangeKind, lease: (i64, i64)) {
        let mut memory = write(&self.state.view.active);
        memory.push(prefix, Stored { place: (self.main, self.sub), row }, kind);
        let (from, to) = lease;
        if from != to {
            if from != 0 {
                memory.put(Table::LeaseKeys, key::lease_key(from, key), None);
            }
            if to != 0 {
                memory.put(Table::LeaseKeys, key::lease_key(to, key), Some(Bytes::new()));
            }
        }
        self.sub += 1;
    }
}

impl Executor for Writing<'_> {
    fn range(&mut self, request: &RangeRequest) -> Result<(RangeResult, i64), Failure> {
        let revision = self.revision();
        let moment = Moment { view: &self.state.view, revision, compacted: self.state.unreadable_below() };
        let outline = match key::span(&request.range) {
            Span::Many(start, end) => self.state.fences.outline(start, end),
            Span::One(_) => None,
        };
        Ok((range::range(moment, request, outline)?, revision))
    }

    fn put(&mut self, request: &PutRequest) -> Result<(Option<KeyValue>, i64), Failure> {
        let previous = self.put_key(request)?;
        Ok((previous, self.main))
    }

    fn delete_range(&mut self, request: &DeleteRangeRequest) -> Result<(DeleteRangeReply, i64), Failure> {
        let reply = self.delete_keys(request)?;
        Ok((reply, self.revision()))
    }

    fn revision(&self) -> i64 {
        if self.sub > 0 { self.main } else { self.main - 1 }
    }
}
