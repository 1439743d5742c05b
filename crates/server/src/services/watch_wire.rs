//! Watch answers, from the store's shared events to bytes or to messages.
//!
//! An event reaches many watchers, and has the same bytes in the answer to each: they are made once. An answer is then put
//! together from its own few bytes and those of its events.

use bytes::{Bytes, BytesMut};
use kontiki_api::rpc::{self, ResponseHeader};
use kontiki_kv::{Event, KeyValue};
use kontiki_store::{SharedEvent, WatchKind, WatchResponse};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::convert;
use crate::grpc::write_prefix;
use crate::services::pair_wire::{Pair, field_len, open};

/// One message of an answer: all of it, or a part of its events.
pub(crate) struct Part<'a> {
    /// Everything but the events.
    pub(crate) frame: rpc::WatchResponse,
    /// The events.
    pub(crate) events: &'a [SharedEvent],
    /// Whether events show what was there before.
    pub(crate) prev_kv: bool,
}

/// The messages of an answer: one, unless it is larger than `part_bytes_max` and the client takes parts.
pub(crate) fn parts(
    header: impl Fn(i64) -> ResponseHeader,
    response: &WatchResponse,
    part_bytes_max: Option<usize>,
) -> Vec<Part<'_>> {
    let frame = frame(header, response);
    let prev_kv = response.prev_kv;
    let WatchKind::Events(events) = &response.kind else {
        return vec![Part { frame, events: &[], prev_kv }];
    };
    let mut parts = Vec::with_capacity(1);
    let mut rest = events.as_slice();
    while let Some(limit) = part_bytes_max {
        let fitting = fitting(frame.encoded_len(), rest, prev_kv, limit);
        if fitting == rest.len() {
            break;
        }
        let (events, behind) = rest.split_at(fitting);
        parts.push(Part { frame: rpc::WatchResponse { fragment: true, ..frame.clone() }, events, prev_kv });
        rest = behind;
    }
    parts.push(Part { frame, events: rest, prev_kv });
    parts
}

/// How many events stay below the limit together: at least one.
fn fitting(mut bytes: usize, events: &[SharedEvent], prev_kv: bool, limit: usize) -> usize {
    for (count, event) in events.iter().enumerate() {
        bytes += wire_len(event, prev_kv);
        if bytes >= limit && count > 0 {
            return count;
        }
    }
    events.len()
}

/// Everything of an answer but its events.
fn frame(header: impl Fn(i64) -> ResponseHeader, response: &WatchResponse) -> rpc::WatchResponse {
    let mut frame = rpc::WatchResponse {
        header: Some(header(response.revision)),
        watch_id: response.watch_id,
        ..rpc::WatchResponse::default()
    };
    match &response.kind {
        WatchKind::Created => frame.created = true,
        WatchKind::Rejected(reason) => {
            frame.created = true;
            frame.canceled = true;
            frame.cancel_reason.clone_from(reason);
        }
        WatchKind::Canceled { compact_revision } => {
            frame.canceled = true;
            frame.compact_revision = *compact_revision;
            if *compact_revision > 0 {
                frame.header = Some(header(0));
            }
        }
        WatchKind::Events(_) | WatchKind::Progress => {}
    }
    frame
}

const EVENTS: u32 = 11;
const EVENT_TYPE: u32 = 1;
const EVENT_KV: u32 = 2;
const EVENT_PREV_KV: u32 = 3;

impl Part<'_> {
    /// As a message, for JSON.
    pub(crate) fn message(&self) -> rpc::WatchResponse {
        let events = self.events.iter().map(|event| convert::event(event, self.prev_kv)).collect();
        rpc::WatchResponse { events, ..self.frame.clone() }
    }

    /// Appends the message with gRPC's prefix; gives its bytes.
    pub(crate) fn write(&self, out: &mut Assembly) -> usize {
        let events: usize = self.events.iter().map(|event| wire_len(event, self.prev_kv)).sum();
        let length = self.frame.encoded_len() + events;
        out.buffer.reserve(crate::grpc::PREFIX + length.min(FRAME_BYTES));
        write_prefix(&mut out.buffer, length);
        self.frame.encode_raw(&mut out.buffer);
        for event in self.events {
            match event.encoded(self.prev_kv, |event| encoded(event, self.prev_kv)) {
                Some(bytes) => out.put(bytes),
                None => write_event(event, self.prev_kv, &mut out.buffer),
            }
        }
        crate::grpc::PREFIX + length
    }
}

/// Answers are gathered up to this size before they are sent.
pub(crate) const FRAME_BYTES: usize = 64 * 1024;
/// Events of at least so many bytes are not copied: all who watch them send the same memory.
const SHARED_BYTES: usize = 4 * 1024;

/// Bytes on their way out: small ones gathered, large ones as they are.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    buffer: BytesMut,
    ready: Vec<Bytes>,
    ready_bytes: usize,
}

impl Assembly {
    fn put(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES {
            self.buffer.extend_from_slice(bytes);
            return;
        }
        self.turn();
        self.ready_bytes += bytes.len();
        self.ready.push(bytes.clone());
    }

    fn turn(&mut self) {
        if !self.buffer.is_empty() {
            self.ready_bytes += self.buffer.len();
            self.ready.push(self.buffer.split().freeze());
        }
    }

    /// Whether that is enough for one go.
    pub(crate) fn is_full(&self) -> bool {
        self.ready_bytes + self.buffer.len() >= FRAME_BYTES
    }

    /// Everything, in order.
    pub(crate) fn take(&mut self) -> std::vec::Drain<'_, Bytes> {
        self.turn();
        self.ready_bytes = 0;
        self.ready.drain(..)
    }
}

