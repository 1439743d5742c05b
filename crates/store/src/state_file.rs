//! The state's file as redb sees it: any [`kontiki_world::File`], so that a simulated disk lies beneath the real thing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kontiki_world::{DirectoryLock, Disk, File, OpenMode};

/// A file that redb keeps its pages in. As long as it is open, so is the lock of its directory: redb writes when it closes.
#[derive(Debug)]
pub struct StateFile {
    file: Arc<dyn File>,
    _lock: Arc<DirectoryLock>,
}

impl redb::StorageBackend for StateFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}

/// The directory of the state: the file in force, and one that is being received.
#[derive(Clone, Debug)]
pub struct StateDir {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    lock: Arc<DirectoryLock>,
}

impl StateDir {
    /// A directory, made if it is not there.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, lock: Arc<DirectoryLock>) -> io::Result<StateDir> {
        disk.create_dir_all(dir)?;
        Ok(StateDir { disk, dir: dir.to_owned(), lock })
    }

    /// Path of the file in force.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.dir.join("state.redb")
    }

    fn file(&self, file: Arc<dyn File>) -> StateFile {
        StateFile { file, _lock: self.lock.clone() }
    }

    fn incoming(&self) -> PathBuf {
        self.dir.join("incoming.redb")
    }

    /// Opens the file in force; an empty one where there is none. What a broken transfer left is removed.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn open_current(&self) -> io::Result<StateFile> {
        if self.disk.exists(&self.incoming())? {
            self.disk.remove(&self.incoming())?;
        }
        let file = self.disk.open(&self.current(), OpenMode::ExistingOrNew)?;
        self.disk.sync_dir(&self.dir)?;
        Ok(self.file(file))
    }

    /// An empty file to receive a snapshot into.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn create_incoming(&self) -> io::Result<StateFile> {
        if self.disk.exists(&self.incoming())? {
            self.disk.remove(&self.incoming())?;
        }
        self.disk.open(&self.incoming(), OpenMode::New).map(|file| self.file(file))
    }

    /// Puts the received file in force, durably, and opens it.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn install_incoming(&self) -> io::Result<StateFile> {
        self.disk.rename(&self.incoming(), &self.current())?;
        self.disk.sync_dir(&self.dir)?;
        self.disk.open(&self.current(), OpenMode::Existing).map(|file| self.file(file))
    }
}
