//! Checkpoints, crashes and snapshots.

use super::*;
use crate::sealed::{Handle, Sealed};

/// Forty keys, some overwritten, some deleted, a lease.
fn filled() -> Machine {
    let mut machine = Machine::new();
    machine.must(&Command::LeaseGrant { id: 7, ttl: 10 });
    for n in 0..40 {
        machine.put(&format!("k{n:02}"), "first");
    }
    for n in 0..10 {
        machine.put(&format!("k{n:02}"), "second");
    }
    machine.must(&put_leased("leased", 7));
    machine.must(&delete("k2", "k3"));
    machine
}

fn pieces(kv: &Kv, max_bytes: usize) -> Vec<Bytes> {
    let mut source = kv.snapshot();
    std::iter::from_fn(|| source.next_rows(max_bytes).unwrap()).collect()
}

#[test]
fn a_fresh_store_is_at_revision_one_with_nothing_applied() {
    let machine = Machine::new();
    assert_eq!((machine.kv.applied(), machine.kv.revision(), machine.kv.compacted()), ((0, 0), 1, -1));
    assert!(machine.kv.opaque().is_empty());
    let (allocated, in_use) = machine.kv.reader().size();
    assert!(allocated >= in_use && in_use > 0);
}

#[test]
fn a_crash_loses_exactly_what_was_applied_behind_the_last_checkpoint() {
    let mut machine = filled();
    let checkpoint = machine.kv.begin_checkpoint(bytes("configuration")).unwrap();
    assert!(machine.kv.begin_checkpoint(Bytes::new()).is_none(), "one at a time");
    let (applied, hash) = (machine.kv.applied(), machine.kv.reader().hash().unwrap());
    machine.put("behind", "lost");
    let done = checkpoint.run().unwrap();
    assert_eq!(done.applied(), applied);
    drop(machine.kv.finish_checkpoint(done));
    machine.put("later", "lost");

    let mut machine = machine.crash();
    assert_eq!((machine.kv.applied(), machine.kv.reader().hash().unwrap()), (applied, hash));
    assert_eq!(machine.kv.opaque(), bytes("configuration"));
    assert!(machine.kv.begin_checkpoint(bytes("configuration")).is_none(), "nothing changed");
    machine.put("behind", "again");
}

#[test]
fn a_checkpoint_that_never_ran_loses_nothing_that_was_durable() {
    let mut machine = filled();
    machine.checkpoint();
    let (applied, hash) = (machine.kv.applied(), machine.kv.reader().hash().unwrap());
    machine.put("a", "1");
    let checkpoint = machine.kv.begin_checkpoint(Bytes::new()).unwrap();
    assert_eq!(machine.range(&get("a", "")).unwrap().count, 1, "frozen rows are read");
    drop(checkpoint);
    let machine = machine.crash();
    assert_eq!((machine.kv.applied(), machine.kv.reader().hash().unwrap()), (applied, hash));
}

#[test]
fn opening_after_a_crash_repairs_nothing() {
    let mut machine = filled();
    machine.checkpoint();
    machine.put("dirty", "1");
    machine.checkpoint();
    let opened = redb::Builder::new()
        .set_repair_callback(|_| panic!("a repair reads the whole file"))
        .create_with_backend(Handle(Arc::new(Sealed::open(machine.disk.after_crash(), 0).unwrap())));
    assert!(opened.is_ok());
}

#[test]
fn a_skipped_entry_counts() {
    let mut machine = Machine::new();
    machine.kv.skip(1, 4);
    assert_eq!(machine.kv.applied(), (1, 4));
    machine.checkpoint();
    assert_eq!(machine.crash().kv.applied(), (1, 4));
}

#[test]
#[should_panic(expected = "entries are applied in order")]
fn an_entry_applied_twice_is_our_own_bug() {
    let mut machine = Machine::new();
    machine.kv.skip(1, 1);
    machine.kv.skip(1, 1);
}

