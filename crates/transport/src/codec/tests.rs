//! Golden bytes of every kind of frame, both ways; properties; garbage.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use kontiki_raft::{
    AppendAccepted, AppendEntries, AppendRejected, Attributes, Body, Configuration, Entries, Exclusion, Heartbeat,
    HeartbeatReply, Incarnation, Lease, Message, NodeId, Pull, ReadId, RequestVote, RequestVoteReply, Term, TermRun,
    TermRuns,
};
use proptest::prelude::*;

use super::*;
use crate::frame::Held;

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition { term: Term(term), index: Index(index) }
}

fn raft(body: Body) -> Frame {
    carrying(body, Vec::new())
}

fn carrying(body: Body, payloads: Vec<Bytes>) -> Frame {
    Frame::Raft { group: GroupId(1), message: Message { term: Term(5), incarnation: None, body }, payloads }
}

fn entries() -> (Entries, Vec<Bytes>) {
    let entries = Entries {
        prev: at(2, 9),
        last: Index(12),
        runs: vec![TermRun { term: Term(2), first: Index(10) }, TermRun { term: Term(5), first: Index(11) }].into(),
        configurations: vec![(Index(12), Configuration::of([NodeId(1), NodeId(2)]).into())].into(),
    };
    (entries, vec![Bytes::from_static(b"a"), Bytes::new(), Bytes::from_static(b"cc")])
}

fn append() -> Frame {
    let (entries, payloads) = entries();
    carrying(Body::AppendEntries(AppendEntries { entries, leader_commit: Index(300), session: Index(7) }), payloads)
}

/// A configuration with something in each of its parts.
fn full_configuration() -> Configuration {
    let mut configuration = Configuration {
        outgoing: vec![NodeId(1), NodeId(3)],
        learners: vec![NodeId(0x0102_0304_0506_0708)],
        lease: Some(Lease { ticks: 300, drift_permille: 10 }),
        ..Configuration::of([NodeId(1)])
    };
    let bound = Attributes { incarnation: Some(Incarnation(0x0a0b)), ..Attributes::default() };
    configuration.set_attributes(NodeId(1), bound);
    configuration.set_attributes(NodeId(0x0102_0304_0506_0708), Attributes { promote: true, ..Attributes::default() });
    configuration
}

