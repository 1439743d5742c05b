//! The watches of one stream, whatever it is carried by: requests in, answers out, ready answers of one watch joined.

use std::collections::{BTreeSet, VecDeque};

use kontiki_api::rpc::{
    WatchCreateRequest, WatchRequest, watch_create_request::FilterType, watch_request::RequestUnion,
};
use kontiki_store::{SharedEvent, WatchCreate, WatchKind, WatchResponse, WatchStream};

use crate::access;
use crate::convert;
use crate::front::Front;

/// Answers are joined up to so many events,
const JOINED_EVENTS_MAX: usize = 1000;
/// and so many bytes, so that clients with small receive limits can take them.
const JOINED_BYTES_MAX: usize = 512 * 1024;

/// The watches of one stream.
pub(crate) struct WatchSession<'f> {
    front: &'f Front,
    stream: WatchStream,
    /// Of creations not answered yet, in order: whether the client takes large answers in parts.
    creating: VecDeque<bool>,
    /// Watches whose client takes large answers in parts.
    fragmenting: BTreeSet<i64>,
    /// An answer that did not fit to the one before it.
    stashed: Option<WatchResponse>,
}

impl<'f> WatchSession<'f> {
    pub(crate) fn new(front: &'f Front) -> WatchSession<'f> {
        WatchSession {
            front,
            stream: front.store.watch_stream(),
            creating: VecDeque::new(),
            fragmenting: BTreeSet::new(),
            stashed: None,
        }
    }

    /// Takes a request. One without content asks for nothing.
    pub(crate) async fn request(&mut self, request: WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => {
                self.creating.push_back(create.fragment);
                match access::watch(self.front, &create).await {
                    Ok(()) => self.stream.create(creation(create)),
                    Err(reason) => self.stream.refuse(reason),
                }
            }
            Some(RequestUnion::CancelRequest(cancel)) => self.stream.cancel(cancel.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => self.stream.request_progress(),
            None => {}
        }
    }

    /// The next answer. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> WatchResponse {
        let first = match self.stashed.take() {
            Some(stashed) => stashed,
            None => self.stream.next().await,
        };
        self.complete(first)
    }

    /// The next answer, if it is there already.
    pub(crate) fn try_next(&mut self) -> Option<WatchResponse> {
        let first = self.stashed.take().or_else(|| self.stream.try_next())?;
        Some(self.complete(first))
    }

    /// Whether the client takes large answers of this watch in parts.
    pub(crate) fn fragments(&self, watch_id: i64) -> bool {
        self.fragmenting.contains(&watch_id)
    }

    /// Joins what is ready for the same watch, and keeps the books. Only neighbours are joined: what one answer promises
    /// about all watches (progress) must not be overtaken.
    fn complete(&mut self, mut response: WatchResponse) -> WatchResponse {
        if let WatchKind::Events(events) = &mut response.kind {
            let mut bytes = weigh(events);
            while events.len() < JOINED_EVENTS_MAX && bytes < JOINED_BYTES_MAX {
                match self.stream.try_next() {
                    Some(WatchResponse { watch_id, revision, prev_kv, kind: WatchKind::Events(more) })
                        if watch_id == response.watch_id && prev_kv == response.prev_kv =>
                    {
                        bytes += weigh(&more);
                        events.extend(more);
                        response.revision = revision;
                    }
                    other => {
                        self.stashed = other;
                        break;
                    }
                }
            }
        }
        self.note(&response);
        response
    }

    fn note(&mut self, response: &WatchResponse) {
        match &response.kind {
            WatchKind::Created => {
                if self.creating.pop_front() == Some(true) {
                    self.fragmenting.insert(response.watch_id);
                }
            }
            WatchKind::Rejected(_) => {
                self.creating.pop_front();
            }
            WatchKind::Canceled { .. } => {
                self.fragmenting.remove(&response.watch_id);
            }
            WatchKind::Events(_) | WatchKind::Progress => {}
        }
    }
}

/// Roughly how many bytes the events have on the wire.
fn weigh(events: &[SharedEvent]) -> usize {
    let sizes = events.iter().map(|event| {
        let prev = event.prev_kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len());
        event.kv.key.len() + event.kv.value.len() + prev + 32
    });
    sizes.sum()
}

fn creation(request: WatchCreateRequest) -> WatchCreate {
    let filtered = |filter: FilterType| request.filters.contains(&(filter as i32));
    WatchCreate {
        no_put: filtered(FilterType::Noput),
        no_delete: filtered(FilterType::Nodelete),
        range: convert::key_range(request.key, request.range_end),
        start_revision: request.start_revision,
        progress_notify: request.progress_notify,
        prev_kv: request.prev_kv,
        watch_id: request.watch_id,
    }
}
