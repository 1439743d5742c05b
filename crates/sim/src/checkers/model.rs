//! Replicas' logs, as far as checkers remember them: a few words for each entry, nothing of compacted ones.

use std::collections::{BTreeMap, VecDeque};

use kontiki_raft::{GroupId, Index, LogPosition, NodeId, Term};

use crate::observation::{CoreView, End, LogEntry, Observation};

/// What is remembered of an entry.
pub(super) trait Kept: Copy + PartialEq {
    /// From the entry.
    fn of(entry: &LogEntry) -> Self;
    /// Its term.
    fn term(&self) -> Term;
}

impl Kept for Term {
    fn of(entry: &LogEntry) -> Term {
        entry.term
    }

    fn term(&self) -> Term {
        *self
    }
}

/// An entry's term and what its bytes come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub term: Term,
    pub digest: u64,
}

impl Kept for Fingerprint {
    fn of(entry: &LogEntry) -> Fingerprint {
        Fingerprint { term: entry.term, digest: digest(&entry.payload) }
    }

    fn term(&self) -> Term {
        self.term
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an entry of term {} with the bytes #{:016x}", self.term, self.digest)
    }
}

/// Tells payloads apart. Nobody here forges one, so that it need only be quick.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(MULTIPLIER).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(bytes.len() as u64, |sum, word| mix(sum, u64::from_le_bytes(*word)));
    let sum = rest.iter().fold(sum, |sum, byte| mix(sum, u64::from(*byte)));
    mix(sum, sum >> 32)
}

/// A log.
#[derive(Clone, Debug)]
pub(super) struct Log<E> {
    compacted: LogPosition,
    entries: VecDeque<E>,
}

impl<E> Default for Log<E> {
    fn default() -> Log<E> {
        Log { compacted: LogPosition::START, entries: VecDeque::new() }
    }
}

impl<E: Kept> Log<E> {
    /// The entry before the first one.
    pub fn compacted(&self) -> LogPosition {
        self.compacted
    }

    /// The last entry's place.
    pub fn last(&self) -> Index {
        Index(self.compacted.index.0 + self.entries.len() as u64)
    }

    /// An entry; none where it is compacted or not there.
    pub fn get(&self, index: Index) -> Option<E> {
        let place = index.0.checked_sub(self.compacted.index.0 + 1)?;
        self.entries.get(usize::try_from(place).ok()?).copied()
    }

    /// The term of an entry; none where it is compacted or not there.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.compacted.index {
            Some(self.compacted.term)
        } else {
            self.get(index).map(|entry| entry.term())
        }
    }

    /// Whether an entry is there, or stood there before it was compacted.
    pub fn holds(&self, index: Index, term: Term) -> bool {
        index < self.compacted.index || self.term_at(index) == Some(term)
    }

    /// The first entry of this log that a turn takes away, other than by compaction.
    pub fn cut_by(&self, now: &CoreView, appended: &[LogEntry]) -> Option<Index> {
        let replaced = appended.iter().map(|entry| entry.index).min();
        let first = replaced.map_or(now.last.index.next(), |first| first.min(now.last.index.next()));
        (first <= self.last() && first > now.compacted.index).then_some(first.max(self.compacted.index.next()))
    }

    /// A turn ended with this.
    fn take(&mut self, now: &CoreView, appended: &[LogEntry]) {
        for entry in appended {
            if entry.index <= self.compacted.index {
                continue;
            }
            if entry.index > self.last().next() {
                // Behind a snapshot, which took the place of all before it.
                self.entries.clear();
                self.compacted = LogPosition { index: entry.index.previous(), term: now.compacted.term };
            }
            self.truncate(entry.index.previous());
            self.entries.push_back(E::of(entry));
        }
        let gone = now.compacted.index.0.saturating_sub(self.compacted.index.0);
        self.entries.drain(..usize::try_from(gone).unwrap_or(usize::MAX).min(self.entries.len()));
        self.compacted = now.compacted;
        self.truncate(now.last.index);
    }

    fn truncate(&mut self, last: Index) {
        let kept = last.0.saturating_sub(self.compacted.index.0);
        self.entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }
}

/// A replica, as it was last seen.
#[derive(Clone, Debug)]
pub(super) struct Replica<E> {
    pub log: Log<E>,
    pub durable: Index,
    pub term: Term,
    /// It was seen with a core since its member last started.
    pub whole: bool,
    /// What it held before it lost its disk: an acknowledgement of that may still be under way.
    former: Option<Box<(Log<E>, Index)>>,
}

impl<E> Default for Replica<E> {
    fn default() -> Replica<E> {
        Replica { log: Log::default(), durable: Index(0), term: Term(0), whole: false, former: None }
    }
}

