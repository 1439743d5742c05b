//! An HTTP/2 connection: requests in, each a future of the connection's own task.
//!
//! Calls of one connection run on one task, without a spawn each: what a batch of commits answers goes out with one write,
//! and a wake-up of the task serves all calls that became ready meanwhile. A range that reads much moves to a task of its
//! own (see `dispatch`).

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::server::{Builder, Connection};
use h2::{Ping, PingPong};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::call;
use crate::front::Front;

/// How much a client may send ahead on one stream,
const STREAM_WINDOW: u32 = 1 << 20;
/// and on one connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Headers of a request, all together.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Streams that a client opened and reset at once: more end the connection.
const RESET_STREAMS_MAX: usize = 64;
/// A client that does not complete the handshake is not waited for.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves the connection until it ends, or until the server stops and its calls are done.
pub(crate) async fn serve(io: TcpStream, front: Arc<Front>) {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(front.settings.streams_max)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX);
    let handshake = tokio::time::timeout(HANDSHAKE, builder.handshake::<_, Bytes>(io)).await;
    let Ok(Ok(connection)) = handshake else { return };
    drive(connection, front).await;
}

async fn drive(mut connection: Connection<TcpStream, Bytes>, front: Arc<Front>) {
    let settings = &front.settings;
    let mut keepalive = connection
        .ping_pong()
        .map(|pings| Keepalive::new(pings, settings.keepalive_interval, settings.keepalive_timeout));
    let mut stop = std::pin::pin!(front.stopped());
    let mut stopping = false;
    let mut calls = FuturesUnordered::new();
    poll_fn(|context| {
        loop {
            // First all requests that have arrived, so that what they are answered goes out together.
            loop {
                match connection.poll_accept(context) {
                    Poll::Ready(Some(Ok((request, respond)))) => calls.push(call::serve(&front, request, respond)),
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
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
            if !answered {
                return Poll::Pending;
            }
        }
    })
    .await;
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
