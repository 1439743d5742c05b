//! Full disks: the reserve is taken, made again, and nothing is lost meanwhile.

use super::fault::FragileDisk;
use super::*;

fn with_reserve() -> Options {
    Options { reserve: true, ..small() }
}

fn make_reserve(log: &mut Log) {
    if let Some(job) = log.start_reserve() {
        assert!(log.start_reserve().is_none(), "one at a time");
        let done = job.run();
        log.finish_reserve(done);
    }
}

#[test]
fn a_full_disk_leaves_the_rest_of_one_segment() {
    let (disk, mut log) = fresh(with_reserve());
    assert_eq!(log.space(), Space::Ample);
    log.save(append(G1, entries(1, 1, 1, 100)));
    flush(&mut log);
    make_reserve(&mut log);
    disk.full(Some(0));
    let mut index = 1;
    // The current segment, then the reserve.
    while log.segments() < 2 {
        assert_eq!(log.space(), Space::Ample);
        index += 1;
        log.save(append(G1, entries(index, index, 1, 100)));
        flush(&mut log);
        make_reserve(&mut log);
    }
    let Space::Low { bytes_left } = log.space() else { panic!("the disk is full") };
    assert!(bytes_left > 3000, "{bytes_left}");
    // Votes go on, and a restart does.
    log.save(Write { hard_state: Some(vote(9, 1)), ..append(G1, vec![]) });
    flush(&mut log);
    drop(log);
    let (mut log, groups) = open(&disk, with_reserve()).unwrap();
    assert_eq!((groups[&G1].hard_state, groups[&G1].last), (vote(9, 1), Index(index)));
    assert!(matches!(log.space(), Space::Low { .. }));
    make_reserve(&mut log);
    assert!(matches!(log.space(), Space::Low { .. }), "still");
    disk.full(None);
    make_reserve(&mut log);
    assert_eq!(log.space(), Space::Ample);
    assert!(log.start_reserve().is_none(), "there is one");
    for _ in 0..100 {
        index += 1;
        log.save(append(G1, entries(index, index, 1, 100)));
        flush(&mut log);
        make_reserve(&mut log);
    }
    assert_eq!(all(&open(&disk, with_reserve()).unwrap().0, G1), entries(1, index, 1, 100));
}

#[test]
fn segments_that_nobody_needs_become_the_reserve() {
    let (disk, mut log) = fresh(with_reserve());
    log.save(append(G1, entries(1, 1, 1, 3000)));
    flush(&mut log);
    make_reserve(&mut log);
    disk.full(Some(0));
    log.save(append(G1, entries(2, 2, 1, 3000)));
    flush(&mut log);
    make_reserve(&mut log);
    assert!(matches!(log.space(), Space::Low { .. }));
    log.compact(G1, position(log.last(G1).0 - 1, 1));
    flush(&mut log);
    assert_eq!(log.space(), Space::Ample, "compaction gives space back");
}

#[test]
fn a_disk_may_be_full_at_any_byte() {
    for bytes in (0..30_000).step_by(777) {
        let disk = Arc::new(SimDisk::new(1));
        disk.full(Some(bytes));
        let Ok((mut log, _)) = open(&disk, with_reserve()) else { continue };
        let mut durable = 0;
        for index in 1..=40 {
            make_reserve(&mut log);
            if matches!(log.space(), Space::Low { bytes_left } if bytes_left < 200) {
                break; // whoever heeds it loses nothing
            }
            log.save(append(G1, entries(index, index, 1, 100)));
            flush(&mut log);
            durable = index;
        }
        assert!(durable > 20 || bytes < 12_000, "{bytes} bytes, {durable} entries");
        drop(log);
        disk.full(None);
        disk.crash();
        let (mut log, _) = open(&disk, with_reserve()).unwrap();
        assert_eq!(all(&log, G1), entries(1, durable, 1, 100), "{bytes} bytes");
        log.save(append(G1, entries(durable + 1, durable + 40, 1, 100)));
        flush(&mut log);
    }
}

#[test]
fn a_reserve_survives_a_restart_where_it_fits() {
    let (disk, mut log) = fresh(with_reserve());
    log.save(append(G1, entries(1, 1, 1, 100)));
    flush(&mut log);
    make_reserve(&mut log);
    let files = image(&disk).len();
    drop(log);
    disk.full(Some(0));
    let (log, _) = open(&disk, with_reserve()).unwrap();
    assert_eq!((log.space(), image(&disk).len()), (Space::Ample, files));
    drop(log);
    let larger = Options { segment_bytes: 8192, ..with_reserve() };
    let (log, _) = open(&disk, larger).unwrap();
    assert!(matches!(log.space(), Space::Low { .. }), "it was too short, and there is no room");
}

/// Power goes while a dead segment's files are renamed or removed, or a new one's get their names, and the disk is full.
#[test]
fn a_full_disk_does_not_prevent_a_start() {
    let options = Options { cache_bytes: 0, ..with_reserve() };
    for changes in 0.. {
        let sim = SimDisk::new(changes);
        let disk = FragileDisk::new(sim.clone());
        let opened = |disk: &FragileDisk| Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, options);
        let (mut log, _) = opened(&disk).unwrap();
        disk.fail_after(changes as i64);
        let mut whole = true;
        for index in 1..=30 {
            log.save(append(G1, entries(index, index, 1, 700)));
            if index % 8 == 0 {
                log.compact(G1, position(index - 1, 1));
            }
            let Some(job) = log.start_write() else { continue };
            match job.run() {
                Ok(done) => drop(log.finish_write(done)),
                Err(_) => {
                    whole = false;
                    break;
                }
            }
            make_reserve(&mut log);
        }
        drop(log);
        whole &= disk.has_power();
        disk.crash();
        sim.full(Some(0));
        let names = sim.list(&dir()).unwrap();
        opened(&disk).unwrap_or_else(|error| panic!("after {changes} changes: {error}; {names:?}"));
        if whole {
            return;
        }
    }
}

#[test]
fn bytes_left_can_be_written() {
    // The ledger is full before the segment is.
    let (disk, mut log) = fresh(Options { cache_bytes: 0, ..with_reserve() });
    disk.full(Some(0));
    for index in 1.. {
        let before = log.space();
        log.save(append(G1, entries(index, index, 1, 1)));
        let job = log.start_write().unwrap_or_else(|| panic!("{before:?}, and 80 bytes have no room"));
        let done = job.run().unwrap();
        assert_eq!(log.finish_write(done).len(), 1, "{before:?}");
        make_reserve(&mut log);
        if matches!(log.space(), Space::Low { bytes_left } if bytes_left < 128) {
            return;
        }
    }
}

#[test]
fn a_ledger_that_is_needed_takes_the_reserves_place() {
    let (disk, mut log) = fresh(with_reserve());
    for index in 1..=12 {
        log.save(append(G1, entries(index, index, 1, 700)));
        flush(&mut log);
        make_reserve(&mut log);
    }
    assert!(log.segments() > 1);
    assert_eq!(log.space(), Space::Ample);
    drop(log);
    disk.full(Some(0));
    disk.remove(&ledger_path(1)).unwrap();
    let (log, groups) = open(&disk, with_reserve()).unwrap();
    assert!(matches!(log.space(), Space::Low { .. }));
    assert_eq!((groups[&G1].last, all(&log, G1)), (Index(12), entries(1, 12, 1, 700)));
}
