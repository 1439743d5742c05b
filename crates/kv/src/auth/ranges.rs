//! A user's permissions as two sorted lists of ranges that neither overlap nor touch: one to read, one to write.

use std::cmp::Ordering;

use bytes::Bytes;

use super::records::Permission;
use crate::request::KeyRange;

/// Keys from `start` on, up to but without `end`; none is beyond all keys.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stretch {
    start: Bytes,
    end: Option<Bytes>,
}

/// Orders ends: none is the last.
fn compare_ends(left: Option<&[u8]>, right: Option<&[u8]>) -> Ordering {
    match (left, right) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(left), Some(right)) => left.cmp(right),
    }
}

impl Stretch {
    fn of(range: &KeyRange) -> Stretch {
        let end = match &range.range_end[..] {
            [] => Some([&range.key[..], &[0]].concat().into()), // the first key behind the one
            [0] => None,
            _ => Some(range.range_end.clone()),
        };
        Stretch { start: range.key.clone(), end }
    }
}

/// A union of ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Union(Vec<Stretch>);

impl Union {
    fn of<'r>(ranges: impl Iterator<Item = &'r KeyRange>) -> Union {
        let mut stretches: Vec<Stretch> = ranges.map(Stretch::of).collect();
        stretches.sort_by(|left, right| left.start.cmp(&right.start));
        let mut union: Vec<Stretch> = Vec::with_capacity(stretches.len());
        for next in stretches {
            match union.last_mut() {
                Some(last) if last.end.as_ref().is_none_or(|end| next.start <= *end) => {
                    if compare_ends(next.end.as_deref(), last.end.as_deref()) == Ordering::Greater {
                        last.end = next.end;
                    }
                }
                _ => union.push(next),
            }
        }
        Union(union)
    }

    /// The only stretch that can hold a range is the last one that starts at or before it.
    fn contains(&self, range: &KeyRange) -> bool {
        let behind = self.0.partition_point(|stretch| stretch.start <= range.key);
        let Some(stretch) = behind.checked_sub(1).map(|at| &self.0[at]) else { return false };
        let Some(end) = &stretch.end else { return true };
        if range.key >= *end {
            return false;
        }
        match &range.range_end[..] {
            [] => true,
            [0] => false,
            range_end => range_end <= &end[..],
        }
    }
}

/// What a user may read and write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    read: Union,
    write: Union,
}

impl Grants {
    /// The union of permissions.
    #[must_use]
    pub fn of<'p>(permissions: impl Iterator<Item = &'p Permission> + Clone) -> Grants {
        let read = permissions.clone().filter(|permission| permission.kind.reads());
        let write = permissions.filter(|permission| permission.kind.writes());
        Grants {
            read: Union::of(read.map(|permission| &permission.range)),
            write: Union::of(write.map(|permission| &permission.range)),
        }
    }

    /// Whether every key of a range may be read.
    #[must_use]
    pub fn may_read(&self, range: &KeyRange) -> bool {
        self.read.contains(range)
    }

    /// Whether every key of a range may be written.
    #[must_use]
    pub fn may_write(&self, range: &KeyRange) -> bool {
        self.write.contains(range)
    }

    /// Whether a key may be read.
    #[must_use]
    pub fn may_read_key(&self, key: &Bytes) -> bool {
        self.may_read(&one(key))
    }

    /// Whether a key may be written.
    #[must_use]
    pub fn may_write_key(&self, key: &Bytes) -> bool {
        self.may_write(&one(key))
    }
}

fn one(key: &Bytes) -> KeyRange {
    KeyRange { key: key.clone(), range_end: Bytes::new() }
}
