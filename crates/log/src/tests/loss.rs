//! Damage that is found while the log is open, and how it heals.

use super::fault::FragileDisk;
use super::*;

fn cold() -> Options {
    Options { cache_bytes: 0, ..small() }
}

/// Twelve entries of two terms in four batches and two segments, none in memory.
fn twelve() -> (Arc<SimDisk>, Log) {
    let (disk, mut log) = fresh(cold());
    for batch in 0..4 {
        log.save(append(G1, entries(batch * 3 + 1, batch * 3 + 3, 1 + batch / 2, 310)));
        flush(&mut log);
    }
    assert_eq!(log.segments(), 2);
    (disk, log)
}

fn expected() -> Vec<Entry> {
    [entries(1, 6, 1, 310), entries(7, 12, 2, 310)].concat()
}

/// Damages the payloads of the batch that holds this entry.
fn damage(disk: &SimDisk, log: &Log, index: u64) {
    let extent = log.groups[&G1].extents().iter().find(|extent| extent.last().0 >= index).unwrap();
    let (segment, place) = log.shared.segments.find(extent.sequence).unwrap();
    file(disk, &segment.path).write_all_at(b"damage", place.end() - 200).unwrap();
}

fn read(log: &Log, first: u64, last: u64) -> Result<Vec<Entry>, LogError> {
    log.entries(G1, Index(first), Index(last), u64::MAX)
}

fn gap(first: u64, last: u64) -> Gap {
    Gap { first: Index(first), last: Index(last) }
}

#[test]
fn reading_back_tells_what_is_lost_and_gives_what_is_before_it() {
    let (disk, mut log) = twelve();
    damage(&disk, &log, 5);
    assert_eq!(read(&log, 2, 12).unwrap(), expected()[1..3]);
    match read(&log, 4, 12).unwrap_err() {
        LogError::Lost { group: G1, first, last, file, offset, damage: Damage::Payloads { sequence: 2, .. } } => {
            assert_eq!((first, last, file), (Index(4), Index(6), segment_path(1)));
            assert!(offset > 64);
        }
        other => panic!("{other}"),
    }
    assert_eq!(read(&log, 7, 12).unwrap(), expected()[6..]);
    assert_eq!(log.gaps(G1), [], "asking changes nothing");
    log.lose(G1, Index(4), Index(6));
    assert_eq!(log.gaps(G1), [gap(4, 6)]);
    assert_eq!(read(&log, 1, 12).unwrap(), expected()[..3]);
    let text = read(&log, 5, 12).unwrap_err().to_string();
    assert!(text.contains("g1 lost entries 5 to 6: ") && text.contains("fetched from other members"), "{text}");
}

#[test]
fn a_gap_is_mended_in_parts_and_stays_mended() {
    let (disk, mut log) = twelve();
    damage(&disk, &log, 5);
    log.lose(G1, Index(4), Index(6));
    let entry = |index: u64| expected()[index as usize - 1].clone();
    let wrong = Entry { term: Term(2), ..entry(5) };
    assert!(matches!(log.mend(G1, Ticket(2), vec![wrong]), Err(Misfit::Mend { found: Some(Term(1)), .. })));
    assert!(log.mend(G1, Ticket(2), vec![entry(12), Entry { index: Index(13), ..entry(12) }]).is_err());
    assert!(log.start_write().is_none(), "nothing was staged");
    log.mend(G1, Ticket(2), vec![entry(3), entry(5), entry(7)]).unwrap();
    assert_eq!(log.gaps(G1), [gap(4, 4), gap(6, 6)], "what is not lost stays where it is");
    assert_eq!(read(&log, 5, 5).unwrap(), [entry(5)]);
    assert_eq!(flush(&mut log), [(G1, Ticket(2))]);
    assert_eq!(read(&log, 5, 5).unwrap(), [entry(5)], "from disk");
    let (mut log, groups) = open(&disk, cold()).unwrap();
    assert_eq!(groups[&G1].gaps, [gap(4, 4), gap(6, 6)]);
    assert_eq!(log.gaps(G1), groups[&G1].gaps);
    log.mend(G1, Ticket(3), vec![entry(4)]).unwrap();
    log.mend(G1, Ticket(4), vec![entry(6)]).unwrap();
    assert_eq!(read(&log, 1, 12).unwrap(), expected());
    assert_eq!(flush(&mut log), [(G1, Ticket(4))]);
    assert_eq!(read(&log, 1, 12).unwrap(), expected());
    let (log, groups) = open(&disk, cold()).unwrap();
    assert_eq!((read(&log, 1, 12).unwrap(), &groups[&G1].gaps), (expected(), &vec![]));
}

