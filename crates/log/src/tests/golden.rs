//! The bytes of format 2. A change here is a change of the format: `docs/formats/log.md` and the version move with it.

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
    ("format", "02 00 00 00"),
    ("checksum", "5d b8 ea 27"),
    ("cluster", "c1 00 00 00 00 00 00 00"),
    ("member", "a1 00 00 00 00 00 00 00"),
    ("segment number", "01 00 00 00 00 00 00 00"),
    ("first batch", "01 00 00 00 00 00 00 00"),
    ("salt", "07 00 00 00 00 00 00 00"),
    ("length of the file", "00 10 00 00 00 00 00 00"),
];

const LEDGER_HEADER: Golden = &[
    ("magic", "4b 6f 6e 74 4c 64 67 0a"),
    ("format", "02 00 00 00"),
    ("checksum", "0e 62 e7 86"),
    ("cluster", "c1 00 00 00 00 00 00 00"),
    ("member", "a1 00 00 00 00 00 00 00"),
    ("segment number", "01 00 00 00 00 00 00 00"),
    ("first batch", "01 00 00 00 00 00 00 00"),
    ("salt", "07 00 00 00 00 00 00 00"),
    ("length of the segment's file", "00 10 00 00 00 00 00 00"),
];

/// Header and directory: in the segment, and once more in the ledger.
const SAVED_HEAD: Golden = &[
    ("batch: magic", "4b 74 42 61"),
    ("checksum", "f3 10 45 ea"),
    ("sequence number", "01 00 00 00 00 00 00 00"),
    ("length", "98 00 00 00"),
    ("directory", "64 00 00 00"),
    ("records", "03 00 00 00"),
    ("checksum of this header", "60 bd 64 cc"),
    ("hard state of group 1", "01   01 00 00 00 00 00 00 00"),
    ("term 7, vote for a1", "07 00 00 00 00 00 00 00   01 a1 00 00 00 00 00 00 00"),
    ("entries of group 1", "02   01 00 00 00 00 00 00 00"),
    ("term 6, from 1 on", "06 00 00 00 00 00 00 00   01 00 00 00 00 00 00 00"),
    ("two of them in 11 bytes", "02 00 00 00   0b 00 00 00"),
    ("checksum of those", "7c b2 81 b5"),
    ("entries of group 1", "02   01 00 00 00 00 00 00 00"),
    ("term 7, from 3 on", "07 00 00 00 00 00 00 00   03 00 00 00 00 00 00 00"),
    ("one of them in 9 bytes", "01 00 00 00   09 00 00 00"),
    ("checksum of those", "88 19 29 a1"),
];

const SAVED_BODIES: Golden =
    &[("one", "03 00 00 00   6f 6e 65"), ("an empty one", "00 00 00 00"), ("three", "05 00 00 00   74 68 72 65 65")];

const ROW: Golden =
    &[("row: magic", "4b 74 52 6f"), ("checksum", "fc e8 26 27"), ("place of the batch", "40 00 00 00 00 00 00 00")];

const ROW_PADDING: Golden = &[("padding", "00 00 00 00")];

const MOVED: Golden = &[
    ("batch: magic", "4b 74 42 61"),
    ("checksum", "fc a1 9a a1"),
    ("sequence number", "02 00 00 00 00 00 00 00"),
    ("length", "80 00 00 00"),
    ("directory", "57 00 00 00"),
    ("records", "03 00 00 00"),
    ("checksum of this header", "6e 15 d4 78"),
    ("mended entries of group 1", "06   01 00 00 00 00 00 00 00"),
    ("term 7, at 3", "07 00 00 00 00 00 00 00   03 00 00 00 00 00 00 00"),
    ("one of them in 9 bytes", "01 00 00 00   09 00 00 00"),
    ("checksum of those", "0e 8a 14 b3"),
    ("group 1 is compacted", "03   01 00 00 00 00 00 00 00"),
    ("up to 2@6", "06 00 00 00 00 00 00 00   02 00 00 00 00 00 00 00"),
    ("group 2 is reset", "04   02 00 00 00 00 00 00 00"),
    ("to 153@5", "05 00 00 00 00 00 00 00   99 00 00 00 00 00 00 00"),
    ("three", "05 00 00 00   74 68 72 65 65"),
];

const HEADS: Golden = &[
    ("batch: magic", "4b 74 42 61"),
    ("checksum", "43 d0 fb f2"),
    ("sequence number", "03 00 00 00 00 00 00 00"),
    ("length", "50 10 00 00"),
    ("directory", "89 00 00 00"),
    ("records", "03 00 00 00"),
    ("checksum of this header", "4d 97 b6 81"),
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
    ("checksum of those", "0a 97 c4 57"),
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
    log.lose(G1, Index(3), Index(3));
    log.mend(G1, Ticket(2), vec![entry(3, 7, "three")]).unwrap();
    log.compact(G1, position(2, 6));
    log.reset(G2, position(0x99, 5));
    flush(&mut log);
    let bytes = read_file(&disk, &segment_path(1));
    let ledger = read_file(&disk, &ledger_path(1));
    check(&bytes[..64], HEADER);
    check(&bytes[64..64 + 132], SAVED_HEAD);
    check(&bytes[64 + 132..first], SAVED_BODIES);
    check(&bytes[first..used(&log)], MOVED);
    check(&ledger[..64], LEDGER_HEADER);
    check(&ledger[64..80], ROW);
    check(&ledger[80..80 + 132], SAVED_HEAD);
    check(&ledger[212..216], ROW_PADDING);
    assert_eq!(ledger[216 + 16..][..119], bytes[first..first + 119], "the next row");
    log.save(append(G2, vec![entry(0x9a, 8, vec![0xee; 4000])]));
    flush(&mut log);
    check(&read_file(&disk, &segment_path(2))[64..][..bytes_of(HEADS).len()], HEADS);
}

/// The segment alone is read; its ledger is made from it.
#[test]
fn these_bytes_are_read_for_ever() {
    let mut bytes = [HEADER, SAVED_HEAD, SAVED_BODIES, MOVED].map(bytes_of).concat();
    bytes.resize(4096, 0);
    let disk = disk_of(&Image::from([(segment_name(1), bytes)]));
    let (log, groups) = open(&disk, small()).unwrap();
    assert_eq!((groups[&G1].hard_state, groups[&G1].compacted), (vote(7, 0xa1), position(2, 6)));
    assert_eq!(all(&log, G1), [entry(3, 7, "three")]);
    assert_eq!((groups[&G2].compacted, groups[&G2].last), (position(0x99, 5), Index(0x99)));
    let ledger = [LEDGER_HEADER, ROW, SAVED_HEAD, ROW_PADDING].map(bytes_of).concat();
    assert_eq!(read_file(&disk, &ledger_path(1))[..ledger.len()], ledger);
    assert!(matches!(log.findings(), [Finding::Ledger { damage: Damage::MissingFile, .. }]));
}
