//! Batches of which both copies of header and directory are lost while the log is open.

use kontiki_world::Random;

use super::fault::FragileDisk;
use super::*;

fn cold() -> Options {
    Options { cache_bytes: 0, ..small() }
}

#[test]
fn what_was_mended_does_not_refuse_the_next_start() {
    let (disk, mut log) = fresh(cold());
    for index in 1..=3 {
        log.save(append(G1, entries(index, index, 1, 100)));
        flush(&mut log);
    }
    let (_, place) = log.shared.segments.find(2).unwrap();
    file(&disk, &segment_path(1)).write_all_at(b"rot", u64::from(place.offset) + 8).unwrap();
    file(&disk, &ledger_path(1)).write_all_at(b"rot", u64::from(place.row) + 8).unwrap();
    let done = log.start_scrub(u64::MAX).unwrap().run();
    assert_eq!(log.finish_scrub(done), [(G1, Gap { first: Index(2), last: Index(2) })]);
    log.mend(G1, Ticket(2), entries(2, 2, 1, 100)).unwrap();
    flush(&mut log);
    assert_eq!(all(&log, G1), entries(1, 3, 1, 100));
    let (log, _) = open(&disk, cold()).unwrap_or_else(|error| panic!("nothing is missing: {error}"));
    assert_eq!(all(&log, G1), entries(1, 3, 1, 100));
}

/// Both copies of a batch's header and directory become unreadable.
fn rot(disk: &SimDisk, log: &Log, sequence: u64) {
    let (segment, place) = log.shared.segments.find(sequence).unwrap();
    file(disk, &segment.path).write_all_at(b"rot", u64::from(place.offset) + 8).unwrap();
    file(disk, &segment.ledger_path).write_all_at(b"rot", u64::from(place.row) + 8).unwrap();
}

#[test]
fn a_reader_that_meets_it_is_enough() {
    let (disk, mut log) = fresh(cold());
    for index in 1..=12 {
        log.save(append(G1, entries(index, index, 1, 400)));
        flush(&mut log);
    }
    assert!(log.segments() > 1);
    rot(&disk, &log, 3);
    let lost = log.entries(G1, Index(3), Index(3), u64::MAX).unwrap_err();
    let LogError::Lost { first, last, .. } = lost else { panic!("{lost}") };
    log.lose(G1, first, last);
    assert!(log.start_write().is_none(), "nothing is done before it is mended");
    log.mend(G1, Ticket(2), entries(3, 3, 1, 400)).unwrap();
    flush(&mut log);
    let (log, _) = open(&disk, cold()).unwrap();
    assert_eq!(all(&log, G1), entries(1, 12, 1, 400));
    assert_eq!(log.findings(), []);
}

/// A term and vote stood in such a batch, and other groups beside it: all is as it was at whatever change power goes.
#[test]
fn power_may_go_while_its_segment_is_left() {
    let mut needless = 0;
    for changes in 0.. {
        let sim = SimDisk::new(changes);
        let disk = FragileDisk::new(sim.clone());
        let opened = |disk: &FragileDisk| Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, small());
        let (mut log, _) = opened(&disk).unwrap();
        for index in 1..=4 {
            log.save(append(G1, entries(index, index, 1, 300)));
            log.save(append(G2, entries(index, index, 2, 300)));
            flush(&mut log);
        }
        log.save(Write { hard_state: Some(vote(6, 2)), ..append(G1, entries(4, 4, 2, 300)) });
        flush(&mut log);
        log.save(append(G1, entries(5, 7, 2, 300)));
        flush(&mut log);
        rot(&sim, &log, 5);
        let (mut found, mut wrapped) = (Vec::new(), false);
        while !wrapped {
            let done = log.start_scrub(u64::MAX).unwrap().run();
            wrapped = done.wrapped();
            found.extend(log.finish_scrub(done));
        }
        assert_eq!(found, [(G1, Gap { first: Index(4), last: Index(4) })]);
        log.mend(G1, Ticket(3), entries(4, 4, 2, 300)).unwrap();
        let whole = state(&log);
        disk.fail_after(changes as i64);
        let result = log.start_write().unwrap().run();
        let all = result.is_ok();
        drop(log);
        disk.crash();
        match opened(&disk) {
            Ok((log, _)) => {
                assert_eq!(state(&log), whole, "power went after {changes} changes");
                needless += usize::from(matches!(log.findings(), [Finding::Needless { .. }]));
                drop(log);
                assert_eq!(state(&opened(&disk).unwrap().0), whole);
            }
            Err(error) => assert!(!all && matches!(error, LogError::Damaged { .. }), "{error}"),
        }
        if all {
            assert!(needless > 0, "power went between the new segment's name and the removal of the old one");
            return;
        }
    }
}

