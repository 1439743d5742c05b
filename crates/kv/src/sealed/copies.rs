//! The header's two copies: the file's name (salt) and what the storage library keeps in its first block, which it
//! overwrites in place. Copies are written in turn, so that there is always a whole one.

use redb::StorageBackend;

use super::place::{BLOCK, BLOCK_LEN};
use crate::damage::DamageKind;

/// First bytes of what the storage library keeps in its first block, once that is complete.
const USED: &[u8] = b"redb";
/// First bytes of a state file.
const MAGIC: [u8; 8] = *b"KontStat";
/// The format of the file, in `docs/formats/state.md`.
pub(crate) const FORMAT: u32 = 2;
/// Bytes before the storage library's.
const OWN: usize = 44;
/// Most bytes that the storage library may keep in its first block. It uses 320.
pub(crate) const CONTENT_MAX: usize = BLOCK - OWN;

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Distinguishes files.
    pub salt: u64,
    /// Counts writes of the header.
    pub sequence: u64,
    /// Blocks that the file has at least, as the storage library counts them: it was longer or as long when this was written,
    /// and is not made shorter before a header that allows it is durable.
    pub blocks: u64,
    /// The storage library's first block, without the zeros at its end.
    pub content: Vec<u8>,
}

/// What a copy's block holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Copy {
    /// Only zeros: it was never written.
    Blank,
    /// Not what was written.
    Damaged,
    /// The disk does not say, asked twice.
    Unreadable,
    /// Of a format that a later release writes, or an earlier one wrote.
    Foreign(u32),
    /// Whole.
    Whole(Header),
}

impl Copy {
    /// Whole, and of a file that the storage library uses.
    pub(crate) fn is_used(&self) -> bool {
        matches!(self, Copy::Whole(header) if header.content.starts_with(USED))
    }
}

/// What both copies say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The newest whole copy, and which one it is.
    Used(usize, Header),
    /// The storage library never completed its header, so nothing was ever stored: a first opening was interrupted.
    Unused,
    /// None is whole.
    Neither,
}

impl Header {
    /// The block of a copy.
    pub(crate) fn encode(&self, slot: usize) -> Box<[u8; BLOCK]> {
        let mut block = Box::new([0; BLOCK]);
        block[..8].copy_from_slice(&MAGIC);
        block[8..12].copy_from_slice(&FORMAT.to_be_bytes());
        block[16..24].copy_from_slice(&self.salt.to_be_bytes());
        block[24..32].copy_from_slice(&self.sequence.to_be_bytes());
        block[32..40].copy_from_slice(&self.blocks.to_be_bytes());
        block[40..44].copy_from_slice(&(self.content.len() as u32).to_be_bytes());
        block[OWN..OWN + self.content.len()].copy_from_slice(&self.content);
        let checksum = checksum(slot, &block[..]);
        block[12..16].copy_from_slice(&checksum.to_be_bytes());
        block
    }

    /// Reads the block of a copy.
    pub(crate) fn decode(slot: usize, block: &[u8; BLOCK]) -> Copy {
        if block.iter().all(|&byte| byte == 0) {
            return Copy::Blank;
        }
        if block.starts_with(USED) {
            return Copy::Foreign(1); // the storage library's own header: before there were checksums
        }
        let word = |at: usize| u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        let length = word(40) as usize;
        if block[..8] != MAGIC || word(12) != checksum(slot, &block[..]) {
            return Copy::Damaged;
        }
        if word(8) != FORMAT {
            return Copy::Foreign(word(8));
        }
        match block[OWN..].get(..length) {
            Some(content) => {
                let (salt, sequence, blocks) = (long(16), long(24), long(32));
                Copy::Whole(Header { salt, sequence, blocks, content: content.to_vec() })
            }
            None => Copy::Damaged,
        }
    }
}

/// Which copy holds. One that cannot be read may be replaced by the other, but is no reason to begin anew, nor is it damage.
pub(crate) fn choose(copies: &[Copy; 2]) -> Result<Choice, DamageKind> {
    if !copies.iter().any(Copy::is_used) {
        return match copies {
            [Copy::Unreadable, _] | [_, Copy::Unreadable] => Err(DamageKind::Unreadable),
            // Whatever their salts are: those of two first openings may be left.
            [Copy::Whole(_), _] | [_, Copy::Whole(_)] => Ok(Choice::Unused),
            [_, _] => Ok(Choice::Neither),
        };
    }
    match copies {
        [Copy::Whole(first), Copy::Whole(second)] if first.salt != second.salt => Err(DamageKind::Stranger),
        [Copy::Whole(first), Copy::Whole(second)] if first.sequence < second.sequence => {
            Ok(Choice::Used(1, second.clone()))
        }
        [Copy::Whole(first), _] => Ok(Choice::Used(0, first.clone())),
        [_, Copy::Whole(second)] => Ok(Choice::Used(1, second.clone())),
        [_, _] => Ok(Choice::Neither),
    }
}

