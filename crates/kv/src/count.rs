//! How many keys a range holds, without walking it.
//!
//! A range's answer carries the number of all its keys, also where a limit cuts it short. So live keys at the latest
//! revision are kept in blocks: a *fence* is where a block begins, and beside it stands how many live keys lie before the
//! next fence. A range is then the sum of whole blocks and a walk over at most two parts of blocks. Keys themselves are
//! not held: a block stands for some hundred of them. Fences are written with each checkpoint, so that nothing is counted
//! anew at a restart. They depend on this member's history only and never show in an answer.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::error::KvError;
use crate::key;
use crate::layers::{Table, View};
use crate::scan::Scan;
use crate::visible::Visible;

/// A block with more live keys is split. Tests make do with fewer of everything, to come by every branch.
const LIVE_MAX: u32 = if cfg!(test) { 8 } else { 128 };
/// A block with fewer is joined to the one before it, if they fit.
const LIVE_MIN: u32 = LIVE_MAX / 5;

/// The blocks.
#[derive(Debug)]
pub(crate) struct Fences {
    /// By fence; the first one is empty, so that every key lies in a block.
    blocks: BTreeMap<Box<[u8]>, Block>,
    /// Fences whose row is out of date, each once.
    dirty: Vec<Box<[u8]>>,
    /// Fences that went away since the last checkpoint.
    removed: Vec<Box<[u8]>>,
    /// Blocks that have grown too large.
    oversize: Vec<Oversize>,
}

/// A block that has grown too large.
#[derive(Debug)]
struct Oversize {
    fence: Box<[u8]>,
    /// The key that was created last.
    key: Box<[u8]>,
}

#[derive(Debug, Default)]
struct Block {
    live: u32,
    dirty: bool,
}

/// A range in terms of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    /// The first fence in the range.
    pub first: Box<[u8]>,
    /// The last fence in the range; none where whole blocks go to the end of all keys.
    pub last: Option<Box<[u8]>>,
    /// Live keys between the two.
    pub whole: i64,
}

impl Fences {
    /// As the last checkpoint left them.
    pub(crate) fn load(view: &View) -> Result<Fences, KvError> {
        let mut blocks = BTreeMap::from([(Box::default(), Block::default())]);
        let mut scan = Scan::new(view, Table::Fences, &[], None);
        while let Some((fence, row)) = scan.next()? {
            let damaged = KvError::Damaged { table: Table::Fences, what: "count of wrong length" };
            let live = u32::from_be_bytes((&row[..]).try_into().map_err(|_| damaged)?);
            blocks.insert(fence, Block { live, dirty: false });
        }
        Ok(Fences { blocks, dirty: Vec::new(), removed: Vec::new(), oversize: Vec::new() })
    }

    /// A key has come to be.
    pub(crate) fn created(&mut self, key: &[u8]) {
        let live = self.change(key, |live| live + 1);
        if live == LIVE_MAX + 1 {
            let fence = self.fence_of(key);
            self.oversize.push(Oversize { fence, key: key.into() });
        }
    }

    /// A key is gone.
    pub(crate) fn deleted(&mut self, key: &[u8]) {
        let live = self.change(key, |live| live.checked_sub(1).expect("a live key is counted in its block"));
        if live < LIVE_MIN {
            self.join(key);
        }
    }

    /// Splits blocks that grew too large. `at` is the latest revision.
    pub(crate) fn settle(&mut self, view: &View, at: i64) -> Result<(), KvError> {
        while let Some(Oversize { fence, key }) = self.oversize.pop() {
            self.split(view, at, fence, &key)?;
        }
        Ok(())
    }

