//! An HTTP/2 connection: requests in, each a future of the connection's own task.
//!
//! Calls of one connection run on one task, without a spawn each: what a batch of commits answers goes out with one write,
//! and a wake-up of the task serves all calls that became ready meanwhile. A range that reads much moves to a task of its
//! own (see `dispatch`).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, RecvStream};
use http::Request;
use tokio::time::{Instant, Sleep};
use tonic::Status;

use crate::accept::Side;
use crate::arrival::{Arrival, CommonName};
use crate::doors::count;
use crate::front::Front;
use crate::pings::PingGuard;
use crate::socket::Socket;
use crate::{call, grpc};

/// How much a client may send ahead on one stream,
const STREAM_WINDOW: u32 = 1 << 20;
/// and on one connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Headers of a request, all together.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Streams that a client opened and reset at once: more end the connection.
const RESET_STREAMS_MAX: usize = 64;
/// Streams that we reset because of what came on them: more end the connection.
const FAULTY_STREAMS_MAX: usize = 256;
/// Calls of streams that were reset go on until they are done. With so many of them beyond the streams that may be open, no
/// further one is taken; what then waits is bounded by the library.
const LEFT_CALLS_MAX: usize = 1024;
/// A client that does not complete the handshake is not waited for.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves the connection until it ends, or until the server stops and its calls are done.
pub(crate) async fn serve(mut io: Socket, front: Arc<Front>, arrival: Arrival, common_name: Option<CommonName>) {
    let calls = Arc::new(AtomicUsize::new(0));
    io.guard(PingGuard::new(front.settings.keepalive_min, Arc::clone(&calls)));
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(front.settings.streams_max)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(Some(FAULTY_STREAMS_MAX));
    let handshake = tokio::time::timeout(HANDSHAKE, builder.handshake::<_, Bytes>(io)).await;
    let Ok(Ok(connection)) = handshake else { return };
    drive(connection, &front, &calls, &Entrance { arrival, common_name }).await;
}

/// What all requests of a connection have in common.
struct Entrance {
    arrival: Arrival,
    common_name: Option<CommonName>,
}

impl Entrance {
    /// Notes on the request what is known of the connection; where it came in matters to what is no call.
    fn note(&self, request: &mut Request<RecvStream>) {
        if !call::is_grpc(request.headers()) {
            request.extensions_mut().insert(self.arrival);
        }
        if let Some(name) = &self.common_name {
            request.extensions_mut().insert(name.clone());
        }
    }
}

async fn serve_one(
    front: &Arc<Front>,
    entrance: &Entrance,
    mut request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    entrance.note(&mut request);
    if entrance.arrival.side == Side::Http && call::is_grpc(request.headers()) {
        return grpc::refuse(respond, &Status::unimplemented("this port serves no gRPC (--listen-client-http-urls)"));
    }
    call::serve(front, request, respond).await;
}

async fn drive(mut connection: Connection<Socket, Bytes>, front: &Arc<Front>, open: &AtomicUsize, entrance: &Entrance) {
    let settings = &front.settings;
    let mut keepalive = connection
        .ping_pong()
        .map(|pings| Keepalive::new(pings, settings.keepalive_interval, settings.keepalive_timeout));
    let mut stop = std::pin::pin!(front.stopped());
    let mut stopping = false;
    let mut calls = FuturesUnordered::new();
    let calls_max = settings.streams_max as usize + LEFT_CALLS_MAX;
    poll_fn(|context| {
        loop {
            // First all requests that have arrived, so that what they are answered goes out together.
            while calls.len() < calls_max {
                match connection.poll_accept(context) {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        calls.push(serve_one(front, entrance, request, respond));
                        open.store(calls.len(), Relaxed);
                    }
                    Poll::Ready(Some(Err(error))) => {
                        note_end(front, &error);
                        return Poll::Ready(());
                    }
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            if calls.len() >= calls_max && connection.poll_closed(context).is_ready() {
                return Poll::Ready(());
            }
            if !stopping && stop.as_mut().poll(context).is_ready() {
                stopping = true;
                connection.graceful_shutdown();
                continue;
            }
            if keepalive.as_mut().is_some_and(|keepalive| keepalive.poll_dead(context).is_ready()) {
                return Poll::Ready(());
            }
            let mut answered = false;
            while let Poll::Ready(Some(())) = calls.poll_next_unpin(context) {
                answered = true;
            }
            open.store(calls.len(), Relaxed);
            if !answered {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// The guard of pings ends a connection with this error, and nothing else does.
fn note_end(front: &Front, error: &h2::Error) {
    if error.get_io().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionAborted) {
        count(&front.doors.pings);
        tracing::info!("a client that pinged too often was sent away");
    }
}

/// Asks a silent client from time to time whether it is still there.
struct Keepalive {
    pings: PingPong,
    interval: Duration,
    timeout: Duration,
    /// A ping is out.
    asked: bool,
    next: Pin<Box<Sleep>>,
}

impl Keepalive {
    fn new(pings: PingPong, interval: Duration, timeout: Duration) -> Keepalive {
        Keepalive { pings, interval, timeout, asked: false, next: Box::pin(tokio::time::sleep(interval)) }
    }

    /// Ready once the client is taken for dead.
    fn poll_dead(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.asked
            && let Poll::Ready(answer) = self.pings.poll_pong(context)
        {
            if answer.is_err() {
                return Poll::Ready(());
            }
            self.asked = false;
            self.next.as_mut().reset(Instant::now() + self.interval);
        }
        while self.next.as_mut().poll(context).is_ready() {
            if self.asked || self.pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            }
            self.asked = true;
            self.next.as_mut().reset(Instant::now() + self.timeout);
            if self.pings.poll_pong(context).is_ready() {
                self.asked = false;
            }
        }
        Poll::Pending
    }
}
