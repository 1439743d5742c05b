//! A checksum for every block of the state file, beneath the storage library: damage is noticed before anything is made
//! of what was read.
//!
//! A checksum lies in another block than what it speaks for, and is bound to the file and to the block's number: a block
//! that rotted, a write that was lost (the older block is still there) and one that landed elsewhere all look the same,
//! namely wrong. What a power cut may leave torn are blocks that no durable state refers to: the storage library copies
//! on write. Its header alone is overwritten in place; therefore there are two copies of it, written in turn.
//!
//! **Falling back to the other copy must be harmless.** A copy that is one step older names the checkpoint before, whose
//! pages are free to be overwritten as soon as the newer one is durable. So before the first block behind the header is
//! overwritten, both copies say the same, durably: a single fault can then only make the reader take the other copy of the
//! same header. A sync that wrote nothing but the header settles that at once; this is the last of the two syncs of a
//! checkpoint, which costs a third one.

mod copies;
mod handle;
mod place;
mod sums;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use redb::StorageBackend;

use crate::damage::{BlockDamage, DamageKind};
use crate::error::KvError;
use crate::layers::{read, write};
use crate::planted::planted;
use copies::{CONTENT_MAX, Choice, Copy, Header, choose, read_copy};
use place::{BLOCK, BLOCK_LEN, HEAD_LEN, PER_GROUP};
use sums::{Group, Sums, UNWRITTEN, seal};

pub(crate) use copies::FORMAT;
pub(crate) use handle::Handle;

/// A state file under the storage library.
pub(crate) struct Sealed {
    raw: Box<dyn StorageBackend>,
    salt: u64,
    /// Blocks as the storage library counts them, its header among them.
    blocks: AtomicU64,
    sums: RwLock<Sums>,
    head: Mutex<Head>,
    /// Whether blocks behind the header were written since the last sync.
    data_written: AtomicBool,
    /// The copies of the header differ: to be settled before a block behind it is overwritten.
    unsettled: AtomicBool,
    /// The first damage met.
    damage: OnceLock<BlockDamage>,
    /// The first block that the disk did not read.
    unread: OnceLock<BlockDamage>,
}

/// The header in memory.
#[derive(Debug)]
struct Head {
    /// As it stands in the newest copy.
    durable: Header,
    /// Which copy that is.
    newest: usize,
    /// What the storage library has written to it since; the next sync makes it durable.
    next: Option<Vec<u8>>,
}

impl Head {
    fn content(&self) -> &[u8] {
        self.next.as_ref().unwrap_or(&self.durable.content)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("blocks", &self.blocks).field("damage", &self.damage).finish_non_exhaustive()
    }
}

impl Sealed {
    /// Opens a file, or makes one where nothing was ever stored. `salt` distinguishes a new file from others.
    pub(crate) fn open(raw: impl StorageBackend, salt: u64) -> Result<Sealed, KvError> {
        let raw: Box<dyn StorageBackend> = Box::new(raw);
        let trouble = |source| KvError::from_io("opening", source);
        let len = raw.len().map_err(trouble)?;
        let copies = [read_copy(&*raw, len, 0), read_copy(&*raw, len, 1)];
        if let Some(found) =
            copies.iter().find_map(|copy| if let Copy::Foreign(found) = copy { Some(*found) } else { None })
            && !copies.iter().any(Copy::is_used)
        {
            return Err(KvError::Format { found, supported: FORMAT });
        }
        let damage = |kind| BlockDamage { block: 0, offset: 0, kind };
        let (newest, durable) = match choose(&copies).map_err(damage)? {
            Choice::Used(newest, durable) => (newest, durable),
            Choice::Unused => return Sealed::create(raw, salt).map_err(trouble),
            // The head is durable before anything follows it, so nothing can have been lost but an attempt to begin.
            Choice::Neither if len <= HEAD_LEN => return Sealed::create(raw, salt).map_err(trouble),
            Choice::Neither => return Err(damage(DamageKind::Header).into()),
        };
        let blocks = place::blocks_in(len).filter(|&blocks| blocks > 0 && blocks >= durable.blocks);
        let blocks = blocks.ok_or(damage(DamageKind::Length))?;
        let settled = copies[1 - newest] == copies[newest];
        Ok(Sealed::of(raw, blocks, Head { durable, newest, next: None }, !settled))
    }

