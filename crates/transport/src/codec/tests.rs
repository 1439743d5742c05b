//! Golden bytes of every kind of frame, both ways; properties; garbage.
#![allow(clippy::unwrap_used)]

use kontiki_raft::{
    AppendAccepted, AppendEntries, AppendRejected, Body, Heartbeat, HeartbeatReply, Message, ReadId, RequestVote,
    RequestVoteReply, TermRun,
};
use proptest::prelude::*;

use super::*;

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition { term: Term(term), index: Index(index) }
}

fn raft(body: Body) -> Frame {
    Frame::Raft { group: GroupId(1), message: Message { term: Term(5), body }, payloads: Vec::new() }
}

fn append() -> Frame {
    let append = AppendEntries {
        prev: at(2, 9),
        last: Index(12),
        runs: vec![TermRun { term: Term(2), first: Index(10) }, TermRun { term: Term(5), first: Index(11) }],
        configurations: vec![(Index(12), Configuration::of([NodeId(1), NodeId(2)]))],
        leader_commit: Index(300),
    };
    Frame::Raft {
        group: GroupId(1),
        message: Message { term: Term(5), body: Body::AppendEntries(append) },
        payloads: vec![Bytes::from_static(b"a"), Bytes::new(), Bytes::from_static(b"cc")],
    }
}

/// Every kind of frame and body once, with its bytes behind the length: checksum, kind, fields, payloads.
fn golden() -> Vec<(Frame, &'static str)> {
    let group = GroupId(200);
    let meta = SnapshotMeta {
        position: at(3, 40),
        configuration: Configuration {
            learners: vec![NodeId(0x0102_0304_0506_0708)],
            ..Configuration::of([NodeId(1)])
        },
    };
    let vote = RequestVote { last: at(4, 7), pre_vote: true, transfer: false };
    let transfer = RequestVote { last: at(4, 7), pre_vote: false, transfer: true };
    vec![
        (raft(Body::RequestVote(vote)), "4a1db3d4 01 01 05 01 04 07 01 00"),
        (raft(Body::RequestVote(transfer)), "d3b554e0 01 01 05 01 04 07 02 00"),
        (
            raft(Body::RequestVoteReply(RequestVoteReply { granted: true, pre_vote: true })),
            "e019e45d 01 01 05 02 03 00",
        ),
        (
            append(),
            "84765380 01 01 05 03 02 09 0c ac02 02 02 0a 05 0b 01 0c 02 0100000000000000 0200000000000000 00 00 03 01 00 02 61 6363",
        ),
        (raft(Body::AppendAccepted(AppendAccepted { matched: Index(12) })), "0ae52c6b 01 01 05 04 0c 00"),
        (
            raft(Body::AppendRejected(AppendRejected { rejected: Index(9), hint: at(1, 6) })),
            "056409cf 01 01 05 05 09 01 06 00",
        ),
        (raft(Body::Heartbeat(Heartbeat { round: 77, commit: Index(300) })), "cf5f9970 01 01 05 06 4d ac02 00"),
        (raft(Body::HeartbeatReply(HeartbeatReply { round: 77 })), "0a7bb76d 01 01 05 07 4d 00"),
        (
            raft(Body::InstallSnapshot(meta.clone())),
            "d6b44cf2 01 01 05 08 03 28 01 0100000000000000 00 01 0807060504030201 00",
        ),
        (raft(Body::TimeoutNow), "8ade0f15 01 01 05 09 00"),
        (raft(Body::ReadIndex(ReadId(128))), "f353ff35 01 01 05 0a 8001 00"),
        (raft(Body::ReadIndexReply { id: ReadId(128), index: Some(Index(12)) }), "eeb6865a 01 01 05 0b 8001 01 0c 00"),
        (raft(Body::ReadIndexReply { id: ReadId(128), index: None }), "2f5f678a 01 01 05 0b 8001 00 00"),
        (
            Frame::Forward { group, payloads: vec![Bytes::from_static(b"put"), Bytes::from_static(b"x")] },
            "0b4cbad8 02 c801 02 03 01 707574 78",
        ),
        (Frame::Call { group, id: 5, body: Bytes::from_static(b"ttl?") }, "1b1ed2e4 03 c801 05 01 04 74746c3f"),
        (Frame::Answer { group, id: 5, body: Bytes::new() }, "35fb338c 04 c801 05 01 00"),
        (
            Frame::SnapshotChunk { group, meta, sequence: 2, last: true, rows: Bytes::from_static(b"rows") },
            "f33815d3 05 c801 03 28 01 0100000000000000 00 01 0807060504030201 02 01 01 04 726f7773",
        ),
        (
            Frame::SnapshotAck { group, position: at(3, 40), sequence: 2, accepted: true },
            "8e581624 06 c801 03 28 02 01 00",
        ),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encoded(frame: &Frame) -> Bytes {
    let mut out = BytesMut::new();
    encode(frame, &mut out);
    out.freeze()
}

#[test]
fn every_kind_of_frame_is_these_bytes() {
    for (frame, golden) in golden() {
        let bytes = encoded(&frame);
        let length = u32::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        assert_eq!(length, bytes.len() - HEADER_BYTES);
        assert_eq!(hex(&bytes[4..]), golden.replace(' ', ""), "{frame:?}");
        assert_eq!(decode(bytes).unwrap(), frame);
    }
}

#[test]
fn payloads_are_slices_of_the_frame() {
    let bytes = encoded(&append());
    let range = bytes.as_ptr_range();
    for payload in decode(bytes).unwrap().payloads() {
        assert!(range.contains(&payload.as_ptr()) || payload.is_empty());
    }
}

#[test]
fn every_changed_bit_and_every_cut_is_noticed() {
    for (frame, _) in golden() {
        let bytes = encoded(&frame);
        for at in 0..bytes.len() {
            assert!(decode(bytes.slice(..at)).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut changed = BytesMut::from(&bytes[..]);
                changed[at] ^= 1 << bit;
                assert!(decode(changed.freeze()).is_err(), "byte {at} bit {bit}");
            }
        }
    }
}

#[test]
fn frames_are_split_off_a_stream_wherever_it_is_cut() {
    let frames: Vec<Frame> = golden().into_iter().map(|(frame, _)| frame).collect();
    let mut stream = BytesMut::new();
    frames.iter().for_each(|frame| encode(frame, &mut stream));
    for step in [1, 7, 100, stream.len()] {
        let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
        for piece in stream.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = split_frame(&mut buffer).unwrap() {
                found.push(decode(frame).unwrap());
            }
        }
        assert_eq!(found, frames);
    }
}

#[test]
fn a_length_that_no_frame_has_is_refused_at_once() {
    let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0x7f][..]);
    assert!(matches!(split_frame(&mut buffer), Err(FrameError::TooLong { length: 0x7fff_ffff, .. })));
}

