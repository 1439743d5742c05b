#![allow(clippy::unwrap_used)]
use super::*;

fn disk(seed: u64) -> (SimDisk, PathBuf) {
    let disk = SimDisk::new(seed);
    let dir = PathBuf::from("/data/log");
    disk.create_dir_all(&dir).unwrap();
    (disk, dir)
}

fn read(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, OpenMode::Existing).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn what_was_synced_survives_every_crash() {
    for seed in 0..50 {
        let (disk, dir) = disk(seed);
        let path = dir.join("a");
        let file = disk.open(&path, OpenMode::New).unwrap();
        file.allocate(10_000).unwrap();
        file.write_all_at(&[7; 6000], 1000).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(&dir).unwrap();
        file.write_all_at(&[9; 100], 9000).unwrap();
        disk.crash();
        let bytes = read(&disk, &path);
        assert_eq!(bytes.len(), 10_000);
        assert_eq!(bytes[..1000], [0; 1000]);
        assert_eq!(bytes[1000..7000], [7; 6000]);
        assert!(file.len().is_err(), "a file opened before the crash is dead");
    }
}

#[test]
fn unsynced_writes_survive_wholly_partly_or_not() {
    let mut fates = BTreeSet::new();
    for seed in 0..100 {
        let (disk, dir) = disk(seed);
        let file = disk.open(&dir.join("a"), OpenMode::New).unwrap();
        file.allocate(4096).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(&dir).unwrap();
        file.write_all_at(&[1; 2048], 256).unwrap();
        disk.crash();
        let bytes = read(&disk, &dir.join("a"));
        let kept = bytes.iter().filter(|byte| **byte == 1).count();
        // Sectors tear at their own borders, not at the write's.
        assert!(bytes.chunks(512).skip(1).take(3).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        fates.insert(if kept == 0 {
            "none"
        } else if kept == 2048 {
            "all"
        } else {
            "torn"
        });
    }
    assert_eq!(fates.len(), 3);
}

#[test]
fn names_are_durable_after_sync_dir() {
    let mut lost = 0;
    for seed in 0..50 {
        let (disk, dir) = disk(seed);
        disk.open(&dir.join("kept"), OpenMode::New).unwrap();
        disk.sync_dir(&dir).unwrap();
        disk.open(&dir.join("fresh"), OpenMode::New).unwrap();
        disk.rename(&dir.join("fresh"), &dir.join("renamed")).unwrap();
        disk.remove(&dir.join("kept")).unwrap();
        disk.crash();
        // Changes survive in their order: a first part of them.
        let names = disk.list(&dir).unwrap();
        let possible: [&[&str]; 4] = [&["kept"], &["fresh", "kept"], &["kept", "renamed"], &["renamed"]];
        assert!(possible.contains(&names.iter().map(String::as_str).collect::<Vec<_>>().as_slice()), "{names:?}");
        lost += usize::from(names == ["kept"]);
    }
    assert!(lost > 0);
}

#[test]
fn the_same_seed_crashes_the_same_way() {
    let outcome = |seed| {
        let (disk, dir) = disk(seed);
        for name in ["a", "b", "c"] {
            let file = disk.open(&dir.join(name), OpenMode::New).unwrap();
            file.write_all_at(&[3; 5000], 0).unwrap();
        }
        disk.crash();
        disk.list(&dir).unwrap().iter().map(|name| read(&disk, &dir.join(name))).collect::<Vec<_>>()
    };
    assert_eq!(outcome(5), outcome(5));
}

#[test]
fn a_failed_sync_loses_what_it_was_for() {
    let (disk, dir) = disk(1);
    let file = disk.open(&dir.join("a"), OpenMode::New).unwrap();
    file.allocate(8192).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(&dir).unwrap();
    file.write_all_at(b"lost", 0).unwrap();
    disk.fail_syncs(true);
    assert!(file.sync_data().is_err());
    assert!(disk.sync_dir(&dir).is_err());
    disk.fail_syncs(false);
    file.sync_data().unwrap();
    disk.crash();
    assert_eq!(read(&disk, &dir.join("a"))[..4], [0; 4]);
    assert_eq!(disk.syncs(), 5);
    assert_eq!(disk.bytes_written(), 4);
}

#[test]
fn one_sync_may_fail_and_the_next_does_not_make_up_for_it() {
    let (disk, dir) = disk(1);
    let file = disk.open(&dir.join("a"), OpenMode::New).unwrap();
    file.allocate(8192).unwrap();
    disk.fail_one_sync_after(Some(2));
    file.sync_data().unwrap();
    disk.sync_dir(&dir).unwrap();
    file.write_all_at(b"lost", 0).unwrap();
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(disk.syncs_failed(), 1);
    disk.crash();
    assert_eq!(read(&disk, &dir.join("a"))[..4], [0; 4]);
}

#[test]
fn a_full_disk_says_so() {
    let (disk, dir) = disk(1);
    let file = disk.open(&dir.join("a"), OpenMode::New).unwrap();
    disk.full(Some(100));
    assert_eq!(file.allocate(101).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_all_at(&[1; 60], 0).unwrap();
    file.write_all_at(&[2; 60], 0).unwrap(); // what is there may be overwritten
    assert_eq!(file.write_all_at(&[1; 50], 60).unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.full(None);
    file.allocate(1000).unwrap();
}

#[test]
fn shrinking_forgets_what_was_behind() {
    let (disk, dir) = disk(1);
    let file = disk.open(&dir.join("a"), OpenMode::New).unwrap();
    file.write_all_at(&[5; 9000], 0).unwrap();
    file.set_len(4100).unwrap();
    file.set_len(9000).unwrap();
    let bytes = read(&disk, &dir.join("a"));
    assert_eq!(bytes[..4100], [5; 4100]);
    assert_eq!(bytes[4100..], [0; 4900]);
}
