//! Which membership is in force: the newest configuration in the log, committed or not (dissertation §4.1).

use crate::types::{Configuration, Index};

/// The configurations that a replica may still have to return to.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    /// In force before the first of `later`.
    base: Configuration,
    /// Configurations in the log, oldest first. An entry's configuration counts from the moment it is appended, and no
    /// longer once it is truncated (bugs M10, M13).
    later: Vec<(Index, Configuration)>,
}

impl Membership {
    pub(crate) fn new(base: Configuration, later: Vec<(Index, Configuration)>) -> Membership {
        assert!(later.windows(2).all(|pair| pair[0].0 < pair[1].0), "configurations must be in order of index");
        Membership { base, later }
    }

    /// The configuration in force.
    pub(crate) fn current(&self) -> &Configuration {
        self.later.last().map_or(&self.base, |(_, configuration)| configuration)
    }

    /// The configuration in force at `index`, as a snapshot of that index must record it.
    pub(crate) fn at(&self, index: Index) -> &Configuration {
        let newest = self.later.iter().rev().find(|(place, _)| *place <= index);
        newest.map_or(&self.base, |(_, configuration)| configuration)
    }

    /// Those among the entries `first ..= last`.
    pub(crate) fn between(&self, first: Index, last: Index) -> Vec<(Index, Configuration)> {
        self.later.iter().filter(|(index, _)| (first..=last).contains(index)).cloned().collect()
    }

    /// An entry with a configuration was appended.
    pub(crate) fn append(&mut self, index: Index, configuration: Configuration) {
        assert!(
            self.later.last().is_none_or(|(newest, _)| *newest < index),
            "configurations must be in order of index"
        );
        self.later.push((index, configuration));
    }

    /// Entries from `first` on are gone: what was in force before them is again.
    pub(crate) fn truncate(&mut self, first: Index) {
        while self.later.last().is_some_and(|(index, _)| *index >= first) {
            self.later.pop();
        }
    }

    /// Entries up to `index` are compacted; they can no longer be truncated.
    pub(crate) fn compact(&mut self, index: Index) {
        let settled = self.later.iter().take_while(|(place, _)| *place <= index).count();
        if let Some((_, newest)) = self.later.drain(..settled).next_back() {
            self.base = newest;
        }
    }

    /// A snapshot replaced the log: its configuration is the only one (bugs M11, M18).
    pub(crate) fn reset(&mut self, configuration: Configuration) {
        self.base = configuration;
        self.later.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeId;

    fn of(count: u64) -> Configuration {
        Configuration::of((1..=count).map(NodeId))
    }

    #[test]
    fn configurations_come_and_go_with_their_entries() {
        let mut membership = Membership::new(of(1), vec![(Index(4), of(2))]);
        membership.append(Index(7), of(3));
        assert_eq!(membership.current(), &of(3));
        assert_eq!(membership.at(Index(6)), &of(2));
        assert_eq!(membership.between(Index(5), Index(7)), [(Index(7), of(3))]);
        membership.truncate(Index(7));
        assert_eq!(membership.current(), &of(2)); // bug M10: the older one in the log, not the base
        membership.compact(Index(5));
        membership.truncate(Index(6));
        assert_eq!(membership.current(), &of(2));
        membership.reset(of(5));
        assert_eq!(membership.at(Index(1)), &of(5));
    }
}
