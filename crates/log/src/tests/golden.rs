//! The bytes of format 1. A change here is a change of the format: `docs/formats/log.md` and the version move with it.

use super::*;

/// Bytes in hexadecimal, each stretch with its meaning.
type Golden = &'static [(&'static str, &'static str)];

fn bytes_of(golden: Golden) -> Vec<u8> {
    golden.iter().flat_map(|(_, hex)| parse(hex)).collect()
}

fn parse(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn check(found: &[u8], golden: Golden) {
    let mut at = 0;
    for (meaning, hex) in golden {
        let expected = parse(hex);
        assert_eq!(found[at..at + expected.len()], expected, "{meaning}, at byte {at}");
        at += expected.len();
    }
    assert_eq!(at, found.len());
}

const HEADER: Golden = &[
    ("magic", "4b 6f 6e 74 4c 6f 67 0a"),
    ("format", "01 00 00 00"),
    ("checksum", "52 d3 b5 ce"),
    ("cluster", "c1 00 00 00 00 00 00 00"),
    ("member", "a1 00 00 00 00 00 00 00"),
    ("segment number", "01 00 00 00 00 00 00 00"),
    ("first batch", "01 00 00 00 00 00 00 00"),
    ("salt", "07 00 00 00 00 00 00 00"),
    ("length of the file", "00 10 00 00 00 00 00 00"),
];

const SAVED: Golden = &[
    ("batch: magic", "4b 74 42 61"),
    ("checksum", "d9 db ba de"),
    ("sequence number", "01 00 00 00 00 00 00 00"),
    ("length", "88 00 00 00"),
    ("records", "03 00 00 00"),
    ("hard state of group 1", "01   01 00 00 00 00 00 00 00"),
    ("term 7, vote for a1", "07 00 00 00 00 00 00 00   01 a1 00 00 00 00 00 00 00"),
    ("entries of group 1", "02   01 00 00 00 00 00 00 00"),
    ("term 6, from 1 on", "06 00 00 00 00 00 00 00   01 00 00 00 00 00 00 00"),
    ("two of them in 11 bytes", "02 00 00 00   0b 00 00 00"),
    ("one", "03 00 00 00   6f 6e 65"),
    ("an empty one", "00 00 00 00"),
    ("entries of group 1", "02   01 00 00 00 00 00 00 00"),
    ("term 7, from 3 on", "07 00 00 00 00 00 00 00   03 00 00 00 00 00 00 00"),
    ("one of them in 9 bytes", "01 00 00 00   09 00 00 00"),
    ("three", "05 00 00 00   74 68 72 65 65"),
];

const MOVED: Golden = &[
    ("batch: magic", "4b 74 42 61"),
    ("checksum", "f1 ae 70 f0"),
    ("sequence number", "02 00 00 00 00 00 00 00"),
    ("length", "50 00 00 00"),
    ("records", "02 00 00 00"),
    ("group 1 is compacted", "03   01 00 00 00 00 00 00 00"),
    ("up to 2@6", "06 00 00 00 00 00 00 00   02 00 00 00 00 00 00 00"),
    ("group 2 is reset", "04   02 00 00 00 00 00 00 00"),
    ("to 153@5", "05 00 00 00 00 00 00 00   99 00 00 00 00 00 00 00"),
    ("padding", "00 00 00 00 00 00"),
];

const HEADS: Golden = &[
    ("batch: magic", "4b 74 42 61"),
    ("checksum", "31 6f 21 6c"),
    ("sequence number", "03 00 00 00 00 00 00 00"),
    ("length", "48 10 00 00"),
    ("records", "03 00 00 00"),
    ("head of group 1", "05   01 00 00 00 00 00 00 00"),
    ("term 7, vote for a1", "07 00 00 00 00 00 00 00   01 a1 00 00 00 00 00 00 00"),
    ("compacted up to 2@6", "06 00 00 00 00 00 00 00   02 00 00 00 00 00 00 00"),
    ("last index", "03 00 00 00 00 00 00 00"),
    ("head of group 2", "05   02 00 00 00 00 00 00 00"),
    ("term 0, no vote", "00 00 00 00 00 00 00 00   00 00 00 00 00 00 00 00 00"),
    ("compacted up to 153@5", "05 00 00 00 00 00 00 00   99 00 00 00 00 00 00 00"),
    ("last index", "99 00 00 00 00 00 00 00"),
    ("entries of group 2", "02   02 00 00 00 00 00 00 00"),
    ("term 8, from 154 on", "08 00 00 00 00 00 00 00   9a 00 00 00 00 00 00 00"),
    ("one of them in 4004 bytes", "01 00 00 00   a4 0f 00 00"),
    ("its length and first byte", "a0 0f 00 00   ee"),
];

#[test]
fn every_kind_of_record_has_its_bytes() {
    let (disk, mut log) = fresh(small());
    let used = |log: &Log| log.shared.segments.current().unwrap().used as usize;
    log.save(Write {
        hard_state: Some(vote(7, 0xa1)),
        ..append(G1, vec![entry(1, 6, "one"), entry(2, 6, ""), entry(3, 7, "three")])
    });
    flush(&mut log);
    let first = used(&log);
    log.compact(G1, position(2, 6));
    log.reset(G2, position(0x99, 5));
    flush(&mut log);
    let bytes = read_file(&disk, &segment_path(1));
    check(&bytes[..64], HEADER);
    check(&bytes[64..first], SAVED);
    check(&bytes[first..used(&log)], MOVED);
    log.save(append(G2, vec![entry(0x9a, 8, vec![0xee; 4000])]));
    flush(&mut log);
    check(&read_file(&disk, &segment_path(2))[64..][..bytes_of(HEADS).len()], HEADS);
}

#[test]
fn these_bytes_are_read_for_ever() {
    let disk = Arc::new(SimDisk::new(1));
    disk.create_dir_all(&dir()).unwrap();
    let file = disk.open(&segment_path(1), OpenMode::New).unwrap();
    file.allocate(4096).unwrap();
    file.write_all_at(&[bytes_of(HEADER), bytes_of(SAVED), bytes_of(MOVED)].concat(), 0).unwrap();
    let (log, groups) = open(&disk, small()).unwrap();
    assert_eq!((groups[&G1].hard_state, groups[&G1].compacted), (vote(7, 0xa1), position(2, 6)));
    assert_eq!(all(&log, G1), [entry(3, 7, "three")]);
    assert_eq!((groups[&G2].compacted, groups[&G2].last), (position(0x99, 5), Index(0x99)));
}
