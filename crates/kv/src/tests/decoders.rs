//! Bytes that no program of ours wrote: every decoder answers with an error, none panics.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::base::Mark;
use crate::changes::Change;
use crate::codec::decode_member;
use crate::{key, lease, record, versions};

fn sink() -> SnapshotSink {
    SnapshotSink::create(Disk::default(), 3).unwrap()
}

/// A piece whose checksum is right, whatever is in it.
fn sealed_piece(content: &[u8]) -> Bytes {
    [content, &crc32c::crc32c(content).to_be_bytes()].concat().into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn rows_of_any_bytes(row_key in vec(any::<u8>(), 0..40), row in vec(any::<u8>(), 0..60), main: i64) {
        let _ = record::decode(main, 0, &row, |at| Bytes::copy_from_slice(&row[at..]));
        let _ = versions::split_newest(&row).map(|(place, row)| versions::decode(place, row, true));
        let _ = key::split_version(&row_key);
        let _ = key::split_revision(&row_key);
        let _ = key::split_lease(Table::Leases, &row_key);
        let _ = key::user_key(&row_key);
        let _ = Change::decode(&row_key, &row);
        let _ = lease::LeaseRow::decode(&row);
        let _ = decode_member(&Bytes::from(row.clone()));
        prop_assert!(Mark::decode(&row).is_none_or(|_| row.len() == 56));
    }

    #[test]
    fn pieces_of_any_bytes(kind in 0_u8..4, content in vec(any::<u8>(), 0..200), end: bool) {
        let mut sink = sink();
        let piece = sealed_piece(&[&[kind][..], &content].concat());
        let written = sink.write(&piece).and_then(|()| if end { sink.write(&sealed_piece(&[2, 0, 0, 0, 0, 0])) } else { Ok(()) });
        let refused = written.and_then(|()| sink.finish());
        prop_assert!(matches!(refused, Err(KvError::Snapshot { .. })), "{refused:?}");
    }

    #[test]
    fn a_piece_with_a_changed_byte_is_refused(at: prop::sample::Index, flip in 1_u8.., piece: prop::sample::Index) {
        let machine = super::inspecting::furnished();
        let mut source = machine.kv.snapshot();
        let mut pieces: Vec<Bytes> = std::iter::from_fn(|| source.next_rows(3_000).unwrap()).collect();
        let changed = piece.index(pieces.len());
        let mut bytes = pieces[changed].to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        pieces[changed] = bytes.into();
        let mut sink = sink();
        let result = pieces.iter().try_for_each(|piece| sink.write(piece));
        prop_assert!(matches!(result, Err(KvError::Snapshot { .. })), "{result:?}");
    }
}

/// As from a member whose program is broken: every checksum is right, the rows are not.
#[test]
fn a_snapshot_of_nonsense_is_no_state() {
    let rows = |rows: &[(u8, &[u8], &[u8])]| {
        let mut content = vec![1];
        for (table, key, value) in rows {
            content.push(*table);
            crate::wire::put_bytes(&mut content, key);
            crate::wire::put_bytes(&mut content, value);
        }
        let mut end = vec![2, rows.len() as u8];
        end.extend_from_slice(&crc32c::crc32c(&content[1..]).to_be_bytes());
        [sealed_piece(&content), sealed_piece(&end)]
    };
    let none: [u8; 0] = [];
    for nonsense in [
        rows(&[(0, b"b", b""), (0, b"a", b"")]),
        rows(&[(0, b"a", b"short")]),
        rows(&[(7, b"a", b"short"), (8, b"mark", &[0; 56])]),
        rows(&[(6, b"a", &none), (8, b"mark", &[0; 56])]),
        rows(&[(8, b"mark", &[0; 55])]),
        rows(&[(8, b"format", &[0; 4]), (8, b"mark", &[0; 56])]),
    ] {
        let disk = Disk::default();
        let mut sink = SnapshotSink::create(disk.clone(), 3).unwrap();
        let received = nonsense.iter().try_for_each(|piece| sink.write(piece)).and_then(|()| sink.finish());
        let opened = received.and_then(|()| Kv::open(disk, Options::default()).map(|_| ()));
        assert!(opened.is_err());
    }
}
