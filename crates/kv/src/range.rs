//! Range: which keys, at which revision, in which order, how many.

use bytes::Bytes;

use crate::count::Outline;
use crate::error::{Failure, KvError, OperationError};
use crate::key::{self, Span};
use crate::layers::View;
use crate::request::{KeyValue, RangeRequest, RangeResult, SortOrder, SortTarget};
use crate::visible::{self, Visible};

/// Keys that a sort may hold whatever the limit is: sorting again and again for fewer is not worth it.
const KEEP_MIN: usize = if cfg!(test) { 2 } else { 1024 };

/// A state to read from: layers, and what the store's revisions were when they were taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'v> {
    pub view: &'v View,
    /// The latest revision to see.
    pub revision: i64,
    /// The compacted revision, −1 for never.
    pub compacted: i64,
}

impl Moment<'_> {
    /// The revision that a request means, if it can be read.
    pub(crate) fn resolve(&self, revision: i64) -> Result<i64, OperationError> {
        if revision > self.revision {
            return Err(OperationError::FutureRevision);
        }
        let at = if revision <= 0 { self.revision } else { revision };
        if at < self.compacted {
            return Err(OperationError::Compacted);
        }
        Ok(at)
    }
}

/// Answers a range. `outline` is the range in blocks of the latest revision, where there are any.
pub(crate) fn range(
    moment: Moment<'_>,
    request: &RangeRequest,
    outline: Option<Outline>,
) -> Result<RangeResult, Failure> {
    let at = moment.resolve(request.revision)?;
    match key::span(&request.range) {
        Span::One(one) => {
            let found = moment.view.live(one, at)?;
            let kvs: Vec<KeyValue> = found.iter().map(|version| version.key_value(request.range.key.clone())).collect();
            let count = kvs.len() as i64;
            Ok(arrange(request, kvs, count))
        }
        Span::Many(start, end) if end.is_some_and(|end| end <= start) => Ok(RangeResult::default()),
        Span::Many(start, end) => {
            let outline = outline.filter(|_| at == moment.revision);
            let walk = Walk { view: moment.view, at, start, end };
            let (kvs, count) = walk.collect(request, outline)?;
            Ok(arrange(request, kvs, count))
        }
    }
}

/// Whether all keys must be read before any can be left out.
fn reads_all(request: &RangeRequest) -> bool {
    let natural = match (request.sort_order, request.sort_target) {
        // Without an order the limit cuts by key first, even where a target then sorts: as etcd does.
        (SortOrder::None, _) | (SortOrder::Ascend, SortTarget::Key) => true,
        (SortOrder::Ascend | SortOrder::Descend, _) => false,
    };
    !natural || is_filtered(request)
}

/// How many keys must be held while all are read: where a limit cuts what is sorted, no more than it leaves, and one that
/// tells of more. Ties go by key, as in a sort of all.
fn keep(request: &RangeRequest) -> usize {
    match usize::try_from(request.limit) {
        Ok(limit) if limit > 0 && reads_all(request) => limit.saturating_add(1).max(KEEP_MIN),
        Ok(_) | Err(_) => usize::MAX,
    }
}

fn is_filtered(request: &RangeRequest) -> bool {
    request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

/// Filters, sorts, cuts.
fn arrange(request: &RangeRequest, mut kvs: Vec<KeyValue>, count: i64) -> RangeResult {
    if request.count_only {
        return RangeResult { kvs: Vec::new(), more: false, count };
    }
    if is_filtered(request) {
        kvs.retain(|kv| passes(request, kv.create_revision, kv.mod_revision));
    }
    sort(request, &mut kvs);
    let limit = usize::try_from(request.limit).unwrap_or(0);
    let more = limit > 0 && kvs.len() > limit;
    if more {
        kvs.truncate(limit);
    }
    if request.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        if request.leaves_out_leases() {
            kvs.iter_mut().for_each(|kv| kv.lease = 0);
        }
    }
    RangeResult { kvs, more, count }
}

/// Whether the filters let a key pass.
pub(crate) fn passes(request: &RangeRequest, create_revision: i64, mod_revision: i64) -> bool {
    let within = |revision: i64, min: i64, max: i64| (min == 0 || revision >= min) && (max == 0 || revision <= max);
    within(mod_revision, request.min_mod_revision, request.max_mod_revision)
        && within(create_revision, request.min_create_revision, request.max_create_revision)
}

fn sort(request: &RangeRequest, kvs: &mut [KeyValue]) {
    let descend = match (request.sort_order, request.sort_target) {
        (SortOrder::None | SortOrder::Ascend, SortTarget::Key) => return,
        (SortOrder::None | SortOrder::Ascend, _) => false,
        (SortOrder::Descend, _) => true,
    };
    kvs.sort_by(|a, b| {
        let order = match request.sort_target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if descend { order.reverse() } else { order }
    });
}

/// A range of several keys at a revision.
struct Walk<'a> {
    view: &'a View,
    at: i64,
    start: &'a [u8],
    end: Option<&'a [u8]>,
}

impl Walk<'_> {
    /// The keys that the request may need, and how many there are in all.
    fn collect(&self, request: &RangeRequest, outline: Option<Outline>) -> Result<(Vec<KeyValue>, i64), KvError> {
        let take = match usize::try_from(request.limit) {
            _ if request.count_only => 0,
            Ok(limit) if limit > 0 && !reads_all(request) => limit.saturating_add(1), // one more tells of more
            Ok(_) | Err(_) => usize::MAX,
        };
        let fence = outline.as_ref().map(|outline| key::prefix(&outline.first));
        let mut from = key::prefix(self.start);
        let to = self.end.map(key::prefix);
        let mut kvs = Vec::with_capacity(take.min(1024));
        let keep = keep(request);
        let (mut walked, mut before_fence) = (0, 0);
        if take > 0 {
            // Values are left out only where nothing looks at them.
            let values = !request.keys_only || request.sort_target == SortTarget::Value;
            let mut scan = Visible::new(self.view, &from, to.clone(), self.at, take, values);
            let mut last = Vec::new();
            while let Some((prefix, version)) = scan.next()? {
                walked += 1;
                if passes(request, version.create_revision, version.main) {
                    kvs.push(version.key_value(Bytes::from(key::user_key(prefix))));
                }
                if kvs.len() >= keep.saturating_mul(2) {
                    sort(request, &mut kvs);
                    kvs.truncate(keep);
                }
                if fence.as_deref().is_some_and(|fence| prefix < fence) {
                    before_fence += 1;
                }
                if kvs.len() == take {
                    last.extend_from_slice(prefix);
                    break;
                }
            }
            if last.is_empty() {
                return Ok((kvs, walked));
            }
            from = key::successor(&last);
        }
        let count = match (outline, fence) {
            (Some(outline), Some(fence)) => {
                let head = if from < fence { self.count(&from, Some(fence))? } else { 0 };
                let tail = match &outline.last {
                    Some(last) => self.count(&key::prefix(last), to)?,
                    None => 0,
                };
                before_fence + head + outline.whole + tail
            }
            _ => walked + self.count(&from, to)?,
        };
        Ok((kvs, count))
    }

    fn count(&self, from: &[u8], to: Option<Vec<u8>>) -> Result<i64, KvError> {
        visible::count(self.view, from, to, self.at)
    }
}
