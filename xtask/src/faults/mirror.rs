//! A file system in user space that shows a directory as it is, with the faults of a [`FaultyDisk`] in between: so a real
//! process meets scripted errors, delays, hangs and lies.
//!
//! Reads and writes go past the kernel's cache: each reaches the script. Names and attributes are those of the directory.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use kontiki_world::{Disk as _, FaultyDisk, File, OpenMode, RealDisk};

/// How long the kernel may believe names and attributes: not at all.
const BELIEVED: Duration = Duration::ZERO;
/// The type bits of a file's mode.
const PERMISSIONS: u32 = 0o7777;

/// A mounted mirror. It is unmounted when dropped.
pub struct Mirror {
    /// Where the mirror is seen.
    pub path: PathBuf,
    /// The script of its faults.
    pub disk: FaultyDisk,
    _session: BackgroundSession,
}

impl Mirror {
    /// Shows `behind`, which is made, at `path`.
    pub fn mount(path: &Path, behind: &Path, seed: u64) -> Result<Mirror, String> {
        let say = |error: io::Error| format!("no mirror at {}: {error}", path.display());
        fs::create_dir_all(path).map_err(say)?;
        fs::create_dir_all(behind).map_err(say)?;
        let disk = FaultyDisk::new(Arc::new(RealDisk), seed);
        let files = Files {
            root: behind.to_owned(),
            disk: disk.clone(),
            paths: Mutex::new(BTreeMap::from([(INodeNo::ROOT.0, PathBuf::new())])),
            open: Mutex::default(),
            handles: AtomicU64::new(0),
        };
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("kontiki-faults".to_owned()), MountOption::DefaultPermissions];
        config.n_threads = Some(4); // so that one operation that hangs does not keep up the others
        let session = fuser::spawn_mount(files, path, &config).map_err(say)?;
        Ok(Mirror { path: path.to_owned(), disk, _session: session })
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.disk.release(); // or who hangs in it could not end
    }
}

#[derive(Debug)]
struct Files {
    root: PathBuf,
    disk: FaultyDisk,
    /// Paths below the root by the number that the kernel knows them by: that of the file behind.
    paths: Mutex<BTreeMap<u64, PathBuf>>,
    open: Mutex<BTreeMap<u64, Arc<dyn File>>>,
    handles: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers with what was found, or with the error.
macro_rules! answer {
    ($reply:expr, $outcome:expr, $value:pat => $done:expr) => {
        match $outcome {
            Ok($value) => $done,
            Err(error) => $reply.error(Errno::from(io::Error::from(error))),
        }
    };
}

impl Files {
    /// The path that a number stands for.
    fn path(&self, number: INodeNo) -> io::Result<PathBuf> {
        lock(&self.paths).get(&number.0).map(|path| self.root.join(path)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> io::Result<PathBuf> {
        Ok(self.path(parent)?.join(name))
    }

    /// What the kernel is told of a file, which from now on it may name by its number.
    fn attributes(&self, path: &Path) -> io::Result<FileAttr> {
        let metadata = fs::symlink_metadata(path)?;
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        let number = if below == Path::new("") { INodeNo::ROOT } else { INodeNo(metadata.ino()) };
        lock(&self.paths).insert(number.0, below.to_owned());
        Ok(attributes(number, &metadata))
    }

    fn keep(&self, file: Arc<dyn File>) -> FileHandle {
        let handle = self.handles.fetch_add(1, SeqCst);
        lock(&self.open).insert(handle, file);
        FileHandle(handle)
    }

    fn file(&self, handle: FileHandle) -> io::Result<Arc<dyn File>> {
        lock(&self.open).get(&handle.0).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Reads up to `size` bytes: fewer at the end of the file.
    fn read(&self, handle: FileHandle, offset: u64, size: u32) -> io::Result<Vec<u8>> {
        let file = self.file(handle)?;
        let there = file.len()?.saturating_sub(offset).min(u64::from(size));
        let mut bytes = vec![0; usize::try_from(there).unwrap_or_default()];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn set(
        &self,
        number: INodeNo,
        mode: Option<u32>,
        size: Option<u64>,
        handle: Option<FileHandle>,
    ) -> io::Result<FileAttr> {
        let path = self.path(number)?;
        if let Some(mode) = mode {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & PERMISSIONS))?;
        }
        if let Some(size) = size {
            let file = match handle {
                Some(handle) => self.file(handle)?,
                None => self.disk.open(&path, OpenMode::Existing)?,
            };
            file.set_len(size)?;
        }
        self.attributes(&path)
    }

    fn create(&self, parent: INodeNo, name: &OsStr, mode: u32) -> io::Result<(FileAttr, FileHandle)> {
        let path = self.child(parent, name)?;
        let file = self.disk.open(&path, OpenMode::ExistingOrNew)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & PERMISSIONS))?;
        Ok((self.attributes(&path)?, self.keep(file)))
    }

