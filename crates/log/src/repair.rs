//! Putting a log's directory in order after it was read, and making sure that what was read stays.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use kontiki_world::{Disk, File, OpenMode};

use crate::error::{Damage, LogError};
use crate::finding::Finding;
use crate::format::{Part, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::job::{Pair, io};
use crate::log::Log;
use crate::names::FileKind;
use crate::scan::{Found, Listing};
use crate::segments::Segment;
use crate::walk::Walked;

/// What a segment needs to be whole.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Headers and directories to be written into the segment's file, by offset.
    restore: Vec<(u64, Vec<u8>)>,
    /// What nothing says was durable, to be written again.
    unlisted: Option<Range<u64>>,
    ledger: LedgerPlan,
}

#[derive(Debug, PartialEq, Eq)]
enum LedgerPlan {
    Whole,
    /// Rows that a crash took before they were on disk, in any order, and where they go.
    Rows(u64, Vec<u8>),
    /// All of it, and why.
    Anew(Vec<u8>, u64, Damage),
}

impl Plan {
    /// `ledger` is the ledger as it is, `damage` what is wrong before one of its rows, `left` whether a later segment
    /// exists.
    pub(crate) fn new(
        found: &Found,
        walked: &mut Walked,
        ledger: &[u8],
        damage: Option<(u64, Damage)>,
        left: bool,
    ) -> Plan {
        let mut restore = std::mem::take(&mut walked.restore);
        let image = std::mem::take(&mut walked.ledger);
        if matches!(found.log.damage, Some(Damage::MissingFile | Damage::Shortened { .. })) {
            restore.clear(); // there is no place for it
        } else if found.log.damage.is_some() {
            restore.push((0, found.header.encode(Part::Log).to_vec()));
        }
        let same = ledger.iter().zip(&image).take_while(|(one, other)| one == other).count();
        let ledger = if let Some(damage) = &found.ledger.damage {
            LedgerPlan::Anew(image, 0, damage.clone())
        } else if let (false, Some((offset, damage @ Damage::Unreadable(_)))) = (left, &damage) {
            LedgerPlan::Anew(image, *offset, damage.clone()) // rows to come would not be taken there
        } else if ledger.len() < image.len() {
            let (expected, len) = (image.len() as u64, ledger.len() as u64);
            LedgerPlan::Anew(image, len, Damage::Shortened { expected, found: len })
        } else if same == image.len() {
            LedgerPlan::Whole
        } else if left {
            // Its last row was on disk before there was a later segment.
            let (offset, damage) = damage.unwrap_or((same as u64, Damage::MissingRows));
            LedgerPlan::Anew(image, offset, damage)
        } else {
            LedgerPlan::Rows(same as u64, image[same..].to_vec())
        };
        Plan { restore, unlisted: walked.unlisted.take(), ledger }
    }

    /// What the plan says of a segment, without doing it.
    pub(crate) fn tell(&self, found: &Found, findings: &mut Vec<Finding>) {
        let file = found.names.log.clone();
        match &found.log.damage {
            Some(damage @ (Damage::MissingFile | Damage::Shortened { .. })) => {
                findings.push(Finding::Short { file, damage: damage.clone() });
            }
            Some(damage) => findings.push(Finding::Restored { file, offset: 0, damage: damage.clone() }),
            None => {}
        }
        if let LedgerPlan::Anew(_, offset, damage) = &self.ledger {
            let (file, offset, damage) = (found.names.ledger.clone(), *offset, damage.clone());
            findings.push(Finding::Ledger { file, offset, damage });
        }
    }

    /// Whether the ledger is missing as a crash leaves it: between the names of a new segment's two files, or between the
    /// removals of those of a dead one.
    fn is_usual(&self, found: &Found, listing: &Listing, segment: &Segment) -> bool {
        let missing = matches!(self.ledger, LedgerPlan::Anew(_, _, Damage::MissingFile));
        let number = found.header.number;
        let has = |kind: FileKind| listing.leftovers.contains(&(kind, number));
        let newest = listing.segments.last().is_some_and(|last| last.header.number == number);
        let oldest = listing.segments.first().is_some_and(|first| first.header.number == number);
        missing && (newest && has(FileKind::NewLedger) || oldest && segment.is_dead())
    }
}

