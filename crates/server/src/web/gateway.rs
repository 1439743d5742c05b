//! The JSON gateway: a POST with the request as JSON, answered as JSON. For scripts and languages without gRPC.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method as Verb, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body as HttpBody;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;

use super::{Body, gateway_error, gateway_stream, json};
use crate::dispatch::{self, Codec};
use crate::front::Front;
use crate::grpc::Metadata;
use crate::methods::{Kind, Method, MethodInfo};

/// JSON, as grpc-gateway writes it.
pub(crate) struct Json;

impl Codec for Json {
    /// Nothing at all is an empty request.
    fn decode<T: Message + Default + DeserializeOwned>(bytes: Bytes) -> Result<T, Status> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(T::default());
        }
        serde_json::from_slice(&bytes).map_err(|error| malformed(&error))
    }

    fn encode<T: Message + Serialize>(message: &T) -> Result<Bytes, Status> {
        let text = serde_json::to_vec(message);
        text.map(Bytes::from).map_err(|error| Status::internal(format!("the answer has no JSON form: {error}")))
    }
}

/// The request is not what the call takes.
pub(crate) fn malformed(error: &serde_json::Error) -> Status {
    Status::invalid_argument(format!("the request is not valid JSON for this call: {error}"))
}

/// Serves a request below `/v3/` or `/v3beta/`. The kind of content is not looked at: whatever it calls itself, it must be
/// JSON (`curl -d` calls it a form).
pub(crate) async fn serve<B>(front: &Arc<Front>, request: Request<B>) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display + Send,
{
    let (head, body) = request.into_parts();
    let path = match head.uri.path().strip_prefix("/v3beta/") {
        Some(rest) => format!("/v3/{rest}"),
        None => head.uri.path().to_owned(),
    };
    let Some(info) = Method::at_gateway(&path) else {
        return gateway_error::response(&Status::not_found("Not Found"));
    };
    if head.method != Verb::POST {
        // grpc-gateway speaks of it in these words and with this code, not with 405.
        return gateway_error::response(&Status::unimplemented("Method Not Allowed"));
    }
    let plain = plain_names(&head.headers);
    let admitted = Metadata::read(&plain).and_then(|metadata| front.admit(info.kind, &metadata));
    let terms = match admitted {
        Ok(terms) => terms,
        Err(status) => return gateway_error::response(&status),
    };
    match info.kind {
        Kind::Unary => unary(front, info, body).await,
        Kind::ServerStream | Kind::BidiStream => gateway_stream::serve(front, info, terms, body),
    }
}

/// Metadata comes in headers whose names have a prefix.
fn plain_names(headers: &HeaderMap) -> HeaderMap {
    let plain = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("grpc-metadata-")?;
        Some((HeaderName::try_from(name).ok()?, value.clone()))
    });
    plain.collect()
}

async fn unary<B>(front: &Arc<Front>, info: &MethodInfo, body: B) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + Unpin,
    B::Error: std::fmt::Display,
{
    let counters = front.metrics.call(info.method);
    counters.start();
    let result = match whole(body, json_bytes_max(front)).await {
        Ok(body) => {
            counters.received(body.len());
            dispatch::unary::<Json>(front, info.method, body).await
        }
        Err(status) => Err(status),
    };
    counters.finish(result.as_ref().map_or_else(Status::code, |_| tonic::Code::Ok), None);
    match result {
        Ok(text) => {
            counters.sent(1, text.len());
            let mut response = json(StatusCode::OK, text);
            response.headers_mut().insert("grpc-metadata-content-type", HeaderValue::from_static("application/grpc"));
            response
        }
        Err(status) => gateway_error::response(&status),
    }
}

/// The largest body that is read: base64 makes four bytes of three, escapes and names need some room, too.
pub(crate) fn json_bytes_max(front: &Front) -> usize {
    front.settings.message_bytes_max() * 2
}

