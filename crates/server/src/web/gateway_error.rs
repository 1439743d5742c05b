//! Errors of the gateway: the HTTP status that belongs to a gRPC code, and a body that old and new clients understand.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;
use tonic::{Code, Status};

use super::{Body, json};

/// `code` and `message` are what etcd 3.7 sends; `error` is what older ones send, and their clients look for.
#[derive(Serialize)]
struct Failure<'a> {
    code: i32,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// A whole answer.
pub(crate) fn response(status: &Status) -> Response<Body> {
    let failure = Failure { code: status.code() as i32, message: status.message(), error: Some(status.message()) };
    json(http_status(status.code()), to_json(&failure))
}

/// A line that ends a stream.
pub(crate) fn line(status: &Status) -> Bytes {
    #[derive(Serialize)]
    struct Line<'a> {
        error: Failure<'a>,
    }
    let error = Failure { code: status.code() as i32, message: status.message(), error: None };
    let mut line = to_json(&Line { error });
    line.push('\n');
    line.into()
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers have a JSON form")
}

/// As grpc-gateway maps them.
pub(crate) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).expect("499 is three digits"),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_carry_the_code_and_the_text() {
        let status = Status::not_found("etcdserver: requested lease not found");
        assert_eq!(
            std::str::from_utf8(&line(&status)),
            Ok("{\"error\":{\"code\":5,\"message\":\"etcdserver: requested lease not found\"}}\n")
        );
        let Body::Whole(body) = response(&status).into_body() else { panic!("errors are known at once") };
        assert_eq!(
            std::str::from_utf8(&body),
            Ok("{\"code\":5,\"message\":\"etcdserver: requested lease not found\",\
                \"error\":\"etcdserver: requested lease not found\"}")
        );
        assert_eq!(response(&status).status(), StatusCode::NOT_FOUND);
    }
}
