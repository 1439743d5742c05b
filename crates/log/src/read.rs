//! Questions about entries: bytes from memory or disk, sizes and terms from memory alone.

use bytes::Bytes;
use kontiki_raft::{GroupId, Index, Term};

use crate::error::{Damage, LogError};
use crate::format::{BATCH_HEADER_BYTES, BatchHeader};
use crate::group::{Extent, GroupLog};
use crate::job::io;
use crate::log::Log;
use crate::record::entries_of;
use crate::segments::{Place, Segment};
use crate::types::Entry;

impl Log {
    /// The entries `first ..= last`, as many as fit in `bytes_max` by [`Entry::size`] but at least one; what lies behind
    /// the log's end is left out. From memory where they are there, else from disk.
    ///
    /// # Errors
    /// `Compacted` where the first one is gone, `Damaged` where the disk does not give back what was written.
    pub fn entries(&self, group: GroupId, first: Index, last: Index, bytes_max: u64) -> Result<Vec<Entry>, LogError> {
        self.check_failed()?;
        let Some(log) = self.groups.get(&group) else { return Ok(Vec::new()) };
        if first <= log.compacted().index {
            return Err(LogError::Compacted { group, first, compacted: log.compacted().index });
        }
        let last = last.min(log.last());
        let mut wanted = Wanted { entries: Vec::new(), next: first, last, bytes_left: bytes_max, full: false };
        while wanted.more() && wanted.next < log.cached_first() {
            self.read_span(group, log, &mut wanted)?;
        }
        if wanted.more() {
            let start = (wanted.next.0 - log.cached_first().0) as usize;
            log.cached().range(start..).take_while(|entry| wanted.take(entry)).count();
        }
        Ok(wanted.entries)
    }

