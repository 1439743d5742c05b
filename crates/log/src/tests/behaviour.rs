//! What the log does while all goes well, and when a write fails.

use std::io;

use kontiki_raft::TermRun;
use kontiki_world::{Damage as DiskDamage, Fault, FaultyDisk, Operation, RealDisk};

use super::*;

#[test]
fn one_write_is_in_flight_while_the_next_batch_fills() {
    let (disk, mut log) = fresh(small());
    assert!(log.start_write().is_none(), "nothing is staged");
    log.save(Write { ticket: Ticket(1), ..append(G1, entries(1, 2, 1, 8)) });
    let job = log.start_write().unwrap();
    assert!(log.is_writing());
    log.save(Write { ticket: Ticket(2), ..append(G1, entries(3, 3, 1, 8)) });
    log.save(Write { ticket: Ticket(3), ..append(G2, entries(1, 1, 1, 8)) });
    log.save(Write { ticket: Ticket(4), ..append(G1, entries(4, 4, 1, 8)) });
    assert!(log.start_write().is_none(), "one is in flight");
    assert_eq!(all(&log, G1), entries(1, 4, 1, 8), "what is staged can be read");
    let done = job.run().unwrap();
    assert_eq!(log.finish_write(done), [(G1, Ticket(1))]);
    let syncs = disk.syncs();
    assert_eq!(flush(&mut log), [(G1, Ticket(4)), (G2, Ticket(3))]);
    assert_eq!(disk.syncs(), syncs + 1, "one sync for all groups");
    assert!(log.start_write().is_none() && !log.is_writing());
}

#[test]
fn a_restart_finds_everything() {
    let (disk, mut log) = fresh(small());
    let mut saved = entries(1, 5, 1, 20);
    saved.extend(entries(6, 9, 4, 20));
    log.save(Write { hard_state: Some(vote(4, 2)), ..append(G1, saved) });
    log.save(append(G1, entries(8, 8, 5, 30)));
    log.compact(G1, position(2, 1));
    log.save(Write { hard_state: Some(vote(9, 1)), ..append(G2, vec![]) });
    flush(&mut log);
    let (log, groups) = open(&disk, small()).unwrap();
    let runs = [(1, 3), (4, 6), (5, 8)].map(|(term, first)| TermRun { term: Term(term), first: Index(first) });
    assert_eq!(
        groups[&G1],
        Recovered {
            hard_state: vote(4, 2),
            compacted: position(2, 1),
            runs: runs.to_vec(),
            last: Index(8),
            gaps: vec![]
        }
    );
    let (compacted, last) = (LogPosition::START, Index(0));
    assert_eq!(groups[&G2], Recovered { hard_state: vote(9, 1), compacted, runs: vec![], last, gaps: vec![] });
    assert_eq!(log.recovered(G1).as_ref(), Some(&groups[&G1]));
    let expected = [entries(3, 5, 1, 20), entries(6, 7, 4, 20), entries(8, 8, 5, 30)].concat();
    assert_eq!(all(&log, G1), expected);
    assert_eq!(all(&log, G2), []);
    assert!(log.findings().is_empty());
}

#[test]
fn entries_from_disk_are_those_from_memory() {
    let (disk, mut log) = fresh(Options { cache_bytes: 1 << 20, ..small() });
    let mut index = [1; 3];
    for batch in 0..200u64 {
        for group in 0..3 {
            let count = (batch * 7 + group) % 4;
            let first = index[group as usize];
            log.save(append(GroupId(group), entries(first, first + count, 1 + batch / 50, 30)));
            index[group as usize] += count + 1;
        }
        flush(&mut log);
    }
    let (cold, _) = open(&disk, Options { cache_bytes: 0, ..small() }).unwrap();
    assert_eq!(cold.shared.cache.bytes(), 0);
    for group in (0..3).map(GroupId) {
        let last = log.last(group).0;
        assert_eq!(all(&cold, group), all(&log, group));
        for (first, last, bytes_max) in [(1, 1, 0), (7, 90, 500), (last / 2, last, 2000), (last - 1, last, 1)] {
            let ask = |log: &Log| log.entries(group, Index(first), Index(last), bytes_max).unwrap();
            assert_eq!(ask(&cold), ask(&log));
            assert_eq!(
                cold.fit(group, Index(first), Index(last), bytes_max),
                log.fit(group, Index(first), Index(last), bytes_max),
                "all entries of this test have one size"
            );
        }
    }
}

