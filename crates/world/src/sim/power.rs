//! A simulated disk's power, which may fail between any two changes, and the rot of what rests on it.

use std::io;
use std::path::{Path, PathBuf};

use super::{SimDisk, State, lock, not_found, split};

impl SimDisk {
    /// The power fails once so many more changes of files and names are done: the next change, and all after it, fail until
    /// [`SimDisk::crash`].
    pub fn lose_power_after(&self, changes: u64) {
        lock(&self.state).fuse = Some(changes);
    }

    /// Whether the power has failed: somebody should call [`SimDisk::crash`].
    #[must_use]
    pub fn has_lost_power(&self) -> bool {
        lock(&self.state).dark
    }

    /// The power does not fail, or is back before anything was lost: what was seen is still seen.
    pub fn keep_power(&self) {
        let mut state = lock(&self.state);
        (state.fuse, state.dark) = (None, false);
    }

    /// What was written to the files that fit is durable from now on, as if each had been synced.
    pub fn settle(&self, fits: impl Fn(&Path) -> bool) {
        let state = lock(&self.state);
        for (dir, directory) in &state.directories {
            for (_, inode) in directory.seen.iter().filter(|(name, _)| fits(&dir.join(name))) {
                lock(&inode.body).sync();
            }
        }
    }

    /// All files that are seen, with their lengths, in the order of their paths.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = lock(&self.state);
        let named = state.directories.iter().flat_map(|(dir, directory)| {
            directory.seen.iter().map(move |(name, inode)| (dir.join(name), lock(&inode.body).seen.len()))
        });
        named.collect()
    }

    /// Bits of a stored byte are others from now on, whatever was synced.
    ///
    /// # Errors
    /// Where there is no such file.
    pub fn rot(&self, path: &Path, offset: u64, bits: u8) -> io::Result<()> {
        let (dir, name) = split(path)?;
        let mut state = lock(&self.state);
        let inode = state.directory(dir)?.seen.get(&name).ok_or_else(|| not_found(path))?;
        let mut body = lock(&inode.body);
        let body = &mut *body;
        for content in [&mut body.seen, &mut body.durable] {
            if offset < content.len() {
                let mut byte = [0];
                content.read(&mut byte, offset);
                content.write(&[byte[0] ^ bits], offset);
            }
        }
        Ok(())
    }

    /// Whether a part of a file holds nothing but zeros, as what was only reserved does.
    #[must_use]
    pub fn is_blank(&self, path: &Path, offset: u64, length: usize) -> bool {
        let Ok((dir, name)) = split(path) else { return true };
        let mut state = lock(&self.state);
        let Ok(directory) = state.directory(dir) else { return true };
        let Some(inode) = directory.seen.get(&name) else { return true };
        let mut bytes = vec![0; length];
        lock(&inode.body).seen.read(&mut bytes, offset);
        bytes.iter().all(|byte| *byte == 0)
    }
}

impl State {
    /// Something on the disk is to change.
    pub(super) fn burn(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            None => Ok(()),
            Some(0) => {
                self.dark = true;
                Err(io::Error::other("the simulated power has failed"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::disk::{Disk, OpenMode};

    use super::*;

    #[test]
    #[allow(clippy::unwrap_used)]
    fn power_fails_between_two_changes_and_bytes_rot_where_they_rest() {
        let disk = SimDisk::new(1);
        disk.create_dir_all(Path::new("/d")).unwrap();
        let path = Path::new("/d/f");
        let file = disk.open(path, OpenMode::New).unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_all_at(b"first", 0).unwrap();
        disk.lose_power_after(1);
        file.sync_data().unwrap();
        assert!(!disk.has_lost_power());
        assert!(file.write_all_at(b"again", 0).is_err());
        assert!(file.sync_data().is_err() && disk.has_lost_power());
        disk.crash();
        assert!(!disk.has_lost_power());
        disk.rot(path, 1, 0x20).unwrap();
        let mut bytes = [0; 5];
        disk.open(path, OpenMode::Existing).unwrap().read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"fIrst");
        assert_eq!(disk.files(), [(path.to_path_buf(), 5)]);
        assert!(disk.is_blank(path, 5, 10) && !disk.is_blank(path, 4, 1));
    }
}