    fn of(raw: Box<dyn StorageBackend>, blocks: u64, head: Head, unsettled: bool) -> Sealed {
        Sealed {
            raw,
            salt: head.durable.salt,
            blocks: AtomicU64::new(blocks),
            sums: RwLock::default(),
            head: Mutex::new(head),
            data_written: AtomicBool::new(false),
            unsettled: AtomicBool::new(unsettled),
            damage: OnceLock::new(),
            unread: OnceLock::new(),
        }
    }

    fn create(raw: Box<dyn StorageBackend>, salt: u64) -> io::Result<Sealed> {
        // What an interrupted first opening left is gone, durably, before there is anything new: a power cut must not mix
        // them.
        raw.set_len(0)?;
        raw.sync_data()?;
        raw.set_len(HEAD_LEN)?;
        let durable = Header { salt, sequence: 1, blocks: 0, content: Vec::new() };
        for slot in 0..2 {
            raw.write(slot as u64 * BLOCK_LEN, &durable.encode(slot)[..])?;
        }
        raw.sync_data()?;
        Ok(Sealed::of(raw, 0, Head { durable, newest: 0, next: None }, false))
    }

    /// Length of the file.
    pub(crate) fn file_len(&self) -> u64 {
        place::file_len(self.blocks())
    }

    /// Length as the storage library sees it.
    pub(crate) fn len(&self) -> u64 {
        self.blocks() * BLOCK_LEN
    }