/// Every kind of frame and body once, with its bytes behind the length: checksum, kind, fields, payloads.
fn golden() -> Vec<(Frame, &'static str)> {
    let group = GroupId(200);
    let meta = SnapshotMeta { position: at(3, 40), configuration: full_configuration().into() };
    let (entries, payloads) = entries();
    let known = Message { term: Term(5), incarnation: Some(Incarnation(0x0c0d)), body: Body::TimeoutNow };
    let vote = RequestVote { last: at(4, 7), pre_vote: true, transfer: false };
    let transfer = RequestVote { last: at(4, 7), pre_vote: false, transfer: true };
    vec![
        (raft(Body::RequestVote(vote)), "948865ef 01 01 05 00 01 04 07 01 00"),
        (raft(Body::RequestVote(transfer)), "0d2082db 01 01 05 00 01 04 07 02 00"),
        (
            raft(Body::RequestVoteReply(RequestVoteReply { granted: true, pre_vote: true, last: at(4, 8) })),
            "161bceda 01 01 05 00 02 03 04 08 00",
        ),
        (
            append(),
            "9a289f91 01 01 05 00 03 02 09 0c 02 02 0a 05 0b 01 0c 02 0100000000000000 0200000000000000 00 00 00 00 ac02 07 \
             03 01 00 02 61 6363",
        ),
        (
            raft(Body::AppendAccepted(AppendAccepted { matched: Index(12), session: Index(7) })),
            "62dd1257 01 01 05 00 04 0c 07 00",
        ),
        (
            raft(Body::AppendRejected(AppendRejected { rejected: Index(9), hint: at(1, 6), session: Index(7) })),
            "750fbe62 01 01 05 00 05 09 01 06 07 00",
        ),
        (
            raft(Body::Heartbeat(Heartbeat { round: 77, commit: Index(300), session: Index(7) })),
            "b2916eca 01 01 05 00 06 4d ac02 07 00",
        ),
        (
            raft(Body::HeartbeatReply(HeartbeatReply { round: 77, session: Index(7), promise_ticks: 300 })),
            "ee7016ea 01 01 05 00 07 4d 07 ac02 00",
        ),
        (
            raft(Body::InstallSnapshot(meta.clone())),
            "1a03c491 01 01 05 00 08 03 28 01 0100000000000000 02 0100000000000000 0300000000000000 01 0807060504030201 \
             02 0100000000000000 01 0b0a000000000000 64 0807060504030201 02 64 01 ac02 0a 00",
        ),
        (raft(Body::TimeoutNow), "bbb8daa8 01 01 05 00 09 00"),
        (
            Frame::Raft { group: GroupId(1), message: known, payloads: Vec::new() },
            "a4a79237 01 01 05 01 0d0c000000000000 09 00",
        ),
        (raft(Body::Resigned), "1041f2f5 01 01 05 00 0c 00"),
        (raft(Body::Excluded(Exclusion::Removed { at: Index(300) })), "3ed69e3d 01 01 05 00 0d 00 ac02 00"),
        (
            raft(Body::Excluded(Exclusion::Stranger { at: Index(300), member: Incarnation(0x0a0b) })),
            "671f488e 01 01 05 00 0d 01 ac02 0b0a000000000000 00",
        ),
        (raft(Body::Pull(Pull { last: at(3, 9), behind: at(2, 7) })), "85cfdbeb 01 01 05 00 0e 03 09 02 07 00"),
        (
            carrying(Body::Pulled(entries), payloads),
            "10a9d474 01 01 05 00 0f 02 09 0c 02 02 0a 05 0b 01 0c 02 0100000000000000 0200000000000000 00 00 00 00 \
             03 01 00 02 61 6363",
        ),
        (raft(Body::ReadIndex(ReadId(128))), "58107421 01 01 05 00 0a 8001 00"),
        (
            raft(Body::ReadIndexReply { id: ReadId(128), index: Some(Index(12)) }),
            "f73e1625 01 01 05 00 0b 8001 01 0c 00",
        ),
        (raft(Body::ReadIndexReply { id: ReadId(128), index: None }), "f1cab1b1 01 01 05 00 0b 8001 00 00"),
        (
            Frame::Forward { group, payloads: vec![Bytes::from_static(b"put"), Bytes::from_static(b"x")] },
            "0b4cbad8 02 c801 02 03 01 707574 78",
        ),
        (Frame::Call { group, id: 5, body: Bytes::from_static(b"ttl?") }, "1b1ed2e4 03 c801 05 01 04 74746c3f"),
        (Frame::Answer { group, id: 5, body: Bytes::new() }, "35fb338c 04 c801 05 01 00"),
        (
            Frame::SnapshotChunk { group, meta, sequence: 2, last: true, rows: Bytes::from_static(b"rows") },
            "06e7f712 05 c801 03 28 01 0100000000000000 02 0100000000000000 0300000000000000 01 0807060504030201 \
             02 0100000000000000 01 0b0a000000000000 64 0807060504030201 02 64 01 ac02 0a \
             02 01 01 04 726f7773",
        ),
        (
            Frame::SnapshotAck { group, position: at(3, 40), sequence: 2, accepted: true },
            "8e581624 06 c801 03 28 02 01 00",
        ),
        (
            Frame::Refused { group, reason: 2, payloads: vec![Bytes::from_static(b"put"), Bytes::from_static(b"x")] },
            "46b3d0d8 09 c801 02 02 03 01 707574 78",
        ),
        (
            Frame::Repair { group, first: Index(10), last: Index(300), bytes_max: 1 << 20, state: true },
            "0de6b675 07 c801 0a ac02 808040 01 00",
        ),
        (
            Frame::Repaired { group, held: held(), payloads: vec![Bytes::from_static(b"a"), Bytes::new()] },
            "1426c63f 08 c801 0a 02 07 0b 0e 02 02 08 05 0b 03 0c 0d 02 01 00 61",
        ),
        (
            Frame::Repaired { group, held: Held::default(), payloads: Vec::new() },
            "c4301bf3 08 c801 00 00 00 00 00 00 00 00",
        ),
    ]
}

