//! Reading, from any thread, beside the commands that change the state.
//!
//! A question takes the lock only to copy out the layers and the revision; what it reads then does not change under it.

use std::sync::{Arc, RwLock};

use bytes::Bytes;

use crate::command::{Alarm, DeleteRangeReply, FeatureLevel, Member, TxnReply};
use crate::count::{Fences, Outline};
use crate::error::{Failure, KvError};
use crate::events::{self, EventPage};
use crate::hash::{self, HashKv};
use crate::key::{self, Span};
use crate::layers::{View, read};
use crate::lease::{self, LeaseRow};
use crate::membership::{self, Standing};
use crate::pages::RangePages;
use crate::range::{self, Moment};
use crate::request::{
    DeleteRangeRequest, KeyRange, KeyValue, PutRequest, RangeRequest, RangeResult, RequestOp, TxnRequest,
};
use crate::state::{self, State};
use crate::txn::{Executor, Path};

/// What an empty state takes on disk, about.
const PAGES_MIN: u64 = 64 << 10;

/// A handle for questions. Clones share the state.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(crate) state: Arc<RwLock<State>>,
}

/// The layers and revisions at some moment.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    pub view: View,
    pub revision: i64,
    compacted: i64,
}

impl Pinned {
    fn of(state: &State) -> Pinned {
        Pinned { view: state.view.clone(), revision: state.revision, compacted: state.compacted }
    }

    pub(crate) fn moment(&self) -> Moment<'_> {
        Moment { view: &self.view, revision: self.revision, compacted: self.compacted }
    }
}

impl Reader {
    /// Answers a range; also the store's revision when it was read.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`.
    pub fn range(&self, request: &RangeRequest) -> Result<(RangeResult, i64), Failure> {
        let (pinned, outline) = self.pin_range(request);
        Ok((range::range(pinned.moment(), request, outline)?, pinned.revision))
    }

    /// Begins to read a range piece by piece, in the order of keys: the request's order is not looked at.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`.
    pub fn pages(&self, request: RangeRequest) -> Result<RangePages, Failure> {
        let (pinned, outline) = self.pin_range(&request);
        RangePages::begin(self.clone(), pinned, request, outline)
    }

    fn pin_range(&self, request: &RangeRequest) -> (Pinned, Option<Outline>) {
        let state = read(&self.state);
        let latest = request.revision <= 0 || request.revision == state.revision;
        let outline = if latest { outline(&state.fences, &request.range) } else { None };
        (Pinned::of(&state), outline)
    }

    /// Answers a transaction that only reads.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`.
    ///
    /// # Panics
    /// Where an operation writes: such transactions go through the log.
    pub fn txn_read(&self, request: &TxnRequest) -> Result<TxnReply, Failure> {
        let (pinned, outlines) = {
            let state = read(&self.state);
            let mut outlines = Vec::new();
            collect_outlines(&state.fences, request, &mut outlines);
            (Pinned::of(&state), outlines)
        };
        let path = Path::choose(pinned.moment(), request)?;
        path.verify(pinned.moment(), request)?;
        path.execute(request, &mut Reading { moment: pinned.moment(), outlines: &outlines })
    }

