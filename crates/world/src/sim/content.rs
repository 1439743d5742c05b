//! Bytes of a simulated file in shared pages: preallocated zeros cost nothing, and the durable copy shares what it can.

use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    len: u64,
    /// Pages by number; one that is missing is zero. Bytes behind `len` are zero.
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.pages.split_off(&len.div_ceil(PAGE as u64));
            let used = (len % PAGE as u64) as usize;
            if let Some(page) = self.pages.get_mut(&(len / PAGE as u64)) {
                Arc::make_mut(page)[used..].fill(0);
            }
        }
        self.len = len;
    }

    /// Fills `buffer` from `offset`; what lies behind the end reads as zero.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) {
        for (page, within, part) in parts(offset, buffer.len()) {
            match self.pages.get(&page) {
                Some(bytes) => buffer[part.clone()].copy_from_slice(&bytes[within..within + part.len()]),
                None => buffer[part].fill(0),
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        for (page, within, part) in parts(offset, bytes.len()) {
            let target = Arc::make_mut(self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE])));
            target[within..within + part.len()].copy_from_slice(&bytes[part]);
        }
        self.len = self.len.max(offset + bytes.len() as u64);
    }

    /// Takes over the pages that this range of `other` touches.
    pub(super) fn copy_pages(&mut self, other: &Content, offset: u64, len: u64) {
        for (page, _, _) in parts(offset, len as usize) {
            match other.pages.get(&page) {
                Some(bytes) => self.pages.insert(page, Arc::clone(bytes)),
                None => self.pages.remove(&page),
            };
        }
    }
}

/// Cuts a range at the pages' borders: page number, offset within the page, place within the range.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % PAGE as u64) as usize;
        let end = len.min(done + PAGE - within);
        let part = done..end;
        done = end;
        Some((at / PAGE as u64, within, part))
    })
}

const PAGE: usize = 4096;
