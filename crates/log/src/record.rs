//! Records: the changes that a batch consists of, one row each in its directory.

use std::ops::Range;

use bytes::Bytes;
use kontiki_raft::{GroupId, HardState, Index, LogPosition, NodeId, Term};

use crate::error::Damage;
use crate::format::{ALIGNMENT, BATCH_HEADER_BYTES, BatchHeader, Seal};
use crate::gaps::Gap;
use crate::types::Entry;

/// One change of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    HardState(GroupId, HardState),
    /// Entries of one term; their payloads stand behind the directory.
    Entries(Body),
    /// Entries up to here are gone.
    Compacted(GroupId, LogPosition),
    /// The log is empty and begins behind this position.
    Reset(GroupId, LogPosition),
    /// Where the group stood before this segment: the first records of each.
    Head(GroupId, Head),
}

/// Entries of one term, one after another, as the directory names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) group: GroupId,
    pub(crate) term: Term,
    pub(crate) first: Index,
    pub(crate) count: u32,
    /// In the place of lost ones; else they replace all from `first` on.
    pub(crate) mended: bool,
    /// Where the payloads stand in the batch, each behind its length.
    pub(crate) range: Range<usize>,
    checksum: u32,
    /// Where the checksum stands in the batch.
    checksum_at: usize,
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
const KIND_MENDED: u8 = 6;

/// Bytes before each payload.
pub(crate) const LENGTH_BYTES: usize = 4;

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

/// Entries of one term, all but the checksum of their payloads. Returns where the row begins.
pub(crate) fn put_entries(buffer: &mut Vec<u8>, group: GroupId, first: &Entry, mended: bool) -> usize {
    let at = buffer.len();
    put_kind(buffer, if mended { KIND_MENDED } else { KIND_ENTRIES }, group);
    put_u64(buffer, first.term.0);
    put_u64(buffer, first.index.0);
    buffer.extend_from_slice(&[0; 12]); // count, bytes, checksum
    at
}

