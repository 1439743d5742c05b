//! Why a history is not linearizable, as data and as a picture.

use std::fmt;

use crate::model::Model;
use crate::partition::OperationOf;

/// Lines of the order that are printed; of a longer one the end.
const PRINTED_MAX: usize = 24;

/// Columns of the picture.
const WIDTH: usize = 40;

/// Why a history is not linearizable.
///
/// The history of this key *up to the return of* [`refused`](Self::refused) has no legal order; up to any return before it,
/// it has one. The order shown is the one that came furthest. Several may exist, and the fault may lie in an operation
/// earlier than the one refused: a lost write is noticed by the read that misses it.
pub struct Witness<M: Model> {
    /// The key.
    pub key: M::Key,
    /// How many answered operations of the key came before the order below. At some moment all of them were over, and no order
    /// of them helps, so the search has forgotten which it took.
    pub explained_before: usize,
    /// The last few of these, by the time of their returns; before them the unknown ones that took effect back then.
    pub earlier: Vec<OperationOf<M>>,
    /// The longest legal order found.
    pub prefix: Vec<OperationOf<M>>,
    /// The state at the end of it.
    pub state: M::State,
    /// The operation that had to follow, because it returned, and could not.
    pub refused: OperationOf<M>,
    /// Others that were open at that moment and not in the order; letting them go first does not help.
    pub open: Vec<OperationOf<M>>,
}

impl<M: Model> fmt::Display for Witness<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, explained_before, earlier, prefix, state, refused, open } = self;
        writeln!(f, "not linearizable: key {key:?}, after {} operations in order", explained_before + prefix.len())?;
        let shown = &prefix[prefix.len().saturating_sub(PRINTED_MAX)..];
        let scale = Scale::of(earlier.iter().chain(shown).chain([refused]).chain(open));
        for operation in earlier {
            line::<M>(f, &scale, "earlier", operation)?;
        }
        for (place, operation) in prefix.iter().enumerate().skip(prefix.len() - shown.len()) {
            line::<M>(f, &scale, &(explained_before + place + 1).to_string(), operation)?;
        }
        writeln!(f, "  here the state is {state:?}")?;
        line::<M>(f, &scale, "refused", refused)?;
        for operation in open {
            line::<M>(f, &scale, "open", operation)?;
        }
        Ok(())
    }
}

impl<M: Model> fmt::Debug for Witness<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One operation: its place, its client, the time it took as a bar, what was asked and answered.
fn line<M: Model>(f: &mut fmt::Formatter<'_>, scale: &Scale, place: &str, operation: &OperationOf<M>) -> fmt::Result {
    let bar = scale.bar(operation.invoke, operation.returned());
    write!(f, "  {place:>7}  client {:<4} {bar}  {:?}", operation.client, operation.input)?;
    match operation.output() {
        Some(output) => writeln!(f, " → {output:?}"),
        None => writeln!(f, " → ?"),
    }
}

/// Moments, each a column of its own as far as there is room: it is their order that matters, not their distance.
struct Scale {
    moments: Vec<u64>,
}

impl Scale {
    fn of<'a, I: 'a, O: 'a>(operations: impl Iterator<Item = &'a crate::Operation<I, O>>) -> Self {
        let mut moments: Vec<u64> =
            operations.flat_map(|operation| [Some(operation.invoke), operation.returned()]).flatten().collect();
        moments.sort_unstable();
        moments.dedup();
        Self { moments }
    }

    fn column(&self, moment: u64) -> usize {
        let rank = self.moments.partition_point(|&other| other < moment);
        let last = self.moments.len().saturating_sub(1).max(1);
        rank * (WIDTH - 1) / last
    }

    /// `├──┤`, or `├──…` to the edge where the end is not known.
    fn bar(&self, invoke: u64, returned: Option<u64>) -> String {
        let start = self.column(invoke);
        let end = returned.map(|returned| self.column(returned));
        (0..WIDTH)
            .map(|column| match end {
                _ if column < start => ' ',
                Some(end) if column > end => ' ',
                Some(end) if start == end => '│',
                _ if column == start => '├',
                Some(end) if column == end => '┤',
                Some(_) => '─',
                None => '╌',
            })
            .collect()
    }
}
