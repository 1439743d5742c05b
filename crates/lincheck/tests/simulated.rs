//! Histories of a simulated store, which is right, and then of one that lies.
#![allow(clippy::unwrap_used)]

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;

use kontiki_lincheck::ordered::{self, Kind};
use kontiki_lincheck::{
    Checker, Found, History, Kv, KvCall, KvInput, KvOutput, Operation, Register, RegisterCall, RegisterInput,
    RegisterOutput, Return, Verdict,
};
use support::{Random, is_linearizable};

type KvOperation = Operation<KvInput<u64, u64>, KvOutput<u64>>;

/// What a run looks like.
#[derive(Clone, Copy)]
struct Shape {
    clients: u64,
    keys: u64,
    values: u64,
    operations: usize,
    /// One call in so many is lost; half of these take effect.
    lost: u64,
    /// Whether answers tell revisions.
    revisions: bool,
}

enum Phase {
    Idle,
    Called(KvInput<u64, u64>),
    TookEffect(KvOutput<u64>),
}

/// Each turn some client calls, or its call takes effect, or it returns.
fn run(random: &mut Random, shape: Shape) -> History<KvInput<u64, u64>, KvOutput<u64>> {
    let mut phases: Vec<Phase> = (0..shape.clients).map(|_| Phase::Idle).collect();
    let mut store: BTreeMap<u64, Found<u64>> = BTreeMap::new();
    let mut history = History::builder();
    let (mut now, mut called, mut last_revision) = (0, 0, 0);
    while called < shape.operations {
        now += random.below(3);
        let client = random.below(shape.clients);
        let phase = &mut phases[client as usize];
        *phase = match std::mem::replace(phase, Phase::Idle) {
            Phase::Idle => {
                called += 1;
                let call = match random.below(8) {
                    0..=3 => KvCall::Get,
                    4 => KvCall::Delete,
                    _ => KvCall::Put(random.below(shape.values)),
                };
                let input = KvInput { key: random.below(shape.keys), call };
                history.invoke(client, now, input.clone()).unwrap();
                Phase::Called(input)
            }
            Phase::Called(_) | Phase::TookEffect(_) if random.below(2 * shape.lost) == 0 => {
                history.lose(client).unwrap();
                Phase::Idle
            }
            Phase::Called(KvInput { key, call }) => {
                last_revision += 1;
                let revision = Some(last_revision).filter(|_| shape.revisions);
                Phase::TookEffect(match call {
                    KvCall::Put(value) => {
                        store.insert(key, Found { value, mod_revision: revision });
                        KvOutput::Put { revision }
                    }
                    KvCall::Delete if store.remove(&key).is_some() => KvOutput::Deleted { revision },
                    KvCall::Delete => KvOutput::NothingToDelete,
                    KvCall::Get | KvCall::CompareAndPut { .. } => KvOutput::Got(store.get(&key).cloned()),
                })
            }
            Phase::TookEffect(output) => {
                history.complete(client, now, output).unwrap();
                Phase::Idle
            }
        };
    }
    history.finish()
}

#[test]
fn what_a_right_store_did_is_linearizable() {
    let mut random = Random::new(1);
    for round in 0..300 {
        let shape = Shape {
            clients: 1 + random.below(12),
            keys: 1 + random.below(4),
            values: 1 + random.below(50),
            operations: 400,
            lost: 5 + random.below(100),
            revisions: random.below(2) == 0,
        };
        let history = run(&mut random, shape);
        let verdict = Checker::new(Kv::default()).check(&history);
        assert!(verdict.is_ok(), "round {round}: {verdict}");
    }
}

/// Every read tells another value, or another revision, with a chance of one in `one_in`.
fn with_lies(random: &mut Random, operations: &[KvOperation], one_in: u64) -> Vec<KvOperation> {
    let mut operations = operations.to_vec();
    for operation in &mut operations {
        let Return::Done { output: KvOutput::Got(found), .. } = &mut operation.result else { continue };
        if random.below(one_in) == 0 {
            *found = match found.take() {
                Some(_) if random.below(3) == 0 => None,
                Some(found) => Some(Found { value: random.below(3), ..found }),
                None => Some(Found { value: random.below(3), mod_revision: None }),
            };
        }
    }
    operations
}

