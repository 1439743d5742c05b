//! What an object promises when its operations come one at a time.

use std::fmt::Debug;
use std::hash::Hash;

/// The sequential specification of an object: which outputs are right in which state.
///
/// Operations of different keys must not depend on each other. Then a history is linearizable exactly if the operations of
/// each key are, taken alone, and the checker looks at one key at a time. An object that cannot be cut has one key: `()`.
///
/// A model is a value, so it can carry parameters, such as the states that keys begin with.
pub trait Model {
    /// What a client asks for. Equal inputs ask for the same.
    type Input: Clone + PartialEq + Debug;
    /// What a client is told.
    type Output: Clone + Debug;
    /// What one key holds. Equal states must have equal futures.
    type State: Clone + Eq + Hash + Debug;
    /// The part of the object that an operation works on.
    type Key: Ord + Clone + Debug;

    /// The part of the object that this operation works on.
    fn key(&self, input: &Self::Input) -> Self::Key;

    /// What a key holds before the first operation.
    fn initial(&self, key: &Self::Key) -> Self::State;

    /// The state after an operation that answered `output`, or nothing if this answer is wrong in this state.
    fn step(&self, state: &Self::State, input: &Self::Input, output: &Self::Output) -> Option<Self::State>;

    /// The states that an operation may leave when it took effect and its answer was never learned.
    ///
    /// That it took no effect need not be among them: the checker considers this by itself. Most objects have exactly one
    /// such state, or none where the operation changes nothing.
    fn step_unknown(&self, state: &Self::State, input: &Self::Input) -> Vec<Self::State>;

    /// Whether this operation leaves the object as it was, whatever the state in which it took effect.
    ///
    /// Without an output: whatever it would have answered. Saying `false` is always right. Saying `true` for reads, and for
    /// writes that were refused, spares the checker most of its search: reads are then never a reason to try another order,
    /// and unknown ones are left out. A state may still *learn* from a read, as [`Kv`](crate::Kv) learns revisions; the state
    /// that learned must permit nothing more than the one that did not.
    fn read_only(&self, input: &Self::Input, output: Option<&Self::Output>) -> bool {
        let _ = (input, output);
        false
    }

    /// Whether this operation makes one that took effect just before it, and whose answer was never learned, vain: whatever the
    /// state, it then permits nothing that it does not permit without. So it is with blind writes.
    ///
    /// Saying `false` is always right. Saying `true` for blind writes makes lost writes cheap: the checker then asks which
    /// of them explains a read, and does not try them before each write as well.
    fn overwrites(&self, input: &Self::Input) -> bool {
        let _ = input;
        false
    }

    /// Whether there is a state in which `later` comes out differently, or is permitted at all, because `earlier` took effect
    /// right before it. `earlier` is an operation whose answer was never learned; without an output, `later` is another.
    ///
    /// Saying `true` is always right. Where a read tells a value, saying `true` only for writes of this value spares the checker
    /// from trying all others.
    fn explains(&self, earlier: &Self::Input, later: &Self::Input, output: Option<&Self::Output>) -> bool {
        let _ = (earlier, later, output);
        true
    }
}
