//! Listening: takes connections, finds out what they speak, and ends them all when the server stops.

use std::sync::Arc;
use std::time::Duration;

use kontiki_tls::{Acceptor, HandshakeError};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::arrival::{Arrival, CommonName};
use crate::doors::{Full, Open, count};
use crate::front::Front;
use crate::listener::Listening;
use crate::socket::{Raw, Socket};
use crate::{http1, http2};

/// What is served on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Everything.
    Clients,
    /// gRPC only, because HTTP has listeners of its own.
    Grpc,
    /// Everything but gRPC.
    Http,
    /// Metrics and health only.
    Metrics,
}

/// A listener and what it is for.
pub(crate) struct Door {
    pub(crate) listening: Listening,
    pub(crate) tls: Option<Arc<Acceptor>>,
    pub(crate) side: Side,
    /// Shared by all listeners of a kind.
    pub(crate) open: Arc<Open>,
}

/// Pause after the system refused a connection (out of file descriptors, mostly).
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// What one hears who speaks HTTP/1 on a port that wants TLS.
const TLS_WANTED: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Takes connections until the server stops; then returns what is still open, to be waited for.
pub(crate) async fn accept(door: Door, front: Arc<Front>) -> JoinSet<()> {
    let Door { listening, tls, side, open } = door;
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listening.accept() => accepted,
            _ = front.stopped() => return tasks,
        };
        while tasks.try_join_next().is_some() {} // forgets those that have ended
        match accepted {
            Ok((raw, client)) => {
                let place = match open.enter(client.map(|client| client.ip()), &front.settings.limits) {
                    Ok(place) => place,
                    Err(full) => {
                        turn_away(&front, client, full);
                        continue;
                    }
                };
                count(&front.doors.accepted);
                let (front, tls) = (Arc::clone(&front), tls.clone());
                tasks.spawn(async move {
                    serve(raw, tls, front, side).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

fn turn_away(front: &Front, client: Option<std::net::SocketAddr>, full: Full) {
    let limits = &front.settings.limits;
    let (counter, most) = match full {
        Full::Total => (&front.doors.over_total, limits.connections_max),
        Full::Address => (&front.doors.over_address, limits.connections_per_address_max),
    };
    count(counter);
    tracing::warn!(?client, most, bound = ?full, "too many connections: closed a new one at once");
}

/// A connection that can be served.
struct Entered {
    socket: Socket,
    common_name: Option<CommonName>,
    http2: bool,
    arrival: Arrival,
}

async fn serve(raw: Raw, tls: Option<Arc<Acceptor>>, front: Arc<Front>, side: Side) {
    let entered = tokio::select! {
        entered = enter(raw, tls, &front, side) => entered,
        _ = front.stopped() => return,
    };
    let Some(Entered { socket, common_name, http2, arrival }) = entered else { return };
    match (http2, side) {
        (true, Side::Clients | Side::Grpc | Side::Http) => http2::serve(socket, front, arrival, common_name).await,
        (false, Side::Clients | Side::Http | Side::Metrics) => http1::serve(socket, front, arrival, common_name).await,
        (true, Side::Metrics) | (false, Side::Grpc) => {}
    }
}

/// From a fresh connection to its first words, all within a time.
async fn enter(raw: Raw, tls: Option<Arc<Acceptor>>, front: &Front, side: Side) -> Option<Entered> {
    let limits = &front.settings.limits;
    let deadline = Instant::now() + limits.first_words;
    let (mut socket, common_name, secure) = match tls {
        None => (Socket::from(raw), None, false),
        Some(acceptor) => {
            let (socket, common_name) = handshake(raw, &acceptor, front).await?;
            (socket, common_name, true)
        }
    };
    let is_path = socket.is_path();
    match timeout_at(deadline, socket.speaks_http2()).await {
        Ok(Ok(http2)) => {
            Some(Entered { socket, common_name, http2, arrival: Arrival { side, secure: secure || is_path } })
        }
        Ok(Err(_)) => None,
        Err(_) => {
            count(&front.doors.silent);
            None
        }
    }
}

async fn handshake(mut raw: Raw, acceptor: &Acceptor, front: &Front) -> Option<(Socket, Option<CommonName>)> {
    let limit = front.settings.limits.tls_handshake;
    if raw.begins_in_plain(limit).await {
        count(&front.doors.plain_on_tls);
        tracing::debug!("a client speaks plain HTTP on a port that wants TLS");
        drop(timeout(limit, raw.write_all(TLS_WANTED)).await);
        return None;
    }
    match acceptor.accept(raw, limit).await {
        Ok(accepted) => {
            let common_name = accepted.common_name.map(|name| CommonName(name.into()));
            Some((Socket::from(accepted.stream), common_name))
        }
        Err(error) => {
            count(match error {
                HandshakeError::Timeout(_) => &front.doors.tls_late,
                HandshakeError::NotTls => &front.doors.plain_on_tls,
                _ => &front.doors.tls_failed,
            });
            tracing::info!(%error, "a client is not let in");
            None
        }
    }
}
