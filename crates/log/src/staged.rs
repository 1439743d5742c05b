//! The batch that is being filled.

use kontiki_raft::{GroupId, HardState, Index, LogPosition, Term, Ticket};

use crate::format::{ALIGNMENT, BATCH_HEADER_BYTES, BatchHeader, LedgerRow};
use crate::group::GroupLog;
use crate::record::{self, Head, LENGTH_BYTES};
use crate::types::Entry;

/// Records staged since the last write was started, as they will stand on disk.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    directory: Vec<u8>,
    /// Room for header and directory, then payloads. Empty while there are none.
    buffer: Vec<u8>,
    records: u32,
    touched: Vec<Touched>,
    /// The directory's last row, where more entries can join it.
    open: Option<OpenRow>,
    votes: bool,
}

/// A group that a batch names, and the newest ticket in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touched {
    pub(crate) group: GroupId,
    pub(crate) ticket: Option<Ticket>,
}

#[derive(Debug)]
struct OpenRow {
    at: usize,
    group: GroupId,
    term: Term,
    mended: bool,
    next: Index,
    count: u32,
    bytes: u32,
}

/// A batch on its way to the disk: all but its checksums is there.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) header: BatchHeader,
    buffer: Vec<u8>,
    /// Where it begins in the buffer.
    start: usize,
    /// It holds a term and vote.
    pub(crate) votes: bool,
}

impl Batch {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

impl Staged {
    pub(crate) fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// Notes that the batch with this sequence number, which is this one, concerns the group.
    pub(crate) fn touch(&mut self, group: GroupId, log: &mut GroupLog, sequence: u64, ticket: Option<Ticket>) {
        if log.touched.0 != sequence {
            log.touched = (sequence, self.touched.len());
            self.touched.push(Touched { group, ticket: None });
        }
        let touched = &mut self.touched[log.touched.1];
        touched.ticket = touched.ticket.max(ticket);
    }

    /// The groups that the batch concerns so far.
    pub(crate) fn touched(&self) -> &[Touched] {
        &self.touched
    }

    pub(crate) fn hard_state(&mut self, group: GroupId, hard_state: HardState) {
        self.votes = true;
        record::put_hard_state(self.next_row(), group, hard_state);
    }

    /// Entries of one term. They join the row before where they continue it and it does not get too long: what is
    /// damaged within a row is lost with it.
    pub(crate) fn entries(&mut self, group: GroupId, entries: &[Entry], mended: bool) {
        let first = &entries[0];
        let payloads: usize = entries.iter().map(|entry| entry.payload.len() + LENGTH_BYTES).sum();
        let bytes = u32::try_from(payloads).expect("a batch is smaller than 4 GiB");
        let joins = self.open.as_ref().is_some_and(|open| {
            (open.group, open.term, open.mended, open.next) == (group, first.term, mended, first.index)
                && open.bytes.saturating_add(bytes) <= ROW_BODY_MAX
        });
        if !joins {
            let at = record::put_entries(self.next_row(), group, first, mended);
            self.open = Some(OpenRow { at, group, term: first.term, mended, next: first.index, count: 0, bytes: 0 });
        }
        if let Some(open) = &mut self.open {
            open.count += entries.len() as u32;
            open.bytes += bytes;
            open.next = Index(first.index.0 + entries.len() as u64);
            record::set_extent(&mut self.directory, open.at, open.count, open.bytes);
        }
        if self.buffer.is_empty() {
            self.buffer.resize(FRONT_BYTES, 0);
        }
        self.buffer.reserve(payloads);
        for entry in entries {
            self.buffer.extend_from_slice(&(entry.payload.len() as u32).to_le_bytes());
            self.buffer.extend_from_slice(&entry.payload);
        }
    }

    pub(crate) fn compacted(&mut self, group: GroupId, position: LogPosition) {
        record::put_compacted(self.next_row(), group, position);
    }

    pub(crate) fn reset(&mut self, group: GroupId, position: LogPosition) {
        record::put_reset(self.next_row(), group, position);
    }

    fn next_row(&mut self) -> &mut Vec<u8> {
        self.records += 1;
        self.open = None;
        &mut self.directory
    }

    /// Puts heads before all other records.
    pub(crate) fn put_heads<'a>(&mut self, heads: impl Iterator<Item = (GroupId, &'a Head)>) {
        let mut directory = Vec::new();
        for (group, head) in heads {
            record::put_head(&mut directory, group, head);
            self.records += 1;
            self.votes = true;
        }
        directory.append(&mut self.directory);
        self.directory = directory;
        self.open = None;
    }

    /// Ends the batch. A new one begins in `buffer`. Returns also whom the batch concerns.
    pub(crate) fn finish(&mut self, sequence: u64, buffer: Vec<u8>) -> (Batch, Vec<Touched>) {
        let length = u32::try_from(self.padded_len()).expect("a batch is smaller than 4 GiB");
        let directory = self.directory.len() as u32;
        let header = BatchHeader { sequence, length, directory, records: self.records };
        if self.buffer.is_empty() {
            self.buffer.resize(FRONT_BYTES, 0);
        }
        let more = header.head_bytes().saturating_sub(FRONT_BYTES);
        if more > 0 {
            self.buffer.splice(0..0, std::iter::repeat_n(0, more));
        }
        let start = FRONT_BYTES + more - header.head_bytes();
        self.buffer.resize(start + length as usize, 0);
        header.write_to(&mut self.buffer[start..]);
        self.buffer[start + BATCH_HEADER_BYTES..start + header.head_bytes()].copy_from_slice(&self.directory);
        self.directory.clear();
        self.records = 0;
        self.open = None;
        let mut next = buffer;
        next.clear();
        let buffer = std::mem::replace(&mut self.buffer, next);
        let votes = std::mem::take(&mut self.votes);
        (Batch { header, buffer, start, votes }, std::mem::take(&mut self.touched))
    }

    /// Length of the batch as it will be written.
    pub(crate) fn padded_len(&self) -> usize {
        let bodies = self.buffer.len().saturating_sub(FRONT_BYTES);
        (BATCH_HEADER_BYTES + self.directory.len() + bodies).next_multiple_of(ALIGNMENT)
    }

    /// Length of its row in the ledger.
    pub(crate) fn row_len(&self) -> usize {
        LedgerRow::bytes_for(BATCH_HEADER_BYTES + self.directory.len())
    }
}

/// Room for header and directory before the payloads, so that these need not be moved to put them there.
const FRONT_BYTES: usize = 4096;
/// Rows grow up to so many bytes of payloads by joining. A single save may take more.
const ROW_BODY_MAX: u32 = 64 << 10;
