//! Files and directories as the rest of Kontiki sees them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::real::DirectoryLock;

/// How a file is opened. All files are readable and writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist.
    Existing,
    /// It must not exist; it is made with mode 0600.
    New,
    /// It is made if it does not exist.
    ExistingOrNew,
}

/// A directory tree. Paths are absolute or relative to whatever the implementation stands on.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// As the operating system's open; `AlreadyExists` and `NotFound` by `mode`.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Makes a directory and those above it, with mode 0700. An existing one is fine.
    ///
    /// # Errors
    /// As the operating system's.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Names of the files in a directory, sorted.
    ///
    /// # Errors
    /// `NotFound` where the directory does not exist.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Replaces `to` by `from`, atomically. Durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// As the operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// `NotFound` where there is none.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable: creations, renames, removals.
    ///
    /// # Errors
    /// As the operating system's; final, never to be retried.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether a file or directory exists.
    ///
    /// # Errors
    /// Other than its absence.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Takes a directory for this process alone, until what it gives is dropped.
    ///
    /// # Errors
    /// `WouldBlock` while another process has it; otherwise as the operating system's.
    fn lock(&self, dir: &Path) -> io::Result<DirectoryLock>;

    /// A path below a directory.
    fn join(&self, dir: &Path, name: &str) -> PathBuf {
        dir.join(name)
    }
}

/// An open file. Positions and lengths are in bytes.
pub trait File: Send + Sync + std::fmt::Debug {
    /// Reads exactly `buffer.len()` bytes at `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file is shorter.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; the file grows as needed.
    ///
    /// # Errors
    /// As the operating system's. Part of the bytes may have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the content (and a length needed to read it) durable.
    ///
    /// # Errors
    /// As the operating system's; final, never to be retried: what was dirty may be lost.
    fn sync_data(&self) -> io::Result<()>;

    /// Reserves space up to `len` bytes and makes the file that long; new bytes read as zero.
    ///
    /// # Errors
    /// `StorageFull` among others.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Sets the length.
    ///
    /// # Errors
    /// As the operating system's.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The length.
    ///
    /// # Errors
    /// As the operating system's.
    fn len(&self) -> io::Result<u64>;

    /// Whether the length is zero.
    ///
    /// # Errors
    /// As the operating system's.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