    /// The blocks within `start..end`, if there are fences there. Without any, the range is within one block.
    pub(crate) fn outline(&self, start: &[u8], end: Option<&[u8]>) -> Option<Outline> {
        if end.is_some_and(|end| end <= start) {
            return None;
        }
        let to = end.map_or(Bound::Unbounded, Bound::Included);
        let mut within = self.blocks.range::<[u8], _>((Bound::Included(start), to));
        let (first, _) = within.clone().next()?;
        let last = match end {
            Some(_) => within.next_back().map(|(fence, _)| fence.clone()),
            None => None,
        };
        let before_last = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let from = match &last {
            Some(last) if last == first => {
                return Some(Outline { first: first.clone(), last: Some(last.clone()), whole: 0 });
            }
            Some(_) | None => Bound::Included(&first[..]),
        };
        let whole = self.blocks.range::<[u8], _>((from, before_last)).map(|(_, block)| i64::from(block.live)).sum();
        Some(Outline { first: first.clone(), last, whole })
    }

    /// Takes what changed since the last checkpoint, to be written: fences with their counts, none for those that went
    /// away. A fence may come twice; the later one holds.
    pub(crate) fn take_changes(&mut self) -> Vec<(Box<[u8]>, Option<u32>)> {
        let mut changes: Vec<_> = self.removed.drain(..).map(|fence| (fence, None)).collect();
        for fence in self.dirty.drain(..) {
            if let Some(block) = self.blocks.get_mut(&fence) {
                block.dirty = false;
                changes.push((fence, Some(block.live)));
            }
        }
        changes
    }

    fn change(&mut self, key: &[u8], change: impl FnOnce(u32) -> u32) -> u32 {
        let (fence, block) = self
            .blocks
            .range_mut::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .next_back()
            .expect("the first fence lies before every key");
        block.live = change(block.live);
        if !block.dirty {
            block.dirty = true;
            self.dirty.push(fence.clone());
        }
        block.live
    }

    fn fence_of(&self, key: &[u8]) -> Box<[u8]> {
        let mut before = self.blocks.range::<[u8], _>((Bound::Unbounded, Bound::Included(key)));
        before.next_back().map(|(fence, _)| fence.clone()).unwrap_or_default()
    }

    /// Joins a key's block to the one before it.
    fn join(&mut self, key: &[u8]) {
        let mut before = self.blocks.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).rev();
        let (Some((fence, block)), Some((_, previous))) = (before.next(), before.next()) else { return };
        if block.live + previous.live > LIVE_MAX / 2 {
            return;
        }
        let (fence, live) = (fence.clone(), block.live);
        self.blocks.remove(&fence);
        self.change(&fence, |previous| previous + live); // the fence, as a key, now lies in the block before
        self.removed.push(fence);
    }

    /// Splits a block in the middle, or, where the key created last is its last one, before that key: keys that are
    /// created in order leave full blocks behind.
    fn split(&mut self, view: &View, at: i64, fence: Box<[u8]>, key: &[u8]) -> Result<(), KvError> {
        let Some(block) = self.blocks.get(&fence).filter(|block| block.live > LIVE_MAX) else {
            return Ok(()); // joined or shrunk since
        };
        let live = block.live;
        let next = self.blocks.range::<[u8], _>((Bound::Excluded(&fence[..]), Bound::Unbounded)).next();
        let to = next.map(|(next, _)| key::prefix(next));
        let from = if fence.is_empty() { Vec::new() } else { key::prefix(&fence) };
        let mut scan = Visible::new(view, &from, to, at, live as usize, false);
        let (mut middle, mut last, mut rank) = (Vec::new(), Vec::new(), 0);
        while let Some((prefix, _)) = scan.next()? {
            if rank == live / 2 {
                middle = key::user_key(prefix);
            }
            last.clear();
            last.extend_from_slice(prefix);
            rank += 1;
        }
        assert_eq!(rank, live, "a block's count is the number of live keys between its fences");
        let (new, kept) = if key::user_key(&last) == key { (key.to_vec(), live - 1) } else { (middle, live / 2) };
        self.change(&fence, |_| kept);
        self.dirty.push(new.clone().into());
        self.blocks.insert(new.into(), Block { live: live - kept, dirty: true });
        Ok(())
    }
}
