//! The log: staging changes of all groups, and handing batches of them to the disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kontiki_raft::planted::planted;
use kontiki_raft::{GroupId, LogPosition, Ticket};
use kontiki_world::{Disk, entropy};

use crate::cache::Evictable;
use crate::error::LogError;
use crate::finding::Finding;
use crate::format::{LedgerRow, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::group::{GroupLog, Shared};
use crate::job::{Dead, OpenFile, Pair, Target, WriteDone, WriteJob, Written};
use crate::names::{FileKind, ledger_bytes};
use crate::record::Head;
use crate::reserve::Reserve;
use crate::restore::Damaged;
use crate::scrub::Cursor;
use crate::segments::Segment;
use crate::staged::{Batch, Staged, Touched};
use crate::stalled::Stalled;
use crate::types::{Identity, Options, Write};

/// The log of all groups of a process, in one directory. See the crate's page for the order of calls.
///
/// What is staged is visible at once to [`Log::entries`] and the other questions, and durable when
/// [`Log::finish_write`] says so. After a failed write the log changes nothing any more.
#[derive(Debug)]
pub struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) options: Options,
    pub(crate) groups: BTreeMap<GroupId, GroupLog>,
    pub(crate) shared: Shared,
    pub(crate) findings: Vec<Finding>,
    pub(crate) staged: Staged,
    in_flight: Option<InFlight>,
    /// The batch that waits for space for its segment.
    pub(crate) stalled: Option<Stalled>,
    /// What the next write puts right.
    pub(crate) damaged: Vec<Damaged>,
    /// Batches of which both copies of header and directory are lost.
    pub(crate) unknown: BTreeSet<u64>,
    /// Becomes the buffer of the next batch.
    buffer: Vec<u8>,
    /// Files kept for reuse, the reserve among them: the next one to be used first.
    pub(crate) spares: VecDeque<Pair>,
    pub(crate) reserve: Reserve,
    pub(crate) scrub: Cursor,
    /// Batches up to this one are durable.
    pub(crate) settled: u64,
    /// Shared with the job, which sets it.
    failed: Arc<AtomicBool>,
}

#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) sequence: u64,
    pub(crate) touched: Vec<Touched>,
}

