//! Reading back what is durable, a piece at a time, before somebody needs it.

use std::path::PathBuf;
use std::sync::Arc;

use kontiki_raft::GroupId;
use kontiki_world::File;

use crate::error::Damage;
use crate::finding::Finding;
use crate::format::{BatchHeader, LedgerRow, Part, ROW_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::gaps::Gap;
use crate::group::GroupLog;
use crate::log::Log;
use crate::read_file::read_lenient;
use crate::record::{Record, directory, owners};
use crate::restore::Damaged;
use crate::segments::Place;

/// A piece of the log to be read back, on any thread.
#[derive(Debug)]
pub struct ScrubJob {
    header: SegmentHeader,
    path: PathBuf,
    file: Arc<dyn File>,
    ledger_path: PathBuf,
    ledger: Arc<dyn File>,
    batches: Vec<(u64, Place)>,
    /// Where the ledger's rows of these batches end.
    rows_end: u64,
    wrapped: bool,
}

/// What a piece of the log was like, for [`Log::finish_scrub`].
#[derive(Debug)]
pub struct ScrubDone {
    segment: u64,
    findings: Vec<Finding>,
    damaged: Vec<Damaged>,
    losses: Vec<Loss>,
    /// Batches of which neither copy of header and directory is whole.
    unknown: Vec<u64>,
    bytes: u64,
    wrapped: bool,
}

/// Payloads that are not what was written: of some entries, or all of a batch.
#[derive(Debug)]
struct Loss {
    sequence: u64,
    entries: Option<(GroupId, Gap)>,
    offset: u64,
    damage: Damage,
}

/// Where the scrub goes on.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    next: u64,
    under_way: bool,
}

impl ScrubJob {
    /// Reads and checks.
    #[must_use]
    pub fn run(self) -> ScrubDone {
        let mut done = ScrubDone {
            segment: self.header.number,
            findings: Vec::new(),
            damaged: Vec::new(),
            losses: Vec::new(),
            unknown: Vec::new(),
            bytes: 0,
            wrapped: self.wrapped,
        };
        if self.batches[0].0 == self.header.first_sequence {
            self.check_headers(&mut done);
        }
        let (first, last) = (self.batches[0].1, self.batches[self.batches.len() - 1].1);
        let (start, row_start) = (u64::from(first.offset), u64::from(first.row));
        let mut batches = vec![0; (last.end() - start) as usize];
        let mut rows = vec![0; (self.rows_end - row_start) as usize];
        done.findings.extend(read_lenient(self.file.as_ref(), &self.path, &mut batches, start));
        done.findings.extend(read_lenient(self.ledger.as_ref(), &self.ledger_path, &mut rows, row_start));
        done.bytes += (batches.len() + rows.len()) as u64;
        for (sequence, place) in &self.batches {
            let batch = &batches[(u64::from(place.offset) - start) as usize..][..place.length as usize];
            let row = &rows[(u64::from(place.row) - row_start) as usize..];
            self.check_batch(*sequence, *place, batch, row, &mut done);
        }
        done
    }

    fn check_headers(&self, done: &mut ScrubDone) {
        for (part, file, path) in [(Part::Log, &self.file, &self.path), (Part::Ledger, &self.ledger, &self.ledger_path)]
        {
            let mut bytes = [0; SEGMENT_HEADER_BYTES];
            done.findings.extend(read_lenient(file.as_ref(), path, &mut bytes, 0));
            done.bytes += bytes.len() as u64;
            if bytes != self.header.encode(part) {
                done.damaged.push(self.damaged(part, 0, &self.header.encode(part)));
                done.findings.push(match part {
                    Part::Log => Finding::Restored { file: path.clone(), offset: 0, damage: Damage::NotASegment },
                    Part::Ledger => Finding::Ledger { file: path.clone(), offset: 0, damage: Damage::NotASegment },
                });
            }
        }
    }

    fn damaged(&self, part: Part, offset: u64, bytes: &[u8]) -> Damaged {
        Damaged { segment: self.header.number, part, offset, bytes: bytes.to_vec() }
    }

    fn check_batch(&self, sequence: u64, place: Place, batch: &[u8], row: &[u8], done: &mut ScrubDone) {
        let (seal, offset) = (self.header.seal(), u64::from(place.offset));
        let here = BatchHeader::expect(batch, seal, offset, u64::from(place.length), sequence)
            .and_then(|header| place.is_of(batch).map(|()| header));
        let listed = LedgerRow::check(row, seal, u64::from(place.row), self.header.bytes)
            .and_then(|found| place.is_of(&row[ROW_HEADER_BYTES..]).map(|()| found.header))
            .map_err(|reason| {
                let (file, offset) = (self.ledger_path.clone(), u64::from(place.row));
                done.findings.push(Finding::Ledger { file, offset, damage: Damage::Row { reason } });
            });
        let records = match (here, listed) {
            (Ok(header), listed) => {
                if listed.is_err() {
                    let mut row = Vec::new();
                    LedgerRow::put(&mut row, seal, u64::from(place.row), offset, &batch[..header.head_bytes()]);
                    done.damaged.push(self.damaged(Part::Ledger, u64::from(place.row), &row));
                }
                directory(&header, batch)
            }
            (Err(reason), Ok(header)) => {
                let (file, damage) = (self.path.clone(), Damage::Header { sequence, reason });
                done.findings.push(Finding::Restored { file, offset, damage });
                let head = &row[ROW_HEADER_BYTES..];
                done.damaged.push(self.damaged(Part::Log, offset, &head[..header.head_bytes()]));
                directory(&header, head)
            }
            (Err(reason), Err(())) => {
                let damage = Damage::ReadBack { sequence, reason };
                done.unknown.push(sequence);
                done.losses.push(Loss { sequence, entries: None, offset, damage });
                return;
            }
        };
        let records = match records {
            Ok(records) => records,
            Err(reason) => {
                let damage = Damage::Nonsense { sequence, reason };
                done.losses.push(Loss { sequence, entries: None, offset, damage });
                return;
            }
        };
        for record in &records {
            let Record::Entries(body) = record else { continue };
            let Err(damage) = body.check(batch, seal, offset, sequence) else { continue };
            let held = owners(&records, body.group).into_iter().filter(|(_, owner)| *owner == body);
            let offset = offset + body.range.start as u64;
            done.losses.extend(held.map(|(gap, _)| {
                let (entries, damage) = (Some((body.group, gap)), damage.clone());
                Loss { sequence, entries, offset, damage }
            }));
        }
    }
}

