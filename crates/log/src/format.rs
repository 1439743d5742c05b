//! Headers of segments and batches, byte by byte. `docs/formats/log.md` is the same in prose.

use crate::error::{BatchProblem, Damage};
use crate::types::Identity;

/// The version that this release writes, and the newest that it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Where the first batch of a segment begins.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
/// Before the records of a batch.
pub(crate) const BATCH_HEADER_BYTES: usize = 24;
/// Batches begin and end at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"KontLog\n";
const BATCH_MAGIC: [u8; 4] = *b"KtBa";

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) identity: Identity,
    /// Counts segments, from 1.
    pub(crate) number: u64,
    /// Sequence number of its first batch.
    pub(crate) first_sequence: u64,
    /// Goes into the checksum of every batch in the segment. It makes batches left over from the file's earlier life
    /// invalid, and bytes of a client's payload that look like a batch as well.
    pub(crate) salt: u64,
    /// Length of the file.
    pub(crate) bytes: u64,
}

/// Why a header was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderProblem {
    Damaged(Damage),
    Newer(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.identity.cluster_id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.identity.member_id.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.salt.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.bytes.to_le_bytes());
        let checksum = header_checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<SegmentHeader, HeaderProblem> {
        if bytes[0..8] != SEGMENT_MAGIC {
            return Err(HeaderProblem::Damaged(Damage::NotASegment));
        }
        // Before the checksum: a later format may place it elsewhere.
        let version = u32_at(bytes, 8);
        if version > FORMAT_VERSION {
            return Err(HeaderProblem::Newer(version));
        }
        let (expected, found) = (u32_at(bytes, 12), header_checksum(bytes));
        if expected != found {
            return Err(HeaderProblem::Damaged(Damage::HeaderChecksum { expected, found }));
        }
        if version == 0 {
            return Err(HeaderProblem::Damaged(Damage::UnknownFormat(version)));
        }
        Ok(SegmentHeader {
            identity: Identity { cluster_id: u64_at(bytes, 16), member_id: u64_at(bytes, 24) },
            number: u64_at(bytes, 32),
            first_sequence: u64_at(bytes, 40),
            salt: u64_at(bytes, 48),
            bytes: u64_at(bytes, 56),
        })
    }
}

/// The first bytes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Counts batches over all segments, from 1.
    pub(crate) sequence: u64,
    /// Bytes of the whole batch, header and padding included.
    pub(crate) length: u32,
    /// How many records follow.
    pub(crate) records: u32,
}

impl BatchHeader {
    /// Writes the header, all but the checksum, into the first bytes of `batch`.
    pub(crate) fn write_to(&self, batch: &mut [u8]) {
        batch[0..4].copy_from_slice(&BATCH_MAGIC);
        batch[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        batch[16..20].copy_from_slice(&self.length.to_le_bytes());
        batch[20..24].copy_from_slice(&self.records.to_le_bytes());
    }

    /// Looks for a batch at the beginning of `bytes`, without its checksum.
    fn peek(bytes: &[u8]) -> Result<BatchHeader, BatchProblem> {
        if bytes.len() < BATCH_HEADER_BYTES || bytes[0..4] != BATCH_MAGIC {
            return Err(BatchProblem::NoMagic);
        }
        let length = u32_at(bytes, 16);
        let size = length as usize;
        if size < BATCH_HEADER_BYTES || size > bytes.len() || !size.is_multiple_of(ALIGNMENT) {
            return Err(BatchProblem::Length(u64::from(length)));
        }
        Ok(BatchHeader { sequence: u64_at(bytes, 8), length, records: u32_at(bytes, 20) })
    }

    /// The batch with this sequence number at the beginning of `bytes`, where it is whole.
    pub(crate) fn check(bytes: &[u8], salt: u64, sequence: u64) -> Result<BatchHeader, BatchProblem> {
        let header = BatchHeader::peek(bytes)?;
        if header.sequence != sequence {
            return Err(BatchProblem::Sequence(header.sequence));
        }
        header.verify(bytes, salt)
    }

    fn verify(self, bytes: &[u8], salt: u64) -> Result<BatchHeader, BatchProblem> {
        let (expected, found) = (u32_at(bytes, 4), batch_checksum(&bytes[..self.length as usize], salt));
        if expected == found { Ok(self) } else { Err(BatchProblem::Checksum { expected, found }) }
    }

    /// The first whole batch at or behind `from` whose sequence number is at least `sequence`.
    pub(crate) fn search(bytes: &[u8], from: usize, salt: u64, sequence: u64) -> Option<(usize, BatchHeader)> {
        (from..bytes.len()).step_by(ALIGNMENT).find_map(|offset| {
            let here = &bytes[offset..];
            let header = BatchHeader::peek(here).ok().filter(|header| header.sequence >= sequence)?;
            header.verify(here, salt).ok().map(|header| (offset, header))
        })
    }
}

/// Completes a batch whose header lacks the checksum only.
pub(crate) fn seal_batch(batch: &mut [u8], salt: u64) {
    let checksum = batch_checksum(batch, salt);
    batch[4..8].copy_from_slice(&checksum.to_le_bytes());
}

fn batch_checksum(batch: &[u8], salt: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &batch[8..])
}

fn header_checksum(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(word)
}

pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(word)
}

/// Name of a segment. Names sort as numbers do.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:020}.log")
}

/// Name of a segment that is being made: it gets its own once its first batch is durable.
pub(crate) fn fresh_name(number: u64) -> String {
    format!("{number:020}.new")
}

/// Name of a segment that is kept for reuse.
pub(crate) fn spare_name(number: u64) -> String {
    format!("{number:020}.spare")
}

/// What a file's name says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Segment(u64),
    /// A fresh or spare one that a restart has no use for.
    Leftover,
    Unknown,
}

pub(crate) fn file_kind(name: &str) -> FileKind {
    let Some((stem, ending)) = name.split_once('.') else { return FileKind::Unknown };
    if stem.len() != 20 || !stem.bytes().all(|byte| byte.is_ascii_digit()) {
        return FileKind::Unknown;
    }
    match (ending, stem.parse()) {
        ("log", Ok(number)) => FileKind::Segment(number),
        ("new" | "spare", Ok(_)) => FileKind::Leftover,
        _ => FileKind::Unknown,
    }
}