impl Log {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, identity: Identity, options: Options, shared: Shared) -> Log {
        Log {
            disk,
            dir,
            identity,
            options,
            groups: BTreeMap::new(),
            shared,
            findings: Vec::new(),
            staged: Staged::default(),
            in_flight: None,
            stalled: None,
            damaged: Vec::new(),
            unknown: BTreeSet::new(),
            buffer: Vec::new(),
            spares: VecDeque::new(),
            reserve: Reserve::default(),
            scrub: Cursor::default(),
            settled: 0,
            failed: Arc::default(),
        }
    }

    /// Stages hard state and entries: durable together or not at all.
    ///
    /// # Panics
    /// Where the entries are not contiguous with themselves and the log, or reach into what is compacted.
    pub fn save(&mut self, write: Write) {
        let Write { group, ticket, hard_state, entries } = write;
        let Some(log) = self.touch(group, Some(ticket)) else { return };
        if let Some(hard_state) = hard_state {
            log.set_hard_state(hard_state);
            self.staged.hard_state(group, hard_state);
        }
        for pair in entries.windows(2) {
            assert!(pair[0].index.next() == pair[1].index, "entries to save are contiguous");
            assert!(pair[0].term <= pair[1].term, "terms in a log do not go back");
        }
        let Some(log) = self.groups.get_mut(&group) else { return };
        for run in entries.chunk_by(|a, b| a.term == b.term) {
            let payloads: usize = run.iter().map(|entry| entry.payload.len()).sum();
            let bytes = u32::try_from(payloads).expect("a batch is smaller than 4 GiB");
            let appended = log.append(run[0].term, run[0].index, run.len() as u32, bytes, &mut self.shared);
            appended.unwrap_or_else(|misfit| panic!("{group}: {misfit}"));
            self.staged.entries(group, run, false);
        }
        for entry in entries {
            log.keep(entry, &mut self.shared.cache);
        }
    }

    /// Stages that entries up to `up_to` are no longer needed. What is compacted already is left as it is.
    ///
    /// # Panics
    /// Where the log does not hold the position.
    pub fn compact(&mut self, group: GroupId, up_to: LogPosition) {
        if self.groups.get(&group).is_none_or(|log| up_to.index <= log.compacted().index) {
            return;
        }
        if self.touch(group, None).is_none() {
            return;
        }
        if let Some(log) = self.groups.get_mut(&group) {
            log.compact(up_to, &mut self.shared).unwrap_or_else(|misfit| panic!("{group}: {misfit}"));
            self.staged.compacted(group, up_to);
        }
    }

    /// Stages that the log is empty and begins behind `position`: a snapshot replaced it.
    pub fn reset(&mut self, group: GroupId, position: LogPosition) {
        if self.touch(group, None).is_none() {
            return;
        }
        if let Some(log) = self.groups.get_mut(&group) {
            log.reset(position, &mut self.shared);
            self.staged.reset(group, position);
        }
    }

    /// Notes the group in the batch being filled; None once the log has failed.
    pub(crate) fn touch(&mut self, group: GroupId, ticket: Option<Ticket>) -> Option<&mut GroupLog> {
        if self.has_failed() {
            return None;
        }
        let log = self.groups.entry(group).or_default();
        self.staged.touch(group, log, self.shared.segments.staged_sequence(), ticket);
        Some(log)
    }

    /// Turns everything staged into a job. None while a job is under way, where nothing is staged, and after a failure;
    /// also while it needs a segment that the disk had no room for: until [`Log::start_reserve`] has made one.
    pub fn start_write(&mut self) -> Option<WriteJob> {
        if self.in_flight.is_some() || self.has_failed() {
            return None;
        }
        let is_full = self.is_full();
        if let Some(stalled) = self.stalled.take_if(|_| !is_full) {
            return Some(self.resume(stalled));
        }
        if self.stalled.is_some() {
            return None;
        }
        self.move_from_unknown();
        if self.staged.is_empty() {
            return None;
        }
        let fresh = !self.fits_current();
        if fresh && is_full {
            return None;
        }
        if fresh {
            let heads = self.groups.iter().map(|(group, log)| (*group, &log.started));
            self.staged.put_heads(heads.filter(|(_, head)| **head != Head::default()));
        }
        let sequence = self.shared.segments.staged_sequence();
        let (batch, touched) = self.staged.finish(sequence, std::mem::take(&mut self.buffer));
        let row = LedgerRow::bytes_for(batch.header.head_bytes()) as u32;
        let target = if fresh { self.begin_segment(sequence, batch.header.length, row) } else { self.current_target() };
        let lent = if matches!(target, Target::Fresh { spare: None, .. }) { self.lend() } else { Vec::new() };
        self.shared.segments.place(batch.header.length, row);
        for touched in &touched {
            if let Some(log) = self.groups.get_mut(&touched.group) {
                log.started = log.head();
            }
        }
        let dead = self.take_dead();
        Some(self.job(InFlight { sequence, touched }, batch, target, dead, lent))
    }

    pub(crate) fn job(
        &mut self,
        in_flight: InFlight,
        batch: Batch,
        target: Target,
        dead: Vec<Dead>,
        lent: Vec<Pair>,
    ) -> WriteJob {
        self.in_flight = Some(in_flight);
        let seal = self.shared.segments.current().expect("the batch was placed in it").seal();
        let (disk, dir, failed) = (Arc::clone(&self.disk), self.dir.clone(), Arc::clone(&self.failed));
        let restores = self.take_restores();
        WriteJob { disk, dir, batch, seal, target, dead, lent, restores, failed }
    }

    /// Whether what is staged has room in the current segment.
    pub(crate) fn fits_current(&self) -> bool {
        self.shared.segments.has_room(self.staged.padded_len() as u64, self.staged.row_len() as u64)
    }

    fn current_target(&self) -> Target {
        let segment = self.shared.segments.current().expect("there is room in a current segment");
        let [log, ledger] =
            [(&segment.files.log, &segment.path), (&segment.files.ledger, &segment.ledger_path)].map(|(file, path)| {
                let file = file.clone().expect("the write that made the segment is done");
                OpenFile { file, path: path.clone() }
            });
        Target::Current { log, offset: segment.used, ledger, row: segment.ledger_used }
    }

    fn begin_segment(&mut self, first_sequence: u64, batch: u32, row: u32) -> Target {
        let least = (SEGMENT_HEADER_BYTES as u64 + u64::from(batch)).next_multiple_of(PAGE_BYTES);
        let bytes = self.options.segment_bytes.max(least);
        let before = self.shared.segments.current().and_then(Segment::open_ledger);
        let number = self.shared.segments.current().map_or(1, |segment| segment.number() + 1);
        let salt = self.options.salt.unwrap_or_else(entropy);
        let names = Pair::new(self.disk.as_ref(), &self.dir, [FileKind::Segment, FileKind::Ledger], number);
        let header = SegmentHeader { identity: self.identity, number, first_sequence, salt, bytes };
        let segment = Segment::new(header, names.log.clone(), names.ledger.clone(), u64::from(row));
        let spare = if self.is_usual(&segment) { self.spares.pop_front() } else { None };
        self.shared.segments.push(segment);
        Target::Fresh { header, names, spare, before }
    }

    /// Length of the ledger of a segment that is no longer than usual.
    pub(crate) fn usual_ledger_bytes(&self) -> u64 {
        ledger_bytes(self.options.segment_bytes, 0)
    }

    /// Whether a spare is as long as its files.
    pub(crate) fn is_usual(&self, segment: &Segment) -> bool {
        segment.header.bytes == self.options.segment_bytes && segment.ledger_bytes == self.usual_ledger_bytes()
    }

    /// Segments that hold nothing of use once the batch just placed is durable.
    fn take_dead(&mut self) -> Vec<Dead> {
        let mut dead = Vec::new();
        let dead_max = if self.unknown.is_empty() { DEAD_MAX } else { usize::MAX };
        while dead.len() < dead_max {
            let Some(segment) = self.shared.segments.take_dead() else { break };
            let usual = self.is_usual(&segment) && segment.files.log.is_some() && !segment.closed;
            let keep = usual && self.spares.len() < self.options.spare_segments.max(usize::from(self.options.reserve));
            let kinds = [FileKind::Spare, FileKind::SpareLedger];
            let spare = keep.then(|| Pair::new(self.disk.as_ref(), &self.dir, kinds, segment.number()));
            if let Some(spare) = &spare {
                self.spares.push_back(spare.clone());
                self.reserve.found();
            }
            dead.push(Dead { names: Pair { log: segment.path, ledger: segment.ledger_path }, spare });
        }
        dead
    }

    /// Takes note that a job is done. Returns the newest durable ticket of every group that has a new one: none where the
    /// disk had no room for the segment that the batch needs ([`Log::space`]); it is not lost, and is tried again.
    ///
    /// # Panics
    /// Where `done` is not of the job that is under way.
    pub fn finish_write(&mut self, done: WriteDone) -> Vec<(GroupId, Ticket)> {
        let in_flight = self.in_flight.take().expect("a job is under way");
        assert_eq!(in_flight.sequence, done.sequence, "the job under way is the one that is done");
        self.take_back(done.lent);
        self.note(done.findings);
        let (buffer, fresh) = match done.result {
            Written::Durable { buffer, fresh } => (buffer, fresh),
            Written::NoSpace { batch, dead } => {
                self.stall(in_flight, batch, dead);
                return Vec::new();
            }
        };
        if let (Some(segment), Some(files)) = (self.shared.segments.current_mut(), fresh) {
            segment.files = files;
        }
        if buffer.capacity() <= BUFFER_KEPT_MAX {
            self.buffer = buffer;
        }
        self.shared.segments.set_checksum(in_flight.sequence, done.checksum);
        self.settle(in_flight.sequence, in_flight.touched.iter().map(|touched| touched.group));
        let others = if planted(49) { self.staged.touched() } else { &[] };
        let durable = in_flight.touched.iter().chain(others);
        durable.filter_map(|touched| Some((touched.group, touched.ticket?))).collect()
    }

    /// A batch is durable: entries of the groups that it names may leave memory when there is too much.
    pub(crate) fn settle(&mut self, sequence: u64, touched: impl Iterator<Item = GroupId>) {
        self.settled = sequence;
        let cache = &mut self.shared.cache;
        for group in touched {
            if let Some(log) = self.groups.get_mut(&group)
                && log.settle(sequence)
            {
                cache.allow(Evictable { group, last: log.durable() });
            }
        }
        while let Some(evictable) = cache.next() {
            if let Some(log) = self.groups.get_mut(&evictable.group) {
                log.forget_cached(evictable.last.min(log.durable()), cache);
            }
        }
        let groups = &self.groups;
        cache.sweep(|evictable| {
            groups.get(&evictable.group).is_some_and(|log| log.cached_first() <= evictable.last.min(log.durable()))
        });
    }

    /// The group whose oldest entry keeps the oldest segment from being removed, and how many segments behind the
    /// current one that is: what to checkpoint first. None where only the current segment holds entries.
    #[must_use]
    pub fn pinned(&self) -> Option<(GroupId, u64)> {
        let (oldest, current) = (self.shared.segments.oldest()?, self.shared.segments.current()?);
        let (sequence, group) =
            self.groups.iter().filter_map(|(group, log)| Some((log.oldest_sequence()?, *group))).min()?;
        let (segment, _) = self.shared.segments.find(sequence)?;
        let holds_oldest = segment.number() == oldest.number() && oldest.number() != current.number();
        holds_oldest.then(|| (group, current.number() - oldest.number()))
    }

    /// Bytes that the log's files take, those kept for reuse included.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        let spare = self.options.segment_bytes + self.usual_ledger_bytes();
        self.shared.segments.bytes() + self.spares.len() as u64 * spare
    }

    /// How many segments hold batches.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.shared.segments.len()
    }

    /// Whether a write failed. Then nothing is staged or written any more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether a job is under way.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// What [`Log::open`] found and did, and what the scrub found since: the write that a crash interrupted, damage.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    pub(crate) fn check_failed(&self) -> Result<(), LogError> {
        if self.has_failed() { Err(LogError::Failed) } else { Ok(()) }
    }
}

/// Dead segments that one job removes at most, so that it does not take long. A job makes at most one.
const DEAD_MAX: usize = 2;
/// A buffer that grew beyond this is not kept.
const BUFFER_KEPT_MAX: usize = 4 << 20;
const PAGE_BYTES: u64 = 4096;
