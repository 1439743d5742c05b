//! A batch of which both copies of header and directory are lost refuses the next start, whatever is mended since. So
//! once nobody needs its entries, what stands beside and before it is written again, and its segment is removed.

use kontiki_raft::{GroupId, Index};

use crate::error::LogError;
use crate::extent::Extent;
use crate::gaps::Gap;
use crate::group::GroupLog;
use crate::log::Log;
use crate::types::Entry;

impl Log {
    /// Stages entries again that stand in segments up to the last one with such a batch: some of them, as many as one
    /// write should take. The write must not go to such a segment itself.
    pub(crate) fn move_from_unknown(&mut self) {
        let Some(last) = self.last_unknown() else { return };
        let Some((segment, _)) = self.shared.segments.find(last) else { return };
        let number = segment.number();
        if self.shared.segments.current().is_some_and(|current| current.number() == number) {
            if self.is_full() {
                return; // what is left of it is needed for votes
            }
            if let Some(current) = self.shared.segments.current_mut() {
                current.closed = true;
            }
        }
        let behind = self.shared.segments.iter().find(|segment| segment.number() > number);
        let end = behind.map_or(self.settled + 1, |segment| segment.header.first_sequence);
        let moving = |log: &GroupLog| {
            let stands = |extent: &&Extent| extent.sequence < end;
            log.extents().iter().filter(stands).map(Extent::span).collect::<Vec<_>>()
        };
        let spans: Vec<(GroupId, Gap)> =
            self.groups.iter().flat_map(|(group, log)| moving(log).into_iter().map(|span| (*group, span))).collect();
        let mut bytes_left = MOVED_BYTES;
        for (group, span) in spans {
            self.stage_again(group, span, &mut bytes_left);
            if bytes_left == 0 {
                return;
            }
        }
    }

    /// The last batch whose segment, and all before it, hold no entries that only such batches told of.
    fn last_unknown(&mut self) -> Option<u64> {
        self.unknown = self.unknown.split_off(&self.shared.segments.first_sequence());
        let groups = &self.groups;
        let needed = |sequence: &&u64| groups.values().any(|log| !log.spans_in(**sequence).is_empty());
        self.unknown.iter().take_while(|sequence| !needed(sequence)).last().copied()
    }

    fn stage_again(&mut self, group: GroupId, span: Gap, bytes_left: &mut u64) {
        let mut next = span.first;
        while next <= span.last && *bytes_left > 0 {
            match self.entries(group, next, span.last, *bytes_left) {
                Ok(entries) if entries.is_empty() => return,
                Ok(entries) => {
                    next = entries[entries.len() - 1].index.next();
                    let bytes = entries.iter().map(Entry::size).sum();
                    *bytes_left = bytes_left.saturating_sub(bytes);
                    if self.touch(group, None).is_none() {
                        return;
                    }
                    self.replace(group, entries);
                }
                // It stays, and its segment with it, until it is mended.
                Err(LogError::Lost { first, last, .. }) => {
                    self.lose(group, first, last);
                    next = last.next();
                }
                Err(_) => return,
            }
        }
    }

    /// Stages entries once more, in the place where they stand.
    pub(crate) fn replace(&mut self, group: GroupId, entries: Vec<Entry>) {
        let Some(log) = self.groups.get_mut(&group) else { return };
        let sequence = self.shared.segments.staged_sequence();
        for run in entries.chunk_by(|a, b| a.term == b.term && a.index.next() == b.index) {
            let span = Gap { first: run[0].index, last: run[run.len() - 1].index };
            let bytes: usize = run.iter().map(|entry| entry.payload.len()).sum();
            let bytes = u32::try_from(bytes).expect("a batch is smaller than 4 GiB");
            let replaced = log.replace(run[0].term, span, bytes, &mut self.shared);
            replaced.unwrap_or_else(|misfit| panic!("{group}: {misfit}"));
            // One by one, so that no row becomes longer than others are.
            run.iter().for_each(|entry| self.staged.entries(group, std::slice::from_ref(entry), true));
        }
        // Behind a mended entry the cache would have a hole.
        let last = entries.last().map_or(Index(0), |entry| entry.index);
        log.forget_cached(last, &mut self.shared.cache);
        for entry in entries {
            log.keep_mended(entry, sequence);
        }
    }
}

/// Entries that one write takes along.
const MOVED_BYTES: u64 = 4 << 20;
