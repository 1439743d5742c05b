//! Finding a log's files and agreeing on their headers: reports what is there, repairs nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kontiki_world::{Disk, File, OpenMode};

use crate::error::{Damage, LogError};
use crate::finding::Finding;
use crate::format::{BatchHeader, FORMAT_VERSION, HeaderProblem, LedgerRow, Part, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::job::{Pair, io};
use crate::names::{FileKind, ledger_bytes_max};
use crate::read_file::read_lenient;
use crate::types::Identity;

/// Files of a log's directory.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Oldest first.
    pub(crate) segments: Vec<Found>,
    /// Segments before those that nobody needs, and that cannot be read on.
    pub(crate) needless: Vec<Found>,
    /// What an interrupted write left, and spares.
    pub(crate) leftovers: Vec<(FileKind, u64)>,
}

impl Listing {
    /// Whether this is the ledger of a segment that is there, without its name.
    pub(crate) fn may_be_ledger(&self, (kind, number): (FileKind, u64)) -> bool {
        kind == FileKind::NewLedger && self.segments.iter().any(|found| found.header.number == number)
    }
}

/// A segment with the header on which its files agree.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) header: SegmentHeader,
    pub(crate) names: Pair,
    pub(crate) log: FoundFile,
    pub(crate) ledger: FoundFile,
}

/// One of its files, as it is.
#[derive(Debug)]
pub(crate) struct FoundFile {
    pub(crate) file: Option<Arc<dyn File>>,
    pub(crate) len: u64,
    /// What is wrong with its header, or with all of it.
    pub(crate) damage: Option<Damage>,
}

impl FoundFile {
    /// Its bytes, up to so many; what cannot be read is zero, and told.
    pub(crate) fn read(&self, path: &Path, bytes_max: u64) -> (Vec<u8>, Vec<Finding>) {
        let Some(file) = &self.file else { return (Vec::new(), Vec::new()) };
        let mut bytes = vec![0; self.len.min(bytes_max) as usize];
        let findings = read_lenient(file.as_ref(), path, &mut bytes, 0);
        (bytes, findings)
    }
}

/// Opens every segment. Without an identity any is welcome, as long as it is one.
pub(crate) fn list(disk: &dyn Disk, dir: &Path, mut identity: Option<Identity>) -> Result<Listing, LogError> {
    let mut listing = Listing { segments: Vec::new(), needless: Vec::new(), leftovers: Vec::new() };
    let mut numbers = BTreeMap::<u64, [bool; 2]>::new();
    for name in disk.list(dir).map_err(io("list", dir))? {
        match FileKind::of(&name) {
            Some((FileKind::Segment, number)) => numbers.entry(number).or_default()[0] = true,
            Some((FileKind::Ledger, number)) => numbers.entry(number).or_default()[1] = true,
            Some(leftover) => listing.leftovers.push(leftover),
            None => {} // not ours
        }
    }
    for (number, there) in numbers {
        let found = open(disk, dir, number, there, identity)?;
        identity = Some(found.header.identity);
        if let Some(before) = listing.segments.last() {
            check_follows(dir, before, &found)?;
        }
        listing.segments.push(found);
    }
    Ok(listing)
}

fn open(
    disk: &dyn Disk,
    dir: &Path,
    number: u64,
    there: [bool; 2],
    identity: Option<Identity>,
) -> Result<Found, LogError> {
    let names = Pair::new(disk, dir, [FileKind::Segment, FileKind::Ledger], number);
    let mut opened = Vec::new();
    for (part, path, there) in [(Part::Log, &names.log, there[0]), (Part::Ledger, &names.ledger, there[1])] {
        let file = if there { Some(disk.open(path, OpenMode::Existing).map_err(io("open", path))?) } else { None };
        let len = file.as_ref().map_or(Ok(0), |file| file.len()).map_err(io("measure", path))?;
        let header = read_header(file.as_deref(), path, len, part, number, identity);
        opened.push((FoundFile { file, len, damage: None }, header));
    }
    let (mut ledger, of_ledger) = opened.pop().expect("two files were opened");
    let (mut log, of_log) = opened.pop().expect("two files were opened");
    let header = match (of_log, of_ledger) {
        (Ok(one), Ok(other)) if one == other => one,
        (Ok(one), Ok(other)) => {
            // Both are whole, so one of them is an old one. The first batch tells which.
            if begins_with_batch(&log, &names.log, &one) || !begins_with_row(&ledger, &names.ledger, &other) {
                ledger.damage = Some(Damage::OtherHeader);
                one
            } else {
                log.damage = Some(Damage::OtherHeader);
                other
            }
        }
        (Ok(header), Err(problem)) => {
            ledger.damage = Some(damage_of(problem));
            header
        }
        (Err(problem), Ok(header)) => {
            log.damage = Some(damage_of(problem));
            header
        }
        (Err(problem), Err(_)) => return Err(refusal(problem, names.log, identity)),
    };
    // No crash shortens a file whose length was durable with its first batch.
    if log.file.is_some() && log.len < header.bytes {
        log.damage = Some(Damage::Shortened { expected: header.bytes, found: log.len });
    }
    Ok(Found { header, names, log, ledger })
}

