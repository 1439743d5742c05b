//! `Lease.LeaseKeepAlive`: one answer for each request, in order. A client may send many requests before it is answered: they
//! reach the leader together.

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use kontiki_api::rpc;
use tonic::Status;

use crate::access;
use crate::call::StreamEnd;
use crate::errors;
use crate::front::Front;
use crate::grpc::{self, AnswerStream, MessageReader};
use crate::methods::Method;
use crate::metrics;

/// Requests of a stream that may wait for their answers.
const WAITING_MAX: usize = 4_096;

/// Answers until the client has no more requests.
pub(crate) async fn serve(
    front: &Front,
    counters: &metrics::Call,
    requests: &mut MessageReader,
    answers: &mut AnswerStream,
) -> Result<(), StreamEnd> {
    let mut waiting = FuturesOrdered::new();
    let mut open = true;
    while open || !waiting.is_empty() {
        tokio::select! {
            biased;
            Some(response) = waiting.next(), if !waiting.is_empty() => {
                let message = grpc::encode(&response?);
                counters.sent(1, message.len());
                answers.ready().await?;
                answers.send(message)?;
            }
            message = requests.next(), if open && waiting.len() < WAITING_MAX => match message? {
                Some(message) => {
                    counters.received(message.len());
                    waiting.push_back(keep_alive(front, grpc::decode(message)?));
                }
                None => open = false,
            },
        }
    }
    Ok(())
}

/// Renews a lease. A time to live of zero says that there is none to renew; that is no error.
pub(crate) async fn keep_alive(
    front: &Front,
    request: rpc::LeaseKeepAliveRequest,
) -> Result<rpc::LeaseKeepAliveResponse, Status> {
    access::admit(front, Method::LeaseKeepAlive, &request).await?;
    let header = Some(front.current_header()); // the revision from before, as etcd shows it
    let ttl = front.store.lease_keep_alive(request.id).await.map_err(errors::store)?;
    Ok(rpc::LeaseKeepAliveResponse { header, id: request.id, ttl })
}
