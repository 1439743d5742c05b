//! The shape of a frame on the wire, described in `docs/formats/peer.md`:
//!
//! ```text
//! u32 length | u32 crc32c | u8 kind | fields | payload count | payload lengths | payload bytes
//!             '----------' covers everything behind it; `length` counts the same bytes
//! ```
//!
//! The payload bytes stand last, so that the head of a frame can be built in one small buffer and large payloads be
//! written to the socket from where they lie.

mod configuration;
mod raft;
mod repair;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};
use kontiki_raft::{GroupId, Index, LogPosition, SnapshotMeta, Term};

use self::configuration::{configuration, put_configuration};
use crate::error::FrameError;
use crate::frame::Frame;
use crate::wire::{COUNT_MAX, Reader, put_varint};

/// Size of a frame's head: length and checksum.
pub const HEADER_BYTES: usize = 8;

/// No frame has more bytes behind its head.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Appends a frame to a buffer.
///
/// # Panics
///
/// If the frame breaks the sender's duties: more than [`FRAME_BYTES_MAX`] bytes, an `AppendEntries` or `Pulled` with
/// another number of payloads than of entries, or a `Repaired` with payloads of entries that its runs do not cover.
pub fn encode(frame: &Frame, out: &mut BytesMut) {
    encode_head(frame, out).expect("the sender keeps its frames below the limits");
    for payload in frame.payloads() {
        out.extend_from_slice(payload);
    }
}

/// Reads the frame that `bytes` is, head included. Payloads of the result share the memory of `bytes`.
///
/// # Errors
///
/// If `bytes` is not exactly one well-formed frame.
pub fn decode(bytes: Bytes) -> Result<Frame, FrameError> {
    match decode_packet(bytes)? {
        Packet::Frame(frame) => Ok(frame),
        Packet::Ping(_) => Err(FrameError::UnknownKind { kind: kind::PING }),
        Packet::Pong(_) => Err(FrameError::UnknownKind { kind: kind::PONG }),
    }
}

/// Takes the first frame off a stream's buffer, unread, for [`decode`]. None while it is not there as a whole.
///
/// # Errors
///
/// If the head claims a length that no frame has.
pub fn split_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    let Some(length) = frame_length(buffer)? else { return Ok(None) };
    Ok((buffer.len() >= length).then(|| buffer.split_to(length).freeze()))
}

/// The size of the first frame in a stream's buffer, head included, once that much of it is there.
pub(crate) fn frame_length(buffer: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length);
    if length as usize > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { length: u64::from(length), max: FRAME_BYTES_MAX as u64 });
    }
    Ok(Some(HEADER_BYTES + length as usize))
}

/// What comes over a connection: frames, and the connection's own small talk.
pub(crate) enum Packet {
    /// For the layer above.
    Frame(Frame),
    /// Asks for the same number back.
    Ping(u64),
    /// Gives it back.
    Pong(u64),
}

/// Appends everything of a frame but the bytes of its payloads, which must follow. Returns the size of the whole.
///
/// # Errors
///
/// [`FrameError::TooLong`] or [`FrameError::Invalid`] if the frame is over a limit; then nothing is appended.
pub(crate) fn encode_head(frame: &Frame, out: &mut BytesMut) -> Result<usize, FrameError> {
    let payloads = frame.payloads();
    let expected = frame.payloads_expected().unwrap_or(payloads.len() as u64);
    assert_eq!(
        payloads.len() as u64,
        expected,
        "AppendEntries and Pulled carry one payload for each entry, other messages none"
    );
    if let Frame::Repaired { held, payloads, .. } = frame {
        assert!(repair::covers(held, payloads.len() as u64), "Repaired carries entries that its runs cover");
    }
    if payloads.len() > COUNT_MAX {
        return Err(FrameError::Invalid { what: "payload count", offset: 0, value: payloads.len() as u64 });
    }
    let start = out.len();
    out.put_bytes(0, HEADER_BYTES);
    put_fields(out, frame);
    put_varint(out, payloads.len() as u64);
    for payload in payloads {
        put_varint(out, payload.len() as u64);
    }
    let sealed = seal(out, start, payloads);
    if sealed.is_err() {
        out.truncate(start);
    }
    sealed
}

