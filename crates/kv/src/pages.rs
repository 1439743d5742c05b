//! A range read piece by piece at one revision, in memory that does not depend on how much there is to read.
//!
//! The layers are kept from the first piece on, so that neither writes nor compactions show. They cost something as long
//! as they are kept: memory that a checkpoint would free, space in the file that would be used again. Whoever reads slowly
//! gives them back with [`RangePages::release`]; the next piece then comes from the layers of that moment, at the same
//! revision, or not at all where it was compacted meanwhile.

use std::sync::Arc;

use bytes::Bytes;

use crate::count::Outline;
use crate::error::{Failure, KvError};
use crate::key::{self, Span};
use crate::range::passes;
use crate::reader::{Pinned, Reader};
use crate::record::Version;
use crate::request::RangeRequest;
use crate::visible::{self, Visible};

/// Bytes that are read through the cache that all reads share. Behind that, what would be put into it is not worth what it
/// would drive out.
const CACHED_BYTES_MAX: usize = if cfg!(test) { 150 } else { 8 << 20 };

/// A key of a piece, lent to who takes it.
#[derive(Clone, Copy, Debug)]
pub struct Found<'p> {
    /// The key.
    pub key: &'p [u8],
    /// Revision of the put that created this incarnation of the key.
    pub create_revision: i64,
    /// Revision of the last put.
    pub mod_revision: i64,
    /// How many puts this incarnation has seen.
    pub version: i64,
    /// Lease that the key is attached to, zero for none.
    pub lease: i64,
    /// The value; empty where only keys or lengths are read.
    pub value: &'p Bytes,
    /// Bytes of the value, also where only lengths are read; zero where only keys are asked for.
    pub value_len: usize,
}

/// A range that is being read, in the order of keys.
#[derive(Debug)]
pub struct RangePages {
    reader: Reader,
    request: RangeRequest,
    /// The layers, and the scan over them; none once they were given back.
    pinned: Option<Pinned>,
    scan: Option<Visible>,
    /// Bytes lent, and whether that was so much that the shared cache is left alone.
    lent: usize,
    past_cache: bool,
    at: i64,
    revision: i64,
    /// Prefix of the first key that was not lent; none behind the last.
    next: Option<Vec<u8>>,
    /// That key, where it was looked at to know whether there is one.
    ahead: Option<(Vec<u8>, Version)>,
    to: Option<Vec<u8>>,
    lengths_only: bool,
    /// How many keys the limit leaves.
    left: u64,
    more: bool,
    /// Keys passed, whether they passed the filters or not.
    walked: i64,
    /// Keys in the range, where that is known without walking it.
    known: Option<i64>,
    /// The user key that was lent last.
    key: Vec<u8>,
}

impl RangePages {
    /// Begins. `outline` is the range in blocks, where they are those of the revision that is read.
    pub(crate) fn begin(
        reader: Reader,
        pinned: Pinned,
        request: RangeRequest,
        outline: Option<Outline>,
    ) -> Result<RangePages, Failure> {
        let at = pinned.moment().resolve(request.revision)?;
        let (from, to) = match key::span(&request.range) {
            Span::One(one) => (key::prefix(one), Some(key::successor(&key::prefix(one)))),
            Span::Many(start, end) => (key::prefix(start), end.map(|end| key::prefix(end.max(start)))),
        };
        let limited = request.count_only || request.limit > 0;
        let known = match outline.filter(|_| limited && at == pinned.revision) {
            Some(outline) => Some(counted(&pinned, &outline, &from, to.clone())?),
            None => None,
        };
        let left = match u64::try_from(request.limit) {
            _ if request.count_only => 0,
            Ok(limit) if limit > 0 => limit,
            Ok(_) | Err(_) => u64::MAX,
        };
        let revision = pinned.revision;
        let pages = RangePages {
            reader,
            pinned: Some(pinned),
            scan: None,
            lent: 0,
            past_cache: false,
            at,
            revision,
            next: Some(from),
            ahead: None,
            to,
            lengths_only: false,
            left,
            more: false,
            walked: 0,
            known,
            key: Vec::new(),
            request,
        };
        Ok(pages)
    }

    /// The store's revision when it began.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The same range from here on, read without its values: to know how much comes before it does.
    #[must_use]
    pub fn lengths(&self) -> RangePages {
        RangePages {
            reader: self.reader.clone(),
            request: self.request.clone(),
            pinned: self.pinned.clone(),
            scan: None,
            next: self.next.clone(),
            ahead: None,
            to: self.to.clone(),
            lengths_only: true,
            key: Vec::new(),
            ..*self
        }
    }

