//! Watchers of all keys of a run: each counts how long every change was on its way to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use kontiki_api::rpc::watch_request::RequestUnion;
use kontiki_api::rpc::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::{Status, Streaming};

use super::load::Board;
use super::operate::Work;
use crate::ctl::client::Connection;
use crate::ctl::failure::describe;

/// How long to wait for events after the last write.
const LAST_EVENTS: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// Watchers that run until they are dropped.
pub struct Watchers {
    received: Arc<AtomicU64>,
    ended: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Watchers {
    /// Starts them, spread over the connections; returns when every one of them watches.
    pub async fn start(
        count: usize,
        connections: &[Arc<Connection>],
        work: &Arc<Work>,
        board: &Arc<Board>,
        patience: Duration,
    ) -> Result<Watchers, String> {
        let (received, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let connection = Arc::clone(&connections[number % connections.len()]);
            let opened = timeout(patience, open(&connection, work)).await;
            let opened = opened.map_err(|_| format!("watcher {number}: no answer from {}", connection.endpoint))?;
            let events = opened.map_err(|status| {
                format!("watcher {number} cannot watch: {}", describe(&status, &connection.endpoint))
            })?;
            let watcher = Watcher { number, work: Arc::clone(work), board: Arc::clone(board) };
            let (received, ended) = (Arc::clone(&received), Arc::clone(&ended));
            tasks.spawn(async move {
                watcher.count(events, &received, connection).await;
                ended.fetch_add(1, Relaxed);
            });
        }
        Ok(Watchers { received, ended, _tasks: tasks })
    }

    /// Waits until so many events came, counting those of the warm-up, for some seconds at most.
    pub async fn settle(&self, expected: u64) {
        let deadline = Instant::now() + LAST_EVENTS;
        while self.received.load(Relaxed) < expected && Instant::now() < deadline {
            sleep(POLL).await;
        }
    }

    /// Watchers whose stream broke.
    pub fn broken(&self) -> usize {
        self.ended.load(Relaxed)
    }
}

async fn open(connection: &Connection, work: &Work) -> Result<Streaming<WatchResponse>, Status> {
    let (key, range_end) = work.keys.bounds();
    let create = RequestUnion::CreateRequest(WatchCreateRequest { key, range_end, ..Default::default() });
    let requests = stream::iter([WatchRequest { request_union: Some(create) }]).chain(stream::pending());
    let mut events = connection.watch().watch(requests).await?.into_inner();
    match events.message().await? {
        Some(first) if first.created && !first.canceled => Ok(events),
        Some(first) => Err(Status::unknown(first.cancel_reason)),
        None => Err(Status::unavailable("the stream ended")),
    }
}

struct Watcher {
    number: usize,
    work: Arc<Work>,
    board: Arc<Board>,
}

impl Watcher {
    /// Counts events until the stream ends. It holds the connection, because the stream does not.
    async fn count(&self, mut events: Streaming<WatchResponse>, received: &AtomicU64, _connection: Arc<Connection>) {
        while let Ok(Some(answer)) = events.message().await {
            let now = Instant::now();
            for pair in answer.events.iter().filter_map(|event| event.kv.as_ref()) {
                let Some((since, measured)) = self.work.stamps.read(&pair.value) else { continue };
                if measured {
                    self.board.event(self.number, now.saturating_duration_since(since));
                }
                received.fetch_add(1, Relaxed);
            }
            if answer.canceled {
                return;
            }
        }
    }
}
