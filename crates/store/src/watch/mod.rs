//! Watches: who is told of which event, in order, once, and without a bound broken by anyone slow.
//!
//! The state machine publishes each revision's events to the [`Hub`]. A task of the hub matches them against the watches
//! that are *synced* and puts them into their streams' queues. A watch that starts in the past, or whose stream does not
//! take its events quickly enough, is *unsynced*: its stream takes what it lacks from pages of history, which all that lag
//! share, until nothing is left between it and the present, and joins the synced ones. The hub's one lock orders joining, distribution and
//! progress, so that a watch misses nothing, sees nothing twice, and progress never runs ahead of events.

mod event;
mod history;
mod hub;
mod index;
mod intervals;
#[cfg(test)]
mod model;
mod queue;
mod span;
mod stream;
#[cfg(test)]
mod tests;

use kontiki_kv::{Event, KeyRange};

pub use event::SharedEvent;
pub use hub::Hub;
use span::Span;
pub(crate) use stream::Failed;
pub use stream::WatchStream;

/// Asks for a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchCreate {
    /// Which keys. An empty key means all from the first on, as etcd has it.
    pub range: KeyRange,
    /// First revision to see; zero for whatever comes next.
    pub start_revision: i64,
    /// Tell the revision when nothing happened for long.
    pub progress_notify: bool,
    /// Leave out puts.
    pub no_put: bool,
    /// Leave out deletions.
    pub no_delete: bool,
    /// Show what was there before.
    pub prev_kv: bool,
    /// The watch's identity in its stream; zero to choose one.
    pub watch_id: i64,
}

/// Something to tell a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchResponse {
    /// Which watch; −1 for the stream as a whole.
    pub watch_id: i64,
    /// Revision for the header.
    pub revision: i64,
    /// The watch asked for previous values: others must not see them.
    pub prev_kv: bool,
    /// What.
    pub kind: WatchKind,
}

/// Kinds of [`WatchResponse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchKind {
    /// The watch exists.
    Created,
    /// The watch was not made, for this reason.
    Rejected(String),
    /// Events, in order; all of one revision stand together.
    Events(Vec<SharedEvent>),
    /// Everything up to the header's revision has been told.
    Progress,
    /// The watch is over: cancelled, or what it should show is compacted (then the compact revision, else zero).
    Canceled {
        /// The oldest revision that can still be read, where compaction ended the watch.
        compact_revision: i64,
    },
}

/// What a watch wants to see, as matching needs it.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub span: Span,
    pub no_put: bool,
    pub no_delete: bool,
    pub prev_kv: bool,
}

impl Wish {
    pub fn wants(&self, event: &Event) -> bool {
        let kind = match event.kind {
            kontiki_kv::EventKind::Put => !self.no_put,
            kontiki_kv::EventKind::Delete => !self.no_delete,
        };
        kind && self.span.contains(&event.kv.key)
    }
}
