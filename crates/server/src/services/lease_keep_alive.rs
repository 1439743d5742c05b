//! `Lease.LeaseKeepAlive`: one answer for each request, in order.

use kontiki_api::rpc;
use tonic::Status;

use crate::call::StreamEnd;
use crate::errors;
use crate::front::Front;
use crate::grpc::{self, AnswerStream, MessageReader};
use crate::metrics;

/// Answers until the client has no more requests.
pub(crate) async fn serve(
    front: &Front,
    counters: &metrics::Call,
    requests: &mut MessageReader,
    answers: &mut AnswerStream,
) -> Result<(), StreamEnd> {
    while let Some(message) = requests.next().await? {
        counters.received(message.len());
        let response = keep_alive(front, grpc::decode(message)?).await?;
        let message = grpc::encode(&response);
        counters.sent(1, message.len());
        answers.ready().await?;
        answers.send(message)?;
    }
    Ok(())
}

/// Renews a lease. A time to live of zero says that there is none to renew; that is no error.
pub(crate) async fn keep_alive(
    front: &Front,
    request: rpc::LeaseKeepAliveRequest,
) -> Result<rpc::LeaseKeepAliveResponse, Status> {
    let header = Some(front.current_header()); // the revision from before, as etcd shows it
    let ttl = front.store.lease_keep_alive(request.id).await.map_err(errors::store)?;
    Ok(rpc::LeaseKeepAliveResponse { header, id: request.id, ttl })
}
