//! The messages of the consensus core on the wire: term, kind of body, fields of the body.

use bytes::{BufMut, BytesMut};
use kontiki_raft::{
    AppendAccepted, AppendEntries, AppendRejected, Body, Configuration, Heartbeat, HeartbeatReply, Index, LogPosition,
    Message, ReadId, RequestVote, RequestVoteReply, Term, TermRun,
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
}

/// Bits of the flags of a vote and of its request.
const PRE_VOTE: u8 = 1;
const TRANSFER: u8 = 2;
const GRANTED: u8 = 2;

/// Appends a message.
pub(super) fn put_message(out: &mut BytesMut, message: &Message) {
    put_varint(out, message.term.0);
    match &message.body {
        Body::RequestVote(request) => {
            out.put_u8(body::REQUEST_VOTE);
            put_position(out, request.last);
            out.put_u8(flag(request.pre_vote, PRE_VOTE) | flag(request.transfer, TRANSFER));
        }
        Body::RequestVoteReply(reply) => {
            out.put_u8(body::REQUEST_VOTE_REPLY);
            out.put_u8(flag(reply.pre_vote, PRE_VOTE) | flag(reply.granted, GRANTED));
        }
        Body::AppendEntries(append) => {
            out.put_u8(body::APPEND_ENTRIES);
            put_append_entries(out, append);
        }
        Body::AppendAccepted(accepted) => {
            out.put_u8(body::APPEND_ACCEPTED);
            put_varint(out, accepted.matched.0);
        }
        Body::AppendRejected(rejected) => {
            out.put_u8(body::APPEND_REJECTED);
            put_varint(out, rejected.rejected.0);
            put_position(out, rejected.hint);
        }
        Body::Heartbeat(heartbeat) => {
            out.put_u8(body::HEARTBEAT);
            put_varint(out, heartbeat.round);
            put_varint(out, heartbeat.commit.0);
        }
        Body::HeartbeatReply(reply) => {
            out.put_u8(body::HEARTBEAT_REPLY);
            put_varint(out, reply.round);
        }
        Body::InstallSnapshot(meta) => {
            out.put_u8(body::INSTALL_SNAPSHOT);
            put_snapshot_meta(out, meta);
        }
        Body::TimeoutNow => out.put_u8(body::TIMEOUT_NOW),
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
    let offset = reader.offset();
    let body = match reader.byte("message kind")? {
        body::REQUEST_VOTE => {
            let last = position(reader)?;
            let flags = reader.flags("vote request flags", PRE_VOTE | TRANSFER)?;
            Body::RequestVote(RequestVote { last, pre_vote: flags & PRE_VOTE != 0, transfer: flags & TRANSFER != 0 })
        }
        body::REQUEST_VOTE_REPLY => {
            let flags = reader.flags("vote flags", PRE_VOTE | GRANTED)?;
            Body::RequestVoteReply(RequestVoteReply { granted: flags & GRANTED != 0, pre_vote: flags & PRE_VOTE != 0 })
        }
        body::APPEND_ENTRIES => Body::AppendEntries(append_entries(reader)?),
        body::APPEND_ACCEPTED => Body::AppendAccepted(AppendAccepted { matched: index(reader, "matched")? }),
        body::APPEND_REJECTED => {
            Body::AppendRejected(AppendRejected { rejected: index(reader, "rejected")?, hint: position(reader)? })
        }
        body::HEARTBEAT => {
            Body::Heartbeat(Heartbeat { round: reader.varint("round")?, commit: index(reader, "commit")? })
        }
        body::HEARTBEAT_REPLY => Body::HeartbeatReply(HeartbeatReply { round: reader.varint("round")? }),
        body::INSTALL_SNAPSHOT => Body::InstallSnapshot(snapshot_meta(reader)?),
        body::TIMEOUT_NOW => Body::TimeoutNow,
        body::READ_INDEX => Body::ReadIndex(ReadId(reader.varint("read id")?)),
        body::READ_INDEX_REPLY => {
            let id = ReadId(reader.varint("read id")?);
            let known = reader.flags("read index given", 1)? == 1;
            Body::ReadIndexReply { id, index: if known { Some(index(reader, "read index")?) } else { None } }
        }
        kind => return Err(FrameError::Invalid { what: "message kind", offset, value: u64::from(kind) }),
    };
    Ok(Message { term, body })
}

fn put_append_entries(out: &mut BytesMut, append: &AppendEntries) {
    put_position(out, append.prev);
    put_varint(out, append.last.0);
    put_varint(out, append.leader_commit.0);
    put_varint(out, append.runs.len() as u64);
    for run in &append.runs {
        put_varint(out, run.term.0);
        put_varint(out, run.first.0);
    }
    put_varint(out, append.configurations.len() as u64);
    for (index, configuration) in &append.configurations {
        put_varint(out, index.0);
        put_configuration(out, configuration);
    }
}

fn append_entries(reader: &mut Reader) -> Result<AppendEntries, FrameError> {
    let prev = position(reader)?;
    let offset = reader.offset();
    let last = index(reader, "last")?;
    if last < prev.index {
        return Err(FrameError::Invalid { what: "last", offset, value: last.0 });
    }
    let leader_commit = index(reader, "leader commit")?;
    let runs = runs(reader, prev, last)?;
    let configurations = configurations(reader, prev, last)?;
    Ok(AppendEntries { prev, last, runs, configurations, leader_commit })
}

/// Reads the runs of the entries behind `prev` up to `last`: they cover these and nothing else, in order.
fn runs(reader: &mut Reader, prev: LogPosition, last: Index) -> Result<Vec<TermRun>, FrameError> {
    let offset = reader.offset();
    let count = reader.count("runs", 2)?;
    if (count == 0) != (last == prev.index) {
        return Err(FrameError::Invalid { what: "runs", offset, value: count as u64 });
    }
    let mut runs: Vec<TermRun> = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = reader.offset();
        let run = TermRun { term: Term(reader.varint("run term")?), first: index(reader, "run first")? };
        let in_order = match runs.last() {
            None => run.term >= prev.term && run.first == prev.index.next(),
            Some(before) => run.term >= before.term && run.first > before.first,
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
) -> Result<Vec<(Index, Configuration)>, FrameError> {
    let count = reader.count("configurations", 4)?;
    let mut configurations: Vec<(Index, Configuration)> = Vec::with_capacity(count);
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
