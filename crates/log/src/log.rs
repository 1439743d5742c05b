//! The log: staging changes of all groups, and handing batches of them to the disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kontiki_raft::{GroupId, LogPosition, Ticket};
use kontiki_world::{Disk, entropy};

use crate::cache::Evictable;
use crate::error::LogError;
use crate::format::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name, spare_name};
use crate::group::{GroupLog, Shared};
use crate::job::{Dead, Target, WriteDone, WriteJob};
use crate::record::Head;
use crate::scan::Cut;
use crate::segments::Segment;
use crate::staged::{Staged, Touched};
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
    pub(crate) cut: Option<Cut>,
    staged: Staged,
    in_flight: Option<InFlight>,
    /// Becomes the buffer of the next batch.
    buffer: Vec<u8>,
    /// Files kept for reuse.
    spares: Vec<PathBuf>,
    /// Shared with the job, which sets it.
    failed: Arc<AtomicBool>,
}

#[derive(Debug)]
struct InFlight {
    sequence: u64,
    touched: Vec<Touched>,
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
            cut: None,
            staged: Staged::default(),
            in_flight: None,
            buffer: Vec::new(),
            spares: Vec::new(),
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
            self.staged.entries(group, run);
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
    fn touch(&mut self, group: GroupId, ticket: Option<Ticket>) -> Option<&mut GroupLog> {
        if self.has_failed() {
            return None;
        }
        let log = self.groups.entry(group).or_default();
        self.staged.touch(group, log, self.shared.segments.staged_sequence(), ticket);
        Some(log)
    }

    /// Turns everything staged into a job. None while a job is under way, where nothing is staged, and after a failure.
    pub fn start_write(&mut self) -> Option<WriteJob> {
        if self.in_flight.is_some() || self.staged.is_empty() || self.has_failed() {
            return None;
        }
        let fresh = !self.shared.segments.has_room(self.staged.padded_len() as u64);
        if fresh {
            self.put_heads();
        }
        let sequence = self.shared.segments.staged_sequence();
        let (batch, touched) = self.staged.finish(sequence, std::mem::take(&mut self.buffer));
        let target = if fresh { self.begin_segment(sequence, batch.len() as u64) } else { self.current_target() };
        self.shared.segments.place(batch.len() as u32);
        for touched in &touched {
            if let Some(log) = self.groups.get_mut(&touched.group) {
                log.started = log.head();
            }
        }
        self.in_flight = Some(InFlight { sequence, touched });
        Some(WriteJob {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            sequence,
            salt: self.shared.segments.current().map_or(0, |segment| segment.salt),
            batch,
            target,
            dead: self.take_dead(),
            failed: Arc::clone(&self.failed),
        })
    }

    /// Puts before the staged records where every group stood before them: older segments may go then.
    fn put_heads(&mut self) {
        let mut heads = Staged::default();
        for (group, log) in &self.groups {
            if log.started != Head::default() {
                heads.head(*group, log);
            }
        }
        heads.append(&mut self.staged);
        self.staged = heads;
    }

    fn current_target(&self) -> Target {
        let segment = self.shared.segments.current().expect("there is room in a current segment");
        let file = segment.file.clone().expect("the write that made the segment is done");
        Target::Current { file, path: segment.path.clone(), offset: segment.used }
    }

    fn begin_segment(&mut self, first_sequence: u64, batch_bytes: u64) -> Target {
        let least = (SEGMENT_HEADER_BYTES as u64 + batch_bytes).next_multiple_of(PAGE_BYTES);
        let bytes = self.options.segment_bytes.max(least);
        let number = self.shared.segments.current().map_or(1, |segment| segment.number + 1);
        let salt = self.options.salt.unwrap_or_else(entropy);
        let path = self.disk.join(&self.dir, &segment_name(number));
        let spare = if bytes == self.options.segment_bytes { self.spares.pop() } else { None };
        self.shared.segments.push(Segment::new(number, path.clone(), salt, first_sequence, bytes));
        let header = SegmentHeader { identity: self.identity, number, first_sequence, salt, bytes };
        Target::Fresh { header, path, spare }
    }

    /// Segments that hold nothing of use once the batch just placed is durable.
    fn take_dead(&mut self) -> Vec<Dead> {
        let mut dead = Vec::new();
        while dead.len() < DEAD_MAX {
            let Some(segment) = self.shared.segments.take_dead() else { break };
            let keep = segment.bytes == self.options.segment_bytes && self.spares.len() < self.options.spare_segments;
            let spare = keep.then(|| self.disk.join(&self.dir, &spare_name(segment.number)));
            self.spares.extend(spare.clone());
            dead.push(Dead { path: segment.path, spare });
        }
        dead
    }

    /// Takes note that a job is done. Returns the newest durable ticket of every group that has a new one.
    ///
    /// # Panics
    /// Where `done` is not of the job that is under way.
    pub fn finish_write(&mut self, done: WriteDone) -> Vec<(GroupId, Ticket)> {
        let in_flight = self.in_flight.take().expect("a job is under way");
        assert_eq!(in_flight.sequence, done.sequence, "the job under way is the one that is done");
        if let Some(segment) = self.shared.segments.current_mut()
            && done.fresh.is_some()
        {
            segment.file = done.fresh;
        }
        if done.buffer.capacity() <= BUFFER_KEPT_MAX {
            self.buffer = done.buffer;
        }
        self.settle(in_flight.sequence, in_flight.touched.iter().map(|touched| touched.group));
        in_flight.touched.iter().filter_map(|touched| Some((touched.group, touched.ticket?))).collect()
    }

    /// A batch is durable: entries of the groups that it names may leave memory when there is too much.
    pub(crate) fn settle(&mut self, sequence: u64, touched: impl Iterator<Item = GroupId>) {
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
            self.groups.iter().filter_map(|(group, log)| Some((log.extents().front()?.sequence, *group))).min()?;
        let (segment, _) = self.shared.segments.find(sequence)?;
        let holds_oldest = segment.number == oldest.number && oldest.number != current.number;
        holds_oldest.then(|| (group, current.number - oldest.number))
    }

    /// Bytes that the log's files take, those kept for reuse included.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.shared.segments.bytes() + self.spares.len() as u64 * self.options.segment_bytes
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

    /// What [`Log::open`] cut off the log's end, where it could tell: the write that a crash interrupted.
    #[must_use]
    pub fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
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
