//! One group's log in memory: its shape, where its entries stand on disk, and the newest of them.

use std::collections::VecDeque;

use kontiki_raft::{HardState, Index, LogPosition, Term, TermRun};

use crate::cache::Cache;
use crate::record::Head;
use crate::segments::Segments;
use crate::types::{ENTRY_OVERHEAD, Entry, Recovered};

/// Entries of one group that stand in one batch. A group has at most one extent in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) sequence: u64,
    pub(crate) first: Index,
    pub(crate) count: u32,
    /// Bytes of the payloads; an estimate where a part of the extent is gone.
    pub(crate) bytes: u32,
}

impl Extent {
    pub(crate) fn last(&self) -> Index {
        Index(self.first.0 + u64::from(self.count) - 1)
    }

    /// What an entry of the extent counts for on average, rounded up.
    pub(crate) fn entry_size(&self) -> u64 {
        u64::from(self.bytes.div_ceil(self.count)) + ENTRY_OVERHEAD
    }

    fn shorten(&mut self, count: u32) {
        self.bytes = (u64::from(self.bytes) * u64::from(count) / u64::from(self.count)) as u32;
        self.count = count;
    }
}

/// What all groups share and every change of entries moves.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) segments: Segments,
    pub(crate) cache: Cache,
}

/// One group's log.
#[derive(Debug, Default)]
pub(crate) struct GroupLog {
    hard_state: HardState,
    compacted: LogPosition,
    last: Index,
    runs: VecDeque<TermRun>,
    /// Extents in order of indexes and of sequence numbers. They cover `compacted.index + 1 ..= last` without a gap,
    /// except while recovery has not yet seen the compaction that explains one at the beginning.
    extents: VecDeque<Extent>,
    /// The newest entries, up to `last`. Holds at least those that are not durable.
    cached: VecDeque<Entry>,
    /// Entries up to here are durable as they are now.
    durable: Index,
    /// As of the last batch that was started: what the head of the next segment says.
    pub(crate) started: Head,
    /// The last batch that names the group, and its place among those that the batch names.
    pub(crate) touched: (u64, usize),
}

/// A change that does not fit the log as it is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    #[error("entries from {first} on cannot follow a log that is compacted up to {compacted} and ends at {last}")]
    Append { first: Index, compacted: Index, last: Index },
    #[error("a log that ends at {last} with {found:?} there cannot be compacted up to {position}")]
    Compact { position: LogPosition, last: Index, found: Option<Term> },
}

impl GroupLog {
    /// A group of which only the head of a segment is known.
    pub(crate) fn from_head(head: Head) -> GroupLog {
        GroupLog { hard_state: head.hard_state, compacted: head.compacted, last: head.last, ..GroupLog::default() }
    }

    pub(crate) fn head(&self) -> Head {
        Head { hard_state: self.hard_state, compacted: self.compacted, last: self.last }
    }

    pub(crate) fn last(&self) -> Index {
        self.last
    }

    pub(crate) fn compacted(&self) -> LogPosition {
        self.compacted
    }

    pub(crate) fn durable(&self) -> Index {
        self.durable
    }

    pub(crate) fn extents(&self) -> &VecDeque<Extent> {
        &self.extents
    }

    pub(crate) fn cached(&self) -> &VecDeque<Entry> {
        &self.cached
    }

    /// First index in memory; behind the last one where nothing is.
    pub(crate) fn cached_first(&self) -> Index {
        self.cached.front().map_or(self.last.next(), |entry| entry.index)
    }

    pub(crate) fn recovered(&self) -> Recovered {
        Recovered {
            hard_state: self.hard_state,
            compacted: self.compacted,
            runs: self.runs.iter().copied().collect(),
            last: self.last,
        }
    }

