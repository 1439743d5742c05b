//! The keys that a watch is for.

use std::cmp::Ordering;
use std::sync::Arc;

use kontiki_kv::KeyRange;

/// One key, or a range. Holds bytes of its own: those of a request would keep all that came with it in memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub start: Arc<[u8]>,
    pub end: End,
}

/// Where a span ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With its first key.
    Only,
    /// Before this key.
    Before(Arc<[u8]>),
    /// Nowhere.
    Open,
}

impl Span {
    /// By etcd's rules for ranges.
    pub fn of(range: &KeyRange) -> Span {
        let end = match range.range_end.as_ref() {
            [] => End::Only,
            [0] => End::Open,
            end => End::Before(end.into()),
        };
        Span { start: range.key.as_ref().into(), end }
    }

    /// Whether a key is one of them.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self.end {
            End::Only => *key == *self.start,
            End::Before(_) | End::Open => *key >= *self.start && self.end.is_beyond(key),
        }
    }
}

impl End {
    /// Whether a key that is not before the start lies before the end.
    pub fn is_beyond(&self, key: &[u8]) -> bool {
        match self {
            End::Only => false,
            End::Before(end) => *key < **end,
            End::Open => true,
        }
    }
}

impl PartialOrd for End {
    fn partial_cmp(&self, other: &End) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By how far they reach.
impl Ord for End {
    fn cmp(&self, other: &End) -> Ordering {
        match (self, other) {
            (End::Only, End::Only) | (End::Open, End::Open) => Ordering::Equal,
            (End::Only, _) | (_, End::Open) => Ordering::Less,
            (_, End::Only) | (End::Open, _) => Ordering::Greater,
            (End::Before(one), End::Before(other)) => one.cmp(other),
        }
    }
}
