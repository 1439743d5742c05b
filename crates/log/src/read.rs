//! Questions about entries: bytes from memory or disk, sizes and terms from memory alone.

use bytes::Bytes;
use kontiki_raft::{GroupId, Index, Term};

use crate::error::{BatchProblem, Damage, LogError};
use crate::extent::Extent;
use crate::finding::Finding;
use crate::format::{BatchHeader, LedgerRow, ROW_HEADER_BYTES};
use crate::gaps::Gap;
use crate::group::GroupLog;
use crate::log::Log;
use crate::read_file::read_lenient;
use crate::record::{Record, directory, owners};
use crate::segments::{Place, Segment, Segments};
use crate::types::Entry;

impl Log {
    /// The entries `first ..= last`, as many as fit in `bytes_max` by [`Entry::size`] but at least one; what lies behind
    /// the log's end is left out. From memory where they are there, else from disk.
    ///
    /// # Errors
    /// `Compacted` where the first one is gone, `Lost` where its payload is: it stands in a gap, or the disk does not give
    /// back what was written. Where the loss is further on, the entries before it are returned.
    pub fn entries(&self, group: GroupId, first: Index, last: Index, bytes_max: u64) -> Result<Vec<Entry>, LogError> {
        self.check_failed()?;
        let Some(log) = self.groups.get(&group) else { return Ok(Vec::new()) };
        if first <= log.compacted().index {
            return Err(LogError::Compacted { group, first, compacted: log.compacted().index });
        }
        let mut last = last.min(log.last());
        if let Some(gap) = log.gaps().at_or_after(first).filter(|gap| gap.first <= last) {
            if gap.first <= first {
                return Err(self.known_loss(group, log, Gap { first, last: gap.last.min(last) }));
            }
            last = gap.first.previous();
        }
        let mut wanted = Wanted { entries: Vec::new(), next: first, last, bytes_left: bytes_max, full: false };
        while wanted.more() && wanted.next < log.cached_first() {
            if let Some(entry) = log.mended(wanted.next) {
                wanted.take(entry);
            } else if let Err(lost) = self.read_span(group, log, &mut wanted) {
                return if wanted.entries.is_empty() { Err(lost) } else { Ok(wanted.entries) };
            }
        }
        if wanted.more() {
            let start = (wanted.next.0 - log.cached_first().0) as usize;
            log.cached().range(start..).take_while(|entry| wanted.take(entry)).count();
        }
        Ok(wanted.entries)
    }

    /// The error for entries in a gap.
    fn known_loss(&self, group: GroupId, log: &GroupLog, gap: Gap) -> LogError {
        let extent = log.extents()[log.extents().partition_point(|extent| extent.last() < gap.first)];
        let (segment, place) = self.place_of(&extent);
        let damage = Damage::Known { sequence: extent.sequence };
        let (file, offset) = (segment.path.clone(), u64::from(place.offset));
        LogError::Lost { group, first: gap.first, last: gap.last, file, offset, damage }
    }

    fn place_of(&self, extent: &Extent) -> (&Segment, Place) {
        self.shared.segments.find(extent.sequence).expect("entries that left memory have a place on disk")
    }

