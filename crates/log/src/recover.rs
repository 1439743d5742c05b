//! Opening a log: replays what the walk through its segments finds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kontiki_raft::GroupId;
use kontiki_world::Disk;

use crate::error::{Damage, LogError};
use crate::finding::Finding;
use crate::format::{LedgerRow, Part};
use crate::gaps::Gap;
use crate::group::{GroupLog, Shared};
use crate::job::io;
use crate::ledger::Rows;
use crate::log::Log;
use crate::names::{ledger_bytes, ledger_bytes_max};
use crate::record::{Body, Nonsense, Record};
use crate::repair::Plan;
use crate::scan::{self, Found, Listing};
use crate::segments::{Segment, SegmentFiles};
use crate::types::{Identity, Options, Recovered};
use crate::walk::{Batch, Walk, Walked};

impl Log {
    /// Opens the log in `dir`, or begins one where the directory is missing or empty. Returns it with every group in it.
    /// Entries whose payloads are lost are gaps of their groups; [`Log::findings`] tells what was found and done.
    ///
    /// # Errors
    /// `Foreign`, `OlderFormat` and `NewerFormat` for a log that is not this member's or release's, `Damaged` where
    /// something that was durable is lost and nobody knows what it was. Nothing on disk is changed then.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        options: Options,
    ) -> Result<(Log, BTreeMap<GroupId, Recovered>), LogError> {
        let segment_bytes = options.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let options = Options { segment_bytes, ..options };
        disk.create_dir_all(dir).map_err(io("create", dir))?;
        let mut listing = scan::list(disk.as_ref(), dir, Some(identity))?;
        let shared = Shared::new(options.cache_bytes);
        let mut log = Log::new(disk, dir.to_path_buf(), identity, options, shared);
        let plans = log.replay_needed(&mut listing, &mut |_, _| ())?;
        log.repair(&listing, plans)?;
        let recovered = log.groups.iter().map(|(group, log)| (*group, log.recovered())).collect();
        Ok((log, recovered))
    }

    /// Replays all segments. Where it is not known what a batch held, those behind it may hold all that is needed: the first
    /// batch of each says where every group stood.
    pub(crate) fn replay_needed(
        &mut self,
        listing: &mut Listing,
        seen: &mut dyn FnMut(&Found, &Batch<'_>),
    ) -> Result<Vec<Plan>, LogError> {
        let refused = match self.replay(&listing.segments, seen) {
            Err(error @ LogError::Damaged { damage: Damage::Identity { .. }, .. }) => error,
            result => return result,
        };
        for start in 1..listing.segments.len() {
            self.groups.clear();
            self.findings.clear();
            self.shared = Shared::new(self.options.cache_bytes);
            self.settled = 0;
            if let Ok(plans) = self.replay(&listing.segments[start..], seen) {
                listing.needless = listing.segments.drain(..start).collect();
                if let LogError::Damaged { file, offset, damage } = refused {
                    self.findings.push(Finding::Needless { file, offset, damage });
                }
                return Ok(plans);
            }
        }
        Err(refused)
    }

    /// Replays all segments, oldest first; `seen` is given each batch. Returns what each segment needs to be whole.
    pub(crate) fn replay(
        &mut self,
        segments: &[Found],
        seen: &mut dyn FnMut(&Found, &Batch<'_>),
    ) -> Result<Vec<Plan>, LogError> {
        let Some(oldest) = segments.first() else { return Ok(Vec::new()) };
        self.shared.segments.begin_at(oldest.header.first_sequence);
        let mut plans = Vec::new();
        for (position, found) in segments.iter().enumerate() {
            let after = &segments[position + 1..];
            // Only what can still be in the cache at the end goes through it.
            let behind = after.iter().map(|found| found.header.bytes).fold(0, u64::saturating_add);
            let keep = behind < self.options.cache_bytes;
            let next = after.first().map(|next| next.header.first_sequence);
            self.begin_found(found);
            let (bytes, bad_log) = found.log.read(&found.names.log, found.header.bytes);
            let ledger_max = ledger_bytes_max(found.header.bytes);
            let (ledger, bad_ledger) = found.ledger.read(&found.names.ledger, ledger_max);
            let rows = Rows::read(&ledger, &found.header);
            let mut walked = Walked { ledger: found.header.encode(Part::Ledger).to_vec(), ..Walked::default() };
            let walk = Walk { found, bytes: &bytes, rows: &rows, next, unreadable: [&bad_log, &bad_ledger] };
            walk.run(&mut walked, |batch| {
                seen(found, &batch);
                let is_oldest = batch.header.sequence == oldest.header.first_sequence;
                self.replay_batch(&batch, keep, is_oldest)
            })?;
            let mut damage = rows.damage.clone();
            if next.is_none() {
                damage = unreadable(&bad_ledger).or(damage);
            }
            if let Some(segment) = self.shared.segments.current_mut() {
                // A write to a part of a page that cannot be read fails, and a failed write is final. The newest ledger
                // is made anew.
                segment.closed |= !bad_log.is_empty() || next.is_some() && !bad_ledger.is_empty();
            }
            plans.push(Plan::new(found, &mut walked, &ledger, damage, next.is_some()));
            self.findings.extend(bad_log.into_iter().chain(bad_ledger));
            self.findings.append(&mut walked.findings);
        }
        for (group, log) in &mut self.groups {
            if let Some(Gap { first, last }) = log.missing() {
                let damage = Damage::MissingEntries { group: *group, first, last };
                return Err(LogError::Damaged { file: self.dir.clone(), offset: 0, damage });
            }
            log.started = log.head();
        }
        self.judge_losses();
        Ok(plans)
    }

    fn begin_found(&mut self, found: &Found) {
        let names = found.names.clone();
        let mut segment = Segment::new(found.header, names.log, names.ledger, 0);
        segment.short = matches!(found.log.damage, Some(Damage::MissingFile | Damage::Shortened { .. }));
        segment.closed = segment.short;
        segment.files = SegmentFiles { log: found.log.file.clone(), ledger: found.ledger.file.clone() };
        self.shared.segments.push(segment);
    }

    fn replay_batch(&mut self, batch: &Batch<'_>, keep: bool, is_oldest: bool) -> Result<(), Nonsense> {
        let mut appended = Vec::new();
        for (record, damage) in batch.records.iter().zip(&batch.damage) {
            match record {
                Record::Entries(body) => {
                    let whole = damage.is_none().then(|| &batch.bytes[body.range.clone()]);
                    self.replay_entries(body, whole, keep)?;
                    appended.push(body.group);
                }
                Record::HardState(group, hard_state) => self.group(*group).set_hard_state(*hard_state),
                Record::Compacted(group, position) => {
                    let log = self.groups.entry(*group).or_default();
                    log.compact(*position, &mut self.shared).map_err(|misfit| format!("{group}: {misfit}"))?;
                }
                Record::Reset(group, position) => {
                    self.groups.entry(*group).or_default().reset(*position, &mut self.shared);
                }
                Record::Head(group, head) if is_oldest => {
                    self.groups.insert(*group, GroupLog::from_head(*head));
                }
                Record::Head(group, head) => {
                    let found = self.group(*group).head();
                    if found != *head {
                        return Err(format!("it says that {group} was at {head:?}, but that is at {found:?}"));
                    }
                }
            }
        }
        let row = LedgerRow::bytes_for(batch.header.head_bytes()) as u32;
        self.shared.segments.place(batch.header.length, row);
        self.shared.segments.set_checksum(batch.header.sequence, batch.checksum);
        if let Some(segment) = self.shared.segments.current_mut()
            && segment.header.first_sequence == batch.header.sequence
        {
            segment.ledger_bytes = ledger_bytes(segment.header.bytes, u64::from(row));
        }
        self.settle(batch.header.sequence, appended.into_iter());
        Ok(())
    }

    /// `whole` is what the record's payloads consist of, where they are whole.
    fn replay_entries(&mut self, body: &Body, whole: Option<&[u8]>, keep: bool) -> Result<(), Nonsense> {
        let misfit = |misfit| format!("{}: {misfit}", body.group);
        let log = self.groups.entry(body.group).or_default();
        let shared = &mut self.shared;
        let span = body.span();
        if body.mended {
            log.replace(body.term, span, body.payload_bytes(), shared).map_err(misfit)?;
        } else {
            log.append(body.term, body.first, body.count, body.payload_bytes(), shared).map_err(misfit)?;
        }
        let sequence = shared.segments.staged_sequence();
        match whole {
            None => {
                log.lose(span, Some(sequence), sequence, &mut shared.cache);
            }
            Some(bytes) if keep && !body.mended => {
                body.entries(&Bytes::copy_from_slice(bytes), |entry| log.keep(entry, &mut shared.cache))?;
            }
            // What follows it in the cache would not follow it without a hole.
            Some(_) => log.forget_cached(span.last, &mut shared.cache),
        }
        Ok(())
    }

    fn group(&mut self, group: GroupId) -> &mut GroupLog {
        self.groups.entry(group).or_default()
    }

    /// Losses of entries that were replaced or compacted since do not matter.
    fn judge_losses(&mut self) {
        for finding in &mut self.findings {
            if let Finding::Lost { group, first, last, needed, .. } = finding {
                let gap = self.groups.get(group).and_then(|log| log.gaps().at_or_after(*first));
                *needed = gap.is_some_and(|gap| gap.first <= *last);
            }
        }
    }
}

/// What of a file could not be read, as damage.
fn unreadable(findings: &[Finding]) -> Option<(u64, Damage)> {
    findings.iter().find_map(|finding| match finding {
        Finding::Unreadable { offset, error, .. } => Some((*offset, Damage::Unreadable(error.clone()))),
        _ => None,
    })
}

const SEGMENT_BYTES_MIN: u64 = 4096;
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