#[test]
fn a_gap_may_be_mended_while_a_write_is_under_way() {
    let (disk, mut log) = twelve();
    damage(&disk, &log, 5);
    log.lose(G1, Index(4), Index(6));
    log.save(append(G1, entries(13, 13, 2, 10)));
    let job = log.start_write().unwrap();
    log.mend(G1, Ticket(2), expected()[3..6].to_vec()).unwrap();
    log.save(append(G1, entries(14, 14, 2, 10)));
    log.lose(G1, Index(1), Index(14));
    assert_eq!(log.gaps(G1), [gap(1, 3), gap(7, 12)], "what is not durable cannot be lost");
    log.mend(G1, Ticket(2), expected()).unwrap();
    let whole = [expected(), entries(13, 14, 2, 10)].concat();
    assert_eq!(all(&log, G1), whole);
    let done = job.run().unwrap();
    log.finish_write(done);
    assert_eq!(all(&log, G1), whole, "mended entries stay in memory until they are durable");
    flush(&mut log);
    assert_eq!(all(&log, G1), whole);
    assert_eq!(all(&open(&disk, cold()).unwrap().0, G1), whole);
}

#[test]
fn truncation_compaction_and_reset_take_gaps_with_them() {
    for what in 0..3 {
        let (disk, mut log) = twelve();
        damage(&disk, &log, 5);
        log.lose(G1, Index(4), Index(6));
        let left = match what {
            0 => {
                log.save(append(G1, entries(6, 6, 3, 10)));
                vec![gap(4, 5)]
            }
            1 => {
                log.compact(G1, position(5, 1));
                vec![gap(6, 6)]
            }
            _ => {
                log.reset(G1, position(20, 3));
                vec![]
            }
        };
        assert_eq!(log.gaps(G1), left);
        flush(&mut log);
        let (log, _) = open(&disk, cold()).unwrap();
        assert_eq!(log.gaps(G1), left, "after a restart too");
    }
}

#[test]
fn a_gap_keeps_its_segment_and_a_mended_one_lets_it_go() {
    let (disk, mut log) = twelve();
    damage(&disk, &log, 5);
    damage(&disk, &log, 8);
    log.lose(G1, Index(4), Index(9));
    log.compact(G1, position(3, 1));
    let mut next = 13;
    let fill = |log: &mut Log, next: &mut u64| {
        for _ in 0..12 {
            log.save(append(G2, entries(*next, *next, 1, 600)));
            *next += 1;
            flush(log);
            log.compact(G2, position(*next - 1, 1));
        }
    };
    log.reset(G2, position(12, 1));
    fill(&mut log, &mut next);
    assert_eq!(log.shared.segments.oldest().unwrap().number(), 1, "it knows what was lost");
    assert_eq!(log.pinned().unwrap().0, G1);
    log.mend(G1, Ticket(5), expected()[3..9].to_vec()).unwrap();
    flush(&mut log);
    fill(&mut log, &mut next);
    assert_eq!(log.shared.segments.oldest().unwrap().number(), 2, "10 to 12 are there");
    assert_eq!(log.pinned().unwrap().0, G1, "entries behind the mended ones stand in an old segment");
    let (mut log, _) = open(&disk, cold()).unwrap();
    assert_eq!(read(&log, 4, 12).unwrap(), expected()[3..], "the oldest segment's head, mended entries, and the rest");
    log.compact(G1, position(12, 2));
    fill(&mut log, &mut next);
    assert!(log.segments() <= 2);
    assert_eq!(open(&disk, cold()).unwrap().1[&G1].last, Index(12));
}

#[test]
fn a_mended_entry_that_a_crash_took_is_lost_still() {
    for seed in 0..20 {
        let disk = FragileDisk::new(SimDisk::new(seed));
        let open = || Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, cold()).unwrap();
        let (mut log, _) = open();
        log.save(append(G1, entries(1, 9, 1, 100)));
        flush(&mut log);
        let (_, place) = log.shared.segments.find(1).unwrap();
        let file = disk.open(&segment_path(1), OpenMode::Existing).unwrap();
        file.write_all_at(b"damage", place.end() - 50).unwrap();
        file.sync_data().unwrap();
        log.lose(G1, Index(1), Index(9));
        log.mend(G1, Ticket(2), entries(1, 9, 1, 100)).unwrap();
        disk.fail_after(1);
        log.start_write().unwrap().run().unwrap_err();
        disk.crash();
        let (log, groups) = open();
        assert!(groups[&G1].gaps == [gap(1, 9)] || all(&log, G1) == entries(1, 9, 1, 100), "{groups:?}");
    }
}

