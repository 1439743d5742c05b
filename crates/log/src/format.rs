//! Headers of segments and batches and the rows of ledgers, byte by byte. `docs/formats/log.md` is the same in prose.

use kontiki_raft::planted::planted;

use crate::error::{BatchProblem, Damage};
use crate::types::Identity;

/// The version that this release reads and writes.
pub(crate) const FORMAT_VERSION: u32 = 2;
/// Where the first batch of a segment begins, and the first row of a ledger.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
/// Before the directory of a batch.
pub(crate) const BATCH_HEADER_BYTES: usize = 32;
/// Before the copy of a batch's header and directory in a ledger.
pub(crate) const ROW_HEADER_BYTES: usize = 16;
/// Batches and rows begin and end at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;

/// Segments and batches are counted up to here: one more is a number still.
const COUNT_MAX: u64 = 1 << 62;
/// No segment is longer: it has a batch of less than 4 GiB, its header and padding.
const SEGMENT_FILE_BYTES_MAX: u64 = (1 << 32) + (1 << 16);

const BATCH_MAGIC: [u8; 4] = *b"KtBa";
const ROW_MAGIC: [u8; 4] = *b"KtRo";

/// Which of a segment's two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The batches.
    Log,
    /// The second copy of their identities.
    Ledger,
}

impl Part {
    fn magic(self) -> [u8; 8] {
        match self {
            Part::Log => *b"KontLog\n",
            Part::Ledger => *b"KontLdg\n",
        }
    }
}

/// The first bytes of a segment and of its ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) identity: Identity,
    /// Counts segments, from 1.
    pub(crate) number: u64,
    /// Sequence number of its first batch.
    pub(crate) first_sequence: u64,
    /// Goes into every checksum in the segment. It makes batches left over from the file's earlier life invalid, and
    /// bytes of a client's payload that look like a batch as well.
    pub(crate) salt: u64,
    /// Length of the segment's file.
    pub(crate) bytes: u64,
}

/// Why a header was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderProblem {
    Damaged(Damage),
    /// Another format, by number.
    Format(u32),
    Foreign(Identity),
}

impl SegmentHeader {
    pub(crate) fn seal(&self) -> Seal {
        Seal { salt: self.salt, number: self.number }
    }

    pub(crate) fn encode(&self, part: Part) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&part.magic());
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

    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES], part: Part) -> Result<SegmentHeader, HeaderProblem> {
        if bytes[0..8] != part.magic() {
            return Err(HeaderProblem::Damaged(Damage::NotASegment));
        }
        // Before the checksum: another format may place it elsewhere.
        let version = u32_at(bytes, 8);
        if version != FORMAT_VERSION && version != 0 {
            return Err(HeaderProblem::Format(version));
        }
        let (expected, found) = (u32_at(bytes, 12), header_checksum(bytes));
        if expected != found {
            return Err(HeaderProblem::Damaged(Damage::HeaderChecksum { expected, found }));
        }
        if version == 0 {
            return Err(HeaderProblem::Damaged(Damage::UnknownFormat(version)));
        }
        // A right checksum does not make a number possible.
        let (number, first_sequence, length) = (u64_at(bytes, 32), u64_at(bytes, 40), u64_at(bytes, 56));
        let counted = 1..=COUNT_MAX;
        if !counted.contains(&number) || !counted.contains(&first_sequence) || length > SEGMENT_FILE_BYTES_MAX {
            return Err(HeaderProblem::Damaged(Damage::Impossible { number, first_sequence, length }));
        }
        Ok(SegmentHeader {
            identity: Identity { cluster_id: u64_at(bytes, 16), member_id: u64_at(bytes, 24) },
            number,
            first_sequence,
            salt: u64_at(bytes, 48),
            bytes: length,
        })
    }
}

fn header_checksum(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

/// Ties checksums to one life of one segment. What is computed with it is also tied to the place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) salt: u64,
    pub(crate) number: u64,
}

/// What a checksum is for: none passes for one of another kind.
const OF_BATCH: u64 = 1;
const OF_BODY: u64 = 2;
const OF_ROW: u64 = 3;
const OF_HEADER: u64 = 4;

