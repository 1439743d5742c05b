//! One group's log in memory: its shape, where its entries stand on disk, and the newest of them.

use std::collections::{BTreeMap, VecDeque};

use kontiki_raft::{HardState, Index, LogPosition, Term, TermRun};

use crate::cache::Cache;
use crate::extent::{Extent, Misfit};
use crate::gaps::{Gap, Gaps};
use crate::record::Head;
use crate::segments::Segments;
use crate::types::{Entry, Recovered};

/// What all groups share and every change of entries moves.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) segments: Segments,
    pub(crate) cache: Cache,
}

impl Shared {
    pub(crate) fn new(cache_bytes: u64) -> Shared {
        Shared { segments: Segments::default(), cache: Cache::new(cache_bytes) }
    }
}

/// One group's log.
#[derive(Debug, Default)]
pub(crate) struct GroupLog {
    hard_state: HardState,
    compacted: LogPosition,
    last: Index,
    runs: VecDeque<TermRun>,
    /// Extents in order of indexes. They cover `compacted.index + 1 ..= last`, except while recovery has not yet seen
    /// what explains a hole: a compaction, or entries that were mended. Behind `mended_up_to` they are in order of
    /// sequence numbers too.
    extents: VecDeque<Extent>,
    /// Entries up to here may have been mended: their extents stand in any batch.
    mended_up_to: Index,
    /// Entries whose payloads are lost. Their extents stay, and with them the segments that know what was lost.
    gaps: Gaps,
    /// Mended entries that are not durable yet, with their batches.
    mended: BTreeMap<Index, (u64, Entry)>,
    /// The newest entries, up to `last`. Holds at least those that are not durable.
    cached: VecDeque<Entry>,
    /// Entries up to here are durable as they are now.
    durable: Index,
    /// As of the last batch that was started: what the head of the next segment says.
    pub(crate) started: Head,
    /// The last batch that names the group, and its place among those that the batch names.
    pub(crate) touched: (u64, usize),
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

    pub(crate) fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// A mended entry that is not durable yet.
    pub(crate) fn mended(&self, index: Index) -> Option<&Entry> {
        self.mended.get(&index).map(|(_, entry)| entry)
    }

