//! The messages of the consensus core on the wire: term, the life of the sender's disk, kind of body, fields of the body.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use kontiki_raft::{
    AppendAccepted, AppendEntries, AppendRejected, Body, Configuration, Entries, Exclusion, Heartbeat, HeartbeatReply,
    Incarnation, Index, LogPosition, Message, Pull, ReadId, RequestVote, RequestVoteReply, Term, TermRun, TermRuns,
};

use super::{configuration, position, put_configuration, put_position, put_snapshot_meta, snapshot_meta};
use crate::error::FrameError;
use crate::wire::{Reader, put_varint};

/// The kinds of body on the wire. A number is never given a second meaning.
mod body {
    pub(super) const REQUEST_VOTE: u8 = 1;
    pub(super) const REQUEST_VOTE_REPLY: u8 = 2;
    pub(super) const APPEND_ENTRIES: u8 = 3;
    pub(super) const APPEND_ACCEPTED: u8 = 4;
    pub(super) const APPEND_REJECTED: u8 = 5;
    pub(super) const HEARTBEAT: u8 = 6;
    pub(super) const HEARTBEAT_REPLY: u8 = 7;
    pub(super) const INSTALL_SNAPSHOT: u8 = 8;
    pub(super) const TIMEOUT_NOW: u8 = 9;
    pub(super) const READ_INDEX: u8 = 10;
    pub(super) const READ_INDEX_REPLY: u8 = 11;
    pub(super) const RESIGNED: u8 = 12;
    pub(super) const EXCLUDED: u8 = 13;
    pub(super) const PULL: u8 = 14;
    pub(super) const PULLED: u8 = 15;
}

/// Bits of the flags of a vote and of its request.
const PRE_VOTE: u8 = 1;
const TRANSFER: u8 = 2;
const GRANTED: u8 = 2;

/// A configuration with its index on the wire: one voter and nothing else.
const CONFIGURATION_BYTES_MIN: usize = 14;

/// Bit of the flags of an exclusion: another life of the disk is the member.
const STRANGER: u8 = 1;

/// Appends a message.
pub(super) fn put_message(out: &mut BytesMut, message: &Message) {
    put_varint(out, message.term.0);
    out.put_u8(u8::from(message.incarnation.is_some()));
    if let Some(incarnation) = message.incarnation {
        out.put_u64_le(incarnation.0);
    }
    put_body(out, &message.body);
}

fn put_body(out: &mut BytesMut, body: &Body) {
    match body {
        Body::RequestVote(request) => {
            out.put_u8(body::REQUEST_VOTE);
            put_position(out, request.last);
            out.put_u8(flag(request.pre_vote, PRE_VOTE) | flag(request.transfer, TRANSFER));
        }
        Body::RequestVoteReply(reply) => {
            out.put_u8(body::REQUEST_VOTE_REPLY);
            out.put_u8(flag(reply.pre_vote, PRE_VOTE) | flag(reply.granted, GRANTED));
            put_position(out, reply.last);
        }
        Body::AppendEntries(append) => {
            out.put_u8(body::APPEND_ENTRIES);
            put_entries(out, &append.entries);
            put_varint(out, append.leader_commit.0);
            put_varint(out, append.session.0);
        }
        Body::AppendAccepted(accepted) => {
            out.put_u8(body::APPEND_ACCEPTED);
            put_varint(out, accepted.matched.0);
            put_varint(out, accepted.session.0);
        }
        Body::AppendRejected(rejected) => {
            out.put_u8(body::APPEND_REJECTED);
            put_varint(out, rejected.rejected.0);
            put_position(out, rejected.hint);
            put_varint(out, rejected.session.0);
        }
        Body::Heartbeat(heartbeat) => {
            out.put_u8(body::HEARTBEAT);
            put_varint(out, heartbeat.round);
            put_varint(out, heartbeat.commit.0);
            put_varint(out, heartbeat.session.0);
        }
        Body::HeartbeatReply(reply) => {
            out.put_u8(body::HEARTBEAT_REPLY);
            put_varint(out, reply.round);
            put_varint(out, reply.session.0);
            put_varint(out, u64::from(reply.promise_ticks));
        }
        Body::InstallSnapshot(meta) => {
            out.put_u8(body::INSTALL_SNAPSHOT);
            put_snapshot_meta(out, meta);
        }
        Body::TimeoutNow => out.put_u8(body::TIMEOUT_NOW),
        Body::Resigned => out.put_u8(body::RESIGNED),
        Body::Excluded(exclusion) => {
            out.put_u8(body::EXCLUDED);
            put_exclusion(out, exclusion);
        }
        Body::Pull(pull) => {
            out.put_u8(body::PULL);
            put_position(out, pull.last);
            put_position(out, pull.behind);
        }
        Body::Pulled(entries) => {
            out.put_u8(body::PULLED);
            put_entries(out, entries);
        }
        Body::ReadIndex(id) => {
            out.put_u8(body::READ_INDEX);
            put_varint(out, id.0);
        }
        Body::ReadIndexReply { id, index } => {
            out.put_u8(body::READ_INDEX_REPLY);
            put_varint(out, id.0);
            out.put_u8(u8::from(index.is_some()));
            if let Some(index) = index {
                put_varint(out, index.0);
            }
        }
    }
}

