//! Ranges with answers too large to be put together: read twice, once for the lengths and once for the bytes, and sent as
//! they are read.
//!
//! gRPC says how long a message is before its first byte, so the first pass adds up lengths and reads no value. The second
//! one writes piece after piece as fast as the client takes them. Both read one revision, from layers that are kept as long
//! as the client keeps up. What an answer holds is a few pieces, however much it carries.

use bytes::{Bytes, BytesMut};
use kontiki_api::kv::KeyValue;
use kontiki_api::rpc::{self, ResponseHeader};
use kontiki_kv::{Failure, Found, RangePages, RangeRequest};
use prost::Message;
use serde::Serialize;
use tokio::sync::mpsc;
use tonic::Status;

use crate::call::StreamEnd;
use crate::front::Front;
use crate::grpc::{self, AnswerStream};
use crate::services::pair_wire::{Pair, field_len, open};
use crate::services::turns::Turn;

/// What an answer holds at most, in MiB.
const WEIGHT: u32 = 1;
/// An answer up to this size is put together at once.
const WHOLE_BYTES: usize = 256 * 1024;
/// How much is read and sent at a time.
const PIECE_BYTES: usize = 64 * 1024;
/// Keys that are looked at before other tasks have their turn.
const KEYS_PER_TURN: usize = 4096;
/// The longest message that etcd sends.
const MESSAGE_BYTES_MAX: u64 = i32::MAX as u64;

const HEADER: u32 = 1;
const KVS: u32 = 2;

/// What a range came to.
pub(crate) enum Ranged {
    /// All of it.
    Whole(rpc::RangeResponse),
    /// More than is put together at once.
    Long(Box<LongRange>),
}

/// An answer that is sent as it is read.
#[derive(Debug)]
pub(crate) struct LongRange {
    pages: RangePages,
    turn: Turn,
    header: ResponseHeader,
    /// Read already, not yet sent.
    begun: Vec<KeyValue>,
}

/// Reads a range in the order of keys: all of it, or its beginning where it is long.
pub(crate) async fn begin(front: &Front, request: RangeRequest) -> Result<Ranged, Status> {
    let mut waited: Option<Turn> = None;
    loop {
        let mut pages = front.store.reader().pages(request.clone()).map_err(|failure| front.read_failed(failure))?;
        let mut begun = Vec::new();
        let goes_on = pages.page(usize::MAX, WHOLE_BYTES, |found| begun.push(key_value(found)));
        let goes_on = goes_on.map_err(|failure| front.read_failed(failure))?;
        let header = front.header(pages.revision());
        if !goes_on {
            let (more, count) = pages.finish().map_err(|failure| front.read_failed(failure))?;
            return Ok(Ranged::Whole(rpc::RangeResponse { header: Some(header), kvs: begun, more, count }));
        }
        let mut turn = waited.take().unwrap_or_else(|| front.turns.try_begin(WEIGHT));
        if turn.has_come() {
            return Ok(Ranged::Long(Box::new(LongRange { pages, turn, header, begun })));
        }
        // Nothing is held while it waits; what is read then is no older.
        drop((pages, begun));
        turn.come().await;
        waited = Some(turn);
    }
}

fn key_value(found: Found<'_>) -> KeyValue {
    KeyValue {
        key: Bytes::copy_from_slice(found.key),
        create_revision: found.create_revision,
        mod_revision: found.mod_revision,
        version: found.version,
        value: found.value.clone(),
        lease: found.lease,
    }
}

