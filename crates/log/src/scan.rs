//! Reading a log's files: reports what is there, repairs nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kontiki_world::{Disk, File, OpenMode};

use crate::error::{BatchProblem, Damage, LogError};
use crate::format::{
    BatchHeader, FORMAT_VERSION, FileKind, HeaderProblem, SEGMENT_HEADER_BYTES, SegmentHeader, file_kind,
};
use crate::job::io;
use crate::record::Nonsense;
use crate::types::Identity;

/// Files of a log's directory.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Oldest first.
    pub(crate) segments: Vec<OpenSegment>,
    /// What an interrupted write left, and spares.
    pub(crate) leftovers: Vec<PathBuf>,
}

/// A segment whose header is as it should be.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn File>,
    pub(crate) header: SegmentHeader,
}

/// A write that a crash interrupted, cut off the log's end. It was never reported as durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The last segment.
    pub file: PathBuf,
    /// Where the write began.
    pub offset: u64,
    /// What was wrong with it.
    pub problem: BatchProblem,
}

/// How the batches of a segment end.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) cut: Option<Cut>,
}

/// Opens every segment and checks all that its header says.
pub(crate) fn list(disk: &dyn Disk, dir: &Path, identity: Identity) -> Result<Listing, LogError> {
    let mut listing = Listing { segments: Vec::new(), leftovers: Vec::new() };
    for name in disk.list(dir).map_err(io("list", dir))? {
        let path = disk.join(dir, &name);
        match file_kind(&name) {
            FileKind::Segment(number) => {
                let segment = open(disk, path, number, identity)?;
                if let Some(before) = listing.segments.last() {
                    check_follows(dir, before, &segment)?;
                }
                listing.segments.push(segment);
            }
            FileKind::Leftover => listing.leftovers.push(path),
            FileKind::Unknown => {} // not ours
        }
    }
    Ok(listing)
}

fn open(disk: &dyn Disk, path: PathBuf, number: u64, identity: Identity) -> Result<OpenSegment, LogError> {
    let file = disk.open(&path, OpenMode::Existing).map_err(io("open", &path))?;
    let len = file.len().map_err(io("measure", &path))?;
    let damaged = |damage| LogError::Damaged { file: path.clone(), offset: 0, damage };
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    if len < SEGMENT_HEADER_BYTES as u64 {
        return Err(damaged(Damage::Shortened { expected: SEGMENT_HEADER_BYTES as u64, found: len }));
    }
    file.read_exact_at(&mut bytes, 0).map_err(io("read", &path))?;
    let header = SegmentHeader::decode(&bytes).map_err(|problem| match problem {
        HeaderProblem::Damaged(damage) => damaged(damage),
        HeaderProblem::Newer(found) => LogError::NewerFormat { file: path.clone(), found, supported: FORMAT_VERSION },
    })?;
    if header.identity != identity {
        return Err(LogError::Foreign { file: path, expected: identity, found: header.identity });
    }
    if header.number != number {
        return Err(damaged(Damage::Renamed { expected: number, found: header.number }));
    }
    // No crash shortens a file whose length was durable with its first batch.
    if len < header.bytes {
        return Err(damaged(Damage::Shortened { expected: header.bytes, found: len }));
    }
    Ok(OpenSegment { path, file, header })
}

fn check_follows(dir: &Path, before: &OpenSegment, segment: &OpenSegment) -> Result<(), LogError> {
    let expected = before.header.number + 1;
    if segment.header.number != expected {
        let file = dir.to_path_buf();
        return Err(LogError::Damaged { file, offset: 0, damage: Damage::MissingSegment(expected) });
    }
    let (least, found) = (before.header.first_sequence + 1, segment.header.first_sequence);
    if found < least {
        let damage = Damage::WrongSequence { expected: least, found };
        return Err(LogError::Damaged { file: segment.path.clone(), offset: 0, damage });
    }
    Ok(())
}

/// Gives every batch of a segment to `each`, in order, with its place. `next` is the sequence number with which the
/// next segment begins; None for the last one.
pub(crate) fn walk(
    segment: &OpenSegment,
    bytes: &[u8],
    next: Option<u64>,
    mut each: impl FnMut(BatchHeader, &[u8]) -> Result<(), Nonsense>,
) -> Result<End, LogError> {
    let SegmentHeader { first_sequence, salt, .. } = segment.header;
    let (mut offset, mut sequence) = (SEGMENT_HEADER_BYTES, first_sequence);
    loop {
        let damaged = |damage| LogError::Damaged { file: segment.path.clone(), offset: offset as u64, damage };
        if next == Some(sequence) {
            return Ok(End { cut: None });
        }
        match BatchHeader::check(&bytes[offset..], salt, sequence) {
            Ok(header) => {
                let end = offset + header.length as usize;
                each(header, &bytes[offset..end]).map_err(|reason| damaged(Damage::Nonsense { sequence, reason }))?;
                offset = end;
                sequence += 1;
            }
            Err(reason) => {
                let later = BatchHeader::search(bytes, offset, salt, sequence);
                let invalid = Invalid { sequence, reason, is_first: sequence == first_sequence, next, later };
                invalid.judge().map_err(damaged)?;
                // Without a header nothing can be said: unused space may hold anything of the file's earlier life.
                let told = matches!(reason, BatchProblem::Checksum { .. });
                let cut = Cut { file: segment.path.clone(), offset: offset as u64, problem: reason };
                return Ok(End { cut: told.then_some(cut) });
            }
        }
    }
}

/// A place where a batch should be and no valid one is, with all that tells the log's end from damage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Invalid {
    pub(crate) sequence: u64,
    pub(crate) reason: BatchProblem,
    /// It is the segment's first.
    pub(crate) is_first: bool,
    /// First sequence number of the next segment, where there is one.
    pub(crate) next: Option<u64>,
    /// A valid batch further on in the segment.
    pub(crate) later: Option<(usize, BatchHeader)>,
}

impl Invalid {
    /// The table of `docs/formats/log.md`: whether the log ends here, or something durable is lost. A write is started
    /// only when the one before it is durable, so whatever stands behind the invalid batch proves that it was durable.
    pub(crate) fn judge(&self) -> Result<(), Damage> {
        let Invalid { sequence, reason, .. } = *self;
        match (self.next, self.is_first, self.later) {
            (Some(next), _, _) => Err(Damage::BeforeSegment { sequence, reason, next }),
            (None, true, _) => Err(Damage::FirstBatch { sequence, reason }),
            (None, false, Some((offset, later))) => {
                let (later, later_offset) = (later.sequence, offset as u64);
                Err(Damage::BeforeValid { sequence, reason, later, later_offset })
            }
            (None, false, None) => Ok(()),
        }
    }
}
