//! The first bytes of a snapshot file: of which cluster, of which moment.

use super::error::HeaderProblem;

/// Length of the header.
pub const HEADER_BYTES: usize = 128;
/// The first bytes of every snapshot file.
const MAGIC: &[u8; 16] = b"kontiki-snapshot";
/// The format of the file, in `docs/formats/snapshot.md`.
pub const FORMAT: u32 = 1;
/// Where bbolt keeps its magic number, and the number.
const BBOLT: (usize, [u8; 4]) = (16, 0xED0C_DAED_u32.to_le_bytes());

/// How current a snapshot was when it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotOrigin {
    /// A leader confirmed that it holds all that was acknowledged before it was asked for.
    Confirmed,
    /// No leader could be asked: the member's own state, which may lack what others have.
    Alone,
    /// The last checkpoint of a member that did not run.
    Checkpoint,
}

/// What a snapshot file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The cluster that it was taken of.
    pub cluster_id: u64,
    /// The member that it was taken at.
    pub member_id: u64,
    /// Index of the last log entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// The store's revision.
    pub revision: i64,
    /// When it was taken, in milliseconds since 1970, by the member's clock.
    pub taken_ms: u64,
    /// How current it was.
    pub origin: SnapshotOrigin,
}

impl SnapshotHeader {
    /// The bytes of the header.
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let origin = match self.origin {
            SnapshotOrigin::Confirmed => 0,
            SnapshotOrigin::Alone => 1,
            SnapshotOrigin::Checkpoint => 2,
        };
        let words = [self.cluster_id, self.member_id, self.index, self.term, self.revision as u64, self.taken_ms];
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_be_bytes());
        out.extend_from_slice(&(HEADER_BYTES as u32).to_be_bytes());
        out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        out.push(origin);
        out.resize(HEADER_BYTES - 4, 0);
        out.extend_from_slice(&crc32c::crc32c(&out).to_be_bytes());
        out.try_into().expect("the parts above make up the header's length")
    }

    /// Reads the header; what is wrong with it otherwise.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<SnapshotHeader, HeaderProblem> {
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if &bytes[..16] != MAGIC {
            let etcds = bytes[BBOLT.0..BBOLT.0 + 4] == BBOLT.1;
            return Err(if etcds { HeaderProblem::Etcds } else { HeaderProblem::Foreign });
        }
        let end = HEADER_BYTES - 4;
        if number(end) != crc32c::crc32c(&bytes[..end]) {
            return Err(HeaderProblem::Damaged);
        }
        if number(16) != FORMAT {
            return Err(HeaderProblem::Format { found: number(16) });
        }
        let origin = match bytes[72] {
            0 => SnapshotOrigin::Confirmed,
            1 => SnapshotOrigin::Alone,
            2 => SnapshotOrigin::Checkpoint,
            _ => return Err(HeaderProblem::Damaged),
        };
        Ok(SnapshotHeader {
            cluster_id: word(24),
            member_id: word(32),
            index: word(40),
            term: word(48),
            revision: word(56) as i64,
            taken_ms: word(64),
            origin,
        })
    }
}
