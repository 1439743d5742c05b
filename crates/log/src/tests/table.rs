//! The decision table: every row as a value, and every combination on bytes.

use super::*;
use crate::judge::{Evidence, Known, Verdict};

#[test]
fn every_row_of_the_table() {
    let proofs = [
        None,
        Some(Proof::Ledger),
        Some(Proof::First),
        Some(Proof::Later { sequence: 9, offset: 512 }),
        Some(Proof::LaterRow(9)),
        Some(Proof::Segment(9)),
    ];
    for proof in proofs {
        for whole in [true, false] {
            for known in [Known::Here, Known::Ledger, Known::Nowhere] {
                let expected = match known {
                    Known::Here if whole => Verdict::Keep,
                    Known::Here if proof.is_some() => Verdict::Gap,
                    Known::Here => Verdict::Cut,
                    Known::Ledger if whole => Verdict::Restore,
                    Known::Ledger => Verdict::RestoreGap,
                    Known::Nowhere => proof.map_or(Verdict::Cut, Verdict::Refuse),
                };
                assert_eq!(Evidence { known, whole, proof }.judge(), expected);
            }
        }
    }
}

/// Which batch of the log is looked at, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follows {
    Nothing,
    /// A later batch in the segment, with its row or without, or the row alone.
    Batch,
    BatchAndRow,
    Row,
    /// A later segment.
    Segment,
}

#[test]
fn every_combination_on_bytes() {
    let mut seen = BTreeMap::<&str, u32>::new();
    for first in [true, false] {
        for follows in [Follows::Nothing, Follows::Batch, Follows::BatchAndRow, Follows::Row, Follows::Segment] {
            for header in [true, false] {
                for body in [true, false] {
                    for row in [true, false] {
                        let verdict = combination(first, follows, header, body, row);
                        *seen.entry(verdict).or_default() += 1;
                    }
                }
            }
        }
    }
    let rows: Vec<&str> = seen.keys().copied().collect();
    assert_eq!(rows, ["cut", "gap", "keep", "refuse"], "{seen:?}");
    assert_eq!(seen.values().sum::<u32>(), 80);
}

/// A log with the batch in question, entries 2 to 4 of the first group with a vote, in the given condition.
fn combination(first: bool, follows: Follows, header: bool, body: bool, row: bool) -> &'static str {
    let (disk, mut log) = fresh(small());
    if !first {
        log.save(append(G1, entries(1, 1, 1, 50)));
        flush(&mut log);
    } else {
        log.reset(G1, position(1, 1)); // staged with the batch in question
    }
    log.save(Write { hard_state: Some(vote(5, 2)), ..append(G1, entries(2, 4, 1, 700)) });
    flush(&mut log);
    let (segment, place) = log.shared.segments.find(log.settled).unwrap();
    assert_eq!(segment.number(), 1);
    match follows {
        Follows::Nothing => {}
        Follows::Segment => {
            log.save(append(G1, entries(5, 5, 1, 3000)));
            flush(&mut log);
            assert_eq!(log.segments(), 2);
        }
        _ => {
            log.save(append(G1, entries(5, 5, 1, 50)));
            flush(&mut log);
        }
    }
    let whole = state(&log);
    let later = log.shared.segments.find(log.settled).unwrap().1;
    drop(log);
    let mut files = image(&disk);
    let log_bytes = files.get_mut(&segment_name(1)).unwrap();
    if !header {
        log_bytes[place.offset as usize + 9] ^= 1;
    }
    if !body {
        log_bytes[place.end() as usize - 100] ^= 1;
    }
    if follows == Follows::Row {
        log_bytes[later.offset as usize..later.end() as usize].fill(0);
    }
    let ledger = files.get_mut(&ledger_name(1)).unwrap();
    if !row {
        ledger[place.row as usize + 20] ^= 1;
    }
    if follows == Follows::Batch {
        ledger[later.row as usize..].fill(0);
    }
    let what = format!("first {first}, {follows:?}, header {header}, body {body}, row {row}");
    let proof = row || first || follows != Follows::Nothing;
    let expected = match (header || row, body, proof) {
        (true, true, _) => "keep",
        (true, false, true) => "gap",
        (false, _, true) => "refuse",
        (_, _, false) => "cut",
    };
    let disk = disk_of(&files);
    let found = open(&disk, small());
    match (&found, expected) {
        (Err(LogError::Damaged { file, offset, damage: Damage::Identity { .. } }), "refuse") => {
            assert_eq!((file, *offset), (&segment_path(1), u64::from(place.offset)), "{what}");
            assert_eq!(image(&disk), files, "{what}: nothing is changed");
        }
        (Ok((log, _)), "cut") => {
            let cut = &state(log)[&G1].0;
            assert_eq!((cut.last, cut.hard_state), (Index(1), HardState::default()), "{what}");
            assert!(!header || matches!(log.findings(), [Finding::Cut { .. }]), "{what}: {:?}", log.findings());
        }
        (Ok((log, _)), "keep" | "gap") => {
            let mut lost = vec![];
            if expected == "gap" {
                lost.push(Gap { first: Index(2), last: Index(4) });
            }
            if follows == Follows::Row {
                lost.push(Gap { first: Index(5), last: Index(5) });
            }
            let lost = if lost.len() == 2 { vec![Gap { first: Index(2), last: Index(5) }] } else { lost };
            assert_eq!(log.gaps(G1), lost, "{what}");
            let found = &state(log)[&G1].0;
            assert_eq!(Recovered { gaps: vec![], ..found.clone() }, whole[&G1].0, "{what}");
            let restored = log.findings().iter().any(|finding| matches!(finding, Finding::Restored { .. }));
            assert_eq!(restored, !header || follows == Follows::Row, "{what}: {:?}", log.findings());
        }
        (other, _) => panic!("{what}: expected {expected}, found {other:?}"),
    }
    drop(found);
    if expected == "keep" && follows != Follows::Row {
        // Both copies are there again: the other one may go now.
        let mut files = image(&disk);
        files.get_mut(&ledger_name(1)).unwrap().fill(0);
        let (log, _) = open(&disk_of(&files), small()).unwrap_or_else(|error| panic!("{what}, then: {error}"));
        assert_eq!(Recovered { gaps: vec![], ..state(&log)[&G1].0.clone() }, whole[&G1].0, "{what}");
    }
    expected
}
