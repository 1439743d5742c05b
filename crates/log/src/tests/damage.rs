//! Damage to what was durable is told, never cut away.

use kontiki_world::Random;

use super::*;
use crate::format::{BatchHeader, SegmentHeader};
use crate::scan::Invalid;

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

fn damage_of(disk: &Arc<SimDisk>) -> Damage {
    match open(disk, small()) {
        Err(LogError::Damaged { damage, .. }) => damage,
        other => panic!("expected damage, found {other:?}"),
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (disk, whole) = three_segments();
    let mut random = Random::new(11);
    for number in 1..=3 {
        let path = segment_path(number);
        let bytes = read_file(&disk, &path);
        for _ in 0..600 {
            let offset = random.below(bytes.len() as u64);
            let flipped = [bytes[offset as usize] ^ (1 << random.below(8))];
            file(&disk, &path).write_all_at(&flipped, offset).unwrap();
            match open(&disk, small()) {
                Err(LogError::Damaged { .. } | LogError::NewerFormat { .. }) => {}
                Err(other) => panic!("{other}"),
                Ok((log, _)) => {
                    let found = all(&log, G1);
                    // A flip in the very last batch cannot be told from a torn write; one in unused space is harmless.
                    let cut = number == 3 && found == whole[..whole.len() - 1];
                    assert!(cut || found == whole, "bit flipped at byte {offset} of segment {number}");
                }
            }
            file(&disk, &path).write_all_at(&bytes[offset as usize..=offset as usize], offset).unwrap();
        }
    }
    assert_eq!(all(&open(&disk, small()).unwrap().0, G1), whole);
}

#[test]
fn an_invalid_batch_before_a_valid_one_is_damage() {
    let (disk, _) = three_segments();
    let last = read_file(&disk, &segment_path(3));
    let first_length = format::u32_at(&last, 64 + 16);
    let second = 64 + u64::from(first_length);
    overwrite(&disk, 3, second + 100, b"damage");
    let damage = damage_of(&disk);
    assert!(matches!(damage, Damage::BeforeValid { later_offset, .. } if later_offset > second), "{damage}");
    overwrite(&disk, 3, second, &[0; 30]); // its header as well
    assert!(matches!(damage_of(&disk), Damage::BeforeValid { reason: BatchProblem::NoMagic, .. }));
    overwrite(&disk, 2, 64 + 100, b"damage");
    assert!(matches!(damage_of(&disk), Damage::BeforeSegment { .. }));
    let error = open(&disk, small()).unwrap_err().to_string();
    assert!(error.contains("00000000000000000002.log is damaged at byte 64: batch"), "{error}");
}

#[test]
fn damage_found_while_reading_is_told() {
    let (disk, _) = three_segments();
    let (log, _) = open(&disk, Options { cache_bytes: 0, ..small() }).unwrap();
    overwrite(&disk, 2, 300, b"damage");
    assert_eq!(log.entries(G1, Index(1), Index(2), u64::MAX).unwrap().len(), 2);
    let error = log.entries(G1, Index(1), Index(20), u64::MAX).unwrap_err();
    assert!(matches!(error, LogError::Damaged { damage: Damage::ReadBack { .. }, .. }), "{error}");
}

#[test]
fn missing_files_are_damage() {
    let (disk, _) = three_segments();
    disk.remove(&segment_path(2)).unwrap();
    assert_eq!(damage_of(&disk), Damage::MissingSegment(2));
    let (disk, _) = three_segments();
    disk.remove(&segment_path(1)).unwrap();
    assert!(matches!(damage_of(&disk), Damage::MissingEntries { group: G1, first: Index(1), .. }));
    let (disk, _) = three_segments();
    disk.remove(&segment_path(1)).unwrap();
    disk.remove(&segment_path(2)).unwrap();
    disk.rename(&segment_path(3), &segment_path(1)).unwrap();
    assert_eq!(damage_of(&disk), Damage::Renamed { expected: 1, found: 3 });
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
    overwrite(&disk, 1, 8, &[2]);
    let error = open(&disk, small()).unwrap_err();
    assert!(matches!(error, LogError::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    overwrite(&disk, 1, 0, b"something else");
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
    assert_eq!(names.len(), 5);
}

#[test]
fn the_end_of_the_log_is_judged_by_the_table() {
    let reason = BatchProblem::NoMagic;
    let behind = (512, BatchHeader { sequence: 8, length: 24, records: 0 });
    for next in [None, Some(9)] {
        for is_first in [false, true] {
            for later in [None, Some(behind)] {
                let verdict = Invalid { sequence: 5, reason, is_first, next, later }.judge();
                let row = match verdict {
                    Ok(()) => "end",
                    Err(Damage::FirstBatch { .. }) => "first batch",
                    Err(Damage::BeforeValid { .. }) => "before valid",
                    Err(Damage::BeforeSegment { .. }) => "before segment",
                    Err(other) => panic!("{other}"),
                };
                let expected = match (next.is_some(), is_first, later.is_some()) {
                    (false, false, false) => "end",
                    (false, false, true) => "before valid",
                    (false, true, _) => "first batch",
                    (true, _, _) => "before segment",
                };
                assert_eq!(row, expected);
            }
        }
    }
}

#[test]
fn a_payload_that_looks_like_a_batch_is_no_batch() {
    // A client that knows the format, but not the salt, cannot make a torn tail look like damage.
    let (disk, mut log) = fresh(Options { salt: Some(1), ..small() });
    log.save(append(G1, entries(1, 1, 1, 10)));
    flush(&mut log);
    let at = log.shared.segments.current().unwrap().used;
    let mut forged = vec![0; 24];
    BatchHeader { sequence: 3, length: 24, records: 0 }.write_to(&mut forged);
    format::seal_batch(&mut forged, 2);
    let payload: Vec<u8> = [vec![0; 3], forged].concat().into_iter().cycle().take(2000).collect();
    log.save(append(G1, vec![entry(2, 1, payload)]));
    flush(&mut log);
    overwrite(&disk, 1, at + 1900, b"torn");
    assert_eq!(open(&disk, small()).unwrap().1[&G1].last, Index(1));
}

#[test]
fn headers_are_read_back() {
    let header = SegmentHeader { identity: IDENTITY, number: 3, first_sequence: 4, salt: 5, bytes: 6 };
    assert_eq!(SegmentHeader::decode(&header.encode()).unwrap(), header);
    for byte in 0..64 {
        for bit in 0..8 {
            let mut bytes = header.encode();
            bytes[byte] ^= 1 << bit;
            assert!(SegmentHeader::decode(&bytes).is_err());
        }
    }
}
