//! Any disk, with faults that a script puts in its way: errors, a lack of space, delays, hangs, and lies.
//!
//! A [`Fault`] names the operation that it hits, the files by a pattern, how many such operations pass before it and how
//! many it hits. What it does is a [`Damage`]. Faults are counted, so that a test can tell that its fault has struck. The
//! wrapped disk may be simulated or real; nothing here is random but the place of a flipped bit, which follows from a seed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use crate::disk::{Disk, File, OpenMode};
use crate::entropy::Random;
use crate::real::DirectoryLock;

/// What a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Opening a file.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making a file's content durable.
    Sync,
    /// Reserving space and setting the length.
    Resize,
    /// Renaming; the pattern is compared with the new name.
    Rename,
    /// Removing.
    Remove,
    /// Making the names of a directory durable; the pattern is compared with the directory's own name.
    SyncDir,
}

/// What a fault does to an operation. Which go with which operation stands at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The operation does nothing and fails with EIO. Any operation. A sync that fails so leaves what was dirty for a later
    /// sync; a kernel would forget it ([`crate::SimDisk::fail_syncs`] does).
    Error,
    /// The operation does nothing and fails with ENOSPC. Any operation.
    Full,
    /// The operation takes this much longer. Any operation.
    Delay(Duration),
    /// The operation waits for [`FaultyDisk::release`] and then goes on. Any operation.
    Hang,
    /// One bit is another: of what a read gives, or of what a write leaves. Other operations pass.
    Flip,
    /// The operation says that it was done, and was not: a lost write, a sync that lies. Reads and opening pass.
    Lose,
    /// A write goes this many bytes further on. Other operations pass.
    Misdirect(u64),
}

/// One line of the script.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What it strikes.
    pub operation: Operation,
    /// Which files: a name, in which `*` stands for any characters.
    pub name: String,
    /// How many of the operations that fit pass first.
    pub after: u64,
    /// How many it strikes then; `u64::MAX` for all.
    pub times: u64,
    /// What it does.
    pub damage: Damage,
}

/// A disk whose faults are scripted. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    script: Arc<Script>,
}

/// Names a fault of one disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(u64);

#[derive(Debug)]
struct Script {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug)]
struct State {
    random: Random,
    made: u64,
    faults: BTreeMap<FaultId, Line>,
    /// Counts calls of `release`.
    releases: u64,
    hanging: u64,
    bytes_left: Option<u64>,
    overlooking: bool,
}

#[derive(Debug)]
struct Line {
    fault: Fault,
    seen: u64,
    struck: u64,
    lifted: bool,
}

/// What an operation has to do after the script was asked.
#[derive(Debug, PartialEq, Eq)]
enum Course {
    Pass,
    /// Flip this bit, modulo what there is.
    Flip(u64),
    Lose,
    Misdirect(u64),
}

impl FaultyDisk {
    /// A disk without faults so far. The places of flipped bits follow from `seed`.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>, seed: u64) -> FaultyDisk {
        let state = State {
            random: Random::new(seed),
            made: 0,
            faults: BTreeMap::new(),
            releases: 0,
            hanging: 0,
            bytes_left: None,
            overlooking: false,
        };
        FaultyDisk { inner, script: Arc::new(Script { state: Mutex::new(state), released: Condvar::new() }) }
    }

    /// Adds a fault. Where several fit an operation, each counts it; all that are due strike, errors first.
    pub fn inject(&self, fault: Fault) -> FaultId {
        let mut state = self.script.lock();
        state.made += 1;
        let id = FaultId(state.made);
        state.faults.insert(id, Line { fault, seen: 0, struck: 0, lifted: false });
        id
    }

    /// How often a fault has struck.
    #[must_use]
    pub fn struck(&self, id: FaultId) -> u64 {
        self.script.lock().faults.get(&id).map_or(0, |line| line.struck)
    }

    /// A fault strikes no more. Its count stays; who hangs in it hangs on.
    pub fn lift(&self, id: FaultId) {
        if let Some(line) = self.script.lock().faults.get_mut(&id) {
            line.lifted = true;
        }
    }

    /// A fault strikes no more and is forgotten. How often it has struck.
    pub fn withdraw(&self, id: FaultId) -> u64 {
        self.script.lock().faults.remove(&id).map_or(0, |line| line.struck)
    }

    /// While true, operations pass that no fault counts or strikes: those of whoever only looks on.
    pub fn overlook(&self, overlooking: bool) {
        self.script.lock().overlooking = overlooking;
    }

    /// All who hang go on. Later ones hang again, unless their fault was lifted.
    pub fn release(&self) {
        self.script.lock().releases += 1;
        self.script.released.notify_all();
    }

    /// How many operations hang now.
    #[must_use]
    pub fn hanging(&self) -> u64 {
        self.script.lock().hanging
    }

    /// Files may grow by this many bytes together, and what is removed or cut is given back; `None` for ever.
    pub fn full(&self, bytes_left: Option<u64>) {
        self.script.lock().bytes_left = bytes_left;
    }
}

