//! The bound on entries in memory: who is evicted next, and how much there is.

use std::collections::VecDeque;

use kontiki_raft::{GroupId, Index};

use crate::types::Entry;

/// Counts cached entries of all groups and remembers in which order they became durable. The entries themselves stand
/// with their groups.
#[derive(Debug)]
pub(crate) struct Cache {
    bytes: u64,
    limit: u64,
    /// Groups whose cached entries up to an index became durable, oldest first.
    queue: VecDeque<Evictable>,
    /// The queue is swept when it gets this long: entries that left by compaction leave their place in it behind.
    sweep_at: usize,
}

/// Entries that may be evicted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evictable {
    pub(crate) group: GroupId,
    pub(crate) last: Index,
}

impl Cache {
    pub(crate) fn new(limit: u64) -> Cache {
        Cache { bytes: 0, limit, queue: VecDeque::new(), sweep_at: SWEEP_MIN }
    }

    pub(crate) fn add(&mut self, entry: &Entry) {
        self.bytes += cost(entry);
    }

    pub(crate) fn remove(&mut self, entry: &Entry) {
        self.bytes -= cost(entry);
    }

    pub(crate) fn allow(&mut self, evictable: Evictable) {
        self.queue.push_back(evictable);
    }

    /// What to evict next, while there is too much.
    pub(crate) fn next(&mut self) -> Option<Evictable> {
        if self.bytes > self.limit { self.queue.pop_front() } else { None }
    }

    /// Drops what no longer stands for cached entries, where that is due.
    pub(crate) fn sweep(&mut self, of_use: impl FnMut(&Evictable) -> bool) {
        if self.queue.len() >= self.sweep_at {
            self.queue.retain(of_use);
            self.sweep_at = SWEEP_MIN.max(self.queue.len() * 2);
        }
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What an entry takes in memory: the payload, where it is alone in its allocation, and its place in the deque.
fn cost(entry: &Entry) -> u64 {
    (entry.payload.len() + size_of::<Entry>()) as u64
}

const SWEEP_MIN: usize = 1024;
