//! Names of the log's files, and what they say. They sort as their numbers do.

use crate::format::SEGMENT_HEADER_BYTES;

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    Segment,
    Ledger,
    /// A segment being made: it gets its own name once its first batch is durable.
    New,
    NewLedger,
    /// A used segment, kept for reuse.
    Spare,
    SpareLedger,
    /// A segment never used, made to have its space.
    Reserve,
    ReserveLedger,
}

const ENDINGS: [(FileKind, &str); 8] = [
    (FileKind::Segment, "log"),
    (FileKind::Ledger, "ledger"),
    (FileKind::New, "new"),
    (FileKind::NewLedger, "new-ledger"),
    (FileKind::Spare, "spare"),
    (FileKind::SpareLedger, "spare-ledger"),
    (FileKind::Reserve, "reserve"),
    (FileKind::ReserveLedger, "reserve-ledger"),
];

impl FileKind {
    pub(crate) fn name(self, number: u64) -> String {
        let ending = ENDINGS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, ending)| ending);
        format!("{number:020}.{ending}")
    }

    /// Kind and number of a file of ours; None for any other.
    pub(crate) fn of(name: &str) -> Option<(FileKind, u64)> {
        let (stem, ending) = name.split_once('.')?;
        if stem.len() != 20 || !stem.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (kind, _) = ENDINGS.iter().find(|(_, known)| *known == ending)?;
        Some((*kind, stem.parse().ok()?))
    }
}

/// No ledger of a segment with so many bytes is longer: its rows repeat a part of the batches.
pub(crate) fn ledger_bytes_max(segment: u64) -> u64 {
    ledger_bytes(segment, segment)
}

/// Length of the ledger of a segment with so many bytes, whose first row has so many. A segment whose ledger is full is
/// left for the next one.
pub(crate) fn ledger_bytes(segment: u64, first_row: u64) -> u64 {
    (segment / 4).max(SEGMENT_HEADER_BYTES as u64 + first_row).next_multiple_of(4096)
}
