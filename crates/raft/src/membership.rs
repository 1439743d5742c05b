//! Which membership is in force: the newest configuration in the log, committed or not (dissertation §4.1).

use std::sync::Arc;

use crate::configuration::{Configuration, Placed};
use crate::message::Configurations;
use crate::rare::{Empty, Rare};
use crate::types::Index;

/// The configurations that a replica may still have to return to.
///
/// Nothing that follows from them is stored anywhere else, but a leader's list of peers, so that a truncation takes back
/// everything at once (bugs M10, M13).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Membership {
    /// In force before the first of `later`. Its index is that of its entry, or of a compaction behind it.
    base: Placed,
    later: Rare<Later>,
}

/// Configurations in the log behind the base, oldest first. An entry's configuration counts from the moment it is
/// appended, and no longer once it is truncated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Later {
    list: Vec<Placed>,
}

impl Empty for Later {
    fn empty() -> &'static Later {
        const { &Later { list: Vec::new() } }
    }

    fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Membership {
    /// What was recovered: the configuration in force at `applied`, and all that are in the log, which begins behind
    /// `compacted` (bug M12: up to its end, and from its beginning, since a leader sends them on).
    pub(crate) fn new(
        compacted: Index,
        applied: Index,
        configuration: Arc<Configuration>,
        in_log: Vec<(Index, Arc<Configuration>)>,
    ) -> Membership {
        let newest_applied = in_log.iter().rev().find(|(index, _)| *index <= applied);
        assert!(
            newest_applied.is_none_or(|(_, known)| *known == configuration),
            "the state machine at {applied} and the log have different configurations"
        );
        // Before the first one in the log another may have been in force, but nothing can lead back to it.
        let mut membership = Membership { base: Placed { index: compacted, configuration }, later: Rare::default() };
        for (index, configuration) in in_log {
            membership.append(index, configuration);
        }
        membership
    }

    /// The configuration in force.
    pub(crate) fn current(&self) -> &Arc<Configuration> {
        &self.newest().configuration
    }

    /// Where the configuration in force stands.
    pub(crate) fn index(&self) -> Index {
        self.newest().index
    }

    fn newest(&self) -> &Placed {
        self.later.list.last().unwrap_or(&self.base)
    }

    /// The configuration in force at `index`, as a snapshot of that index must record it.
    pub(crate) fn at(&self, index: Index) -> &Arc<Configuration> {
        let newest = self.later.list.iter().rev().find(|placed| placed.index <= index);
        &newest.unwrap_or(&self.base).configuration
    }

    /// Those among the entries `first ..= last`.
    pub(crate) fn between(&self, first: Index, last: Index) -> Configurations {
        let inside = self.later.list.iter().filter(|placed| (first..=last).contains(&placed.index));
        inside.map(|placed| (placed.index, Arc::clone(&placed.configuration))).collect()
    }

    /// An entry with a configuration was appended.
    pub(crate) fn append(&mut self, index: Index, configuration: Arc<Configuration>) {
        assert!(
            self.later.list.last().is_none_or(|newest| newest.index < index),
            "configurations must be in order of index"
        );
        self.later.list.push(Placed { index, configuration });
    }

    /// Entries from `first` on are gone: what was in force before them is again. Says whether anything changed.
    pub(crate) fn truncate(&mut self, first: Index) -> bool {
        let kept = self.later.list.partition_point(|placed| placed.index < first);
        let changed = kept < self.later.list.len();
        if changed {
            self.later.list.truncate(kept);
        }
        changed
    }

    /// Entries up to `index` are compacted; they can no longer be truncated.
    pub(crate) fn compact(&mut self, index: Index) {
        let settled = self.later.list.partition_point(|placed| placed.index <= index);
        if settled > 0 {
            self.base = self.later.list.drain(..settled).next_back().expect("some are settled");
        }
        self.later.relax();
    }

    /// A snapshot replaced the log up to `index`: its configuration is the only one (bugs M11, M18).
    pub(crate) fn reset(&mut self, index: Index, configuration: Arc<Configuration>) {
        self.base = Placed { index, configuration };
        self.later = Rare::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeId;

    fn of(count: u64) -> Arc<Configuration> {
        Arc::new(Configuration::of((1..=count).map(NodeId)))
    }

    #[test]
    fn configurations_come_and_go_with_their_entries() {
        let mut membership = Membership::new(Index(2), Index(3), of(1), vec![(Index(4), of(2))]);
        membership.append(Index(7), of(3));
        assert_eq!((membership.current(), membership.index()), (&of(3), Index(7)));
        assert_eq!(membership.at(Index(6)), &of(2));
        assert_eq!(membership.between(Index(5), Index(7))[..], [(Index(7), of(3))]);
        assert!(membership.truncate(Index(7)));
        assert_eq!(membership.current(), &of(2)); // bug M10: the older one in the log, not the base
        membership.compact(Index(5));
        assert!(!membership.truncate(Index(6)));
        assert_eq!((membership.current(), membership.index()), (&of(2), Index(4)));
        membership.reset(Index(9), of(5));
        assert_eq!((membership.at(Index(1)), membership.index()), (&of(5), Index(9)));
    }
}
