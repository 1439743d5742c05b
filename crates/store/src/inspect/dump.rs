//! What stands in a log and in a state, record by record. Memory holds one of them at a time.

use std::ops::RangeInclusive;
use std::path::Path;

use bytes::Bytes;
use kontiki_kv::KeyValue;
use kontiki_log::{Entry, Seen, What, inspect};
use kontiki_raft::{HardState, LogPosition};

use super::record::{DumpRecord, DumpValue};
use super::{InspectError, Site, describe};

/// What of a log is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    /// Entries with these indexes; with all indexes, the other records too.
    pub indexes: RangeInclusive<u64>,
    /// Records of this group; none for all.
    pub group: Option<u64>,
}

/// What of a state is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFilter {
    /// Keys that begin with these bytes.
    pub prefix: Bytes,
    /// Keys last changed in one of these revisions.
    pub revisions: RangeInclusive<i64>,
}

/// All indexes there are.
const EVERYTHING: RangeInclusive<u64> = 0..=u64::MAX;

/// Gives the log's records in the order in which they were written; `each` answers whether it wants more.
///
/// # Errors
/// Where the directory holds no member or is in use, and where the log cannot be read on.
pub fn dump_log(
    dir: &Path,
    wal_dir: Option<&Path>,
    filter: &LogFilter,
    each: &mut dyn FnMut(DumpRecord) -> bool,
) -> Result<(), InspectError> {
    let site = Site::open(dir, wal_dir)?;
    let mut wanted = true;
    inspect(site.disk.clone(), &site.places.log, &mut |seen| {
        if wanted && filter.group.is_none_or(|group| seen.group.0 == group) {
            wanted = records(&seen, &filter.indexes).into_iter().all(&mut *each);
        }
    })?;
    Ok(())
}

fn records(seen: &Seen, indexes: &RangeInclusive<u64>) -> Vec<DumpRecord> {
    let record = |kind| {
        DumpRecord::new(kind)
            .with("segment", seen.segment)
            .with("offset", seen.offset)
            .with("batch", seen.sequence)
            .with("group", seen.group.0)
    };
    match &seen.what {
        What::Entries { term, first, last, bytes, mended, entries } => match entries {
            Some(entries) => {
                let inside = entries.iter().filter(|entry| indexes.contains(&entry.index.0));
                let kind = if *mended { "entry_mended" } else { "entry" };
                inside.map(|entry| with_entry(record(kind), entry)).collect()
            }
            None if first.0 <= *indexes.end() && last.0 >= *indexes.start() => {
                let lost = record("entries_lost").with("first", first.0).with("last", last.0);
                vec![lost.with("term", term.0).with("bytes", *bytes)]
            }
            None => Vec::new(),
        },
        _ if *indexes != EVERYTHING => Vec::new(),
        What::HardState(hard_state) => vec![with_hard_state(record("hard_state"), hard_state)],
        What::Compacted(position) => vec![with_position(record("compacted"), position)],
        What::Reset(position) => vec![with_position(record("reset"), position)],
        What::Head { hard_state, compacted, last } => {
            let head = with_hard_state(record("head"), hard_state);
            vec![head.with("compacted_index", compacted.index.0).with("last_index", last.0)]
        }
    }
}

fn with_entry(record: DumpRecord, entry: &Entry) -> DumpRecord {
    let record = record.with("index", entry.index.0).with("term", entry.term.0);
    match describe::payload(&entry.payload) {
        Ok(content) => {
            let record = record.with("is", content.kind);
            DumpRecord { fields: record.fields.into_iter().chain(content.fields).collect(), ..record }
        }
        Err(reason) => record.with("is", "unreadable").with("reason", reason).with("payload", &entry.payload),
    }
}

fn with_hard_state(record: DumpRecord, hard_state: &HardState) -> DumpRecord {
    let vote = hard_state.voted_for.map(|node| DumpValue::Id(node.0));
    record.with("term", hard_state.term.0).with_some("voted_for", vote)
}

fn with_position(record: DumpRecord, position: &LogPosition) -> DumpRecord {
    record.with("index", position.index.0).with("term", position.term.0)
}

/// Gives the keys that are there at the last checkpoint, in order; `each` answers whether it wants more.
///
/// # Errors
/// Where the directory holds no member or is in use, and where the state cannot be read on.
pub fn dump_keys(dir: &Path, filter: &KeyFilter, each: &mut dyn FnMut(DumpRecord) -> bool) -> Result<(), InspectError> {
    let site = Site::open(dir, None)?;
    let Some(state) = site.state()? else { return Ok(()) };
    let failed = |source| InspectError::State { path: site.state_path(), source };
    for pair in state.keys().map_err(failed)? {
        let pair = pair.map_err(failed)?;
        let inside = pair.key.starts_with(&filter.prefix);
        if !inside && pair.key > filter.prefix {
            break; // keys come in order
        }
        if inside && filter.revisions.contains(&pair.mod_revision) && !each(key(&pair)) {
            break;
        }
    }
    Ok(())
}

fn key(pair: &KeyValue) -> DumpRecord {
    DumpRecord::new("key")
        .with("key", &pair.key)
        .with("value", &pair.value)
        .with("create_revision", pair.create_revision)
        .with("mod_revision", pair.mod_revision)
        .with("version", pair.version)
        .with_set("lease", pair.lease)
}
