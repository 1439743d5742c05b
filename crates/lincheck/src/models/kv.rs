//! Keys and values in etcd's sense: each write gets a revision, and a key remembers that of its last one.

use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use crate::model::Model;

/// A store of keys and values, seen through one key at a time.
///
/// Revisions are optional everywhere: where an answer names one it is checked, where it does not, or the answer was lost, the
/// model works without and learns it from a later read. Of revisions it knows what one key can show: each write's is greater
/// than that of the write before, and a read tells that of the last one. How the revisions of *different* keys relate to
/// real time is for [`ordered`](crate::ordered) to check.
///
/// It permits too much in one case: a comparison that failed on the revision of a write whose revision is not known rules
/// that one out, and the model does not remember it.
#[derive(Clone, Debug)]
pub struct Kv<K, V>(PhantomData<(K, V)>);

impl<K, V> Default for Kv<K, V> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// A call on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvInput<K, V> {
    /// Which key.
    pub key: K,
    /// What to do.
    pub call: KvCall<V>,
}

/// What to do with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvCall<V> {
    /// Read value and revision.
    Get,
    /// Write a value.
    Put(V),
    /// Remove the key.
    Delete,
    /// Write a value if the key is as expected.
    CompareAndPut {
        /// What must hold.
        expected: Compare<V>,
        /// The value to write.
        new: V,
    },
}

/// What a comparison expects of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare<V> {
    /// The key is not there.
    Absent,
    /// The key holds this value.
    Value(V),
    /// The key's last write has this revision.
    ModRevision(u64),
}

/// What the store answers. A write's revision is the one that this write got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvOutput<V> {
    /// What a get found.
    Got(Option<Found<V>>),
    /// The value was written.
    Put {
        /// At which revision.
        revision: Option<u64>,
    },
    /// The key was removed.
    Deleted {
        /// At which revision.
        revision: Option<u64>,
    },
    /// There was nothing to remove.
    NothingToDelete,
    /// The comparison held, and the value was written.
    Swapped {
        /// At which revision.
        revision: Option<u64>,
    },
    /// The comparison did not hold.
    NotSwapped,
}

/// A key that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<V> {
    /// Its value.
    pub value: V,
    /// The revision of its last write.
    pub mod_revision: Option<u64>,
}

/// What is known about a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KvState<V> {
    /// Its value, if it is there.
    pub value: Option<V>,
    /// The revision of its last write, if it is there and the revision is known.
    pub mod_revision: Option<u64>,
    /// The greatest revision known of any write to it.
    pub floor: u64,
}

impl<V: Clone + Eq> KvState<V> {
    /// A write that leaves `value`, at a revision if it is known.
    fn written(&self, value: Option<V>, revision: Option<u64>) -> Option<Self> {
        let rises = revision.is_none_or(|revision| revision > self.floor);
        let mod_revision = revision.filter(|_| value.is_some());
        rises.then(|| Self { value, mod_revision, floor: revision.unwrap_or(self.floor) })
    }

    /// What is known once the last write turns out to have this revision.
    fn learned(&self, revision: u64) -> Option<Self> {
        let fits = match self.mod_revision {
            Some(known) => known == revision,
            None => self.value.is_some() && revision > self.floor,
        };
        fits.then(|| Self { value: self.value.clone(), mod_revision: Some(revision), floor: revision })
    }

    fn got(&self, found: Option<&Found<V>>) -> Option<Self> {
        match found {
            Some(found) if self.value.as_ref() == Some(&found.value) => {
                found.mod_revision.map_or_else(|| Some(self.clone()), |revision| self.learned(revision))
            }
            None if self.value.is_none() => Some(self.clone()),
            Some(_) | None => None,
        }
    }

    /// What is known if the comparison held, or nothing if it cannot have.
    fn matched(&self, expected: &Compare<V>) -> Option<Self> {
        match expected {
            Compare::Absent => self.value.is_none().then(|| self.clone()),
            Compare::Value(value) => (self.value.as_ref() == Some(value)).then(|| self.clone()),
            // A key that is not there compares as revision zero.
            Compare::ModRevision(0) => self.value.is_none().then(|| self.clone()),
            Compare::ModRevision(revision) => self.learned(*revision),
        }
    }