impl Seal {
    fn begin<const N: usize>(self, kind: u64, offset: u64, more: [u64; N]) -> u32 {
        let [salt, number] = if planted(51) { [0, 0] } else { [self.salt, self.number] };
        let offset = if planted(50) { 0 } else { offset };
        let checksum = [kind, salt, number, offset].iter().fold(0, |checksum, word| append(checksum, *word));
        more.iter().fold(checksum, |checksum, word| append(checksum, *word))
    }

    /// Of a batch's header alone: what it says is not trusted without, so that nobody reads a directory of any length for
    /// bytes of a client that look like a header.
    fn header(self, offset: u64, header: &[u8]) -> u32 {
        crc32c::crc32c_append(self.begin(OF_HEADER, offset, []), &header[8..28])
    }

    /// Of a batch's header and directory.
    pub(crate) fn batch(self, offset: u64, head: &[u8]) -> u32 {
        crc32c::crc32c_append(self.begin(OF_BATCH, offset, []), &head[8..])
    }

    /// Of the payloads of one row of a directory. `identity` is group, term, first index and count.
    pub(crate) fn body(self, offset: u64, identity: [u64; 4], body: &[u8]) -> u32 {
        crc32c::crc32c_append(self.begin(OF_BODY, offset, identity), body)
    }

    /// Of a row of a ledger.
    fn row(self, offset: u64, row: &[u8]) -> u32 {
        crc32c::crc32c_append(self.begin(OF_ROW, offset, []), &row[8..])
    }
}

fn append(checksum: u32, word: u64) -> u32 {
    crc32c::crc32c_append(checksum, &word.to_le_bytes())
}

/// The first bytes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Counts batches over all segments, from 1.
    pub(crate) sequence: u64,
    /// Bytes of the whole batch, header and padding included.
    pub(crate) length: u32,
    /// Bytes of the directory, which follows the header.
    pub(crate) directory: u32,
    /// How many rows the directory has.
    pub(crate) records: u32,
}

