//! The checksums of data blocks, kept in memory once they were needed: 1 MiB for a GiB of the file. What changed is
//! written back, as whole checksum blocks, right before each sync.
//!
//! A checksum block has no checksum of its own, for two reasons. A rotten entry shows as a data block that does not
//! match, so nothing wrong is served. And a write of it that a power cut tears changes, sector by sector, only entries
//! that were being changed: those of blocks that no durable state refers to.

use super::place::{BLOCK, PER_GROUP};

/// The entry of a block that was never written.
pub(crate) const UNWRITTEN: u32 = 0;

/// The checksum of a data block: bound to the file by its salt, and to the place by the block's number.
pub(crate) fn seal(salt: u64, block: u64, data: &[u8]) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&salt.to_be_bytes());
    place[8..].copy_from_slice(&block.to_be_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&place), data);
    if sum == UNWRITTEN { !UNWRITTEN } else { sum }
}

/// The entries of a checksum block.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    entries: Box<[u32]>,
    dirty: bool,
}

impl Group {
    /// Reads a checksum block.
    pub(crate) fn decode(block: &[u8; BLOCK]) -> Group {
        let (words, _) = block.as_chunks::<4>();
        Group { entries: words.iter().map(|&word| u32::from_be_bytes(word)).collect(), dirty: false }
    }

    /// The checksum block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.entries.iter().flat_map(|entry| entry.to_be_bytes()).collect()
    }

    /// Entries from one on.
    pub(crate) fn entries(&self, from: usize, count: usize) -> &[u32] {
        &self.entries[from..from + count]
    }

    /// Whether it changed since it was last written.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether it says the same.
    pub(crate) fn agrees(&self, other: &Group) -> bool {
        self.entries == other.entries
    }

    fn set(&mut self, from: usize, sums: &[u32]) {
        self.entries[from..from + sums.len()].copy_from_slice(sums);
        self.dirty = true;
    }
}

/// The groups that are in memory.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    groups: Vec<Option<Group>>,
}

impl Sums {
    /// A group, if it is in memory.
    pub(crate) fn group(&self, group: u64) -> Option<&Group> {
        self.groups.get(usize::try_from(group).ok()?)?.as_ref()
    }

    /// Takes a group that was read, unless there is one already: that may be newer.
    pub(crate) fn load(&mut self, group: u64, loaded: Group) {
        let at = group as usize;
        if self.groups.len() <= at {
            self.groups.resize(at + 1, None);
        }
        self.groups[at].get_or_insert(loaded);
    }

    /// Notes the checksums of blocks that are being written. Their group must be in memory.
    pub(crate) fn set(&mut self, group: u64, from: usize, sums: &[u32]) {
        let group = self.groups.get_mut(group as usize).and_then(Option::as_mut);
        group.expect("a group is loaded before it is changed").set(from, sums);
    }

    /// Writes a group again with the next sync.
    pub(crate) fn rewrite(&mut self, group: u64) {
        if let Some(Some(group)) = self.groups.get_mut(group as usize) {
            group.dirty = true;
        }
    }

    /// Takes the groups that changed, to be written.
    pub(crate) fn take_dirty(&mut self) -> Vec<(u64, Vec<u8>)> {
        let mut dirty = Vec::new();
        for (number, group) in self.groups.iter_mut().enumerate() {
            if let Some(group) = group.as_mut().filter(|group| group.dirty) {
                group.dirty = false;
                dirty.push((number as u64, group.encode()));
            }
        }
        dirty
    }

    /// Forgets what lies behind the end of a file that became shorter. `blocks` counts data blocks.
    pub(crate) fn cut(&mut self, blocks: u64) {
        self.groups.truncate(blocks.div_ceil(PER_GROUP) as usize);
        let within = (blocks % PER_GROUP) as usize;
        if within > 0
            && let Some(Some(last)) = self.groups.get_mut((blocks / PER_GROUP) as usize)
        {
            last.entries[within..].fill(UNWRITTEN);
            last.dirty = true;
        }
    }
}
