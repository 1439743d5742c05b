//! The keys that are there at a revision, in order, each with its version: the scan behind ranges and counts.
//!
//! Each layer yields, per key, the newest version that it has at or below the revision; since a newer layer holds only
//! newer versions, the newest layer that knows a key decides.

use crate::base::Base;
use crate::error::KvError;
use crate::layers::{Table, View, read};
use crate::memory::Memory;
use crate::record::Version;
use crate::versions;

/// Most keys taken from a layer at a time: bounds how long a table in memory is locked.
const PAGE_KEYS_MAX: usize = if cfg!(test) { 5 } else { 512 };
/// Bytes of keys and values after which a page is full: what a scan holds is bounded, however large values are.
const PAGE_BYTES_MAX: usize = if cfg!(test) { 40 } else { 64 * 1024 };

/// The scan. It keeps the layers that it began with, so it may be put away between keys.
#[derive(Debug)]
pub(crate) struct Visible {
    view: View,
    to: Option<Vec<u8>>,
    at: i64,
    values: bool,
    page_keys: usize,
    streams: [Stream; 3],
}

/// A layer's page: its keys' prefixes in one buffer, and where the next page starts.
#[derive(Debug, Default)]
struct Stream {
    prefixes: Vec<u8>,
    items: Vec<Item>,
    /// Of the keys and values in it.
    bytes: usize,
    position: usize,
    next: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Item {
    start: usize,
    end: usize,
    version: Version,
}

impl Visible {
    /// Scans prefixes from `from` up to, without, `to`, at revision `at`. `expected` is a guess of how many keys will be
    /// taken. Without `values`, versions come without their values.
    pub(crate) fn new(
        view: &View,
        from: &[u8],
        to: Option<Vec<u8>>,
        at: i64,
        expected: usize,
        values: bool,
    ) -> Visible {
        let stream = || Stream { next: Some(from.to_vec()), ..Stream::default() };
        let mut streams = [stream(), stream(), stream()];
        if view.frozen.is_none() {
            streams[1].next = None;
        }
        Visible { view: view.clone(), to, at, values, page_keys: expected.clamp(4, PAGE_KEYS_MAX), streams }
    }

    /// The next key's prefix and its version.
    pub(crate) fn next(&mut self) -> Result<Option<(&[u8], &Version)>, KvError> {
        let chosen = loop {
            for layer in 0..self.streams.len() {
                if self.streams[layer].is_spent() {
                    self.refill(layer)?;
                }
            }
            let Some(chosen) = self.newest_of_smallest() else { return Ok(None) };
            if !self.streams[chosen].taken().1.tombstone {
                break chosen;
            }
        };
        Ok(Some(self.streams[chosen].taken()))
    }

    /// Steps over the smallest prefix in all layers and says which of them has its newest version.
    fn newest_of_smallest(&mut self) -> Option<usize> {
        let mut chosen = None;
        for layer in 0..self.streams.len() {
            let Some(prefix) = self.streams[layer].head() else { continue };
            let smaller = chosen.is_none_or(|chosen: usize| self.streams[chosen].head().is_some_and(|c| prefix < c));
            if smaller {
                chosen = Some(layer);
            }
        }
        let chosen = chosen?;
        let (before, rest) = self.streams.split_at_mut(chosen + 1);
        let stream = &mut before[chosen];
        let prefix = stream.head();
        for other in rest {
            if other.head().is_some() && other.head() == prefix {
                other.position += 1;
            }
        }
        stream.position += 1;
        Some(chosen)
    }

    fn refill(&mut self, layer: usize) -> Result<(), KvError> {
        let stream = &mut self.streams[layer];
        let Some(from) = stream.next.take() else { return Ok(()) };
        stream.clear();
        let page = Page { from, to: self.to.as_deref(), at: self.at, keys: self.page_keys, values: self.values };
        match (layer, &self.view.frozen) {
            (0, _) => stream.fill_from_memory(&read(&self.view.active), &page)?,
            (1, Some(frozen)) => stream.fill_from_memory(&read(frozen), &page)?,
            _ => stream.fill_from_base(&self.view.base, &page)?,
        }
        self.page_keys = (self.page_keys * 2).min(PAGE_KEYS_MAX);
        Ok(())
    }
}

/// What is wanted of a layer.
struct Page<'a> {
    from: Vec<u8>,
    to: Option<&'a [u8]>,
    at: i64,
    keys: usize,
    values: bool,
}

impl Stream {
    fn is_spent(&self) -> bool {
        self.position == self.items.len()
    }

    fn head(&self) -> Option<&[u8]> {
        self.items.get(self.position).map(|item| &self.prefixes[item.start..item.end])
    }

    /// The item stepped over last.
    fn taken(&self) -> (&[u8], &Version) {
        let item = &self.items[self.position - 1];
        (&self.prefixes[item.start..item.end], &item.version)
    }

    fn clear(&mut self) {
        self.prefixes.clear();
        self.items.clear();
        self.bytes = 0;
        self.position = 0;
    }

    fn is_full(&self, page: &Page<'_>) -> bool {
        self.items.len() == page.keys || self.bytes >= PAGE_BYTES_MAX
    }

    fn push(&mut self, prefix: &[u8], version: Version) {
        let start = self.prefixes.len();
        self.prefixes.extend_from_slice(prefix);
        self.bytes += prefix.len() + version.value.len();
        self.items.push(Item { start, end: self.prefixes.len(), version });
    }

    fn fill_from_memory(&mut self, memory: &Memory, page: &Page<'_>) -> Result<(), KvError> {
        for (prefix, chain) in memory.chains(&page.from, page.to) {
            let Some(version) = chain.at((page.at, u32::MAX)) else { continue };
            if self.is_full(page) {
                self.next = Some(prefix.to_vec());
                break;
            }
            self.push(prefix, version.version(page.values)?);
        }
        Ok(())
    }

    fn fill_from_base(&mut self, base: &Base, page: &Page<'_>) -> Result<(), KvError> {
        let place = (page.at, u32::MAX);
        for row in base.range(Table::Keys, &page.from, page.to)? {
            let (prefix, row) = row?;
            let prefix = prefix.value();
            if self.is_full(page) {
                self.next = Some(prefix.to_vec());
                break;
            }
            let (newest, row) = versions::split_newest(row.value())?;
            if newest <= place {
                self.push(prefix, versions::decode(newest, row, page.values)?);
            } else if let Some(version) = versions::in_history(base, prefix, place, page.values)? {
                self.push(prefix, version);
            }
        }
        Ok(())
    }
}

/// How many keys there are from one prefix up to another one at a revision, by walking them.
pub(crate) fn count(view: &View, from: &[u8], to: Option<Vec<u8>>, at: i64) -> Result<i64, KvError> {
    let mut scan = Visible::new(view, from, to, at, 128, false);
    let mut count = 0;
    while scan.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}