/// Reads a message.
pub(super) fn message(reader: &mut Reader) -> Result<Message, FrameError> {
    let term = Term(reader.varint("message term")?);
    let known = reader.flags("incarnation given", 1)? == 1;
    let incarnation = if known { Some(Incarnation(reader.fixed("incarnation")?)) } else { None };
    let offset = reader.offset();
    let kind = reader.byte("message kind")?;
    let body =
        body(reader, kind)?.ok_or(FrameError::Invalid { what: "message kind", offset, value: u64::from(kind) })?;
    Ok(Message { term, incarnation, body })
}

/// Reads a body of this kind; none where there is no such kind.
fn body(reader: &mut Reader, kind: u8) -> Result<Option<Body>, FrameError> {
    Ok(Some(match kind {
        body::REQUEST_VOTE => {
            let last = position(reader)?;
            let flags = reader.flags("vote request flags", PRE_VOTE | TRANSFER)?;
            Body::RequestVote(RequestVote { last, pre_vote: flags & PRE_VOTE != 0, transfer: flags & TRANSFER != 0 })
        }
        body::REQUEST_VOTE_REPLY => {
            let flags = reader.flags("vote flags", PRE_VOTE | GRANTED)?;
            let (granted, pre_vote) = (flags & GRANTED != 0, flags & PRE_VOTE != 0);
            Body::RequestVoteReply(RequestVoteReply { granted, pre_vote, last: position(reader)? })
        }
        body::APPEND_ENTRIES => Body::AppendEntries(AppendEntries {
            entries: entries(reader)?,
            leader_commit: index(reader, "leader commit")?,
            session: index(reader, "session")?,
        }),
        body::APPEND_ACCEPTED => Body::AppendAccepted(AppendAccepted {
            matched: index(reader, "matched")?,
            session: index(reader, "session")?,
        }),
        body::APPEND_REJECTED => Body::AppendRejected(AppendRejected {
            rejected: index(reader, "rejected")?,
            hint: position(reader)?,
            session: index(reader, "session")?,
        }),
        body::HEARTBEAT => Body::Heartbeat(Heartbeat {
            round: reader.varint("round")?,
            commit: index(reader, "commit")?,
            session: index(reader, "session")?,
        }),
        body::HEARTBEAT_REPLY => Body::HeartbeatReply(HeartbeatReply {
            round: reader.varint("round")?,
            session: index(reader, "session")?,
            promise_ticks: reader.small("promise ticks")?,
        }),
        body::INSTALL_SNAPSHOT => Body::InstallSnapshot(snapshot_meta(reader)?),
        body::TIMEOUT_NOW => Body::TimeoutNow,
        body::RESIGNED => Body::Resigned,
        body::EXCLUDED => Body::Excluded(exclusion(reader)?),
        body::PULL => Body::Pull(Pull { last: position(reader)?, behind: position(reader)? }),
        body::PULLED => Body::Pulled(entries(reader)?),
        body::READ_INDEX => Body::ReadIndex(ReadId(reader.varint("read id")?)),
        body::READ_INDEX_REPLY => {
            let id = ReadId(reader.varint("read id")?);
            let known = reader.flags("read index given", 1)? == 1;
            Body::ReadIndexReply { id, index: if known { Some(index(reader, "read index")?) } else { None } }
        }
        _ => return Ok(None),
    }))
}