/// Of a log of the entries 8 to 14, of which 12 and 13 are damaged, and whose state is lost.
fn held() -> Held {
    Held {
        asked: Index(10),
        compacted: at(2, 7),
        commit: Index(11),
        last: Index(14),
        runs: vec![TermRun { term: Term(2), first: Index(8) }, TermRun { term: Term(5), first: Index(11) }].into(),
        gap: Some((Index(12), Index(13))),
        stateless: true,
    }
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
    // group 1, term 5, no incarnation, Pulled, prev 2@9, last, runs .., configurations .., no payloads
    let pulled = |tail: &[u8]| decode(sealed(&[&[kind::RAFT, 1, 5, 0, 15, 2, 9], tail].concat()));
    let invalid = |what, offset, value| Err(FrameError::Invalid { what, offset, value });
    assert_eq!(pulled(&[8, 0, 0, 0]), invalid("last", 15, 8));
    assert_eq!(pulled(&[10, 0, 0, 0]), invalid("runs", 16, 0));
    assert_eq!(pulled(&[10, 1, 2, 11, 0, 0]), invalid("run first", 17, 11));
    assert_eq!(pulled(&[10, 1, 1, 10, 0, 0]), invalid("run first", 17, 10));
    assert_eq!(pulled(&[11, 2, 2, 10, 2, 11, 0, 0]), invalid("run first", 19, 11));
    assert_eq!(pulled(&[&[10, 1, 2, 10, 1, 11, 1][..], &[0; 13]].concat()), invalid("configuration index", 20, 11));
    assert_eq!(pulled(&[10, 1, 2, 10, 0, 0]), invalid("payload count", 20, 0));
    assert_eq!(pulled(&[9, 0, 0, 0, 7]), Err(FrameError::Trailing { offset: 19, extra: 1 }));
    assert!(pulled(&[9, 0, 0, 0]).is_ok());
    assert_eq!(decode(sealed(&[kind::RAFT, 1, 5, 0, 99])), invalid("message kind", 12, 99));
    assert_eq!(decode(sealed(&[kind::RAFT, 1, 5, 2, 9])), invalid("incarnation given", 11, 2));
    assert_eq!(decode(sealed(&[kind::RAFT, 1, 5, 0, 2, 4, 0])), invalid("vote flags", 13, 4));
    assert_eq!(decode(sealed(&[kind::RAFT, 1, 5, 0, 13, 2, 0])), invalid("exclusion flags", 13, 2));
    assert_eq!(decode(sealed(&[kind::CALL, 1, 5, 0])), invalid("payload count", 11, 0));
    assert_eq!(decode(sealed(&[kind::CALL, 1, 5, 1, 9])), invalid("payload length", 12, 9));
    assert_eq!(decode(sealed(&[0x7e])), Err(FrameError::UnknownKind { kind: 0x7e }));
    assert_eq!(decode(sealed(&[kind::PING, 0, 0, 0, 0, 0, 0, 0, 0])), Err(FrameError::UnknownKind { kind: 0xf0 }));
    assert_eq!(decode(sealed(&[])), Err(FrameError::Truncated { what: "kind", offset: 8 }));
}