/// A frame of these bytes behind the head, with a right head.
fn sealed(body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_bytes(0, HEADER_BYTES);
    out.extend_from_slice(body);
    seal(&mut out, 0, &[]).unwrap();
    out.freeze()
}

#[test]
fn fields_that_make_no_sense_are_refused_with_their_place() {
    // group 1, term 5, AppendEntries, prev 2@9, last, commit 0, runs .., no configurations, no payloads
    let append = |tail: &[u8]| decode(sealed(&[&[kind::RAFT, 1, 5, 3, 2, 9], tail].concat()));
    let invalid = |what, offset, value| Err(FrameError::Invalid { what, offset, value });
    assert_eq!(append(&[8, 0, 0, 0, 0]), invalid("last", 14, 8));
    assert_eq!(append(&[10, 0, 0, 0, 0]), invalid("runs", 16, 0));
    assert_eq!(append(&[10, 0, 1, 2, 11, 0, 0]), invalid("run first", 17, 11));
    assert_eq!(append(&[10, 0, 1, 1, 10, 0, 0]), invalid("run first", 17, 10));
    assert_eq!(append(&[10, 0, 1, 2, 10, 1, 11, 0, 0, 0, 0]), invalid("configuration index", 20, 11));
    assert_eq!(append(&[10, 0, 1, 2, 10, 0, 0]), invalid("payload count", 20, 0));
    assert_eq!(append(&[9, 0, 0, 0, 0, 7]), Err(FrameError::Trailing { offset: 19, extra: 1 }));
    assert!(append(&[9, 0, 0, 0, 0]).is_ok());
    assert_eq!(decode(sealed(&[kind::RAFT, 1, 5, 99])), invalid("message kind", 11, 99));
    assert_eq!(decode(sealed(&[kind::RAFT, 1, 5, 2, 4, 0])), invalid("vote flags", 12, 4));
    assert_eq!(decode(sealed(&[kind::CALL, 1, 5, 0])), invalid("payload count", 11, 0));
    assert_eq!(decode(sealed(&[kind::CALL, 1, 5, 1, 9])), invalid("payload length", 12, 9));
    assert_eq!(decode(sealed(&[0x7e])), Err(FrameError::UnknownKind { kind: 0x7e }));
    assert_eq!(decode(sealed(&[kind::PING, 0, 0, 0, 0, 0, 0, 0, 0])), Err(FrameError::UnknownKind { kind: 0xf0 }));
    assert_eq!(decode(sealed(&[])), Err(FrameError::Truncated { what: "kind", offset: 8 }));
}

#[test]
#[should_panic(expected = "one payload for each entry")]
fn a_sender_that_forgets_a_payload_is_wrong() {
    let Frame::Raft { group, message, .. } = append() else { unreachable!() };
    encode(&Frame::Raft { group, message, payloads: Vec::new() }, &mut BytesMut::new());
}

fn any_position() -> impl Strategy<Value = LogPosition> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, index)| at(term, index))
}

