//! `Watch.Watch`: one stream, many watches.

use kontiki_store::WatchResponse;

use crate::call::StreamEnd;
use crate::front::Front;
use crate::grpc::{self, AnswerStream, MessageReader};
use crate::metrics;
use crate::services::watch_session::WatchSession;
use crate::services::watch_wire::{Assembly, parts};

/// Serves the stream until the client resets it. A client that only ends its requests goes on watching.
pub(crate) async fn serve(
    front: &Front,
    counters: &metrics::Call,
    requests: &mut MessageReader,
    answers: &mut AnswerStream,
) -> Result<(), StreamEnd> {
    let mut session = WatchSession::new(front);
    let mut out = Assembly::default();
    let mut more_requests = true;
    loop {
        tokio::select! {
            biased;
            request = requests.next(), if more_requests => match request? {
                Some(message) => {
                    counters.received(message.len());
                    session.request(grpc::decode(message)?).await;
                }
                None => more_requests = false,
            },
            response = session.next() => {
                // A client that reads slowly is waited for here; what happens meanwhile gathers in the store, and is joined.
                answers.ready().await?;
                let mut response = Some(response);
                while let Some(ready) = response {
                    write(front, &session, &ready, counters, &mut out);
                    response = if out.is_full() { None } else { session.try_next() };
                }
                let full = out.is_full();
                for bytes in out.take() {
                    answers.send(bytes)?;
                }
                if full {
                    tokio::task::yield_now().await; // other calls of the connection have their turn
                }
            }
            gone = answers.gone() => return Err(gone.into()),
        }
    }
}

fn write(
    front: &Front,
    session: &WatchSession<'_>,
    response: &WatchResponse,
    counters: &metrics::Call,
    out: &mut Assembly,
) {
    let limit = session.fragments(response.watch_id).then_some(front.settings.request_bytes_max);
    for part in parts(|revision| front.header(revision), response, limit) {
        counters.sent(1, part.write(out));
    }
}
