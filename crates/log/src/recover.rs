//! Opening a log: replays what the scan finds, then makes sure that it stays.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kontiki_raft::GroupId;
use kontiki_world::Disk;

use crate::cache::Cache;
use crate::error::{Damage, LogError};
use crate::format::{BATCH_HEADER_BYTES, BatchHeader};
use crate::group::{GroupLog, Shared};
use crate::job::io;
use crate::log::Log;
use crate::record::{EntryList, Nonsense, Record, records};
use crate::scan::{self, Listing, OpenSegment};
use crate::segments::{Segment, Segments};
use crate::types::{Identity, Options, Recovered};

impl Log {
    /// Opens the log in `dir`, or begins one where the directory is missing or empty. Returns it with every group in it.
    ///
    /// # Errors
    /// `Foreign` and `NewerFormat` for a log that is not this member's or release's, `Damaged` where something that was
    /// durable is lost. Nothing on disk is changed then.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        options: Options,
    ) -> Result<(Log, BTreeMap<GroupId, Recovered>), LogError> {
        let segment_bytes = options.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let options = Options { segment_bytes, ..options };
        disk.create_dir_all(dir).map_err(io("create", dir))?;
        let listing = scan::list(disk.as_ref(), dir, identity)?;
        let shared = Shared { segments: Segments::default(), cache: Cache::new(options.cache_bytes) };
        let mut log = Log::new(disk, dir.to_path_buf(), identity, options, shared);
        log.replay(&listing.segments)?;
        log.repair(&listing)?;
        let recovered = log.groups.iter().map(|(group, log)| (*group, log.recovered())).collect();
        Ok((log, recovered))
    }

    fn replay(&mut self, segments: &[OpenSegment]) -> Result<(), LogError> {
        let Some(oldest) = segments.first() else { return Ok(()) };
        self.shared.segments.begin_at(oldest.header.first_sequence);
        let mut buffer = Vec::new();
        for (position, segment) in segments.iter().enumerate() {
            let len = segment.file.len().map_err(io("measure", &segment.path))?;
            buffer.resize(len as usize, 0);
            segment.file.read_exact_at(&mut buffer, 0).map_err(io("read", &segment.path))?;
            let after = &segments[position + 1..];
            // Only what can still be in the cache at the end goes through it.
            let keep = after.iter().map(|segment| segment.header.bytes).sum::<u64>() < self.options.cache_bytes;
            let next = after.first().map(|next| next.header.first_sequence);
            self.begin_found(segment);
            let end = scan::walk(segment, &buffer, next, |header, batch| {
                let is_oldest = header.sequence == oldest.header.first_sequence;
                self.replay_batch(header, batch, keep, is_oldest)
            })?;
            self.cut = end.cut;
        }
        for (group, log) in &mut self.groups {
            if let Some((first, last)) = log.missing() {
                let damage = Damage::MissingEntries { group: *group, first, last };
                return Err(LogError::Damaged { file: self.dir.clone(), offset: 0, damage });
            }
            log.started = log.head();
        }
        Ok(())
    }

    fn begin_found(&mut self, found: &OpenSegment) {
        let header = found.header;
        let mut segment =
            Segment::new(header.number, found.path.clone(), header.salt, header.first_sequence, header.bytes);
        segment.file = Some(Arc::clone(&found.file));
        self.shared.segments.push(segment);
    }

    fn replay_batch(&mut self, header: BatchHeader, batch: &[u8], keep: bool, is_oldest: bool) -> Result<(), Nonsense> {
        let records_bytes = &batch[BATCH_HEADER_BYTES..];
        let mut kept: Option<Bytes> = None;
        let mut appended = Vec::new();
        for record in records(records_bytes, header.records) {
            match record? {
                Record::Entries(list) => {
                    let kept = keep.then(|| &*kept.get_or_insert_with(|| Bytes::copy_from_slice(records_bytes)));
                    self.replay_entries(&list, kept)?;
                    appended.push(list.group);
                }
                Record::HardState(group, hard_state) => self.group(group).set_hard_state(hard_state),
                Record::Compacted(group, position) => {
                    let log = self.groups.entry(group).or_default();
                    log.compact(position, &mut self.shared).map_err(|misfit| format!("{group}: {misfit}"))?;
                }
                Record::Reset(group, position) => {
                    self.groups.entry(group).or_default().reset(position, &mut self.shared);
                }
                Record::Head(group, head) if is_oldest => {
                    self.groups.insert(group, GroupLog::from_head(head));
                }
                Record::Head(group, head) => {
                    let found = self.group(group).head();
                    if found != head {
                        return Err(format!("it says that {group} was at {head:?}, but that is at {found:?}"));
                    }
                }
            }
        }
        self.shared.segments.place(header.length);
        self.settle(header.sequence, appended.into_iter());
        Ok(())
    }

    fn replay_entries(&mut self, list: &EntryList, kept: Option<&Bytes>) -> Result<(), Nonsense> {
        let log = self.groups.entry(list.group).or_default();
        log.append(list.term, list.first, list.count, list.payload_bytes(), &mut self.shared)
            .map_err(|misfit| format!("{}: {misfit}", list.group))?;
        match kept {
            Some(bytes) => list.entries(bytes, |entry| log.keep(entry, &mut self.shared.cache)),
            None => Ok(()),
        }
    }

    fn group(&mut self, group: GroupId) -> &mut GroupLog {
        self.groups.entry(group).or_default()
    }

    /// What was read may so far exist in the operating system's memory only: a process that was killed between write
    /// and sync leaves it there. It must not be lost after this member has acted on it.
    ///
    /// A torn tail is not wiped. The next batch overwrites its beginning; what remains of it behind that is part of one
    /// write that was never whole, and the scan found no valid batch there, so nothing in it can pass for one later.
    fn repair(&self, listing: &Listing) -> Result<(), LogError> {
        for leftover in &listing.leftovers {
            self.disk.remove(leftover).map_err(io("remove", leftover))?;
        }
        if let Some(segment) = listing.segments.last() {
            segment.file.sync_data().map_err(io("sync", &segment.path))?;
        }
        self.disk.sync_dir(&self.dir).map_err(io("sync", &self.dir))
    }
}

const SEGMENT_BYTES_MIN: u64 = 4096;
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
