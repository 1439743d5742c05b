//! An HTTP/1.1 connection: gateway and endpoints.

use std::convert::Infallible;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::arrival::{Arrival, CommonName};
use crate::front::Front;
use crate::socket::Socket;
use crate::web;

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Serves the connection until it ends, or until the server stops and the request in flight is answered.
pub(crate) async fn serve(io: Socket, front: Arc<Front>, arrival: Arrival, common_name: Option<CommonName>) {
    let service = service_fn(|mut request: Request<Incoming>| {
        let front = Arc::clone(&front);
        request.extensions_mut().insert(arrival);
        if let Some(name) = &common_name {
            request.extensions_mut().insert(name.clone());
        }
        async move { Ok::<_, Infallible>(web::respond(&front, arrival.side, request).await) }
    });
    let mut connection = std::pin::pin!(
        Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(front.settings.limits.head)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades() // WebSockets
    );
    // How a connection ended is the client's affair.
    tokio::select! {
        ended = connection.as_mut() => return drop(ended),
        _ = front.stopped() => connection.as_mut().graceful_shutdown(),
    }
    drop(connection.await);
}
