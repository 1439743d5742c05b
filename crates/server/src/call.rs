//! One request on an HTTP/2 connection, from its headers to its last byte.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, header};
use tonic::{Code, Status};

use crate::access;
use crate::dispatch::{self, Answer, Binary};
use crate::front::{Front, Terms};
use crate::grpc::{self, AnswerStream, MessageReader, Metadata};
use crate::methods::{Kind, Method, MethodInfo};
use crate::services::long_range::LongRange;
use crate::services::{election, health, lease_keep_alive, range_stream, snapshot, watch};
use crate::{metrics, web};

/// Serves the request. Unary calls stay small; what is rare or lives long is boxed.
pub(crate) async fn serve(front: &Arc<Front>, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let info = match route(&request) {
        Route::Call(info) => info,
        Route::Unknown(status) => return grpc::refuse(respond, &status),
        Route::Web => return Box::pin(web::over_http2(front, request, respond)).await,
    };
    let counters = front.metrics.call(info.method);
    counters.start();
    let admitted = Metadata::read(request.headers()).and_then(|metadata| front.admit(info, &metadata));
    let terms = match admitted {
        Ok(terms) => terms,
        Err(status) => {
            counters.finish(status.code(), None);
            return grpc::refuse(respond, &status);
        }
    };
    let called;
    // A stream may outlive the moment when authentication is switched on.
    let front = if front.store.auth_enabled() || info.kind != Kind::Unary {
        called = front.called(access::caller(&request));
        &called
    } else {
        front
    };
    let requests = MessageReader::new(request.into_body(), front.settings.message_bytes_max());
    match info.kind {
        Kind::Unary if info.method.waits() => Box::pin(waiting(front, info.method, &terms, requests, respond)).await,
        Kind::Unary => unary(front, info.method, &terms, requests, respond).await,
        Kind::ServerStream | Kind::BidiStream => {
            Box::pin(streaming(front, info.method, &terms, requests, respond)).await;
        }
    }
}

/// Where a request goes.
enum Route {
    Call(&'static MethodInfo),
    Unknown(Status),
    Web,
}

fn route(request: &Request<RecvStream>) -> Route {
    if !is_grpc(request.headers()) {
        return Route::Web;
    }
    // With a question mark it is another path; nothing is decoded, and nothing made canonical.
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    Method::at_path(path).map_or_else(|| Route::Unknown(unknown(path)), Route::Call)
}

async fn unary(
    front: &Arc<Front>,
    method: Method,
    terms: &Terms,
    mut requests: MessageReader,
    respond: SendResponse<Bytes>,
) {
    let counters = front.metrics.call(method);
    let began = Instant::now();
    let work = async {
        let message = requests.only().await?;
        counters.received(message.len());
        dispatch::unary::<Binary>(front, method, message).await
    };
    let result = match within(terms.timeout, work).await {
        Ok(Answer::Whole(message)) => Ok(message),
        Ok(Answer::Long(answer)) => return Box::pin(long(front, method, began, terms, *answer, respond)).await,
        Err(status) => Err(status),
    };
    if let Ok(message) = &result {
        counters.sent(1, message.len());
    }
    let code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
    front.done(method, code, began);
    counters.finish(code, front.metrics.extensive().then_some(began));
    grpc::answer_unary(respond, result);
}

/// Sends an answer as it is read, on a task of its own: the connection's other calls go on meanwhile.
async fn long(
    front: &Arc<Front>,
    method: Method,
    began: Instant,
    terms: &Terms,
    answer: LongRange,
    respond: SendResponse<Bytes>,
) {
    let counters = front.metrics.call(method);
    let timed = front.metrics.extensive().then_some(began);
    let Ok(mut answers) = AnswerStream::open(respond) else {
        return counters.finish(Code::Cancelled, timed);
    };
    let (asked, timeout) = (Arc::clone(front), terms.timeout);
    let sending = tokio::spawn(async move {
        let work = async {
            match answer.send(&asked, &mut answers).await {
                Ok(bytes) => Ok(bytes),
                Err(StreamEnd::Refused(status)) => Err(status),
                Err(StreamEnd::Gone) => Err(Status::cancelled("context canceled")),
            }
        };
        let result = within(timeout, work).await;
        answers.finish(result.as_ref().map(|_| ()).map_err(Status::clone));
        result
    });
    let result = sending.await.unwrap_or_else(|_| Err(Status::internal("the answer could not be completed")));
    if let Ok(bytes) = &result {
        counters.sent(1, *bytes);
    }
    let code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
    front.done(method, code, began);
    counters.finish(code, timed);
}

/// A unary call that is given up when its client goes, or the server stops.
async fn waiting(
    front: &Arc<Front>,
    method: Method,
    terms: &Terms,
    mut requests: MessageReader,
    mut respond: SendResponse<Bytes>,
) {
    let counters = front.metrics.call(method);
    let work = async {
        let message = requests.only().await?;
        counters.received(message.len());
        match dispatch::unary::<Binary>(front, method, message).await? {
            Answer::Whole(message) => Ok(message),
            Answer::Long(_) => unreachable!("{method:?} is no range"),
        }
    };
    let result = tokio::select! {
        result = within(terms.timeout, work) => result,
        status = front.stopped() => Err(status),
        _ = poll_fn(|context| respond.poll_reset(context)) => Err(Status::cancelled("context canceled")),
    };
    if let Ok(message) = &result {
        counters.sent(1, message.len());
    }
    counters.finish(result.as_ref().map_or_else(Status::code, |_| Code::Ok), None);
    grpc::answer_unary(respond, result);
}

/// Gives up when the client does.
async fn within<T>(limit: Option<Duration>, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let work = pin!(work);
    match limit {
        None => work.await,
        Some(limit) => tokio::time::timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("context deadline exceeded"))),
    }
}

