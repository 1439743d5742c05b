//! Damage that the log cannot name entry by entry is refused, with its place.

use std::time::{Duration, Instant};

use super::fault::FragileDisk;
use super::*;
use crate::format::{BatchHeader, Part, Seal, SegmentHeader};

/// Three segments, the last of them with several batches.
fn three_segments() -> (Arc<SimDisk>, Vec<Entry>) {
    let (disk, mut log) = fresh(small());
    for index in 1..=20 {
        log.save(append(G1, entries(index, index, 1, 400)));
        flush(&mut log);
    }
    assert_eq!(log.segments(), 3);
    (disk, all(&log, G1))
}

fn overwrite(disk: &SimDisk, number: u64, offset: u64, bytes: &[u8]) {
    file(disk, &segment_path(number)).write_all_at(bytes, offset).unwrap();
}

pub(super) fn damage_of(disk: &Arc<SimDisk>) -> Damage {
    match open(disk, small()) {
        Err(LogError::Damaged { damage, .. }) => damage,
        other => panic!("expected damage, found {other:?}"),
    }
}

fn remove_segment(disk: &SimDisk, number: u64) {
    disk.remove(&segment_path(number)).unwrap();
    disk.remove(&ledger_path(number)).unwrap();
}

#[test]
fn missing_segments_are_damage() {
    let (disk, _) = three_segments();
    remove_segment(&disk, 2);
    assert_eq!(damage_of(&disk), Damage::MissingSegment(2));
    let (disk, _) = three_segments();
    remove_segment(&disk, 1);
    assert!(matches!(damage_of(&disk), Damage::MissingEntries { group: G1, first: Index(1), .. }));
    let (disk, _) = three_segments();
    remove_segment(&disk, 1);
    remove_segment(&disk, 2);
    disk.rename(&segment_path(3), &segment_path(1)).unwrap();
    disk.remove(&ledger_path(3)).unwrap();
    assert_eq!(damage_of(&disk), Damage::Renamed { expected: 1, found: 3 });
}

#[test]
fn recycled_segments_do_not_replay() {
    // The same bytes under the number that the file had in its earlier life, and beside batches of a later one.
    let (disk, mut log) = fresh(Options { salt: None, ..small() });
    for index in 1..=60 {
        log.save(append(G1, entries(index, index, 1, 400)));
        log.compact(G1, position(index - 1, 1));
        flush(&mut log);
    }
    let expected = state(&log);
    drop(log);
    let files = image(&disk);
    let (log, _) = open(&disk, small()).unwrap();
    assert_eq!(state(&log), expected, "the rest of the last segment is full of old batches");
    let newest = files.keys().rfind(|name| name.ends_with(".log")).unwrap();
    let stale = files[newest].windows(4).filter(|window| window == b"KtBa").count();
    assert!(stale > 4, "{stale}");
}

#[test]
fn a_batch_is_of_its_place_and_its_segment() {
    // Two segments with one salt: a batch that is moved within its segment, or to the same place of another, is none.
    let (disk, _) = three_segments();
    let files = image(&disk);
    let head = |seal, offset, sequence| {
        let bytes = &files[&segment_name(1)][64..];
        BatchHeader::expect(bytes, seal, offset, 4032, sequence)
    };
    let seal = Seal { salt: 7, number: 1 };
    assert!(head(seal, 64, 1).is_ok());
    assert!(matches!(head(seal, 72, 1), Err(BatchProblem::Checksum { .. })));
    assert!(matches!(head(Seal { number: 2, ..seal }, 64, 1), Err(BatchProblem::Checksum { .. })));
    assert!(matches!(head(Seal { salt: 8, ..seal }, 64, 1), Err(BatchProblem::Checksum { .. })));
    assert_eq!(head(seal, 64, 2), Err(BatchProblem::Sequence(1)));
}

#[test]
fn somebody_elses_log_is_refused_by_name() {
    let (disk, _) = three_segments();
    for other in [Identity { cluster_id: 2, ..IDENTITY }, Identity { member_id: 0xb2, ..IDENTITY }] {
        let error = Log::open(disk.clone(), &dir(), other, small()).unwrap_err();
        assert!(matches!(error, LogError::Foreign { .. }));
        let text = error.to_string();
        assert!(text.contains("belongs to member a1 of cluster c1, but this is "), "{text}");
        assert!(text.contains(&other.to_string()), "{text}");
    }
    for (format, newer) in [(3, true), (1, false)] {
        overwrite(&disk, 1, 8, &[format]);
        assert!(
            matches!(open(&disk, small()).unwrap().0.findings(), [Finding::Restored { .. }]),
            "the ledger knows better"
        );
        overwrite(&disk, 1, 8, &[format]);
        file(&disk, &ledger_path(1)).write_all_at(&[format], 8).unwrap();
        let text = open(&disk, small()).unwrap_err().to_string();
        let told = if newer {
            "has format 3, and this release reads up to 2"
        } else {
            "was written by an earlier release in format 1"
        };
        assert!(text.contains(told), "{text}");
        overwrite(&disk, 1, 8, &[2]);
        file(&disk, &ledger_path(1)).write_all_at(&[2], 8).unwrap();
    }
    overwrite(&disk, 1, 0, b"something else");
    file(&disk, &ledger_path(1)).write_all_at(b"something else", 0).unwrap();
    assert_eq!(damage_of(&disk), Damage::NotASegment);
}

