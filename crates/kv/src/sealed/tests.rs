//! What needs a look at the file beneath, between two of its operations.

use std::sync::{Arc, Weak};

use super::*;
use crate::tests::Disk;

type OnRead = Box<dyn Fn(u64) -> io::Result<()> + Send + Sync>;

/// A disk that calls somebody after it has read, and that may have room for only so much.
#[derive(Clone, Default)]
struct Watched {
    disk: Disk,
    on_read: Arc<OnceLock<OnRead>>,
    room: Option<u64>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)?;
        self.on_read.get().map_or(Ok(()), |on_read| on_read(offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.room {
            Some(room) if len > room => {
                self.disk.set_len(room)?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Some(_) | None => self.disk.set_len(len),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }
}

/// A file in use with so many blocks, the first of them written.
fn used(raw: impl StorageBackend, blocks: u64) -> Arc<Sealed> {
    let sealed = Sealed::open(raw, 3).unwrap();
    sealed.set_len(blocks * BLOCK_LEN).unwrap();
    sealed.write(0, b"redb").unwrap();
    sealed.sync_data().unwrap();
    sealed.write(BLOCK_LEN, &[1; BLOCK]).unwrap();
    sealed.sync_data().unwrap();
    Arc::new(sealed)
}

#[test]
fn a_checkpoint_between_reading_and_comparing_is_not_taken_for_rot() {
    let raw = Watched::default();
    let sealed = used(raw.clone(), 5);
    assert_eq!(sealed.review_sums().unwrap(), 0);
    let (weak, reads): (Weak<Sealed>, _) = (Arc::downgrade(&sealed), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&reads);
    let on_read = move |offset| {
        assert_eq!(offset, place::sums_offset(0));
        let sealed = weak.upgrade().unwrap();
        let round = counted.fetch_add(1, Ordering::SeqCst);
        sealed.write(2 * BLOCK_LEN, &[2 + round as u8; BLOCK])?;
        let waits = sealed.head.try_lock().is_err();
        if waits { Ok(()) } else { sealed.sync_data() }
    };
    assert!(raw.on_read.set(Box::new(on_read)).is_ok());
    // What is read is older than what is in memory, and that is still to be written.
    assert_eq!(sealed.review_sums().unwrap(), 0);
    sealed.sync_data().unwrap();
    assert_eq!(reads.load(Ordering::SeqCst), 1);
}

#[test]
fn a_scrub_beside_syncs_and_a_file_that_shrinks_finds_nothing() {
    let sealed = used(Disk::default(), 3 * PER_GROUP);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                assert_eq!(sealed.review_sums().unwrap(), 0);
            }
        });
        for round in 0..300_u64 {
            let blocks = if round % 3 == 0 { PER_GROUP / 2 } else { 3 * PER_GROUP };
            sealed.set_len(blocks * BLOCK_LEN).unwrap();
            sealed.write((blocks - 1) * BLOCK_LEN, &[round as u8; BLOCK]).unwrap();
            sealed.write(0, format!("redb {round}").as_bytes()).unwrap();
            sealed.sync_data().unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(sealed.damage(), None);
}

#[test]
fn a_file_that_grew_by_half_can_still_be_used() {
    let disk = Disk::default();
    drop(used(disk.clone(), 5));
    let grown = place::file_len(PER_GROUP + 5);
    for room in (place::file_len(5)..grown).step_by(BLOCK / 2 + 1).chain([grown - 1]) {
        let disk = disk.after_crash();
        let sealed = Sealed::open(Watched { disk: disk.clone(), room: Some(room), ..Watched::default() }, 3).unwrap();
        sealed.set_len((PER_GROUP + 5) * BLOCK_LEN).unwrap_err();
        assert_eq!((sealed.blocks(), disk.len().unwrap()), (5, room));
        drop(sealed);
        let sealed = Sealed::open(disk.clone(), 3).unwrap();
        assert!((5..PER_GROUP + 5).contains(&sealed.blocks()), "{room}");
        let mut out = [0; BLOCK];
        sealed.read(BLOCK_LEN, &mut out).unwrap();
        assert_eq!(out, [1; BLOCK]);
        let last = (PER_GROUP + 4) * BLOCK_LEN;
        sealed.set_len(last + BLOCK_LEN).unwrap();
        sealed.write(last, &[7; BLOCK]).unwrap();
        sealed.sync_data().unwrap();
        let sealed = Sealed::open(disk, 3).unwrap();
        assert_eq!(sealed.blocks(), PER_GROUP + 5);
        sealed.read(last, &mut out).unwrap();
        assert_eq!(out, [7; BLOCK]);
    }
}

/// A disk that does not read some blocks of the file beneath.
fn unreadable(disk: &Disk, blocks: &'static [u64]) -> Watched {
    let raw = Watched { disk: disk.clone(), ..Watched::default() };
    let on_read = move |offset| {
        if blocks.contains(&(offset / BLOCK_LEN)) { Err(io::Error::other("a disk that fails")) } else { Ok(()) }
    };
    assert!(raw.on_read.set(Box::new(on_read)).is_ok());
    raw
}

#[test]
fn a_header_that_cannot_be_read_is_neither_damage_nor_a_reason_to_begin_anew() {
    let disk = Disk::default();
    let fresh = disk.after_crash();
    drop(Sealed::open(fresh.clone(), 3).unwrap());
    drop(used(disk.clone(), 5));
    for (disk, blocks) in [(&disk, &[0, 1][..]), (&fresh, &[0, 1]), (&fresh, &[0]), (&fresh, &[1])] {
        let before = disk.image();
        let error = Sealed::open(unreadable(disk, blocks), 4).unwrap_err();
        assert!(!error.is_damage(), "{error}");
        assert!(matches!(error, KvError::Block(BlockDamage { kind: DamageKind::Unreadable, .. })), "{error}");
        assert!(disk.image() == before);
        Sealed::open(disk.after_crash(), 3).unwrap();
    }
    for blocks in [&[0][..], &[1]] {
        assert_eq!(Sealed::open(unreadable(&disk, blocks), 4).unwrap().content(), b"redb");
    }
}

#[test]
fn blocks_that_cannot_be_read_are_trouble_with_the_disk() {
    let disk = Disk::default();
    drop(used(disk.clone(), 5));
    let mut out = [0; BLOCK];
    // The checksums, the block itself.
    for blocks in [&[2][..], &[3]] {
        let sealed = Sealed::open(unreadable(&disk, blocks), 3).unwrap();
        let error = KvError::from_io("reading", sealed.read(BLOCK_LEN, &mut out).unwrap_err());
        assert!(!error.is_damage() && error.to_string().contains("restart"), "{error}");
        assert!(sealed.damage().is_some_and(|damage| !damage.is_damage()));
        // Damage is worse, and is what is told from then on.
        let missing = KvError::from_io("reading", sealed.read(5 * BLOCK_LEN, &mut out).unwrap_err());
        assert!(missing.is_damage() && sealed.damage().is_some_and(|damage| damage.is_damage()));
        Sealed::open(disk.clone(), 3).unwrap().read(BLOCK_LEN, &mut out).unwrap();
        assert_eq!(out, [1; BLOCK]);
    }
}
