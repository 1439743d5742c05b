//! Looking at a log from outside: every record, whoever's it is, with nothing changed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kontiki_raft::{GroupId, HardState, Index, LogPosition, Term};
use kontiki_world::Disk;

use crate::error::LogError;
use crate::finding::Finding;
use crate::gaps::Gap;
use crate::group::Shared;
use crate::log::Log;
use crate::record::{Head, Record};
use crate::scan;
use crate::types::{Entry, Identity, Options, Recovered};

/// One record of the log and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The segment.
    pub segment: u64,
    /// Where its batch begins in the segment.
    pub offset: u64,
    /// The batch's sequence number.
    pub sequence: u64,
    /// Whose record it is.
    pub group: GroupId,
    /// What it says.
    pub what: What,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Term and vote are these.
    HardState(HardState),
    /// Entries of one term.
    Entries {
        /// Their term.
        term: Term,
        /// First index.
        first: Index,
        /// Last index.
        last: Index,
        /// Bytes of the payloads.
        bytes: u64,
        /// Written again in the place of lost ones; otherwise they replace all from `first` on.
        mended: bool,
        /// The entries; None where the payloads are lost.
        entries: Option<Vec<Entry>>,
    },
    /// Entries up to here are gone.
    Compacted(LogPosition),
    /// The log is empty and begins behind this position.
    Reset(LogPosition),
    /// Where the group stood before this segment.
    Head {
        /// Term and vote.
        hard_state: HardState,
        /// The entry before the first one.
        compacted: LogPosition,
        /// Last index.
        last: Index,
    },
}

/// All of a log, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Whose log it is; None where there is none.
    pub identity: Option<Identity>,
    /// How many segments there are.
    pub segments: u64,
    /// How many batches.
    pub batches: u64,
    /// How many records.
    pub records: u64,
    /// How many entries, those replaced or compacted since included.
    pub entries: u64,
    /// Bytes of all batches.
    pub bytes: u64,
    /// Every group as a member that opened this log would find it.
    pub groups: BTreeMap<GroupId, Recovered>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

/// Reads the log in `dir`, changes nothing and gives every record to `each`, oldest first.
///
/// # Errors
/// As [`crate::Log::open`], but for `Foreign`; what was read before that was given to `each`.
pub fn inspect(disk: Arc<dyn Disk>, dir: &Path, each: &mut dyn FnMut(Seen)) -> Result<Inspection, LogError> {
    let mut listing = scan::list(disk.as_ref(), dir, None)?;
    let identity = listing.segments.first().map(|found| found.header.identity);
    let nobody = Identity { cluster_id: 0, member_id: 0 };
    let options = Options { cache_bytes: 0, ..Options::default() };
    let shared = Shared::new(0);
    let mut log = Log::new(disk, dir.to_path_buf(), identity.unwrap_or(nobody), options, shared);
    let (segments, mut newest) = (listing.segments.len() as u64, 0);
    let mut inspection = Inspection { identity, segments, ..Inspection::default() };
    let plans = log.replay_needed(&mut listing, &mut |found, batch| {
        if batch.header.sequence <= newest {
            return; // seen before what is not known
        }
        newest = batch.header.sequence;
        inspection.batches += 1;
        inspection.bytes += u64::from(batch.header.length);
        for (record, damage) in batch.records.iter().zip(&batch.damage) {
            inspection.records += 1;
            let (group, what) = what(record, damage.is_none(), batch.bytes);
            if let What::Entries { first, last, .. } = what {
                inspection.entries += last.0 - first.0 + 1;
            }
            let (segment, offset, sequence) = (found.header.number, batch.offset, batch.header.sequence);
            each(Seen { segment, offset, sequence, group, what });
        }
    })?;
    for (found, plan) in listing.segments.iter().zip(&plans) {
        plan.tell(found, &mut log.findings);
    }
    inspection.groups = log.groups.iter().map(|(group, log)| (*group, log.recovered())).collect();
    inspection.findings = log.findings;
    Ok(inspection)
}

fn what(record: &Record, whole: bool, batch: &[u8]) -> (GroupId, What) {
    match record {
        Record::HardState(group, hard_state) => (*group, What::HardState(*hard_state)),
        Record::Compacted(group, position) => (*group, What::Compacted(*position)),
        Record::Reset(group, position) => (*group, What::Reset(*position)),
        Record::Head(group, Head { hard_state, compacted, last }) => {
            (*group, What::Head { hard_state: *hard_state, compacted: *compacted, last: *last })
        }
        Record::Entries(body) => {
            let mut entries = Vec::new();
            let read = whole.then(|| Bytes::copy_from_slice(&batch[body.range.clone()]));
            let read = read.is_some_and(|bytes| body.entries(&bytes, |entry| entries.push(entry)).is_ok());
            let (Gap { first, last }, bytes) = (body.span(), u64::from(body.payload_bytes()));
            let entries = read.then_some(entries);
            (body.group, What::Entries { term: body.term, first, last, bytes, mended: body.mended, entries })
        }
    }
}
