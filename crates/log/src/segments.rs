//! Which segments there are, which batch stands where, and which segments hold nothing of use any more.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use kontiki_world::File;

use crate::error::BatchProblem;
use crate::format::{ALIGNMENT, ROW_HEADER_BYTES, SEGMENT_HEADER_BYTES, Seal, SegmentHeader, u32_at};
use crate::job::OpenFile;
use crate::names::ledger_bytes;

/// One segment: a file of batches, and its ledger.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) path: PathBuf,
    pub(crate) ledger_path: PathBuf,
    /// None until the job that makes the segment is done, and where the files are lost.
    pub(crate) files: SegmentFiles,
    /// Where the next batch goes.
    pub(crate) used: u64,
    /// Where its row in the ledger goes.
    pub(crate) ledger_used: u64,
    /// Length of the ledger's file.
    pub(crate) ledger_bytes: u64,
    /// Nothing more is written to it: a part of its file is missing or cannot be read.
    pub(crate) closed: bool,
    /// A part of its file is missing.
    pub(crate) short: bool,
    /// How many extents stand in it. A segment without is removed once it is the oldest.
    live: u64,
}

/// The open files of a segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct SegmentFiles {
    pub(crate) log: Option<Arc<dyn File>>,
    pub(crate) ledger: Option<Arc<dyn File>>,
}

impl Segment {
    /// `first_row` is the length of the first batch's row in the ledger.
    pub(crate) fn new(header: SegmentHeader, path: PathBuf, ledger_path: PathBuf, first_row: u64) -> Segment {
        let used = SEGMENT_HEADER_BYTES as u64;
        Segment {
            header,
            path,
            ledger_path,
            files: SegmentFiles::default(),
            used,
            ledger_used: used,
            ledger_bytes: ledger_bytes(header.bytes, first_row),
            closed: false,
            short: false,
            live: 0,
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.header.number
    }

    pub(crate) fn seal(&self) -> Seal {
        self.header.seal()
    }

    /// What of its file is not used.
    pub(crate) fn bytes_left(&self) -> u64 {
        if self.closed { 0 } else { self.header.bytes.saturating_sub(self.used) }
    }

    /// Its ledger, where it is open.
    pub(crate) fn open_ledger(&self) -> Option<OpenFile> {
        Some(OpenFile { file: self.files.ledger.clone()?, path: self.ledger_path.clone() })
    }

    /// What can still be written to it, with rows in the ledger. The ledger is a quarter of the segment, since batches are
    /// longer than their rows; of its end a byte counts for one of a batch, so that any batch of the length told has room.
    pub(crate) fn room_left(&self) -> u64 {
        let rows = self.ledger_bytes.saturating_sub(self.ledger_used + ROW_HEADER_BYTES as u64);
        let rows = rows.saturating_add(3 * rows.saturating_sub(LEDGER_END_BYTES));
        self.bytes_left().min(rows)
    }

    /// Whether both files are there.
    pub(crate) fn is_readable(&self) -> bool {
        self.files.log.is_some() && self.files.ledger.is_some() && !self.short
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.live == 0
    }
}

/// Where a batch stands in its segment. Segments are found by sequence number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) offset: u32,
    pub(crate) length: u32,
    /// Where its row stands in the ledger.
    pub(crate) row: u32,
    /// Its header's checksum: an older write to the same place has another.
    pub(crate) checksum: u32,
}

impl Place {
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }

    /// Whether this is the header that was written here, and none of an earlier write.
    pub(crate) fn is_of(&self, head: &[u8]) -> Result<(), BatchProblem> {
        if u32_at(head, 4) == self.checksum { Ok(()) } else { Err(BatchProblem::Stale) }
    }
}

/// All segments, oldest first, with the places of all their batches. The batch that is being filled has a sequence
/// number but no place yet.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    list: VecDeque<Segment>,
    /// Places of batches, from the oldest segment's first batch on.
    places: VecDeque<Place>,
    /// How many batches were placed before all of these.
    placed_before: u64,
    /// How many extents the batch being filled will hold.
    staged_live: u64,
}

impl Segments {
    /// The sequence number of the batch that is being filled.
    pub(crate) fn staged_sequence(&self) -> u64 {
        self.placed_before + self.places.len() as u64 + 1
    }

