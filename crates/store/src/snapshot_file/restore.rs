//! A snapshot as the beginning of a member: its data directory, of a cluster that has other members and another identity.
//!
//! Everything is made in `member.restoring` and takes its name at the very end: a process that dies on the way leaves no
//! member behind, and no start makes an empty one in its place. Every member of the new cluster is restored from the same
//! file, and so begins at the same place of the log with the same state.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use kontiki_engine::encode_configuration;
use kontiki_kv::{KvError, Refounding, SnapshotSink, refound};
use kontiki_log::{Log, Options as LogOptions, Write};
use kontiki_raft::{HardState, Incarnation, Index, LogPosition, Term, Ticket};
use kontiki_world::{DirectoryLock, Disk, OpenMode, RealDisk, entropy};

use super::error::SnapshotError;
use super::file::SnapshotFile;
use crate::claim::{Places, UNFINISHED, log_identity};
use crate::error::StartError;
use crate::identity::Identity;
use crate::machine::GROUP;
use crate::options::InitialMember;
use crate::start::lock;
use crate::state_file::StateDir;

/// What is made of a snapshot, after etcdutl's flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// `--name`.
    pub name: String,
    /// `--data-dir`.
    pub data_dir: PathBuf,
    /// `--wal-dir`.
    pub wal_dir: Option<PathBuf>,
    /// `--initial-cluster`.
    pub initial_cluster: Vec<InitialMember>,
    /// `--initial-cluster-token`.
    pub initial_cluster_token: String,
    /// `--bump-revision`: how far the revision jumps, compacting everything before. Zero leaves it.
    pub bump_revision: u64,
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The new cluster.
    pub cluster_id: u64,
    /// The member.
    pub member_id: u64,
    /// The store's revision.
    pub revision: i64,
    /// The new cluster has the identity of the one that the snapshot was taken of.
    pub same_cluster: bool,
}

/// Makes a member's data directory; what is told to `progress` are bytes.
///
/// # Errors
/// Where the flags do not name the member, the directory is there already, or the snapshot is damaged. What was made is
/// removed again.
pub fn restore(
    snapshot: &SnapshotFile,
    options: &RestoreOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<Restored, SnapshotError> {
    let incarnation = Incarnation(entropy().max(1));
    let (name, token) = (&options.name, &options.initial_cluster_token);
    let identity = Identity::founded(name, &options.initial_cluster, token, incarnation)?;
    refuse_existing(options)?;
    let unfinished = options.data_dir.join(UNFINISHED);
    let made = build(snapshot, options, &identity, &unfinished, progress);
    let revision = match made {
        Ok(revision) => revision,
        Err(error) => {
            remove(&unfinished);
            options.wal_dir.iter().for_each(|dir| remove(dir));
            return Err(error);
        }
    };
    Ok(Restored {
        cluster_id: identity.cluster_id,
        member_id: identity.member_id,
        revision,
        same_cluster: identity.cluster_id == snapshot.header().cluster_id,
    })
}

/// An empty data directory is as good as none.
fn refuse_existing(options: &RestoreOptions) -> Result<(), SnapshotError> {
    let dir = options.data_dir.clone();
    match std::fs::read_dir(&dir).map(Iterator::count) {
        Ok(0) => {}
        Ok(_) => return Err(SnapshotError::NotEmpty { dir }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(SnapshotError::Io { action: "read", path: dir, source }),
    }
    match &options.wal_dir {
        Some(dir) if dir.symlink_metadata().is_ok() => Err(SnapshotError::WalDirExists { dir: dir.clone() }),
        _ => Ok(()),
    }
}

fn remove(dir: &Path) {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %dir.display(), %error, "cannot remove what was made of the snapshot; remove it by hand");
        }
        _ => {}
    }
}

fn build(
    snapshot: &SnapshotFile,
    options: &RestoreOptions,
    identity: &Identity,
    unfinished: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<i64, SnapshotError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let places = Places::at(unfinished.to_owned(), options.wal_dir.clone());
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| SnapshotError::Io { action, path, source }
    };
    for dir in [&places.member, &places.log] {
        disk.create_dir_all(dir).map_err(io("make", dir))?;
    }
    places.make_private(&options.data_dir)?;
    let lock = Arc::new(lock(&*disk, &options.data_dir, &places.member)?);
    let revision = write_state(snapshot, options, identity, &disk, &places, &lock, progress)?;
    let header = snapshot.header();
    let position = LogPosition { term: Term(header.term), index: Index(header.index) };
    write_log(&disk, &places, identity, position)?;
    disk.open(&places.started, OpenMode::New).map_err(io("make", &places.started))?;
    identity.write(&*disk, &places.member, &places.identity)?;
    let member = options.data_dir.join("member");
    disk.rename(&places.member, &member).map_err(io("rename", &places.member))?;
    disk.sync_dir(&options.data_dir).map_err(io("sync", &options.data_dir))?;
    Ok(revision)
}

fn write_state(
    snapshot: &SnapshotFile,
    options: &RestoreOptions,
    identity: &Identity,
    disk: &Arc<dyn Disk>,
    places: &Places,
    lock: &Arc<DirectoryLock>,
    progress: &mut dyn FnMut(u64),
) -> Result<i64, SnapshotError> {
    let state = StateDir::open(disk.clone(), &places.state, lock.clone());
    let io = |action, source| SnapshotError::Io { action, path: places.state.clone(), source };
    let state = state.map_err(|source| io("make", source))?;
    state.close(); // a full disk is an error here: nobody would wait for space
    let kv = |source| SnapshotError::Kv { path: state.current(), source };
    let file = state.create_incoming().map_err(|source| io("make a file in", source))?;
    let mut sink = SnapshotSink::create(file, entropy()).map_err(kv)?;
    let mut last = 0;
    let unfit = |offset, error| match error {
        KvError::Snapshot { .. } => snapshot.damaged(offset, error),
        error => kv(error),
    };
    snapshot.pieces(&mut |offset, piece| {
        last = offset;
        progress(piece.len() as u64);
        sink.write(&piece).map_err(|error| unfit(offset, error))
    })?;
    sink.finish().map_err(|error| unfit(last, error))?;
    let mut opaque = BytesMut::new();
    encode_configuration(&identity.configuration(), &mut opaque);
    let refounding = Refounding { opaque: opaque.freeze(), bump_revision: options.bump_revision };
    let file = state.install_incoming().map_err(|source| io("put the state in force in", source))?;
    let founded = refound(file, &refounding).map_err(kv)?;
    if founded.applied != (snapshot.header().index, snapshot.header().term) {
        return Err(snapshot.damaged(0, "the header speaks of another state than the one that follows"));
    }
    Ok(founded.revision)
}

/// A log that begins behind the snapshot: as after one that came from a leader.
fn write_log(
    disk: &Arc<dyn Disk>,
    places: &Places,
    identity: &Identity,
    position: LogPosition,
) -> Result<(), SnapshotError> {
    let opened = Log::open(disk.clone(), &places.log, log_identity(identity), LogOptions::default());
    let (mut log, _) = opened.map_err(StartError::from)?;
    let hard_state = Some(HardState { term: position.term, voted_for: None });
    log.save(Write { group: GROUP, ticket: Ticket(1), hard_state, entries: Vec::new() });
    log.reset(GROUP, position);
    while let Some(job) = log.start_write() {
        log.finish_write(job.run().map_err(StartError::from)?);
    }
    Ok(())
}
