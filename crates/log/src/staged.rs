//! The batch that is being filled.

use kontiki_raft::{GroupId, HardState, LogPosition, Ticket};

use crate::format::{ALIGNMENT, BATCH_HEADER_BYTES, BatchHeader};
use crate::group::GroupLog;
use crate::record;
use crate::types::Entry;

/// Records staged since the last write was started, as they will stand on disk.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    /// Room for the header, then records. Empty while nothing is staged.
    buffer: Vec<u8>,
    records: u32,
    touched: Vec<Touched>,
}

/// A group that a batch names, and the newest ticket in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touched {
    pub(crate) group: GroupId,
    pub(crate) ticket: Option<Ticket>,
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

    pub(crate) fn hard_state(&mut self, group: GroupId, hard_state: HardState) {
        record::put_hard_state(self.next_record(), group, hard_state);
    }

    /// Entries of one term.
    pub(crate) fn entries(&mut self, group: GroupId, entries: &[Entry]) {
        record::put_entries(self.next_record(), group, entries);
    }

    pub(crate) fn compacted(&mut self, group: GroupId, position: LogPosition) {
        record::put_compacted(self.next_record(), group, position);
    }

    pub(crate) fn reset(&mut self, group: GroupId, position: LogPosition) {
        record::put_reset(self.next_record(), group, position);
    }

    pub(crate) fn head(&mut self, group: GroupId, log: &GroupLog) {
        record::put_head(self.next_record(), group, &log.started);
    }

    fn next_record(&mut self) -> &mut Vec<u8> {
        self.begin();
        self.records += 1;
        &mut self.buffer
    }

    fn begin(&mut self) {
        if self.buffer.is_empty() {
            self.buffer.resize(BATCH_HEADER_BYTES, 0);
        }
    }

    /// Puts the records of `other` behind those of this one.
    pub(crate) fn append(&mut self, other: &mut Staged) {
        self.begin();
        self.buffer.extend_from_slice(other.buffer.get(BATCH_HEADER_BYTES..).unwrap_or_default());
        self.records += other.records;
        self.touched.append(&mut other.touched);
        other.reuse(Vec::new());
    }

    /// Ends the batch: its bytes, whole but for the checksum, and whom it concerns. A new one begins in `buffer`.
    pub(crate) fn finish(&mut self, sequence: u64, buffer: Vec<u8>) -> (Vec<u8>, Vec<Touched>) {
        self.begin();
        self.buffer.resize(self.padded_len(), 0);
        let length = u32::try_from(self.buffer.len()).expect("a batch is smaller than 4 GiB");
        BatchHeader { sequence, length, records: self.records }.write_to(&mut self.buffer);
        let touched = std::mem::take(&mut self.touched);
        (self.reuse(buffer), touched)
    }

    /// Length of the batch as it will be written.
    pub(crate) fn padded_len(&self) -> usize {
        self.buffer.len().max(BATCH_HEADER_BYTES).next_multiple_of(ALIGNMENT)
    }

    fn reuse(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        buffer.clear();
        self.records = 0;
        std::mem::replace(&mut self.buffer, buffer)
    }
}