#[test]
fn one_damaged_copy_is_put_right_by_the_next_write() {
    let (disk, mut log) = fresh(cold());
    for index in 1..=3 {
        log.save(append(G1, entries(index, index, 1, 100)));
        flush(&mut log);
    }
    let whole = [segment_path(1), ledger_path(1)].map(|path| read_file(&disk, &path));
    let place = |sequence| log.shared.segments.find(sequence).unwrap().1;
    let (first, second) = (place(1), place(2));
    file(&disk, &segment_path(1)).write_all_at(b"rot", 20).unwrap();
    file(&disk, &segment_path(1)).write_all_at(b"rot", u64::from(first.offset) + 8).unwrap();
    file(&disk, &ledger_path(1)).write_all_at(b"rot", 20).unwrap();
    file(&disk, &ledger_path(1)).write_all_at(b"rot", u64::from(second.row) + 8).unwrap();
    let rotten = image(&disk);
    let done = log.start_scrub(u64::MAX).unwrap().run();
    assert_eq!(log.finish_scrub(done), []);
    assert_eq!(image(&disk), rotten, "the scrub writes nothing");
    assert_eq!(log.findings().len(), 4, "{:?}", log.findings());
    let used = log.shared.segments.current().map(|segment| (segment.used as usize, segment.ledger_used as usize));
    let used = used.unwrap();
    log.save(append(G1, entries(4, 4, 1, 100)));
    flush(&mut log);
    assert_eq!(read_file(&disk, &segment_path(1))[..used.0], whole[0][..used.0]);
    assert_eq!(read_file(&disk, &ledger_path(1))[..used.1], whole[1][..used.1]);
}

#[test]
fn whatever_such_batches_held_is_as_it_was() {
    let mut met = 0;
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let (disk, mut log) = fresh(small());
        for round in 1..=20 {
            for group in [G1, G2] {
                let (first, last) = (log.first(group).0, log.last(group).0);
                match random.below(6) {
                    0 => log.save(Write { hard_state: Some(vote(round, group.0)), ..append(group, vec![]) }),
                    1 if last > first + 2 => log.save(append(group, entries(last - 1, last, round, 90))),
                    2 if last > first + 4 => {
                        log.compact(group, position(first + 1, log.term_at(group, Index(first + 1)).unwrap().0));
                    }
                    3 if random.one_in(5) => log.reset(group, position(last + 3, round)),
                    _ => log.save(append(group, entries(last + 1, last + 1 + random.below(4), round, 120))),
                }
            }
            flush(&mut log);
            let whole = state(&log);
            if round % 4 > 0 {
                continue;
            }
            for _ in 0..=random.below(2) {
                let first = log.shared.segments.first_sequence();
                rot(&disk, &log, first + random.below(log.settled - first + 1));
            }
            let mut wrapped = false;
            while !wrapped {
                let done = log.start_scrub(2000).unwrap().run();
                wrapped = done.wrapped();
                log.finish_scrub(done);
            }
            met += usize::from(!log.unknown.is_empty());
            for (group, (_, entries)) in &whole {
                log.mend(*group, Ticket(1), entries.clone()).unwrap();
            }
            // Votes are staged as well, so that there is a write in any case.
            log.save(Write { hard_state: Some(whole[&G1].0.hard_state), ..append(G1, vec![]) });
            flush(&mut log);
            assert_eq!(state(&log), whole, "seed {seed}, round {round}");
            let reopened;
            (log, reopened) = open(&disk, small()).unwrap_or_else(|error| panic!("seed {seed}, {round}: {error}"));
            assert_eq!(reopened.len(), whole.len());
            assert_eq!(state(&log), whole, "seed {seed}, round {round}, after a start");
            assert!(log.findings().is_empty(), "{:?}", log.findings());
        }
    }
    assert!(met > 500, "{met}");
}
