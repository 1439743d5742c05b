//! A disk that stops answering after so many changes: with a crash of the simulated one below, power loss anywhere.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kontiki_world::{Disk, File, OpenMode, SimDisk};

#[derive(Clone, Debug)]
pub(super) struct FragileDisk {
    below: SimDisk,
    changes_left: Arc<AtomicI64>,
}

impl FragileDisk {
    pub(super) fn new(below: SimDisk) -> FragileDisk {
        FragileDisk { below, changes_left: Arc::new(AtomicI64::new(i64::MAX)) }
    }

    /// Power goes after this many changes.
    pub(super) fn fail_after(&self, changes: i64) {
        self.changes_left.store(changes, Ordering::Relaxed);
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
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.change()?;
        Ok(Arc::new(FragileFile { disk: self.clone(), file: self.below.open(path, mode)? }))
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
    file: Arc<dyn File>,
}

impl File for FragileFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.change()?;
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