    /// The term of an entry, or of the last compacted one.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.compacted.index {
            return Some(self.compacted.term);
        }
        if index < self.compacted.index || index > self.last {
            return None;
        }
        let run = self.runs.partition_point(|run| run.first <= index).checked_sub(1)?;
        Some(self.runs[run].term)
    }

    pub(crate) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Replaces everything from `first` on by `count` entries of one term in the batch that is being filled.
    pub(crate) fn append(
        &mut self,
        term: Term,
        first: Index,
        count: u32,
        bytes: u32,
        shared: &mut Shared,
    ) -> Result<(), Misfit> {
        if first <= self.compacted.index || first > self.last.next() {
            return Err(Misfit::Append { first, compacted: self.compacted.index, last: self.last });
        }
        self.truncate(first, shared);
        self.last = Index(first.0 + u64::from(count) - 1);
        if self.runs.back().is_none_or(|run| run.term != term) {
            self.runs.push_back(TermRun { term, first });
        }
        let sequence = shared.segments.staged_sequence();
        match self.extents.back_mut() {
            Some(extent) if extent.sequence == sequence => {
                extent.count += count;
                extent.bytes += bytes;
            }
            _ => {
                self.extents.push_back(Extent { sequence, first, count, bytes });
                shared.segments.retain(sequence);
            }
        }
        Ok(())
    }

    /// Keeps an entry that was just appended in memory.
    pub(crate) fn keep(&mut self, entry: Entry, cache: &mut Cache) {
        debug_assert!(self.cached.back().is_none_or(|newest| newest.index.next() == entry.index));
        cache.add(&entry);
        self.cached.push_back(entry);
    }

    /// Drops everything from `first` on.
    fn truncate(&mut self, first: Index, shared: &mut Shared) {
        if first > self.last {
            return;
        }
        while self.runs.back().is_some_and(|run| run.first >= first) {
            self.runs.pop_back();
        }
        while self.extents.back().is_some_and(|extent| extent.first >= first) {
            self.drop_extent(VecDeque::pop_back, shared);
        }
        if let Some(extent) = self.extents.back_mut()
            && extent.last() >= first
        {
            extent.shorten((first.0 - extent.first.0) as u32);
        }
        while self.cached.back().is_some_and(|entry| entry.index >= first) {
            self.drop_cached(VecDeque::pop_back, &mut shared.cache);
        }
        self.last = first.previous();
        self.durable = self.durable.min(self.last);
    }

    /// Entries up to `position` are gone. Nothing happens where they are already.
    pub(crate) fn compact(&mut self, position: LogPosition, shared: &mut Shared) -> Result<(), Misfit> {
        if position.index <= self.compacted.index {
            return Ok(());
        }
        // The term is not known of entries whose segments are gone: recovery sees the record that removed them last.
        let found = self.term_at(position.index);
        if position.index > self.last || found.is_some_and(|term| term != position.term) {
            return Err(Misfit::Compact { position, last: self.last, found });
        }
        let first = position.index.next();
        while self.runs.get(1).is_some_and(|run| run.first <= first) {
            self.runs.pop_front();
        }
        if position.index == self.last {
            self.runs.clear();
        } else if let Some(run) = self.runs.front_mut() {
            run.first = run.first.max(first);
        }
        while self.extents.front().is_some_and(|extent| extent.last() < first) {
            self.drop_extent(VecDeque::pop_front, shared);
        }
        if let Some(extent) = self.extents.front_mut()
            && extent.first < first
        {
            extent.shorten((extent.last().0 - position.index.0) as u32);
            extent.first = first;
        }
        self.forget_cached(position.index, &mut shared.cache);
        self.compacted = position;
        self.durable = self.durable.max(position.index);
        Ok(())
    }

    /// The log is empty and begins behind `position`.
    pub(crate) fn reset(&mut self, position: LogPosition, shared: &mut Shared) {
        self.truncate(Index(0), shared);
        self.compacted = position;
        self.last = position.index;
        self.durable = position.index;
    }

    /// Batches up to this one are durable. Returns whether cached entries became so.
    pub(crate) fn settle(&mut self, sequence: u64) -> bool {
        let durable = self.extents.iter().rev().find(|extent| extent.sequence <= sequence).map(Extent::last);
        self.durable = self.durable.max(durable.unwrap_or_default());
        self.cached.front().is_some_and(|entry| entry.index <= self.durable)
    }

    /// Drops cached entries up to an index.
    pub(crate) fn forget_cached(&mut self, last: Index, cache: &mut Cache) {
        while self.cached.front().is_some_and(|entry| entry.index <= last) {
            self.drop_cached(VecDeque::pop_front, cache);
        }
    }

    fn drop_cached(&mut self, pop: fn(&mut VecDeque<Entry>) -> Option<Entry>, cache: &mut Cache) {
        if let Some(entry) = pop(&mut self.cached) {
            cache.remove(&entry);
        }
    }

    fn drop_extent(&mut self, pop: fn(&mut VecDeque<Extent>) -> Option<Extent>, shared: &mut Shared) {
        if let Some(extent) = pop(&mut self.extents) {
            shared.segments.release(extent.sequence);
        }
    }

    /// Entries that the log should hold and does not: only where segments are missing.
    pub(crate) fn missing(&self) -> Option<(Index, Index)> {
        let first = self.compacted.index.next();
        let held = self.extents.front().map_or(self.last.next(), |extent| extent.first);
        (held != first).then(|| (first, held.previous()))
    }
}
