//! Streams of the gateway: JSON objects in, one JSON object per line out.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, header};
use http_body_util::BodyExt;
use hyper::body::Body as HttpBody;
use kontiki_api::election::LeaderRequest;
use kontiki_api::rpc;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::gateway::{json_bytes_max, malformed};
use super::{Body, gateway_error};
use crate::access;
use crate::front::{Front, Terms};
use crate::methods::{Method, MethodInfo};
use crate::metrics;
use crate::services::snapshot::Blobs;
use crate::services::watch_session::WatchSession;
use crate::services::{election, lease_keep_alive, watch_wire};

/// Lines that wait for a slow client.
const WAITING_LINES: usize = 16;

/// Starts the stream on a task of its own: over HTTP/1 nothing else drives it.
pub(crate) fn serve<B>(front: &Arc<Front>, info: &'static MethodInfo, terms: Terms, body: B) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display + Send,
{
    let (sender, lines) = mpsc::channel(WAITING_LINES);
    tokio::spawn(run(Arc::clone(front), info, terms, Objects::new(body, json_bytes_max(front)), sender));
    let mut response = Response::new(Body::Pieces(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn run<B>(
    front: Arc<Front>,
    info: &'static MethodInfo,
    terms: Terms,
    mut requests: Objects<B>,
    lines: mpsc::Sender<Bytes>,
) where
    B: HttpBody<Data = Bytes> + Send + Unpin,
    B::Error: std::fmt::Display,
{
    let counters = front.metrics.call(info.method);
    counters.start();
    let work = async {
        access::enter(&front, info.method).await?;
        match info.method {
            Method::Watch => watch(&front, counters, &mut requests, &lines).await,
            Method::LeaseKeepAlive => keep_alive(&front, counters, &mut requests, &lines).await,
            Method::Observe => observe(&front, counters, &mut requests, &lines).await,
            Method::Snapshot => save(&front, counters, &mut requests, &lines).await,
            other => unreachable!("the gateway has no stream {other:?}"),
        }
    };
    let result = tokio::select! {
        result = work => result,
        status = front.leaderless(), if terms.needs_leader => Err(status),
        status = front.stopped() => Err(status),
        () = lines.closed() => Err(Status::cancelled("context canceled")),
    };
    counters.finish(result.as_ref().map_or_else(Status::code, |()| Code::Ok), None);
    if let Err(status) = result {
        drop(lines.send(gateway_error::line(&status)).await);
    }
}

/// Watches until the client goes. The end of its requests is not the end of its interest.
async fn watch<B>(
    front: &Front,
    counters: &metrics::Call,
    requests: &mut Objects<B>,
    lines: &mpsc::Sender<Bytes>,
) -> Result<(), Status>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut session = WatchSession::new(front);
    let mut more_requests = true;
    loop {
        tokio::select! {
            biased;
            request = requests.next::<rpc::WatchRequest>(), if more_requests => match request? {
                Some(request) => {
                    counters.received(0);
                    session.request(request).await;
                }
                None => more_requests = false,
            },
            response = session.next() => {
                let limit = session.fragments(response.watch_id).then_some(front.settings.request_bytes_max);
                for part in watch_wire::parts(|revision| front.header(revision), &response, limit) {
                    send(counters, lines, &part.message()).await?;
                }
            }
        }
    }
}

async fn keep_alive<B>(
    front: &Front,
    counters: &metrics::Call,
    requests: &mut Objects<B>,
    lines: &mpsc::Sender<Bytes>,
) -> Result<(), Status>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    while let Some(request) = requests.next().await? {
        counters.received(0);
        send(counters, lines, &lease_keep_alive::keep_alive(front, request).await?).await?;
    }
    Ok(())
}

async fn observe<B>(
    front: &Front,
    counters: &metrics::Call,
    requests: &mut Objects<B>,
    lines: &mpsc::Sender<Bytes>,
) -> Result<(), Status>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let request: LeaderRequest = requests.next().await?.unwrap_or_default();
    counters.received(0);
    access::admit(front, Method::Observe, &request).await?;
    let mut observer = election::Observer::new(front, &request.name);
    loop {
        send(counters, lines, &observer.next().await?).await?;
    }
}

async fn save<B>(
    front: &Front,
    counters: &metrics::Call,
    requests: &mut Objects<B>,
    lines: &mpsc::Sender<Bytes>,
) -> Result<(), Status>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let _: rpc::SnapshotRequest = requests.next().await?.unwrap_or_default();
    counters.received(0);
    let mut blobs = Blobs::begin(front).await?;
    while let Some(response) = blobs.next().await? {
        send(counters, lines, &response).await?;
    }
    Ok(())
}

/// Sends `{"result":{…}}`.
async fn send<T: Message + Serialize>(
    counters: &metrics::Call,
    lines: &mpsc::Sender<Bytes>,
    message: &T,
) -> Result<(), Status> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        result: &'a T,
    }
    let mut line = serde_json::to_vec(&Line { result: message })
        .map_err(|error| Status::internal(format!("the answer has no JSON form: {error}")))?;
    line.push(b'\n');
    counters.sent(1, line.len());
    lines.send(line.into()).await.map_err(|_| Status::cancelled("context canceled"))
}

/// JSON objects, one after the other, out of a body. State is kept between calls, so a `next` that is dropped loses nothing.
struct Objects<B> {
    body: B,
    bytes_max: usize,
    pending: BytesMut,
    ended: bool,
}

impl<B> Objects<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    fn new(body: B, bytes_max: usize) -> Objects<B> {
        Objects { body, bytes_max, pending: BytesMut::new(), ended: false }
    }

    /// The next object; none at the end of the body.
    async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Status> {
        loop {
            let mut objects = serde_json::Deserializer::from_slice(&self.pending).into_iter::<T>();
            match objects.next() {
                Some(Ok(object)) => {
                    let read = objects.byte_offset();
                    drop(self.pending.split_to(read));
                    return Ok(Some(object));
                }
                Some(Err(error)) if !error.is_eof() || self.ended => return Err(malformed(&error)),
                None if self.ended => return Ok(None),
                Some(Err(_)) | None => {}
            }
            if self.pending.len() > self.bytes_max {
                let text = format!("the request has more than {} bytes", self.bytes_max);
                return Err(Status::resource_exhausted(text));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.pending.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(Status::cancelled(format!("the request broke off: {error}"))),
                None => self.ended = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn objects_may_straddle_pieces_and_share_them() {
        let (sender, pieces) = mpsc::channel(8);
        let mut objects = Objects::new(Body::Pieces(pieces), 1000);
        for piece in ["{\"ID\":\"1\"}{\"I", "D\":2}\n", " ", "{\"ID\":", "3}"] {
            sender.send(Bytes::from_static(piece.as_bytes())).await.unwrap();
        }
        drop(sender);
        let mut ids = Vec::new();
        while let Some(request) = objects.next::<rpc::LeaseKeepAliveRequest>().await.unwrap() {
            ids.push(request.id);
        }
        assert_eq!(ids, [1, 2, 3]);
    }

    #[tokio::test]
    async fn half_an_object_at_the_end_is_an_error() {
        let body = Body::from(Bytes::from_static(b"{\"ID\":\"1\"} {\"ID\""));
        let mut objects = Objects::new(body, 1000);
        assert_eq!(objects.next::<rpc::LeaseKeepAliveRequest>().await.unwrap().unwrap().id, 1);
        assert_eq!(objects.next::<rpc::LeaseKeepAliveRequest>().await.unwrap_err().code(), Code::InvalidArgument);
    }
}
