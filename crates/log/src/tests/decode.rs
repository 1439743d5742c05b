//! Any bytes at all: no decoder panics, and none believes them.

use proptest::prelude::*;

use super::damage::damage_of;
use super::workload::steps;
use super::*;
use crate::format::{BatchHeader, LedgerRow, Part, Seal, SegmentHeader};
use crate::ledger::Rows;
use crate::record::{Record, directory};

const SEAL: Seal = Seal { salt: 7, number: 1 };

/// A sealed batch's header and directory over any bytes, so that what is behind the checksum is reached.
fn sealed(directory: &[u8], length: u32, records: u32) -> Vec<u8> {
    let header = BatchHeader { sequence: 1, length, directory: directory.len() as u32, records };
    let mut head = vec![0; 32];
    header.write_to(&mut head);
    head.extend_from_slice(directory);
    header.seal(&mut head, SEAL, 64);
    head
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_no_header(bytes in proptest::collection::vec(any::<u8>(), 64)) {
        let bytes: [u8; 64] = bytes.try_into().unwrap();
        prop_assert!(SegmentHeader::decode(&bytes, Part::Log).is_err());
        prop_assert!(SegmentHeader::decode(&bytes, Part::Ledger).is_err());
    }

    #[test]
    fn any_bytes_are_no_batch_and_no_row(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        magic in any::<bool>(),
        sequence in 0..3u64,
        room in any::<u64>(),
    ) {
        if magic && bytes.len() > 40 {
            bytes[..4].copy_from_slice(b"KtBa");
            bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
            bytes[18..20].fill(0);
        }
        prop_assert!(BatchHeader::expect(&bytes, SEAL, 64, room, sequence).is_err());
        if magic && bytes.len() > 40 {
            bytes[..4].copy_from_slice(b"KtRo");
            bytes[16..20].copy_from_slice(b"KtBa");
        }
        prop_assert!(LedgerRow::check(&bytes, SEAL, 64, room).is_err());
        let header = SegmentHeader { identity: IDENTITY, number: 1, first_sequence: 1, salt: 7, bytes: room };
        prop_assert!(Rows::read(&bytes, &header).behind(0).is_none());
    }

    #[test]
    fn any_directory_is_read_or_refused(
        mut rows in proptest::collection::vec(any::<u8>(), 0..200),
        kinds in proptest::collection::vec(0..8u8, 8),
        length in 0..400u32,
        records in 0..9u32,
    ) {
        // Kinds that exist, so that rows are read on.
        for (row, kind) in kinds.iter().enumerate() {
            if let Some(byte) = rows.get_mut(row * 37) {
                *byte = *kind;
            }
        }
        let head = sealed(&rows, length / 8 * 8, records);
        let Ok(header) = BatchHeader::expect(&head, SEAL, 64, u64::MAX, 1) else { return Ok(()) };
        if let Ok(found) = directory(&header, &head) {
            prop_assert_eq!(found.len() as u32, records);
            for record in found {
                if let Record::Entries(body) = record {
                    prop_assert!(body.range.end <= header.length as usize);
                    prop_assert!(body.check(&head, SEAL, 64, 1).is_err());
                }
            }
        }
    }

    #[test]
    fn any_payloads_are_read_or_refused(bytes in proptest::collection::vec(0..9u8, 0..200), count in 1..9u32) {
        let mut row = Vec::new();
        let at = record::put_entries(&mut row, G1, &entry(1, 1, ""), false);
        record::set_extent(&mut row, at, count, bytes.len() as u32);
        let length = (32 + row.len() + bytes.len()).next_multiple_of(8) as u32;
        let head = sealed(&row, length, 1);
        let header = BatchHeader::expect(&head, SEAL, 64, u64::MAX, 1).unwrap();
        if let Ok(records) = directory(&header, &head) {
            let Record::Entries(body) = &records[0] else { panic!("{records:?}") };
            let mut held = 0;
            if body.entries(&Bytes::from(bytes.clone()), |entry| held += entry.payload.len() + 4).is_ok() {
                prop_assert_eq!(held, bytes.len());
            }
        }
    }
}

