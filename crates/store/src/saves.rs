//! Clients that want a snapshot: each waits for a checkpoint that holds all that was applied when it asked.

use std::time::Duration;

use kontiki_kv::{Kv, SnapshotSource};
use tokio::sync::oneshot;

use crate::error::StoreError;
use crate::link::Link;
use crate::snapshot_file::{Hold, SnapshotHeader, SnapshotOrigin, SnapshotStream};
use crate::store::Store;

/// Most snapshots on their way to clients at a time. Each keeps the state of its moment from being overwritten.
pub const SAVES_MAX: usize = 4;

/// How long a checkpoint may take before it is given up: where the disk is full or hangs, or the member is being repaired.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who waits, with the index that the checkpoint must have reached.
#[derive(Debug, Default)]
pub struct Saves {
    waiting: Vec<(u64, oneshot::Sender<SnapshotSource>)>,
}

impl Saves {
    /// Takes in who has asked since the last time, and serves those whose checkpoint is there.
    pub fn serve(&mut self, link: &Link, kv: &Kv) {
        let applied = kv.applied().0;
        self.waiting.extend(link.take_saves().into_iter().map(|sender| (applied, sender)));
        let checkpointed = kv.checkpointed().0;
        for (_, sender) in self.waiting.extract_if(.., |(index, _)| *index <= checkpointed) {
            let _ = sender.send(kv.snapshot()); // the client may have gone
        }
    }

    /// Whether somebody still waits: then a checkpoint is due.
    pub fn wants_checkpoint(&self) -> bool {
        self.waiting.iter().any(|(_, sender)| !sender.is_closed())
    }
}

impl Store {
    /// A snapshot that holds everything acknowledged before the call. Where no leader can be asked, what this member
    /// holds: that is what the last member of a broken cluster is saved by. The stream's header tells which.
    ///
    /// # Errors
    /// Where too many are under way, no checkpoint can be written in time, or the member stops.
    pub async fn snapshot_stream(&self) -> Result<SnapshotStream, StoreError> {
        let parts = &*self.0;
        let permit = parts.link.saves_allowed.clone().try_acquire_owned().map_err(|_| StoreError::TooManyRequests)?;
        let origin = match self.read_barrier().await {
            Ok(()) => SnapshotOrigin::Confirmed,
            Err(StoreError::Stopped) => return Err(StoreError::Stopped),
            Err(error) if parts.link.leadership.borrow().leader.is_some() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "no leader confirms that this member is current: a snapshot of what it holds is saved");
                SnapshotOrigin::Alone
            }
        };
        let (sender, answer) = oneshot::channel();
        parts.link.expect_save(sender);
        let answer = parts.within(PATIENCE, answer).await.ok_or(StoreError::Timeout)?;
        let source = answer.map_err(|_| StoreError::Stopped)?;
        let (index, term) = source.applied();
        let header = SnapshotHeader {
            cluster_id: parts.identity.cluster_id,
            member_id: parts.identity.member_id,
            index,
            term,
            revision: source.revision(),
            taken_ms: parts.surroundings.clock.time_of_day_ms(),
            origin,
        };
        Ok(SnapshotStream::new(source, header, Hold::Place(permit)))
    }
}