impl Script {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation and says what becomes of it; waits here where it is to take time.
    fn strike(&self, operation: Operation, name: &str) -> io::Result<Course> {
        let mut course = Course::Pass;
        let (mut error, mut delay, mut hang) = (None, Duration::ZERO, false);
        let mut state = self.lock();
        if state.overlooking {
            return Ok(course);
        }
        let State { random, faults, .. } = &mut *state;
        for line in faults.values_mut() {
            if !line.due(operation, name) {
                continue;
            }
            match line.fault.damage {
                Damage::Error => error = Some(Errno::IO),
                Damage::Full => error = error.or(Some(Errno::NOSPC)),
                Damage::Delay(time) => delay += time,
                Damage::Hang => hang = true,
                Damage::Flip => course = Course::Flip(random.next_u64()),
                Damage::Lose => course = Course::Lose,
                Damage::Misdirect(by) => course = Course::Misdirect(by),
            }
        }
        if hang {
            let releases = state.releases;
            state.hanging += 1;
            while state.releases == releases {
                state = self.released.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.hanging -= 1;
        }
        drop(state);
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        error.map_or(Ok(course), |errno| Err(errno.into()))
    }

    /// As [`Script::strike`] for operations that either happen or do not.
    fn happens(&self, operation: Operation, name: &str) -> io::Result<bool> {
        Ok(self.strike(operation, name)? != Course::Lose)
    }

    /// Takes what a file is to grow by, or gives back what it shrinks by.
    fn resize(&self, before: u64, after: u64) -> io::Result<()> {
        if let Some(left) = &mut self.lock().bytes_left {
            *left = match after.checked_sub(before) {
                Some(growth) => left.checked_sub(growth).ok_or(Errno::NOSPC)?,
                None => left.saturating_add(before - after),
            };
        }
        Ok(())
    }

    fn counts_bytes(&self) -> bool {
        self.lock().bytes_left.is_some()
    }
}

impl Line {
    /// Counts an operation that fits; whether the fault strikes it.
    fn due(&mut self, operation: Operation, name: &str) -> bool {
        if self.lifted || self.fault.operation != operation || !fits(&self.fault.name, name) {
            return false;
        }
        self.seen += 1;
        let due = self.seen > self.fault.after && self.struck < self.fault.times;
        self.struck += u64::from(due);
        due
    }
}

/// Whether a name fits a pattern in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name
            .strip_prefix(head)
            .is_some_and(|tail| (0..=tail.len()).any(|at| tail.get(at..).is_some_and(|end| fits(rest, end)))),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn flip(bytes: &mut [u8], bit: u64) {
    let bits = 8 * bytes.len() as u64;
    if let Some(byte) = bit.checked_rem(bits).and_then(|bit| bytes.get_mut((bit / 8) as usize)) {
        *byte ^= 1 << (bit % 8);
    }
}

impl FaultyDisk {
    fn len_of(&self, path: &Path) -> io::Result<u64> {
        self.inner.open(path, OpenMode::Existing)?.len()
    }
}

impl Disk for FaultyDisk {
    fn lock(&self, dir: &Path) -> io::Result<DirectoryLock> {
        self.inner.lock(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let name = name_of(path);
        self.script.strike(Operation::Open, &name)?;
        let inner = self.inner.open(path, mode)?;
        Ok(Arc::new(FaultyFile { inner, name, script: self.script.clone() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.script.happens(Operation::Rename, &name_of(to))? {
            let replaced = if self.script.counts_bytes() { self.len_of(to).unwrap_or(0) } else { 0 };
            self.inner.rename(from, to)?;
            self.script.resize(replaced, 0)?;
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if self.script.happens(Operation::Remove, &name_of(path))? {
            let removed = if self.script.counts_bytes() { self.len_of(path).unwrap_or(0) } else { 0 };
            self.inner.remove(path)?;
            self.script.resize(removed, 0)?;
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.script.happens(Operation::SyncDir, &name_of(dir))? { self.inner.sync_dir(dir) } else { Ok(()) }
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }
}

/// A file of a [`FaultyDisk`]; it goes by the name that it was opened by.
#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn File>,
    name: String,
    script: Arc<Script>,
}

impl FaultyFile {
    /// Writes where there is room.
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let len = self.inner.len()?;
        self.script.resize(len, len.max(offset.saturating_add(bytes.len() as u64)))?;
        self.inner.write_all_at(bytes, offset)
    }
}

impl File for FaultyFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let course = self.script.strike(Operation::Read, &self.name)?;
        self.inner.read_exact_at(buffer, offset)?;
        if let Course::Flip(bit) = course {
            flip(buffer, bit);
        }
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.script.strike(Operation::Write, &self.name)? {
            Course::Pass => self.write(bytes, offset),
            Course::Lose => Ok(()),
            Course::Misdirect(by) => self.write(bytes, offset.saturating_add(by)),
            Course::Flip(bit) => {
                let mut changed = bytes.to_vec();
                flip(&mut changed, bit);
                self.write(&changed, offset)
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.script.happens(Operation::Sync, &self.name)? { self.inner.sync_data() } else { Ok(()) }
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.script.happens(Operation::Resize, &self.name)? {
            let before = self.inner.len()?;
            self.script.resize(before, before.max(len))?;
            self.inner.allocate(len)?;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.script.happens(Operation::Resize, &self.name)? {
            self.script.resize(self.inner.len()?, len)?;
            self.inner.set_len(len)?;
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

#[cfg(test)]
mod tests;