async fn whole<B>(mut body: B, bytes_max: usize) -> Result<Bytes, Status>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::cancelled(format!("the request broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > bytes_max {
            return Err(Status::resource_exhausted(format!("the request has more than {bytes_max} bytes")));
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use kontiki_api::{kv, rpc};

    fn encode<T: Message + Serialize>(message: &T) -> String {
        String::from_utf8(Json::encode(message).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn answers_look_as_etcds_gateway_writes_them() {
        let header = rpc::ResponseHeader { cluster_id: 14841639068965178418, member_id: 7, revision: 3, raft_term: 2 };
        let kvs = vec![kv::KeyValue {
            key: "foo".into(),
            value: "bar".into(),
            create_revision: 2,
            mod_revision: 3,
            version: 2,
            lease: 0,
        }];
        let response = rpc::RangeResponse { header: Some(header), kvs, more: false, count: 1 };
        assert_eq!(
            encode(&response),
            "{\"header\":{\"cluster_id\":\"14841639068965178418\",\"member_id\":\"7\",\"revision\":\"3\",\
             \"raft_term\":\"2\"},\"kvs\":[{\"key\":\"Zm9v\",\"create_revision\":\"2\",\"mod_revision\":\"3\",\
             \"version\":\"2\",\"value\":\"YmFy\"}],\"count\":\"1\"}"
        );
        let hash = rpc::HashKvResponse { hash: 5, compact_revision: -1, ..rpc::HashKvResponse::default() };
        assert_eq!(encode(&hash), "{\"hash\":5,\"compact_revision\":\"-1\"}");
        let grant = rpc::LeaseGrantResponse { id: 9, ttl: 60, ..rpc::LeaseGrantResponse::default() };
        assert_eq!(encode(&grant), "{\"ID\":\"9\",\"TTL\":\"60\"}");
    }

    #[test]
    fn requests_may_be_written_in_many_ways() {
        let decode = |text: &str| Json::decode::<rpc::RangeRequest>(Bytes::copy_from_slice(text.as_bytes()));
        let plain = decode(r#"{"key":"Zm9v","range_end":"Zm9w","limit":"5","sort_order":"DESCEND"}"#).unwrap();
        assert_eq!((plain.key.as_ref(), plain.limit, plain.sort_order), (b"foo".as_slice(), 5, 2));
        assert_eq!(decode(r#"{"key":"Zm9v","rangeEnd":"Zm9w","limit":5,"sortOrder":2,"unknown":[1]}"#).unwrap(), plain);
        assert_eq!(decode("").unwrap(), rpc::RangeRequest::default());
        for bad in ["{", "[]", r#"{"limit":"many"}"#, r#"{"key":"***"}"#] {
            assert_eq!(decode(bad).unwrap_err().code(), tonic::Code::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn transactions_and_watches_read_their_unions() {
        let text = r#"{"compare":[{"result":"EQUAL","target":"VERSION","key":"Zm9v","version":"0"}],
                       "success":[{"request_put":{"key":"Zm9v","value":"YmFy"}}],
                       "failure":[{"requestRange":{"key":"Zm9v"}}]}"#;
        let txn: rpc::TxnRequest = Json::decode(Bytes::from_static(text.as_bytes())).unwrap();
        assert_eq!(txn.compare[0].target_union, Some(rpc::compare::TargetUnion::Version(0)));
        assert!(matches!(txn.success[0].request, Some(rpc::request_op::Request::RequestPut(_))));
        assert!(matches!(txn.failure[0].request, Some(rpc::request_op::Request::RequestRange(_))));
        let text = r#"{"create_request":{"key":"Zm9v","filters":["NOPUT"]}}"#;
        let watch: rpc::WatchRequest = Json::decode(Bytes::from_static(text.as_bytes())).unwrap();
        assert!(matches!(watch.request_union, Some(rpc::watch_request::RequestUnion::CreateRequest(_))));
    }
}
