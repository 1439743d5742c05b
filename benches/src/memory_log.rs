//! One replica's log in memory: payloads in one buffer, behind each other.

use crate::batch::{Batch, Entries};

/// How much of its log a replica keeps behind what it has applied. The same for every contestant.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Once more entries than this are held, the oldest are cut off.
    pub entries_max: usize,
    /// So many are left.
    pub entries_kept: usize,
}

/// Entries `first ..= last`, without gap. Terms are the consensus core's to know.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    first: u64,
    bytes: Vec<u8>,
    /// Where each entry ends, counted from the log's birth; `base` of it has been cut off.
    ends: Vec<u64>,
    base: u64,
    retention: Retention,
}

impl MemoryLog {
    /// An empty log.
    pub fn new(retention: Retention) -> MemoryLog {
        MemoryLog { first: 1, bytes: Vec::new(), ends: Vec::new(), base: 0, retention }
    }

    /// Index of the last entry; one before the first where there is none.
    pub fn last(&self) -> u64 {
        self.first + self.ends.len() as u64 - 1
    }

    /// Puts entries at `first` and behind, in place of whatever was there.
    pub fn write(&mut self, first: u64, entries: Entries<'_>) {
        self.truncate(first);
        let mut end = self.end_before(first);
        self.bytes.extend_from_slice(entries.bytes());
        self.ends.extend(entries.sizes().iter().map(|size| {
            end += u64::from(*size);
            end
        }));
    }

    /// As [`MemoryLog::write`], for entries that lie apart.
    pub fn write_all<'a>(&mut self, first: u64, entries: impl Iterator<Item = &'a [u8]>) {
        self.truncate(first);
        let mut end = self.end_before(first);
        self.ends.extend(entries.map(|entry| {
            self.bytes.extend_from_slice(entry);
            end += entry.len() as u64;
            end
        }));
    }

    fn truncate(&mut self, first: u64) {
        assert!(first >= self.first && first <= self.last() + 1, "entry {first} does not continue the log");
        let kept = (first - self.first) as usize;
        if kept < self.ends.len() {
            self.bytes.truncate((self.end_before(first) - self.base) as usize);
            self.ends.truncate(kept);
        }
    }

    /// The entries `first ..= last`.
    pub fn iter(&self, first: u64, last: u64) -> impl Iterator<Item = &[u8]> {
        let mut begin = self.end_before(first);
        self.ends[(first - self.first) as usize..(last + 1 - self.first) as usize].iter().map(move |end| {
            let entry = &self.bytes[(begin - self.base) as usize..(end - self.base) as usize];
            begin = *end;
            entry
        })
    }

    /// Copies the entries `first ..= last` to the end of `batch`.
    pub fn copy_to(&self, first: u64, last: u64, batch: &mut Batch) {
        let mut begin = self.end_before(first);
        let ends = &self.ends[(first - self.first) as usize..(last + 1 - self.first) as usize];
        let bytes = &self.bytes[(begin - self.base) as usize..(self.end_before(last + 1) - self.base) as usize];
        let sizes = ends.iter().map(|end| {
            let size = end - begin;
            begin = *end;
            size as u32
        });
        batch.extend(bytes, sizes);
    }

    /// How many of the entries `first ..= last` fit in `bytes_max`, at least one: the last that fits, and the bytes up to
    /// it.
    pub fn fit(&self, first: u64, last: u64, bytes_max: u64) -> (u64, u64) {
        let begin = self.end_before(first);
        let ends = &self.ends[(first - self.first) as usize..(last + 1 - self.first) as usize];
        let fitting = if ends[ends.len() - 1] - begin <= bytes_max {
            ends.len()
        } else {
            ends.partition_point(|end| end - begin <= bytes_max).max(1)
        };
        (first + fitting as u64 - 1, ends[fitting - 1] - begin)
    }

    /// Cuts the log where it has become too long, no further than the state machine is. Returns the last entry that is
    /// gone.
    pub fn cut(&mut self, applied: u64) -> Option<u64> {
        let held = self.ends.len();
        if held <= self.retention.entries_max {
            return None;
        }
        let cut = (held - self.retention.entries_kept).min((applied + 1 - self.first) as usize);
        let base = self.end_before(self.first + cut as u64);
        self.bytes.drain(..(base - self.base) as usize);
        self.ends.drain(..cut);
        self.base = base;
        self.first += cut as u64;
        Some(self.first - 1)
    }

    /// Where the entry before `index` ends.
    fn end_before(&self, index: u64) -> u64 {
        if index == self.first { self.base } else { self.ends[(index - self.first) as usize - 1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(entries: &[&[u8]]) -> MemoryLog {
        let mut batch = Batch::default();
        entries.iter().for_each(|entry| batch.push(entry));
        let mut log = MemoryLog::new(Retention { entries_max: 4, entries_kept: 2 });
        log.write(1, batch.as_slice());
        log
    }

    #[test]
    fn what_is_written_is_read_and_replaced() {
        let mut log = log_of(&[b"a", b"bb", b"ccc"]);
        log.write_all(3, [&b""[..]].into_iter());
        assert_eq!(log.iter(1, 3).collect::<Vec<_>>(), [&b"a"[..], b"bb", b""]);
        log.write(2, log_of(&[b"x", b"y"]).copied(1, 2).as_slice());
        assert_eq!(log.iter(1, 3).collect::<Vec<_>>(), [b"a", b"x", b"y"]);
        assert_eq!(log.last(), 3);
    }

    #[test]
    fn as_many_fit_as_the_bound_allows_and_one_always() {
        let log = log_of(&[b"a", b"bb", b"ccc"]);
        assert_eq!(log.fit(1, 3, 100), (3, 6));
        assert_eq!(log.fit(1, 3, 5), (2, 3));
        assert_eq!(log.fit(3, 3, 1), (3, 3));
    }

    #[test]
    fn a_long_log_is_cut_behind_the_state_machine() {
        let mut log = log_of(&[b"a", b"bb", b"ccc", b"d", b"ee"]);
        assert_eq!(log.clone().cut(1), Some(1));
        assert_eq!(log.cut(5), Some(3));
        assert_eq!(log.iter(4, 5).collect::<Vec<_>>(), [&b"d"[..], b"ee"]);
        assert_eq!(log.fit(4, 5, 1), (4, 1));
        assert_eq!(log.cut(5), None);
    }

    impl MemoryLog {
        fn copied(&self, first: u64, last: u64) -> Batch {
            let mut batch = Batch::default();
            self.copy_to(first, last, &mut batch);
            batch
        }
    }
}