impl BatchHeader {
    /// Bytes of header and directory.
    pub(crate) fn head_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.directory as usize
    }

    /// Writes the header, all but its checksums, into the first bytes of `batch`.
    pub(crate) fn write_to(&self, batch: &mut [u8]) {
        batch[0..4].copy_from_slice(&BATCH_MAGIC);
        batch[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        batch[16..20].copy_from_slice(&self.length.to_le_bytes());
        batch[20..24].copy_from_slice(&self.directory.to_le_bytes());
        batch[24..28].copy_from_slice(&self.records.to_le_bytes());
        batch[28..32].fill(0);
    }

    /// Completes a batch whose header lacks its checksums only.
    pub(crate) fn seal(self, batch: &mut [u8], seal: Seal, offset: u64) {
        let checksum = seal.header(offset, batch);
        batch[28..32].copy_from_slice(&checksum.to_le_bytes());
        let checksum = seal.batch(offset, &batch[..self.head_bytes()]);
        batch[4..8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The header that `bytes` begins with, where what it says of lengths is so. The batch may take up to `room` bytes.
    fn peek(bytes: &[u8], seal: Seal, offset: u64, room: u64) -> Result<BatchHeader, BatchProblem> {
        if bytes.len() < BATCH_HEADER_BYTES || bytes[0..4] != BATCH_MAGIC {
            return Err(BatchProblem::NoMagic);
        }
        let (expected, found) = (u32_at(bytes, 28), seal.header(offset, bytes));
        if expected != found {
            return Err(BatchProblem::Checksum { expected, found });
        }
        let length = u32_at(bytes, 16);
        let (size, directory) = (u64::from(length), u32_at(bytes, 20));
        let head = BATCH_HEADER_BYTES as u64 + u64::from(directory);
        let fits = size <= room && head <= size && head <= bytes.len() as u64;
        if !fits || !size.is_multiple_of(ALIGNMENT as u64) {
            return Err(BatchProblem::Length(size));
        }
        Ok(BatchHeader { sequence: u64_at(bytes, 8), length, directory, records: u32_at(bytes, 24) })
    }

    /// How many bytes the batch that begins with `bytes` takes, as far as it says so; those of its header where not.
    pub(crate) fn extent(bytes: &[u8], seal: Seal, offset: u64) -> u64 {
        let header = bytes.get(..BATCH_HEADER_BYTES).unwrap_or_default();
        let sealed = header.len() == BATCH_HEADER_BYTES && u32_at(header, 28) == seal.header(offset, header);
        if sealed { u64::from(u32_at(header, 16)) } else { BATCH_HEADER_BYTES as u64 }
    }

    fn verify(self, bytes: &[u8], seal: Seal, offset: u64) -> Result<BatchHeader, BatchProblem> {
        let (expected, found) = (u32_at(bytes, 4), seal.batch(offset, &bytes[..self.head_bytes()]));
        if expected == found { Ok(self) } else { Err(BatchProblem::Checksum { expected, found }) }
    }

    /// The header of the batch with this sequence number that `bytes` begins with, where it and its directory are whole
    /// and belong to this place. The batch may take up to `room` bytes.
    pub(crate) fn expect(
        bytes: &[u8],
        seal: Seal,
        offset: u64,
        room: u64,
        sequence: u64,
    ) -> Result<BatchHeader, BatchProblem> {
        // Asked first: what is left of the file's earlier life has another, and was not cut off.
        let is_other = bytes.len() >= BATCH_HEADER_BYTES && bytes[0..4] == BATCH_MAGIC && u64_at(bytes, 8) != sequence;
        if is_other && !planted(50) && !planted(51) {
            return Err(BatchProblem::Sequence(u64_at(bytes, 8)));
        }
        let header = BatchHeader::peek(bytes, seal, offset, room)?.verify(bytes, seal, offset)?;
        Ok(BatchHeader { sequence, ..header })
    }

    /// The first whole header behind `from` whose sequence number is above `sequence`, in all bytes of a segment.
    pub(crate) fn search(file: &[u8], from: usize, seal: Seal, sequence: u64) -> Option<(u64, BatchHeader)> {
        (from + ALIGNMENT..file.len()).step_by(ALIGNMENT).find_map(|offset| {
            let here = &file[offset..];
            let header = BatchHeader::peek(here, seal, offset as u64, here.len() as u64)
                .ok()
                .filter(|header| header.sequence > sequence)?;
            header.verify(here, seal, offset as u64).ok().map(|header| (offset as u64, header))
        })
    }
}

/// A row of a ledger: that the batch was durable, where it stands, and a copy of its header and directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LedgerRow {
    /// Where the batch stands in the segment.
    pub(crate) place: u64,
    pub(crate) header: BatchHeader,
}

impl LedgerRow {
    /// Length of the row of a batch whose header and directory take so many bytes.
    pub(crate) fn bytes_for(head: usize) -> usize {
        (ROW_HEADER_BYTES + head).next_multiple_of(ALIGNMENT)
    }

    pub(crate) fn bytes(&self) -> usize {
        LedgerRow::bytes_for(self.header.head_bytes())
    }

    /// Appends the row that will stand at `offset` in the ledger. `head` is the batch's header and directory, sealed.
    pub(crate) fn put(buffer: &mut Vec<u8>, seal: Seal, offset: u64, place: u64, head: &[u8]) {
        let start = buffer.len();
        buffer.extend_from_slice(&ROW_MAGIC);
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&place.to_le_bytes());
        buffer.extend_from_slice(head);
        buffer.resize(start + LedgerRow::bytes_for(head.len()), 0);
        let checksum = seal.row(offset, &buffer[start..]);
        buffer[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The row at `offset` of a ledger, where `bytes` begins; `segment` is the length of the segment's file.
    pub(crate) fn check(bytes: &[u8], seal: Seal, offset: u64, segment: u64) -> Result<LedgerRow, BatchProblem> {
        if bytes.len() < ROW_HEADER_BYTES || bytes[0..4] != ROW_MAGIC {
            return Err(BatchProblem::NoMagic);
        }
        let place = u64_at(bytes, 8);
        let room = segment.checked_sub(place).ok_or(BatchProblem::Length(place))?;
        let head = &bytes[ROW_HEADER_BYTES..];
        let header = BatchHeader::peek(head, seal, place, room)?;
        let row = LedgerRow { place, header };
        let whole = bytes.get(..row.bytes()).ok_or(BatchProblem::Length(row.bytes() as u64))?;
        let (expected, found) = (u32_at(bytes, 4), seal.row(offset, whole));
        if expected != found {
            return Err(BatchProblem::Checksum { expected, found });
        }
        header.verify(head, seal, place)?;
        Ok(row)
    }
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