fn any_configuration() -> impl Strategy<Value = Configuration> {
    let members = || prop::collection::vec(any::<u64>().prop_map(NodeId), 0..5);
    (members(), members(), members()).prop_map(|(voters, outgoing, learners)| Configuration {
        voters,
        outgoing,
        learners,
    })
}

fn any_meta() -> impl Strategy<Value = SnapshotMeta> {
    (any_position(), any_configuration()).prop_map(|(position, configuration)| SnapshotMeta { position, configuration })
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

/// An `AppendEntries` of up to a few dozen entries with the payloads that belong to it.
fn any_append() -> impl Strategy<Value = (Body, Vec<Bytes>)> {
    let run = (0..4_u64, prop::collection::vec(any_bytes(), 1..6));
    let start = (0..u64::MAX / 2, 0..u64::MAX / 2, any::<u64>());
    (start, prop::collection::vec(run, 0..5), any::<bool>(), any_configuration()).prop_map(
        |((term, index, commit), parts, configured, configuration)| {
            let (mut runs, mut payloads, mut newest) = (Vec::new(), Vec::new(), term);
            for (rise, entries) in parts {
                newest += rise;
                let first = Index(index + 1 + payloads.len() as u64);
                runs.push(TermRun { term: Term(newest), first });
                payloads.extend(entries);
            }
            let last = Index(index + payloads.len() as u64);
            let configurations = if configured && !payloads.is_empty() { vec![(last, configuration)] } else { vec![] };
            let append =
                AppendEntries { prev: at(term, index), last, runs, configurations, leader_commit: Index(commit) };
            (Body::AppendEntries(append), payloads)
        },
    )
}

fn any_body() -> impl Strategy<Value = (Body, Vec<Bytes>)> {
    let plain = prop_oneof![
        (any_position(), any::<bool>(), any::<bool>())
            .prop_map(|(last, pre_vote, transfer)| Body::RequestVote(RequestVote { last, pre_vote, transfer })),
        (any::<bool>(), any::<bool>())
            .prop_map(|(granted, pre_vote)| Body::RequestVoteReply(RequestVoteReply { granted, pre_vote })),
        any::<u64>().prop_map(|matched| Body::AppendAccepted(AppendAccepted { matched: Index(matched) })),
        (any::<u64>(), any_position())
            .prop_map(|(rejected, hint)| Body::AppendRejected(AppendRejected { rejected: Index(rejected), hint })),
        (any::<u64>(), any::<u64>())
            .prop_map(|(round, commit)| Body::Heartbeat(Heartbeat { round, commit: Index(commit) })),
        any::<u64>().prop_map(|round| Body::HeartbeatReply(HeartbeatReply { round })),
        any_meta().prop_map(Body::InstallSnapshot),
        Just(Body::TimeoutNow),
        any::<u64>().prop_map(|id| Body::ReadIndex(ReadId(id))),
        (any::<u64>(), any::<Option<u64>>())
            .prop_map(|(id, index)| Body::ReadIndexReply { id: ReadId(id), index: index.map(Index) }),
    ];
    prop_oneof![3 => plain.prop_map(|body| (body, Vec::new())), 1 => any_append()]
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let group = || any::<u64>().prop_map(GroupId);
    prop_oneof![
        4 => (group(), any::<u64>(), any_body()).prop_map(|(group, term, (body, payloads))| Frame::Raft {
            group,
            message: Message { term: Term(term), body },
            payloads
        }),
        1 => (group(), prop::collection::vec(any_bytes(), 0..20))
            .prop_map(|(group, payloads)| Frame::Forward { group, payloads }),
        1 => (group(), any::<u64>(), any_bytes()).prop_map(|(group, id, body)| Frame::Call { group, id, body }),
        1 => (group(), any::<u64>(), any_bytes()).prop_map(|(group, id, body)| Frame::Answer { group, id, body }),
        1 => (group(), any_meta(), any::<u64>(), any::<bool>(), any_bytes()).prop_map(
            |(group, meta, sequence, last, rows)| Frame::SnapshotChunk { group, meta, sequence, last, rows }
        ),
        1 => (group(), any_position(), any::<u64>(), any::<bool>()).prop_map(
            |(group, position, sequence, accepted)| Frame::SnapshotAck { group, position, sequence, accepted }
        ),
    ]
}

proptest! {
    #[test]
    fn frames_survive_the_wire(frame in any_frame()) {
        prop_assert_eq!(decode(encoded(&frame)).unwrap(), frame);
    }

    #[test]
    fn garbage_behind_a_right_head_never_panics(kind in 0_u8..8, body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(sealed(&[&[kind][..], &body].concat()));
    }

    #[test]
    fn small_numbers_never_panic(kind in 1_u8..7, body in prop::collection::vec(0_u8..12, 0..64)) {
        let bytes = sealed(&[&[kind][..], &body].concat());
        if let Ok(frame) = decode(bytes.clone()) {
            prop_assert_eq!(encoded(&frame), bytes, "a frame has one form");
        }
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(Bytes::from(bytes.clone()));
        let _ = split_frame(&mut BytesMut::from(&bytes[..]));
    }
}
