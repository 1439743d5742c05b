//! Reading a ledger: the rows of a segment's batches, by sequence number.

use std::collections::BTreeMap;

use crate::error::Damage;
use crate::format::{ALIGNMENT, BatchHeader, LedgerRow, ROW_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};

/// The whole rows of a ledger.
#[derive(Debug, Default)]
pub(crate) struct Rows<'a> {
    rows: BTreeMap<u64, (LedgerRow, &'a [u8])>,
    /// Damage before a whole row.
    pub(crate) damage: Option<(u64, Damage)>,
}

impl<'a> Rows<'a> {
    pub(crate) fn read(bytes: &'a [u8], segment: &SegmentHeader) -> Rows<'a> {
        let mut rows = Rows::default();
        let (mut at, mut bad) = (SEGMENT_HEADER_BYTES, None);
        while at < bytes.len() {
            match LedgerRow::check(&bytes[at..], segment.seal(), at as u64, segment.bytes) {
                Ok(row) => {
                    if rows.damage.is_none() {
                        rows.damage = bad.take();
                    }
                    let head = &bytes[at + ROW_HEADER_BYTES..][..row.header.head_bytes()];
                    rows.rows.insert(row.header.sequence, (row, head));
                    at += row.bytes();
                }
                Err(reason) => {
                    bad.get_or_insert((at as u64, Damage::Row { reason }));
                    at += ALIGNMENT;
                }
            }
        }
        rows
    }

    /// The row of a batch: its header and directory.
    pub(crate) fn get(&self, sequence: u64, place: u64) -> Option<(BatchHeader, &'a [u8])> {
        let (row, head) = self.rows.get(&sequence)?;
        (row.place == place).then_some((row.header, *head))
    }

    /// The first row of a batch behind this one.
    pub(crate) fn behind(&self, sequence: u64) -> Option<u64> {
        self.rows.range(sequence + 1..).next().map(|(sequence, _)| *sequence)
    }
}
