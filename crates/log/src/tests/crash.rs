//! What a crash may leave, and what of it a restart finds.

use super::fault::FragileDisk;
use super::*;

/// A log of four batches in one segment, and where each begins.
fn four_batches() -> (Arc<SimDisk>, Vec<usize>) {
    let (disk, mut log) = fresh(small());
    let mut starts = Vec::new();
    for index in 1..=4 {
        starts.push(log.shared.segments.current().map_or(64, |segment| segment.used as usize));
        log.save(Write { hard_state: Some(vote(index, 1)), ..append(G1, entries(index, index, index, 40)) });
        flush(&mut log);
    }
    starts.push(log.shared.segments.current().unwrap().used as usize);
    (disk, starts)
}

/// A disk whose first segment has these bytes, without a ledger: only what the segment itself proves counts.
fn with_bytes(bytes: &[u8]) -> Arc<SimDisk> {
    disk_of(&Image::from([(segment_name(1), bytes.to_vec())]))
}

/// How many of the four batches are there, all their content checked.
fn batches_found(disk: &Arc<SimDisk>) -> u64 {
    let (log, groups) = open(disk, small()).unwrap();
    let last = groups[&G1].last.0;
    assert_eq!(groups[&G1].hard_state, vote(last, 1), "hard state and entries stand together");
    let expected: Vec<Entry> = (1..=last).flat_map(|index| entries(index, index, index, 40)).collect();
    assert_eq!(all(&log, G1), expected);
    last
}

#[test]
fn every_cut_leaves_whole_batches() {
    let (disk, starts) = four_batches();
    let whole = read_file(&disk, &segment_path(1));
    for cut in starts[1]..=starts[4] {
        let mut bytes = whole.clone();
        bytes[cut..].fill(0);
        let disk = with_bytes(&bytes);
        let kept = starts.iter().filter(|start| **start <= cut).count() as u64 - 1;
        let found = batches_found(&disk);
        // The zeros at a batch's end are the same whether they were written or not.
        let written = whole[cut..starts[4]].iter().take_while(|byte| **byte == 0).count();
        let kept_at_most = starts.iter().filter(|start| **start <= cut + written).count() as u64 - 1;
        assert!(found >= kept && found <= kept_at_most, "cut at {cut}: found {found}, kept {kept}");
    }
}

#[test]
fn a_cut_log_goes_on() {
    let (disk, starts) = four_batches();
    let mut bytes = read_file(&disk, &segment_path(1));
    bytes[starts[4] - 20..].fill(0);
    let disk = with_bytes(&bytes);
    let (mut log, groups) = open(&disk, small()).unwrap();
    assert_eq!(groups[&G1].last, Index(3));
    let offset = starts[3] as u64;
    let cut = |finding: &Finding| matches!(finding, Finding::Cut { file, offset: at, .. } if *at == offset && *file == segment_path(1));
    assert!(log.findings().iter().any(cut), "{:?}", log.findings());
    log.save(append(G1, entries(4, 4, 9, 3))); // shorter than what was cut
    flush(&mut log);
    let (log, groups) = open(&disk, small()).unwrap();
    assert_eq!(groups[&G1].last, Index(4));
    assert_eq!(log.term_at(G1, Index(4)), Some(Term(9)));
    assert_eq!(log.findings(), []);
}

#[test]
fn cuts_within_a_first_batch_are_no_cuts() {
    // The file gets its name only when the first batch is durable.
    let (disk, starts) = four_batches();
    let whole = read_file(&disk, &segment_path(1));
    for cut in 0..starts[1] - 7 {
        let mut bytes = whole.clone();
        bytes[cut..].fill(0);
        match open(&with_bytes(&bytes), small()) {
            Err(LogError::Damaged { .. }) => assert!(cut < 64 + 32 + 26 + 37, "cut at {cut}"),
            Ok((log, _)) => assert_eq!(log.gaps(G1), [Gap { first: Index(1), last: Index(1) }], "cut at {cut}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn power_lost_at_every_step_of_a_job() {
    // The second job begins a segment, removes one and keeps another as a spare; power goes at each of its steps.
    let mut outcomes = [0; 2];
    for seed in 0..40 {
        for steps in 0..24 {
            let below = SimDisk::new(seed);
            let disk = FragileDisk::new(below);
            let open = || Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, small()).unwrap();
            let (mut log, _) = open();
            for index in 1..=4 {
                log.save(append(G1, entries(index, index, 1, 3000)));
                flush(&mut log);
            }
            log.save(append(G1, entries(5, 5, 2, 3000)));
            log.compact(G1, position(4, 1));
            disk.fail_after(steps);
            let _perhaps = log.start_write().unwrap().run();
            disk.crash();
            let (mut log, groups) = open();
            let found = &groups[&G1];
            match (found.compacted.index.0, found.last.0) {
                (0, 4) => assert_eq!(all(&log, G1), entries(1, 4, 1, 3000)),
                (4, 5) => assert_eq!(all(&log, G1), entries(5, 5, 2, 3000)),
                other => panic!("neither before nor after: {other:?}"),
            }
            outcomes[usize::from(found.last.0 == 5)] += 1;
            log.save(append(G1, entries(found.last.0 + 1, found.last.0 + 1, 7, 2000)));
            flush(&mut log);
            disk.crash();
            assert_eq!(open().1[&G1].last, found.last.next());
        }
    }
    assert!(outcomes[0] > 100 && outcomes[1] > 100, "{outcomes:?}");
}

#[test]
fn what_a_restart_found_survives_the_next_crash() {
    // A process killed between write and sync leaves its batch in the operating system's memory. Once a restart has
    // counted on it, it must not be lost.
    for seed in 0..50 {
        let disk = FragileDisk::new(SimDisk::new(seed));
        let open = || Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, small()).unwrap();
        let (mut log, _) = open();
        log.save(append(G1, entries(1, 1, 1, 100)));
        flush(&mut log);
        log.save(append(G1, entries(2, 2, 1, 100)));
        disk.fail_after(1); // the write, not the sync
        log.start_write().unwrap().run().unwrap_err();
        disk.fail_after(i64::MAX);
        assert_eq!(open().1[&G1].last, Index(2));
        disk.crash();
        let (log, groups) = open();
        assert_eq!((groups[&G1].last, all(&log, G1)), (Index(2), entries(1, 2, 1, 100)));
    }
}