#[test]
fn configurations_whose_parts_do_not_fit_are_refused() {
    // group 1, term 5, no incarnation, InstallSnapshot of 3@4, configuration .., no payloads
    let snapshot =
        |tail: &[&[u8]]| decode(sealed(&[&[kind::RAFT, 1, 5, 0, 8, 3, 4], &tail.concat()[..], &[0]].concat()));
    let member = |id: u8| [id, 0, 0, 0, 0, 0, 0, 0];
    let (one, two) = (member(1), member(2));
    let invalid = |what, offset, value| Err(FrameError::Invalid { what, offset, value });
    assert!(snapshot(&[&[2], &one, &two, &[0, 0, 0, 0]]).is_ok());
    assert!(snapshot(&[&[0, 0, 0, 0, 0]]).is_ok());
    assert_eq!(snapshot(&[&[0, 0, 1], &one, &[0, 0]]), invalid("configuration", 15, 0));
    assert_eq!(snapshot(&[&[2], &two, &one, &[0, 0, 0, 0]]), invalid("configuration", 15, 2));
    assert_eq!(snapshot(&[&[1], &one, &[0, 1], &one, &[0, 0]]), invalid("configuration", 15, 1));
    let priority = |flags: u8, priority: u8| [&[1][..], &one, &[0, 0, 1], &one, &[flags, priority, 0]].concat();
    assert!(snapshot(&[&priority(0, 7)]).is_ok());
    assert_eq!(snapshot(&[&priority(0, 100)]), invalid("attribute flags", 35, 0));
    assert_eq!(snapshot(&[&priority(4, 7)]), invalid("attribute flags", 35, 4));
    let lease = |ticks: &[u8]| [&[1][..], &one, &[0, 0, 0, 1], ticks, &[10]].concat();
    assert!(snapshot(&[&lease(&[3])]).is_ok());
    assert_eq!(snapshot(&[&lease(&[2])]), invalid("configuration", 15, 1));
    assert_eq!(snapshot(&[&lease(&[0x80, 0x80, 0x80, 0x80, 0x10])]), invalid("lease ticks", 28, 1 << 32));
    let many: Vec<u8> = (0..2_000_u64).flat_map(u64::to_le_bytes).collect();
    assert_eq!(snapshot(&[&[0xd0, 0x0f], &many, &[0, 0, 0, 0]]), invalid("voters", 15, 2_000));
}

#[test]
fn what_a_member_claims_to_hold_must_fit_together() {
    // group 1, asked 10, compacted 2@7, commit 11, last .., runs .., flags, gap .., payloads
    let held = |tail: &[u8]| decode(sealed(&[&[kind::REPAIRED, 1, 10, 2, 7, 11], tail].concat()));
    let invalid = |what, offset, value| Err(FrameError::Invalid { what, offset, value });
    assert!(held(&[14, 1, 2, 8, 0, 0]).is_ok());
    assert!(held(&[7, 0, 0, 0]).is_ok());
    assert_eq!(held(&[6, 0, 0, 0]), invalid("last", 14, 6));
    assert_eq!(held(&[14, 0, 0, 0]), invalid("runs", 15, 0));
    assert_eq!(held(&[7, 1, 2, 8, 0, 0]), invalid("runs", 15, 1));
    assert_eq!(held(&[14, 1, 2, 9, 0, 0]), invalid("run first", 16, 9));
    assert_eq!(held(&[14, 1, 1, 8, 0, 0]), invalid("run first", 16, 8));
    assert_eq!(held(&[14, 2, 2, 8, 2, 9, 0, 0]), invalid("run first", 18, 9));
    assert_eq!(held(&[14, 2, 2, 8, 3, 15, 0, 0]), invalid("run first", 18, 15));
    assert_eq!(held(&[14, 1, 2, 8, 4, 0]), invalid("damage flags", 18, 4));
    assert!(held(&[14, 1, 2, 8, 1, 8, 14, 0]).is_ok());
    assert_eq!(held(&[14, 1, 2, 8, 1, 7, 8, 0]), invalid("gap", 19, 7));
    assert_eq!(held(&[14, 1, 2, 8, 1, 9, 8, 0]), invalid("gap", 19, 9));
    assert_eq!(held(&[14, 1, 2, 8, 1, 9, 15, 0]), invalid("gap", 19, 9));
    let five = [5, 0, 0, 0, 0, 0];
    assert!(held(&[&[14, 1, 2, 8, 0], &five[..]].concat()).is_ok());
    assert_eq!(held(&[&[13, 1, 2, 8, 0], &five[..]].concat()), invalid("payload count", 19, 5));
    assert_eq!(held(&[7, 0, 0, 1, 0]), invalid("payload count", 17, 1));
    assert_eq!(decode(sealed(&[kind::REPAIR, 1, 5, 9, 0, 2, 0])), invalid("state wanted", 13, 2));
    assert_eq!(decode(sealed(&[kind::REPAIR, 1, 5, 9, 0, 1, 1, 0])), invalid("payload count", 14, 1));
}

