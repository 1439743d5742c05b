//! Counters: add and read.

use std::fmt::Debug;
use std::marker::PhantomData;

use crate::model::Model;

/// Named counters that begin at zero. A single counter has the key `()`.
#[derive(Clone, Debug)]
pub struct Counter<K>(PhantomData<K>);

impl<K> Default for Counter<K> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// A call on a counter. Its answer is the count: after an addition where the store says so, else `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CounterInput<K> {
    /// Return the count.
    Read(K),
    /// Add to the count.
    Add(K, i64),
}

impl<K: Ord + Clone + Debug> Model for Counter<K> {
    type Input = CounterInput<K>;
    type Output = Option<i64>;
    type State = i64;
    type Key = K;

    fn key(&self, input: &CounterInput<K>) -> K {
        let (CounterInput::Read(key) | CounterInput::Add(key, _)) = input;
        key.clone()
    }

    fn initial(&self, _: &K) -> i64 {
        0
    }

    fn step(&self, count: &i64, input: &CounterInput<K>, output: &Option<i64>) -> Option<i64> {
        let after = match input {
            CounterInput::Read(_) => *count,
            CounterInput::Add(_, amount) => count.wrapping_add(*amount),
        };
        output.is_none_or(|told| told == after).then_some(after)
    }

    fn step_unknown(&self, count: &i64, input: &CounterInput<K>) -> Vec<i64> {
        match input {
            CounterInput::Read(_) => Vec::new(),
            CounterInput::Add(_, amount) => vec![count.wrapping_add(*amount)],
        }
    }

    fn read_only(&self, input: &CounterInput<K>, _: Option<&Option<i64>>) -> bool {
        matches!(input, CounterInput::Read(_))
    }
}