#[test]
fn readers_keep_their_revision_while_everything_below_them_changes() {
    let mut machine = filled();
    let before = machine.kv.revision();
    let all = get("\0", "\0");
    let expected = machine.range(&all).unwrap();
    for round in 0..5 {
        machine.must(&delete("k0", "k2"));
        machine.put("k05", &format!("{round}"));
        machine.checkpoint();
    }
    assert_eq!(machine.range(&at(before, all)).unwrap(), expected);
}

#[test]
fn compacted_history_leaves_the_file() {
    let mut machine = Machine::new();
    for round in 0..30 {
        for n in 0..20 {
            machine.put(&format!("k{n:02}"), &format!("value of round {round}"));
        }
        machine.must(&delete("k00", "k05"));
        let revision = machine.kv.revision();
        machine.must(&Command::Compact { revision });
        machine.checkpoint();
    }
    for _ in 0..40 {
        machine.put("k10", "x");
        machine.checkpoint();
    }
    let revision = machine.kv.revision();
    machine.must(&Command::Compact { revision });
    for _ in 0..60 {
        machine.must(&Command::Alarm { raise: true, member: 1, alarm: Alarm::NoSpace });
        machine.checkpoint();
    }
    let rows: usize = pieces(&machine.kv, 1 << 20).iter().map(Bytes::len).sum();
    // 15 keys are alive, each with one version and at most one change of the compacted revision.
    assert!(rows < 2_000, "{rows} bytes are left");
    assert_eq!(machine.range(&get("\0", "\0")).unwrap().count, 15);
}

#[test]
fn a_snapshot_makes_an_equal_store() {
    let mut machine = filled();
    machine.must(&Command::Compact { revision: 20 });
    machine.must(&Command::MemberAttributes(Member { id: 3, name: "three".into(), ..Member::default() }));
    let checkpoint = machine.kv.begin_checkpoint(bytes("opaque")).unwrap();
    let done = checkpoint.run().unwrap();
    drop(machine.kv.finish_checkpoint(done));
    let (applied, hash) = (machine.kv.applied(), machine.kv.reader().hash().unwrap());
    let mut source = machine.kv.snapshot();
    machine.put("later", "not in it");
    machine.checkpoint();
    assert_eq!((source.applied(), source.opaque().clone()), (applied, bytes("opaque")));
    drop(machine);

    let disk = Disk::default();
    let mut sink = SnapshotSink::create(disk.clone(), 9).unwrap();
    while let Some(piece) = source.next_rows(64).unwrap() {
        sink.write(&piece).unwrap();
    }
    sink.finish().unwrap();
    let mut copy = Machine::open(disk);
    assert_eq!((copy.kv.applied(), copy.kv.reader().hash().unwrap()), (applied, hash));
    assert_eq!(copy.kv.opaque(), bytes("opaque"));
    assert_eq!(copy.range(&get("\0", "\0")).unwrap().count, 31);
    copy.put("works", "on");
}

#[test]
fn a_broken_snapshot_is_no_state() {
    let mut machine = filled();
    machine.checkpoint();
    let pieces = pieces(&machine.kv, 200);
    assert!(pieces.len() > 4);
    let receive = |pieces: &[Bytes]| {
        let mut sink = SnapshotSink::create(Disk::default(), 9)?;
        pieces.iter().try_for_each(|piece| sink.write(piece))?;
        sink.finish()
    };
    receive(&pieces).unwrap();
    let mut flipped = pieces.clone();
    let mut piece = flipped[1].to_vec();
    piece[20] ^= 1;
    flipped[1] = piece.into();
    let mut exchanged = pieces.clone();
    exchanged.swap(1, 2);
    let mut doubled = pieces.clone();
    doubled.insert(2, pieces[1].clone());
    let without = |n: usize| [&pieces[..n], &pieces[n + 1..]].concat();
    let cut = vec![pieces[0].slice(..3)];
    for broken in [flipped, exchanged, doubled, without(1), without(pieces.len() - 1), cut, vec![]] {
        assert!(matches!(receive(&broken), Err(KvError::Snapshot { .. })));
    }
}

