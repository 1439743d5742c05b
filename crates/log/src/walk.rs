//! Going through the batches of a segment with the decision table in hand.

use std::ops::Range;

use std::io;

use kontiki_raft::planted::planted;

use crate::error::{BatchProblem, Damage, LogError, Proof};
use crate::finding::Finding;
use crate::format::{BATCH_HEADER_BYTES, BatchHeader, LedgerRow, SEGMENT_HEADER_BYTES, u32_at};
use crate::job;
use crate::judge::{Evidence, Known, Verdict};
use crate::ledger::Rows;
use crate::record::{Nonsense, Record, directory};
use crate::scan::Found;

/// A batch that the log holds.
pub(crate) struct Batch<'a> {
    pub(crate) header: BatchHeader,
    pub(crate) offset: u64,
    /// Of header and directory.
    pub(crate) checksum: u32,
    pub(crate) records: Vec<Record>,
    /// What is wrong with the payloads of each record.
    pub(crate) damage: Vec<Option<Damage>>,
    /// From the batch's first byte to the end of the file, as far as that is there.
    pub(crate) bytes: &'a [u8],
}

/// A batch's header, header and directory as bytes, and where these are from.
type Identified<'a> = (BatchHeader, &'a [u8], Known);

/// What a segment needs to be whole again.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// Headers and directories to be written into the segment's file, by offset.
    pub(crate) restore: Vec<(u64, Vec<u8>)>,
    /// Batches at the end of the log without a row: from the first byte of the first to the end of the last.
    pub(crate) unlisted: Option<Range<u64>>,
    /// The ledger as it should be, from its header on.
    pub(crate) ledger: Vec<u8>,
    pub(crate) findings: Vec<Finding>,
}

/// The files of one segment, read, and what follows it.
pub(crate) struct Walk<'a> {
    pub(crate) found: &'a Found,
    pub(crate) bytes: &'a [u8],
    pub(crate) rows: &'a Rows<'a>,
    /// The sequence number with which the next segment begins; None for the last one.
    pub(crate) next: Option<u64>,
    /// What could not be read of the segment's file and of its ledger.
    pub(crate) unreadable: [&'a [Finding]; 2],
}