/// Reads a copy, a second time where the disk fails.
pub(crate) fn read_copy(raw: &dyn StorageBackend, len: u64, slot: usize) -> Copy {
    let mut block = Box::new([0; BLOCK]);
    let offset = slot as u64 * BLOCK_LEN;
    if len < offset + BLOCK_LEN {
        return Copy::Blank;
    }
    match raw.read(offset, &mut block[..]).or_else(|_| raw.read(offset, &mut block[..])) {
        Ok(()) => Header::decode(slot, &block),
        Err(_) => Copy::Unreadable,
    }
}

/// Over the whole block but the checksum itself, and bound to the place of the copy.
fn checksum(slot: usize, block: &[u8]) -> u32 {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&[slot as u8]), &block[..12]);
    crc32c::crc32c_append(sum, &block[16..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header { salt: 7, sequence: 9, blocks: 3, content: b"redb and more".to_vec() }
    }

    #[test]
    fn a_copy_comes_back_at_its_place_only() {
        let block = header().encode(1);
        assert_eq!(Header::decode(1, &block), Copy::Whole(header()));
        assert_eq!(Header::decode(0, &block), Copy::Damaged);
        assert_eq!(Header::decode(0, &[0; BLOCK]), Copy::Blank);
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let whole = header().encode(0);
        for bit in 0..8 * BLOCK {
            let mut block = whole.clone();
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(0, &block), Copy::Damaged, "bit {bit}");
        }
    }

    #[test]
    fn other_formats_are_told_apart_from_damage() {
        let mut old = [0; BLOCK];
        old[..4].copy_from_slice(b"redb");
        assert_eq!(Header::decode(0, &old), Copy::Foreign(1));
        let mut later = header().encode(0);
        later[8..12].copy_from_slice(&3u32.to_be_bytes());
        let checksum = checksum(0, &later[..]);
        later[12..16].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(Header::decode(0, &later), Copy::Foreign(3));
    }

    #[test]
    fn copies_decide_together() {
        let used = |salt, sequence| Copy::Whole(Header { salt, sequence, ..header() });
        let unused = |salt| Copy::Whole(Header { salt, content: Vec::new(), ..header() });
        let (newer, older) = (Header { sequence: 5, ..header() }, Header { sequence: 4, ..header() });
        for (copies, expected) in [
            ([used(7, 4), used(7, 5)], Ok(Choice::Used(1, newer.clone()))),
            ([used(7, 5), used(7, 4)], Ok(Choice::Used(0, newer))),
            ([used(7, 4), Copy::Damaged], Ok(Choice::Used(0, older.clone()))),
            ([Copy::Unreadable, used(7, 4)], Ok(Choice::Used(1, older))),
            ([used(7, 4), used(8, 5)], Err(DamageKind::Stranger)),
            ([used(7, 4), unused(8)], Err(DamageKind::Stranger)),
            ([unused(7), unused(8)], Ok(Choice::Unused)),
            ([unused(7), Copy::Damaged], Ok(Choice::Unused)),
            ([Copy::Blank, unused(7)], Ok(Choice::Unused)),
            ([Copy::Unreadable, unused(7)], Err(DamageKind::Unreadable)),
            ([Copy::Damaged, Copy::Unreadable], Err(DamageKind::Unreadable)),
            ([Copy::Blank, Copy::Damaged], Ok(Choice::Neither)),
        ] {
            assert_eq!(choose(&copies), expected, "{copies:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_blocks_are_never_taken_for_whole(bytes in prop::collection::vec(any::<u8>(), BLOCK), magic: bool) {
            let mut block: Box<[u8; BLOCK]> = bytes.into_boxed_slice().try_into().unwrap();
            if magic {
                block[..8].copy_from_slice(&MAGIC);
                block[8..12].copy_from_slice(&FORMAT.to_be_bytes());
            }
            prop_assert_eq!(Header::decode(0, &block), Copy::Damaged);
        }
    }
}