impl LongRange {
    /// Sends it as one gRPC message. Gives the bytes sent.
    pub(crate) async fn send(mut self, front: &Front, answers: &mut AnswerStream) -> Result<usize, StreamEnd> {
        let failed = |failure: Failure| StreamEnd::from(front.read_failed(failure));
        let tail = self.measure().await.map_err(failed)?;
        let total = tail.header_len + tail.kvs_len + tail.rest.encoded_len() as u64;
        if total > MESSAGE_BYTES_MAX {
            let text = format!("grpc: trying to send message larger than max ({total} vs. {MESSAGE_BYTES_MAX})");
            return Err(Status::resource_exhausted(text).into());
        }
        let mut buffer = BytesMut::with_capacity(WHOLE_BYTES + PIECE_BYTES);
        grpc::write_prefix(&mut buffer, total as usize);
        open(HEADER, self.header.encoded_len(), &mut buffer);
        self.header.encode_raw(&mut buffer);
        for kv in std::mem::take(&mut self.begun) {
            open(KVS, kv.encoded_len(), &mut buffer);
            kv.encode_raw(&mut buffer);
        }
        let mut sent = 0;
        loop {
            let ends = buffer.len() < PIECE_BYTES && !self.read(&mut buffer).map_err(failed)?;
            if ends {
                tail.rest.encode_raw(&mut buffer);
            }
            let piece = if ends { buffer.split() } else { buffer.split_to(buffer.len().min(PIECE_BYTES)) };
            sent += piece.len();
            let (turn, pages) = (&mut self.turn, &mut self.pages);
            turn.room(answers.ready(), || pages.release()).await?;
            answers.send(piece.freeze())?;
            if ends {
                assert_eq!(sent as u64, grpc::PREFIX as u64 + total, "both passes read the same revision");
                return Ok(sent);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Sends it as JSON text, in pieces. Gives the bytes sent. Where it breaks off, the text is no JSON.
    pub(crate) async fn send_json(mut self, front: &Front, pieces: mpsc::Sender<Bytes>) -> Result<usize, Status> {
        let failed = |failure: Failure| front.read_failed(failure);
        let mut buffer = br#"{"header":"#.to_vec();
        put_json(&mut buffer, &self.header)?;
        buffer.extend_from_slice(br#","kvs":["#);
        let mut begun = std::mem::take(&mut self.begun);
        let (mut sent, mut ends) = (0, false);
        loop {
            for (place, kv) in begun.iter().enumerate() {
                if sent > 0 || place > 0 {
                    buffer.push(b',');
                }
                put_json(&mut buffer, kv)?;
            }
            if ends {
                let (more, count) = self.pages.finish().map_err(failed)?;
                buffer.extend_from_slice(if more { br#"],"more":true"# } else { b"]" });
                buffer.extend_from_slice(format!(r#","count":"{count}"}}"#).as_bytes());
            }
            sent += buffer.len();
            let (turn, pages) = (&mut self.turn, &mut self.pages);
            let room = turn.room(pieces.reserve(), || pages.release()).await;
            room.map_err(|_| Status::cancelled("context canceled"))?.send(std::mem::take(&mut buffer).into());
            if ends {
                return Ok(sent);
            }
            begun.clear();
            ends = !self.pages.page(usize::MAX, PIECE_BYTES, |found| begun.push(key_value(found))).map_err(failed)?;
            tokio::task::yield_now().await;
        }
    }

    /// Appends a piece. False at the end of the range.
    fn read(&mut self, buffer: &mut BytesMut) -> Result<bool, Failure> {
        buffer.reserve(PIECE_BYTES);
        self.pages.page(usize::MAX, PIECE_BYTES, |found| Pair::from(found).write(KVS, buffer))
    }

    /// Goes through what is left without reading values.
    async fn measure(&mut self) -> Result<Tail, Failure> {
        let header_len = field_len(HEADER, self.header.encoded_len()) as u64;
        let mut kvs_len: u64 = self.begun.iter().map(|kv| field_len(KVS, kv.encoded_len()) as u64).sum();
        let mut ahead = self.pages.lengths();
        loop {
            let goes_on = ahead.page(KEYS_PER_TURN, usize::MAX, |found| {
                kvs_len += field_len(KVS, Pair::from(found).encoded_len()) as u64;
            })?;
            if !goes_on {
                break;
            }
            tokio::task::yield_now().await;
        }
        let (more, count) = ahead.finish()?;
        Ok(Tail { header_len, kvs_len, rest: rpc::RangeResponse { more, count, ..rpc::RangeResponse::default() } })
    }
}

fn put_json(text: &mut Vec<u8>, message: &impl Serialize) -> Result<(), Status> {
    let written = serde_json::to_writer(text, message);
    written.map_err(|error| Status::internal(format!("the answer has no JSON form: {error}")))
}

/// How long the parts are, and what stands behind the pairs.
struct Tail {
    header_len: u64,
    kvs_len: u64,
    rest: rpc::RangeResponse,
}