    /// Begins with the oldest segment found on disk.
    pub(crate) fn begin_at(&mut self, first_sequence: u64) {
        assert!(self.list.is_empty(), "recovery begins once");
        self.placed_before = first_sequence - 1;
    }

    pub(crate) fn push(&mut self, segment: Segment) {
        assert_eq!(segment.header.first_sequence, self.staged_sequence(), "the next batch is the new segment's first");
        self.list.push_back(segment);
    }

    pub(crate) fn current(&self) -> Option<&Segment> {
        self.list.back()
    }

    /// The segment before the current one.
    pub(crate) fn before_current(&self) -> Option<&Segment> {
        self.list.len().checked_sub(2).map(|position| &self.list[position])
    }

    pub(crate) fn current_mut(&mut self) -> Option<&mut Segment> {
        self.list.back_mut()
    }

    pub(crate) fn oldest(&self) -> Option<&Segment> {
        self.list.front()
    }

    /// Whether a batch of this length, with a row of that, fits into the current segment.
    pub(crate) fn has_room(&self, length: u64, row: u64) -> bool {
        self.list
            .back()
            .is_some_and(|segment| length <= segment.bytes_left() && segment.ledger_used + row <= segment.ledger_bytes)
    }

    /// Gives the batch that was being filled the next place in the current segment.
    pub(crate) fn place(&mut self, length: u32, row: u32) -> Place {
        let segment = self.list.back_mut().expect("a batch is placed in a segment");
        assert!(u64::from(length).is_multiple_of(ALIGNMENT as u64), "batches are padded");
        let short = |offset| u32::try_from(offset).expect("only a segment's first batch reaches beyond 4 GiB");
        let place = Place { offset: short(segment.used), length, row: short(segment.ledger_used), checksum: 0 };
        segment.used += u64::from(length);
        segment.ledger_used += u64::from(row);
        segment.live += std::mem::take(&mut self.staged_live);
        self.places.push_back(place);
        place
    }

    /// Notes the checksum of a batch that is durable.
    pub(crate) fn set_checksum(&mut self, sequence: u64, checksum: u32) {
        let place = sequence.checked_sub(self.placed_before + 1).and_then(|place| usize::try_from(place).ok());
        if let Some(place) = place.and_then(|place| self.places.get_mut(place)) {
            place.checksum = checksum;
        }
    }

    /// Segment and place of a batch that has one.
    pub(crate) fn find(&self, sequence: u64) -> Option<(&Segment, Place)> {
        let place = sequence.checked_sub(self.placed_before + 1)?;
        let place = *self.places.get(usize::try_from(place).ok()?)?;
        Some((&self.list[self.position(sequence)?], place))
    }

    fn position(&self, sequence: u64) -> Option<usize> {
        self.list.partition_point(|segment| segment.header.first_sequence <= sequence).checked_sub(1)
    }

    /// An extent came to stand in this batch.
    pub(crate) fn retain(&mut self, sequence: u64) {
        *self.live(sequence) += 1;
    }

    /// An extent in this batch is gone.
    pub(crate) fn release(&mut self, sequence: u64) {
        *self.live(sequence) -= 1;
    }

    fn live(&mut self, sequence: u64) -> &mut u64 {
        if sequence == self.staged_sequence() {
            return &mut self.staged_live;
        }
        let position = self.position(sequence).expect("an extent stands in a segment that is there");
        &mut self.list[position].live
    }

    /// Takes out the oldest segment where nothing stands in it and it is not the current one.
    pub(crate) fn take_dead(&mut self) -> Option<Segment> {
        if self.list.len() < 2 || self.list[0].live > 0 {
            return None;
        }
        let batches = self.list[1].header.first_sequence - self.list[0].header.first_sequence;
        self.places.drain(..batches as usize);
        self.placed_before += batches;
        self.list.pop_front()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.list.iter().map(|segment| segment.header.bytes + segment.ledger_bytes).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.list.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        self.list.iter_mut()
    }

    /// The first batch that has a place.
    pub(crate) fn first_sequence(&self) -> u64 {
        self.placed_before + 1
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

/// The end of a ledger that counts byte by byte.
const LEDGER_END_BYTES: u64 = 64 << 10;