    /// Gives back what is kept for the next piece.
    pub fn release(&mut self) {
        self.ahead = None;
        self.scan = None;
        self.pinned = None;
    }

    /// Lends keys until so many or so many bytes are reached, at least one if there is one. False where these are the last.
    ///
    /// # Errors
    /// `Compacted` where the layers were given back and the revision is gone.
    pub fn page(
        &mut self,
        keys_max: usize,
        bytes_max: usize,
        mut each: impl FnMut(Found<'_>),
    ) -> Result<bool, Failure> {
        let Some(mut scan) = self.scan()? else { return Ok(false) };
        let (mut keys, mut bytes) = (0, 0);
        if let Some((prefix, version)) = self.ahead.take() {
            bytes += self.lend(&prefix, &version, &mut each);
            keys += 1;
        }
        while let Some((prefix, version)) = scan.next()? {
            if !passes(&self.request, version.create_revision, version.main) {
                self.walked += 1;
                continue;
            }
            if self.left == 0 {
                self.more = true;
                self.next = Some(prefix.to_vec());
                return Ok(false);
            }
            if keys >= keys_max || bytes >= bytes_max {
                self.next = Some(prefix.to_vec());
                self.lent += bytes;
                if self.lent > CACHED_BYTES_MAX && !self.past_cache {
                    self.past_cache = true; // another scan goes on from that key
                } else {
                    self.ahead = Some((prefix.to_vec(), version.clone()));
                    self.scan = Some(scan);
                }
                return Ok(true);
            }
            bytes += self.lend(prefix, version, &mut each);
            keys += 1;
        }
        self.next = None;
        Ok(false)
    }

    /// Lends a key; gives its bytes.
    fn lend(&mut self, prefix: &[u8], version: &Version, each: &mut impl FnMut(Found<'_>)) -> usize {
        self.left -= 1;
        self.walked += 1;
        self.key.clear();
        key::put_user_key(&mut self.key, prefix);
        let value_len = if self.request.keys_only { 0 } else { version.value_len };
        each(Found {
            key: &self.key,
            create_revision: version.create_revision,
            mod_revision: version.main,
            version: version.version,
            lease: if self.request.leaves_out_leases() { 0 } else { version.lease },
            value: &version.value,
            value_len,
        });
        self.key.len() + value_len
    }

    /// Whether the limit cut some off, and how many keys there are in the range whatever limit and filters say. To be asked
    /// once there are no more pieces.
    ///
    /// # Errors
    /// As [`RangePages::page`].
    pub fn finish(&mut self) -> Result<(bool, i64), Failure> {
        let count = match (self.known, self.next.clone()) {
            (Some(known), _) => known,
            (None, None) => self.walked,
            (None, Some(next)) => {
                let (at, to) = (self.at, self.to.clone());
                self.walked + visible::count(&self.pin()?.view, &next, to, at)?
            }
        };
        Ok((self.more, count))
    }

    /// The scan to go on with; none behind the last key, and where nothing but the number of keys is asked for.
    fn scan(&mut self) -> Result<Option<Visible>, Failure> {
        if self.request.count_only {
            return Ok(None);
        }
        if let Some(scan) = self.scan.take() {
            return Ok(Some(scan));
        }
        let Some(next) = self.next.clone() else { return Ok(None) };
        let (to, at, values) = (self.to.clone(), self.at, !self.lengths_only && !self.request.keys_only);
        let expected = usize::try_from(self.left).unwrap_or(usize::MAX).saturating_add(1);
        Ok(Some(Visible::new(&self.pin()?.view, &next, to, at, expected, values)))
    }

    fn pin(&mut self) -> Result<&Pinned, Failure> {
        let mut pinned = match self.pinned.take() {
            Some(pinned) => pinned,
            None => {
                let pinned = self.reader.pin();
                pinned.moment().resolve(self.at)?;
                pinned
            }
        };
        if self.past_cache && !pinned.view.base.is_past_cache() {
            pinned.view.base = Arc::new(pinned.view.base.past_cache()?);
        }
        Ok(self.pinned.insert(pinned))
    }
}

/// How many keys an outline stands for: its blocks, and what lies before the first and behind the last fence.
fn counted(pinned: &Pinned, outline: &Outline, from: &[u8], to: Option<Vec<u8>>) -> Result<i64, KvError> {
    let fence = key::prefix(&outline.first);
    let count = |from: &[u8], to| visible::count(&pinned.view, from, to, pinned.revision);
    let head = if from < &fence[..] { count(from, Some(fence))? } else { 0 };
    let tail = match &outline.last {
        Some(last) => count(&key::prefix(last), to)?,
        None => 0,
    };
    Ok(head + outline.whole + tail)
}