impl ScrubDone {
    /// How many bytes were read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether this piece was the last of a round through all of the log.
    #[must_use]
    pub fn wrapped(&self) -> bool {
        self.wrapped
    }
}

impl Log {
    /// The next piece to read back: batches of about `bytes_max` bytes with their ledger's rows. None where nothing is
    /// durable, and while another job is out.
    pub fn start_scrub(&mut self, bytes_max: u64) -> Option<ScrubJob> {
        let segments = &self.shared.segments;
        let first = segments.first_sequence();
        if self.scrub.under_way || self.has_failed() || self.settled < first {
            return None;
        }
        let from = if self.scrub.next < first || self.scrub.next > self.settled { first } else { self.scrub.next };
        // A segment whose file is lost is passed over: all that it held is in gaps.
        let readable = |sequence: &u64| segments.find(*sequence).is_some_and(|(segment, _)| segment.is_readable());
        let starts = segments.iter().map(|segment| segment.header.first_sequence).filter(|start| *start > from);
        let from = std::iter::once(from).chain(starts).find(readable)?;
        let (segment, place) = segments.find(from)?;
        let (file, ledger) = (segment.files.log.clone()?, segment.files.ledger.clone()?);
        let start = u64::from(place.offset);
        let mut batches = Vec::new();
        let mut rows_end = segment.ledger_used;
        let mut next = from;
        while next <= self.settled {
            let Some((elsewhere, place)) = segments.find(next) else { break };
            if elsewhere.number() != segment.number() {
                break;
            }
            if !batches.is_empty() && place.end() - start > bytes_max {
                rows_end = u64::from(place.row);
                break;
            }
            batches.push((next, place));
            next += 1;
        }
        if let Some((elsewhere, place)) = segments.find(next)
            && elsewhere.number() == segment.number()
        {
            rows_end = u64::from(place.row); // what is not durable yet is left out
        }
        let wrapped = next > self.settled;
        let (header, path, ledger_path) = (segment.header, segment.path.clone(), segment.ledger_path.clone());
        self.scrub = Cursor { next, under_way: true };
        Some(ScrubJob { header, path, file, ledger_path, ledger, batches, rows_end, wrapped })
    }

    /// Takes note of what a piece was like: what is lost becomes a gap ([`Log::lose`]). Returns the new gaps. A piece of a
    /// segment that is gone since does not count.
    pub fn finish_scrub(&mut self, done: ScrubDone) -> Vec<(GroupId, Gap)> {
        assert!(self.scrub.under_way, "a piece is being read");
        self.scrub.under_way = false;
        let Some(segment) = self.shared.segments.iter_mut().find(|segment| segment.number() == done.segment) else {
            return Vec::new();
        };
        // A write to a part of a page that cannot be read would fail, and a failed write is final.
        segment.closed |= done.findings.iter().any(|finding| matches!(finding, Finding::Unreadable { .. }));
        let path = segment.path.clone();
        let mut found = Vec::new();
        for Loss { sequence, entries, offset, damage } in done.losses {
            let spans = match entries {
                Some(entries) => vec![entries],
                None => {
                    let spans = |(group, log): (&GroupId, &GroupLog)| {
                        log.spans_in(sequence).into_iter().map(|gap| (*group, gap)).collect::<Vec<_>>()
                    };
                    self.groups.iter().flat_map(spans).collect()
                }
            };
            for (group, span) in spans {
                let Some(log) = self.groups.get_mut(&group) else { continue };
                for gap in log.lose(span, Some(sequence), self.settled, &mut self.shared.cache) {
                    let (file, damage) = (path.clone(), damage.clone());
                    let Gap { first, last } = gap;
                    self.findings.push(Finding::Lost { file, offset, group, first, last, damage, needed: true });
                    found.push((group, gap));
                }
            }
        }
        for damaged in done.damaged {
            if !self.damaged.contains(&damaged) {
                self.damaged.push(damaged);
            }
        }
        self.unknown.extend(done.unknown);
        self.note(done.findings);
        found
    }

    /// Tells what was found, once.
    pub(crate) fn note(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            if self.findings.len() < FINDINGS_MAX && !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
    }
}

/// Damage that stays is found in every round; it is told once, and not without bound.
const FINDINGS_MAX: usize = 1000;