fn read_header(
    file: Option<&dyn File>,
    path: &Path,
    len: u64,
    part: Part,
    number: u64,
    identity: Option<Identity>,
) -> Result<SegmentHeader, HeaderProblem> {
    let damaged = |damage| Err(HeaderProblem::Damaged(damage));
    let Some(file) = file else { return damaged(Damage::MissingFile) };
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    if len < bytes.len() as u64 {
        return damaged(Damage::Shortened { expected: bytes.len() as u64, found: len });
    }
    if let Some(Finding::Unreadable { error, .. }) = read_lenient(file, path, &mut bytes, 0).pop() {
        return damaged(Damage::Unreadable(error));
    }
    let header = SegmentHeader::decode(&bytes, part)?;
    if let Some(identity) = identity
        && header.identity != identity
    {
        return Err(HeaderProblem::Foreign(header.identity));
    }
    if header.number != number {
        return damaged(Damage::Renamed { expected: number, found: header.number });
    }
    Ok(header)
}

fn damage_of(problem: HeaderProblem) -> Damage {
    match problem {
        HeaderProblem::Damaged(damage) => damage,
        HeaderProblem::Format(version) => Damage::UnknownFormat(version),
        HeaderProblem::Foreign(identity) => Damage::ForeignHeader(identity),
    }
}

fn refusal(problem: HeaderProblem, file: PathBuf, expected: Option<Identity>) -> LogError {
    let supported = FORMAT_VERSION;
    match (problem, expected) {
        (HeaderProblem::Format(found), _) if found > supported => LogError::NewerFormat { file, found, supported },
        (HeaderProblem::Format(found), _) => LogError::OlderFormat { file, found, supported },
        (HeaderProblem::Foreign(found), Some(expected)) => LogError::Foreign { file, expected, found },
        (problem, _) => LogError::Damaged { file, offset: 0, damage: damage_of(problem) },
    }
}

fn begins_with_batch(log: &FoundFile, path: &Path, header: &SegmentHeader) -> bool {
    let (bytes, _) = log.read(path, header.bytes);
    let start = SEGMENT_HEADER_BYTES;
    let room = header.bytes.saturating_sub(start as u64);
    let begins = |here| BatchHeader::expect(here, header.seal(), start as u64, room, header.first_sequence).is_ok();
    bytes.get(start..).is_some_and(begins)
}

fn begins_with_row(ledger: &FoundFile, path: &Path, header: &SegmentHeader) -> bool {
    let (bytes, _) = ledger.read(path, ledger_bytes_max(header.bytes));
    let start = SEGMENT_HEADER_BYTES;
    bytes.get(start..).is_some_and(|here| LedgerRow::check(here, header.seal(), start as u64, header.bytes).is_ok())
}

fn check_follows(dir: &Path, before: &Found, found: &Found) -> Result<(), LogError> {
    let expected = before.header.number + 1;
    if found.header.number != expected {
        let file = dir.to_path_buf();
        return Err(LogError::Damaged { file, offset: 0, damage: Damage::MissingSegment(expected) });
    }
    let (least, first) = (before.header.first_sequence + 1, found.header.first_sequence);
    if first < least {
        let damage = Damage::WrongSequence { expected: least, found: first };
        return Err(LogError::Damaged { file: found.names.log.clone(), offset: 0, damage });
    }
    Ok(())
}