/// Scrubs one round. Returns the gaps found.
fn round(log: &mut Log, bytes: u64) -> Vec<(GroupId, Gap)> {
    let mut found = Vec::new();
    loop {
        let job = log.start_scrub(bytes).unwrap();
        assert!(log.start_scrub(bytes).is_none(), "one piece at a time");
        let done = job.run();
        assert!(done.bytes() > 0);
        let wrapped = done.wrapped();
        found.extend(log.finish_scrub(done));
        if wrapped {
            return found;
        }
    }
}

#[test]
fn the_scrub_finds_what_nobody_asks_for() {
    for bytes in [1, 1500, 1 << 20] {
        let (disk, mut log) = twelve();
        log.save(append(G2, entries(1, 4, 1, 20)));
        flush(&mut log);
        assert_eq!(round(&mut log, bytes), []);
        assert_eq!(log.findings(), []);
        damage(&disk, &log, 5);
        damage(&disk, &log, 12);
        assert_eq!(round(&mut log, bytes), [(G1, gap(4, 6)), (G1, gap(10, 12))]);
        assert_eq!(log.gaps(G1), [gap(4, 6), gap(10, 12)]);
        assert_eq!(log.findings().len(), 2, "{:?}", log.findings());
        assert_eq!(round(&mut log, bytes), [], "known");
        log.mend(G1, Ticket(2), expected()).unwrap();
        flush(&mut log);
        assert_eq!(round(&mut log, bytes), [], "what is mended is no longer needed there");
        assert_eq!(read(&log, 1, 12).unwrap(), expected());
    }
}

#[test]
fn the_scrub_knows_identities_from_either_copy() {
    let (disk, mut log) = twelve();
    let place = log.shared.segments.find(2).unwrap().1;
    let segment = file(&disk, &segment_path(1));
    segment.write_all_at(b"head", u64::from(place.offset) + 8).unwrap();
    assert_eq!(round(&mut log, 1000), [], "the ledger knows what stands there");
    assert!(matches!(log.findings(), [Finding::Restored { .. }]), "{:?}", log.findings());
    assert_eq!(read(&log, 4, 6).unwrap(), expected()[3..6], "a reader too");
    file(&disk, &ledger_path(1)).write_all_at(b"row", u64::from(place.row) + 8).unwrap();
    assert_eq!(round(&mut log, 1000), [(G1, gap(4, 6))]);
    assert!(log.findings().iter().any(|finding| matches!(finding, Finding::Ledger { .. })));
    assert!(matches!(read(&log, 5, 6), Err(LogError::Lost { first: Index(5), last: Index(6), .. })));
}

#[test]
fn a_scrub_of_a_segment_that_is_gone_does_not_count() {
    let (disk, mut log) = twelve();
    let job = log.start_scrub(1 << 20).unwrap();
    log.reset(G1, position(30, 3));
    flush(&mut log);
    assert!(log.segments() == 1, "the first one is gone");
    let spare = dir().join(names::FileKind::Spare.name(1));
    file(&disk, &spare).write_all_at(&[7; 4000], 0).unwrap();
    assert_eq!(log.finish_scrub(job.run()), []);
    assert_eq!(log.findings(), []);
}

#[test]
fn what_cannot_be_read_is_lost_page_by_page() {
    let (below, log) = twelve();
    drop(log);
    let disk = FragileDisk::new(below.as_ref().clone());
    let (mut log, _) = Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, cold()).unwrap();
    disk.fail_reads(&segment_name(2), 0..4096);
    let error = read(&log, 10, 12).unwrap_err();
    assert!(matches!(error, LogError::Lost { damage: Damage::Unreadable(_), .. }), "{error}");
    assert_eq!(round(&mut log, 1 << 20).last().unwrap(), &(G1, gap(10, 12)));
    assert!(log.findings().iter().any(|finding| matches!(finding, Finding::Unreadable { .. })));
}

