//! Carries an answer of this side over an HTTP/2 stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};

use crate::accept::Side;
use crate::arrival::Arrival;
use crate::front::Front;
use crate::grpc::AnswerStream;

/// Serves a request that is not gRPC.
pub(crate) async fn over_http2(front: &Arc<Front>, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let side = request.extensions().get().map_or(Side::Clients, |arrival: &Arrival| arrival.side);
    let response = super::respond(front, side, request.map(Received)).await;
    let (head, mut body) = response.into_parts();
    let Ok(stream) = respond.send_response(http::Response::from_parts(head, ()), body.is_end_stream()) else { return };
    if body.is_end_stream() {
        return;
    }
    let mut answer = AnswerStream::from(stream);
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        if answer.ready().await.is_err() || answer.send(data).is_err() {
            return;
        }
    }
    answer.end();
}

/// The body of a request.
struct Received(RecvStream);

impl HttpBody for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        match ready!(self.0.poll_data(context)) {
            None => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            Some(Ok(data)) => {
                self.0.flow_control().release_capacity(data.len())?;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }
}