/// Bytes of an event as a field of the answer.
fn wire_len(event: &SharedEvent, prev_kv: bool) -> usize {
    match event.encoded(prev_kv, |event| encoded(event, prev_kv)) {
        Some(bytes) => bytes.len(),
        None => field_len(EVENTS, event_len(event, prev_kv)),
    }
}

/// An event as a field of the answer, for everyone who gets it.
fn encoded(event: &Event, prev_kv: bool) -> Bytes {
    let mut buffer = BytesMut::with_capacity(field_len(EVENTS, event_len(event, prev_kv)));
    write_event(event, prev_kv, &mut buffer);
    buffer.freeze()
}

fn event_len(event: &Event, prev_kv: bool) -> usize {
    let kind = match convert::event_type(event.kind) {
        0 => 0,
        number => key_len(EVENT_TYPE) + encoded_len_varint(number as u64),
    };
    kind + field_len(EVENT_KV, Pair::from(&event.kv).encoded_len())
        + shown(event, prev_kv).map_or(0, |prev| field_len(EVENT_PREV_KV, Pair::from(prev).encoded_len()))
}

fn shown(event: &Event, prev_kv: bool) -> Option<&KeyValue> {
    event.prev_kv.as_ref().filter(|_| prev_kv)
}

fn write_event(event: &Event, prev_kv: bool, buffer: &mut BytesMut) {
    open(EVENTS, event_len(event, prev_kv), buffer);
    let kind = convert::event_type(event.kind);
    if kind != 0 {
        encode_key(EVENT_TYPE, WireType::Varint, buffer);
        encode_varint(kind as u64, buffer);
    }
    Pair::from(&event.kv).write(EVENT_KV, buffer);
    if let Some(prev) = shown(event, prev_kv) {
        Pair::from(prev).write(EVENT_PREV_KV, buffer);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use kontiki_kv::EventKind;

    fn event(number: i64, kind: EventKind) -> SharedEvent {
        let kv = |value: &'static str| KeyValue {
            key: format!("key{number}").into(),
            value: value.into(),
            create_revision: 2,
            mod_revision: number << 40,
            version: number,
            lease: -number,
        };
        SharedEvent::from(match kind {
            EventKind::Put => Event { kind, kv: kv("now"), prev_kv: Some(kv("before")) },
            EventKind::Delete => Event {
                kind,
                kv: KeyValue { key: "gone".into(), mod_revision: 5, ..KeyValue::default() },
                prev_kv: None,
            },
        })
    }

    fn header(revision: i64) -> ResponseHeader {
        ResponseHeader { cluster_id: u64::MAX, member_id: 7, revision, raft_term: 3 }
    }

    fn bytes(part: &Part<'_>) -> Vec<u8> {
        let mut out = Assembly::default();
        let length = part.write(&mut out);
        let bytes = out.take().collect::<Vec<_>>().concat();
        assert_eq!(bytes.len(), length);
        bytes
    }

    /// The same events, which nobody else has.
    fn unshared(kind: &WatchKind) -> WatchKind {
        match kind {
            WatchKind::Events(events) => {
                WatchKind::Events(events.iter().map(|event| SharedEvent::from(Event::clone(event))).collect())
            }
            other => other.clone(),
        }
    }

    #[test]
    fn bytes_are_those_of_the_message() {
        let mut large = Event::clone(&event(4, EventKind::Put));
        large.kv.value = vec![7; SHARED_BYTES].into();
        let mut events = vec![event(1, EventKind::Put), event(2, EventKind::Delete), event(3, EventKind::Put)];
        events.insert(1, large.into());
        for prev_kv in [false, true] {
            for kind in [
                WatchKind::Created,
                WatchKind::Rejected("no".into()),
                WatchKind::Progress,
                WatchKind::Canceled { compact_revision: 9 },
                WatchKind::Events(events.clone()),
            ] {
                let response = WatchResponse { watch_id: -1, revision: 12, prev_kv, kind };
                let parts = parts(header, &response, None);
                assert_eq!(parts.len(), 1);
                assert_eq!(bytes(&parts[0]), crate::grpc::encode(&parts[0].message()));
                let alone = WatchResponse { kind: unshared(&response.kind), ..response.clone() };
                let parts = super::parts(header, &alone, None);
                assert_eq!(bytes(&parts[0]), crate::grpc::encode(&parts[0].message()), "without sharing");
            }
        }
    }

    #[test]
    fn a_compacted_watch_shows_no_revision() {
        let kind = WatchKind::Canceled { compact_revision: 9 };
        let response = WatchResponse { watch_id: 4, revision: 12, prev_kv: false, kind };
        let message = parts(header, &response, None)[0].message();
        assert_eq!(message.header.unwrap().revision, 0);
        assert_eq!((message.canceled, message.compact_revision, message.cancel_reason.as_str()), (true, 9, ""));
    }

    #[test]
    fn large_answers_come_in_parts_where_the_client_takes_them() {
        let events: Vec<_> = (1..=10).map(|number| event(number, EventKind::Put)).collect();
        let response = WatchResponse { watch_id: 1, revision: 12, prev_kv: true, kind: WatchKind::Events(events) };
        let whole = parts(header, &response, None)[0].message();
        for limit in [1, 200, 400, whole.encoded_len() + 1] {
            let parts = parts(header, &response, Some(limit));
            let (last, others) = parts.split_last().unwrap();
            assert!(others.iter().all(|part| part.frame.fragment) && !last.frame.fragment);
            assert!(parts.iter().all(|part| part.events.len() == 1 || part.message().encoded_len() < limit));
            let joined: Vec<_> = parts.iter().flat_map(|part| part.message().events).collect();
            assert_eq!(joined, whole.events, "limit {limit}");
        }
    }
}
