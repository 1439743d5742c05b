//! Whose data directory this is, and whether its member ever lived.
//!
//! The identity is written at the first start, before it is known whether the peers accept it. As long as nothing durable
//! follows, it binds nobody: a start with corrected flags replaces it. Once the log holds something, an empty file
//! `member/started` says so, and from then on the member does not start without its log: it could vote twice.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kontiki_kv::{Kv, Options as KvOptions};
use kontiki_log::{Identity as LogIdentity, Log, Options as LogOptions};
use kontiki_raft::Incarnation;
use kontiki_world::{DirectoryLock, Disk, Entropy, OpenMode, Place, Tightened, make_private};

use crate::error::{StartError, StoreError};
use crate::identity::Identity;
use crate::membership::Joined;
use crate::options::Options;
use crate::state_file::StateDir;
use crate::store::Store;

/// How often a member without a log looks whether it has one now.
const MARK_AGAIN: Duration = Duration::from_millis(100);

/// The places in a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub member: PathBuf,
    pub identity: PathBuf,
    pub started: PathBuf,
    pub state: PathBuf,
    pub log: PathBuf,
}

impl Places {
    pub(crate) fn of(options: &Options) -> Places {
        Places::at(options.data_dir.join("member"), options.wal_dir.clone())
    }

    /// The places below a member's directory, with the log elsewhere if wished.
    pub(crate) fn at(member: PathBuf, wal_dir: Option<PathBuf>) -> Places {
        Places {
            identity: member.join("identity"),
            started: member.join("started"),
            state: member.join("state"),
            log: wal_dir.unwrap_or_else(|| member.join("wal")),
            member,
        }
    }

    /// Refuses directories and files that somebody else could have changed, and closes to others what they could read.
    pub(crate) fn make_private(&self, data_dir: &Path) -> Result<(), StartError> {
        let ours = [&self.member, &self.log, &self.state].map(|dir| Place { dir, with_files: true });
        let places = [&[Place { dir: data_dir, with_files: false }], &ours[..]].concat();
        for Tightened { path, before, after } in make_private(&places)? {
            tracing::warn!(
                path = %path.display(),
                before = format_args!("{before:04o}"),
                after = format_args!("{after:04o}"),
                "others could read this; their right is taken away"
            );
        }
        Ok(())
    }
}

/// Where a member is put together out of a snapshot, beside the place that it takes when it is whole.
pub(crate) const UNFINISHED: &str = "member.restoring";

/// The identity of a member that starts for the first time.
pub(crate) fn first(
    disk: &Arc<dyn Disk>,
    options: &Options,
    joined: Option<&Joined>,
    entropy: &dyn Entropy,
) -> Result<Identity, StartError> {
    let unfinished = options.data_dir.join(UNFINISHED);
    let io = |source| StartError::Io { action: "look for", path: unfinished.clone(), source };
    if disk.exists(&unfinished).map_err(io)? {
        return Err(StartError::Configuration(format!(
            "a snapshot was being restored into {} and that did not end: remove {} and restore it again, so that this member \
             does not start without what it was meant to hold",
            options.data_dir.display(),
            unfinished.display()
        )));
    }
    let incarnation = options.tuning.incarnation.unwrap_or_else(|| Incarnation(entropy.draw().max(1)));
    match joined {
        Some(joined) => Ok(joined.clone().identity(options, incarnation)),
        None if options.new_cluster => Identity::of(options, incarnation),
        None => Err(StartError::Configuration(format!(
            "the data directory {} is new, and the running cluster was not asked who this member is",
            options.data_dir.display()
        ))),
    }
}

