//! `Watch.Watch`: one stream, many watches.

use bytes::BytesMut;
use kontiki_store::WatchResponse;

use crate::call::StreamEnd;
use crate::front::Front;
use crate::grpc::{self, AnswerStream, MessageReader};
use crate::metrics;
use crate::services::watch_session::WatchSession;
use crate::services::watch_wire::parts;

/// Ready answers are gathered into one frame up to this size.
const FRAME_BYTES: usize = 64 * 1024;

/// Serves the stream until the client resets it. A client that only ends its requests goes on watching.
pub(crate) async fn serve(
    front: &Front,
    counters: &metrics::Call,
    requests: &mut MessageReader,
    answers: &mut AnswerStream,
) -> Result<(), StreamEnd> {
    let mut session = WatchSession::new(front);
    let mut buffer = BytesMut::new();
    let mut more_requests = true;
    loop {
        tokio::select! {
            biased;
            request = requests.next(), if more_requests => match request? {
                Some(message) => {
                    counters.received(message.len());
                    session.request(grpc::decode(message)?);
                }
                None => more_requests = false,
            },
            response = session.next() => {
                // A client that reads slowly is waited for here; what happens meanwhile gathers in the store, and is joined.
                answers.ready().await?;
                let mut response = Some(response);
                while let Some(ready) = response {
                    write(front, &session, &ready, counters, &mut buffer);
                    response = if buffer.len() < FRAME_BYTES { session.try_next() } else { None };
                }
                answers.send(buffer.split().freeze())?;
            }
            gone = answers.gone() => return Err(gone.into()),
        }
    }
}

fn write(
    front: &Front,
    session: &WatchSession,
    response: &WatchResponse,
    counters: &metrics::Call,
    buffer: &mut BytesMut,
) {
    let limit = session.fragments(response.watch_id).then_some(front.settings.request_bytes_max);
    for part in parts(|revision| front.header(revision), response, limit) {
        let before = buffer.len();
        part.write(buffer);
        counters.sent(1, buffer.len() - before);
    }
}
