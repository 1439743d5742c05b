//! Chance from a seed, and the definition of linearizability.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;

use kontiki_lincheck::{Model, Operation};

/// A small generator: the same seed gives the same numbers.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}

/// Whether some order of all keys' operations is legal: no keys apart, no memory, no cleverness.
pub fn is_linearizable<M: Model>(model: &M, operations: &[Operation<M::Input, M::Output>]) -> bool {
    let left: Vec<&Operation<M::Input, M::Output>> = operations.iter().collect();
    any_order(model, &BTreeMap::new(), &left)
}

fn any_order<M: Model>(
    model: &M,
    states: &BTreeMap<M::Key, M::State>,
    left: &[&Operation<M::Input, M::Output>],
) -> bool {
    if left.iter().all(|operation| operation.returned().is_none()) {
        return true;
    }
    left.iter().enumerate().any(|(index, first)| {
        if left.iter().any(|other| other.returned().is_some_and(|returned| returned < first.invoke)) {
            return false;
        }
        let key = model.key(&first.input);
        let state = states.get(&key).cloned().unwrap_or_else(|| model.initial(&key));
        let nexts = match first.output() {
            Some(output) => model.step(&state, &first.input, output).into_iter().collect(),
            None => model.step_unknown(&state, &first.input),
        };
        let mut rest = left.to_vec();
        rest.remove(index);
        nexts.into_iter().any(|next| {
            let mut states = states.clone();
            states.insert(key.clone(), next);
            any_order(model, &states, &rest)
        })
    })
}
