//! A snapshot of a member that does not run: its last checkpoint. What the log holds behind that stays out, because only a
//! running cluster knows which of it is committed.

use std::path::Path;

use kontiki_world::time_of_day_ms;

use super::error::SnapshotError;
use super::header::{SnapshotHeader, SnapshotOrigin};
use super::stream::{Hold, SnapshotStream};
use crate::inspect::{InspectError, Site};

/// Opens the state of a stopped member. Nothing in its directory is changed, and the member cannot start until the stream
/// is dropped.
///
/// # Errors
/// Where the directory holds no member or no checkpoint, is in use, or is damaged.
pub fn offline_snapshot(data_dir: &Path) -> Result<SnapshotStream, SnapshotError> {
    let site = Site::open(data_dir, None)?;
    let dir = || data_dir.to_owned();
    let identity = site.identity()?.ok_or_else(|| InspectError::NoMember { dir: dir() })?;
    let state = site.state()?.filter(|state| !state.opaque().is_empty());
    let source = state.ok_or_else(|| SnapshotError::NoCheckpoint { dir: dir() })?.snapshot();
    let (index, term) = source.applied();
    let header = SnapshotHeader {
        cluster_id: identity.cluster_id,
        member_id: identity.member_id,
        index,
        term,
        revision: source.revision(),
        taken_ms: time_of_day_ms(),
        origin: SnapshotOrigin::Checkpoint,
    };
    Ok(SnapshotStream::new(source, header, Hold::Site(site)))
}