#[test]
fn other_files_are_left_alone_and_leftovers_removed() {
    let (disk, _) = three_segments();
    for name in ["notes.txt", "00000000000000000004.new", "00000000000000000001.spare", "1.log"] {
        disk.open(&dir().join(name), OpenMode::New).unwrap();
    }
    open(&disk, small()).unwrap();
    let names = disk.list(&dir()).unwrap();
    assert_eq!(names.iter().filter(|name| !name.starts_with("000")).count(), 2, "{names:?}");
    assert_eq!(names.len(), 8);
}

#[test]
fn a_payload_that_looks_like_a_batch_is_no_batch() {
    // A client that knows the format, but not the salt, cannot make a torn tail look like damage.
    let (disk, mut log) = fresh(Options { salt: Some(1), ..small() });
    log.save(append(G1, entries(1, 1, 1, 10)));
    flush(&mut log);
    let at = log.shared.segments.current().unwrap().used;
    let mut forged = vec![0; 32];
    let header = BatchHeader { sequence: 3, length: 32, directory: 0, records: 0 };
    header.write_to(&mut forged);
    header.seal(&mut forged, Seal { salt: 2, number: 1 }, at + 104);
    let payload: Vec<u8> = [vec![0; 3], forged].concat().into_iter().cycle().take(2000).collect();
    log.save(append(G1, vec![entry(2, 1, payload)]));
    flush(&mut log);
    overwrite(&disk, 1, at + 1900, b"torn");
    file(&disk, &ledger_path(1)).write_all_at(&[0; 2000], 64 + 112).unwrap();
    assert_eq!(open(&disk, small()).unwrap().1[&G1].last, Index(1));
}

#[test]
fn headers_are_read_back() {
    let header = SegmentHeader { identity: IDENTITY, number: 3, first_sequence: 4, salt: 5, bytes: 6 };
    for (part, other) in [(Part::Log, Part::Ledger), (Part::Ledger, Part::Log)] {
        assert_eq!(SegmentHeader::decode(&header.encode(part), part).unwrap(), header);
        assert!(SegmentHeader::decode(&header.encode(part), other).is_err());
        for byte in 0..64 {
            for bit in 0..8 {
                let mut bytes = header.encode(part);
                bytes[byte] ^= 1 << bit;
                assert!(SegmentHeader::decode(&bytes, part).is_err());
            }
        }
    }
}

#[test]
fn a_reported_vote_is_there_twice() {
    // Power goes after the report, and then the copy in the segment is damaged. The last batches of a segment that was
    // left are known from its ledger as well.
    for seed in 0..30 {
        let disk = Arc::new(SimDisk::new(seed));
        let (mut log, _) = open(&disk, small()).unwrap();
        for index in 1..=6 {
            log.save(append(G1, entries(index, index, 1, 500)));
            flush(&mut log);
        }
        let last_of_first = log.shared.segments.iter().nth(1).map(|segment| segment.header.first_sequence - 1);
        for index in 7..=14 {
            log.save(append(G1, entries(index, index, 1, 500)));
            flush(&mut log);
        }
        let last_of_first =
            last_of_first.unwrap_or(log.shared.segments.iter().nth(1).unwrap().header.first_sequence - 1);
        log.save(Write { hard_state: Some(vote(8, 3)), ..append(G1, vec![]) });
        flush(&mut log);
        let places = [last_of_first, log.settled].map(|sequence| {
            let (segment, place) = log.shared.segments.find(sequence).unwrap();
            (segment.path.clone(), u64::from(place.offset))
        });
        drop(log);
        disk.crash();
        for (path, offset) in places {
            file(&disk, &path).write_all_at(&[0xaa; 40], offset).unwrap();
        }
        let (log, groups) = open(&disk, small()).unwrap();
        assert_eq!((groups[&G1].hard_state, groups[&G1].last), (vote(8, 3), Index(14)));
        assert_eq!(log.findings().len(), 2, "{:?}", log.findings());
    }
}