    /// The store's revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        read(&self.state).revision
    }

    /// The compacted revision, −1 for never.
    #[must_use]
    pub fn compacted(&self) -> i64 {
        read(&self.state).compacted
    }

    /// Index and term of the last log entry applied.
    #[must_use]
    pub fn applied(&self) -> (u64, u64) {
        let state = read(&self.state);
        (state.index, state.term)
    }

    /// What happened from a revision on: whole revisions until `revisions_max` or `bytes_max` is reached, at least one.
    ///
    /// # Errors
    /// `Compacted` where `from_revision` is below the compacted revision.
    pub fn events(&self, from_revision: i64, revisions_max: usize, bytes_max: usize) -> Result<EventPage, Failure> {
        let pinned = self.pin();
        events::events(pinned.moment(), from_revision, revisions_max, bytes_max)
    }

    /// The granted time to live of a lease, if there is one of that identity.
    ///
    /// # Errors
    /// Where the state file cannot be read.
    pub fn lease(&self, id: i64) -> Result<Option<i64>, KvError> {
        state::lease_ttl(&self.pin().view, id)
    }

    /// All leases with their granted time to live.
    ///
    /// # Errors
    /// Where the state file cannot be read.
    pub fn leases(&self) -> Result<Vec<(i64, i64)>, KvError> {
        Ok(self.lease_rows(i64::MIN, usize::MAX)?.into_iter().map(|(id, lease)| (id, lease.ttl)).collect())
    }

    /// A lease as it is kept, if there is one of that identity.
    ///
    /// # Errors
    /// Where the state file cannot be read.
    pub fn lease_row(&self, id: i64) -> Result<Option<LeaseRow>, KvError> {
        lease::row(&self.pin().view, id)
    }

    /// Leases from an identity on, in order, so many at most.
    ///
    /// # Errors
    /// Where the state file cannot be read.
    pub fn lease_rows(&self, from: i64, count: usize) -> Result<Vec<(i64, LeaseRow)>, KvError> {
        lease::page(&self.pin().view, from, count)
    }

    /// The version that all members know, once one was recorded.
    ///
    /// # Errors
    /// Where the state file cannot be read.
    pub fn cluster_version(&self) -> Result<Option<FeatureLevel>, KvError> {
        state::cluster_row(&self.pin().view, state::VERSION_ROW)
    }

    /// The version that a downgrade is allowed to.
    ///
    /// # Errors
    /// Where the state file cannot be read.
    pub fn downgrade_target(&self) -> Result<Option<FeatureLevel>, KvError> {
        state::cluster_row(&self.pin().view, state::DOWNGRADE_ROW)
    }

    /// All history below this revision is removed from the file.
    #[must_use]
    pub fn swept(&self) -> i64 {
        read(&self.state).view.base.mark().swept
    }

    /// Keys attached to a lease, in order.
    ///
    /// # Errors
    /// Where the state file cannot be read.
    pub fn lease_keys(&self, id: i64) -> Result<Vec<Bytes>, KvError> {
        lease::keys(&self.pin().view, id)
    }

    /// Members as they described themselves, by identity.
    ///
    /// # Errors
    /// Where the state file cannot be read.
    pub fn members(&self) -> Result<Vec<Member>, KvError> {
        membership::members(&self.pin().view)
    }

    /// Identities that are to become members, and those that were, by identity.
    ///
    /// # Errors
    /// Where the state file cannot be read.
    pub fn standings(&self) -> Result<Vec<(u64, Standing)>, KvError> {
        membership::standings(&self.pin().view)
    }

    /// Raised alarms: member and kind.
    ///
    /// # Errors
    /// Where the state file cannot be read.
    pub fn alarms(&self) -> Result<Vec<(u64, Alarm)>, KvError> {
        state::alarms(&self.pin().view)
    }

    /// A checksum of what can be read up to a revision; zero for the latest. Reads everything.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`.
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, Failure> {
        hash::hash_kv(self.pin().moment(), revision)
    }

    /// A checksum of the whole state. Reads everything.
    ///
    /// # Errors
    /// Where the state file cannot be read.
    pub fn hash(&self) -> Result<u32, Failure> {
        hash::hash(self.pin().moment())
    }

    /// Length of the state file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        read(&self.state).view.base.file().allocated()
    }

    /// Bytes that the state takes, and how many of them hold rows. Both are above zero.
    ///
    /// The first is reckoned, not the length of the file: that grows by doubling, with holes, and keeps a second copy of
    /// what the last checkpoint changed, so that it would reach a quota long before the state does.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        let (memory, rows, file) = {
            let state = read(&self.state);
            let memory: usize = state.view.memories().map(|memory| read(memory).bytes()).sum();
            let base = &state.view.base;
            (memory as u64, base.mark().bytes, base.file().allocated())
        };
        // Pages of a tree that is changed at random are about two thirds full.
        let allocated = file.min(rows + rows / 2 + PAGES_MIN) + memory;
        (allocated, (rows + memory).clamp(1, allocated))
    }

    pub(crate) fn pin(&self) -> Pinned {
        Pinned::of(&read(&self.state))
    }
}

fn outline(fences: &Fences, range: &KeyRange) -> Option<Outline> {
    match key::span(range) {
        Span::One(_) => None,
        Span::Many(start, end) => fences.outline(start, end),
    }
}

fn collect_outlines<'r>(fences: &Fences, txn: &'r TxnRequest, outlines: &mut Vec<(&'r KeyRange, Outline)>) {
    for operation in txn.success.iter().chain(&txn.failure) {
        match operation {
            RequestOp::Range(range) => {
                outlines.extend(outline(fences, &range.range).map(|outline| (&range.range, outline)));
            }
            RequestOp::Txn(txn) => collect_outlines(fences, txn, outlines),
            RequestOp::Put(_) | RequestOp::DeleteRange(_) => {} // refused when carried out
        }
    }
}

/// Carries out a transaction that only reads.
struct Reading<'r> {
    moment: Moment<'r>,
    outlines: &'r [(&'r KeyRange, Outline)],
}

impl Executor for Reading<'_> {
    fn range(&mut self, request: &RangeRequest) -> Result<(RangeResult, i64), Failure> {
        let outline = self.outlines.iter().find(|(range, _)| **range == request.range);
        let outline = outline.map(|(_, outline)| outline.clone());
        Ok((range::range(self.moment, request, outline)?, self.moment.revision))
    }

    fn put(&mut self, _: &PutRequest) -> Result<(Option<KeyValue>, i64), Failure> {
        panic!("a transaction that puts goes through the log");
    }

    fn delete_range(&mut self, _: &DeleteRangeRequest) -> Result<(DeleteRangeReply, i64), Failure> {
        panic!("a transaction that deletes goes through the log");
    }

    fn revision(&self) -> i64 {
        self.moment.revision
    }
}
