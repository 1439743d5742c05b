//! A snapshot as it is written: blobs that follow each other, made as they are asked for.

use bytes::{BufMut, Bytes, BytesMut};
use kontiki_kv::SnapshotSource;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::header::SnapshotHeader;
use super::{DIGEST_BYTES, SECTOR};
use crate::error::StoreError;
use crate::inspect::Site;

/// Length of a blob, except for the last ones.
const BLOB_BYTES: usize = 128 << 10;
/// What a piece aims at; one that holds a long value is longer.
const PIECE_BYTES: usize = 128 << 10;

/// A part of a snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotBlob {
    /// What comes next in the file.
    pub bytes: Bytes,
    /// Bytes that follow before the digest, as far as they can be told before they are made: never more than before,
    /// above zero while there are some, and zero behind them.
    pub remaining: u64,
}

/// A snapshot on its way out. Holds the state of one moment, and of its bytes one piece at a time. Reading blocks.
#[derive(Debug)]
pub struct SnapshotStream {
    header: SnapshotHeader,
    source: SnapshotSource,
    /// Made and not yet given out.
    waiting: BytesMut,
    made: u64,
    given: u64,
    /// All pieces are made.
    ended: bool,
    /// The blob with the digest was given.
    finished: bool,
    digest: Sha256,
    remaining: u64,
    _hold: Hold,
}

/// What a stream keeps as long as it lives.
#[derive(Debug)]
pub(crate) enum Hold {
    /// One of the places that bound the number of streams.
    Place(#[allow(dead_code, reason = "it is given back when dropped")] OwnedSemaphorePermit),
    /// The directory of a stopped member.
    Site(#[allow(dead_code, reason = "its lock is released when dropped")] Site),
    /// Nothing.
    #[cfg(test)]
    Nothing,
}

impl SnapshotStream {
    pub(crate) fn new(source: SnapshotSource, header: SnapshotHeader, hold: Hold) -> SnapshotStream {
        let mut waiting = BytesMut::new();
        waiting.put_slice(&header.encode());
        SnapshotStream {
            header,
            made: waiting.len() as u64,
            remaining: source.row_bytes() + waiting.len() as u64,
            source,
            waiting,
            given: 0,
            ended: false,
            finished: false,
            digest: Sha256::new(),
            _hold: hold,
        }
    }

    /// What the file's header says.
    #[must_use]
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// About how long the whole will be.
    #[must_use]
    pub fn estimated_bytes(&self) -> u64 {
        self.given + self.remaining
    }

    /// The next part; none behind the digest.
    ///
    /// # Errors
    /// Where the state cannot be read. The file is of no use then.
    pub fn next_blob(&mut self) -> Result<Option<SnapshotBlob>, StoreError> {
        while !self.ended && self.waiting.len() < BLOB_BYTES {
            self.make_piece()?;
        }
        if self.waiting.is_empty() {
            if self.finished {
                return Ok(None);
            }
            self.finished = true;
            let digest: [u8; DIGEST_BYTES] = self.digest.clone().finalize().into();
            return Ok(Some(SnapshotBlob { bytes: Bytes::copy_from_slice(&digest), remaining: 0 }));
        }
        let bytes = self.waiting.split_to(self.waiting.len().min(BLOB_BYTES)).freeze();
        self.digest.update(&bytes);
        self.given += bytes.len() as u64;
        let reckoned = self.remaining.saturating_sub(bytes.len() as u64);
        let more = !self.ended || !self.waiting.is_empty();
        self.remaining = if more { reckoned.max(1) } else { 0 };
        Ok(Some(SnapshotBlob { bytes, remaining: self.remaining }))
    }

    fn make_piece(&mut self) -> Result<(), StoreError> {
        let before = self.waiting.len();
        match self.source.next_rows(PIECE_BYTES)? {
            Some(piece) => {
                let length = u32::try_from(piece.len()).expect("a piece is little longer than the longest value");
                self.waiting.put_u32(length);
                self.waiting.put_slice(&piece);
            }
            None => {
                self.waiting.put_u32(0);
                self.ended = true;
                let end = self.made + (self.waiting.len() - before) as u64;
                let padding = end.next_multiple_of(SECTOR as u64) - end;
                self.waiting.put_bytes(0, usize::try_from(padding).unwrap_or(0));
            }
        }
        self.made += (self.waiting.len() - before) as u64;
        Ok(())
    }
}
