//! Registers: read, write, compare and set.

use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use crate::model::Model;

/// Named registers that begin empty. A single register has the key `()`.
#[derive(Clone, Debug)]
pub struct Register<K, V>(PhantomData<(K, V)>);

impl<K, V> Default for Register<K, V> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// A call on a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterInput<K, V> {
    /// Which register.
    pub key: K,
    /// What to do.
    pub call: RegisterCall<V>,
}

/// What to do with a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterCall<V> {
    /// Return the value.
    Read,
    /// Replace the value.
    Write(V),
    /// Replace the value if it is the expected one.
    CompareAndSet {
        /// The value expected; `None` is an empty register.
        expected: Option<V>,
        /// The value to set.
        new: V,
    },
}

/// What a register answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterOutput<V> {
    /// The value read; `None` from an empty register.
    Read(Option<V>),
    /// The value was written.
    Written,
    /// Whether the value was the expected one, and so was replaced.
    CompareAndSet(bool),
}

impl<K: Ord + Clone + Debug, V: Clone + Eq + Hash + Debug> Model for Register<K, V> {
    type Input = RegisterInput<K, V>;
    type Output = RegisterOutput<V>;
    type State = Option<V>;
    type Key = K;

    fn key(&self, input: &Self::Input) -> K {
        input.key.clone()
    }

    fn initial(&self, _: &K) -> Option<V> {
        None
    }

    fn step(&self, state: &Option<V>, input: &Self::Input, output: &Self::Output) -> Option<Option<V>> {
        match (&input.call, output) {
            (RegisterCall::Read, RegisterOutput::Read(value)) => (value == state).then(|| state.clone()),
            (RegisterCall::Write(value), RegisterOutput::Written) => Some(Some(value.clone())),
            (RegisterCall::CompareAndSet { expected, new }, RegisterOutput::CompareAndSet(matched)) => {
                let right = *matched == (expected == state);
                right.then(|| if *matched { Some(new.clone()) } else { state.clone() })
            }
            _ => None, // an answer to another question
        }
    }

    fn step_unknown(&self, state: &Option<V>, input: &Self::Input) -> Vec<Option<V>> {
        match &input.call {
            RegisterCall::Write(value) => vec![Some(value.clone())],
            RegisterCall::CompareAndSet { expected, new } if expected == state => vec![Some(new.clone())],
            RegisterCall::Read | RegisterCall::CompareAndSet { .. } => Vec::new(),
        }
    }

    fn read_only(&self, input: &Self::Input, output: Option<&Self::Output>) -> bool {
        matches!(input.call, RegisterCall::Read) || matches!(output, Some(RegisterOutput::CompareAndSet(false)))
    }

    fn overwrites(&self, input: &Self::Input) -> bool {
        matches!(input.call, RegisterCall::Write(_))
    }

    fn explains(&self, earlier: &Self::Input, later: &Self::Input, output: Option<&Self::Output>) -> bool {
        let (RegisterCall::Write(left) | RegisterCall::CompareAndSet { new: left, .. }) = &earlier.call else {
            return false;
        };
        match (&later.call, output) {
            (RegisterCall::Read, Some(RegisterOutput::Read(value))) => value.as_ref() == Some(left),
            (RegisterCall::CompareAndSet { expected, .. }, Some(RegisterOutput::CompareAndSet(false))) => {
                expected.as_ref() != Some(left)
            }
            (RegisterCall::CompareAndSet { expected, .. }, _) => expected.as_ref() == Some(left),
            (RegisterCall::Read | RegisterCall::Write(_), _) => false,
        }
    }
}
