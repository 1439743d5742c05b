//! Which segments there are, which batch stands where, and which segments hold nothing of use any more.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use kontiki_world::File;

use crate::format::{ALIGNMENT, SEGMENT_HEADER_BYTES};

/// One file of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    /// None until the job that makes the segment is done.
    pub(crate) file: Option<Arc<dyn File>>,
    pub(crate) salt: u64,
    pub(crate) first_sequence: u64,
    /// Length of the file.
    pub(crate) bytes: u64,
    /// Where the next batch goes.
    pub(crate) used: u64,
    /// How many extents stand in it. A segment without is removed once it is the oldest.
    live: u64,
}

impl Segment {
    pub(crate) fn new(number: u64, path: PathBuf, salt: u64, first_sequence: u64, bytes: u64) -> Segment {
        let used = SEGMENT_HEADER_BYTES as u64;
        Segment { number, path, file: None, salt, first_sequence, bytes, used, live: 0 }
    }
}

/// Where a batch stands in its segment. Segments are found by sequence number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

impl Place {
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
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
        assert_eq!(segment.first_sequence, self.staged_sequence(), "the next batch is the new segment's first");
        self.list.push_back(segment);
    }

    pub(crate) fn current(&self) -> Option<&Segment> {
        self.list.back()
    }

    pub(crate) fn current_mut(&mut self) -> Option<&mut Segment> {
        self.list.back_mut()
    }

    pub(crate) fn oldest(&self) -> Option<&Segment> {
        self.list.front()
    }

    pub(crate) fn has_room(&self, length: u64) -> bool {
        self.list.back().is_some_and(|segment| segment.used + length <= segment.bytes)
    }

    /// Gives the batch that was being filled the next place in the current segment, and returns where that is.
    pub(crate) fn place(&mut self, length: u32) -> u64 {
        let segment = self.list.back_mut().expect("a batch is placed in a segment");
        let offset = segment.used;
        assert!(u64::from(length).is_multiple_of(ALIGNMENT as u64), "batches are padded");
        segment.used += u64::from(length);
        segment.live += std::mem::take(&mut self.staged_live);
        let offset_short = u32::try_from(offset).expect("only a segment's first batch reaches beyond 4 GiB");
        self.places.push_back(Place { offset: offset_short, length });
        offset
    }

    /// Segment and place of a batch that has one.
    pub(crate) fn find(&self, sequence: u64) -> Option<(&Segment, Place)> {
        let place = sequence.checked_sub(self.placed_before + 1)?;
        let place = *self.places.get(usize::try_from(place).ok()?)?;
        Some((&self.list[self.position(sequence)?], place))
    }

    fn position(&self, sequence: u64) -> Option<usize> {
        self.list.partition_point(|segment| segment.first_sequence <= sequence).checked_sub(1)
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
        let batches = self.list[1].first_sequence - self.list[0].first_sequence;
        self.places.drain(..batches as usize);
        self.placed_before += batches;
        self.list.pop_front()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.list.iter().map(|segment| segment.bytes).sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}
