//! Golden bytes, round trips, and rubbish.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One of each kind, with every field in use. A change here is a change of the format: give it a new version.
fn golden() -> Vec<(Command, &'static str)> {
    let put = PutRequest {
        key: "k".into(),
        value: "val".into(),
        lease: -3,
        prev_kv: true,
        ignore_value: false,
        ignore_lease: true,
    };
    let span = KeyRange { key: "a".into(), range_end: "c".into() };
    let delete = DeleteRangeRequest { range: span.clone(), prev_kv: true };
    let range = RangeRequest {
        range: span.clone(),
        limit: 100,
        revision: 200,
        sort_order: SortOrder::Descend,
        sort_target: SortTarget::Value,
        keys_only: true,
        count_only: true,
        min_mod_revision: 1,
        max_mod_revision: 2,
        min_create_revision: 3,
        max_create_revision: 4,
    };
    let compare = |result, target| Compare { range: span.clone(), result, target };
    let txn = TxnRequest {
        compare: vec![
            compare(CompareResult::Equal, CompareTarget::Version(1)),
            compare(CompareResult::Greater, CompareTarget::CreateRevision(2)),
            compare(CompareResult::Less, CompareTarget::ModRevision(3)),
            compare(CompareResult::NotEqual, CompareTarget::Value("v".into())),
            compare(CompareResult::Equal, CompareTarget::Lease(4)),
        ],
        success: vec![RequestOp::Range(range), RequestOp::Put(put.clone())],
        failure: vec![RequestOp::DeleteRange(delete.clone()), RequestOp::Txn(TxnRequest::default())],
    };
    let member = Member {
        id: 300,
        name: "m".into(),
        peer_urls: vec!["p".into()],
        client_urls: vec!["c".into(), "d".into()],
        is_learner: true,
    };
    vec![
        (Command::Put(put), "01010505016b0376616c"),
        (Command::DeleteRange(delete), "01020101610163"),
        (
            Command::Txn(txn),
            "0103050000020161016301010401610163020206016101630303017601610163000408016101630209030204c80190030204060801610163010505016b0376616c0202010161016303000000",
        ),
        (Command::Compact { revision: 64 }, "01048001"),
        (Command::LeaseGrant { id: 1, ttl: 60 }, "01050278"),
        (Command::LeaseRevoke { id: -1 }, "010601"),
        (Command::Alarm { raise: true, member: 5, alarm: Alarm::Corrupt }, "0107010205"),
        (Command::MemberAttributes(member), "0108ac0201016d01017002016301 64"),
        (
            Command::Membership(MemberCommand::Add {
                id: 300,
                peer_urls: vec!["p".into(), "q".into()],
                learner: true,
                learners_max: 2,
            }),
            "0128ac0201020201700171",
        ),
        (Command::Membership(MemberCommand::Update { id: 300, peer_urls: vec!["p".into()] }), "0129ac02010170"),
        (Command::Membership(MemberCommand::Settle { members: vec![(1, false), (300, true)] }), "012a020100ac0201"),
        (Command::LeaseCheckpoint { applied: 300, leases: vec![(1, Some(60)), (-1, None)] }, "0132 ac02 02 0278 0101"),
        (Command::LeaseExpire { applied: 300, id: -1 }, "0133 ac02 01"),
        (Command::ClusterVersion(FeatureLevel { major: 3, minor: 7 }), "0134 03 07"),
        (Command::Downgrade(Some(FeatureLevel { major: 3, minor: 6 })), "0135 01 03 06"),
        (Command::Downgrade(None), "0135 00"),
    ]
}

#[test]
fn golden_bytes() {
    for (command, expected) in golden() {
        assert_eq!(hex(&encode(&command)), expected.replace(' ', ""), "{command:?}");
        assert_eq!(decode(&encode(&command)), Ok(command));
    }
}

#[test]
fn keys_and_values_are_slices_of_the_input() {
    let bytes = encode(&Command::Put(PutRequest { key: "key".into(), value: "value".into(), ..PutRequest::default() }));
    let Ok(Command::Put(put)) = decode(&bytes) else { panic!() };
    let inside = bytes.as_ptr_range();
    assert!(inside.contains(&put.key.as_ptr()) && inside.contains(&put.value.as_ptr()));
}

#[test]
fn each_way_to_be_wrong() {
    let kind = |what, found, offset| DecodeError::Kind { what, found, offset };
    let cases: [(&[u8], DecodeError); 12] = [
        (&[], DecodeError::Length { offset: 0 }),
        (&[2, 1], DecodeError::Version { found: 2 }),
        (&[1], DecodeError::Length { offset: 1 }),
        (&[1, 99], kind("kind", 99, 1)),
        (&[1, 1, 8], kind("flags", 8, 2)),
        (&[1, 1, 0, 0, 5, 1], DecodeError::Length { offset: 5 }),
        (&[1, 4, 2, 0], DecodeError::Trailing { offset: 3 }),
        (&[1, 7, 1, 3, 0], kind("alarm", 3, 3)),
        (&[1, 3, 0xff, 0xff, 0xff, 0xff, 0x0f], DecodeError::Length { offset: 7 }),
        (&[1, 3, 1, 4, 0, 0, 0, 0], kind("comparison", 4, 3)),
        (&[1, 3, 0, 1, 77, 0], kind("operation", 77, 4)),
        (&[1, 8, 1, 0, 1, 0xff, 0, 0], DecodeError::Text { offset: 6 }),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decode(&Bytes::copy_from_slice(bytes)), Err(expected), "{bytes:?}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        let mut bytes = vec![VERSION];
        for _ in 0..depth {
            bytes.extend_from_slice(&[TXN, 0, 1]); // no conditions, one operation
        }
        bytes.extend_from_slice(&[TXN, 0, 0, 0]);
        bytes.extend(std::iter::repeat_n(0, depth)); // no failure branches
        decode(&Bytes::from(bytes))
    };
    assert!(nested(DEPTH_MAX - 1).is_ok());
    assert_eq!(nested(DEPTH_MAX), Err(DecodeError::Depth));
    assert_eq!(nested(1_000_000), Err(DecodeError::Depth));
}

proptest! {
    #[test]
    fn puts_come_back(key in vec(any::<u8>(), 0..40), value in vec(any::<u8>(), 0..300), lease: i64, flags in 0..8u8) {
        let command = Command::Put(PutRequest {
            key: key.into(),
            value: value.into(),
            lease,
            prev_kv: flags & 1 != 0,
            ignore_value: flags & 2 != 0,
            ignore_lease: flags & 4 != 0,
        });
        prop_assert_eq!(decode(&encode(&command)), Ok(command));
    }

    #[test]
    fn rubbish_is_refused_or_means_what_it_says(bytes in vec(any::<u8>(), 0..60)) {
        let bytes = Bytes::from([&[VERSION], &bytes[..]].concat());
        if let Ok(command) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&command)), Ok(command));
        }
    }

    #[test]
    fn a_golden_command_cut_or_flipped_does_no_harm(which in 0..8usize, at in any::<prop::sample::Index>(), flip: u8) {
        let bytes = encode(&golden()[which].0);
        let at = at.index(bytes.len());
        prop_assert!(decode(&bytes.slice(..at)).is_err());
        let mut flipped = bytes.to_vec();
        flipped[at] ^= flip;
        if let Ok(command) = decode(&Bytes::from(flipped)) {
            prop_assert_eq!(decode(&encode(&command)), Ok(command));
        }
    }
}
