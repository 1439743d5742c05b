//! A snapshot file as it is read: looked at whole before anything is believed.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use kontiki_kv::SnapshotTally;
use sha2::{Digest, Sha256};

use super::error::{HeaderProblem, SnapshotError};
use super::header::{HEADER_BYTES, SnapshotHeader};
use super::{DIGEST_BYTES, SECTOR};

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;
/// Bytes read ahead of the pieces.
const BUFFER_BYTES: usize = 64 << 10;
/// A piece is not longer: one row, of a request of at most 1 GiB, and what goes around it.
const PIECE_BYTES_MAX: u32 = 0x7fff_ffff;

/// A snapshot file that was found to be whole.
#[derive(Debug)]
pub struct SnapshotFile {
    file: File,
    path: PathBuf,
    header: SnapshotHeader,
    bytes: u64,
}

/// What is in a snapshot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// What its header says.
    pub header: SnapshotHeader,
    /// A checksum over its rows.
    pub hash: u32,
    /// Versions of keys: every put and deletion that is kept.
    pub versions: u64,
    /// Length of the file.
    pub bytes: u64,
}

impl SnapshotFile {
    /// Opens a file and compares it with the digest at its end, unless that is to be skipped; what is told to `progress`
    /// are bytes.
    ///
    /// # Errors
    /// Where it cannot be read, is no snapshot, or is damaged.
    pub fn open(path: &Path, check_digest: bool, progress: &mut dyn FnMut(u64)) -> Result<SnapshotFile, SnapshotError> {
        let io = |action| move |source| SnapshotError::Io { action, path: path.to_owned(), source };
        let file = File::open(path).map_err(io("open"))?;
        let metadata = file.metadata().map_err(io("open"))?;
        let bytes = metadata.len();
        let mut first = [0; HEADER_BYTES];
        let wrong = |problem| SnapshotError::Header { path: path.to_owned(), problem };
        match file.read_exact_at(&mut first, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(wrong(HeaderProblem::Foreign)),
            Err(error) => return Err(io("read")(error)),
        }
        let header = SnapshotHeader::decode(&first).map_err(wrong)?;
        if bytes % SECTOR as u64 != DIGEST_BYTES as u64 {
            return Err(SnapshotError::Length { path: path.to_owned(), bytes });
        }
        let found = SnapshotFile { file, path: path.to_owned(), header, bytes };
        if check_digest {
            found.check_digest(progress).map_err(io("read"))??;
        }
        Ok(found)
    }

    fn check_digest(&self, progress: &mut dyn FnMut(u64)) -> io::Result<Result<(), SnapshotError>> {
        let end = self.bytes - DIGEST_BYTES as u64;
        let mut digest = Sha256::new();
        let most = usize::try_from(end).unwrap_or(READ_BYTES).min(READ_BYTES);
        let mut buffer = vec![0; most];
        let mut at = 0;
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(most).min(most);
            self.file.read_exact_at(&mut buffer[..length], at)?;
            digest.update(&buffer[..length]);
            at += length as u64;
            progress(length as u64);
        }
        let mut expected = [0; DIGEST_BYTES];
        self.file.read_exact_at(&mut expected, end)?;
        let found: [u8; DIGEST_BYTES] = digest.finalize().into();
        if found == expected {
            return Ok(Ok(()));
        }
        let path = self.path.clone();
        Ok(Err(SnapshotError::Digest { path, expected: hexadecimal(&expected), found: hexadecimal(&found) }))
    }

    /// What the file says of itself.
    #[must_use]
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives each of kv's pieces with its place in the file.
    ///
    /// # Errors
    /// Where the file cannot be read or its parts make no sense; and what `each` answers.
    pub fn pieces(&self, each: &mut dyn FnMut(u64, Bytes) -> Result<(), SnapshotError>) -> Result<(), SnapshotError> {
        let io = |source| SnapshotError::Io { action: "read", path: self.path.clone(), source };
        let end = self.bytes - DIGEST_BYTES as u64;
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, &self.file);
        let mut at = HEADER_BYTES as u64;
        reader.seek(SeekFrom::Start(at)).map_err(io)?;
        loop {
            let mut length = [0; 4];
            if at + 4 > end {
                return Err(self.damaged(at, "the pieces do not end"));
            }
            reader.read_exact(&mut length).map_err(io)?;
            let length = u32::from_be_bytes(length);
            if length == 0 {
                return Ok(());
            }
            if length > PIECE_BYTES_MAX || at + 4 + u64::from(length) > end {
                return Err(self.damaged(at, "a piece is longer than the file"));
            }
            let mut piece = vec![0; length as usize];
            reader.read_exact(&mut piece).map_err(io)?;
            each(at, Bytes::from(piece))?;
            at += 4 + u64::from(length);
        }
    }

    /// Reads all pieces, and compares them with each other and with the header; what is told to `progress` are bytes.
    ///
    /// # Errors
    /// Where something does not fit.
    pub fn summary(&self, progress: &mut dyn FnMut(u64)) -> Result<SnapshotSummary, SnapshotError> {
        let mut tally = SnapshotTally::default();
        let mut last = 0;
        self.pieces(&mut |at, piece| {
            last = at;
            progress(piece.len() as u64);
            tally.take(&piece).map_err(|error| self.damaged(at, error))
        })?;
        let tally = tally.finish().map_err(|error| self.damaged(last, error))?;
        let header = self.header;
        if (tally.index, tally.term, tally.revision) != (header.index, header.term, header.revision) {
            return Err(self.damaged(0, "the header speaks of another state than the one that follows"));
        }
        Ok(SnapshotSummary { header, hash: tally.checksum, versions: tally.versions, bytes: self.bytes })
    }

    pub(super) fn damaged(&self, offset: u64, what: impl std::fmt::Display) -> SnapshotError {
        SnapshotError::Content { path: self.path.clone(), offset, what: what.to_string() }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
