//! The operating system's files for who only looks: nothing can be changed through it, by mistake or otherwise.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, File, OpenMode};
use crate::real::{DirectoryLock, NO_FOLLOW, RealDisk, RealFile, tell_of_link};

/// The operating system's file system, to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOnlyDisk;

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "files are only looked at here")
}

impl Disk for ReadOnlyDisk {
    fn lock(&self, _: &Path) -> io::Result<DirectoryLock> {
        Err(refused())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        if mode == OpenMode::New {
            return Err(refused());
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(NO_FOLLOW).open(path).map_err(tell_of_link)?;
        Ok(Arc::new(ReadOnlyFile(RealFile { file })))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() { Ok(()) } else { Err(refused()) }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(refused())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(refused())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }
}

#[derive(Debug)]
struct ReadOnlyFile(RealFile);

impl File for ReadOnlyFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(refused())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(refused())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(refused())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn files_are_read_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("file");
        fs::write(&path, "as it is").unwrap();
        let file = ReadOnlyDisk.open(&path, OpenMode::Existing).unwrap();
        let mut buffer = [0; 2];
        file.read_exact_at(&mut buffer, 3).unwrap();
        assert_eq!((&buffer, file.len().unwrap()), (b"it", 8));
        for refusal in [
            file.write_all_at(b"x", 0),
            file.set_len(0),
            file.allocate(100),
            ReadOnlyDisk.remove(&path),
            ReadOnlyDisk.rename(&path, &temporary.path().join("other")),
            ReadOnlyDisk.create_dir_all(&temporary.path().join("dir")),
            ReadOnlyDisk.open(&temporary.path().join("new"), OpenMode::New).map(|_| ()),
        ] {
            assert_eq!(refusal.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        }
        let missing = ReadOnlyDisk.open(&temporary.path().join("new"), OpenMode::ExistingOrNew).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read(&path).unwrap(), b"as it is");
        assert_eq!(ReadOnlyDisk.list(temporary.path()).unwrap(), ["file"]);
    }
}