    /// Reads batches that stand near each other in one go: at least the one that holds the next wanted entry.
    fn read_span(&self, group: GroupId, log: &GroupLog, wanted: &mut Wanted) -> Result<(), LogError> {
        let from = log.extents().partition_point(|extent| extent.last() < wanted.next);
        let (segment, places) = self.span(log, from, wanted);
        let start = u64::from(places[0].1.offset);
        let end = places.last().map_or(start, |(_, place)| place.end());
        let file = segment.file.as_ref().expect("entries that left memory are durable");
        let mut buffer = vec![0; (end - start) as usize];
        file.read_exact_at(&mut buffer, start).map_err(io("read", &segment.path))?;
        let buffer = Bytes::from(buffer);
        let until = log.cached_first().previous();
        for (extent, place) in places {
            let at = (u64::from(place.offset) - start) as usize;
            let batch = buffer.slice(at..at + place.length as usize);
            for entry in decode(segment, place, extent, group, &batch)? {
                if entry.index >= wanted.next && (entry.index > until || !wanted.take(&entry)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Extents to read together, with their places, all in one segment.
    fn span(&self, log: &GroupLog, from: usize, wanted: &Wanted) -> (&Segment, Vec<(Extent, Place)>) {
        let place = |extent: &Extent| {
            self.shared.segments.find(extent.sequence).expect("entries that left memory have a place on disk")
        };
        let (segment, first) = place(&log.extents()[from]);
        let mut places = vec![(log.extents()[from], first)];
        let mut expected = 0;
        for pair in log.extents().range(from..).zip(log.extents().range(from + 1..)) {
            let (before, extent) = pair;
            expected += before.entry_size() * u64::from(before.count);
            if extent.first > wanted.last || extent.first >= log.cached_first() || expected >= wanted.bytes_left {
                break;
            }
            let (elsewhere, next) = place(extent);
            if elsewhere.number != segment.number || next.end() - u64::from(first.offset) > SPAN_BYTES {
                break;
            }
            places.push((*extent, next));
        }
        (segment, places)
    }

    /// How many of the entries `first ..= last` fit in `bytes_max`, at least one: the last that fits, and the bytes of
    /// those that fit. Sizes are exact ([`Entry::size`]) for entries in memory, averages of a batch otherwise; the disk is
    /// not asked. Without such an entry the answer is the index before `first`, and zero.
    #[must_use]
    pub fn fit(&self, group: GroupId, first: Index, last: Index, bytes_max: u64) -> (Index, u64) {
        let nothing = (first.previous(), 0);
        let Some(log) = self.groups.get(&group) else { return nothing };
        let last = last.min(log.last());
        if first > last || first <= log.compacted().index {
            return nothing;
        }
        let mut fitting = Fitting { next: first, bytes: 0, bytes_max };
        let cached_first = log.cached_first();
        let from = log.extents().partition_point(|extent| extent.last() < first);
        for extent in log.extents().range(from..) {
            let until = extent.last().min(last).min(cached_first.previous());
            if fitting.next > until || !fitting.take(until, extent.entry_size()) {
                break;
            }
        }
        if fitting.next >= cached_first && fitting.next <= last {
            let start = (fitting.next.0 - cached_first.0) as usize;
            let count = (last.0 - fitting.next.0 + 1) as usize;
            log.cached().range(start..start + count).all(|entry| fitting.take(entry.index, entry.size()));
        }
        (fitting.next.previous(), fitting.bytes)
    }

    /// The term of an entry, or of the last compacted one.
    #[must_use]
    pub fn term_at(&self, group: GroupId, index: Index) -> Option<Term> {
        match self.groups.get(&group) {
            Some(log) => log.term_at(index),
            None => (index == Index(0)).then_some(Term(0)), // an empty log begins behind LogPosition::START
        }
    }

    /// Index of the first entry; one more than the last where there is none.
    #[must_use]
    pub fn first(&self, group: GroupId) -> Index {
        self.groups.get(&group).map_or(Index(1), |log| log.compacted().index.next())
    }

    /// Index of the last entry, durable or not.
    #[must_use]
    pub fn last(&self, group: GroupId) -> Index {
        self.groups.get(&group).map_or(Index(0), GroupLog::last)
    }
}

/// Entries being collected.
struct Wanted {
    entries: Vec<Entry>,
    next: Index,
    last: Index,
    bytes_left: u64,
    full: bool,
}

impl Wanted {
    fn more(&self) -> bool {
        !self.full && self.next <= self.last
    }

    /// Takes the next entry, where it is wanted and fits.
    fn take(&mut self, entry: &Entry) -> bool {
        let fits = self.entries.is_empty() || entry.size() <= self.bytes_left;
        self.full = !fits;
        if !fits || entry.index > self.last {
            return false;
        }
        assert_eq!(entry.index, self.next, "entries are given one after another");
        self.bytes_left = self.bytes_left.saturating_sub(entry.size());
        self.next = entry.index.next();
        self.entries.push(entry.clone());
        true
    }
}

/// Sizes being added up.
struct Fitting {
    next: Index,
    bytes: u64,
    bytes_max: u64,
}

impl Fitting {
    /// Takes entries of one size up to an index; false where not all of them fit.
    fn take(&mut self, until: Index, size: u64) -> bool {
        let count = until.0 - self.next.0 + 1;
        let least = u64::from(self.bytes == 0);
        let fit = count.min((self.bytes_max.saturating_sub(self.bytes) / size).max(least));
        self.next = Index(self.next.0 + fit);
        self.bytes += fit * size;
        fit == count
    }
}

fn decode(
    segment: &Segment,
    place: Place,
    extent: Extent,
    group: GroupId,
    batch: &Bytes,
) -> Result<Vec<Entry>, LogError> {
    let damaged = |damage| LogError::Damaged { file: segment.path.clone(), offset: u64::from(place.offset), damage };
    let sequence = extent.sequence;
    let header = BatchHeader::check(batch, segment.salt, sequence)
        .map_err(|reason| damaged(Damage::ReadBack { sequence, reason }))?;
    let records = batch.slice(BATCH_HEADER_BYTES..);
    entries_of(&records, header.records, group, (extent.first, extent.last()))
        .map_err(|reason| damaged(Damage::Nonsense { sequence, reason }))
}

/// Batches within so many bytes are read in one go.
const SPAN_BYTES: u64 = 256 << 10;
