//! Sectors that cannot be read, and what is written beside them.

use super::fault::FragileDisk;
use super::*;

/// The row of the last batch was lost with the power, and its page cannot be read.
#[test]
fn what_cannot_be_read_is_not_taken_for_a_torn_write() {
    let disk = FragileDisk::new(SimDisk::new(1));
    let opened = |disk: &FragileDisk| Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, small());
    let (mut log, _) = opened(&disk).unwrap();
    for index in 1..=3 {
        log.save(append(G1, entries(index, index, 1, 600)));
        flush(&mut log);
    }
    assert_eq!(log.segments(), 1);
    let (_, place) = log.shared.segments.find(3).unwrap();
    let (start, end, row) = (u64::from(place.offset), place.end(), u64::from(place.row));
    drop(log);
    // Power is lost: the last row had not reached the disk.
    let path = ledger_path(1);
    {
        let disk: &dyn Disk = &disk;
        let file = disk.open(&path, OpenMode::Existing).unwrap();
        file.write_all_at(&[0; 128], row).unwrap();
        file.sync_data().unwrap();
    }
    let name = segment_name(1);
    disk.fail_reads(&name, start..end);
    let refused = opened(&disk).unwrap_err();
    assert!(matches!(refused, LogError::Io { action: "read", .. }), "{refused}");
    disk.heal();
    assert_eq!(opened(&disk).unwrap().1[&G1].last, Index(3), "a start that can read finds it");
}

/// Four entries, in the first four pages of segments of five pages.
fn pages() -> (FragileDisk, Options) {
    let options = Options { segment_bytes: 5 * 4096, cache_bytes: 0, ..small() };
    let disk = FragileDisk::new(SimDisk::new(1));
    let (mut log, _) = Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, options).unwrap();
    for index in 1..=4 {
        log.save(append(G1, entries(index, index, 1, 3900)));
        flush(&mut log);
    }
    assert_eq!(log.segments(), 1);
    (disk, options)
}

#[test]
fn a_segment_with_a_bad_page_is_left() {
    for page in 0..5 {
        let (disk, options) = pages();
        disk.fail_reads(&segment_name(1), page * 4096..page * 4096 + 4096);
        let opened = || Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, options);
        if page == 3 {
            // The log ends there.
            assert!(matches!(opened(), Err(LogError::Io { action: "read", .. })));
            continue;
        }
        let (mut log, groups) = opened().unwrap();
        assert_eq!(groups[&G1].last, Index(4));
        let lost = log.gaps(G1).to_vec();
        assert_eq!(lost.is_empty(), page == 4, "{lost:?}");
        let unrepaired = log.findings().iter().any(|finding| matches!(finding, Finding::Unrepaired { .. }));
        assert_eq!(unrepaired, page < 3, "{:?}", log.findings());
        log.save(Write { hard_state: Some(vote(3, 1)), ..append(G1, entries(5, 5, 2, 10)) });
        for gap in lost {
            log.mend(G1, Ticket(1), entries(gap.first.0, gap.last.0, 1, 3900)).unwrap();
        }
        flush(&mut log);
        assert_eq!(log.segments(), 2, "nothing is written beside it");
        let expected = [entries(1, 4, 1, 3900), entries(5, 5, 2, 10)].concat();
        assert_eq!(all(&log, G1), expected);
        drop(log);
        // Now it is an older one.
        let (log, groups) = opened().unwrap();
        assert_eq!((all(&log, G1), groups[&G1].hard_state), (expected, vote(3, 1)), "page {page}");
    }
}

#[test]
fn a_ledger_with_a_bad_page_is_made_anew() {
    for page in 0..2 {
        let (disk, options) = pages();
        disk.fail_reads(&ledger_name(1), page * 4096..page * 4096 + 4096);
        let (mut log, groups) = Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, options).unwrap();
        assert_eq!((groups[&G1].last, log.gaps(G1)), (Index(4), &[][..]));
        disk.heal(); // the sectors are no longer those of the ledger
        for index in 5..=30 {
            log.save(Write { hard_state: Some(vote(index, 1)), ..append(G1, entries(index, index, 1, 10)) });
            flush(&mut log);
        }
        drop(log);
        let (log, groups) = Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, options).unwrap();
        assert_eq!((groups[&G1].last, groups[&G1].hard_state), (Index(30), vote(30, 1)));
        assert_eq!(log.findings(), []);
    }
}

#[test]
fn payloads_that_cannot_be_read_are_not_taken_for_torn_ones() {
    // The last batch begins in the third page and ends in the fourth; its row was lost with the power.
    let (disk, options) = pages();
    let opened = || Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, options);
    let row = opened().unwrap().0.shared.segments.find(4).unwrap().1.row;
    let ledger = disk.open(&ledger_path(1), OpenMode::Existing).unwrap();
    ledger.write_all_at(&[0; 128], u64::from(row)).unwrap();
    ledger.sync_data().unwrap();
    disk.fail_reads(&segment_name(1), 3 * 4096..4 * 4096);
    assert!(matches!(opened(), Err(LogError::Io { action: "read", .. })));
    disk.heal();
    // A batch that was begun, by its header, and whose row cannot be read.
    let segment = disk.open(&segment_path(1), OpenMode::Existing).unwrap();
    segment.write_all_at(b"rot", 3 * 4096 + 100).unwrap();
    disk.fail_reads(&ledger_name(1), 0..4096);
    assert!(matches!(opened(), Err(LogError::Io { action: "read", .. })));
    disk.heal();
    assert_eq!(opened().unwrap().1[&G1].last, Index(3), "it can be read, so it was torn");
}

#[test]
fn the_scrub_has_a_segment_with_a_bad_page_left() {
    for name in [segment_name(1), ledger_name(1)] {
        let (disk, options) = pages();
        let (mut log, _) = Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, options).unwrap();
        disk.fail_reads(&name, 0..4096);
        let done = log.start_scrub(u64::MAX).unwrap().run();
        log.finish_scrub(done);
        log.save(append(G1, entries(5, 5, 1, 10)));
        flush(&mut log);
        assert_eq!(log.segments(), 2);
        assert!(log.findings().iter().any(|finding| matches!(finding, Finding::Unrepaired { .. })), "{name}");
        assert_eq!(log.last(G1), Index(5));
    }
}