impl<'a> Walk<'a> {
    /// Gives every batch of the segment to `each`, in order.
    pub(crate) fn run(
        &self,
        walked: &mut Walked,
        mut each: impl FnMut(Batch<'a>) -> Result<(), Nonsense>,
    ) -> Result<(), LogError> {
        let mut offset = SEGMENT_HEADER_BYTES as u64;
        let mut sequence = self.found.header.first_sequence;
        while self.next != Some(sequence) {
            let (here, problem) = self.look(sequence, offset);
            let Some((header, head, known)) = here else {
                let problem = problem.unwrap_or(BatchProblem::NoMagic);
                let evidence = Evidence { known: Known::Nowhere, whole: false, proof: self.proof(sequence, offset) };
                return self.end(walked, self.judge(evidence), sequence, offset, problem);
            };
            let nonsense = |reason| self.damaged(offset, Damage::Nonsense { sequence, reason });
            if offset.max(walked.ledger.len() as u64) > u64::from(u32::MAX) {
                return Err(nonsense("only a segment's first batch reaches beyond 4 GiB".to_owned()));
            }
            let records = directory(&header, head).map_err(nonsense)?;
            let bytes = self.bytes.get(offset as usize..).unwrap_or_default();
            let mut damage = self.check(&records, bytes, offset, sequence);
            if planted(48) && self.rows.get(sequence, offset).is_none() && self.proof(sequence, offset).is_none() {
                damage.fill(None);
            }
            let whole = damage.iter().all(Option::is_none);
            let listed = self.rows.get(sequence, offset).map(|_| Proof::Ledger);
            let proof = if whole { None } else { listed.or_else(|| self.proof(sequence, offset)) };
            let verdict = self.judge(Evidence { known, whole, proof });
            match verdict {
                Verdict::Keep if listed.is_none() && self.next.is_none() => {
                    let end = offset + u64::from(header.length);
                    walked.unlisted.get_or_insert(offset..end).end = end;
                }
                // A later row says that the sync behind which it was written took all before it along.
                Verdict::Keep | Verdict::Gap => walked.unlisted = None,
                Verdict::Restore | Verdict::RestoreGap => {
                    let reason = problem.unwrap_or(BatchProblem::NoMagic);
                    let (file, damage) = (self.found.names.log.clone(), Damage::Header { sequence, reason });
                    walked.findings.push(Finding::Restored { file, offset, damage });
                    walked.restore.push((offset, head.to_vec()));
                }
                Verdict::Cut | Verdict::Refuse(_) => {
                    return self.end(walked, verdict, sequence, offset, BatchProblem::Payloads);
                }
            }
            let at = walked.ledger.len() as u64;
            LedgerRow::put(&mut walked.ledger, self.found.header.seal(), at, offset, head);
            self.tell(walked, &records, &damage, offset);
            let checksum = u32_at(head, 4);
            each(Batch { header, offset, checksum, records, damage, bytes }).map_err(nonsense)?;
            offset += u64::from(header.length);
            sequence += 1;
        }
        Ok(())
    }

    fn judge(&self, evidence: Evidence) -> Verdict {
        match evidence.judge() {
            verdict if planted(47) && verdict != Verdict::Keep && self.next.is_none() => Verdict::Cut,
            verdict => verdict,
        }
    }

    /// Header and directory of the batch expected here, and what is wrong with those in the segment's file. Where the
    /// ledger says something else, what stands in the file is from an earlier write.
    fn look(&self, sequence: u64, offset: u64) -> (Option<Identified<'a>>, Option<BatchProblem>) {
        let header = &self.found.header;
        let bytes: &'a [u8] = self.bytes.get(offset as usize..).unwrap_or_default();
        let room = header.bytes.saturating_sub(offset);
        let here = BatchHeader::expect(bytes, header.seal(), offset, room, sequence);
        let row = self.rows.get(sequence, offset);
        match (here, row) {
            (Ok(here), None) => (Some((here, &bytes[..here.head_bytes()], Known::Here)), None),
            (Ok(here), Some((_, head))) if bytes[..here.head_bytes()] == *head => {
                (Some((here, head, Known::Here)), None)
            }
            (Ok(_), Some((listed, head))) => (Some((listed, head, Known::Ledger)), Some(BatchProblem::Stale)),
            (Err(problem), Some((listed, head))) => (Some((listed, head, Known::Ledger)), Some(problem)),
            (Err(problem), None) => (None, Some(problem)),
        }
    }

    fn check(&self, records: &[Record], bytes: &[u8], offset: u64, sequence: u64) -> Vec<Option<Damage>> {
        let seal = self.found.header.seal();
        let check = |record: &Record| match record {
            Record::Entries(body) => body.check(bytes, seal, offset, sequence).err(),
            _ => None,
        };
        records.iter().map(check).collect()
    }

    /// What shows, besides its own row in the ledger, that the batch expected here was durable.
    fn proof(&self, sequence: u64, offset: u64) -> Option<Proof> {
        if let Some(next) = self.next {
            return Some(Proof::Segment(next));
        }
        if sequence == self.found.header.first_sequence {
            return Some(Proof::First);
        }
        if let Some(later) = self.rows.behind(sequence - 1) {
            return Some(Proof::LaterRow(later));
        }
        let from = usize::try_from(offset).ok()?;
        let (at, later) = BatchHeader::search(self.bytes, from, self.found.header.seal(), sequence)?;
        Some(Proof::Later { sequence: later.sequence, offset: at })
    }

    /// The log ends here, or cannot be read on.
    fn end(
        &self,
        walked: &mut Walked,
        verdict: Verdict,
        sequence: u64,
        offset: u64,
        problem: BatchProblem,
    ) -> Result<(), LogError> {
        if let Verdict::Refuse(proof) = verdict {
            return Err(self.damaged(offset, Damage::Identity { sequence, reason: problem, proof }));
        }
        if let Some(error) = self.unread(offset, walked.ledger.len() as u64, problem) {
            return Err(error);
        }
        // Without a header nothing can be said: unused space may hold anything of the file's earlier life.
        if matches!(problem, BatchProblem::Checksum { .. } | BatchProblem::Payloads) {
            walked.findings.push(Finding::Cut { file: self.found.names.log.clone(), offset, problem });
        }
        Ok(())
    }

    /// The error where a batch that would be cut stands where nothing can be read: a torn write does not make sectors
    /// unreadable, so it may have been durable, and its row was lost with the power. Where the segment can be read and has
    /// something of the batch, an unreadable row is as good as none that was lost.
    fn unread(&self, offset: u64, row: u64, problem: BatchProblem) -> Option<LogError> {
        let header = &self.found.header;
        let bytes = self.bytes.get(offset as usize..).unwrap_or_default();
        let batch = offset..offset.saturating_add(BatchHeader::extent(bytes, header.seal(), offset));
        let begun = matches!(problem, BatchProblem::Checksum { .. } | BatchProblem::Payloads);
        let row = row..row + if begun { LedgerRow::bytes_for(BATCH_HEADER_BYTES) as u64 } else { 0 };
        let names = &self.found.names;
        let places = [(&names.log, batch, self.unreadable[0]), (&names.ledger, row, self.unreadable[1])];
        places.into_iter().find_map(|(path, place, unreadable)| {
            let error = unreadable.iter().find_map(|finding| match finding {
                Finding::Unreadable { offset, bytes, error, .. } => {
                    (*offset < place.end && place.start < offset + bytes && !place.is_empty()).then_some(error)
                }
                _ => None,
            })?;
            Some(job::io("read", path)(io::Error::other(error.clone())))
        })
    }

    fn tell(&self, walked: &mut Walked, records: &[Record], damage: &[Option<Damage>], offset: u64) {
        for (record, damage) in records.iter().zip(damage) {
            if let (Record::Entries(body), Some(damage)) = (record, damage) {
                let span = body.span();
                walked.findings.push(Finding::Lost {
                    file: self.found.names.log.clone(),
                    offset: offset + body.range.start as u64,
                    group: body.group,
                    first: span.first,
                    last: span.last,
                    damage: damage.clone(),
                    needed: true,
                });
            }
        }
    }

    fn damaged(&self, offset: u64, damage: Damage) -> LogError {
        LogError::Damaged { file: self.found.names.log.clone(), offset, damage }
    }
}
