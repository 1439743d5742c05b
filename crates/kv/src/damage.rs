//! Damage in the state file: where, and of what kind.
//!
//! Damage is only what was read and is wrong. A disk that does not read says nothing of what lies on it: that may be a
//! fault of a moment, of a storage that several members share, and none of them is to give up a good state for it.

use std::fmt;
use std::io;

/// A block of the state file that is not what was written to it, or that the disk did not read. Travels inside an [`io::Error`] through the storage
/// library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {block} of the state file, at byte {offset}, {kind}")]
pub struct BlockDamage {
    /// Which block of 4 KiB the storage library asked for; 0 for its header.
    pub block: u64,
    /// Where in the file the damage was noticed.
    pub offset: u64,
    /// What is wrong.
    pub kind: DamageKind,
}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// Its bytes and its checksum do not belong together: one of them rotted, was lost, or belongs elsewhere.
    Checksum,
    /// It was never written, or the write was lost.
    Unwritten,
    /// The disk did not read it, asked twice. Trouble with the disk, not damage: [`BlockDamage::is_damage`].
    Unreadable,
    /// The file ends before it.
    Missing,
    /// Neither copy of the header is whole.
    Header,
    /// The copies of the header belong to different files.
    Stranger,
    /// The file is shorter than its header says.
    Length,
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DamageKind::Checksum => "does not match its checksum",
            DamageKind::Unwritten => "was never written, or the write was lost",
            DamageKind::Unreadable => "could not be read from the disk",
            DamageKind::Missing => "lies behind the end of the file",
            DamageKind::Header => "holds no whole copy of the header",
            DamageKind::Stranger => "belongs to another file",
            DamageKind::Length => "is followed by too little: the file is shorter than its header says",
        })
    }
}

impl BlockDamage {
    /// Whether what was written is known to be lost. Not so where the disk did not read: it may do so later.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self.kind {
            DamageKind::Checksum
            | DamageKind::Unwritten
            | DamageKind::Missing
            | DamageKind::Header
            | DamageKind::Stranger
            | DamageKind::Length => true,
            DamageKind::Unreadable => false,
        }
    }
}

impl From<BlockDamage> for io::Error {
    fn from(damage: BlockDamage) -> io::Error {
        let kind = if damage.is_damage() { io::ErrorKind::InvalidData } else { io::ErrorKind::Other };
        io::Error::new(kind, damage)
    }
}

/// The damage that an error of the storage library stands for, if it is one.
pub(crate) fn of(error: &io::Error) -> Option<BlockDamage> {
    error.get_ref()?.downcast_ref().copied()
}