impl Log {
    /// What was read may so far exist in the operating system's memory only: a process that was killed between write
    /// and sync leaves it there. It must not be lost after this member has acted on it. The segment is synced before its
    /// ledger, since a row of the ledger is the proof that the batch is durable. A sync alone is not enough for what has no row:
    /// where the last process ended because a sync failed, the system takes what was dirty for clean and may still show it,
    /// without ever writing it (fsyncgate; Rebello et al., ATC 2020). So that is written again first.
    ///
    /// A torn tail is not wiped. The next batch overwrites its beginning; what remains of it behind that is part of one
    /// write that was never whole, and the walk found no whole header there, so nothing in it can pass for one later.
    pub(crate) fn repair(&mut self, listing: &Listing, plans: Vec<Plan>) -> Result<(), LogError> {
        self.clear(listing)?;
        let newest = listing.segments.len().saturating_sub(1);
        for (position, (found, plan)) in listing.segments.iter().zip(&plans).enumerate() {
            let segment = self.shared.segments.iter().nth(position).expect("every segment found was replayed");
            if !plan.is_usual(found, listing, segment) {
                plan.tell(found, &mut self.findings);
            }
            self.repair_log(found, plan, position == newest)?;
        }
        for found in &listing.needless {
            self.remove_segment(&found.names)?;
        }
        let gone = self.bury_oldest(&plans)?;
        for (position, (found, plan)) in listing.segments.iter().zip(&plans).enumerate().skip(gone) {
            let bytes = self.shared.segments.iter().nth(position - gone).map_or(0, |segment| segment.ledger_bytes);
            let ledger = self.repair_ledger(found, plan, position == newest, bytes)?;
            if let Some(segment) = self.shared.segments.iter_mut().nth(position - gone) {
                segment.files.ledger = Some(ledger);
            }
        }
        self.clear_ledgers(listing)?;
        self.disk.sync_dir(&self.dir).map_err(io("sync", &self.dir))?;
        if let Some(job) = self.start_reserve() {
            self.finish_reserve(job.run());
        }
        Ok(())
    }

    /// What cannot be written again is told: the ledger has the second copy. The newest segment is left then.
    fn repair_log(&mut self, found: &Found, plan: &Plan, newest: bool) -> Result<(), LogError> {
        let (Some(file), path) = (&found.log.file, &found.names.log) else { return Ok(()) };
        let mut failed = None;
        for (offset, bytes) in &plan.restore {
            if let Err(error) = file.write_all_at(bytes, *offset) {
                failed.get_or_insert((*offset, error));
            }
        }
        if newest {
            if let Some(range) = &plan.unlisted {
                write_again(&**file, range.clone()).map_err(io("write to", path))?;
            }
            file.sync_data().map_err(io("sync", path))?;
        } else if let (false, Err(error)) = (plan.restore.is_empty(), file.sync_data()) {
            failed.get_or_insert((plan.restore[0].0, error));
        }
        if let Some((offset, error)) = failed {
            self.findings.push(Finding::Unrepaired { file: path.clone(), offset, error: error.to_string() });
            if let Some(segment) = self.shared.segments.current_mut().filter(|_| newest) {
                segment.closed = true;
            }
        }
        Ok(())
    }

    /// Removes the oldest segments that nobody needs, instead of making ledgers for them, which takes space. Returns how
    /// many. That nobody needs them is durable: the newest segment was synced.
    fn bury_oldest(&mut self, plans: &[Plan]) -> Result<usize, LogError> {
        let mut gone = 0;
        while plans.get(gone).is_some_and(|plan| matches!(plan.ledger, LedgerPlan::Anew(..))) {
            let Some(segment) = self.shared.segments.take_dead() else { break };
            self.remove_segment(&Pair { log: segment.path, ledger: segment.ledger_path })?;
            gone += 1;
        }
        Ok(gone)
    }

    /// Removes a segment, the ledger first, behind all that was done before.
    fn remove_segment(&self, names: &Pair) -> Result<(), LogError> {
        self.disk.sync_dir(&self.dir).map_err(io("sync", &self.dir))?;
        for path in [&names.ledger, &names.log] {
            if self.disk.exists(path).map_err(io("look for", path))? {
                self.disk.remove(path).map_err(io("remove", path))?;
            }
        }
        self.disk.sync_dir(&self.dir).map_err(io("sync", &self.dir))
    }

    fn repair_ledger(
        &mut self,
        found: &Found,
        plan: &Plan,
        newest: bool,
        bytes: u64,
    ) -> Result<Arc<dyn File>, LogError> {
        let path = &found.names.ledger;
        match (&plan.ledger, &found.ledger.file) {
            (LedgerPlan::Whole, Some(file)) if !newest => Ok(Arc::clone(file)),
            (LedgerPlan::Whole, Some(file)) => {
                file.sync_data().map_err(io("sync", path))?;
                Ok(Arc::clone(file))
            }
            (LedgerPlan::Rows(offset, rows), Some(file)) => {
                file.write_all_at(rows, *offset).map_err(io("write to", path))?;
                file.sync_data().map_err(io("sync", path))?;
                Ok(Arc::clone(file))
            }
            (LedgerPlan::Anew(image, ..), _) => self.make_ledger(found.header, path, image, bytes),
            (LedgerPlan::Whole | LedgerPlan::Rows(..), None) => unreachable!("a missing ledger is made anew"),
        }
    }

    fn make_ledger(
        &mut self,
        header: SegmentHeader,
        name: &Path,
        image: &[u8],
        bytes: u64,
    ) -> Result<Arc<dyn File>, LogError> {
        let fresh = self.disk.join(&self.dir, &FileKind::NewLedger.name(header.number));
        let file = match self.left_ledger(&fresh, header, bytes)? {
            Some(file) => file,
            None => self.space_for_ledger(&fresh, bytes)?,
        };
        file.write_all_at(image, 0).map_err(io("write to", &fresh))?;
        file.sync_data().map_err(io("sync", &fresh))?;
        self.disk.rename(&fresh, name).map_err(io("rename", &fresh))?;
        self.disk.sync_dir(&self.dir).map_err(io("sync", &self.dir))?;
        Ok(file)
    }

