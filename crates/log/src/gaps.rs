//! Gaps: entries whose identity the log knows and whose payloads are lost.

use kontiki_raft::Index;

/// Entries of one group, by index, whose payloads the disk has lost: both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// First lost index.
    pub first: Index,
    /// Last lost index.
    pub last: Index,
}

impl Gap {
    /// The part that two ranges share.
    #[must_use]
    pub fn common(self, other: Gap) -> Option<Gap> {
        let both = Gap { first: self.first.max(other.first), last: self.last.min(other.last) };
        (both.first <= both.last).then_some(both)
    }
}

/// The gaps of one group: sorted, disjoint, with something between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gaps(Vec<Gap>);

impl Gaps {
    pub(crate) fn list(&self) -> &[Gap] {
        &self.0
    }

    /// The first gap that ends at `index` or behind it.
    pub(crate) fn at_or_after(&self, index: Index) -> Option<Gap> {
        self.0.get(self.0.partition_point(|gap| gap.last < index)).copied()
    }

    pub(crate) fn add(&mut self, gap: Gap) {
        // Neighbours that touch become one with it.
        let from = self.0.partition_point(|other| other.last.next() < gap.first);
        let to = self.0.partition_point(|other| other.first <= gap.last.next());
        let first = self.0.get(from).filter(|_| from < to).map_or(gap.first, |other| other.first.min(gap.first));
        let last = self.0[from..to].last().map_or(gap.last, |other| other.last.max(gap.last));
        self.0.splice(from..to, [Gap { first, last }]);
    }

    pub(crate) fn remove(&mut self, gone: Gap) {
        let from = self.0.partition_point(|gap| gap.last < gone.first);
        let to = self.0.partition_point(|gap| gap.first <= gone.last);
        if from >= to {
            return;
        }
        let before = Gap { first: self.0[from].first, last: Index(gone.first.0.saturating_sub(1)) };
        let behind = Gap { first: Index(gone.last.0.saturating_add(1)), last: self.0[to - 1].last };
        let stay = [(before, self.0[from].first < gone.first), (behind, self.0[to - 1].last > gone.last)];
        self.0.splice(from..to, stay.into_iter().filter_map(|(gap, stays)| stays.then_some(gap)));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kontiki_world::Random;

    use super::*;

    #[test]
    fn gaps_are_the_set_of_their_indexes() {
        let mut random = Random::new(5);
        for _ in 0..200 {
            let (mut gaps, mut set) = (Gaps::default(), BTreeSet::new());
            for _ in 0..40 {
                let first = random.below(30);
                let last = first + random.below(6);
                let gap = Gap { first: Index(first), last: Index(last) };
                if random.one_in(2) {
                    gaps.add(gap);
                    set.extend(first..=last);
                } else {
                    gaps.remove(gap);
                    set.retain(|index| !(first..=last).contains(index));
                }
                let listed: Vec<u64> = gaps.list().iter().flat_map(|gap| gap.first.0..=gap.last.0).collect();
                assert_eq!(listed, set.iter().copied().collect::<Vec<u64>>());
                assert!(gaps.list().windows(2).all(|pair| pair[0].last.next() < pair[1].first), "{gaps:?}");
                let next = set.range(first..).next().copied();
                assert_eq!(gaps.at_or_after(Index(first)).map(|gap| gap.first.0.max(first)), next);
            }
        }
    }
}
