//! The chain over what was applied: the same on all members, and different as soon as anything differs.

use super::*;

/// Every kind of command, with refusals among them.
fn history() -> Vec<Command> {
    let member = Member { id: 3, name: "three".into(), ..Member::default() };
    let txn = TxnRequest {
        success: vec![RequestOp::Put(put_request("b", "1")), RequestOp::DeleteRange(delete_request("a", ""))],
        ..TxnRequest::default()
    };
    vec![
        put("a", "first"),
        Command::LeaseGrant { id: 7, ttl: 10 },
        put_leased("leased", 7),
        Command::Txn(txn),
        put_leased("refused", 8),
        put("a", "second"),
        Command::Compact { revision: 3 },
        Command::MemberAttributes(member),
        Command::Alarm { raise: true, member: 3, alarm: Alarm::NoSpace },
        Command::Alarm { raise: false, member: 3, alarm: Alarm::NoSpace },
        Command::LeaseCheckpoint { applied: 9, leases: vec![(7, Some(5)), (8, None)] },
        Command::ClusterVersion(FeatureLevel { major: 3, minor: 7 }),
        Command::Downgrade(Some(FeatureLevel { major: 3, minor: 6 })),
        Command::LeaseRevoke { id: 7 },
        delete("a", "z"),
    ]
}

fn applied(history: &[Command]) -> Vec<(u64, u64)> {
    let mut machine = Machine::new();
    let each = |command| {
        machine.apply(command);
        machine.kv.digest()
    };
    history.iter().map(each).collect()
}

#[test]
fn equal_histories_have_equal_digests_whatever_checkpoints_crashes_and_snapshots_came_between() {
    let history = history();
    let expected = applied(&history);
    for stop in 0..history.len() {
        let mut machine = Machine::new();
        for (at, command) in history.iter().enumerate() {
            machine.apply(command);
            assert_eq!(machine.kv.digest(), expected[at]);
            if at == stop {
                machine.checkpoint();
                machine = machine.crash();
                assert_eq!(machine.kv.digest(), expected[at], "kept in the file");
            }
            if at == stop + 2 {
                machine.checkpoint();
                let mut source = machine.kv.snapshot();
                let disk = Disk::default();
                let mut sink = SnapshotSink::create(disk.clone(), 5).unwrap();
                while let Some(piece) = source.next_rows(50).unwrap() {
                    sink.write(&piece).unwrap();
                }
                sink.finish().unwrap();
                machine = Machine::open(disk);
                assert_eq!(machine.kv.digest(), expected[at], "sent along");
            }
        }
    }
}

#[test]
fn any_difference_in_one_entry_changes_it_for_good() {
    let history = history();
    let expected = applied(&history);
    let grown = |change: &dyn Fn(&mut Vec<Command>)| {
        let mut other = history.clone();
        change(&mut other);
        *applied(&other).last().unwrap()
    };
    let last = *expected.last().unwrap();
    let others = [
        grown(&|h| h[0] = put("a", "firsT")),
        grown(&|h| h[0] = put("A", "first")),
        grown(&|h| h[0] = put("", "afirst")),
        grown(&|h| h[1] = Command::LeaseGrant { id: 7, ttl: 11 }),
        grown(&|h| h[2] = put("leased", "v")),
        grown(&|h| h[4] = put("refused", "v")),
        grown(&|h| h[6] = Command::Compact { revision: 2 }),
        grown(&|h| h[7] = Command::MemberAttributes(Member { id: 3, name: "four".into(), ..Member::default() })),
        grown(&|h| h[8] = Command::Alarm { raise: true, member: 4, alarm: Alarm::NoSpace }),
        grown(&|h| h.swap(0, 1)),
    ];
    for (at, other) in others.iter().enumerate() {
        assert_eq!(other.0, last.0);
        assert_ne!(other.1, last.1, "difference {at}");
        assert!(others[..at].iter().all(|before| before.1 != other.1), "difference {at} looks like one before");
    }
}

#[test]
fn a_blank_entry_moves_the_index_only() {
    let mut machine = Machine::new();
    machine.put("a", "1");
    let (index, digest) = machine.kv.digest();
    machine.kv.skip(index + 1, 1);
    assert_eq!(machine.kv.digest(), (index + 1, digest));
}