/// Reads whose directory this is, or makes it this member's.
pub(crate) fn identify(
    disk: &Arc<dyn Disk>,
    options: &Options,
    places: &Places,
    lock: &Arc<DirectoryLock>,
    joined: Option<&Joined>,
    entropy: &dyn Entropy,
) -> Result<Identity, StartError> {
    if let Some(found) = Identity::read(&**disk, &places.identity)? {
        let Err(refusal) = found.check(options) else { return Ok(found) };
        if !options.new_cluster || !is_blank(disk, places, &found, lock) {
            return Err(refusal);
        }
        tracing::warn!(
            dir = %options.data_dir.display(),
            former_cluster = format_args!("{:x}", found.cluster_id),
            former_name = found.name,
            "an earlier start with other flags came to nothing; the data directory is taken anew"
        );
    }
    let identity = first(disk, options, joined, entropy)?;
    identity.write(&**disk, &places.member, &places.identity)?;
    Ok(identity)
}

/// Whether nothing durable was ever done under this identity.
fn is_blank(disk: &Arc<dyn Disk>, places: &Places, found: &Identity, lock: &Arc<DirectoryLock>) -> bool {
    let no_marker = disk.exists(&places.started).is_ok_and(|exists| !exists);
    let no_log = || match disk.exists(&places.log) {
        Ok(true) => Log::open(disk.clone(), &places.log, log_identity(found), LogOptions::default())
            .is_ok_and(|(_, groups)| groups.is_empty()),
        Ok(false) => true,
        Err(_) => false,
    };
    let no_checkpoint = || {
        let Ok(state) = StateDir::open(disk.clone(), &places.state, lock.clone()) else { return false };
        match disk.exists(&state.current()) {
            Ok(true) => state
                .open_current()
                .is_ok_and(|file| Kv::open(file, KvOptions::default()).is_ok_and(|kv| kv.applied().0 == 0)),
            Ok(false) => true,
            Err(_) => false,
        }
    };
    no_marker && no_log() && no_checkpoint()
}

/// The identity that the log carries.
pub(crate) fn log_identity(identity: &Identity) -> LogIdentity {
    LogIdentity { cluster_id: identity.cluster_id, member_id: identity.member_id }
}

/// Checks that a member that has lived has its log. A mark is given back where it is still to be made.
pub(crate) fn check_log(
    disk: &Arc<dyn Disk>,
    places: &Places,
    log_is_empty: bool,
    lock: &Arc<DirectoryLock>,
) -> Result<Option<Mark>, StartError> {
    let io = |source| StartError::Io { action: "look for", path: places.started.clone(), source };
    let marked = disk.exists(&places.started).map_err(io)?;
    let mark = Mark { disk: disk.clone(), places: places.clone(), _lock: lock.clone() };
    match (marked, log_is_empty) {
        (true, true) => Err(StartError::LogMissing { dir: places.member.clone(), log: places.log.clone() }),
        (true, false) => Ok(None),
        (false, true) => Ok(Some(mark)),
        (false, false) => {
            let io = |source| StartError::Io { action: "make", path: places.started.clone(), source };
            mark.make().map_err(io)?;
            Ok(None)
        }
    }
}

/// The file that says that there is a log, while it is still to be made.
#[derive(Debug)]
pub(crate) struct Mark {
    disk: Arc<dyn Disk>,
    places: Places,
    /// Nobody else takes the directory while the mark is made.
    _lock: Arc<DirectoryLock>,
}

impl Mark {
    fn make(&self) -> io::Result<()> {
        self.disk.open(&self.places.started, OpenMode::ExistingOrNew)?;
        self.disk.sync_dir(&self.places.member)
    }

    /// Makes the mark once the log holds something. A crash before that leaves a member that may begin anew; one after
    /// it, a log to come back with.
    pub(crate) async fn make_in_time(self, store: Store) {
        loop {
            let led = store.read_barrier().await;
            let written = store.0.timings.log_write.snapshot().counts.iter().any(|count| *count > 0);
            match led {
                Ok(()) if written => break,
                Err(StoreError::Stopped) => return,
                _ => store.0.sleep(MARK_AGAIN).await,
            }
        }
        (store.0.surroundings.aside)(Box::new(move || {
            if let Err(error) = self.make() {
                let path = self.places.started.display();
                tracing::warn!(%path, %error, "could not note that this member has a log; the next start will");
            }
        }));
    }
}