/// Appends a ping, or the pong that answers it.
pub(crate) fn encode_echo(out: &mut BytesMut, kind: u8, stamp: u64) {
    let start = out.len();
    out.put_bytes(0, HEADER_BYTES);
    out.put_u8(kind);
    out.put_u64_le(stamp);
    seal(out, start, &[]).expect("nine bytes are below the limit");
}

/// Reads whatever a connection may carry.
pub(crate) fn decode_packet(bytes: Bytes) -> Result<Packet, FrameError> {
    let whole = frame_length(&bytes)?.unwrap_or(HEADER_BYTES);
    let wrong_length = FrameError::WrongLength { expected: whole as u64, found: bytes.len() as u64 };
    let head = bytes.first_chunk::<HEADER_BYTES>().filter(|_| bytes.len() == whole).ok_or(wrong_length)?;
    let expected = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let found = crc32c::crc32c(&bytes[HEADER_BYTES..]);
    if expected != found {
        return Err(FrameError::Checksum { expected, found });
    }
    let mut reader = Reader::new(bytes, HEADER_BYTES);
    let packet = match reader.byte("kind")? {
        kind::PING => Packet::Ping(reader.fixed("ping")?),
        kind::PONG => Packet::Pong(reader.fixed("pong")?),
        kind => Packet::Frame(read_frame(&mut reader, kind)?),
    };
    reader.finish()?;
    Ok(packet)
}

/// The kinds of frame on the wire. A number is never given a second meaning.
pub(crate) mod kind {
    pub(crate) const RAFT: u8 = 0x01;
    pub(crate) const FORWARD: u8 = 0x02;
    pub(crate) const CALL: u8 = 0x03;
    pub(crate) const ANSWER: u8 = 0x04;
    pub(crate) const SNAPSHOT_CHUNK: u8 = 0x05;
    pub(crate) const SNAPSHOT_ACK: u8 = 0x06;
    pub(crate) const REPAIR: u8 = 0x07;
    pub(crate) const REPAIRED: u8 = 0x08;
    pub(crate) const REFUSED: u8 = 0x09;
    pub(crate) const PING: u8 = 0xf0;
    pub(crate) const PONG: u8 = 0xf1;
}

/// Fills in the head of the frame that begins at `start` and whose payloads will follow. Returns its size.
fn seal(out: &mut BytesMut, start: usize, payloads: &[Bytes]) -> Result<usize, FrameError> {
    let fields = start + HEADER_BYTES;
    let length = out.len() - fields + payloads.iter().map(Bytes::len).sum::<usize>();
    let word = u32::try_from(length)
        .ok()
        .filter(|_| length <= FRAME_BYTES_MAX)
        .ok_or(FrameError::TooLong { length: length as u64, max: FRAME_BYTES_MAX as u64 })?;
    let checksum =
        payloads.iter().fold(crc32c::crc32c(&out[fields..]), |sum, payload| crc32c::crc32c_append(sum, payload));
    out[start..start + 4].copy_from_slice(&word.to_le_bytes());
    out[start + 4..fields].copy_from_slice(&checksum.to_le_bytes());
    Ok(HEADER_BYTES + length)
}

fn put_fields(out: &mut BytesMut, frame: &Frame) {
    match frame {
        Frame::Raft { group, message, .. } => {
            put_start(out, kind::RAFT, *group);
            raft::put_message(out, message);
        }
        Frame::Forward { group, .. } => put_start(out, kind::FORWARD, *group),
        Frame::Call { group, id, .. } => {
            put_start(out, kind::CALL, *group);
            put_varint(out, *id);
        }
        Frame::Answer { group, id, .. } => {
            put_start(out, kind::ANSWER, *group);
            put_varint(out, *id);
        }
        Frame::SnapshotChunk { group, meta, sequence, last, .. } => {
            put_start(out, kind::SNAPSHOT_CHUNK, *group);
            put_snapshot_meta(out, meta);
            put_varint(out, *sequence);
            out.put_u8(u8::from(*last));
        }
        Frame::SnapshotAck { group, position, sequence, accepted } => {
            put_start(out, kind::SNAPSHOT_ACK, *group);
            put_position(out, *position);
            put_varint(out, *sequence);
            out.put_u8(u8::from(*accepted));
        }
        Frame::Repair { group, first, last, bytes_max, state } => {
            put_start(out, kind::REPAIR, *group);
            put_varint(out, first.0);
            put_varint(out, last.0);
            put_varint(out, *bytes_max);
            out.put_u8(u8::from(*state));
        }
        Frame::Repaired { group, held, .. } => {
            put_start(out, kind::REPAIRED, *group);
            repair::put_held(out, held);
        }
        Frame::Refused { group, reason, .. } => {
            put_start(out, kind::REFUSED, *group);
            out.put_u8(*reason);
        }
    }
}

