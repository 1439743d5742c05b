//! A batch that needs a segment while the disk is full: it waits, and is written once there is room.

use crate::job::{Dead, Pair, Target, WriteJob};
use crate::log::{InFlight, Log};
use crate::names::FileKind;
use crate::staged::Batch;

/// The batch, whom it concerns, and the segments that nobody needs once it is durable. It has its place in memory: at the
/// head of the current segment, which has no files yet.
#[derive(Debug)]
pub(crate) struct Stalled {
    in_flight: InFlight,
    batch: Batch,
    dead: Vec<Dead>,
}

impl Log {
    /// The job could not make the segment. The spares that its dead segments were to become do not exist yet.
    pub(crate) fn stall(&mut self, in_flight: InFlight, batch: Batch, dead: Vec<Dead>) {
        self.spares.retain(|spare| dead.iter().all(|dead| dead.spare.as_ref() != Some(spare)));
        self.note_full();
        self.stalled = Some(Stalled { in_flight, batch, dead });
    }

    /// The same job again.
    pub(crate) fn resume(&mut self, stalled: Stalled) -> WriteJob {
        let Stalled { in_flight, batch, dead } = stalled;
        let segment = self.shared.segments.current().expect("the batch was placed in it");
        let header = segment.header;
        let names = Pair::new(self.disk.as_ref(), &self.dir, [FileKind::Segment, FileKind::Ledger], header.number);
        let usual = self.is_usual(segment);
        let before = self.shared.segments.before_current().and_then(|before| before.open_ledger());
        let spare = if usual { self.spares.pop_front() } else { None };
        let lent = if spare.is_none() { self.lend() } else { Vec::new() };
        self.spares.extend(dead.iter().filter_map(|dead| dead.spare.clone()));
        let target = Target::Fresh { header, names, spare, before };
        self.job(in_flight, batch, target, dead, lent)
    }
}