fn put_exclusion(out: &mut BytesMut, exclusion: &Exclusion) {
    match exclusion {
        Exclusion::Removed { at } => {
            out.put_u8(0);
            put_varint(out, at.0);
        }
        Exclusion::Stranger { at, member } => {
            out.put_u8(STRANGER);
            put_varint(out, at.0);
            out.put_u64_le(member.0);
        }
    }
}

fn exclusion(reader: &mut Reader) -> Result<Exclusion, FrameError> {
    let flags = reader.flags("exclusion flags", STRANGER)?;
    let at = index(reader, "exclusion index")?;
    Ok(if flags & STRANGER == 0 {
        Exclusion::Removed { at }
    } else {
        Exclusion::Stranger { at, member: Incarnation(reader.fixed("member's incarnation")?) }
    })
}

fn put_entries(out: &mut BytesMut, entries: &Entries) {
    put_position(out, entries.prev);
    put_varint(out, entries.last.0);
    put_varint(out, entries.runs.len() as u64);
    for run in entries.runs.iter() {
        put_varint(out, run.term.0);
        put_varint(out, run.first.0);
    }
    put_varint(out, entries.configurations.len() as u64);
    for (index, configuration) in entries.configurations.iter() {
        put_varint(out, index.0);
        put_configuration(out, configuration);
    }
}

fn entries(reader: &mut Reader) -> Result<Entries, FrameError> {
    let prev = position(reader)?;
    let offset = reader.offset();
    let last = index(reader, "last")?;
    if last < prev.index {
        return Err(FrameError::Invalid { what: "last", offset, value: last.0 });
    }
    Ok(Entries {
        prev,
        last,
        runs: runs(reader, prev, last)?,
        configurations: configurations(reader, prev, last)?.into(),
    })
}

/// Reads the runs of the entries behind `prev` up to `last`: they cover these and nothing else, in order.
fn runs(reader: &mut Reader, prev: LogPosition, last: Index) -> Result<TermRuns, FrameError> {
    let offset = reader.offset();
    let count = reader.count("runs", 2)?;
    if (count == 0) != (last == prev.index) {
        return Err(FrameError::Invalid { what: "runs", offset, value: count as u64 });
    }
    let mut runs = TermRuns::None;
    for _ in 0..count {
        let offset = reader.offset();
        let run = TermRun { term: Term(reader.varint("run term")?), first: index(reader, "run first")? };
        let in_order = match runs.last() {
            None => run.term >= prev.term && run.first == prev.index.next(),
            Some(before) => run.term > before.term && run.first > before.first,
        };
        if !in_order || run.first > last {
            return Err(FrameError::Invalid { what: "run first", offset, value: run.first.0 });
        }
        runs.push(run);
    }
    Ok(runs)
}

/// Reads the configurations among the entries behind `prev` up to `last`.
fn configurations(
    reader: &mut Reader,
    prev: LogPosition,
    last: Index,
) -> Result<Vec<(Index, Arc<Configuration>)>, FrameError> {
    let count = reader.count("configurations", CONFIGURATION_BYTES_MIN)?;
    let mut configurations: Vec<(Index, Arc<Configuration>)> = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = reader.offset();
        let at = index(reader, "configuration index")?;
        let before = configurations.last().map_or(prev.index, |(index, _)| *index);
        if at <= before || at > last {
            return Err(FrameError::Invalid { what: "configuration index", offset, value: at.0 });
        }
        configurations.push((at, configuration(reader)?));
    }
    Ok(configurations)
}

fn index(reader: &mut Reader, what: &'static str) -> Result<Index, FrameError> {
    reader.varint(what).map(Index)
}

const fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}
