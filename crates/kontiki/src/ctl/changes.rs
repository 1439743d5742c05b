//! The changes of a range, revision by revision, from one on, whatever happens to the connection meanwhile.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kontiki_api::kv::Event;
use kontiki_api::rpc::watch_request::RequestUnion;
use kontiki_api::rpc::{WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status, Streaming};

use super::client::{Context, stale};
use super::failure::{Failure, describe};
use super::keys::KeyRange;

/// Pause before a broken watch is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What happened next.
#[derive(Debug, PartialEq)]
pub enum Change {
    /// All changes of one revision.
    Revision(i64, Vec<Event>),
    /// Everything up to this revision was told.
    Reached(i64),
}

/// A watch that goes on where it was when its member goes away.
pub struct Changes<'a> {
    context: &'a Context,
    range: KeyRange,
    next: i64,
    position: usize,
    stream: Option<Open>,
    told: VecDeque<Change>,
    ask_every: Option<Duration>,
}

struct Open {
    endpoint: String,
    answers: Streaming<WatchResponse>,
    requests: UnboundedSender<WatchRequest>,
}

impl<'a> Changes<'a> {
    /// Changes of `range` from revision `from` on.
    pub fn from(context: &'a Context, range: KeyRange, from: i64) -> Changes<'a> {
        Changes { context, range, next: from, position: 0, stream: None, told: VecDeque::new(), ask_every: None }
    }

    /// Has the member asked again and again how far it is, so that [`Change::Reached`] comes soon.
    pub fn asking_progress(self, every: Duration) -> Changes<'a> {
        Changes { ask_every: Some(every), ..self }
    }

    /// Waits for what happens next. Fails when the server ends the watch for good.
    pub async fn next(&mut self) -> Result<Change, Failure> {
        loop {
            if let Some(change) = self.told.pop_front() {
                return Ok(change);
            }
            let Some(open) = &mut self.stream else {
                self.open().await?;
                continue;
            };
            let answer = match self.ask_every {
                None => open.answers.message().await,
                Some(every) => match timeout(every, open.answers.message()).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        let union = RequestUnion::ProgressRequest(WatchProgressRequest {});
                        let _ = open.requests.send(WatchRequest { request_union: Some(union) }); // the answers tell why
                        continue;
                    }
                },
            };
            match answer {
                Ok(Some(answer)) => self.take(answer)?,
                Ok(None) => self.broken("the member closed the stream").await,
                Err(status) if may_go_on(&status) => {
                    let text = describe(&status, &open.endpoint);
                    self.broken(&text).await;
                }
                Err(status) => return Err(Failure::error(describe(&status, &open.endpoint))),
            }
        }
    }

    async fn broken(&mut self, why: &str) {
        let endpoint = self.stream.take().map(|open| open.endpoint).unwrap_or_default();
        eprintln!("the watch at {endpoint} was interrupted ({why}); trying again");
        self.position += 1;
        sleep(RETRY_PAUSE).await;
    }

    async fn open(&mut self) -> Result<(), Failure> {
        let connection = loop {
            match self.context.connect(self.position).await {
                Ok(connection) => break connection,
                Err(_) => sleep(RETRY_PAUSE).await, // a watch waits until some member is back
            }
        };
        let create = RequestUnion::CreateRequest(WatchCreateRequest {
            key: self.range.key.clone(),
            range_end: self.range.range_end.clone(),
            start_revision: self.next,
            progress_notify: true,
            ..Default::default()
        });
        let (requests, queue) = unbounded_channel();
        let queue = stream::unfold(queue, async |mut queue| queue.recv().await.map(|request| (request, queue)));
        let first = stream::iter([WatchRequest { request_union: Some(create) }]);
        let mut request = Request::new(Box::pin(first.chain(queue)));
        // A member that lost the leader ends the stream instead of falling silent.
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        self.position = connection.position;
        match connection.watch().watch(request).await {
            Ok(answers) => {
                let endpoint = connection.endpoint.clone();
                self.stream = Some(Open { endpoint, answers: answers.into_inner(), requests });
            }
            Err(status) if may_go_on(&status) || stale(&status) => {
                self.position += 1;
                sleep(RETRY_PAUSE).await;
            }
            Err(status) => return Err(connection.failure(&status)),
        }
        Ok(())
    }

    fn take(&mut self, answer: WatchResponse) -> Result<(), Failure> {
        if answer.compact_revision > 0 {
            return Err(Failure::error(format!(
                "the server has compacted its history up to revision {}, beyond the {} that is needed: begin anew",
                answer.compact_revision, self.next
            )));
        }
        if answer.canceled {
            return Err(Failure::error(format!("watch is canceled by the server ({})", answer.cancel_reason)));
        }
        let revision = answer.header.unwrap_or_default().revision;
        if answer.created {
            return Ok(());
        }
        if answer.events.is_empty() {
            self.next = self.next.max(revision + 1);
            self.told.push_back(Change::Reached(revision));
        }
        for event in answer.events {
            let revision = event.kv.as_ref().map_or(0, |pair| pair.mod_revision);
            self.next = self.next.max(revision + 1);
            match self.told.back_mut() {
                Some(Change::Revision(last, events)) if *last == revision => events.push(event),
                _ => self.told.push_back(Change::Revision(revision, vec![event])),
            }
        }
        Ok(())
    }
}

/// Whether another member, or the same one later, may well serve what could not be served now.
fn may_go_on(status: &Status) -> bool {
    status.code() == Code::Unavailable || std::error::Error::source(status).is_some()
}