#[test]
fn fit_takes_at_least_one_and_no_more_than_fits() {
    let (_, mut log) = fresh(small());
    log.save(append(G1, vec![entry(1, 1, [0; 84]), entry(2, 1, [0; 4]), entry(3, 1, [])]));
    let fit = |bytes_max| {
        let (last, bytes) = log.fit(G1, Index(1), Index(9), bytes_max);
        (last.0, bytes)
    };
    assert_eq!(fit(0), (1, 100));
    assert_eq!(fit(119), (1, 100));
    assert_eq!(fit(120), (2, 120));
    assert_eq!(fit(u64::MAX), (3, 136));
    assert_eq!(log.fit(G1, Index(2), Index(2), 1000), (Index(2), 20));
    assert_eq!(log.fit(G1, Index(4), Index(9), 1000), (Index(3), 0));
    assert_eq!(log.fit(G2, Index(1), Index(9), 1000), (Index(0), 0));
}

#[test]
fn memory_is_bounded_and_holds_the_newest() {
    let (_, mut log) = fresh(small());
    for index in 1..=100 {
        log.save(append(GroupId(index % 2), entries(index.div_ceil(2), index.div_ceil(2), 1, 100)));
        flush(&mut log);
        assert!(log.shared.cache.bytes() <= small().cache_bytes);
    }
    assert!(log.groups[&GroupId(0)].cached().len() > 2);
    log.save(append(G1, entries(51, 90, 1, 100)));
    assert!(log.groups[&G1].cached_first() <= Index(51), "what is not durable stays");
    flush(&mut log);
    assert!(log.shared.cache.bytes() <= small().cache_bytes);
    assert_eq!(all(&log, G1), entries(1, 90, 1, 100));
}

#[test]
fn compacted_entries_are_an_error_and_a_reset_log_is_empty() {
    let (_, mut log) = fresh(small());
    log.save(append(G1, entries(1, 9, 3, 10)));
    log.compact(G1, position(4, 3));
    log.compact(G1, position(2, 3)); // already
    let refused = log.entries(G1, Index(4), Index(9), 100).unwrap_err();
    assert!(matches!(refused, LogError::Compacted { first: Index(4), compacted: Index(4), .. }), "{refused}");
    assert_eq!((log.first(G1), log.last(G1), log.term_at(G1, Index(4))), (Index(5), Index(9), Some(Term(3))));
    log.reset(G1, position(20, 5));
    assert_eq!((log.first(G1), log.last(G1), log.term_at(G1, Index(20))), (Index(21), Index(20), Some(Term(5))));
    log.save(append(G1, entries(21, 22, 6, 10)));
    flush(&mut log);
    assert_eq!(all(&log, G1), entries(21, 22, 6, 10));
}

#[test]
#[should_panic(expected = "cannot follow a log that is compacted up to 0 and ends at 3")]
fn a_gap_is_the_programs_fault() {
    let (_, mut log) = fresh(small());
    log.save(append(G1, entries(1, 3, 1, 10)));
    log.save(append(G1, entries(5, 5, 1, 10)));
}

#[test]
fn segments_without_live_entries_are_reused_and_removed() {
    let (disk, mut log) = fresh(small());
    let files = |disk: &SimDisk| disk.list(&dir()).unwrap().len();
    for index in 1..=300 {
        log.save(append(G1, entries(index, index, 1, 100)));
        if index > 20 {
            log.compact(G1, position(index - 20, 1));
        }
        flush(&mut log);
        assert!(files(&disk) <= 8, "{:?}", disk.list(&dir()));
        assert_eq!(log.disk_bytes(), files(&disk) as u64 * 4096, "ledgers take a page here");
    }
    assert_eq!(all(&log, G1), entries(281, 300, 1, 100));
    let (log, _) = open(&disk, small()).unwrap();
    assert_eq!(all(&log, G1), entries(281, 300, 1, 100));
    assert!(files(&disk) <= 6, "a restart needs no spares: {:?}", disk.list(&dir()));
}

#[test]
fn a_slow_group_pins_segments_and_is_named() {
    let (disk, mut log) = fresh(small());
    assert_eq!(log.pinned(), None);
    log.save(Write { hard_state: Some(vote(3, 1)), ..append(G2, entries(1, 1, 1, 10)) });
    for index in 1..=100 {
        log.save(append(G1, entries(index, index, 1, 100)));
        log.compact(G1, position(index - 1, 1));
        flush(&mut log);
    }
    let many = log.segments();
    assert!(many > 2);
    assert_eq!(log.pinned(), Some((G2, many as u64 - 1)));
    log.compact(G2, position(1, 1));
    for index in 101..=120 {
        log.save(append(G1, entries(index, index, 1, 10)));
        flush(&mut log);
    }
    assert!(log.segments() <= 2);
    let (log, groups) = open(&disk, small()).unwrap();
    assert_eq!(groups[&G2].hard_state, vote(3, 1), "the heads of later segments carry it on");
    assert_eq!(groups[&G2].compacted, position(1, 1));
    assert_eq!(all(&log, G1), [entries(100, 100, 1, 100), entries(101, 120, 1, 10)].concat());
}