#[test]
fn half_a_snapshot_and_a_file_in_use_are_refused() {
    let mut machine = filled();
    machine.checkpoint();
    let disk = Disk::default();
    let mut sink = SnapshotSink::create(disk.clone(), 9).unwrap();
    sink.write(&pieces(&machine.kv, 500)[0]).unwrap();
    assert!(matches!(Kv::open(disk.after_crash(), Options::default()), Err(KvError::HalfSnapshot)));
    assert!(matches!(SnapshotSink::create(machine.disk.after_crash(), 9), Err(KvError::NotEmpty)));
    let garbage = Disk::of(vec![7; 100_000]);
    assert!(Kv::open(garbage, Options::default()).unwrap_err().is_damage());
}

#[test]
fn the_size_follows_the_rows_and_not_the_file() {
    let mut machine = Machine::new();
    for _ in 0..10 {
        for n in 0..300 {
            machine.put(&format!("k{n:03}"), &"v".repeat(1_000));
        }
        let revision = machine.kv.revision();
        machine.must(&Command::Compact { revision });
        machine.checkpoint();
        machine.checkpoint();
    }
    let (allocated, in_use) = machine.kv.reader().size();
    assert!((300_000..400_000).contains(&in_use), "{in_use}");
    assert!((300_000..700_000).contains(&allocated), "{allocated}");
}

#[test]
fn memory_is_counted_and_given_back() {
    let mut machine = Machine::new();
    assert_eq!(machine.kv.memory_bytes(), 0);
    machine.put("k", &"v".repeat(1000));
    let used = machine.kv.memory_bytes();
    assert!((1000..2000).contains(&used), "{used}");
    machine.checkpoint();
    assert_eq!(machine.kv.memory_bytes(), 0);
}

#[test]
fn a_broken_disk_stops_the_machine_instead_of_answering() {
    let mut machine = Machine::new();
    for n in 0..1_000 {
        machine.put(&format!("k{n:03}"), &"v".repeat(500));
    }
    machine.checkpoint();
    let disk = machine.disk.after_crash();
    // The cache holds far less than there is.
    let mut kv = Kv::open(disk.clone(), Options { cache_bytes: 40_000, ..Options::default() }).unwrap();
    let (index, reader) = (kv.applied().0, kv.reader());
    disk.break_down();
    // Nothing says that what lies on it is damaged: the replica stops, but keeps its state.
    let unreadable = |error: &KvError| matches!(error, KvError::Block(_)) && !error.is_damage();
    assert!(matches!(reader.range(&get("\0", "\0")), Err(Failure::Storage(error)) if unreadable(&error)));
    assert!(matches!(kv.batch().apply(index + 1, 1, &delete("\0", "\0")), Err(error) if unreadable(&error)));
    assert!(unreadable(&kv.scrub().next(u64::MAX).unwrap_err()));
    assert!(matches!(kv.batch().apply(index + 2, 1, &put("x", "")), Err(KvError::Stopped)));
    let kv = Kv::open(disk.after_crash(), Options::default()).unwrap();
    assert_eq!((kv.applied().0, kv.scrub().next(u64::MAX).unwrap().wrapped), (index, true));
}

#[test]
fn a_checkpoint_that_fails_leaves_the_one_before() {
    let mut machine = filled();
    machine.checkpoint();
    let applied = machine.kv.applied();
    machine.put("a", "1");
    let checkpoint = machine.kv.begin_checkpoint(Bytes::new()).unwrap();
    machine.disk.break_down();
    assert!(matches!(checkpoint.run(), Err(KvError::Storage { .. })));
    assert_eq!(Machine::open(machine.disk.after_crash()).kv.applied(), applied);
}

#[test]
fn a_sync_that_failed_is_not_tried_again() {
    let mut machine = filled();
    machine.checkpoint();
    machine.put("a", "1");
    let checkpoint = machine.kv.begin_checkpoint(Bytes::new()).unwrap();
    machine.disk.fail_next_sync();
    assert!(matches!(checkpoint.run(), Err(KvError::Storage { .. })), "what the failed sync lost, no later one has");
}
