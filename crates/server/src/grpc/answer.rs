//! Answers: headers, messages, and the status in the trailers.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response, header};
use tonic::{Code, Status};

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: &str = "grpc-status";

/// Sends the answer to a unary call. A client that has gone away is no error: there is nobody to tell.
pub(crate) fn answer_unary(mut respond: SendResponse<Bytes>, result: Result<Bytes, Status>) {
    match result {
        Ok(message) => {
            let Ok(mut stream) = respond.send_response(head(), false) else { return };
            if stream.send_data(message, false).is_ok() {
                drop(stream.send_trailers(success()));
            }
        }
        Err(status) => refuse(respond, &status),
    }
}

/// Sends a status and nothing else.
pub(crate) fn refuse(mut respond: SendResponse<Bytes>, status: &Status) {
    let mut response = head();
    response.headers_mut().extend(trailers(status));
    drop(respond.send_response(response, true));
}

/// The answering side of a streaming call.
pub(crate) struct AnswerStream {
    stream: SendStream<Bytes>,
}

/// The client has reset the stream or its connection is gone.
#[derive(Debug)]
pub(crate) struct Gone;

impl AnswerStream {
    /// Sends the headers.
    pub(crate) fn open(mut respond: SendResponse<Bytes>) -> Result<AnswerStream, Gone> {
        let stream = respond.send_response(head(), false).map_err(|_| Gone)?;
        Ok(AnswerStream { stream })
    }

    /// Waits until the client takes more. What `send` was given before this returned is all that can pile up.
    pub(crate) async fn ready(&mut self) -> Result<(), Gone> {
        self.stream.reserve_capacity(1);
        poll_fn(|context| {
            while self.stream.capacity() == 0 {
                match self.stream.poll_capacity(context) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(Gone)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Sends framed messages.
    pub(crate) fn send(&mut self, messages: Bytes) -> Result<(), Gone> {
        self.stream.send_data(messages, false).map_err(|_| Gone)
    }

    /// Returns when the client has reset the stream.
    pub(crate) async fn gone(&mut self) -> Gone {
        drop(poll_fn(|context| self.stream.poll_reset(context)).await);
        Gone
    }

    /// Ends a body that has no trailers.
    pub(crate) fn end(mut self) {
        drop(self.stream.send_data(Bytes::new(), true));
    }

    /// Ends the call.
    pub(crate) fn finish(mut self, result: Result<(), Status>) {
        let trailers = match result {
            Ok(()) => success(),
            Err(status) => trailers(&status),
        };
        drop(self.stream.send_trailers(trailers));
    }
}

impl From<SendStream<Bytes>> for AnswerStream {
    fn from(stream: SendStream<Bytes>) -> AnswerStream {
        AnswerStream { stream }
    }
}

fn head() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response
}

fn success() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    trailers
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    if status.add_header(&mut trailers).is_err() {
        // Only metadata could be unfit for a header, and we never attach any.
        trailers.insert(STATUS, HeaderValue::from(Code::Internal as i32));
    }
    trailers
}
