//! A disk that stops answering after so many changes: with a crash of the simulated one below, power loss anywhere.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use kontiki_world::{DirectoryLock, Disk, File, OpenMode, SimDisk};

/// A file and where in it nothing can be read.
type BadRange = (String, Range<u64>);

#[derive(Clone, Debug)]
pub(super) struct FragileDisk {
    below: SimDisk,
    changes_left: Arc<AtomicI64>,
    unreadable: Arc<Mutex<Vec<BadRange>>>,
}

impl FragileDisk {
    pub(super) fn new(below: SimDisk) -> FragileDisk {
        FragileDisk { below, changes_left: Arc::new(AtomicI64::new(i64::MAX)), unreadable: Arc::default() }
    }

    /// Power goes after this many changes.
    pub(super) fn fail_after(&self, changes: i64) {
        self.changes_left.store(changes, Ordering::Relaxed);
    }

    /// What lies in this range of a file cannot be read from now on.
    pub(super) fn fail_reads(&self, name: &str, range: Range<u64>) {
        self.unreadable.lock().unwrap().push((name.to_owned(), range));
    }

    /// Whether all changes were made so far.
    pub(super) fn has_power(&self) -> bool {
        self.changes_left.load(Ordering::Relaxed) >= 0
    }

    /// Everything can be read again.
    pub(super) fn heal(&self) {
        self.unreadable.lock().unwrap().clear();
    }

    /// Power is lost, where it was not yet, and comes back.
    pub(super) fn crash(&self) {
        self.below.crash();
        self.fail_after(i64::MAX);
    }

    fn change(&self) -> io::Result<()> {
        if self.changes_left.fetch_sub(1, Ordering::Relaxed) > 0 { Ok(()) } else { Err(io::Error::other("no power")) }
    }
}

impl Disk for FragileDisk {
    fn lock(&self, dir: &Path) -> io::Result<DirectoryLock> {
        self.below.lock(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.change()?;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(Arc::new(FragileFile { disk: self.clone(), name, file: self.below.open(path, mode)? }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.below.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.below.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        self.below.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.below.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.change()?;
        self.below.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.below.exists(path)
    }
}

#[derive(Debug)]
struct FragileFile {
    disk: FragileDisk,
    name: String,
    file: Arc<dyn File>,
}

impl FragileFile {
    fn check(&self, bytes: usize, offset: u64) -> io::Result<()> {
        let end = offset + bytes as u64;
        let unreadable = self.disk.unreadable.lock().unwrap();
        let meets = |(name, range): &BadRange| *name == self.name && range.start < end && offset < range.end;
        if unreadable.iter().any(meets) { Err(io::Error::other("a bad sector")) } else { Ok(()) }
    }
}

impl File for FragileFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.check(buffer.len(), offset)?;
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.change()?;
        // A page is read before a part of it is written.
        self.check(bytes.len(), offset)?;
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.change()?;
        self.file.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.disk.change()?;
        self.file.allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.change()?;
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