async fn streaming(
    front: &Arc<Front>,
    method: Method,
    terms: &Terms,
    mut requests: MessageReader,
    respond: SendResponse<Bytes>,
) {
    let counters = front.metrics.call(method);
    let began = front.metrics.extensive().then(Instant::now);
    let Ok(mut answers) = AnswerStream::open(respond) else {
        return counters.finish(Code::Cancelled, began);
    };
    let work = async {
        tokio::select! {
            biased;
            status = front.leaderless(), if terms.needs_leader => Err(status),
            status = front.stopped() => Err(status),
            result = stream(front, method, counters, &mut requests, &mut answers) => result,
        }
    };
    let result = within(terms.timeout, work).await;
    counters.finish(result.as_ref().map_or_else(Status::code, |()| Code::Ok), began);
    answers.finish(result);
}

async fn stream(
    front: &Arc<Front>,
    method: Method,
    counters: &metrics::Call,
    requests: &mut MessageReader,
    answers: &mut AnswerStream,
) -> Result<(), Status> {
    access::enter(front, method).await?;
    let outcome = match method {
        Method::Watch => watch::serve(front, counters, requests, answers).await,
        Method::LeaseKeepAlive => lease_keep_alive::serve(front, counters, requests, answers).await,
        Method::RangeStream => range_stream::serve(front, counters, requests, answers).await,
        Method::HealthWatch => health::serve(counters, requests, answers).await,
        Method::Snapshot => snapshot::serve(front, counters, requests, answers).await,
        Method::Observe => election::observe(front, counters, requests, answers).await,
        _ => unreachable!("{method:?} is unary"),
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(StreamEnd::Refused(status)) => Err(status),
        Err(StreamEnd::Gone) => Err(Status::cancelled("context canceled")),
    }
}

/// Why a stream ends before its time.
#[derive(Debug)]
pub(crate) enum StreamEnd {
    /// With this status.
    Refused(Status),
    /// The client has gone: there is nobody to tell.
    Gone,
}

impl From<Status> for StreamEnd {
    fn from(status: Status) -> StreamEnd {
        StreamEnd::Refused(status)
    }
}

impl From<grpc::Gone> for StreamEnd {
    fn from(_: grpc::Gone) -> StreamEnd {
        StreamEnd::Gone
    }
}

/// Whether a request is a gRPC call.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The words that clients look for when they probe for a feature.
fn unknown(path: &str) -> Status {
    match path.strip_prefix('/').and_then(|names| names.rsplit_once('/')) {
        None => Status::unimplemented(format!("malformed method name: {path:?}")),
        Some((service, method)) => {
            if crate::methods::METHODS.iter().any(|info| info.names().0 == service) {
                Status::unimplemented(format!("unknown method {method} for service {service}"))
            } else {
                Status::unimplemented(format!("unknown service {service}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_paths_are_named() {
        assert_eq!(unknown("/etcdserverpb.KV/Fly").message(), "unknown method Fly for service etcdserverpb.KV");
        assert_eq!(unknown("/a.B/C").message(), "unknown service a.B");
        assert_eq!(unknown("nothing").message(), "malformed method name: \"nothing\"");
    }
}
