//! A snapshot that comes in, part by part, beside the state that it will replace.
//!
//! Nothing of it counts before all parts are here, agree with their totals and are durable; only then is the file renamed
//! into its place. So whatever a crash leaves is either a state or a file that the next start removes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kontiki_kv::{KvError, SnapshotSink};

use crate::state_file::StateDir;

/// A transfer, shared with the work that writes its parts beside the engine. Work of a former transfer has another one, and
/// writes to a file that is gone.
#[derive(Clone, Debug, Default)]
pub struct Receiving(Arc<Mutex<Stage>>);

/// How far a transfer is.
#[derive(Debug, Default)]
enum Stage {
    /// None is under way, or it was given up.
    #[default]
    None,
    /// The file is made with the first part, with this salt.
    Begun(StateDir, u64),
    /// Parts go into the file.
    Open(Box<SnapshotSink>),
}

impl Receiving {
    /// Begins a transfer into a new file in `dir`, whose checksums begin with `salt`.
    #[must_use]
    pub fn begin(dir: &StateDir, salt: u64) -> Receiving {
        Receiving(Arc::new(Mutex::new(Stage::Begun(dir.clone(), salt))))
    }

    /// Takes a part, or behind the last one makes all of them durable. False where a part is damaged, they are not whole, or
    /// the disk has no room: the transfer is over then.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn take(&self, rows: &Bytes, last: bool) -> Result<bool, String> {
        let mut stage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sink = match std::mem::take(&mut *stage) {
            Stage::None => None,
            Stage::Begun(dir, salt) => create(&dir, salt)?,
            Stage::Open(sink) => Some(sink),
        };
        let Some(mut sink) = sink else { return Ok(false) };
        if last {
            return Ok(taken(sink.finish())?.is_some());
        }
        let written = taken(sink.write(rows))?.is_some();
        if written {
            *stage = Stage::Open(sink);
        }
        Ok(written)
    }
}

/// A new file. None where the disk has no room.
fn create(dir: &StateDir, salt: u64) -> Result<Option<Box<SnapshotSink>>, String> {
    match dir.create_incoming() {
        Ok(file) => Ok(taken(SnapshotSink::create(file, salt))?.map(Box::new)),
        Err(error) if is_full(&error) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// None where the transfer is to be given up and the member goes on without it.
fn taken<T>(step: Result<T, KvError>) -> Result<Option<T>, String> {
    match step {
        Ok(done) => Ok(Some(done)),
        Err(error) if matches!(error, KvError::Snapshot { .. }) || error.is_full() => {
            tracing::warn!(%error, "gave up a snapshot that came damaged, or that the disk has no room for");
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
