//! A snapshot's pieces looked at without being written anywhere: whether they are whole, and what they hold.

use bytes::Bytes;

use crate::base::{FORMAT_ROW, MARK_ROW, Mark};
use crate::error::KvError;
use crate::layers::Table;
use crate::sealed::FORMAT;
use crate::snapshot::{END, ROWS, Totals, read_totals, row};
use crate::wire::Wire;

/// Takes the pieces of a snapshot in order.
#[derive(Debug, Default)]
pub struct SnapshotTally {
    pieces: u64,
    totals: Totals,
    complete: bool,
    versions: u64,
    /// Table and key of the last row.
    last: Option<(u8, Vec<u8>)>,
    format: Option<u32>,
    mark: Option<Mark>,
}

/// What a whole snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Index of the last log entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// The store's revision.
    pub revision: i64,
    /// Versions of keys: every put and deletion that is kept.
    pub versions: u64,
    /// A checksum over all rows.
    pub checksum: u32,
}

impl SnapshotTally {
    /// Looks at the next piece.
    ///
    /// # Errors
    /// Where the piece is damaged or does not follow the one before.
    pub fn take(&mut self, piece: &Bytes) -> Result<(), KvError> {
        let piece_number = self.pieces;
        let unusable = |what| KvError::Snapshot { piece: piece_number, what };
        if self.complete {
            return Err(unusable("it follows the last one"));
        }
        let (content, checksum) = piece.split_last_chunk::<4>().ok_or(unusable("too short"))?;
        if crc32c::crc32c(content) != u32::from_be_bytes(*checksum) {
            return Err(unusable("checksum does not match"));
        }
        match content.split_first() {
            Some((&ROWS, rows)) => {
                let count = self.rows(rows).map_err(unusable)?;
                self.totals.add(count, rows);
            }
            Some((&END, totals)) => {
                if read_totals(totals) != Some(self.totals) {
                    return Err(unusable("totals do not match: a piece was lost or doubled"));
                }
                self.complete = true;
            }
            Some(_) | None => return Err(unusable("unknown kind")),
        }
        self.pieces += 1;
        Ok(())
    }

    fn rows(&mut self, rows: &[u8]) -> Result<u64, &'static str> {
        let mut wire = Wire::new(rows);
        let mut count = 0;
        while wire.remaining() > 0 {
            let (table, key, value) = row(&mut wire).ok_or("rows cut short")?;
            if self.last.as_ref().is_some_and(|(of, last)| (*of, &last[..]) >= (table as u8, key)) {
                return Err("rows out of order");
            }
            match table {
                Table::Keys | Table::History => self.versions += 1,
                Table::Meta if key == FORMAT_ROW => self.format = value.try_into().ok().map(u32::from_be_bytes),
                Table::Meta if key == MARK_ROW => self.mark = Mark::decode(value),
                _ => {}
            }
            count += 1;
            match &mut self.last {
                Some((of, last)) if *of == table as u8 => {
                    last.clear();
                    last.extend_from_slice(key);
                }
                other => *other = Some((table as u8, key.to_vec())),
            }
        }
        Ok(count)
    }

    /// What all of them together hold.
    ///
    /// # Errors
    /// Where the last piece is missing, or the state is of another format.
    pub fn finish(self) -> Result<Tally, KvError> {
        let unusable = |what| KvError::Snapshot { piece: self.pieces, what };
        if !self.complete {
            return Err(unusable("the snapshot ends before its last one"));
        }
        match self.format {
            Some(FORMAT) => {}
            Some(found) => return Err(KvError::Format { found, supported: FORMAT }),
            None => return Err(unusable("the state has no format")),
        }
        let mark = self.mark.ok_or(unusable("the state has no mark"))?;
        let Mark { index, term, revision, .. } = mark;
        Ok(Tally { index, term, revision, versions: self.versions, checksum: self.totals.checksum })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests::Machine;

    fn pieces() -> Vec<Bytes> {
        let mut machine = Machine::new();
        for number in 0..20 {
            machine.put(&format!("key{}", number % 7), "value");
        }
        machine.checkpoint();
        let mut source = machine.kv.snapshot();
        std::iter::from_fn(|| source.next_rows(60).unwrap()).collect()
    }

    fn tally<'p>(pieces: impl IntoIterator<Item = &'p Bytes>) -> Result<Tally, KvError> {
        let mut tally = SnapshotTally::default();
        pieces.into_iter().try_for_each(|piece| tally.take(piece))?;
        tally.finish()
    }

    #[test]
    fn a_whole_snapshot_is_counted() {
        let found = tally(&pieces()).unwrap();
        assert_eq!((found.index, found.term, found.revision, found.versions), (20, 1, 21, 20));
    }

    #[test]
    fn missing_doubled_exchanged_and_damaged_pieces_are_refused() {
        let pieces = pieces();
        for at in 0..pieces.len() {
            let without = pieces.iter().enumerate().filter(|(place, _)| *place != at).map(|(_, piece)| piece);
            tally(without).unwrap_err();
            let mut doubled = pieces.clone();
            doubled.insert(at, pieces[at].clone());
            tally(&doubled).unwrap_err();
            let mut damaged = pieces.clone();
            let mut bytes = damaged[at].to_vec();
            bytes[at % pieces[at].len()] ^= 0x10;
            damaged[at] = bytes.into();
            tally(&damaged).unwrap_err();
        }
        for at in 1..pieces.len() {
            let mut exchanged = pieces.clone();
            exchanged.swap(at - 1, at);
            tally(&exchanged).unwrap_err();
        }
    }
}
