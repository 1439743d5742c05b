//! A stopped member's data directory, looked at from outside: whether it is whole ([`check`]), and what is in it
//! ([`dump_log`], [`dump_keys`]). Nothing in it is changed, and nobody can change it meanwhile.

mod check;
mod describe;
mod dump;
mod record;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kontiki_kv::Inspection;
use kontiki_world::{DirectoryLock, Disk, File, OpenMode, ReadOnlyDisk};

use crate::claim::Places;
use crate::error::StartError;
use crate::identity::Identity;

pub use check::{CheckReport, CheckStep, Finding, LogFigures, Severity, check};
pub use dump::{KeyFilter, LogFilter, dump_keys, dump_log};
pub use record::{DumpRecord, DumpValue};

/// Why a data directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Not a data directory.
    #[error("{} holds no member: name the directory that the member was started with (--data-dir)", .dir.display())]
    NoMember {
        /// The directory.
        dir: PathBuf,
    },
    /// A member uses it.
    #[error("{} is in use{holder}: stop that process first, what it writes cannot be judged meanwhile", .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// " by process N", where known.
        holder: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// The identity is damaged or of another format.
    #[error(transparent)]
    Identity(#[from] StartError),
    /// The log cannot be read on.
    #[error(transparent)]
    Log(#[from] kontiki_log::LogError),
    /// The state cannot be read on.
    #[error("{}: {source}", .path.display())]
    State {
        /// The state file.
        path: PathBuf,
        /// What is wrong.
        source: kontiki_kv::KvError,
    },
}

/// A data directory that is being looked at.
#[derive(Debug)]
pub(crate) struct Site {
    pub disk: Arc<dyn Disk>,
    pub places: Places,
    /// Keeps a member from starting on it. None where no member ever did.
    _lock: Option<DirectoryLock>,
}

impl Site {
    /// Opens a directory. `dir` is the data directory; the log may be elsewhere.
    pub(crate) fn open(dir: &Path, wal_dir: Option<&Path>) -> Result<Site, InspectError> {
        let places = Places::at(dir.join("member"), wal_dir.map(Path::to_owned));
        let io = |action, path: &Path, source| InspectError::Io { action, path: path.to_owned(), source };
        if !places.member.try_exists().map_err(|source| io("look for", &places.member, source))? {
            return Err(InspectError::NoMember { dir: dir.to_owned() });
        }
        let lock = DirectoryLock::observe(&places.member).map_err(|source| {
            if source.kind() != io::ErrorKind::WouldBlock {
                return io("look at the lock of", &places.member, source);
            }
            let holder = DirectoryLock::holder(&places.member).map(|pid| format!(" by process {pid}"));
            InspectError::InUse { dir: dir.to_owned(), holder: holder.unwrap_or_default() }
        })?;
        Ok(Site { disk: Arc::new(ReadOnlyDisk), places, _lock: lock })
    }

    /// Whose it is; none where there is no such file.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, StartError> {
        Identity::read(&*self.disk, &self.places.identity)
    }

    /// The state's file.
    pub(crate) fn state_path(&self) -> PathBuf {
        self.places.state.join("state.redb")
    }

    /// The state's file, opened; none where there is none or nothing was ever written to it.
    pub(crate) fn state_file(&self) -> Result<Option<Looked>, InspectError> {
        let path = self.state_path();
        let io = |source| InspectError::Io { action: "open", path: path.clone(), source };
        match self.disk.open(&path, OpenMode::Existing) {
            Ok(file) if file.is_empty().map_err(io)? => Ok(None),
            Ok(file) => Ok(Some(Looked(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io(source)),
        }
    }

    /// The state; none where there is none.
    pub(crate) fn state(&self) -> Result<Option<Inspection>, InspectError> {
        let Some(file) = self.state_file()? else { return Ok(None) };
        match Inspection::open(file) {
            Ok(state) => Ok(Some(state)),
            Err(kontiki_kv::KvError::Empty) => Ok(None),
            Err(source) => Err(InspectError::State { path: self.state_path(), source }),
        }
    }
}

/// A state file that is only read. Whoever changes it changes a copy in memory, above this.
#[derive(Debug)]
pub(crate) struct Looked(Arc<dyn File>);

impl redb::StorageBackend for Looked {
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
