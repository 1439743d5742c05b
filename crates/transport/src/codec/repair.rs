//! What a member holds of a group, on the wire: the answer to one that has lost entries.

use bytes::{BufMut, BytesMut};
use kontiki_raft::{Index, Term, TermRun, TermRuns};

use super::{position, put_position};
use crate::error::FrameError;
use crate::frame::Held;
use crate::wire::{Reader, put_varint};

/// Bits of the flags.
const GAP: u8 = 1;
const STATELESS: u8 = 2;

/// Appends it.
pub(super) fn put_held(out: &mut BytesMut, held: &Held) {
    put_varint(out, held.asked.0);
    put_position(out, held.compacted);
    put_varint(out, held.commit.0);
    put_varint(out, held.last.0);
    put_varint(out, held.runs.len() as u64);
    for run in held.runs.iter() {
        put_varint(out, run.term.0);
        put_varint(out, run.first.0);
    }
    let gap = if held.gap.is_some() { GAP } else { 0 };
    out.put_u8(gap | if held.stateless { STATELESS } else { 0 });
    if let Some((first, last)) = held.gap {
        put_varint(out, first.0);
        put_varint(out, last.0);
    }
}

/// Reads it. What it says about one log fits together.
pub(super) fn held(reader: &mut Reader) -> Result<Held, FrameError> {
    let asked = index(reader, "asked")?;
    let compacted = position(reader)?;
    let commit = index(reader, "commit")?;
    let offset = reader.offset();
    let last = index(reader, "last")?;
    if last < compacted.index {
        return Err(FrameError::Invalid { what: "last", offset, value: last.0 });
    }
    let mut held = Held { asked, compacted, commit, last, ..Held::default() };
    held.runs = runs(reader, &held)?;
    let flags = reader.flags("damage flags", GAP | STATELESS)?;
    held.stateless = flags & STATELESS != 0;
    if flags & GAP != 0 {
        let offset = reader.offset();
        let gap = (index(reader, "gap")?, index(reader, "gap end")?);
        if gap.0 <= compacted.index || gap.1 < gap.0 || gap.1 > last {
            return Err(FrameError::Invalid { what: "gap", offset, value: gap.0.0 });
        }
        held.gap = Some(gap);
    }
    Ok(held)
}

/// Reads the runs of a log: in order, none where it is empty, all of it where they are fewer than the most.
fn runs(reader: &mut Reader, held: &Held) -> Result<TermRuns, FrameError> {
    let offset = reader.offset();
    let count = reader.count("runs", 2)?;
    if (count == 0) != (held.last == held.compacted.index) || count > Held::RUNS_MAX {
        return Err(FrameError::Invalid { what: "runs", offset, value: count as u64 });
    }
    let mut runs = TermRuns::None;
    for _ in 0..count {
        let offset = reader.offset();
        let run = TermRun { term: Term(reader.varint("run term")?), first: index(reader, "run first")? };
        let in_order = match runs.last() {
            None if count < Held::RUNS_MAX => {
                run.term >= held.compacted.term && run.first.previous() == held.compacted.index
            }
            None => run.term >= held.compacted.term && run.first > held.compacted.index,
            Some(before) => run.term > before.term && run.first > before.first,
        };
        if !in_order || run.first > held.last {
            return Err(FrameError::Invalid { what: "run first", offset, value: run.first.0 });
        }
        runs.push(run);
    }
    Ok(runs)
}

/// Whether so many entries from the one that was asked for on are in the log, and their terms are known.
pub(super) fn covers(held: &Held, entries: u64) -> bool {
    entries == 0
        || held.runs.first().is_some_and(|run| run.first <= held.asked)
            && held.asked.0.checked_add(entries - 1).is_some_and(|last| last <= held.last.0)
}

fn index(reader: &mut Reader, what: &'static str) -> Result<Index, FrameError> {
    reader.varint(what).map(Index)
}
