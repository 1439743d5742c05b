//! History for watches that lag, read once for all of them.
//!
//! When many clients connect again, each of their watches wants what happened since it last heard of the store: mostly the
//! same. A page of history is kept as long as watches lag, with an index by key, so that a watch takes out of it what it
//! wants without looking at the rest, and all share the events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kontiki_kv::{Failure, OperationError, Reader};

use super::{SharedEvent, Wish};

/// A page of history: revisions, and bytes.
const PAGE_REVISIONS: i64 = if cfg!(test) { 9 } else { 1_000 };
const PAGE_BYTES: usize = 1 << 20;
/// Pages that are kept.
const PAGES_MAX: usize = 16;
/// Where at least so many watches lag, pages begin at round revisions: those who stopped at different ones share them.
const MANY: i64 = if cfg!(test) { 3 } else { 16 };

/// A piece of history, in whole revisions.
#[derive(Debug)]
pub struct Page {
    first: i64,
    /// The first revision that is not in here.
    pub next_revision: i64,
    events: Vec<SharedEvent>,
    /// Places of events in the order of their keys, those of a key in the order of history.
    by_key: Vec<u32>,
}

impl Page {
    fn new(first: i64, next_revision: i64, events: Vec<SharedEvent>) -> Page {
        let mut by_key: Vec<u32> = (0..u32::try_from(events.len()).unwrap_or(u32::MAX)).collect();
        by_key.sort_by(|&one, &other| events[one as usize].kv.key.cmp(&events[other as usize].kv.key));
        Page { first, next_revision, events, by_key }
    }

    /// What a watch wants of it from a revision on, in order.
    pub fn select(&self, wish: &Wish, from: i64) -> Vec<SharedEvent> {
        let key = |place: u32| &self.events[place as usize].kv.key[..];
        let begin = self.by_key.partition_point(|&place| *key(place) < *wish.span.start);
        let within = self.by_key[begin..].iter().take_while(|&&place| wish.span.contains(key(place)));
        let mut places: Vec<u32> = within.copied().collect();
        places.sort_unstable();
        let events = places.into_iter().map(|place| &self.events[place as usize]);
        events.filter(|event| event.kv.mod_revision >= from && wish.wants(event)).cloned().collect()
    }
}

/// Pages that were read lately, oldest first.
#[derive(Debug, Default)]
pub struct History {
    pages: Mutex<VecDeque<Arc<Page>>>,
}

impl History {
    fn pages(&self) -> MutexGuard<'_, VecDeque<Arc<Page>>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page that has everything from a revision on, if only a little of it. `lagging` watches lag.
    ///
    /// # Errors
    /// `Compacted` where the revision is below the compacted one.
    pub fn page(&self, reader: &Reader, from: i64, lagging: i64) -> Result<Arc<Page>, Failure> {
        let compacted = reader.compacted();
        if from < compacted {
            return Err(OperationError::Compacted.into());
        }
        let covers = |page: &&Arc<Page>| page.first <= from && from < page.next_revision;
        if let Some(page) = self.pages().iter().rev().find(covers) {
            return Ok(Arc::clone(page));
        }
        let round = if lagging < MANY { from } else { from - from.rem_euclid(PAGE_REVISIONS) };
        // Read without the lock: two may read the same, but nobody waits for a disk.
        let mut page = read(reader, round.max(compacted).max(1).min(from))?;
        if page.next_revision <= from {
            page = read(reader, from)?; // much was written since the round revision
        }
        let page = Arc::new(page);
        if page.next_revision <= from {
            return Ok(page); // this state is not that far yet
        }
        let mut pages = self.pages();
        if pages.len() == PAGES_MAX {
            pages.pop_front();
        }
        pages.push_back(Arc::clone(&page));
        Ok(page)
    }

    /// Nobody lags any more, or history is another one.
    pub fn clear(&self) {
        self.pages().clear();
    }
}

fn read(reader: &Reader, first: i64) -> Result<Page, Failure> {
    let revisions = usize::try_from(PAGE_REVISIONS).unwrap_or(usize::MAX);
    let page = reader.events(first, revisions, PAGE_BYTES)?;
    Ok(Page::new(first, page.next_revision, page.events.into_iter().map(SharedEvent::from).collect()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::watch::span::Span;
    use kontiki_kv::{Command, KeyRange, Kv, Options, PutRequest};
    use redb::backends::InMemoryBackend;

    fn kv(puts: u64) -> Kv {
        let mut kv = Kv::open(InMemoryBackend::new(), Options::default()).unwrap();
        for number in 0..puts {
            let key = format!("k{}", number * 5 % 7).into();
            let index = kv.applied().0 + 1;
            let put = Command::Put(PutRequest { key, ..PutRequest::default() });
            kv.batch().apply(index, 1, &put).unwrap();
        }
        kv
    }

    fn wish(key: &'static str, range_end: &'static str) -> Wish {
        let span = Span::of(&KeyRange { key: key.into(), range_end: range_end.into() });
        Wish { span, no_put: false, no_delete: false, prev_kv: false }
    }

    #[test]
    fn many_that_lag_share_what_is_read() {
        let (kv, history) = (kv(30), History::default());
        let pages: Vec<_> = (9..18).rev().map(|from| history.page(&kv.reader(), from, MANY).unwrap()).collect();
        assert!(pages.iter().all(|page| Arc::ptr_eq(page, &pages[0])), "from wherever they read on");
        let (one, other) = (pages[0].select(&wish("k3", ""), 9), pages[1].select(&wish("\0", "\0"), 9));
        let same = other.iter().find(|event| event.kv.mod_revision == one[0].kv.mod_revision).unwrap();
        assert_eq!(one[0].encoded(false, |_| "once".into()), Some(&"once".into()));
        assert_eq!(same.encoded(false, |_| unreachable!("the events are shared")), Some(&"once".into()));
        history.clear();
        assert!(!Arc::ptr_eq(&history.page(&kv.reader(), 9, MANY).unwrap(), &pages[0]));
    }

    #[test]
    fn one_that_lags_reads_no_more_than_it_lacks() {
        let (kv, history) = (kv(30), History::default());
        let page = history.page(&kv.reader(), 29, 1).unwrap();
        assert_eq!((page.first, page.next_revision, page.events.len()), (29, 32, 3));
    }

    #[test]
    fn what_is_selected_is_what_a_walk_finds() {
        let (kv, history) = (kv(40), History::default());
        for from in 2..41 {
            let page = history.page(&kv.reader(), from, 1).unwrap();
            for (key, range_end) in [("k1", ""), ("k2", "k5"), ("k5", "\0"), ("\0", "\0"), ("k9", ""), ("k", "k0")] {
                let wish = wish(key, range_end);
                let wanted = |event: &&SharedEvent| event.kv.mod_revision >= from && wish.wants(event);
                let walked: Vec<_> = page.events.iter().filter(wanted).cloned().collect();
                assert_eq!(page.select(&wish, from), walked);
            }
        }
    }

    #[test]
    fn what_is_compacted_is_not_told_from_memory() {
        let (mut kv, history) = (kv(20), History::default());
        history.page(&kv.reader(), 3, 1).unwrap();
        let index = kv.applied().0 + 1;
        kv.batch().apply(index, 1, &Command::Compact { revision: 10 }).unwrap();
        assert!(matches!(history.page(&kv.reader(), 3, 1), Err(Failure::Operation(OperationError::Compacted))));
        assert!(history.page(&kv.reader(), 10, 1).is_ok());
    }
}