#[test]
fn a_batch_may_be_larger_than_a_segment() {
    let (disk, mut log) = fresh(small());
    log.save(append(G1, entries(1, 1, 1, 10)));
    flush(&mut log);
    log.save(append(G1, entries(2, 4, 1, 5000)));
    flush(&mut log);
    log.save(append(G1, entries(5, 5, 1, 10)));
    flush(&mut log);
    let expected = [entries(1, 1, 1, 10), entries(2, 4, 1, 5000), entries(5, 5, 1, 10)].concat();
    assert_eq!(all(&log, G1), expected);
    assert_eq!(all(&open(&disk, small()).unwrap().0, G1), expected);
}

#[test]
fn a_failed_write_is_final() {
    let (disk, mut log) = fresh(small());
    log.save(append(G1, entries(1, 1, 1, 10)));
    disk.fail_syncs(true);
    let error = log.start_write().unwrap().run().unwrap_err();
    assert!(error.to_string().contains("cannot sync"), "{error}");
    disk.fail_syncs(false);
    assert!(log.has_failed());
    log.save(append(G1, entries(2, 2, 1, 10)));
    assert!(log.start_write().is_none());
    assert!(matches!(log.entries(G1, Index(1), Index(1), 100), Err(LogError::Failed)));
    assert_eq!(log.last(G1), Index(1));
}

/// The system shows what it will never write: a process that starts again must not take it for durable (fsyncgate).
#[test]
fn what_a_failed_sync_left_in_the_cache_is_written_again() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let open = || Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, small()).unwrap().0;
        let mut log = open();
        log.save(append(G1, entries(1, 1, 1, 10)));
        flush(&mut log);
        log.save(append(G1, entries(2, 3, 1, 10)));
        disk.fail_syncs(true);
        assert!(log.start_write().unwrap().run().is_err());
        disk.fail_syncs(false);
        let shown = all(&open(), G1);
        disk.crash();
        assert_eq!(all(&open(), G1), shown, "seed {seed}: what the second life had acted on is still there");
    }
}

#[test]
fn a_sync_that_failed_is_not_tried_again() {
    for name in ["*.log", "*.ledger"] {
        let disk = FaultyDisk::new(Arc::new(SimDisk::new(1)), 1);
        let open = || Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, small()).unwrap().0;
        let mut log = open();
        log.save(append(G1, entries(1, 1, 1, 10)));
        flush(&mut log);
        let mut log = open(); // the disk knows a file by the name by which it was opened
        log.save(Write { hard_state: Some(vote(2, 1)), ..append(G1, entries(2, 2, 2, 10)) });
        let (operation, damage) = (Operation::Sync, DiskDamage::Error);
        disk.inject(Fault { operation, name: name.into(), after: 0, times: 1, damage });
        let error = log.start_write().unwrap().run().unwrap_err();
        assert!(error.to_string().contains("cannot sync"), "{error}");
        assert!(log.has_failed(), "what the failed sync lost, no later one has");
    }
}

#[test]
fn it_works_on_real_files() -> io::Result<()> {
    let temporary = tempfile::tempdir()?;
    let dir = temporary.path().join("member/log");
    let options = Options { segment_bytes: 64 << 10, cache_bytes: 4096, spare_segments: 2, salt: None, reserve: true };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut compacted = 0;
    for life in 0..4u64 {
        let (mut log, _) = Log::open(disk.clone(), &dir, IDENTITY, options).unwrap();
        for batch in 0..20 {
            let first = log.last(G1).0 + 1;
            log.save(Write { hard_state: Some(vote(life + 1, 1)), ..append(G1, entries(first, first + 9, 1, 500)) });
            if batch % 5 == 4 {
                compacted = first - 20;
                log.compact(G1, position(compacted, 1));
            }
            assert_eq!(flush(&mut log), [(G1, Ticket(1))]);
        }
        assert_eq!(all(&log, G1), entries(compacted + 1, (life + 1) * 200, 1, 500));
    }
    let (log, groups) = Log::open(disk.clone(), &dir, IDENTITY, options).unwrap();
    assert_eq!(groups[&G1].hard_state, vote(4, 1));
    assert_eq!(all(&log, G1), entries(compacted + 1, 800, 1, 500));
    assert!(disk.list(&dir)?.len() <= 8, "three segments at most, and the reserve");
    assert!(log.findings().is_empty());
    Ok(())
}
