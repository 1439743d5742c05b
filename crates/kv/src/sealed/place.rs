//! Where the blocks lie in the file: two copies of the header, then groups of a checksum block and the data blocks that
//! it speaks for.

/// Bytes of a block.
pub(crate) const BLOCK: usize = 4096;
/// The same as a length in the file.
pub(crate) const BLOCK_LEN: u64 = BLOCK as u64;
/// Copies of the header, at the beginning of the file.
pub(crate) const COPIES: u64 = 2;
/// Bytes of the file before the first group.
pub(crate) const HEAD_LEN: u64 = COPIES * BLOCK_LEN;
/// Data blocks that a checksum block speaks for.
pub(crate) const PER_GROUP: u64 = BLOCK_LEN / 4;

/// The group of a block, and its number within. Block 0 is the header and has none.
pub(crate) fn group_of(block: u64) -> (u64, usize) {
    let data = block - 1;
    (data / PER_GROUP, (data % PER_GROUP) as usize)
}

/// Where a block other than the header lies in the file.
pub(crate) fn offset_of(block: u64) -> u64 {
    let (group, within) = group_of(block);
    sums_offset(group) + (1 + within as u64) * BLOCK_LEN
}

/// Where a group's checksum block lies in the file.
pub(crate) fn sums_offset(group: u64) -> u64 {
    HEAD_LEN + group * (PER_GROUP + 1) * BLOCK_LEN
}

/// Groups needed for a number of blocks, the header among them.
pub(crate) fn groups(blocks: u64) -> u64 {
    blocks.saturating_sub(1).div_ceil(PER_GROUP)
}

/// Length of a file with so many blocks, the header among them.
pub(crate) fn file_len(blocks: u64) -> u64 {
    HEAD_LEN + (blocks.saturating_sub(1) + groups(blocks)) * BLOCK_LEN
}

/// Blocks in a file of some length, the header among them; zero where there is only the head, none where that is not whole.
/// Rounded down: a file system may move the end of a growing file piece by piece, so a crash or a full disk leaves any
/// length behind. Part of a block at the end, or a checksum block with nothing to speak for, are nobody's.
pub(crate) fn blocks_in(len: u64) -> Option<u64> {
    let physical = len.checked_sub(HEAD_LEN)? / BLOCK_LEN;
    let data = physical - physical.div_ceil(PER_GROUP + 1);
    Some(if data == 0 { 0 } else { 1 + data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_has_a_place_of_its_own_and_every_length_comes_back() {
        let mut expected = HEAD_LEN;
        for block in 1..3 * PER_GROUP {
            if group_of(block).1 == 0 {
                assert_eq!(sums_offset(group_of(block).0), expected);
                expected += BLOCK_LEN;
            }
            assert_eq!(offset_of(block), expected);
            expected += BLOCK_LEN;
            assert_eq!((file_len(block + 1), blocks_in(expected)), (expected, Some(block + 1)));
        }
    }

    #[test]
    fn any_length_between_two_sizes_is_the_smaller_one() {
        for len in [0, 1, BLOCK_LEN, HEAD_LEN - 1] {
            assert_eq!(blocks_in(len), None, "{len}");
        }
        let (mut blocks, mut larger) = (0, file_len(2));
        for len in HEAD_LEN..sums_offset(2) + 3 * BLOCK_LEN {
            if len == larger {
                blocks = if blocks == 0 { 2 } else { blocks + 1 };
                larger = file_len(blocks + 1);
            }
            assert_eq!(blocks_in(len), Some(blocks), "{len}");
        }
        assert_eq!(blocks, 1 + 2 * PER_GROUP + 1);
        assert_eq!(blocks_in(u64::MAX).map(file_len), Some(u64::MAX / BLOCK_LEN * BLOCK_LEN));
    }
}