#[test]
fn a_ledger_that_cannot_be_synced_is_final_too() {
    for changes in 0..4 {
        let disk = FragileDisk::new(SimDisk::new(1));
        let (mut log, _) = Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, small()).unwrap();
        log.save(append(G1, entries(1, 1, 1, 50)));
        flush(&mut log);
        log.save(Write { hard_state: Some(vote(8, 3)), ..append(G1, vec![]) });
        disk.fail_after(changes); // write, sync, row, sync
        let error = log.start_write().unwrap().run().unwrap_err();
        disk.fail_after(i64::MAX);
        let path = if changes < 2 { segment_name(1) } else { ledger_name(1) };
        assert!(error.to_string().contains(&path), "{error}");
        assert!(log.has_failed() && log.start_write().is_none() && log.start_scrub(1000).is_none());
        assert!(log.start_reserve().is_none());
    }
}

/// Values that look like headers, each with a long directory, stand behind a torn write.
#[test]
fn a_start_is_not_slow_because_of_what_clients_wrote() {
    let options = Options { segment_bytes: 4 << 20, ..small() };
    let (disk, mut log) = fresh(options);
    log.save(append(G1, entries(1, 1, 1, 10)));
    flush(&mut log);
    let (bytes, mut payload) = (3_900_000, Vec::new());
    while payload.len() + 3 * 4096 < bytes {
        let length = (bytes - payload.len() - 4096) as u32 / 8 * 8;
        payload.extend_from_slice(b"KtBa\0\0\0\0");
        payload.extend_from_slice(&u64::MAX.to_le_bytes());
        payload.extend_from_slice(&length.to_le_bytes());
        payload.extend_from_slice(&(length - 32).to_le_bytes());
        payload.extend_from_slice(&[0; 8]);
    }
    let used = log.shared.segments.current().unwrap().used as usize;
    let start = used + 32 + 37 + 4;
    let shifted = [vec![b'.'; start.next_multiple_of(8) - start], payload].concat();
    log.save(append(G1, vec![entry(2, 1, shifted)]));
    flush(&mut log);
    let mut image = image(&disk);
    image.get_mut(&segment_name(1)).unwrap()[used..used + 32].fill(0);
    image.get_mut(&ledger_name(1)).unwrap()[64 + format::LedgerRow::bytes_for(32 + 37)..].fill(0);
    let disk = disk_of(&image);
    let begun = Instant::now();
    let (log, _) = open(&disk, options).unwrap();
    assert_eq!(log.last(G1), Index(1));
    assert!(begun.elapsed() < Duration::from_secs(5), "a start took {:?}", begun.elapsed());
}

/// A row of the batch itself proves that it was durable, wherever it says that the batch stands.
#[test]
fn a_row_at_another_place_is_proof_too() {
    let (disk, mut log) = fresh(small());
    for index in 1..=3 {
        log.save(append(G1, entries(index, index, 1, 100)));
        flush(&mut log);
    }
    let (_, second) = log.shared.segments.find(2).unwrap();
    let mut image = image(&disk);
    // Batch 2 is an older write to the same place, shorter; its row is damaged. Batch 3 is listed.
    let header = log.shared.segments.current().unwrap().header;
    let old = {
        let (disk, mut log) = fresh(small());
        log.save(append(G1, entries(1, 1, 1, 100)));
        flush(&mut log);
        log.save(append(G1, entries(2, 2, 1, 10)));
        flush(&mut log);
        let (_, place) = log.shared.segments.find(2).unwrap();
        assert_eq!(log.shared.segments.current().unwrap().header, header);
        read_file(&disk, &segment_path(1))[place.offset as usize..place.end() as usize].to_vec()
    };
    let file = image.get_mut(&segment_name(1)).unwrap();
    file[second.offset as usize..][..old.len()].copy_from_slice(&old);
    image.get_mut(&ledger_name(1)).unwrap()[second.row as usize] ^= 1;
    assert!(matches!(damage_of(&disk_of(&image)), Damage::Identity { sequence: 3, .. }));
}

#[test]
fn a_short_file_without_its_header_is_left() {
    let (disk, expected) = three_segments();
    let newest = file(&disk, &segment_path(3));
    newest.write_all_at(b"rot", 20).unwrap();
    newest.set_len(700).unwrap();
    let (mut log, groups) = open(&disk, small()).unwrap();
    assert!(matches!(log.findings()[0], Finding::Lost { .. }), "{:?}", log.findings());
    assert!(log.findings().iter().any(|finding| matches!(finding, Finding::Short { .. })));
    let gaps = groups[&G1].gaps.clone();
    log.save(append(G1, entries(21, 21, 1, 10)));
    flush(&mut log);
    assert_eq!(log.segments(), 4, "nothing is written behind its end");
    log.mend(G1, Ticket(1), expected[gaps[0].first.0 as usize - 1..].to_vec()).unwrap();
    flush(&mut log);
    drop(log);
    let (log, groups) = open(&disk, small()).unwrap();
    assert_eq!((groups[&G1].last, log.gaps(G1)), (Index(21), &[][..]));
}
