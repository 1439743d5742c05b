//! Records: the changes that a batch consists of.

use std::ops::Range;

use bytes::Bytes;
use kontiki_raft::{GroupId, HardState, Index, LogPosition, NodeId, Term};

use crate::types::Entry;

/// One change of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    HardState(GroupId, HardState),
    /// Entries from an index on replace what was there.
    Entries(EntryList),
    /// Entries up to here are gone.
    Compacted(GroupId, LogPosition),
    /// The log is empty and begins behind this position.
    Reset(GroupId, LogPosition),
    /// Where the group stood before this segment: the first records of each.
    Head(GroupId, Head),
}

/// Entries of one term, one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryList {
    pub(crate) group: GroupId,
    pub(crate) term: Term,
    pub(crate) first: Index,
    pub(crate) count: u32,
    /// Where the list stands in the records' bytes.
    list: Range<usize>,
}

/// All that the log must know of a group besides its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) hard_state: HardState,
    pub(crate) compacted: LogPosition,
    pub(crate) last: Index,
}

const KIND_HARD_STATE: u8 = 1;
const KIND_ENTRIES: u8 = 2;
const KIND_COMPACTED: u8 = 3;
const KIND_RESET: u8 = 4;
const KIND_HEAD: u8 = 5;

/// Bytes before each payload.
const LENGTH_BYTES: usize = 4;

pub(crate) fn put_hard_state(buffer: &mut Vec<u8>, group: GroupId, hard_state: HardState) {
    put_kind(buffer, KIND_HARD_STATE, group);
    put_term_and_vote(buffer, hard_state);
}

pub(crate) fn put_compacted(buffer: &mut Vec<u8>, group: GroupId, position: LogPosition) {
    put_kind(buffer, KIND_COMPACTED, group);
    put_position(buffer, position);
}

pub(crate) fn put_reset(buffer: &mut Vec<u8>, group: GroupId, position: LogPosition) {
    put_kind(buffer, KIND_RESET, group);
    put_position(buffer, position);
}

pub(crate) fn put_head(buffer: &mut Vec<u8>, group: GroupId, head: &Head) {
    put_kind(buffer, KIND_HEAD, group);
    put_term_and_vote(buffer, head.hard_state);
    put_position(buffer, head.compacted);
    put_u64(buffer, head.last.0);
}

/// Entries of one term. The caller cuts at changes of term.
pub(crate) fn put_entries(buffer: &mut Vec<u8>, group: GroupId, entries: &[Entry]) {
    let first = &entries[0];
    put_kind(buffer, KIND_ENTRIES, group);
    put_u64(buffer, first.term.0);
    put_u64(buffer, first.index.0);
    put_u32(buffer, entries.len());
    let payloads: usize = entries.iter().map(|entry| entry.payload.len()).sum();
    let list = payloads + LENGTH_BYTES * entries.len();
    put_u32(buffer, list);
    buffer.reserve(list);
    for entry in entries {
        put_u32(buffer, entry.payload.len());
        buffer.extend_from_slice(&entry.payload);
    }
}

fn put_kind(buffer: &mut Vec<u8>, kind: u8, group: GroupId) {
    buffer.push(kind);
    put_u64(buffer, group.0);
}

fn put_term_and_vote(buffer: &mut Vec<u8>, hard_state: HardState) {
    put_u64(buffer, hard_state.term.0);
    buffer.push(u8::from(hard_state.voted_for.is_some()));
    put_u64(buffer, hard_state.voted_for.map_or(0, |node| node.0));
}

fn put_position(buffer: &mut Vec<u8>, position: LogPosition) {
    put_u64(buffer, position.term.0);
    put_u64(buffer, position.index.0);
}

fn put_u32(buffer: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("a batch is smaller than 4 GiB");
    buffer.extend_from_slice(&number.to_le_bytes());
}

fn put_u64(buffer: &mut Vec<u8>, number: u64) {
    buffer.extend_from_slice(&number.to_le_bytes());
}

/// Why records with a valid checksum cannot be read: the program that wrote them was wrong, or this one is.
pub(crate) type Nonsense = String;