fn put_start(out: &mut BytesMut, kind: u8, group: GroupId) {
    out.put_u8(kind);
    put_varint(out, group.0);
}

/// Reads a frame behind its kind, payloads included.
fn read_frame(reader: &mut Reader, kind: u8) -> Result<Frame, FrameError> {
    if !(kind::RAFT..=kind::REFUSED).contains(&kind) {
        return Err(FrameError::UnknownKind { kind });
    }
    let group = GroupId(reader.varint("group")?);
    let mut frame = match kind {
        kind::RAFT => Frame::Raft { group, message: raft::message(reader)?, payloads: Vec::new() },
        kind::FORWARD => Frame::Forward { group, payloads: Vec::new() },
        kind::CALL => Frame::Call { group, id: reader.varint("call id")?, body: Bytes::new() },
        kind::ANSWER => Frame::Answer { group, id: reader.varint("call id")?, body: Bytes::new() },
        kind::SNAPSHOT_CHUNK => Frame::SnapshotChunk {
            group,
            meta: snapshot_meta(reader)?,
            sequence: reader.varint("chunk sequence")?,
            last: reader.flags("last chunk", 1)? == 1,
            rows: Bytes::new(),
        },
        kind::SNAPSHOT_ACK => Frame::SnapshotAck {
            group,
            position: position(reader)?,
            sequence: reader.varint("chunk sequence")?,
            accepted: reader.flags("chunk accepted", 1)? == 1,
        },
        kind::REPAIR => Frame::Repair {
            group,
            first: Index(reader.varint("first wanted")?),
            last: Index(reader.varint("last wanted")?),
            bytes_max: reader.varint("bytes wanted")?,
            state: reader.flags("state wanted", 1)? == 1,
        },
        kind::REPAIRED => Frame::Repaired { group, held: repair::held(reader)?, payloads: Vec::new() },
        _ => Frame::Refused { group, reason: reader.byte("reason")?, payloads: Vec::new() },
    };
    read_payloads(reader, &mut frame)?;
    Ok(frame)
}

/// Reads the payloads of a frame and puts them where they belong, if they are as many as the fields call for.
fn read_payloads(reader: &mut Reader, frame: &mut Frame) -> Result<(), FrameError> {
    let offset = reader.offset();
    let mut read = reader.payloads()?;
    if frame.payloads_expected().is_some_and(|expected| expected != read.len() as u64) {
        return Err(FrameError::Invalid { what: "payload count", offset, value: read.len() as u64 });
    }
    if let Frame::Repaired { held, .. } = frame
        && !repair::covers(held, read.len() as u64)
    {
        return Err(FrameError::Invalid { what: "payload count", offset, value: read.len() as u64 });
    }
    match frame {
        Frame::Raft { payloads, .. }
        | Frame::Forward { payloads, .. }
        | Frame::Repaired { payloads, .. }
        | Frame::Refused { payloads, .. } => {
            *payloads = read;
        }
        Frame::Call { body: one, .. } | Frame::Answer { body: one, .. } | Frame::SnapshotChunk { rows: one, .. } => {
            *one = read.pop().unwrap_or_default();
        }
        Frame::SnapshotAck { .. } | Frame::Repair { .. } => {}
    }
    Ok(())
}

fn put_position(out: &mut BytesMut, position: LogPosition) {
    put_varint(out, position.term.0);
    put_varint(out, position.index.0);
}

fn position(reader: &mut Reader) -> Result<LogPosition, FrameError> {
    Ok(LogPosition { term: Term(reader.varint("term")?), index: Index(reader.varint("index")?) })
}

fn put_snapshot_meta(out: &mut BytesMut, meta: &SnapshotMeta) {
    put_position(out, meta.position);
    put_configuration(out, &meta.configuration);
}

fn snapshot_meta(reader: &mut Reader) -> Result<SnapshotMeta, FrameError> {
    Ok(SnapshotMeta { position: position(reader)?, configuration: configuration(reader)? })
}
