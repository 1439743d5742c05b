//! Listening: takes connections, finds out what they speak, and ends them all when the server stops.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::front::Front;
use crate::{http1, http2};

/// What is served on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Everything.
    Clients,
    /// Metrics and health only.
    Metrics,
}

/// What an HTTP/2 client says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A client that says nothing is not waited for.
const FIRST_BYTES: Duration = Duration::from_secs(60);
/// Pause after the system refused a connection (out of file descriptors, mostly).
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until the server stops; then returns what is still open, to be waited for.
pub(crate) async fn accept(
    listener: TcpListener,
    front: Arc<Front>,
    side: Side,
    open: Arc<AtomicUsize>,
    connections_max: usize,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = front.stopped() => return tasks,
        };
        while tasks.try_join_next().is_some() {} // forgets those that have ended
        match accepted {
            Ok((io, client)) => {
                if open.load(Relaxed) >= connections_max {
                    tracing::warn!(%client, connections_max, "too many connections: closed a new one at once");
                    continue;
                }
                let guard = Open::count(Arc::clone(&open));
                let front = Arc::clone(&front);
                tasks.spawn(async move {
                    serve(io, front, side).await;
                    drop(guard);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

/// Counts a connection as long as it lives.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn count(open: Arc<AtomicUsize>) -> Open {
        open.fetch_add(1, Relaxed);
        Open(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

async fn serve(io: TcpStream, front: Arc<Front>, side: Side) {
    // Small answers must not wait for the client's acknowledgement of the last one.
    if io.set_nodelay(true).is_err() {
        return;
    }
    let spoken = tokio::select! {
        spoken = tokio::time::timeout(FIRST_BYTES, speaks_http2(&io)) => spoken,
        _ = front.stopped() => return,
    };
    match spoken {
        Ok(Ok(true)) if side == Side::Clients => http2::serve(io, front).await,
        Ok(Ok(false)) => http1::serve(io, front, side).await,
        Ok(Ok(true) | Err(_)) | Err(_) => {}
    }
}

/// Looks at the first bytes and leaves them where they are.
async fn speaks_http2(io: &TcpStream) -> io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    loop {
        let seen = io.peek(&mut first).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[..seen] != PREFACE[..seen] {
            return Ok(false);
        }
        if seen == PREFACE.len() {
            return Ok(true);
        }
        // Part of the preface: rare, so a short sleep instead of a wake-up for bytes that are known already.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
