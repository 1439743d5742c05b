//! Shorthand for requests.

use bytes::Bytes;
use kontiki_kv::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, KeyRange, PutRequest, RangeRequest, RequestOp,
    SortOrder, SortTarget,
};
use kontiki_world::Random;

/// The keys that clients of a kind share.
#[derive(Clone, Debug)]
pub(crate) struct KeySpace {
    /// In front of every key.
    pub(crate) prefix: &'static str,
    /// How many there are.
    pub(crate) keys: u64,
    /// So many of them get half of the work.
    pub(crate) hot: u64,
}

impl KeySpace {
    /// One of the keys.
    pub(crate) fn key(&self, chance: &mut Random) -> Bytes {
        let among = if chance.one_in(2) { self.hot.min(self.keys) } else { self.keys };
        self.nth(chance.below(among))
    }

    /// The key of this number.
    pub(crate) fn nth(&self, number: u64) -> Bytes {
        format!("{}{number:03}", self.prefix).into()
    }

    /// All of them.
    pub(crate) fn all(&self) -> KeyRange {
        prefix(self.prefix.as_bytes())
    }

    /// A few neighbours.
    pub(crate) fn some(&self, chance: &mut Random) -> KeyRange {
        let first = chance.below(self.keys);
        KeyRange { key: self.nth(first), range_end: self.nth(first + 2 + chance.below(4)) }
    }
}

/// A key alone.
pub(crate) fn one(key: Bytes) -> KeyRange {
    KeyRange { key, range_end: Bytes::new() }
}

/// All keys that begin so. The last byte is not the largest one.
pub(crate) fn prefix(prefix: &[u8]) -> KeyRange {
    let mut range_end = prefix.to_vec();
    if let Some(last) = range_end.last_mut() {
        *last += 1;
    }
    KeyRange { key: Bytes::copy_from_slice(prefix), range_end: range_end.into() }
}

/// Every key that there is.
pub(crate) fn every() -> KeyRange {
    KeyRange { key: Bytes::from_static(&[0]), range_end: Bytes::from_static(&[0]) }
}

/// Reads a range as it is now.
pub(crate) fn read(range: KeyRange) -> RangeRequest {
    RangeRequest { range, ..RangeRequest::default() }
}

/// Reads the key of a range that was created first.
pub(crate) fn oldest(range: KeyRange) -> RangeRequest {
    let (sort_order, sort_target) = (SortOrder::Ascend, SortTarget::Create);
    RangeRequest { range, sort_order, sort_target, limit: 1, ..RangeRequest::default() }
}

/// Writes a key.
pub(crate) fn put(key: Bytes, value: Bytes, lease: i64) -> PutRequest {
    PutRequest { key, value, lease, ..PutRequest::default() }
}

/// A deletion in a transaction.
pub(crate) fn delete_op(range: KeyRange) -> RequestOp {
    RequestOp::DeleteRange(DeleteRangeRequest { range, prev_kv: true })
}

/// The condition that a key equals something.
pub(crate) fn equals(key: Bytes, target: CompareTarget) -> Compare {
    Compare { range: one(key), result: CompareResult::Equal, target }
}

/// The condition that a key was created at a revision; zero: that it is not there.
pub(crate) fn created_at(key: Bytes, revision: i64) -> Compare {
    equals(key, CompareTarget::CreateRevision(revision))
}