    pub(crate) fn recovered(&self) -> Recovered {
        Recovered {
            hard_state: self.hard_state,
            compacted: self.compacted,
            runs: self.runs.iter().copied().collect(),
            last: self.last,
            gaps: self.gaps.list().to_vec(),
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
            Some(extent) if extent.sequence == sequence && extent.last().next() == first => {
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
        self.gaps.remove(Gap { first, last: self.last });
        self.mended.split_off(&first);
        self.last = Index(first.0.saturating_sub(1));
        self.durable = self.durable.min(self.last);
    }

    /// Entries up to `position` are gone. Nothing happens where they are already.
    pub(crate) fn compact(&mut self, position: LogPosition, shared: &mut Shared) -> Result<(), Misfit> {
        if position.index <= self.compacted.index {
            return Ok(());
        }
        // The term is not known of entries whose segments are gone: recovery sees the record that removed them last.
        let found = self.extent_of(position.index).and_then(|_| self.term_at(position.index));
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
        self.gaps.remove(Gap { first: Index(0), last: position.index });
        self.mended = self.mended.split_off(&first);
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
    ///
    /// Entries in the cache were appended one behind the other, so of their extents the newest one that is durable tells;
    /// a mended extent stands before all of them.
    pub(crate) fn settle(&mut self, sequence: u64) -> bool {
        let durable = self.extents.iter().rev().find(|extent| extent.sequence <= sequence).map(Extent::last);
        self.durable = self.durable.max(durable.unwrap_or_default());
        self.mended.retain(|_, (staged, _)| *staged > sequence);
        self.cached.front().is_some_and(|entry| entry.index <= self.durable)
    }

    /// The batch that keeps the oldest segment from being removed, as far as this group is concerned.
    pub(crate) fn oldest_sequence(&self) -> Option<u64> {
        let disordered = self.extents.partition_point(|extent| extent.first <= self.mended_up_to);
        self.extents.iter().take(disordered + 1).map(|extent| extent.sequence).min()
    }

    fn extent_of(&self, index: Index) -> Option<&Extent> {
        let extent = self.extents.get(self.extents.partition_point(|extent| extent.last() < index))?;
        (extent.first <= index).then_some(extent)
    }

    /// Notes that payloads are lost: of all batches, or of one. Batches behind `durable` lose nothing. Returns what was
    /// not known to be lost before.
    pub(crate) fn lose(&mut self, lost: Gap, batch: Option<u64>, durable: u64, cache: &mut Cache) -> Vec<Gap> {
        let known = self.gaps.clone();
        let from = self.extents.partition_point(|extent| extent.last() < lost.first);
        let mut new = Gaps::default();
        for extent in self.extents.range(from..).take_while(|extent| extent.first <= lost.last) {
            let hit = batch.is_none_or(|batch| batch == extent.sequence) && extent.sequence <= durable;
            if let Some(gap) = extent.span().common(lost).filter(|_| hit) {
                new.add(gap);
                self.gaps.add(gap);
            }
        }
        if let Some(gap) = new.list().last() {
            self.forget_cached(gap.last, cache);
        }
        known.list().iter().for_each(|gap| new.remove(*gap));
        new.list().to_vec()
    }

    /// What stood in these batches' extents, before it is lost with all of it.
    pub(crate) fn spans_in(&self, sequence: u64) -> Vec<Gap> {
        self.extents.iter().filter(|extent| extent.sequence == sequence).map(Extent::span).collect()
    }

    /// Entries of one term stand in the batch that is being filled, in the place where they stood before. Their term is
    /// noted where it was not known, which is so in recovery only.
    pub(crate) fn replace(&mut self, term: Term, span: Gap, bytes: u32, shared: &mut Shared) -> Result<(), Misfit> {
        let Gap { first, last } = span;
        let misfit = |index: Index, found| Misfit::Mend { index, term, found };
        if first <= self.compacted.index || last > self.last {
            return Err(misfit(first, None));
        }
        for index in [first, last] {
            let found = self.extent_of(index).and_then(|_| self.term_at(index));
            if found.is_some_and(|found| found != term) {
                return Err(misfit(index, found));
            }
        }
        self.note_term(term, first);
        let from = self.extents.partition_point(|extent| extent.last() < first);
        let to = self.extents.partition_point(|extent| extent.first <= last);
        let sequence = shared.segments.staged_sequence();
        let mut pieces = Vec::new();
        for extent in self.extents.range(from..to) {
            if extent.first < first {
                let mut before = *extent;
                before.shorten((first.0 - extent.first.0) as u32);
                pieces.push(before);
            }
        }
        pieces.push(Extent { sequence, first, count: (last.0 - first.0 + 1) as u32, bytes });
        for extent in self.extents.range(from..to) {
            if extent.last() > last {
                let mut behind = *extent;
                behind.shorten((extent.last().0 - last.0) as u32);
                behind.first = last.next();
                pieces.push(behind);
            }
        }
        pieces.iter().for_each(|extent| shared.segments.retain(extent.sequence));
        let tail = self.extents.split_off(to);
        for gone in self.extents.split_off(from) {
            shared.segments.release(gone.sequence);
        }
        self.extents.extend(pieces);
        self.extents.extend(tail);
        self.mended_up_to = self.mended_up_to.max(last);
        self.gaps.remove(span);
        Ok(())
    }

    /// The entry at `first` has this term.
    fn note_term(&mut self, term: Term, first: Index) {
        if self.term_at(first) == Some(term) {
            return;
        }
        let at = self.runs.partition_point(|run| run.first < first);
        if self.runs.get(at).is_some_and(|run| run.first == first) {
            self.runs.remove(at);
        }
        self.runs.insert(at, TermRun { term, first });
        if self.runs.get(at + 1).is_some_and(|run| run.term == term) {
            self.runs.remove(at + 1);
        }
    }

    /// Keeps a mended entry in memory until its batch is durable.
    pub(crate) fn keep_mended(&mut self, entry: Entry, sequence: u64) {
        self.mended.insert(entry.index, (sequence, entry));
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

    /// The first entries that the log should hold and does not: only where segments are missing.
    pub(crate) fn missing(&self) -> Option<Gap> {
        let mut first = self.compacted.index.next();
        for extent in &self.extents {
            if extent.first != first {
                return Some(Gap { first, last: extent.first.previous() });
            }
            first = extent.last().next();
        }
        (first <= self.last).then_some(Gap { first, last: self.last })
    }
}
