//! A disk in memory that keeps, loses or tears what was not synced, by a seed.
//!
//! A file has two contents: what a reader sees, and what would survive a crash; between them stands the list of writes
//! since the last sync. A directory likewise has names that are seen and names that are durable. [`SimDisk::crash`]
//! decides by the seed what of the difference survives.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, File, OpenMode};
use crate::entropy::Random;
use crate::real::DirectoryLock;

mod content;
mod inode;
mod power;

use inode::{Body, Inode, Unsynced};

/// A simulated disk. Clones are the same disk. Directories are durable once made; names in them only after
/// [`Disk::sync_dir`]. A rename must stay within its directory.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: Random,
    /// Counts crashes: a file opened before the last one is dead.
    generation: u64,
    directories: BTreeMap<PathBuf, Directory>,
    inodes_made: u64,
    syncs_fail: bool,
    syncs_failed: u64,
    /// So many syncs succeed before one fails.
    sync_fails_after: Option<u64>,
    bytes_left: Option<u64>,
    syncs: u64,
    bytes_written: u64,
    /// So many changes succeed before the power fails.
    fuse: Option<u64>,
    /// The power has failed, and [`SimDisk::crash`] was not called yet.
    dark: bool,
}

#[derive(Debug, Default)]
struct Directory {
    seen: BTreeMap<String, Arc<Inode>>,
    durable: BTreeMap<String, Arc<Inode>>,
    /// What leads from `durable` to `seen`, in order.
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Add(String, Arc<Inode>),
    Rename(String, String),
    Remove(String),
}

impl SimDisk {
    /// An empty disk whose crashes follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> SimDisk {
        let state = State {
            random: Random::new(seed),
            generation: 0,
            directories: BTreeMap::new(),
            inodes_made: 0,
            syncs_fail: false,
            syncs_failed: 0,
            sync_fails_after: None,
            bytes_left: None,
            syncs: 0,
            bytes_written: 0,
            fuse: None,
            dark: false,
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// Power is lost and comes back. Each unsynced write survives whole, not at all, or in some of its sectors; of the
    /// unsynced changes of names a first part survives. Files opened before give errors from now on.
    pub fn crash(&self) {
        let mut state = lock(&self.state);
        let State { random, generation, directories, fuse, dark, .. } = &mut *state;
        (*fuse, *dark) = (None, false);
        *generation += 1;
        let mut done = BTreeSet::new();
        for directory in directories.values_mut() {
            let survive = random.below(directory.changes.len() as u64 + 1);
            let mut names = std::mem::take(&mut directory.durable);
            for change in directory.changes.drain(..).take(survive as usize) {
                change.apply(&mut names);
            }
            for inode in names.values() {
                if done.insert(inode.number) {
                    lock(&inode.body).crash(random);
                }
            }
            directory.seen.clone_from(&names);
            directory.durable = names;
        }
    }

    /// While true, every sync fails, and what it would have made durable is lost at the next crash, as on Linux: a
    /// later sync that succeeds does not make up for it.
    pub fn fail_syncs(&self, fail: bool) {
        lock(&self.state).syncs_fail = fail;
    }

    /// One sync fails, after so many that do not (`None`: that is off), and what it would have made durable is lost at the next crash, as with
    /// [`SimDisk::fail_syncs`].
    pub fn fail_one_sync_after(&self, syncs: Option<u64>) {
        lock(&self.state).sync_fails_after = syncs;
    }

    /// Files may grow by this many bytes together; `None` for ever.
    pub fn full(&self, bytes_left: Option<u64>) {
        lock(&self.state).bytes_left = bytes_left;
    }

    /// How many syncs of files and directories were asked for.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        lock(&self.state).syncs
    }

    /// How many of them failed because a test wished it.
    #[must_use]
    pub fn syncs_failed(&self) -> u64 {
        lock(&self.state).syncs_failed
    }

    /// How many bytes were written.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        lock(&self.state).bytes_written
    }
}

impl State {
    fn directory(&mut self, path: &Path) -> io::Result<&mut Directory> {
        self.directories.get_mut(path).ok_or_else(|| not_found(path))
    }

    fn count_sync(&mut self) -> io::Result<()> {
        self.burn()?;
        self.syncs += 1;
        let due = self.sync_fails_after == Some(0);
        self.sync_fails_after = if due { None } else { self.sync_fails_after.map(|after| after - 1) };
        if self.syncs_fail || due {
            self.syncs_failed += 1;
            return Err(io::Error::other("simulated failure of a sync"));
        }
        Ok(())
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        if let Some(left) = &mut self.bytes_left {
            *left = left
                .checked_sub(bytes)
                .ok_or_else(|| io::Error::new(io::ErrorKind::StorageFull, "the simulated disk is full"))?;
        }
        Ok(())
    }
}