    /// Blocks as the storage library counts them, its header among them.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Acquire)
    }

    /// Closes the file beneath.
    pub(crate) fn close(&self) -> io::Result<()> {
        self.raw.close()
    }

    /// The first damage that was met; where there was none, the first block that the disk did not read.
    pub(crate) fn damage(&self) -> Option<BlockDamage> {
        self.damage.get().or(self.unread.get()).copied()
    }

    /// What the storage library keeps in its first block.
    pub(crate) fn content(&self) -> Vec<u8> {
        self.head().content().to_vec()
    }

    fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, damage: BlockDamage) -> io::Error {
        let first = if damage.is_damage() { &self.damage } else { &self.unread };
        first.get_or_init(|| damage);
        damage.into()
    }

    /// Reads whole blocks of one group and compares them with their checksums.
    fn read_run(&self, block: u64, out: &mut [u8]) -> io::Result<()> {
        self.load(place::group_of(block).0)?;
        let Err(_) = self.try_run(block, out) else { return Ok(()) };
        // A second time, in case that the fault lay on the way and not on the disk.
        self.try_run(block, out).map_err(|damage| self.note(damage))
    }

    fn try_run(&self, block: u64, out: &mut [u8]) -> Result<(), BlockDamage> {
        let damage = |within: usize, kind| {
            let block = block + within as u64;
            BlockDamage { block, offset: place::offset_of(block), kind }
        };
        self.raw.read(place::offset_of(block), out).map_err(|_| damage(0, DamageKind::Unreadable))?;
        let (group, first) = place::group_of(block);
        let found: Vec<u32> =
            out.chunks_exact(BLOCK).zip(block..).map(|(data, block)| seal(self.salt, block, data)).collect();
        let sums = read(&self.sums);
        let Some(group) = sums.group(group) else { return Err(damage(0, DamageKind::Missing)) };
        let expected = group.entries(first, found.len());
        match found.iter().zip(expected).position(|(found, expected)| found != expected) {
            Some(at) if expected[at] == UNWRITTEN => Err(damage(at, DamageKind::Unwritten)),
            Some(at) => Err(damage(at, DamageKind::Checksum)),
            None => Ok(()),
        }
    }

    /// Brings a group's checksums into memory.
    fn load(&self, group: u64) -> io::Result<()> {
        if read(&self.sums).group(group).is_none() {
            let loaded = self.read_sums(group)?;
            write(&self.sums).load(group, loaded);
        }
        Ok(())
    }

    fn read_sums(&self, group: u64) -> io::Result<Group> {
        let offset = place::sums_offset(group);
        let mut block = Box::new([0; BLOCK]);
        let twice = self.raw.read(offset, &mut block[..]).or_else(|_| self.raw.read(offset, &mut block[..]));
        let unreadable =
            |_| self.note(BlockDamage { block: 1 + group * PER_GROUP, offset, kind: DamageKind::Unreadable });
        twice.map_err(unreadable)?;
        Ok(Group::decode(&block))
    }

    /// Compares the checksum blocks on the disk with those in memory. One that rotted is written again with the next sync.
    /// Answers how many those were.
    pub(crate) fn review_sums(&self) -> io::Result<u64> {
        let mut mended = 0;
        for group in 0..place::groups(self.blocks()) {
            // Between reading and comparing nothing is synced and the file is not made shorter. For one group at a time, so
            // that a checkpoint waits for one read only.
            let _head = self.head();
            if read(&self.sums).group(group).is_none_or(Group::is_dirty) {
                continue;
            }
            let found = self.read_sums(group)?;
            let mut sums = write(&self.sums);
            if sums.group(group).is_some_and(|known| !known.is_dirty() && !known.agrees(&found)) {
                sums.rewrite(group);
                mended += 1;
            }
        }
        Ok(mended)
    }

    /// Reads every block that was ever written: how many are whole, and how many do not match their checksum or cannot be
    /// read. Those matter only if the state refers to them, which is for the storage library to say.
    pub(crate) fn review_blocks(&self, mut progress: impl FnMut(u64)) -> (u64, u64) {
        let mut out = vec![0; BLOCK];
        let (mut whole, mut torn) = (0, 0);
        for block in 1..self.blocks() {
            match self.load(place::group_of(block).0) {
                Ok(()) if self.is_unwritten(block) => {}
                Ok(()) if self.try_run(block, &mut out).is_ok() => whole += 1,
                Ok(()) | Err(_) => torn += 1,
            }
            if block % PER_GROUP == 0 {
                progress(block);
            }
        }
        (whole, torn)
    }

    fn is_unwritten(&self, block: u64) -> bool {
        let (group, within) = place::group_of(block);
        read(&self.sums).group(group).is_some_and(|group| group.entries(within, 1) == [UNWRITTEN])
    }

    /// Splits blocks into runs within one group each: first block, bytes.
    fn runs(block: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
        let (mut block, mut start) = (block, 0);
        std::iter::from_fn(move || {
            let left = (PER_GROUP as usize - place::group_of(block).1) * BLOCK;
            let end = len.min(start + left);
            let run = (block, start..end);
            block += ((end - start) / BLOCK) as u64;
            start = end;
            (!run.1.is_empty()).then_some(run)
        })
    }

    /// The first block of a range of whole blocks behind the header.
    fn first_block(&self, offset: u64, len: usize) -> io::Result<u64> {
        if offset == 0 || !offset.is_multiple_of(BLOCK_LEN) || !len.is_multiple_of(BLOCK) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the state file is read and written in whole blocks",
            ));
        }
        let (block, end) = (offset / BLOCK_LEN, offset.saturating_add(len as u64).div_ceil(BLOCK_LEN));
        if end > self.blocks() {
            let kind = DamageKind::Missing;
            return Err(self.note(BlockDamage { block, offset: place::offset_of(block), kind }));
        }
        Ok(block)
    }

    /// Writes the next header over the older copy.
    fn write_header(&self, head: &mut Head, blocks: u64, content: Vec<u8>) -> io::Result<()> {
        head.durable = Header { salt: self.salt, sequence: head.durable.sequence + 1, blocks, content };
        self.write_copy(head)
    }

    /// Writes the copy of the header that is not the newest.
    fn write_copy(&self, head: &mut Head) -> io::Result<()> {
        let slot = 1 - head.newest;
        self.raw.write(slot as u64 * BLOCK_LEN, &head.durable.encode(slot)[..])?;
        head.newest = slot;
        Ok(())
    }

    /// Makes both copies of the header say the same, durably.
    fn settle(&self, head: &mut Head) -> io::Result<()> {
        self.write_copy(head)?;
        self.raw.sync_data()?;
        self.unsettled.store(false, Ordering::Release);
        Ok(())
    }
}

