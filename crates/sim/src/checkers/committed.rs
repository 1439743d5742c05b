//! What is committed, as the members themselves said it: the first word on an index counts.

use std::collections::{BTreeMap, VecDeque};

use kontiki_raft::{GroupId, Index, Term};

use super::model::{Kept, Log};
use crate::observation::CoreView;

/// The committed entries of one group, without those that are compacted everywhere.
#[derive(Clone, Debug)]
pub(super) struct Committed<E> {
    /// Nothing is known of entries up to here.
    base: Index,
    /// Entries behind it, and the term of who first called them committed.
    entries: VecDeque<(E, Term)>,
}

impl<E: Kept> Committed<E> {
    /// The newest that is committed.
    pub fn last(&self) -> Index {
        Index(self.base.0 + self.entries.len() as u64)
    }

    /// The oldest that is remembered.
    pub fn first(&self) -> Index {
        self.base.next()
    }

    /// What is committed there, as far as it is remembered, and in which term.
    pub fn get(&self, index: Index) -> Option<(E, Term)> {
        let place = index.0.checked_sub(self.base.0 + 1)?;
        self.entries.get(usize::try_from(place).ok()?).copied()
    }

    /// A member's commit index is this. Says whether nobody had gone so far.
    pub fn advance(&mut self, log: &Log<E>, now: &CoreView) -> bool {
        let known = self.last();
        for index in (known.0 + 1..=now.commit.0).map(Index) {
            match log.get(index) {
                Some(entry) => self.entries.push_back((entry, now.term)),
                None => {
                    self.entries.clear();
                    self.base = index;
                }
            }
        }
        now.commit > known
    }

    /// Entries up to here are compacted everywhere.
    pub fn forget(&mut self, up_to: Index) {
        let gone = up_to.0.saturating_sub(self.base.0).min(self.entries.len() as u64);
        self.entries.drain(..usize::try_from(gone).unwrap_or(0));
        self.base.0 += gone;
    }
}

/// What is committed in each group.
#[derive(Debug)]
pub(super) struct AllCommitted<E>(BTreeMap<GroupId, Committed<E>>);

impl<E> Default for AllCommitted<E> {
    fn default() -> AllCommitted<E> {
        AllCommitted(BTreeMap::new())
    }
}

impl<E: Kept> AllCommitted<E> {
    /// What is committed in a group. Of a group that was never seen, what this member's log holds is believed.
    pub fn of(&mut self, group: GroupId, log: &Log<E>, now: &CoreView) -> &mut Committed<E> {
        self.0.entry(group).or_insert_with(|| {
            let mut known = Committed { base: log.compacted().index, entries: VecDeque::new() };
            known.advance(log, now);
            known
        })
    }

    /// What is committed in a group, if anything was seen of it.
    pub fn get(&self, group: GroupId) -> Option<&Committed<E>> {
        self.0.get(&group)
    }

    /// All groups.
    pub fn iter(&self) -> impl Iterator<Item = (GroupId, &Committed<E>)> {
        self.0.iter().map(|(group, committed)| (*group, committed))
    }
}