    /// Files and directories in a directory, with what the kernel wants to know of each.
    fn entries(&self, number: INodeNo) -> io::Result<Vec<(FileAttr, std::ffi::OsString)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.path(number)?)? {
            let entry = entry?;
            found.push((self.attributes(&entry.path())?, entry.file_name()));
        }
        found.sort_by(|one, other| one.1.cmp(&other.1));
        Ok(found)
    }
}

fn attributes(number: INodeNo, metadata: &Metadata) -> FileAttr {
    let time = |outcome: io::Result<SystemTime>| outcome.unwrap_or(SystemTime::UNIX_EPOCH);
    FileAttr {
        ino: number,
        size: metadata.len(),
        blocks: metadata.blocks(),
        atime: time(metadata.accessed()),
        mtime: time(metadata.modified()),
        ctime: time(metadata.modified()),
        crtime: SystemTime::UNIX_EPOCH,
        kind: if metadata.is_dir() { FileType::Directory } else { FileType::RegularFile },
        perm: u16::try_from(metadata.mode() & PERMISSIONS).unwrap_or_default(),
        nlink: u32::try_from(metadata.nlink()).unwrap_or(1),
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.child(parent, name).and_then(|path| self.attributes(&path));
        answer!(reply, found, found => reply.entry(&BELIEVED, &found, Generation(0)));
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let found = self.path(number).and_then(|path| self.attributes(&path));
        answer!(reply, found, found => reply.attr(&BELIEVED, &found));
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        answer!(reply, self.set(number, mode, size, handle), found => reply.attr(&BELIEVED, &found));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let made = self.child(parent, name).and_then(|path| {
            fs::create_dir(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & PERMISSIONS))?;
            self.attributes(&path)
        });
        answer!(reply, made, made => reply.entry(&BELIEVED, &made, Generation(0)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.child(parent, name).and_then(|path| self.disk.remove(&path));
        answer!(reply, removed, () => reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.child(parent, name).and_then(fs::remove_dir);
        answer!(reply, removed, () => reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        parent_after: INodeNo,
        name_after: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self.child(parent, name).and_then(|from| {
            let to = self.child(parent_after, name_after)?;
            self.disk.rename(&from, &to)?;
            self.attributes(&to)
        });
        answer!(reply, renamed, _ => reply.ok());
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let opened = self.path(number).and_then(|path| self.disk.open(&path, OpenMode::Existing));
        answer!(reply, opened, file => reply.opened(self.keep(file), FopenFlags::FOPEN_DIRECT_IO));
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, _: i32, reply: ReplyCreate) {
        answer!(reply, self.create(parent, name, mode), (found, handle) => {
            reply.created(&BELIEVED, &found, Generation(0), handle, FopenFlags::FOPEN_DIRECT_IO);
        });
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        answer!(reply, self.read(handle, offset, size), bytes => reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.file(handle).and_then(|file| file.write_all_at(data, offset));
        answer!(reply, written, () => reply.written(u32::try_from(data.len()).unwrap_or_default()));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.open).remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        let synced = self.file(handle).and_then(|file| file.sync_data());
        answer!(reply, synced, () => reply.ok());
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        answer!(reply, self.entries(number), entries => {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            for (at, (found, name)) in entries.iter().enumerate().skip(from) {
                if reply.add(found.ino, at as u64 + 1, found.kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let synced = self.path(number).and_then(|path| self.disk.sync_dir(&path));
        answer!(reply, synced, () => reply.ok());
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let reserved = self.file(handle).and_then(|file| file.allocate(offset.saturating_add(length)));
        answer!(reply, reserved, () => reply.ok());
    }
}
