//! The model's answers to questions: ranges, and transactions that only read, as of any revision.

use bytes::Bytes;
use kontiki_kv::{
    Compare, CompareResult, CompareTarget, KeyValue, OperationError, RangeRequest, RangeResult, RequestOp, ResponseOp,
    SortOrder, SortTarget, TxnReply, TxnRequest,
};

use super::Model;

/// As of when a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The store's revision then.
    pub revision: i64,
    /// The compacted revision then; −1 for never, or where it does not matter.
    pub compacted: i64,
}

/// A range's answer, in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'m> {
    kvs: Vec<&'m KeyValue>,
    more: bool,
    count: i64,
    shown: Shown,
}

/// What of each key an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    All,
    WithoutValue,
    WithoutValueAndLease,
}

impl Shown {
    fn by(request: &RangeRequest) -> Shown {
        match (request.keys_only, request.sort_target) {
            (false, _) => Shown::All,
            (true, SortTarget::Value) => Shown::WithoutValue,
            (true, _) => Shown::WithoutValueAndLease,
        }
    }

    fn of(self, kv: &KeyValue) -> KeyValue {
        let kv = kv.clone();
        match self {
            Shown::All => kv,
            Shown::WithoutValue => KeyValue { value: Bytes::new(), ..kv },
            Shown::WithoutValueAndLease => KeyValue { value: Bytes::new(), lease: 0, ..kv },
        }
    }
}

impl Moment {
    /// The revision that a request means, if it can be read.
    fn resolve(self, revision: i64) -> Result<i64, OperationError> {
        match revision {
            ..=0 => Ok(self.revision),
            future if future > self.revision => Err(OperationError::FutureRevision),
            past if past < self.compacted => Err(OperationError::Compacted),
            readable => Ok(readable),
        }
    }
}

impl Model {
    /// Answers a range.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`.
    pub fn range(&self, request: &RangeRequest, moment: Moment) -> Result<Found<'_>, OperationError> {
        Ok(self.find(request, moment.resolve(request.revision)?))
    }

    /// Answers a range as of a revision that can be read.
    pub(super) fn find(&self, request: &RangeRequest, revision: i64) -> Found<'_> {
        let shown = Shown::by(request);
        if request.count_only {
            let count = length(self.within(&request.range, revision).count());
            return Found { kvs: Vec::new(), more: false, count, shown };
        }
        let mut kvs: Vec<&KeyValue> = self.within(&request.range, revision).collect();
        let count = length(kvs.len());
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let filtered = [
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        ] != [0; 4];
        if request.sort_order == SortOrder::None && !filtered {
            kvs.truncate(limit.saturating_add(1)); // etcd cuts by key first here, even where it then sorts by another target
        }
        kvs.retain(|kv| {
            let (modified, created) = (kv.mod_revision, kv.create_revision);
            (request.min_mod_revision == 0 || modified >= request.min_mod_revision)
                && (request.max_mod_revision == 0 || modified <= request.max_mod_revision)
                && (request.min_create_revision == 0 || created >= request.min_create_revision)
                && (request.max_create_revision == 0 || created <= request.max_create_revision)
        });
        sort(request, &mut kvs);
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        Found { kvs, more, count, shown }
    }

    /// Answers a transaction that only reads.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`; `KeyNotFound` where an operation is no range.
    pub fn txn_read(&self, request: &TxnRequest, moment: Moment) -> Result<TxnReply, OperationError> {
        let succeeded = self.all_hold(request, moment.revision);
        let operations = if succeeded { &request.success } else { &request.failure };
        let respond = |operation: &RequestOp| match operation {
            RequestOp::Range(range) => {
                let at = resolve_inside(range.revision, moment)?;
                Ok(ResponseOp::Range(self.find(range, at).to_result(), moment.revision))
            }
            RequestOp::Put(_) | RequestOp::DeleteRange(_) | RequestOp::Txn(_) => Err(OperationError::KeyNotFound),
        };
        let responses = operations.iter().map(respond).collect::<Result<_, _>>()?;
        Ok(TxnReply { succeeded, revision: moment.revision, responses })
    }

    /// Whether all conditions of a transaction hold as of a revision.
    pub(super) fn all_hold(&self, request: &TxnRequest, revision: i64) -> bool {
        request.compare.iter().all(|compare| self.holds(compare, revision))
    }

    fn holds(&self, compare: &Compare, revision: i64) -> bool {
        let mut found = self.within(&compare.range, revision).peekable();
        if found.peek().is_some() {
            return found.all(|kv| satisfies(kv, compare));
        }
        // Nothing there counts as zeros; a value that is not there satisfies nothing.
        !matches!(compare.target, CompareTarget::Value(_)) && satisfies(&KeyValue::default(), compare)
    }
}

/// Inside a transaction a revision below zero is a compacted one, not the latest.
pub(super) fn resolve_inside(revision: i64, moment: Moment) -> Result<i64, OperationError> {
    if revision < 0 { Err(OperationError::Compacted) } else { moment.resolve(revision) }
}

fn satisfies(kv: &KeyValue, compare: &Compare) -> bool {
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
}

/// Keys that are equal in what is sorted by stay in their own order.
fn sort(request: &RangeRequest, kvs: &mut [&KeyValue]) {
    let descend = request.sort_order == SortOrder::Descend;
    let by = |a: &&KeyValue, b: &&KeyValue| {
        let order = match request.sort_target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if descend { order.reverse() } else { order }
    };
    if descend || request.sort_target != SortTarget::Key {
        kvs.sort_by(by);
    }
}

pub(super) fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Found<'_> {
    /// Whether an answer says the same.
    #[must_use]
    pub fn is(&self, result: &RangeResult) -> bool {
        let same = |(ours, theirs): (&&KeyValue, &KeyValue)| {
            if self.shown == Shown::All { **ours == *theirs } else { self.shown.of(ours) == *theirs }
        };
        self.more == result.more
            && self.count == result.count
            && self.kvs.len() == result.kvs.len()
            && self.kvs.iter().zip(&result.kvs).all(same)
    }

    /// As an answer.
    #[must_use]
    pub fn to_result(&self) -> RangeResult {
        let copy = |kv: &&KeyValue| self.shown.of(kv);
        RangeResult { kvs: self.kvs.iter().map(copy).collect(), more: self.more, count: self.count }
    }
}
