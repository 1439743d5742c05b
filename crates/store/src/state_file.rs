//! The state's file as redb sees it: any [`kontiki_world::File`], so that a simulated disk lies beneath the real thing.
//!
//! The file grows by reserving space first, so that writes within it do not meet a full disk. It grows by large steps; where
//! there is no space for a whole one it grows without, and the write that meets the full disk waits, and with it the
//! checkpoint: what that would make durable stands in the log as well, and reads and elections go on meanwhile. A snapshot
//! being received fails instead, and is asked for again later.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kontiki_raft::planted::planted;
use kontiki_world::{DirectoryLock, Disk, File, OpenMode};

/// How long a file that cannot grow waits before it tries again.
const GROW_AGAIN: Duration = Duration::from_millis(100);

/// Whether files wait for space, and whether they still may.
#[derive(Debug, Default)]
struct Space {
    state: Mutex<SpaceState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SpaceState {
    waiting: usize,
    closed: bool,
}

impl Space {
    fn state(&self) -> MutexGuard<'_, SpaceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries until there is space, or until nobody wants it any more.
    fn wait_for(&self, mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        let mut result = attempt();
        if !is_full(&result) {
            return result;
        }
        let mut state = self.state();
        state.waiting += 1;
        while is_full(&result) && !state.closed {
            state = self.changed.wait_timeout(state, GROW_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
            drop(state); // an attempt may take its time, and others want to know that it waits
            result = attempt();
            state = self.state();
        }
        state.waiting -= 1;
        result
    }
}

fn is_full(result: &io::Result<()>) -> bool {
    let full = |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    result.as_ref().is_err_and(full)
}

/// A file that redb keeps its pages in. As long as it is open, so is the lock of its directory: redb writes when it closes.
#[derive(Debug)]
pub struct StateFile {
    file: Arc<dyn File>,
    /// Where to wait for space; none where a full disk is an error.
    patience: Option<Arc<Space>>,
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
        if len <= self.file.len()? {
            return self.file.set_len(len);
        }
        let Some(space) = &self.patience else { return self.file.allocate(len) };
        space.wait_for(|| match self.file.allocate(len) {
            reserved if is_full(&reserved) => self.file.set_len(len),
            reserved => reserved,
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match &self.patience {
            Some(space) => space.wait_for(|| self.file.write_all_at(data, offset)),
            None => self.file.write_all_at(data, offset),
        }
    }
}

/// The directory of the state: the file in force, and one that is being received.
#[derive(Clone, Debug)]
pub struct StateDir {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    lock: Arc<DirectoryLock>,
    space: Arc<Space>,
}

impl StateDir {
    /// A directory, made if it is not there.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, lock: Arc<DirectoryLock>) -> io::Result<StateDir> {
        disk.create_dir_all(dir)?;
        Ok(StateDir { disk, dir: dir.to_owned(), lock, space: Arc::default() })
    }

    /// Path of the file in force.
    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.dir.join("state.redb")
    }

    /// Whether the state in force waits for space on a full disk.
    #[must_use]
    pub fn full(&self) -> bool {
        self.space.state().waiting > 0
    }

    /// Says that the state waits for space, or does no more, where who runs its writes holds them back instead.
    pub fn hold(&self, held: bool) {
        let mut state = self.space.state();
        state.waiting = if held { state.waiting + 1 } else { state.waiting.saturating_sub(1) };
    }

    /// From now on nothing waits for space any more: who does gets the error, so that its thread can end.
    pub fn close(&self) {
        self.space.state().closed = true;
        self.space.changed.notify_all();
    }

    /// Puts a damaged state out of the way, durably, as `state.redb.damaged`; one that was put there before is replaced.
    /// The next one to be opened is empty. The file must not be in use.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn set_aside(&self) -> io::Result<()> {
        self.disk.rename(&self.current(), &self.dir.join("state.redb.damaged"))?;
        self.disk.sync_dir(&self.dir)
    }

    /// The file in force, which waits for space.
    fn file(&self, file: Arc<dyn File>) -> StateFile {
        StateFile { file, patience: Some(self.space.clone()), _lock: self.lock.clone() }
    }

