//! The JSON gateway: a POST with the request as JSON, answered as JSON. For scripts and languages without gRPC.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method as Verb, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Body as HttpBody;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;
use tonic::Status;

use super::{Body, gateway_error, gateway_stream, json, websocket};
use crate::access;
use crate::dispatch::{self, Answer, Codec};
use crate::front::Front;
use crate::grpc::{self, Metadata};
use crate::methods::{Kind, Method, MethodInfo};

/// What a certificate is told that would make its bearer a user elsewhere, in etcd's words.
const IGNORED: &str =
    "CommonName of client sending a request against gateway will be ignored and not used as expected\n";

/// JSON, as grpc-gateway writes it.
pub(crate) struct Json;

impl Codec for Json {
    /// Nothing at all is an empty request. What follows the first value is not looked at. Fields that are null are as if left
    /// out: the messages know no null, so where there is one (almost never) they are read once more without.
    fn decode<T: Message + Default + DeserializeOwned>(bytes: Bytes) -> Result<T, Status> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(T::default());
        }
        first_value(&bytes).or_else(|error| {
            let mut value: Value = first_value(&bytes).map_err(|_| malformed(&error))?;
            if !without_nulls(&mut value) {
                return Err(malformed(&error));
            }
            serde_json::from_value(value).map_err(|error| malformed(&error))
        })
    }

    fn encode<T: Message + Serialize>(message: &T) -> Result<Bytes, Status> {
        let text = serde_json::to_vec(message);
        text.map(Bytes::from).map_err(|error| Status::internal(format!("the answer has no JSON form: {error}")))
    }
}

fn first_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    T::deserialize(&mut serde_json::Deserializer::from_slice(bytes))
}

/// Leaves fields out that are null, at every depth (the parser bounds it). Whether there were any.
fn without_nulls(value: &mut Value) -> bool {
    match value {
        Value::Object(fields) => {
            let before = fields.len();
            fields.retain(|_, field| !field.is_null());
            let deeper = fields.values_mut().filter_map(|field| without_nulls(field).then_some(())).count();
            fields.len() < before || deeper > 0
        }
        // All of them, not only up to the first.
        Value::Array(values) => values.iter_mut().filter_map(|value| without_nulls(value).then_some(())).count() > 0,
        _ => false,
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
    let path = match request.uri().path().strip_prefix("/v3beta/") {
        Some(rest) => format!("/v3/{rest}"),
        None => request.uri().path().to_owned(),
    };
    let Some(info) = Method::at_gateway(&path) else {
        return gateway_error::response(&Status::not_found("Not Found"));
    };
    if request.version() == Version::HTTP_11 && websocket::is_asked_for(request.headers()) {
        return websocket::serve(front, info, request);
    }
    let (head, body) = request.into_parts();
    if head.method != Verb::POST {
        // grpc-gateway speaks of it in these words and with this code, not with 405.
        return gateway_error::response(&Status::unimplemented("Method Not Allowed"));
    }
    let plain = plain_names(&head.headers);
    let admitted = Metadata::read(&plain).and_then(|metadata| front.admit(info, &metadata));
    let terms = match admitted {
        Ok(terms) => terms,
        Err(status) => return gateway_error::response(&status),
    };
    if front.store.auth_enabled() && access::is_certified(&head.extensions) {
        return super::text(StatusCode::BAD_REQUEST, IGNORED);
    }
    let token = grpc::token(&plain).or_else(|| grpc::token(&head.headers));
    let front = &front.called(access::gateway_caller(token));
    match info.kind {
        Kind::Unary => unary(front, info, body).await,
        Kind::ServerStream | Kind::BidiStream => gateway_stream::serve(front, info, terms, body),
    }
}

/// Metadata comes in headers whose names have a prefix; the token and the limit of time come without.
fn plain_names(headers: &HeaderMap) -> HeaderMap {
    let plain = headers.iter().filter_map(|(name, value)| {
        let name = match name.as_str() {
            "authorization" | "grpc-timeout" => name.clone(),
            prefixed => HeaderName::try_from(prefixed.strip_prefix("grpc-metadata-")?).ok()?,
        };
        Some((name, value.clone()))
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
        Ok(Answer::Long(answer)) => {
            let (sender, pieces) = mpsc::channel(1);
            let front = Arc::clone(front);
            tokio::spawn(async move {
                if let Ok(bytes) = answer.send_json(&front, sender).await {
                    front.metrics.call(Method::Range).sent(1, bytes);
                }
            });
            let mut response = json(StatusCode::OK, String::new());
            *response.body_mut() = Body::Pieces(pieces);
            response
        }
        Ok(Answer::Whole(text)) => {
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
        assert_eq!(decode(r#"{"key":null,"limit":null}"#).unwrap(), rpc::RangeRequest::default());
        assert_eq!(
            decode(r#"{"limit":5,"sort_order":null} {"limit":6} ]"#).unwrap().limit,
            5,
            "the first value counts"
        );
        let orders = [("-1", -1), ("7", 7), ("\"NO_SUCH\"", 0), ("\"ASCEND\"", 1), ("2", 2)];
        for (written, number) in orders {
            assert_eq!(decode(&format!("{{\"sort_order\":{written}}}")).unwrap().sort_order, number, "{written}");
        }
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