#[test]
#[should_panic(expected = "that its runs cover")]
fn an_answer_with_entries_that_are_not_in_the_log_is_wrong() {
    let held = Held { asked: Index(14), ..held() };
    encode(&Frame::Repaired { group: GroupId(1), held, payloads: vec![Bytes::new(); 2] }, &mut BytesMut::new());
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

fn any_attributes() -> impl Strategy<Value = Attributes> {
    (any::<Option<u64>>(), any::<u8>(), any::<bool>()).prop_map(|(incarnation, priority, promote)| Attributes {
        incarnation: incarnation.map(Incarnation),
        priority,
        promote,
    })
}

fn any_configuration() -> impl Strategy<Value = Arc<Configuration>> {
    let members = prop::collection::btree_map(any::<u64>(), (0..5_u8, any_attributes()), 1..6);
    let lease = prop::option::of((3..=u32::MAX, 0..1000_u32));
    (members, lease).prop_map(|(members, lease)| {
        let lease = lease.map(|(ticks, drift_permille)| Lease { ticks, drift_permille });
        let mut configuration = Configuration { lease, ..Configuration::default() };
        for (id, (part, attributes)) in members {
            let Configuration { voters, outgoing, learners, .. } = &mut configuration;
            let parts = match part {
                _ if voters.is_empty() => vec![voters],
                0 => vec![voters],
                1 => vec![outgoing],
                2 => vec![learners],
                3 => vec![voters, outgoing],
                _ => vec![learners, outgoing],
            };
            parts.into_iter().for_each(|list| list.push(NodeId(id)));
            configuration.set_attributes(NodeId(id), attributes);
        }
        Arc::new(configuration)
    })
}

fn any_meta() -> impl Strategy<Value = SnapshotMeta> {
    (any_position(), any_configuration()).prop_map(|(position, configuration)| SnapshotMeta { position, configuration })
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

/// Up to a few dozen entries with the payloads that belong to them.
fn any_entries() -> impl Strategy<Value = (Entries, Vec<Bytes>)> {
    let run = (1..4_u64, prop::collection::vec(any_bytes(), 1..6));
    let start = (0..u64::MAX / 2, 0..u64::MAX / 2);
    (start, prop::collection::vec(run, 0..5), any::<bool>(), any_configuration()).prop_map(
        |((term, index), parts, configured, configuration)| {
            let (mut runs, mut payloads, mut newest) = (TermRuns::None, Vec::new(), term);
            for (rise, entries) in parts {
                newest += rise;
                runs.push(TermRun { term: Term(newest), first: Index(index + 1 + payloads.len() as u64) });
                payloads.extend(entries);
            }
            let last = Index(index + payloads.len() as u64);
            let configurations = if configured && !payloads.is_empty() { vec![(last, configuration)] } else { vec![] };
            (Entries { prev: at(term, index), last, runs, configurations: configurations.into() }, payloads)
        },
    )
}

fn any_index() -> impl Strategy<Value = Index> {
    any::<u64>().prop_map(Index)
}

fn any_vote() -> impl Strategy<Value = Body> {
    prop_oneof![
        (any_position(), any::<bool>(), any::<bool>())
            .prop_map(|(last, pre_vote, transfer)| Body::RequestVote(RequestVote { last, pre_vote, transfer })),
        (any::<bool>(), any::<bool>(), any_position())
            .prop_map(|(granted, pre_vote, last)| Body::RequestVoteReply(RequestVoteReply { granted, pre_vote, last })),
        (any_position(), any_position()).prop_map(|(last, behind)| Body::Pull(Pull { last, behind })),
        Just(Body::TimeoutNow),
        Just(Body::Resigned),
    ]
}

fn any_answer() -> impl Strategy<Value = Body> {
    prop_oneof![
        (any_index(), any_index())
            .prop_map(|(matched, session)| Body::AppendAccepted(AppendAccepted { matched, session })),
        (any_index(), any_position(), any_index())
            .prop_map(|(rejected, hint, session)| Body::AppendRejected(AppendRejected { rejected, hint, session })),
        (any::<u64>(), any_index(), any_index()).prop_map(|(round, commit, session)| Body::Heartbeat(Heartbeat {
            round,
            commit,
            session
        })),
        (any::<u64>(), any_index(), any::<u32>()).prop_map(|(round, session, promise_ticks)| Body::HeartbeatReply(
            HeartbeatReply { round, session, promise_ticks }
        )),
        any_meta().prop_map(Body::InstallSnapshot),
        (any_index(), any::<Option<u64>>()).prop_map(|(at, member)| Body::Excluded(match member {
            None => Exclusion::Removed { at },
            Some(member) => Exclusion::Stranger { at, member: Incarnation(member) },
        })),
        any::<u64>().prop_map(|id| Body::ReadIndex(ReadId(id))),
        (any::<u64>(), any::<Option<u64>>())
            .prop_map(|(id, index)| Body::ReadIndexReply { id: ReadId(id), index: index.map(Index) }),
    ]
}

fn any_body() -> impl Strategy<Value = (Body, Vec<Bytes>)> {
    prop_oneof![
        3 => prop_oneof![any_vote(), any_answer()].prop_map(|body| (body, Vec::new())),
        1 => (any_entries(), any_index(), any_index()).prop_map(|((entries, payloads), leader_commit, session)| {
            (Body::AppendEntries(AppendEntries { entries, leader_commit, session }), payloads)
        }),
        1 => any_entries().prop_map(|(entries, payloads)| (Body::Pulled(entries), payloads)),
    ]
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let group = || any::<u64>().prop_map(GroupId);
    prop_oneof![
        4 => (group(), any::<u64>(), any::<Option<u64>>(), any_body()).prop_map(
            |(group, term, incarnation, (body, payloads))| Frame::Raft {
                group,
                message: Message { term: Term(term), incarnation: incarnation.map(Incarnation), body },
                payloads
            }
        ),
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
        1 => (group(), any::<u8>(), prop::collection::vec(any_bytes(), 0..20))
            .prop_map(|(group, reason, payloads)| Frame::Refused { group, reason, payloads }),
        1 => (group(), any_index(), any_index(), any::<u64>(), any::<bool>()).prop_map(
            |(group, first, last, bytes_max, state)| Frame::Repair { group, first, last, bytes_max, state }
        ),
        1 => (group(), any_held()).prop_map(|(group, (held, payloads))| Frame::Repaired { group, held, payloads }),
    ]
}

/// A log of a few dozen entries, of which some are damaged and some come along.
fn any_held() -> impl Strategy<Value = (Held, Vec<Bytes>)> {
    (any_entries(), any_index(), any::<bool>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(
        |((Entries { prev, last, runs, .. }, mut payloads), commit, stateless, at, damage)| {
            let asked = at.index(payloads.len() + 1);
            let length = payloads.len() as u64;
            let gap = (length > 0).then(|| Index(prev.index.0 + 1 + damage.index(payloads.len()) as u64));
            payloads.drain(..asked);
            let asked = Index(prev.index.0 + 1 + asked as u64);
            let gap = gap.map(|first| (first, last));
            (Held { asked, compacted: prev, commit, last, runs, gap, stateless }, payloads)
        },
    )
}

proptest! {
    #[test]
    fn frames_survive_the_wire(frame in any_frame()) {
        prop_assert_eq!(decode(encoded(&frame)).unwrap(), frame);
    }

    #[test]
    fn garbage_behind_a_right_head_never_panics(kind in 0_u8..12, body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(sealed(&[&[kind][..], &body].concat()));
    }

    #[test]
    fn small_numbers_never_panic(kind in 1_u8..10, body in prop::collection::vec(0_u8..12, 0..64)) {
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
