//! A write that needs a segment while the disk is full waits: nothing fails, nothing is lost, and it goes on.

use kontiki_world::Random;

use super::fault::FragileDisk;
use super::*;

fn with_reserve() -> Options {
    Options { reserve: true, ..small() }
}

/// What the engine does in every round.
fn turn(log: &mut Log, durable: &mut u64) {
    if let Some(job) = log.start_write() {
        let done = job.run().unwrap_or_else(|error| panic!("a full disk is no failure: {error}"));
        for (_, ticket) in log.finish_write(done) {
            *durable = (*durable).max(ticket.0);
        }
    }
    if let Some(job) = log.start_reserve() {
        let done = job.run();
        log.finish_reserve(done);
    }
}

#[test]
fn a_disk_may_fill_up_in_every_order() {
    let mut waited = 0;
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let options = Options { reserve: seed % 3 > 0, ..small() };
        let (disk, mut log) = fresh(options);
        disk.full(Some(random.below(40_000)));
        let mut durable = 0;
        for _ in 0..60 {
            let first = log.last(G1).0 + 1;
            let sizes = [1, 60, 700, 3000, 6000];
            let size = sizes[random.below(sizes.len() as u64) as usize];
            let hard_state = random.one_in(3).then(|| vote(first, 1));
            log.save(Write { group: G1, ticket: Ticket(first), hard_state, entries: entries(first, first, 1, size) });
            if random.one_in(6) && first > 3 {
                log.compact(G1, position(first - 3, 1));
            }
            if random.one_in(2) {
                turn(&mut log, &mut durable);
            }
            if random.one_in(10) {
                disk.full(Some(random.below(20_000)));
            }
            if random.one_in(20) {
                turn(&mut log, &mut durable);
                drop(log);
                disk.crash();
                (log, _) = open(&disk, options).unwrap();
                assert!(log.last(G1).0 >= durable, "seed {seed}: what was reported is there");
                durable = log.last(G1).0;
            }
        }
        for _ in 0..5 {
            turn(&mut log, &mut durable);
        }
        if durable < log.last(G1).0 {
            waited += 1;
            assert!(!log.is_writing() && !log.has_failed());
            assert_eq!(log.space(), Space::Low { bytes_left: 0 }, "seed {seed}");
        }
        let expected = state(&log);
        disk.full(None);
        for _ in 0..5 {
            turn(&mut log, &mut durable);
        }
        assert_eq!(durable, log.last(G1).0, "seed {seed}: all is written once there is room");
        assert_eq!(state(&log), expected);
        let (log, _) = open(&disk, options).unwrap();
        assert_eq!(state(&log), expected, "seed {seed}");
    }
    assert!(waited > 50, "{waited}");
}

#[test]
fn votes_wait_and_are_not_reported() {
    let (disk, mut log) = fresh(with_reserve());
    disk.full(Some(0));
    let mut durable = 0;
    // The reserve becomes the first segment, and that is filled.
    log.save(append(G1, entries(1, 1, 1, 3900)));
    turn(&mut log, &mut durable);
    assert!(matches!(log.space(), Space::Low { bytes_left } if bytes_left < 64));
    log.save(Write { ticket: Ticket(5), hard_state: Some(vote(9, 1)), ..append(G1, vec![]) });
    assert!(log.start_write().is_none(), "it is not even tried");
    turn(&mut log, &mut durable);
    assert_eq!((durable, log.space()), (1, Space::Low { bytes_left: 0 }));
    drop(open(&disk, with_reserve()).unwrap());
    disk.full(None);
    turn(&mut log, &mut durable); // makes the reserve
    turn(&mut log, &mut durable);
    turn(&mut log, &mut durable);
    assert_eq!((durable, log.space()), (5, Space::Ample));
    assert_eq!(open(&disk, with_reserve()).unwrap().1[&G1].hard_state, vote(9, 1));
}

#[test]
fn a_batch_longer_than_a_segment_takes_the_reserves_place() {
    let (disk, mut log) = fresh(with_reserve());
    let mut durable = 0;
    log.save(append(G1, entries(1, 1, 1, 100)));
    turn(&mut log, &mut durable);
    disk.full(Some(0));
    log.save(Write { ticket: Ticket(2), ..append(G1, entries(2, 2, 1, 6000)) });
    for _ in 0..3 {
        turn(&mut log, &mut durable);
        assert_eq!((durable, log.space()), (1, Space::Low { bytes_left: 0 }));
        assert_eq!(all(&log, G1)[1..], entries(2, 2, 1, 6000), "it is there meanwhile");
    }
    log.save(Write { ticket: Ticket(3), ..append(G1, entries(3, 3, 1, 10)) });
    disk.full(None);
    for _ in 0..4 {
        turn(&mut log, &mut durable);
    }
    assert_eq!((durable, log.space()), (3, Space::Ample));
    let expected = [entries(1, 1, 1, 100), entries(2, 2, 1, 6000), entries(3, 3, 1, 10)].concat();
    assert_eq!(all(&open(&disk, with_reserve()).unwrap().0, G1), expected);
}

#[test]
fn power_may_go_while_the_disk_is_full() {
    for seed in 0..12 {
        for changes in (0..).step_by(3) {
            let sim = SimDisk::new(seed);
            let disk = FragileDisk::new(sim.clone());
            let opened = || Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, with_reserve());
            let (mut log, _) = opened().unwrap();
            disk.fail_after(changes);
            let mut random = Random::new(seed);
            let (mut durable, mut whole) = (0, true);
            for index in 1..=30 {
                if index % 5 == 0 {
                    sim.full(random.one_in(2).then(|| random.below(12_000)));
                }
                let size = if random.one_in(8) { 5000 } else { 600 };
                log.save(Write { ticket: Ticket(index), ..append(G1, entries(index, index, 1, size)) });
                if index % 7 == 0 {
                    log.compact(G1, position(index - 2, 1));
                }
                if let Some(job) = log.start_write() {
                    let Ok(done) = job.run() else {
                        whole = false;
                        break;
                    };
                    for (_, ticket) in log.finish_write(done) {
                        durable = ticket.0;
                    }
                }
                if let Some(job) = log.start_reserve() {
                    let done = job.run();
                    log.finish_reserve(done);
                }
            }
            drop(log);
            whole &= disk.has_power();
            disk.crash();
            sim.full(Some(0));
            let (log, _) = opened().unwrap_or_else(|error| panic!("seed {seed}, {changes} changes: {error}"));
            let last = log.last(G1).0;
            assert!(last >= durable, "seed {seed}, {changes} changes: {last}, and {durable} was reported");
            if whole {
                break;
            }
        }
    }
}