    /// Whether the comparison certainly holds.
    fn must_match(&self, expected: &Compare<V>) -> bool {
        match expected {
            Compare::ModRevision(revision) if *revision > 0 => self.mod_revision == Some(*revision),
            _ => self.matched(expected).is_some(),
        }
    }
}

impl<K: Ord + Clone + Debug, V: Clone + Eq + Hash + Debug> Model for Kv<K, V> {
    type Input = KvInput<K, V>;
    type Output = KvOutput<V>;
    type State = KvState<V>;
    type Key = K;

    fn key(&self, input: &Self::Input) -> K {
        input.key.clone()
    }

    fn initial(&self, _: &K) -> KvState<V> {
        KvState { value: None, mod_revision: None, floor: 0 }
    }

    fn step(&self, state: &KvState<V>, input: &Self::Input, output: &Self::Output) -> Option<KvState<V>> {
        match (&input.call, output) {
            (KvCall::Get, KvOutput::Got(found)) => state.got(found.as_ref()),
            (KvCall::Put(value), KvOutput::Put { revision }) => state.written(Some(value.clone()), *revision),
            (KvCall::Delete, KvOutput::Deleted { revision }) if state.value.is_some() => state.written(None, *revision),
            (KvCall::Delete, KvOutput::NothingToDelete) if state.value.is_none() => Some(state.clone()),
            (KvCall::CompareAndPut { expected, new }, KvOutput::Swapped { revision }) => {
                state.matched(expected)?.written(Some(new.clone()), *revision)
            }
            (KvCall::CompareAndPut { expected, .. }, KvOutput::NotSwapped) => {
                (!state.must_match(expected)).then(|| state.clone())
            }
            _ => None, // an answer to another question, or a delete that contradicts the state
        }
    }

    fn step_unknown(&self, state: &KvState<V>, input: &Self::Input) -> Vec<KvState<V>> {
        let next = match &input.call {
            KvCall::Get => None,
            KvCall::Put(value) => state.written(Some(value.clone()), None),
            KvCall::Delete => state.value.as_ref().and_then(|_| state.written(None, None)),
            KvCall::CompareAndPut { expected, new } => {
                state.matched(expected).and_then(|state| state.written(Some(new.clone()), None))
            }
        };
        next.into_iter().collect()
    }

    fn read_only(&self, input: &Self::Input, output: Option<&Self::Output>) -> bool {
        matches!(input.call, KvCall::Get) || matches!(output, Some(KvOutput::NothingToDelete | KvOutput::NotSwapped))
    }

    fn overwrites(&self, input: &Self::Input) -> bool {
        matches!(input.call, KvCall::Put(_))
    }

    fn explains(&self, earlier: &Self::Input, later: &Self::Input, output: Option<&Self::Output>) -> bool {
        let left = match &earlier.call {
            KvCall::Put(value) | KvCall::CompareAndPut { new: value, .. } => Some(value),
            KvCall::Delete => None,
            KvCall::Get => return false,
        };
        match (&later.call, output) {
            (KvCall::Get, Some(KvOutput::Got(found))) => found.as_ref().map(|found| &found.value) == left,
            (KvCall::Delete, Some(KvOutput::NothingToDelete)) => left.is_none(),
            (KvCall::Delete, _) => left.is_some(),
            (KvCall::CompareAndPut { expected, .. }, Some(KvOutput::NotSwapped)) => !expected.must_hold_of(left),
            (KvCall::CompareAndPut { expected, .. }, _) => expected.may_hold_of(left),
            (KvCall::Get | KvCall::Put(_), _) => false,
        }
    }
}

impl<V: Eq> Compare<V> {
    /// Whether it may hold of a key that holds this value at an unknown revision.
    fn may_hold_of(&self, left: Option<&V>) -> bool {
        match self {
            Self::Absent | Self::ModRevision(0) => left.is_none(),
            Self::Value(value) => Some(value) == left,
            Self::ModRevision(_) => left.is_some(),
        }
    }

    /// Whether it holds of such a key whatever the revision.
    fn must_hold_of(&self, left: Option<&V>) -> bool {
        !matches!(self, Self::ModRevision(1..)) && self.may_hold_of(left)
    }
}