/// Reads `count` records; what follows them must be padding.
pub(crate) fn records(bytes: &[u8], count: u32) -> impl Iterator<Item = Result<Record, Nonsense>> {
    let mut reader = Reader { bytes, at: 0 };
    let mut left = count;
    std::iter::from_fn(move || {
        if left > 0 {
            left -= 1;
            return Some(reader.record().ok_or_else(|| format!("no record at byte {} of its records", reader.at)));
        }
        let rest = &bytes[reader.at.min(bytes.len())..];
        reader.at = bytes.len();
        rest.iter().any(|byte| *byte != 0).then(|| Err(String::from("more records than announced")))
    })
    .scan(false, |failed, record| {
        let go_on = !*failed;
        *failed = record.is_err();
        go_on.then_some(record)
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn record(&mut self) -> Option<Record> {
        let kind = self.u8()?;
        let group = GroupId(self.u64()?);
        Some(match kind {
            KIND_HARD_STATE => Record::HardState(group, self.hard_state()?),
            KIND_ENTRIES => Record::Entries(self.entry_list(group)?),
            KIND_COMPACTED => Record::Compacted(group, self.position()?),
            KIND_RESET => Record::Reset(group, self.position()?),
            KIND_HEAD => {
                let (hard_state, compacted) = (self.hard_state()?, self.position()?);
                Record::Head(group, Head { hard_state, compacted, last: Index(self.u64()?) })
            }
            _ => return None,
        })
    }

    fn entry_list(&mut self, group: GroupId) -> Option<EntryList> {
        let (term, first) = (Term(self.u64()?), Index(self.u64()?));
        let count = self.u32()?;
        let size = self.u32()? as usize;
        first.0.checked_add(u64::from(count))?;
        let list = self.at..self.at.checked_add(size)?;
        if count == 0 || list.end > self.bytes.len() || size / LENGTH_BYTES < count as usize {
            return None;
        }
        self.at = list.end;
        Some(EntryList { group, term, first, count, list })
    }

    fn hard_state(&mut self) -> Option<HardState> {
        let term = Term(self.u64()?);
        let voted_for = match (self.u8()?, self.u64()?) {
            (0, 0) => None,
            (1, node) => Some(NodeId(node)),
            _ => return None,
        };
        Some(HardState { term, voted_for })
    }

    fn position(&mut self) -> Option<LogPosition> {
        Some(LogPosition { term: Term(self.u64()?), index: Index(self.u64()?) })
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take::<1>()?[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(taken)
    }
}

impl EntryList {
    /// Bytes of all payloads together.
    pub(crate) fn payload_bytes(&self) -> u32 {
        (self.list.len() - LENGTH_BYTES * self.count as usize) as u32
    }

    /// The entries, as slices of the records' bytes.
    pub(crate) fn entries(&self, records: &Bytes, mut each: impl FnMut(Entry)) -> Result<(), Nonsense> {
        let mut reader = Reader { bytes: &records[..self.list.end], at: self.list.start };
        for place in 0..u64::from(self.count) {
            let index = Index(self.first.0 + place);
            let start = reader.u32().map(|length| (reader.at, length as usize));
            match start.and_then(|(at, length)| Some(at..at.checked_add(length)?)) {
                Some(payload) if payload.end <= self.list.end => {
                    reader.at = payload.end;
                    each(Entry { index, term: self.term, payload: records.slice(payload) });
                }
                _ => return Err(format!("entry {index} of {} does not fit its record", self.group)),
            }
        }
        if reader.at == self.list.end {
            Ok(())
        } else {
            Err(format!("the entries of {} do not fill their record", self.group))
        }
    }
}

/// The entries `first ..= last` of one group after all records of a batch have taken effect.
pub(crate) fn entries_of(
    records_bytes: &Bytes,
    count: u32,
    group: GroupId,
    range: (Index, Index),
) -> Result<Vec<Entry>, Nonsense> {
    let mut held: Vec<Entry> = Vec::new();
    for record in records(records_bytes, count) {
        if let Record::Entries(list) = record?
            && list.group == group
        {
            // Entries from `first` on are replaced, in this batch as in those before.
            held.truncate(held.partition_point(|entry| entry.index < list.first));
            list.entries(records_bytes, |entry| held.push(entry))?;
        }
    }
    held.retain(|entry| entry.index >= range.0 && entry.index <= range.1);
    let complete = held.len() as u64 == range.1.0 - range.0.0 + 1;
    if complete { Ok(held) } else { Err(format!("{group} lacks some of its entries {} to {}", range.0, range.1)) }
}