impl<E: Kept> Replica<E> {
    /// Whether it holds an entry durably, or did before it lost its disk.
    pub fn held_durably(&self, index: Index, term: Term) -> bool {
        let holds =
            |log: &Log<E>, durable: Index| index <= log.compacted.index || (index <= durable && log.holds(index, term));
        holds(&self.log, self.durable) || self.former.as_ref().is_some_and(|held| holds(&held.0, held.1))
    }

    /// Whether it ever lost its disk.
    pub fn was_wiped(&self) -> bool {
        self.former.is_some()
    }

    /// A turn ended.
    pub fn turn(&mut self, first: bool, now: Option<&CoreView>, appended: &[LogEntry]) {
        let Some(now) = now else {
            self.whole = false;
            return;
        };
        if first {
            let begin = Log { compacted: now.compacted, entries: VecDeque::with_capacity(appended.len()) };
            self.log = begin;
        }
        self.log.take(now, appended);
        (self.durable, self.term, self.whole) = (now.durable, now.term, true);
    }
}

/// All replicas.
#[derive(Debug)]
pub(super) struct Replicas<E>(BTreeMap<(GroupId, NodeId), Replica<E>>);

impl<E> Default for Replicas<E> {
    fn default() -> Replicas<E> {
        Replicas(BTreeMap::new())
    }
}

impl<E: Kept> Replicas<E> {
    /// A replica, if it was ever seen.
    pub fn get(&self, group: GroupId, member: NodeId) -> Option<&Replica<E>> {
        self.0.get(&(group, member))
    }

    /// A replica.
    pub fn of(&mut self, group: GroupId, member: NodeId) -> &mut Replica<E> {
        self.0.entry((group, member)).or_default()
    }

    /// The replicas of a member, with their groups.
    pub fn of_member(&mut self, member: NodeId) -> impl Iterator<Item = (GroupId, &mut Replica<E>)> {
        self.0.iter_mut().filter(move |((_, of), _)| *of == member).map(|((group, _), replica)| (*group, replica))
    }

    /// Up to here no replica of a group that was ever seen holds entries any more.
    pub fn compacted_everywhere(&self, group: GroupId) -> Index {
        let all = self.0.range((group, NodeId(0))..=(group, NodeId(u64::MAX)));
        all.map(|(_, replica)| replica.log.compacted.index).min().unwrap_or_default()
    }

    /// Members end.
    pub fn note_end(&mut self, what: &Observation<'_>) {
        let Observation::Ended { member, end, .. } = what else { return };
        for (_, replica) in self.of_member(*member) {
            replica.whole = false;
            if matches!(end, End::Wiped | End::Struck) {
                let Replica { log, durable, former, .. } = std::mem::take(replica);
                // Of several lost disks, that on which most stood.
                let most = former.filter(|former| former.1 > durable);
                replica.former = Some(most.unwrap_or_else(|| Box::new((log, durable))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn payloads_are_told_apart() {
        let payloads: [&[u8]; 6] = [b"", b"a", b"b", b"12345678", b"1234567812345678", b"12345678a"];
        for (place, one) in payloads.iter().enumerate() {
            for other in &payloads[place + 1..] {
                assert_ne!(digest(one), digest(other));
            }
        }
    }

    #[test]
    fn logs_grow_and_are_cut() {
        let entry = |index, term| LogEntry { index: Index(index), term: Term(term), payload: Bytes::new() };
        let at = |term, index| LogPosition { term: Term(term), index: Index(index) };
        let view = |compacted, last| CoreView { compacted, last, ..super::super::script::view() };
        let mut log = Log::<Term>::default();
        log.take(&view(at(0, 0), at(1, 3)), &[entry(1, 1), entry(2, 1), entry(3, 1)]);
        let now = view(at(0, 0), at(2, 2));
        assert_eq!(log.cut_by(&now, &[entry(2, 2)]), Some(Index(2)));
        log.take(&now, &[entry(2, 2)]);
        assert_eq!((log.last(), log.term_at(Index(2)), log.get(Index(3))), (Index(2), Some(Term(2)), None));
        let now = view(at(1, 1), at(2, 2));
        assert_eq!(log.cut_by(&now, &[]), None);
        log.take(&now, &[]);
        assert!(log.holds(Index(1), Term(1)) && !log.holds(Index(2), Term(1)));
        log.take(&view(at(3, 7), at(3, 8)), &[entry(8, 3)]);
        assert_eq!((log.compacted(), log.last(), log.term_at(Index(8))), (at(3, 7), Index(8), Some(Term(3))));
    }
}
