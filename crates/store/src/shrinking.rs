//! Making the state file as small as what is in it, beside everything else: a checkpoint that goes to a second file, which
//! then takes the place of the first.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kontiki_engine::{CheckpointJob, MachineError};
use kontiki_kv::Kv;
use kontiki_raft::SnapshotMeta;

use crate::machine::{Done, failure, kv_failure};
use crate::state_file::StateDir;

/// Counts the states that were put in force. A rewriting that is under way while another state takes the place of the one
/// that it began with must not put that back.
#[derive(Clone, Debug, Default)]
pub struct StateLives(Arc<Mutex<u64>>);

impl StateLives {
    /// Puts another state in force by `replace`.
    pub fn replace<T>(&self, replace: impl FnOnce() -> T) -> T {
        let mut lives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *lives += 1;
        replace()
    }

    /// Which state is in force.
    pub fn present(&self) -> u64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something unless another state was put in force since.
    fn unless_replaced<T>(&self, life: u64, act: impl FnOnce() -> T) -> Option<T> {
        let lives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (*lives == life).then(act)
    }
}

/// The work of a checkpoint that rewrites the file. None while another checkpoint is under way.
pub fn begin(
    kv: &mut Kv,
    dir: &StateDir,
    lives: &StateLives,
    meta: SnapshotMeta,
    opaque: Bytes,
    salt: u64,
) -> Option<CheckpointJob<Done>> {
    let shrink = kv.begin_shrink(opaque)?;
    let (dir, lives, life) = (dir.clone(), lives.clone(), lives.present());
    Some(Box::new(move || {
        let target = match dir.create_smaller() {
            Ok(target) => target,
            Err(error) => {
                kept(&error);
                let kv = shrink.without_rewriting().run().map_err(kv_failure)?;
                return Ok(Done { meta, kv, rewritten: false });
            }
        };
        let mut replaced = false;
        let install = || {
            lives.unless_replaced(life, || dir.install_smaller()).unwrap_or_else(|| {
                replaced = true;
                Err(std::io::Error::other("another state took its place meanwhile"))
            })
        };
        match shrink.run(target, salt, install) {
            Ok(shrunk) => {
                if let Some(error) = &shrunk.kept {
                    kept(error);
                }
                Ok(Done { meta, kv: shrunk.done, rewritten: shrunk.kept.is_none() })
            }
            // The engine has abandoned this checkpoint, as it does one of a damaged state.
            Err(error) if replaced => Err(MachineError { damaged: true, ..failure(error) }),
            Err(error) => Err(kv_failure(error)),
        }
    }))
}

fn kept(error: &dyn std::fmt::Display) {
    tracing::warn!(%error, "the state file was not made smaller; it stays as it is");
}