/// Whole directories with bytes changed anywhere, cut, or joined wrongly: opening answers, and inspecting too.
#[test]
fn mutated_files_are_answered() {
    let steps = steps();
    let mut random = kontiki_world::Random::new(4);
    let names: Vec<&String> = steps[steps.len() - 1].files.keys().collect();
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..600 {
        let mut files = steps[steps.len() - 1].files.clone();
        for _ in 0..=random.below(4) {
            let bytes = files.get_mut(names[random.below(names.len() as u64) as usize]).unwrap();
            if bytes.is_empty() {
                continue;
            }
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(4) {
                0 => bytes.truncate(at),
                1 => bytes[at] = random.below(256) as u8,
                2 => bytes[at..].iter_mut().take(600).for_each(|byte| *byte = random.below(256) as u8),
                _ => {
                    let from = random.below(bytes.len() as u64) as usize;
                    let count = random.below(1000).min((bytes.len() - at.max(from)) as u64) as usize;
                    bytes.copy_within(from..from + count, at);
                }
            }
        }
        let disk = disk_of(&files);
        let inspected = inspect(disk.clone(), &dir(), &mut |_| ());
        match open(&disk, small()) {
            Ok((log, groups)) => {
                assert_eq!(inspected.unwrap().groups, groups);
                state(&log);
                opened += 1;
            }
            Err(error) => {
                assert!(!matches!(error, LogError::Io { .. }), "{error}");
                refused += 1;
            }
        }
    }
    assert!(opened > 200 && refused > 5, "{opened} opened, {refused} refused");
}

#[test]
fn numbers_of_a_header_are_not_believed() {
    let (disk, mut log) = fresh(small());
    log.save(append(G1, entries(1, 1, 1, 100)));
    flush(&mut log);
    let whole = image(&disk);
    let header = log.shared.segments.current().unwrap().header;
    for header in [
        format::SegmentHeader { first_sequence: 0, ..header },
        format::SegmentHeader { first_sequence: u64::MAX, ..header },
        format::SegmentHeader { bytes: u64::MAX, ..header },
        format::SegmentHeader { bytes: 1 << 40, ..header },
    ] {
        let mut image = whole.clone();
        image.get_mut(&segment_name(1)).unwrap()[..64].copy_from_slice(&header.encode(format::Part::Log));
        image.get_mut(&ledger_name(1)).unwrap()[..64].copy_from_slice(&header.encode(format::Part::Ledger));
        assert!(matches!(damage_of(&disk_of(&image)), Damage::Impossible { .. }));
    }
    let mut image = whole.clone();
    let short = format::SegmentHeader { bytes: 0, ..header };
    image.get_mut(&segment_name(1)).unwrap()[..64].copy_from_slice(&short.encode(format::Part::Log));
    image.get_mut(&ledger_name(1)).unwrap()[..64].copy_from_slice(&short.encode(format::Part::Ledger));
    assert!(matches!(damage_of(&disk_of(&image)), Damage::Identity { .. }));
    // A file that is longer than its header says is read as far as that.
    for name in [segment_path(1), ledger_path(1)] {
        file(&disk, &name).set_len(1 << 40).unwrap();
    }
    assert_eq!(open(&disk, small()).unwrap().1[&G1].last, Index(1));
}

#[test]
fn numbers_of_a_record_are_not_believed() {
    let last = |index: u64| {
        let mut rows = Vec::new();
        record::put_reset(&mut rows, G1, position(index, 1));
        let reset = rows.clone();
        record::put_compacted(&mut rows, G1, position(index, 1));
        let head = record::Head { hard_state: HardState::default(), compacted: position(index, 1), last: Index(7) };
        let mut heads = Vec::new();
        record::put_head(&mut heads, G1, &head);
        [(reset, 1), (rows, 2), (heads, 1)].map(|(rows, records)| {
            let head = sealed(&rows, (32 + rows.len()).next_multiple_of(8) as u32, records);
            let header = BatchHeader::expect(&head, SEAL, 64, u64::MAX, 1).unwrap();
            directory(&header, &head).is_ok()
        })
    };
    assert_eq!(last(7), [true, true, true]);
    assert_eq!(last(8), [true, true, false], "a log does not end before it begins");
    assert_eq!(last(u64::MAX), [false, false, false], "nothing follows it");
}
