//! The tables as they were at a checkpoint, read from the disk past the cache that clients' reads share: for what goes
//! through everything once, the scrub and a snapshot being sent.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{BackendError, ConcurrencyMode, ReadOnlyDatabase, StorageBackend};

use crate::base::Base;
use crate::error::{KvError, opening};
use crate::sealed::Sealed;

/// Memory for pages.
const CACHE_BYTES: usize = 1 << 20;
/// Where the storage library's header has its flags, and which of them says that a writer has the file open.
const FLAGS_AT: usize = 9;
const WRITER_FLAG: u8 = 2;

/// Opens the state at a checkpoint once more, as a reader beside the writer, which the storage library knows from other
/// processes. The caller must keep `base` as long: it keeps the pages from being used again. Bytes read are added up.
pub(crate) fn open(base: &Base, bytes: Arc<AtomicU64>) -> Result<ReadOnlyDatabase, KvError> {
    let walk = Walk { sealed: Arc::clone(base.file().sealed()), header: without_writer(base.header()), bytes };
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_concurrency_mode(ConcurrencyMode::SingleWriter);
    builder.open_read_only_with_backend(walk).map_err(opening)
}

/// The header as a writer that has gone would have left it: the walk need not ask whether there is one.
fn without_writer(header: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    if let Some(flags) = header.get_mut(FLAGS_AT) {
        *flags &= !WRITER_FLAG;
    }
    header
}

/// The file as it was at a checkpoint that somebody keeps readable meanwhile.
#[derive(Debug)]
struct Walk {
    sealed: Arc<Sealed>,
    header: Vec<u8>,
    bytes: Arc<AtomicU64>,
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "a walk only reads")
}

impl StorageBackend for Walk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.sealed.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset == 0 {
            let known = self.header.len().min(out.len());
            out[..known].copy_from_slice(&self.header[..known]);
            out[known..].fill(0);
            return Ok(());
        }
        self.bytes.fetch_add(out.len() as u64, Ordering::Relaxed);
        self.sealed.read(offset, out)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(read_only())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    // Nobody else has the file: every lock is free, and none is needed.
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }
}