#[test]
fn lies_are_found_as_often_as_by_trying_all_orders() {
    let mut random = Random::new(2);
    let (mut caught, mut harmless) = (0, 0);
    for round in 0..20_000 {
        let shape = Shape {
            clients: 2 + random.below(3),
            keys: 1,
            values: 3,
            operations: 3 + random.below(6) as usize,
            lost: 4,
            revisions: random.below(2) == 0,
        };
        // Times are ranks here: the naive checker knows nothing but times.
        let history = run(&mut random, shape);
        let lied = with_lies(&mut random, history.operations(), 2);
        let expected = is_linearizable(&Kv::default(), &lied);
        let verdict = Checker::new(Kv::default()).check(&History::from_operations(lied.clone()).unwrap());
        assert_eq!(verdict.is_ok(), expected, "round {round}: {lied:#?}\n{verdict}");
        if expected { harmless += 1 } else { caught += 1 }
    }
    assert!(caught > 3_000 && harmless > 3_000, "{caught} were caught, {harmless} were none");
}

#[test]
fn one_lie_in_a_long_history_is_found() {
    let mut random = Random::new(3);
    let shape = Shape { clients: 5, keys: 3, values: 1_000_000, operations: 3_000, lost: 20, revisions: true };
    for _ in 0..50 {
        let history = run(&mut random, shape);
        let mut operations = history.operations().to_vec();
        let reads: Vec<usize> = (0..operations.len())
            .filter(|&index| matches!(operations[index].output(), Some(KvOutput::Got(Some(_)))))
            .collect();
        let liar = reads[random.below(reads.len() as u64) as usize];
        let Return::Done { output: KvOutput::Got(Some(found)), .. } = &mut operations[liar].result else {
            unreachable!("only such were chosen")
        };
        found.value += 1_000_000;
        let verdict = Checker::new(Kv::default()).check(&History::from_operations(operations.clone()).unwrap());
        let witness = verdict.witness().unwrap_or_else(|| panic!("the lie was not found: {verdict}"));
        assert_eq!(witness.refused, operations[liar], "nobody but the liar is to blame");
    }
}

/// Writes of one key that all overlap, and answers that say nothing: the worst that can be.
fn crowd(writers: u64, seen: u64) -> History<RegisterInput<(), u64>, RegisterOutput<u64>> {
    let mut history = History::builder();
    for client in 0..writers {
        let call = RegisterCall::Write(client);
        history.invoke(client, 0, RegisterInput { key: (), call }).unwrap();
    }
    history.invoke(writers, 1, RegisterInput { key: (), call: RegisterCall::Read }).unwrap();
    for client in 0..writers {
        history.complete(client, 2, RegisterOutput::Written).unwrap();
    }
    history.complete(writers, 3, RegisterOutput::Read(Some(seen))).unwrap();
    history.finish()
}

#[test]
fn a_search_that_costs_too_much_is_given_up() {
    let checker = Checker::new(Register::default()).steps(10_000);
    assert!(checker.check(&crowd(30, 7)).is_ok(), "one order is soon found");
    let verdict = checker.check(&crowd(30, 99));
    assert!(matches!(&verdict, Verdict::Unknown(keys) if keys.len() == 1), "{verdict}");
    assert_eq!(verdict.to_string(), "unknown: the budget was used up at keys [()]");
    let few = Checker::new(Register::default()).configurations(1_000);
    assert!(matches!(few.check(&crowd(30, 99)), Verdict::Unknown(_)), "memory is bounded too");
    assert!(checker.check(&crowd(5, 99)).is_illegal(), "fewer writers leave few enough orders");
}