impl Directory {
    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.seen);
        self.changes.push(change);
    }
}

impl Change {
    fn apply(self, names: &mut BTreeMap<String, Arc<Inode>>) {
        match self {
            Change::Add(name, inode) => {
                names.insert(name, inode);
            }
            Change::Rename(from, to) => {
                if let Some(inode) = names.remove(&from) {
                    names.insert(to, inode);
                }
            }
            Change::Remove(name) => {
                names.remove(&name);
            }
        }
    }
}

impl Disk for SimDisk {
    fn lock(&self, dir: &Path) -> io::Result<DirectoryLock> {
        Ok(DirectoryLock::unshared(dir))
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let (dir, name) = split(path)?;
        let mut state = lock(&self.state);
        let generation = state.generation;
        let number = state.inodes_made;
        if !state.directory(dir)?.seen.contains_key(&name) && mode != OpenMode::Existing {
            state.burn()?;
        }
        let directory = state.directory(dir)?;
        let inode = match (directory.seen.get(&name), mode) {
            (Some(_), OpenMode::New) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, label(path))),
            (None, OpenMode::Existing) => return Err(not_found(path)),
            (Some(inode), OpenMode::Existing | OpenMode::ExistingOrNew) => Arc::clone(inode),
            (None, OpenMode::New | OpenMode::ExistingOrNew) => {
                let inode = Arc::new(Inode { number, body: Mutex::default() });
                directory.change(Change::Add(name, Arc::clone(&inode)));
                state.inodes_made += 1;
                inode
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), generation, inode }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        for dir in path.ancestors() {
            state.directories.entry(dir.to_path_buf()).or_default();
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Ok(lock(&self.state).directory(dir)?.seen.keys().cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (dir, old) = split(from)?;
        let (dir_after, new) = split(to)?;
        if dir != dir_after {
            return Err(io::Error::new(io::ErrorKind::CrossesDevices, "a simulated rename stays in its directory"));
        }
        let mut state = lock(&self.state);
        state.burn()?;
        let directory = state.directory(dir)?;
        if !directory.seen.contains_key(&old) {
            return Err(not_found(from));
        }
        directory.change(Change::Rename(old, new));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = split(path)?;
        let mut state = lock(&self.state);
        state.burn()?;
        let directory = state.directory(dir)?;
        if !directory.seen.contains_key(&name) {
            return Err(not_found(path));
        }
        directory.change(Change::Remove(name));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.count_sync()?;
        let directory = state.directory(dir)?;
        directory.changes.clear();
        directory.durable.clone_from(&directory.seen);
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = lock(&self.state);
        if state.directories.contains_key(path) {
            return Ok(true);
        }
        let (dir, name) = split(path)?;
        Ok(state.directories.get(dir).is_some_and(|directory| directory.seen.contains_key(&name)))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    generation: u64,
    inode: Arc<Inode>,
}

impl SimFile {
    /// The disk and the file, locked in this order; an error where the file was opened before the last crash.
    fn enter(&self) -> io::Result<(MutexGuard<'_, State>, MutexGuard<'_, Body>)> {
        let state = lock(&self.disk.state);
        if state.generation != self.generation {
            return Err(io::Error::other("this file was opened before the simulated disk crashed"));
        }
        Ok((state, lock(&self.inode.body)))
    }

    fn resize(&self, len: u64, shrink: bool) -> io::Result<()> {
        let (mut state, mut body) = self.enter()?;
        state.burn()?;
        if len > body.seen.len() {
            state.reserve(len - body.seen.len())?;
        } else if !shrink {
            return Ok(());
        }
        body.seen.set_len(len);
        body.unsynced.push(Unsynced::Length(len));
        Ok(())
    }
}

impl File for SimFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (_state, body) = self.enter()?;
        if offset + buffer.len() as u64 > body.seen.len() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "read beyond the end of a simulated file"));
        }
        body.seen.read(buffer, offset);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut state, mut body) = self.enter()?;
        state.burn()?;
        state.reserve((offset + bytes.len() as u64).saturating_sub(body.seen.len()))?;
        state.bytes_written += bytes.len() as u64;
        body.seen.write(bytes, offset);
        body.unsynced.push(Unsynced::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut state, mut body) = self.enter()?;
        if let Err(error) = state.count_sync() {
            if !state.dark {
                body.unsynced.clear(); // the kernel forgets that these pages were dirty
            }
            return Err(error);
        }
        body.sync();
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.resize(len, false)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.resize(len, true)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.enter()?.1.seen.len())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn split(path: &Path) -> io::Result<(&Path, String)> {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => Ok((dir, name.to_string_lossy().into_owned())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, label(path))),
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, label(path))
}

fn label(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
