//! Ranges read piece by piece: joined, the pieces are the range, whatever is written, compacted and checkpointed between
//! them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What happens before and between pieces.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Checkpoint,
    Compact,
    /// The reader gives its layers back.
    Release,
}

fn name(key: u8) -> String {
    format!("k{:02}", key % 40)
}

fn carry_out(machine: &mut Machine, step: &Step) {
    match step {
        Step::Put(key, len) => machine.put(&name(*key), &"v".repeat(usize::from(*len))),
        Step::Delete(key) => drop(machine.apply(&delete(&name(*key), ""))),
        Step::Checkpoint => machine.checkpoint(),
        Step::Compact => {
            let revision = machine.kv.revision();
            drop(machine.apply(&Command::Compact { revision }));
        }
        Step::Release => {}
    }
}

fn steps(compacting: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (any::<u8>(), 0..60_u8).prop_map(|(key, len)| Step::Put(key, len)),
        4 => any::<u8>().prop_map(Step::Delete),
        1 => Just(Step::Checkpoint),
        u32::from(compacting) => Just(Step::Compact),
        2 => Just(Step::Release),
    ]
}

fn requests() -> impl Strategy<Value = RangeRequest> {
    let ends =
        prop_oneof![Just(("\0", "\0")), Just(("k1", "k3")), Just(("k05", "\0")), Just(("k07", "")), Just(("k2", "k1"))];
    (ends, 0..30_i64, 0..12_i64, any::<bool>(), any::<bool>(), 0..9_u8).prop_map(
        |((key, end), limit, age, keys_only, old, filter)| RangeRequest {
            limit: if limit > 20 { 0 } else { limit },
            revision: if old { -age } else { 0 }, // counted back from the latest one; see below
            keys_only,
            count_only: filter == 8,
            min_mod_revision: if filter == 1 { 20 } else { 0 },
            max_create_revision: if filter == 2 { 30 } else { 0 },
            ..get(key, end)
        },
    )
}

fn key_value(found: Found<'_>) -> KeyValue {
    KeyValue {
        key: Bytes::copy_from_slice(found.key),
        create_revision: found.create_revision,
        mod_revision: found.mod_revision,
        version: found.version,
        value: found.value.clone(),
        lease: found.lease,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn joined_pieces_are_the_range(
        before in vec(steps(true), 1..80),
        between in vec(vec(steps(true), 0..6), 1..40),
        request in requests(),
        keys_max in 1..9_usize,
        bytes_max in 1..200_usize,
    ) {
        let mut machine = Machine::new();
        before.iter().for_each(|step| carry_out(&mut machine, step));
        let revision = (machine.kv.revision() + request.revision).max(machine.kv.compacted()).max(1);
        let request = RangeRequest { revision: if request.revision < 0 { revision } else { 0 }, ..request };
        let (expected, at) = machine.kv.reader().range(&request).unwrap();
        let mut pages = machine.kv.reader().pages(request.clone()).unwrap();
        prop_assert_eq!(pages.revision(), at);
        let (mut kvs, mut lengths, mut released) = (Vec::new(), Vec::new(), false);
        let mut ahead = pages.lengths();
        while ahead.page(7, 90, |found| lengths.push((found.key.len(), found.value_len))).unwrap() {}
        for round in 0.. {
            let (before, mut bytes) = (kvs.len(), 0);
            let answer = pages.page(keys_max, bytes_max, |found| {
                bytes += found.key.len() + found.value_len;
                kvs.push(key_value(found));
            });
            let goes_on = match operation(answer) {
                Ok(goes_on) => goes_on,
                Err(refusal) => {
                    // Only what was given back can be lost.
                    prop_assert!(released && refusal == OperationError::Compacted);
                    prop_assert!(machine.kv.compacted() > revision.min(at));
                    return Ok(());
                }
            };
            prop_assert!(kvs.len() - before <= keys_max);
            prop_assert!(kvs.len() - before <= 1 || bytes < bytes_max + 64, "the last key may go beyond");
            if !goes_on {
                break;
            }
            for step in between.get(round).into_iter().flatten() {
                carry_out(&mut machine, step);
                if matches!(step, Step::Release) {
                    released = true;
                    pages.release();
                }
            }
        }
        prop_assert_eq!(lengths, kvs.iter().map(|kv| (kv.key.len(), kv.value.len())).collect::<Vec<_>>());
        let finished = operation(pages.finish());
        if finished == Err(OperationError::Compacted) {
            prop_assert!(released);
            return Ok(());
        }
        let (more, count) = finished.unwrap();
        prop_assert_eq!(RangeResult { kvs, more, count }, expected);
    }
}

#[test]
fn a_page_holds_few_bytes_however_large_values_are() {
    let mut machine = Machine::new();
    (0..30).for_each(|key| machine.put(&name(key), &"v".repeat(10_000)));
    for _ in 0..2 {
        let mut pages = machine.kv.reader().pages(get("\0", "\0")).unwrap();
        let mut told = 0;
        while pages.page(1000, 1, |_| told += 1).unwrap() {}
        assert_eq!((told, pages.finish().unwrap()), (30, (false, 30)));
        machine.checkpoint();
    }
}

#[test]
fn a_sort_with_a_limit_answers_as_one_of_all() {
    let mut machine = Machine::new();
    (0..40_u8).for_each(|key| machine.put(&name(39 - key), &"v".repeat(usize::from(key % 5))));
    (0..13_u8).for_each(|key| machine.put(&name(key * 3), "w"));
    for sort_target in [SortTarget::Key, SortTarget::Version, SortTarget::Mod, SortTarget::Value] {
        for sort_order in [SortOrder::Ascend, SortOrder::Descend] {
            let all = RangeRequest { sort_order, sort_target, ..get("\0", "\0") };
            let whole = machine.range(&all).unwrap();
            for limit in [1, 3, 39, 40, 41] {
                let cut = machine.range(&RangeRequest { limit, ..all.clone() }).unwrap();
                let kept = usize::try_from(limit).unwrap().min(40);
                assert_eq!(cut.kvs, whole.kvs[..kept]);
                assert_eq!((cut.more, cut.count), (limit < 40, 40));
            }
        }
    }
}