#[test]
fn inspecting_shows_every_record_and_changes_nothing() {
    let (disk, mut log) = twelve();
    log.save(Write { hard_state: Some(vote(4, 2)), ..append(G2, entries(1, 1, 1, 9)) });
    log.compact(G1, position(1, 1));
    flush(&mut log);
    damage(&disk, &log, 5);
    log.lose(G1, Index(4), Index(6));
    log.mend(G1, Ticket(1), expected()[3..4].to_vec()).unwrap();
    flush(&mut log);
    let files = image(&disk);
    let mut seen = Vec::new();
    let inspection = inspect(disk.clone(), &dir(), &mut |record| seen.push(record)).unwrap();
    assert_eq!(image(&disk), files);
    assert_eq!(inspection.identity, Some(IDENTITY));
    assert_eq!((inspection.segments, inspection.batches), (2, 6));
    assert_eq!((inspection.records, inspection.entries), (seen.len() as u64, 14));
    assert_eq!(inspection.groups[&G1].gaps, [gap(5, 6)]);
    assert!(matches!(inspection.findings[..], [Finding::Lost { needed: true, .. }]), "{:?}", inspection.findings);
    let lost = |seen: &&Seen| matches!(seen.what, What::Entries { entries: None, .. });
    assert_eq!(seen.iter().filter(lost).count(), 1);
    let mended = seen.last().unwrap();
    let What::Entries { mended: true, entries: Some(entries), .. } = &mended.what else { panic!("{mended:?}") };
    assert_eq!((mended.group, &entries[..]), (G1, &expected()[3..4]));
    assert!(seen.iter().any(|seen| seen.what == What::HardState(vote(4, 2)) && seen.group == G2));
    assert_eq!(inspect(Arc::new(SimDisk::new(1)), &dir(), &mut |_| ()).err().map(|_| ()), Some(()), "no directory");
}

/// A mended row and an append in one batch are two extents, whether or not those between are there.
#[test]
fn a_mend_and_an_append_in_one_batch_survive_that_older_segments_are_removed() {
    let (disk, mut log) = fresh(cold());
    for batch in 0..4 {
        log.save(append(G1, entries(batch * 3 + 1, batch * 3 + 3, 1, 310)));
        flush(&mut log);
    }
    assert_eq!(log.segments(), 2);
    // The third segment begins with another group's entries.
    while log.segments() < 3 {
        let next = log.last(G2).0 + 1;
        log.save(append(G2, entries(next, next, 1, 310)));
        flush(&mut log);
    }
    log.lose(G1, Index(2), Index(3));
    let last = log.last(G1).0;
    log.mend(G1, Ticket(9), entries(2, 3, 1, 310)).unwrap();
    log.save(append(G1, entries(last + 1, last + 2, 1, 310)));
    flush(&mut log);
    let expected = all(&log, G1)[last as usize..].to_vec();
    log.compact(G1, position(last, 1));
    flush(&mut log);
    log.compact(G2, position(log.last(G2).0, 1));
    for _ in 0..3 {
        log.save(append(G2, entries(log.last(G2).0 + 1, log.last(G2).0 + 1, 1, 10)));
        flush(&mut log);
    }
    assert_eq!(all(&log, G1), expected);
    assert_eq!(log.segments(), 1, "the older ones are gone");
    let (log, _) = open(&disk, cold()).unwrap_or_else(|error| panic!("a healthy log is refused: {error}"));
    assert_eq!(all(&log, G1), expected);
}

/// An older write to the same place, which a start had cut, stands where the disk lost the newer one.
#[test]
fn an_older_write_to_the_same_place_is_not_served() {
    let one = |rest: &dyn Fn(&mut Log)| {
        let (disk, mut log) = fresh(cold());
        log.save(append(G1, entries(1, 1, 1, 100)));
        flush(&mut log);
        rest(&mut log);
        flush(&mut log);
        (disk, log)
    };
    // The batch that a power cut tore: its second record was not whole, so a start cut it.
    let (old_disk, old) = one(&|log| {
        log.save(append(G1, entries(2, 2, 1, 100)));
        log.save(append(G2, entries(1, 1, 1, 100)));
    });
    let (_, place) = old.shared.segments.find(2).unwrap();
    let mut torn = read_file(&old_disk, &segment_path(1))[place.offset as usize..place.end() as usize].to_vec();
    let at = torn.len() - 50;
    torn[at..].fill(0);
    // What was written to its place since, acknowledged, and lost by the disk. (The salt is the same, as in one life of a file.)
    let (disk, mut log) = one(&|log| log.save(append(G1, entries(2, 2, 2, 400))));
    file(&disk, &segment_path(1)).write_all_at(&torn, u64::from(place.offset)).unwrap();
    let done = log.start_scrub(u64::MAX).unwrap().run();
    let found = log.finish_scrub(done);
    let read = log.entries(G1, Index(2), Index(2), u64::MAX);
    let served = read.as_ref().map(|entries| (entries[0].term, entries[0].payload.clone()));
    assert!(read.is_err(), "served {served:?}; the scrub found {found:?} {:?}", log.findings());
}
