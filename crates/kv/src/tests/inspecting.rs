//! Looking at a state file from outside: the scrub beside a running machine, and the check of one that is down.

use super::*;
use crate::key;
use crate::sealed::{Handle, Sealed};

/// A machine with something in every table, and history on its way out.
pub(crate) fn furnished() -> Machine {
    let mut machine = Machine::new();
    machine.must(&Command::LeaseGrant { id: 7, ttl: 10 });
    machine.must(&Command::LeaseGrant { id: -7, ttl: 20 });
    for n in 0..60 {
        machine.put(&format!("k{n:02}"), &format!("first {}", "x".repeat(n * 5)));
    }
    machine.checkpoint();
    for n in 0..30 {
        machine.must(&put_leased(&format!("k{n:02}"), if n % 2 == 0 { 7 } else { -7 }));
    }
    machine.must(&Command::MemberAttributes(Member { id: 3, name: "three".into(), ..Member::default() }));
    machine.must(&Command::Alarm { raise: true, member: 3, alarm: Alarm::NoSpace });
    machine.must(&Command::Alarm { raise: false, member: 3, alarm: Alarm::NoSpace });
    machine.must(&Command::Alarm { raise: true, member: 4, alarm: Alarm::NoSpace });
    machine.must(&Command::Alarm { raise: false, member: 4, alarm: Alarm::NoSpace });
    machine.put("large", &"L".repeat(20_000));
    machine.must(&delete("k2", "k3"));
    machine.must(&Command::Compact { revision: 70 });
    machine.checkpoint();
    machine
}

#[test]
fn a_sound_file_passes_the_check_and_is_not_touched() {
    let mut machine = furnished();
    let mut last = 0;
    for _ in 0..4 {
        let disk = machine.disk.after_crash();
        let before = disk.image();
        let report = check_state(disk.clone(), &mut |done, total| {
            assert!(done >= last && done <= total);
            last = done;
        });
        last = 0;
        let report = report.unwrap();
        assert_eq!(report.findings, [] as [String; 0]);
        assert_eq!(report.applied, machine.kv.applied());
        assert_eq!((report.applied.0, report.digest), machine.kv.digest());
        assert_eq!((report.revision, report.compacted), (machine.kv.revision(), machine.kv.compacted()));
        let reader = machine.kv.reader();
        assert_eq!(report.hash, reader.hash().unwrap());
        assert_eq!(report.keys as i64, reader.range(&get("\0", "\0")).unwrap().0.count);
        assert_eq!((report.leases, report.torn), (2, 0));
        assert!(report.blocks > 0);
        assert!(disk.image() == before, "the check changes nothing");
        machine.put("k05", "on and on");
        machine.must(&delete("k4", "k5"));
        machine.checkpoint();
    }
}

#[test]
fn the_keys_of_a_file_can_be_listed() {
    let machine = furnished();
    let inspection = Inspection::open(machine.disk.after_crash()).unwrap();
    let keys: Vec<KeyValue> = inspection.keys().unwrap().map(Result::unwrap).collect();
    assert_eq!(keys, machine.range(&get("\0", "\0")).unwrap().kvs);
    assert_eq!((inspection.applied().0, inspection.digest()), machine.kv.digest());
    assert!(matches!(Inspection::open(Disk::default()), Err(KvError::Empty)));
}

#[test]
fn a_scrub_reads_everything_in_portions_beside_checkpoints() {
    let mut machine = furnished();
    let mut scrub = machine.kv.scrub();
    let (mut portions, mut rounds, mut bytes) = (0, 0, 0);
    while rounds < 3 {
        let portion = scrub.next(8_192).unwrap();
        bytes += portion.bytes;
        portions += 1;
        rounds += u32::from(portion.wrapped);
        machine.put(&format!("k{:02}", portions % 60), &"y".repeat(portions * 7 % 300));
        if portions % 3 == 0 {
            machine.checkpoint();
        }
    }
    assert!(portions > 6 && bytes > 3 * 40_000, "{portions} portions, {bytes} bytes");
}

#[test]
fn a_scrub_on_another_thread_meets_no_damage_that_is_not_there() {
    let mut machine = furnished();
    let mut scrub = machine.kv.scrub();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                assert_eq!(scrub.next(16_384).unwrap().mended, 0);
            }
        });
        for round in 0..60 {
            for n in 0..60 {
                machine.put(&format!("k{n:02}"), &format!("{round}{}", "z".repeat(round * 11)));
            }
            let revision = machine.kv.revision() - 30;
            machine.must(&Command::Compact { revision });
            machine.checkpoint();
        }
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_rotten_checksum_block_is_written_again() {
    let mut machine = furnished();
    let mut scrub = machine.kv.scrub();
    assert_eq!(scrub.next(u64::MAX).unwrap().mended, 0);
    machine.disk.edit(|bytes| bytes[8_192 + 5] ^= 1);
    let portion = scrub.next(u64::MAX).unwrap();
    assert_eq!((portion.mended, portion.wrapped), (1, true));
    machine.put("k00", "a checkpoint writes it");
    machine.checkpoint();
    assert_eq!(scrub.next(u64::MAX).unwrap().mended, 0);
    assert!(check_state(machine.disk.after_crash(), &mut |_, _| {}).unwrap().findings.is_empty());
}

/// Changes rows behind the machine's back, as a bug would.
fn tampered(change: impl FnOnce(&redb::WriteTransaction)) -> StateReport {
    let machine = furnished();
    let disk = machine.disk.after_crash();
    let database = redb::Builder::new().create_with_backend(Handle(Arc::new(Sealed::open(disk.clone(), 0).unwrap())));
    let database = database.unwrap();
    let mut transaction = database.begin_write().unwrap();
    transaction.set_quick_repair(true);
    change(&transaction);
    transaction.commit().unwrap();
    drop(database);
    check_state(disk, &mut |_, _| {}).unwrap()
}

#[test]
fn tables_that_disagree_are_found() {
    let remove = |table: Table, key: Vec<u8>| {
        tampered(|transaction| {
            let mut table = transaction.open_table(table.definition()).unwrap();
            assert!(table.remove(&key[..]).unwrap().is_some());
        })
    };
    let says = |report: StateReport, what: &str| {
        assert!(report.findings.iter().any(|finding| finding.contains(what)), "{what}: {:?}", report.findings);
    };
    says(remove(Table::Keys, key::prefix(b"k40")), "counts 1 keys that are not there");
    says(remove(Table::Keys, key::prefix(b"large")), "has no version");
    says(remove(Table::LeaseKeys, key::lease_key(7, b"k00").into()), "is not listed with its lease");
    says(remove(Table::Leases, key::lease(-7).into()), "lease -7, which is not there");
    says(remove(Table::Fences, Vec::new()), "is not counted in its block");
    says(remove(Table::Leases, key::lease(7).into()), "the checkpoint says");
    let report = tampered(|transaction| {
        let mut table = transaction.open_table(Table::Fences.definition()).unwrap();
        table.insert(&b"k30"[..], &5_u32.to_be_bytes()[..]).unwrap();
    });
    says(report, "k30");
}
