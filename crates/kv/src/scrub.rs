//! Reading the state file through, beside everything else, to find damage early.
//!
//! Blocks are found by walking the tables, since only blocks that a checkpoint refers to must be whole: others may have
//! been torn by a power cut, or are being written just now. The walk has a small cache of its own, so that what it wants
//! comes from the disk; between portions it lets go of the checkpoint, so that it keeps no space from being used again.

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use redb::ReadableDatabase;

use crate::base::Base;
use crate::error::{KvError, storage};
use crate::layers::{Table, read};
use crate::state::State;
use crate::walk;

/// Goes through the state file, round by round.
#[derive(Debug)]
pub struct Scrub {
    state: Arc<RwLock<State>>,
    /// Which table comes next, and behind which row.
    table: usize,
    behind: Option<Vec<u8>>,
}

/// What a portion was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Bytes read and found whole.
    pub bytes: u64,
    /// Checksum blocks that did not say what they should, and will be written again.
    pub mended: u64,
    /// Whether the round is complete; the next portion begins another.
    pub wrapped: bool,
}

impl Scrub {
    pub(crate) fn new(state: Arc<RwLock<State>>) -> Scrub {
        Scrub { state, table: 0, behind: None }
    }

    /// Reads about `bytes_max` more, of the last checkpoint, and a few blocks to find the way there.
    ///
    /// # Errors
    /// Where there is damage: the state is then not to be used any more. Also where the disk fails to read, which is not
    /// damage ([`KvError::is_damage`]): the replica stops, and reads anew when it is restarted.
    pub fn next(&mut self, bytes_max: u64) -> Result<Scrubbed, KvError> {
        let base = Arc::clone(&read(&self.state).view.base);
        let bytes = Arc::default();
        let result = self.walk(&base, bytes_max, &bytes);
        let mut scrubbed = result.map_err(|error| base.file().explain(error))?;
        if scrubbed.wrapped {
            let sealed = base.file().sealed();
            scrubbed.mended = sealed.review_sums().map_err(|source| KvError::from_io("reading", source))?;
        }
        scrubbed.bytes = bytes.load(Ordering::Relaxed);
        Ok(scrubbed)
    }

    fn walk(&mut self, base: &Arc<Base>, bytes_max: u64, bytes: &Arc<AtomicU64>) -> Result<Scrubbed, KvError> {
        let database = walk::open(base, Arc::clone(bytes))?;
        let transaction = database.begin_read().map_err(storage("reading"))?;
        let mut begun = None; // bytes read until the first row: finding the way back there is not progress
        while let Some(table) = Table::ALL.get(self.table) {
            let rows = transaction.open_table(table.definition()).map_err(storage("opening tables of"))?;
            let from = self.behind.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            for row in rows.range::<&[u8]>((from, Bound::Unbounded)).map_err(storage("reading"))? {
                let (key, _) = row.map_err(storage("reading"))?;
                let read = bytes.load(Ordering::Relaxed);
                if read - *begun.get_or_insert(read) >= bytes_max {
                    self.behind = Some(key.value().to_vec());
                    return Ok(Scrubbed::default());
                }
            }
            self.behind = None;
            self.table += 1;
        }
        self.table = 0;
        Ok(Scrubbed { wrapped: true, ..Scrubbed::default() })
    }
}
