#![allow(clippy::unwrap_used)]
use std::path::PathBuf;
use std::time::Instant;

use super::*;
use crate::real::RealDisk;
use crate::sim::SimDisk;

const ALWAYS: u64 = u64::MAX;

fn fault(operation: Operation, name: &str, after: u64, times: u64, damage: Damage) -> Fault {
    Fault { operation, name: name.to_owned(), after, times, damage }
}

/// A faulty disk over a simulated one, a directory on it, and a file there with a thousand bytes, synced.
fn setup() -> (FaultyDisk, SimDisk, PathBuf, Arc<dyn File>) {
    let sim = SimDisk::new(7);
    let disk = FaultyDisk::new(Arc::new(sim.clone()), 7);
    let dir = PathBuf::from("/data/log");
    disk.create_dir_all(&dir).unwrap();
    let file = disk.open(&dir.join("1.log"), OpenMode::New).unwrap();
    file.write_all_at(&[7; 1000], 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(&dir).unwrap();
    (disk, sim, dir, file)
}

fn content(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn patterns_fit_names() {
    for (pattern, name, expected) in [
        ("1.log", "1.log", true),
        ("1.log", "11.log", false),
        ("*.log", "1.log", true),
        ("*.log", "1.log.new", false),
        ("*", "", true),
        ("0*7*.log", "00070.log", true),
        ("0*7*.log", "0000.log", false),
        ("ä*", "äö", true),
    ] {
        assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn an_error_strikes_the_operations_it_was_told_to() {
    let (disk, _, dir, file) = setup();
    let id = disk.inject(fault(Operation::Write, "*.log", 2, 3, Damage::Error));
    let other = disk.open(&dir.join("1.ledger"), OpenMode::New).unwrap();
    let outcomes: Vec<bool> = (0..7).map(|at| file.write_all_at(&[at], 0).is_ok()).collect();
    assert_eq!(outcomes, [true, true, false, false, false, true, true]);
    assert_eq!(disk.struck(id), 3);
    other.write_all_at(b"x", 0).unwrap(); // another name
    file.sync_data().unwrap(); // another operation
    assert_eq!(content(&*file)[0], 6);
}

#[test]
fn every_operation_can_fail() {
    use Operation::{Open, Read, Remove, Rename, Resize, Sync, SyncDir, Write};
    let (disk, _, dir, file) = setup();
    let (path, moved) = (dir.join("1.log"), dir.join("2.log"));
    for operation in [Open, Read, Write, Sync, Resize, Rename, Remove, SyncDir] {
        let name = if operation == SyncDir { "log" } else { "*.log" };
        let id = disk.inject(fault(operation, name, 0, ALWAYS, Damage::Error));
        let outcomes = [
            (Open, disk.open(&path, OpenMode::Existing).map(drop)),
            (Read, file.read_exact_at(&mut [0; 4], 0)),
            (Write, file.write_all_at(b"abcd", 0)),
            (Sync, file.sync_data()),
            (Resize, file.allocate(2000).and_then(|()| file.set_len(1000))),
            (Rename, disk.rename(&path, &moved).and_then(|()| disk.rename(&moved, &path))),
            (Remove, disk.open(&moved, OpenMode::ExistingOrNew).and_then(|_| disk.remove(&moved))),
            (SyncDir, disk.sync_dir(&dir)),
        ];
        for (done, outcome) in outcomes {
            // Without opening there is nothing to remove.
            let fails = done == operation || (operation == Open && done == Remove);
            assert_eq!(outcome.is_err(), fails, "{operation:?} fails, {done:?} gave {outcome:?}");
            if let Err(error) = outcome {
                assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
            }
        }
        disk.lift(id);
    }
}

#[test]
fn a_flipped_bit_is_one_bit_and_follows_from_the_seed() {
    let flipped = || {
        let (disk, _, _, file) = setup();
        disk.inject(fault(Operation::Read, "*", 0, 1, Damage::Flip));
        let (seen, whole) = (content(&*file), content(&*file));
        assert_eq!(whole, [7; 1000], "what lies on the disk is whole");
        disk.inject(fault(Operation::Write, "*", 0, 1, Damage::Flip));
        file.write_all_at(&[7; 1000], 0).unwrap();
        let left = content(&*file);
        for bytes in [&seen, &left] {
            assert_eq!(bytes.iter().map(|byte| (byte ^ 7).count_ones()).sum::<u32>(), 1);
        }
        (seen, left)
    };
    assert_eq!(flipped(), flipped());
}

#[test]
fn writes_are_lost_and_misdirected_in_silence() {
    let (disk, _, _, file) = setup();
    disk.inject(fault(Operation::Write, "*", 0, 1, Damage::Lose));
    disk.inject(fault(Operation::Write, "*", 1, 1, Damage::Misdirect(500)));
    file.write_all_at(b"lost", 0).unwrap();
    file.write_all_at(b"astray", 100).unwrap();
    let bytes = content(&*file);
    assert_eq!(bytes[..600], [7; 600]);
    assert_eq!(&bytes[600..606], b"astray");
}

#[test]
fn a_sync_that_lies_shows_at_the_crash() {
    let mut kept = 0;
    for lie in [false, true] {
        let (disk, sim, dir, file) = setup();
        let mut survived = true;
        if lie {
            disk.inject(fault(Operation::Sync, "*.log", 0, ALWAYS, Damage::Lose));
        }
        for at in 0..64 {
            file.write_all_at(&[9; 8], at * 8).unwrap();
            file.sync_data().unwrap();
        }
        sim.crash();
        let after = content(&*disk.open(&dir.join("1.log"), OpenMode::Existing).unwrap());
        survived &= after[..512] == [9; 512];
        kept += usize::from(survived);
        assert!(lie || survived, "what was synced survives");
    }
    assert_eq!(kept, 1, "this seed loses what no sync made durable");
}

#[test]
fn a_full_disk_has_room_again_when_files_go() {
    let (disk, _, dir, file) = setup();
    disk.full(Some(100));
    file.write_all_at(&[1; 1000], 0).unwrap(); // what is there may be overwritten
    assert_eq!(file.write_all_at(&[1; 101], 1000).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.allocate(1101).unwrap_err().kind(), io::ErrorKind::StorageFull);
    let small = disk.open(&dir.join("small"), OpenMode::New).unwrap();
    small.write_all_at(&[1; 100], 0).unwrap();
    assert!(small.allocate(101).is_err());
    disk.remove(&dir.join("small")).unwrap();
    file.allocate(1100).unwrap();
    file.set_len(500).unwrap();
    file.allocate(1100).unwrap();
    assert!(file.allocate(1101).is_err());
    disk.full(None);
    file.allocate(100_000).unwrap();
    disk.inject(fault(Operation::Write, "*", 0, 1, Damage::Full));
    assert_eq!(file.write_all_at(b"x", 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn hanging_ends_with_the_release_and_delays_by_themselves() {
    let (disk, _, _, file) = setup();
    let hang = disk.inject(fault(Operation::Sync, "*.log", 0, 1, Damage::Hang));
    let waiting = std::thread::spawn({
        let file = file.clone();
        move || file.sync_data()
    });
    while disk.hanging() == 0 {
        std::thread::yield_now();
    }
    file.write_all_at(b"others go on", 0).unwrap();
    assert!(!waiting.is_finished());
    disk.release();
    waiting.join().unwrap().unwrap();
    assert_eq!((disk.hanging(), disk.struck(hang)), (0, 1));
    file.sync_data().unwrap();

    let time = Duration::from_millis(20);
    disk.inject(fault(Operation::Sync, "*.log", 0, 1, Damage::Delay(time)));
    let begin = Instant::now();
    file.sync_data().unwrap();
    assert!(begin.elapsed() >= time);
}

#[test]
fn real_files_take_faults_too() {
    let temporary = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(Arc::new(RealDisk), 1);
    let path = temporary.path().join("state.redb");
    let file = disk.open(&path, OpenMode::New).unwrap();
    let id = disk.inject(fault(Operation::Sync, "state*", 1, 1, Damage::Error));
    file.write_all_at(b"hello", 0).unwrap();
    file.sync_data().unwrap();
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(disk.struck(id), 1);
    disk.inject(fault(Operation::Write, "state*", 0, 1, Damage::Flip));
    file.write_all_at(b"hello", 0).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.iter().zip(b"hello").map(|(a, b)| (a ^ b).count_ones()).sum::<u32>(), 1);
}