    fn incoming(&self) -> PathBuf {
        self.dir.join("incoming.redb")
    }

    fn smaller(&self) -> PathBuf {
        self.dir.join("smaller.redb")
    }

    /// Opens the file in force; an empty one where there is none. What a broken transfer or rewriting left is removed.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn open_current(&self) -> io::Result<StateFile> {
        for left in [self.incoming(), self.smaller()] {
            self.remove(&left)?;
        }
        let file = self.disk.open(&self.current(), OpenMode::ExistingOrNew)?;
        self.disk.sync_dir(&self.dir)?;
        Ok(self.file(file))
    }

    /// An empty file to receive a snapshot into. A full disk is an error there.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn create_incoming(&self) -> io::Result<StateFile> {
        self.create(&self.incoming())
    }

    /// An empty file to rewrite the state into, smaller. A full disk is an error there.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn create_smaller(&self) -> io::Result<StateFile> {
        self.create(&self.smaller())
    }

    fn create(&self, path: &Path) -> io::Result<StateFile> {
        self.remove(path)?;
        let file = self.disk.open(path, OpenMode::New)?;
        Ok(StateFile { file, patience: None, _lock: self.lock.clone() })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if self.disk.exists(path)? { self.disk.remove(path) } else { Ok(()) }
    }

    /// Puts the received file in force, durably, and opens it.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn install_incoming(&self) -> io::Result<StateFile> {
        self.install(&self.incoming())
    }

    /// Puts the rewritten file in force, durably, and opens it.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn install_smaller(&self) -> io::Result<StateFile> {
        self.install(&self.smaller())
    }

    fn install(&self, path: &Path) -> io::Result<StateFile> {
        self.disk.rename(path, &self.current())?;
        if !planted(32) {
            self.disk.sync_dir(&self.dir)?;
        }
        self.disk.open(&self.current(), OpenMode::Existing).map(|file| self.file(file))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use kontiki_world::SimDisk;
    use redb::StorageBackend;

    use super::*;

    fn state_dir() -> (SimDisk, StateDir) {
        let dir = tempfile::tempdir().unwrap();
        let lock = Arc::new(DirectoryLock::acquire(dir.path()).unwrap());
        let disk = SimDisk::new(1);
        (disk.clone(), StateDir::open(Arc::new(disk), Path::new("/state"), lock).unwrap())
    }

    fn until(mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_state_that_cannot_grow_waits_for_space() {
        let (disk, dir) = state_dir();
        let file = dir.open_current().unwrap();
        file.set_len(4_096).unwrap();
        disk.full(Some(0));
        std::thread::scope(|scope| {
            let growing = scope.spawn(|| file.set_len(1 << 20));
            until(|| dir.full());
            file.write(0, b"within").unwrap();
            disk.full(None);
            growing.join().unwrap().unwrap();
        });
        assert!(!dir.full());
        assert_eq!(file.len().unwrap(), 1 << 20);
    }

    #[test]
    fn closing_ends_the_wait() {
        let (disk, dir) = state_dir();
        let file = dir.open_current().unwrap();
        disk.full(Some(0));
        std::thread::scope(|scope| {
            let growing = scope.spawn(|| file.set_len(1 << 20));
            until(|| dir.full());
            dir.close();
            assert!(is_full(&growing.join().unwrap()));
        });
        assert!(!dir.full());
    }

    #[test]
    fn a_snapshot_does_not_wait() {
        let (disk, dir) = state_dir();
        let file = dir.create_incoming().unwrap();
        disk.full(Some(0));
        let error = kontiki_kv::SnapshotSink::create(file, 1).unwrap_err();
        assert!(error.is_full() && !error.is_damage(), "{error}");
    }

    #[test]
    fn a_damaged_state_makes_room_for_an_empty_one() {
        let (disk, dir) = state_dir();
        for round in 1..3 {
            dir.open_current().unwrap().set_len(round * 100).unwrap();
            dir.set_aside().unwrap();
            assert_eq!(dir.open_current().unwrap().len().unwrap(), 0);
            assert_eq!(disk.list(Path::new("/state")).unwrap(), ["state.redb", "state.redb.damaged"]);
        }
    }
}
