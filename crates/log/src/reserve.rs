//! Space for one segment that is always kept, so that a full disk does not end the log.
//!
//! The reserve is a spare: the next write that needs a segment takes it. What is left of the new segment then is what can
//! be written until there is a reserve again.

use std::sync::Arc;

use kontiki_world::{Disk, OpenMode};

use crate::error::LogError;
use crate::job::{self, Pair};
use crate::log::Log;
use crate::names::{FileKind, ledger_bytes};
use crate::segments::Segment;

/// Whether there is a reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// The next segment has its place on the disk, or it was not yet tried to get one.
    Ample,
    /// The disk had no room for another segment when that was last tried.
    Low {
        /// What can still be written besides what is staged: the rest of the current segment, or what its ledger has
        /// rows for where that is less. None is left while what is staged waits for a segment.
        bytes_left: u64,
    },
}

/// Makes the reserve, on any thread.
#[derive(Debug)]
pub struct ReserveJob {
    disk: Arc<dyn Disk>,
    names: Pair,
    segment_bytes: u64,
}

/// Whether that worked, for [`Log::finish_reserve`].
#[derive(Debug)]
pub struct ReserveDone {
    names: Pair,
    /// None where it was made.
    error: Option<LogError>,
}

impl ReserveJob {
    /// Reserves the space. Where there is none, or the disk refuses otherwise, nothing of it remains.
    #[must_use]
    pub fn run(self) -> ReserveDone {
        let error = self.make().err();
        if error.is_some() {
            self.clear();
        }
        ReserveDone { names: self.names, error }
    }

    fn make(&self) -> Result<(), LogError> {
        self.clear();
        let files = [(&self.names.log, self.segment_bytes), (&self.names.ledger, ledger_bytes(self.segment_bytes, 0))];
        for (path, bytes) in files {
            let file = self.disk.open(path, OpenMode::New).map_err(job::io("open", path))?;
            file.allocate(bytes).map_err(job::io("allocate space for", path))?;
        }
        Ok(())
    }

    fn clear(&self) {
        for path in [&self.names.log, &self.names.ledger] {
            // A file that stays is in nobody's way: the next attempt removes it, or the next start.
            let _ = self.disk.remove(path);
        }
    }
}

impl Log {
    /// Whether the log has room for another segment.
    #[must_use]
    pub fn space(&self) -> Space {
        if self.stalled.is_none() && !(self.reserve.is_low && self.spares.is_empty()) {
            return Space::Ample;
        }
        if self.stalled.is_some() || !self.fits_current() {
            return Space::Low { bytes_left: 0 };
        }
        let staged = self.staged.padded_len().max(self.staged.row_len()) as u64;
        let left = self.shared.segments.current().map_or(0, Segment::room_left);
        Space::Low { bytes_left: left.saturating_sub(staged) }
    }

    /// Whether there is no room for the next segment.
    pub(crate) fn is_full(&self) -> bool {
        self.reserve.no_room && self.spares.is_empty()
    }

    /// Gives all spares to a job whose segment is longer than they are: it gives them up where the disk is full.
    pub(crate) fn lend(&mut self) -> Vec<Pair> {
        self.reserve.lent = !self.spares.is_empty();
        self.spares.drain(..).collect()
    }

    /// Takes back what the job did not give up.
    pub(crate) fn take_back(&mut self, lent: Vec<Pair>) {
        self.reserve.lent = false;
        for spare in lent {
            self.spares.push_front(spare);
        }
    }

    /// No file could be made.
    pub(crate) fn note_full(&mut self) {
        self.reserve.is_low = true;
        self.reserve.no_room = true;
    }

    /// The job that makes the reserve, or the segment that a write waits for. None where there is one, where none is
    /// wanted, and while a job is out.
    pub fn start_reserve(&mut self) -> Option<ReserveJob> {
        let wanted = self.options.reserve || self.is_full();
        let there = self.reserve.under_way || self.reserve.lent || !self.spares.is_empty();
        if !wanted || there || self.has_failed() {
            return None;
        }
        self.reserve.under_way = true;
        // One is made per segment at most: the next segment takes it.
        let number = self.shared.segments.current().map_or(0, |segment| segment.number());
        let kinds = [FileKind::Reserve, FileKind::ReserveLedger];
        let names = Pair::new(self.disk.as_ref(), &self.dir, kinds, number);
        Some(ReserveJob { disk: Arc::clone(&self.disk), names, segment_bytes: self.options.segment_bytes })
    }

    /// Takes note of how the job went.
    pub fn finish_reserve(&mut self, done: ReserveDone) {
        assert!(self.reserve.under_way, "a reserve is being made");
        let no_room = done.error.as_ref().is_some_and(LogError::is_storage_full);
        self.reserve = Reserve { under_way: false, is_low: done.error.is_some(), no_room, ..self.reserve };
        if done.error.is_none() {
            self.spares.push_front(done.names);
        }
    }
}

/// What is known of the reserve, besides the spares.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reserve {
    under_way: bool,
    /// The write under way has the spares.
    lent: bool,
    /// The last attempt failed.
    is_low: bool,
    /// It failed as the disk had no room. Other errors are left to the write that needs a segment.
    no_room: bool,
}

impl Reserve {
    /// A segment that nobody needs any more became the reserve.
    pub(crate) fn found(&mut self) {
        self.is_low = false;
        self.no_room = false;
    }
}