    /// Reads batches that stand near each other in one go: at least the one that holds the next wanted entry.
    fn read_span(&self, group: GroupId, log: &GroupLog, wanted: &mut Wanted) -> Result<(), LogError> {
        let from = log.extents().partition_point(|extent| extent.last() < wanted.next);
        let (segment, places) = self.span(log, from, wanted);
        let start = u64::from(places[0].1.offset);
        let end = places.last().map_or(start, |(_, place)| place.end());
        let mut buffer = vec![0; (end - start) as usize];
        let file = segment.files.log.as_ref().expect("what a lost file held is in a gap");
        let unreadable = read_lenient(file.as_ref(), &segment.path, &mut buffer, start);
        let buffer = Bytes::from(buffer);
        let until = log.cached_first().previous();
        for (extent, place) in places {
            let at = (u64::from(place.offset) - start) as usize;
            let batch = buffer.slice(at..at + place.length as usize);
            let pieces = Pieces { segment, place, extent, group, unreadable: &unreadable };
            let whole = pieces.each(&batch, |entry| {
                if log.mended(entry.index).is_some() || entry.index < wanted.next {
                    return true;
                }
                entry.index <= until && wanted.take(entry)
            })?;
            if !whole || wanted.next != extent.last().next() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Extents to read together, with their places, all in one segment and in the order of their places.
    fn span(&self, log: &GroupLog, from: usize, wanted: &Wanted) -> (&Segment, Vec<(Extent, Place)>) {
        let (segment, first) = self.place_of(&log.extents()[from]);
        let mut places = vec![(log.extents()[from], first)];
        let mut expected = 0;
        for (before, extent) in log.extents().range(from..).zip(log.extents().range(from + 1..)) {
            expected += before.entry_size() * u64::from(before.count);
            let in_memory = extent.first >= log.cached_first() || log.mended(extent.first).is_some();
            if extent.first > wanted.last || in_memory || expected >= wanted.bytes_left {
                break;
            }
            let (elsewhere, next) = self.place_of(extent);
            let backwards = next.offset <= places[places.len() - 1].1.offset;
            if elsewhere.number() != segment.number() || backwards || next.end() - u64::from(first.offset) > SPAN_BYTES
            {
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

/// The part of an extent's batch that was read back.
struct Pieces<'a> {
    segment: &'a Segment,
    place: Place,
    extent: Extent,
    group: GroupId,
    unreadable: &'a [Finding],
}

impl Pieces<'_> {
    /// Gives the extent's entries to `each`, in order, while it asks for more; false where it did not.
    fn each(&self, batch: &Bytes, mut each: impl FnMut(&Entry) -> bool) -> Result<bool, LogError> {
        let (seal, offset, sequence) = (self.segment.seal(), u64::from(self.place.offset), self.extent.sequence);
        let span = Gap { first: self.extent.first, last: self.extent.last() };
        let records =
            read_records(self.segment, self.place, sequence, batch).map_err(|damage| self.lost(span, damage))?;
        let mut next = span.first;
        for (held, body) in owners(&records, self.group) {
            let Some(part) = held.common(span) else { continue };
            if part.first != next {
                break;
            }
            body.check(batch, seal, offset, sequence).map_err(|damage| self.lost(part, damage))?;
            let mut more = true;
            let read = body.entries(&batch.slice(body.range.clone()), |entry| {
                if more && entry.index >= part.first && entry.index <= part.last {
                    more = each(&entry);
                }
            });
            read.map_err(|reason| self.lost(part, Damage::Nonsense { sequence, reason }))?;
            if !more {
                return Ok(false);
            }
            next = part.last.next();
        }
        if next == span.last.next() {
            return Ok(true);
        }
        let reason = format!("{} lacks some of its entries {} to {}", self.group, span.first, span.last);
        Err(self.lost(Gap { first: next, last: span.last }, Damage::Nonsense { sequence, reason }))
    }

    fn lost(&self, gap: Gap, damage: Damage) -> LogError {
        let damage = match self.unreadable.first() {
            Some(Finding::Unreadable { error, .. }) => Damage::Unreadable(error.clone()),
            _ => damage,
        };
        let (file, offset) = (self.segment.path.clone(), u64::from(self.place.offset));
        LogError::Lost { group: self.group, first: gap.first, last: gap.last, file, offset, damage }
    }
}

/// The records of a batch that was read back, from its ledger where its own directory is damaged.
fn read_records(segment: &Segment, place: Place, sequence: u64, batch: &[u8]) -> Result<Vec<Record>, Damage> {
    let (seal, offset) = (segment.seal(), u64::from(place.offset));
    let nonsense = |reason| Damage::Nonsense { sequence, reason };
    let here = BatchHeader::expect(batch, seal, offset, u64::from(place.length), sequence);
    match here.and_then(|header| place.is_of(batch).map(|()| header)) {
        Ok(header) => directory(&header, batch).map_err(nonsense),
        Err(reason) => match read_row(segment, place, sequence) {
            Ok((header, head)) => directory(&header, &head).map_err(nonsense),
            Err(_) => Err(Damage::ReadBack { sequence, reason }),
        },
    }
}

impl Segments {
    /// Whether neither copy of a durable batch's header and directory is whole.
    pub(crate) fn is_unknown(&self, sequence: u64) -> bool {
        let Some((segment, place)) = self.find(sequence) else { return false };
        let Some(file) = segment.files.log.as_ref().filter(|_| !segment.short) else { return false };
        let mut batch = vec![0; place.length as usize];
        read_lenient(file.as_ref(), &segment.path, &mut batch, u64::from(place.offset));
        matches!(read_records(segment, place, sequence, &batch), Err(Damage::ReadBack { .. }))
    }
}

/// A batch's header and directory from the ledger.
fn read_row(segment: &Segment, place: Place, sequence: u64) -> Result<(BatchHeader, Vec<u8>), BatchProblem> {
    let ledger = segment.files.ledger.as_ref().ok_or(BatchProblem::NoMagic)?;
    let left = segment.ledger_used.saturating_sub(u64::from(place.row));
    let mut row = vec![0; left.min(u64::from(place.length) + ROW_MAX_MORE) as usize];
    read_lenient(ledger.as_ref(), &segment.ledger_path, &mut row, u64::from(place.row));
    let found = LedgerRow::check(&row, segment.seal(), u64::from(place.row), segment.header.bytes)?;
    place.is_of(&row[ROW_HEADER_BYTES..])?;
    if found.header.sequence != sequence || found.place != u64::from(place.offset) {
        return Err(BatchProblem::Sequence(found.header.sequence));
    }
    Ok((found.header, row.split_off(ROW_HEADER_BYTES)))
}

/// A row is at most so much longer than its batch.
const ROW_MAX_MORE: u64 = 24;
/// Batches within so many bytes are read in one go.
const SPAN_BYTES: u64 = 256 << 10;