#[test]
fn what_was_dropped_for_want_of_memory_is_not_held_against_the_history() {
    let history = |read: u64| {
        let mut operations = crowd(12, 7).operations().to_vec();
        let input = RegisterInput { key: (), call: RegisterCall::Read };
        let result = Return::Done { time: 20, output: RegisterOutput::Read(Some(read)) };
        operations.push(Operation { client: 99, invoke: 10, input, result });
        History::from_operations(operations).unwrap()
    };
    let verdict = |configurations: usize, read: u64| {
        Checker::new(Register::default()).configurations(configurations).check(&history(read))
    };
    assert!(verdict(1_000_000, 3).is_ok());
    assert!(verdict(1_000_000, 99).is_illegal());
    // With little memory not all ends of the crowd are kept: an end that was, explains its read, and one that was not, may.
    assert!((0..12).any(|read| verdict(500, read).is_ok()));
    assert!((0..12).all(|read| !verdict(500, read).is_illegal()));
    assert!(matches!(verdict(500, 99), Verdict::Unknown(_)));
}

#[test]
fn a_search_can_be_interrupted() {
    let asked = std::rc::Rc::new(Cell::new(0));
    let counter = std::rc::Rc::clone(&asked);
    let checker = Checker::new(Register::default()).interrupt(move || {
        counter.set(counter.get() + 1);
        counter.get() > 3
    });
    assert!(matches!(checker.check(&crowd(30, 99)), Verdict::Unknown(_)));
    assert_eq!(asked.get(), 4, "it stops when told to");
}

#[test]
fn small_limits_never_make_a_wrong_verdict() {
    let mut random = Random::new(4);
    let (mut decided, mut unknown) = (0, 0);
    for round in 0..3_000 {
        let shape = Shape { clients: 6, keys: 1, values: 3, operations: 40, lost: 6, revisions: false };
        let history = run(&mut random, shape);
        let lied = History::from_operations(with_lies(&mut random, history.operations(), 20)).unwrap();
        let truth = Checker::new(Kv::default()).check(&lied);
        assert!(!matches!(truth, Verdict::Unknown(_)));
        let small =
            Checker::new(Kv::default()).steps(1 + random.below(2_000)).configurations(random.below(60) as usize);
        match small.check(&lied) {
            Verdict::Unknown(_) => unknown += 1,
            verdict => {
                assert_eq!(verdict.is_ok(), truth.is_ok(), "round {round}: {verdict}");
                decided += 1;
            }
        }
    }
    assert!(decided > 300 && unknown > 300, "{decided} were decided, {unknown} were not");
}

#[test]
fn a_long_history_of_one_key_takes_linear_time() {
    let mut random = Random::new(5);
    for (clients, lost, steps_each) in [(1, u64::MAX / 2, 3), (2, u64::MAX / 2, 12), (2, 5_000, 60)] {
        let shape = Shape { clients, keys: 1, values: 100, operations: 50_000, lost, revisions: false };
        let history = run(&mut random, shape);
        let checker = Checker::new(Kv::default()).steps(steps_each * 50_000).configurations(20_000);
        let verdict = checker.check(&history);
        assert!(verdict.is_ok(), "{clients} clients: {verdict}");
    }
}

#[test]
fn the_same_history_gets_the_same_witness() {
    let mut random = Random::new(6);
    let shape = Shape { clients: 8, keys: 3, values: 4, operations: 500, lost: 8, revisions: false };
    let history = run(&mut random, shape);
    let lied = History::from_operations(with_lies(&mut random, history.operations(), 3)).unwrap();
    let printed = || Checker::new(Kv::default()).check(&lied).to_string();
    assert!(printed().starts_with("not linearizable"), "{}", printed());
    assert_eq!(printed(), printed());
}

#[test]
fn the_order_of_revisions_is_checked_without_a_search() {
    let mut random = Random::new(7);
    let shape = Shape { clients: 6, keys: 4, values: 4, operations: 2_000, lost: 20, revisions: true };
    let history = run(&mut random, shape);
    let mut claims = ordered::claims(&history, |operation| match operation.output()? {
        KvOutput::Put { revision } | KvOutput::Deleted { revision } => revision.map(|revision| (Kind::Write, revision)),
        _ => None,
    });
    assert!(claims.len() > 500);
    assert!(ordered::check(&claims).is_ok());
    assert!(ordered::in_order(&claims).is_sorted_by_key(|claim| claim.position));
    // Two writes that are far apart change places.
    let (first, second) = (claims[100].position, claims[400].position);
    (claims[100].position, claims[400].position) = (second, first);
    assert!(ordered::check(&claims).is_err());
}