/// Corrects count and bytes of the row of entries at `at`.
pub(crate) fn set_extent(directory: &mut [u8], at: usize, count: u32, bytes: u32) {
    let place = at + 25;
    directory[place..place + 4].copy_from_slice(&count.to_le_bytes());
    directory[place + 4..place + 8].copy_from_slice(&bytes.to_le_bytes());
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

fn put_u64(buffer: &mut Vec<u8>, number: u64) {
    buffer.extend_from_slice(&number.to_le_bytes());
}

/// Why bytes with a valid checksum cannot be read: the program that wrote them was wrong, or this one is.
pub(crate) type Nonsense = String;

/// Reads the directory of a batch; `head` is its header and directory.
pub(crate) fn directory(header: &BatchHeader, head: &[u8]) -> Result<Vec<Record>, Nonsense> {
    let mut reader = Reader { bytes: &head[..header.head_bytes()], at: BATCH_HEADER_BYTES, body: header.head_bytes() };
    let mut records = Vec::new();
    for _ in 0..header.records {
        let at = reader.at;
        records.push(reader.record().ok_or_else(|| format!("no record at byte {at} of the batch"))?);
    }
    if reader.at != reader.bytes.len() {
        return Err(format!("the directory ends at byte {}, its records at {}", reader.bytes.len(), reader.at));
    }
    let padding = (header.length as usize).checked_sub(reader.body);
    match padding {
        Some(padding) if padding < ALIGNMENT => Ok(records),
        _ => Err(format!("the batch has {} bytes, its records {}", header.length, reader.body)),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the next payloads stand in the batch.
    body: usize,
}

impl Reader<'_> {
    fn record(&mut self) -> Option<Record> {
        let kind = self.u8()?;
        let group = GroupId(self.u64()?);
        Some(match kind {
            KIND_HARD_STATE => Record::HardState(group, self.hard_state()?),
            KIND_ENTRIES | KIND_MENDED => Record::Entries(self.body(group, kind == KIND_MENDED)?),
            KIND_COMPACTED => Record::Compacted(group, self.position()?),
            KIND_RESET => Record::Reset(group, self.position()?),
            KIND_HEAD => {
                let (hard_state, compacted) = (self.hard_state()?, self.position()?);
                let last = self.index()?;
                (compacted.index <= last).then_some(Record::Head(group, Head { hard_state, compacted, last }))?
            }
            _ => return None,
        })
    }

    fn body(&mut self, group: GroupId, mended: bool) -> Option<Body> {
        let (term, first) = (Term(self.u64()?), Index(self.u64()?));
        let (count, bytes) = (self.u32()?, self.u32()? as usize);
        let checksum_at = self.at;
        let checksum = self.u32()?;
        let beyond = first.0.checked_add(u64::from(count))?;
        if count == 0 || first.0 == 0 || beyond == u64::MAX || bytes / LENGTH_BYTES < count as usize {
            return None;
        }
        let range = self.body..self.body.checked_add(bytes)?;
        self.body = range.end;
        Some(Body { group, term, first, count, mended, range, checksum, checksum_at })
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
        Some(LogPosition { term: Term(self.u64()?), index: self.index()? })
    }

    /// An index that has a next one.
    fn index(&mut self) -> Option<Index> {
        self.u64().filter(|index| *index < u64::MAX).map(Index)
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

impl Body {
    pub(crate) fn span(&self) -> Gap {
        Gap { first: self.first, last: Index(self.first.0 + u64::from(self.count) - 1) }
    }

    /// Bytes of all payloads together.
    pub(crate) fn payload_bytes(&self) -> u32 {
        (self.range.len() - LENGTH_BYTES * self.count as usize) as u32
    }

    fn checksum_of(&self, seal: Seal, offset: u64, body: &[u8]) -> u32 {
        let identity = [self.group.0, self.term.0, self.first.0, u64::from(self.count)];
        seal.body(offset + self.range.start as u64, identity, body)
    }

    /// Puts the checksum into the directory of the batch that will stand at `offset`.
    pub(crate) fn seal(&self, batch: &mut [u8], seal: Seal, offset: u64) {
        let checksum = self.checksum_of(seal, offset, &batch[self.range.clone()]);
        batch[self.checksum_at..self.checksum_at + 4].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The bytes of the payloads, where they are whole. `batch` begins where the batch does, at `offset` of its segment.
    pub(crate) fn check<'a>(
        &self,
        batch: &'a [u8],
        seal: Seal,
        offset: u64,
        sequence: u64,
    ) -> Result<&'a [u8], Damage> {
        let expected = self.checksum;
        let Some(body) = batch.get(self.range.clone()) else {
            let (expected, found) = (offset + self.range.end as u64, offset + batch.len() as u64);
            return Err(Damage::Shortened { expected, found });
        };
        let found = self.checksum_of(seal, offset, body);
        if expected == found { Ok(body) } else { Err(Damage::Payloads { sequence, expected, found }) }
    }

    /// The entries, as slices of the payloads' bytes.
    pub(crate) fn entries(&self, body: &Bytes, mut each: impl FnMut(Entry)) -> Result<(), Nonsense> {
        let mut reader = Reader { bytes: body, at: 0, body: 0 };
        for place in 0..u64::from(self.count) {
            let index = Index(self.first.0 + place);
            let start = reader.u32().map(|length| (reader.at, length as usize));
            match start.and_then(|(at, length)| Some(at..at.checked_add(length)?)) {
                Some(payload) if payload.end <= body.len() => {
                    reader.at = payload.end;
                    each(Entry { index, term: self.term, payload: body.slice(payload) });
                }
                _ => return Err(format!("entry {index} of {} does not fit its record", self.group)),
            }
        }
        if reader.at == body.len() {
            Ok(())
        } else {
            Err(format!("the entries of {} do not fill their record", self.group))
        }
    }
}

/// Which rows hold the entries of a group after all records of a batch have taken effect, by index.
pub(crate) fn owners(records: &[Record], group: GroupId) -> Vec<(Gap, &Body)> {
    let mut held: Vec<(Gap, &Body)> = Vec::new();
    for record in records {
        match record {
            Record::Entries(body) if body.group == group => {
                let span = body.span();
                if !body.mended {
                    held.retain(|(held, _)| held.first < span.first);
                    for (held, _) in &mut held {
                        held.last = held.last.min(span.first.previous());
                    }
                }
                let at = held.partition_point(|(held, _)| held.first < span.first);
                held.insert(at, (span, body));
            }
            _ => {}
        }
    }
    held
}