    /// The ledger that a crash kept from getting its name: it has its space.
    fn left_ledger(&self, fresh: &Path, header: SegmentHeader, bytes: u64) -> Result<Option<Arc<dyn File>>, LogError> {
        if !self.disk.exists(fresh).map_err(io("look for", fresh))? {
            return Ok(None);
        }
        let file = self.disk.open(fresh, OpenMode::Existing).map_err(io("open", fresh))?;
        let mut found = [0; SEGMENT_HEADER_BYTES];
        let same = file.len().is_ok_and(|len| len == bytes)
            && file.read_exact_at(&mut found, 0).is_ok()
            && found == header.encode(Part::Ledger);
        if same {
            return Ok(Some(file));
        }
        self.disk.remove(fresh).map_err(io("remove", fresh))?;
        Ok(None)
    }

    /// A new file with so much space. Where the disk is full, the reserve is given up for it.
    fn space_for_ledger(&mut self, fresh: &Path, bytes: u64) -> Result<Arc<dyn File>, LogError> {
        let make = |disk: &dyn Disk| -> Result<Arc<dyn File>, LogError> {
            let file = disk.open(fresh, OpenMode::ExistingOrNew).map_err(io("open", fresh))?;
            file.allocate(bytes).map_err(io("allocate space for", fresh))?;
            Ok(file)
        };
        loop {
            match make(self.disk.as_ref()) {
                Err(error) if error.is_storage_full() && !self.spares.is_empty() => {
                    self.disk.remove(fresh).map_err(io("remove", fresh))?;
                    let Some(spare) = self.spares.pop_front() else { continue };
                    self.disk.remove(&spare.log).map_err(io("remove", &spare.log))?;
                    if bytes == self.usual_ledger_bytes() {
                        self.disk.rename(&spare.ledger, fresh).map_err(io("rename", &spare.ledger))?;
                    } else {
                        self.disk.remove(&spare.ledger).map_err(io("remove", &spare.ledger))?;
                    }
                }
                result => return result,
            }
        }
    }

    /// Removes what an interrupted write left, and spares; one of these is kept as the reserve.
    /// It comes first, as what follows may need the space. Ledgers that a segment may be without are left.
    fn clear(&mut self, listing: &Listing) -> Result<(), LogError> {
        let leftovers = &listing.leftovers;
        for (kind, number) in leftovers {
            let kinds = match kind {
                FileKind::Spare => [FileKind::Spare, FileKind::SpareLedger],
                FileKind::Reserve => [FileKind::Reserve, FileKind::ReserveLedger],
                _ => continue,
            };
            let names = Pair::new(self.disk.as_ref(), &self.dir, kinds, *number);
            let complete = leftovers.contains(&(kinds[1], *number));
            if self.options.reserve && self.spares.is_empty() && complete && self.fits(&names)? {
                self.spares.push_back(names);
            }
        }
        for (kind, number) in leftovers.iter().filter(|leftover| !listing.may_be_ledger(**leftover)) {
            let path = self.disk.join(&self.dir, &kind.name(*number));
            if !self.spares.iter().any(|names| names.log == path || names.ledger == path) {
                self.disk.remove(&path).map_err(io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Removes the ledgers that no segment was without.
    fn clear_ledgers(&self, listing: &Listing) -> Result<(), LogError> {
        for (kind, number) in listing.leftovers.iter().filter(|leftover| listing.may_be_ledger(**leftover)) {
            let path = self.disk.join(&self.dir, &kind.name(*number));
            if self.disk.exists(&path).map_err(io("look for", &path))? {
                self.disk.remove(&path).map_err(io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Whether these files have the space that a segment needs.
    fn fits(&self, names: &Pair) -> Result<bool, LogError> {
        for (path, bytes) in [(&names.log, self.options.segment_bytes), (&names.ledger, self.usual_ledger_bytes())] {
            let file = self.disk.open(path, OpenMode::Existing).map_err(io("open", path))?;
            if file.len().map_err(io("measure", path))? != bytes {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Writes what stands in a range of a file there once more, so that the next sync makes it durable.
fn write_again(file: &dyn File, range: Range<u64>) -> io::Result<()> {
    let range = range.start..range.end.min(file.len()?);
    let mut buffer = vec![0; AGAIN_BYTES.min(range.end.saturating_sub(range.start)) as usize];
    let mut at = range.start;
    while at < range.end {
        let part = &mut buffer[..AGAIN_BYTES.min(range.end - at) as usize];
        file.read_exact_at(part, at)?;
        file.write_all_at(part, at)?;
        at += part.len() as u64;
    }
    Ok(())
}

/// Written again in pieces of this size.
const AGAIN_BYTES: u64 = 1 << 20;
