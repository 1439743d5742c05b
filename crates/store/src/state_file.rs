//! The state's file as redb sees it: any [`kontiki_world::File`], so that a simulated disk lies beneath the real thing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kontiki_world::{Disk, File, OpenMode};

/// A file that redb keeps its pages in.
#[derive(Debug)]
pub struct StateFile(Arc<dyn File>);

impl redb::StorageBackend for StateFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// The directory of the state: the file in force, and one that is being received.
#[derive(Clone, Debug)]
pub struct StateDir {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl StateDir {
    /// A directory, made if it is not there.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> io::Result<StateDir> {
        disk.create_dir_all(dir)?;
        Ok(StateDir { disk, dir: dir.to_owned() })
    }

    /// Path of the file in force.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.dir.join("state.redb")
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
        Ok(StateFile(file))
    }

    /// An empty file to receive a snapshot into.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn create_incoming(&self) -> io::Result<StateFile> {
        if self.disk.exists(&self.incoming())? {
            self.disk.remove(&self.incoming())?;
        }
        self.disk.open(&self.incoming(), OpenMode::New).map(StateFile)
    }

    /// Puts the received file in force, durably, and opens it.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn install_incoming(&self) -> io::Result<StateFile> {
        self.disk.rename(&self.incoming(), &self.current())?;
        self.disk.sync_dir(&self.dir)?;
        self.disk.open(&self.current(), OpenMode::Existing).map(StateFile)
    }
}
