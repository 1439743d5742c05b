//! `grpc.health.v1.Health`: the process answers, so it serves. Whether it has a leader is what `/health` tells.

use kontiki_api::health::health_check_response::ServingStatus;
use kontiki_api::health::{HealthCheckRequest, HealthCheckResponse};
use tonic::Status;

use crate::call::StreamEnd;
use crate::grpc::{self, AnswerStream, MessageReader};
use crate::metrics;

/// Only the empty name is registered: the server as a whole.
pub(crate) fn check(request: HealthCheckRequest) -> Result<HealthCheckResponse, Status> {
    if request.service.is_empty() {
        Ok(HealthCheckResponse { status: ServingStatus::Serving as i32 })
    } else {
        Err(Status::not_found("unknown service"))
    }
}

/// Sends the status once; it does not change while the server runs.
pub(crate) async fn serve(
    counters: &metrics::Call,
    requests: &mut MessageReader,
    answers: &mut AnswerStream,
) -> Result<(), StreamEnd> {
    let message = requests.only().await?;
    counters.received(message.len());
    let request: HealthCheckRequest = grpc::decode(message)?;
    let status = check(request).map_or(ServingStatus::ServiceUnknown as i32, |response| response.status);
    let message = grpc::encode(&HealthCheckResponse { status });
    counters.sent(1, message.len());
    answers.send(message)?;
    Err(answers.gone().await.into())
}