impl Sealed {
    /// Reads, of the header any part, else whole blocks.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset < BLOCK_LEN && offset + out.len() as u64 <= BLOCK_LEN {
            let head = self.head();
            let rest = head.content().get(offset as usize..).unwrap_or_default();
            let known = rest.len().min(out.len());
            out[..known].copy_from_slice(&rest[..known]);
            out[known..].fill(0);
            return Ok(());
        }
        let block = self.first_block(offset, out.len())?;
        Sealed::runs(block, out.len()).try_for_each(|(block, range)| self.read_run(block, &mut out[range]))
    }

    /// Writes, of the header all, else whole blocks.
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset == 0 && data.len() < BLOCK {
            return self.write_content(data);
        }
        let block = self.first_block(offset, data.len())?;
        if self.unsettled.load(Ordering::Acquire) {
            let mut head = self.head();
            if self.unsettled.load(Ordering::Acquire) {
                self.settle(&mut head)?;
            }
        }
        self.data_written.store(true, Ordering::Release);
        for (block, range) in Sealed::runs(block, data.len()) {
            let data = &data[range];
            let (group, first) = place::group_of(block);
            self.load(group)?;
            let found = data.chunks_exact(BLOCK).zip(block..);
            let found: Vec<u32> = found.map(|(data, block)| seal(self.salt, block, data)).collect();
            write(&self.sums).set(group, first, &found);
            self.raw.write(place::offset_of(block), data)?;
        }
        Ok(())
    }

    /// The header reaches the file with the next sync.
    fn write_content(&self, data: &[u8]) -> io::Result<()> {
        if data.len() > CONTENT_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the storage library's header is too large"));
        }
        self.head().next = Some(data.to_vec());
        Ok(())
    }

    /// Makes everything written durable, with its checksums.
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        let mut head = self.head();
        let only_header = !self.data_written.swap(false, Ordering::AcqRel);
        let dirty = write(&self.sums).take_dirty();
        for (group, block) in dirty {
            self.raw.write(place::sums_offset(group), &block)?;
        }
        let next = head.next.take();
        let changed = next.is_some();
        if let Some(content) = next {
            self.write_header(&mut head, self.blocks(), content)?;
        }
        let synced = self.raw.sync_data();
        if planted(46) {
            synced.or_else(|_| self.raw.sync_data())?
        } else {
            synced?
        }
        if changed {
            self.unsettled.store(true, Ordering::Release);
            if only_header {
                self.settle(&mut head)?;
            }
        }
        Ok(())
    }

    /// Makes the file longer or shorter, as the storage library counts.
    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        if !len.is_multiple_of(BLOCK_LEN) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the state file has whole blocks"));
        }
        let blocks = len / BLOCK_LEN;
        let mut head = self.head();
        if blocks < head.durable.blocks {
            let content = head.durable.content.clone();
            self.write_header(&mut head, blocks, content)?;
            self.raw.sync_data()?;
            self.settle(&mut head)?;
        }
        if blocks < self.blocks() {
            self.blocks.store(blocks, Ordering::Release);
            write(&self.sums).cut(blocks.saturating_sub(1));
            return self.raw.set_len(place::file_len(blocks));
        }
        drop(head); // growing may wait for space
        self.raw.set_len(place::file_len(blocks))?;
        self.blocks.store(blocks, Ordering::Release);
        Ok(())
    }
}
