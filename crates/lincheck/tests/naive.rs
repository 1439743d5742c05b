//! The checker against the definition: all orders of small random histories, tried one by one.
#![allow(clippy::unwrap_used)]

mod support;

use kontiki_lincheck::{
    Checker, Compare, Counter, CounterInput, Found, History, Kv, KvCall, KvInput, KvOutput, Model, Operation, Register,
    RegisterCall, RegisterInput, RegisterOutput, Return, Verdict,
};
use support::{Random, is_linearizable};

/// Compares both checkers on `count` histories of random operations with random times; how many were legal.
fn compare<M: Model>(
    model: M,
    seed: u64,
    count: u32,
    mut operation: impl FnMut(&mut Random) -> (M::Input, M::Output),
) -> u32 {
    let mut random = Random::new(seed);
    let checker = Checker::new(model);
    let mut legal = 0;
    for round in 0..count {
        let span = 4 + random.below(30);
        let operations: Vec<_> = (0..1 + random.below(7))
            .map(|client| {
                let (input, output) = operation(&mut random);
                let invoke = random.below(span);
                let time = invoke + random.below(12);
                let lost = random.below(5) == 0;
                let result = if lost { Return::Unknown } else { Return::Done { time, output } };
                Operation { client, invoke, input, result }
            })
            .collect();
        let expected = is_linearizable(checker.model(), &operations);
        let history = History::from_operations(operations).unwrap();
        let verdict = checker.check(&history);
        assert!(!matches!(verdict, Verdict::Unknown(_)));
        assert_eq!(verdict.is_ok(), expected, "round {round}: {:#?}\n{verdict}", history.operations());
        legal += u32::from(expected);
    }
    legal
}

#[test]
fn registers_agree_with_all_orders() {
    let legal = compare(Register::<u64, u64>::default(), 1, 60_000, |random| {
        let value = |random: &mut Random| random.below(3);
        let (call, output) = match random.below(4) {
            0 | 1 => {
                let read = Some(value(random)).filter(|&value| value > 0);
                (RegisterCall::Read, RegisterOutput::Read(read))
            }
            2 => (RegisterCall::Write(1 + random.below(2)), RegisterOutput::Written),
            _ => {
                let expected = Some(value(random)).filter(|&value| value > 0);
                let call = RegisterCall::CompareAndSet { expected, new: 1 + random.below(2) };
                (call, RegisterOutput::CompareAndSet(random.below(2) == 0))
            }
        };
        (RegisterInput { key: random.below(5) / 4, call }, output)
    });
    assert!((12_000..48_000).contains(&legal), "{legal} of 60000 were legal: both kinds must be common");
}

#[test]
fn counters_agree_with_all_orders() {
    let legal = compare(Counter::<()>::default(), 2, 30_000, |random| {
        if random.below(2) == 0 {
            (CounterInput::Read(()), Some(random.below(4) as i64))
        } else {
            let told = (random.below(3) == 0).then(|| random.below(4) as i64);
            (CounterInput::Add((), 1 + random.below(2) as i64), told)
        }
    });
    assert!((3_000..27_000).contains(&legal), "{legal} of 30000 were legal: both kinds must be common");
}

#[test]
fn keys_with_revisions_agree_with_all_orders() {
    let legal = compare(Kv::<u64, u64>::default(), 3, 60_000, |random| {
        let revision = |random: &mut Random| Some(1 + random.below(4)).filter(|_| random.below(2) == 0);
        let value = 1 + random.below(2);
        let (call, output) = match random.below(7) {
            0..=2 => {
                let found = Found { value, mod_revision: revision(random) };
                (KvCall::Get, KvOutput::Got(Some(found).filter(|_| random.below(4) > 0)))
            }
            3 | 4 => (KvCall::Put(value), KvOutput::Put { revision: revision(random) }),
            5 => {
                let deleted = random.below(2) == 0;
                let revision = revision(random);
                (KvCall::Delete, if deleted { KvOutput::Deleted { revision } } else { KvOutput::NothingToDelete })
            }
            _ => {
                let expected = match random.below(3) {
                    0 => Compare::Absent,
                    1 => Compare::Value(1 + random.below(2)),
                    _ => Compare::ModRevision(random.below(4)),
                };
                let revision = revision(random);
                let swapped = random.below(2) == 0;
                let call = KvCall::CompareAndPut { expected, new: value };
                (call, if swapped { KvOutput::Swapped { revision } } else { KvOutput::NotSwapped })
            }
        };
        (KvInput { key: random.below(5) / 4, call }, output)
    });
    assert!((6_000..48_000).contains(&legal), "{legal} of 60000 were legal: both kinds must be common");
}

/// A model without its hints: the checker must do as well, if slower.
struct Plain<M>(M);

impl<M: Model> Model for Plain<M> {
    type Input = M::Input;
    type Output = M::Output;
    type State = M::State;
    type Key = M::Key;

    fn key(&self, input: &M::Input) -> M::Key {
        self.0.key(input)
    }

    fn initial(&self, key: &M::Key) -> M::State {
        self.0.initial(key)
    }

    fn step(&self, state: &M::State, input: &M::Input, output: &M::Output) -> Option<M::State> {
        self.0.step(state, input, output)
    }

    fn step_unknown(&self, state: &M::State, input: &M::Input) -> Vec<M::State> {
        self.0.step_unknown(state, input)
    }
}

/// Dice: a throw whose outcome nobody learned may have left any of two values.
struct Dice;

#[derive(Clone, Debug, PartialEq)]
enum Throw {
    Look,
    Between(u64, u64),
}

impl Model for Dice {
    type Input = Throw;
    type Output = u64;
    type State = u64;
    type Key = ();

    fn key(&self, _: &Throw) {}

    fn initial(&self, (): &()) -> u64 {
        0
    }

    fn step(&self, state: &u64, input: &Throw, output: &u64) -> Option<u64> {
        let possible = match input {
            Throw::Look => output == state,
            Throw::Between(one, other) => [one, other].contains(&output),
        };
        possible.then_some(*output)
    }

    fn step_unknown(&self, _: &u64, input: &Throw) -> Vec<u64> {
        match *input {
            Throw::Look => Vec::new(),
            Throw::Between(one, other) => vec![one, other],
        }
    }
}

#[test]
fn a_model_without_hints_agrees_with_all_orders() {
    let legal = compare(Plain(Register::<(), u64>::default()), 4, 20_000, |random| {
        let (call, output) = match random.below(2) {
            0 => (RegisterCall::Read, RegisterOutput::Read(Some(1 + random.below(2)))),
            _ => (RegisterCall::Write(1 + random.below(2)), RegisterOutput::Written),
        };
        (RegisterInput { key: (), call }, output)
    });
    assert!((4_000..16_000).contains(&legal), "{legal} of 20000 were legal: both kinds must be common");
}

#[test]
fn an_outcome_with_several_states_agrees_with_all_orders() {
    let legal = compare(Dice, 5, 20_000, |random| match random.below(2) {
        0 => (Throw::Look, random.below(4)),
        _ => {
            let (one, other) = (random.below(4), random.below(4));
            (Throw::Between(one, other), if random.below(2) == 0 { one } else { other })
        }
    });
    assert!((4_000..16_000).contains(&legal), "{legal} of 20000 were legal: both kinds must be common");
}
