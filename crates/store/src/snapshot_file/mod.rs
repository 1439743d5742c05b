//! Snapshots as files: what `Maintenance.Snapshot` streams and people keep, and how a member is made of one.
//!
//! The bytes are described in `docs/formats/snapshot.md`: a header, kv's pieces, padding, and a digest of all before it.
//! [`SnapshotStream`] writes them, [`SnapshotFile`] reads them back, [`restore`] makes a data directory of them, and
//! [`offline_snapshot`] takes one of a member that does not run.

mod error;
mod file;
mod header;
mod offline;
mod restore;
mod stream;
#[cfg(test)]
mod tests;

pub use error::SnapshotError;
pub use file::{SnapshotFile, SnapshotSummary};
pub use header::{SnapshotHeader, SnapshotOrigin};
pub use offline::offline_snapshot;
pub use restore::{RestoreOptions, Restored, restore};
pub(crate) use stream::Hold;
pub use stream::{SnapshotBlob, SnapshotStream};

/// Length of the digest at the end.
const DIGEST_BYTES: usize = 32;
/// What everything before the digest is padded to a multiple of: etcd's clients tell a file with a digest by it.
const SECTOR: usize = 512;
