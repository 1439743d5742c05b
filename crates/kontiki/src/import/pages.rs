//! All keys of a cluster as they were at one revision, in their order, a page at a time.

use bytes::Bytes;
use kontiki_api::kv::KeyValue;
use kontiki_api::rpc::{RangeRequest, RangeResponse};

use crate::ctl::client::Context;
use crate::ctl::failure::Failure;
use crate::ctl::mirror::behind;

/// Bytes that a page should have, about.
const PAGE_BYTES: usize = 2 << 20;
/// Most keys of a page.
const PAGE_KEYS: i64 = 5_000;

/// Reads page after page.
pub struct Pages<'a> {
    context: &'a Context,
    /// The revision that is read at; 0 until the first page is there.
    pub revision: i64,
    next: Option<Bytes>,
    limit: i64,
}

impl<'a> Pages<'a> {
    /// From the first key, at this revision; 0: the present one.
    pub fn new(context: &'a Context, revision: i64) -> Pages<'a> {
        Pages { context, revision, next: Some(Bytes::from_static(b"\0")), limit: 100 }
    }

    /// The next page; none behind the last.
    pub async fn next(&mut self) -> Result<Option<Vec<KeyValue>>, Failure> {
        let Some(key) = self.next.take() else {
            return Ok(None);
        };
        let request = RangeRequest {
            key,
            range_end: Bytes::from_static(b"\0"),
            limit: self.limit,
            revision: self.revision,
            ..Default::default()
        };
        let page: RangeResponse =
            self.context.read(async |from| Ok(from.kv().range(request.clone()).await?.into_inner())).await?;
        if self.revision == 0 {
            self.revision = page.header.unwrap_or_default().revision;
        }
        let bytes: usize = page.kvs.iter().map(|pair| pair.key.len() + pair.value.len() + 32).sum();
        let wanted = self.limit.saturating_mul(PAGE_BYTES as i64) / (bytes as i64).max(1);
        self.limit = wanted.clamp(1, PAGE_KEYS.min(self.limit * 8));
        self.next = page.kvs.last().filter(|_| page.more).map(|last| behind(&last.key));
        Ok(Some(page.kvs))
    }
}
