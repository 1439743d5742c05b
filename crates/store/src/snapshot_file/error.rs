//! What can be wrong with a snapshot file, or with making a member of it: what, where, and what to do.

use std::io;
use std::path::PathBuf;

use kontiki_kv::KvError;

use super::header::FORMAT;
use crate::error::StartError;
use crate::inspect::InspectError;

/// Why a snapshot cannot be read or restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file does not begin as a snapshot does.
    #[error("{}: {problem}", .path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        problem: HeaderProblem,
    },
    /// The file has a length that no snapshot has.
    #[error(
        "{}: the snapshot is cut short or was changed in length: it has {bytes} bytes, and no whole snapshot has; copy it anew \
         from where it was saved",
        .path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// The content is not what was saved.
    #[error(
        "{}: the snapshot is damaged: its SHA-256 is {found}, but the digest at its end says {expected}; copy it anew from \
         where it was saved, or use another one",
        .path.display()
    )]
    Digest {
        /// The file.
        path: PathBuf,
        /// At the end of the file.
        expected: String,
        /// As computed.
        found: String,
    },
    /// The file's parts do not make sense, or a part is damaged and the digest was not looked at.
    #[error("{}: the snapshot is damaged at byte {offset}: {what}; use another one", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The data directory is there already.
    #[error(
        "data directory {} is not empty: a snapshot is restored into a new one. Name another with --data-dir, or move this one \
         away if you are sure that its member is not needed",
        .dir.display()
    )]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory for the log is there already.
    #[error("--wal-dir {} exists: name one that does not, or move it away", .dir.display())]
    WalDirExists {
        /// The directory.
        dir: PathBuf,
    },
    /// There is nothing to save.
    #[error(
        "{} has no checkpoint yet: all that its member knows is in its log, and only a running cluster knows what of that is \
         committed. Start the member and save a snapshot of it with --endpoints",
        .dir.display()
    )]
    NoCheckpoint {
        /// The data directory.
        dir: PathBuf,
    },
    /// A stopped member's directory cannot be looked at.
    #[error(transparent)]
    Look(#[from] InspectError),
    /// The new member's flags or files.
    #[error(transparent)]
    Member(#[from] StartError),
    /// The state file.
    #[error("{}: {source}", .path.display())]
    Kv {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KvError,
    },
}

/// What a file is that does not begin as a snapshot does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderProblem {
    /// A bbolt file.
    #[error(
        "this is a bbolt file, as etcd's own snapshots are, and not one of Kontiki's: restore it with etcdutl, start etcd on it, \
         and copy the keys over (etcdctl make-mirror)"
    )]
    Etcds,
    /// Anything else.
    #[error(
        "this is no snapshot of Kontiki's, or its first bytes are damaged; name a file that `kontiki snapshot save` or \
         `etcdctl snapshot save` has written"
    )]
    Foreign,
    /// The header's checksum is wrong.
    #[error("the snapshot is damaged: the checksum of its header does not match; use another one")]
    Damaged,
    /// Another format.
    #[error(
        "the snapshot has format {found}, of {} version; this one reads {FORMAT}: use the version that wrote it",
        if *.found > FORMAT { "a newer" } else { "an older" }
    )]
    Format {
        /// What the header says.
        found: u32,
    },
}
