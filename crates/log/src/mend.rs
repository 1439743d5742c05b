//! Gaps while the log is open: noting them and filling them again.

use kontiki_raft::{GroupId, Index, Ticket};

use crate::extent::{Extent, Misfit};
use crate::gaps::Gap;
use crate::group::GroupLog;
use crate::log::Log;
use crate::types::{Entry, Recovered};

impl Log {
    /// Notes that payloads are lost, as [`Log::entries`] reported. Only what the log holds durably can be.
    pub fn lose(&mut self, group: GroupId, first: Index, last: Index) {
        let settled = self.settled;
        let Some(log) = self.groups.get_mut(&group) else { return };
        let gap = Gap { first, last };
        let new = log.lose(gap, None, settled, &mut self.shared.cache);
        let hit = |extent: &&Extent| new.iter().any(|gap| gap.common(extent.span()).is_some());
        let sequences: Vec<u64> = log.extents().iter().filter(hit).map(|extent| extent.sequence).collect();
        self.unknown.extend(sequences.into_iter().filter(|sequence| self.shared.segments.is_unknown(*sequence)));
    }

    /// The entries of a group whose payloads are lost: sorted, disjoint.
    #[must_use]
    pub fn gaps(&self, group: GroupId) -> &[Gap] {
        self.groups.get(&group).map_or(&[], |log| log.gaps().list())
    }

    /// A group as it is now, what is staged included.
    #[must_use]
    pub fn recovered(&self, group: GroupId) -> Option<Recovered> {
        self.groups.get(&group).map(GroupLog::recovered)
    }

    /// Stages entries again whose payloads are lost. Nothing is truncated; what is not in a gap stays as it is. The gap
    /// is gone at once, and durably so with the ticket.
    ///
    /// # Errors
    /// Where the log does not hold these indexes with these terms. Nothing is staged then.
    ///
    /// # Panics
    /// Where the indexes do not ascend.
    pub fn mend(&mut self, group: GroupId, ticket: Ticket, entries: Vec<Entry>) -> Result<(), Misfit> {
        assert!(entries.is_sorted_by(|a, b| a.index < b.index), "entries to mend ascend");
        for Entry { index, term, .. } in &entries {
            let found = self.groups.get(&group).filter(|log| *index > log.compacted().index);
            let found = found.and_then(|log| log.term_at(*index));
            if found != Some(*term) {
                return Err(Misfit::Mend { index: *index, term: *term, found });
            }
        }
        if self.touch(group, Some(ticket)).is_none() {
            return Ok(());
        }
        let gaps = self.groups.get(&group).map(|log| log.gaps().clone()).unwrap_or_default();
        let lost = |index: Index| gaps.at_or_after(index).is_some_and(|gap| gap.first <= index);
        self.replace(group, entries.into_iter().filter(|entry| lost(entry.index)).collect());
        Ok(())
    }
}
