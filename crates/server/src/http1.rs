//! An HTTP/1.1 connection: gateway and endpoints.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::accept::Side;
use crate::front::Front;
use crate::web;

/// A client that does not complete its headers is not waited for. Also how long a connection may be idle.
const HEADERS: Duration = Duration::from_secs(60);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Serves the connection until it ends, or until the server stops and the request in flight is answered.
pub(crate) async fn serve(io: TcpStream, front: Arc<Front>, side: Side) {
    let service = service_fn(|request| {
        let front = Arc::clone(&front);
        async move { Ok::<_, Infallible>(web::respond(&front, side, request).await) }
    });
    let mut connection = std::pin::pin!(
        Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(io), service)
    );
    // How a connection ended is the client's affair.
    tokio::select! {
        ended = connection.as_mut() => return drop(ended),
        _ = front.stopped() => connection.as_mut().graceful_shutdown(),
    }
    drop(connection.await);
}
