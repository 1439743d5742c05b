//! The operating system's files, and the lock that keeps two processes out of one directory.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock};
use rustix::io::Errno;

use crate::disk::{Disk, File, OpenMode};

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn lock(&self, dir: &Path) -> io::Result<DirectoryLock> {
        DirectoryLock::acquire(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = own_file();
        match mode {
            OpenMode::Existing => {}
            OpenMode::New => {
                options.create_new(true);
            }
            OpenMode::ExistingOrNew => {
                options.create(true).truncate(false);
            }
        }
        Ok(Arc::new(RealFile { file: options.open(path).map_err(tell_of_link)? }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.create_dir_all(parent)?;
        match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
            Ok(()) => self.sync_dir(parent), // or a crash could take the directory with all that was synced in it
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    /// A link counts, wherever it leads.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match path.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[derive(Debug)]
pub(crate) struct RealFile {
    pub(crate) file: fs::File,
}

impl File for RealFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if len <= self.len()? {
            return Ok(());
        }
        match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // Not every file system reserves: there the length alone is set, and a full disk shows at the write.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.file.set_len(len),
            Err(errno) => Err(errno.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// Held while this process owns a directory; released when dropped, also by the operating system when the process dies.
#[derive(Debug)]
pub struct DirectoryLock {
    /// The open file that carries the lock; none where nobody else could ask for it.
    _file: Option<fs::File>,
    path: PathBuf,
}

impl DirectoryLock {
    /// Locks `dir`, which must exist, by its file `LOCK`, and leaves this process's id in it.
    ///
    /// # Errors
    /// `WouldBlock` while another process holds the lock ([`DirectoryLock::holder`] tells which); otherwise as the
    /// operating system's.
    pub fn acquire(dir: &Path) -> io::Result<DirectoryLock> {
        let path = dir.join(LOCK_NAME);
        let mut file = own_file().create(true).truncate(false).open(&path).map_err(tell_of_link)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(DirectoryLock { _file: Some(file), path })
    }

    /// The lock of a directory that only this process can see: on a simulated disk.
    #[must_use]
    pub fn unshared(dir: &Path) -> DirectoryLock {
        DirectoryLock { _file: None, path: dir.join(LOCK_NAME) }
    }

    /// Keeps whoever would write out of `dir` while it is looked at, and changes nothing: others may look at the same time.
    /// None where the directory was never locked, so that nothing is left behind in it.
    ///
    /// # Errors
    /// `WouldBlock` while a process holds the lock; otherwise as the operating system's.
    pub fn observe(dir: &Path) -> io::Result<Option<DirectoryLock>> {
        let path = dir.join(LOCK_NAME);
        let mut options = OpenOptions::new();
        match options.read(true).custom_flags(NO_FOLLOW).open(&path).map_err(tell_of_link) {
            Ok(file) => {
                flock(&file, FlockOperation::NonBlockingLockShared)?;
                Ok(Some(DirectoryLock { _file: Some(file), path }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The process that locked `dir` last, where it can be read. It may have ended since.
    #[must_use]
    pub fn holder(dir: &Path) -> Option<u32> {
        let mut text = String::new();
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(NO_FOLLOW).open(dir.join(LOCK_NAME)).ok()?;
        file.take(32).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    /// The lock's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Name of the lock's file in the directory that it locks.
const LOCK_NAME: &str = "LOCK";
/// Only the owner reads what a store holds.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// A link in a file's place is not followed: it could lead to a file of somebody else.
pub(crate) const NO_FOLLOW: i32 = OFlags::NOFOLLOW.bits() as i32;

/// How files of ours are opened: to read and to write, for the owner alone where they are made, and never through a link.
fn own_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE).custom_flags(NO_FOLLOW);
    options
}

/// The operating system's words for a link that is not followed ("too many levels") say nothing of it.
pub(crate) fn tell_of_link(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => io::Error::new(
            error.kind(),
            "a symbolic link stands in its place and is not followed; put the file itself there",
        ),
        _ => error,
    }
}

/// The time of day in milliseconds since 1970, for what people read. Nothing may be decided by it: it jumps.
#[must_use]
pub fn time_of_day_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Lets other threads go before the calling one, for work that may take its time. Where the system does not allow it, the
/// thread stays as it is.
///
/// A little only. The allocator and the cache of the state's file have locks that this thread shares with those that it
/// gives way to. When it loses the processor with such a lock in its hands, they wait until it gets it back: with ten
/// threads ready to run on each processor, that took 0.3 to 0.8 s at a niceness of 10, and cost leaders their office. At 3
/// it weighs half as much as they do.
pub fn lower_thread_priority() {
    const NICE: i32 = 3;
    let _ = rustix::process::nice(NICE);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_written_read_and_sized() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("a/b");
        RealDisk.create_dir_all(&dir).unwrap();
        RealDisk.create_dir_all(&dir).unwrap();
        let path = RealDisk.join(&dir, "file");
        assert_eq!(RealDisk.open(&path, OpenMode::Existing).unwrap_err().kind(), io::ErrorKind::NotFound);
        let file = RealDisk.open(&path, OpenMode::New).unwrap();
        assert_eq!(RealDisk.open(&path, OpenMode::New).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(file.is_empty().unwrap());
        file.allocate(8192).unwrap();
        file.allocate(10).unwrap(); // never shrinks
        assert_eq!(file.len().unwrap(), 8192);
        file.write_all_at(b"hello", 4000).unwrap();
        file.sync_data().unwrap();
        let mut buffer = [1u8; 6];
        RealDisk.open(&path, OpenMode::ExistingOrNew).unwrap().read_exact_at(&mut buffer, 3999).unwrap();
        assert_eq!(&buffer, b"\0hello");
        assert_eq!(file.read_exact_at(&mut buffer, 8190).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        file.set_len(3).unwrap();
        assert_eq!(file.len().unwrap(), 3);
    }

    #[test]
    fn names_are_listed_moved_and_removed() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path();
        RealDisk.create_dir_all(&dir.join("below")).unwrap();
        for name in ["b", "a", "c"] {
            RealDisk.open(&dir.join(name), OpenMode::New).unwrap();
        }
        RealDisk.rename(&dir.join("c"), &dir.join("a")).unwrap();
        RealDisk.sync_dir(dir).unwrap();
        assert_eq!(RealDisk.list(dir).unwrap(), ["a", "b"]);
        RealDisk.remove(&dir.join("b")).unwrap();
        assert!(!RealDisk.exists(&dir.join("b")).unwrap());
        assert!(RealDisk.exists(&dir.join("below")).unwrap());
        assert_eq!(RealDisk.remove(&dir.join("b")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_the_owner_may_look() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("data");
        RealDisk.create_dir_all(&dir).unwrap();
        RealDisk.open(&dir.join("file"), OpenMode::New).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
        assert_eq!(mode(&dir), 0);
        assert_eq!(mode(&dir.join("file")), 0);
    }

    #[test]
    fn links_are_not_followed() {
        let temporary = tempfile::tempdir().unwrap();
        let (file, link) = (temporary.path().join("file"), temporary.path().join("link"));
        fs::write(&file, "precious").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::os::unix::fs::symlink(&file, temporary.path().join("LOCK")).unwrap();
        for mode in [OpenMode::Existing, OpenMode::ExistingOrNew] {
            let error = RealDisk.open(&link, mode).unwrap_err();
            assert!(error.to_string().contains("symbolic link"), "{error}");
        }
        assert_eq!(RealDisk.open(&link, OpenMode::New).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(DirectoryLock::acquire(temporary.path()).unwrap_err().to_string().contains("symbolic link"));
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }

    #[test]
    fn a_locked_directory_stays_locked() {
        let temporary = tempfile::tempdir().unwrap();
        assert_eq!(DirectoryLock::holder(temporary.path()), None);
        let lock = DirectoryLock::acquire(temporary.path()).unwrap();
        assert_eq!(DirectoryLock::acquire(temporary.path()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(DirectoryLock::holder(temporary.path()), Some(std::process::id()));
        assert!(lock.path().ends_with("LOCK"));
        assert_eq!(DirectoryLock::observe(temporary.path()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        DirectoryLock::acquire(temporary.path()).unwrap();
    }

    #[test]
    fn looking_keeps_writers_out_and_leaves_nothing_behind() {
        let temporary = tempfile::tempdir().unwrap();
        assert!(DirectoryLock::observe(temporary.path()).unwrap().is_none());
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
        drop(DirectoryLock::acquire(temporary.path()).unwrap());
        let first = DirectoryLock::observe(temporary.path()).unwrap();
        let second = DirectoryLock::observe(temporary.path()).unwrap();
        assert!(first.is_some() && second.is_some());
        assert_eq!(DirectoryLock::acquire(temporary.path()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(DirectoryLock::holder(temporary.path()), Some(std::process::id()), "as it was");
    }
}
