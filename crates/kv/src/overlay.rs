//! A file that is only read: what is written to it stays in memory and is forgotten. For looking at the state of a member
//! that is down without changing a byte of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// Bytes kept together.
const PAGE: u64 = 4096;

/// The file, with what was written since.
#[derive(Debug)]
pub(crate) struct Overlay<B> {
    below: B,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    /// Length now, and the least that it ever had: behind that nothing of the file shows any more.
    len: u64,
    kept: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl<B: StorageBackend> Overlay<B> {
    pub(crate) fn new(below: B) -> io::Result<Overlay<B>> {
        let len = below.len()?;
        Ok(Overlay { below, written: Mutex::new(Written { len, kept: len, pages: BTreeMap::new() }) })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, written: &Written, page: u64) -> io::Result<Box<[u8]>> {
        if let Some(bytes) = written.pages.get(&page) {
            return Ok(bytes.clone());
        }
        let mut bytes = vec![0; PAGE as usize].into_boxed_slice();
        let start = page * PAGE;
        let known = written.kept.saturating_sub(start).min(PAGE) as usize;
        if known > 0 {
            self.below.read(start, &mut bytes[..known])?;
        }
        Ok(bytes)
    }

    /// Goes through a range page by page: number of the page, range within it, range within the whole.
    fn pages(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
        let mut done = 0;
        std::iter::from_fn(move || {
            let at = offset + done as u64;
            let from = (at % PAGE) as usize;
            let count = (len - done).min(PAGE as usize - from);
            let part = (at / PAGE, from..from + count, done..done + count);
            done += count;
            (count > 0).then_some(part)
        })
    }
}

impl<B: StorageBackend> StorageBackend for Overlay<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset.saturating_add(out.len() as u64) > written.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, within, whole) in Overlay::<B>::pages(offset, out.len()) {
            out[whole].copy_from_slice(&self.page(&written, page)?[within]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written();
        if len < written.len {
            let cut = len / PAGE;
            written.pages.split_off(&len.div_ceil(PAGE));
            if let Some(page) = written.pages.get_mut(&cut) {
                page[(len % PAGE) as usize..].fill(0);
            }
        }
        written.kept = written.kept.min(len);
        written.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        written.len = written.len.max(offset + data.len() as u64);
        for (page, within, whole) in Overlay::<B>::pages(offset, data.len()) {
            let mut bytes = self.page(&written, page)?;
            bytes[within].copy_from_slice(&data[whole]);
            written.pages.insert(page, bytes);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Disk;

    #[test]
    fn writes_show_and_do_not_arrive() {
        let disk = Disk::of(vec![1; 10_000]);
        let overlay = Overlay::new(disk.clone()).unwrap();
        overlay.write(4_000, &[2; 200]).unwrap();
        overlay.set_len(9_000).unwrap();
        overlay.set_len(12_000).unwrap();
        let mut all = vec![9; 12_000];
        overlay.read(0, &mut all).unwrap();
        assert!(all[..4_000].iter().chain(&all[4_200..9_000]).all(|&byte| byte == 1));
        assert!(all[4_000..4_200].iter().all(|&byte| byte == 2));
        assert!(all[9_000..].iter().all(|&byte| byte == 0));
        assert!(overlay.read(12_000, &mut [0]).is_err());
        let mut below = vec![0; 10_000];
        disk.read(0, &mut below).unwrap();
        assert!(below.iter().all(|&byte| byte == 1));
    }
}
