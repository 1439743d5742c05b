//! HTTP without gRPC: the JSON gateway, health, version, metrics. The same routes whether over HTTP/1.1 or HTTP/2.

mod body;
mod debug;
mod gateway;
mod gateway_error;
mod gateway_stream;
mod over_http2;
mod probes;
mod websocket;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Body as HttpBody;

use crate::accept::Side;
use crate::arrival::Arrival;
use crate::doors::count;
use crate::front::Front;
use crate::metrics::exposition;

pub(crate) use body::Body;
pub(crate) use over_http2::over_http2;

/// Answers a request, if its host name and the origin of the page that asks are admitted.
pub(crate) async fn respond<B>(front: &Arc<Front>, side: Side, request: Request<B>) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display + Send,
{
    let settings = &front.settings;
    // In TLS the certificate keeps other names out, as in etcd; over a path there are none.
    let secure = request.extensions().get::<Arrival>().is_some_and(|arrival| arrival.secure);
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if !secure && !host_admitted(&settings.host_whitelist, request.headers(), request.uri().host()) {
        count(&front.doors.host_refused);
        text(StatusCode::MISDIRECTED_REQUEST, "this server is not asked for by that host name (--host-whitelist)\n")
    } else if settings.origins.is_foreign(&request) {
        count(&front.doors.origin_refused);
        text(StatusCode::FORBIDDEN, "pages of that origin may not use this server (--cors)\n")
    } else if request.method() == Method::OPTIONS {
        Response::new(Body::from(Bytes::new())) // a browser asks before it sends JSON
    } else {
        route(front, side, request).await
    };
    settings.origins.allow(origin.as_ref(), response.headers_mut());
    response
}

async fn route<B>(front: &Arc<Front>, side: Side, request: Request<B>) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display + Send,
{
    let path = request.uri().path().to_owned();
    match (path.as_str(), side) {
        (_, Side::Grpc) => {
            text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this port speaks gRPC only (--listen-client-http-urls)\n")
        }
        ("/metrics", _) => exposition_of(front),
        ("/health", _) => probes::health(front, request.method(), request.uri().query().unwrap_or("")).await,
        ("/version", Side::Clients | Side::Http) => only_get(request.method(), || version(front)),
        (path, _) if path.starts_with("/livez") || path.starts_with("/readyz") => {
            probes::checks(front, request.method(), path, request.uri().query().unwrap_or("")).await
        }
        (path, Side::Clients | Side::Http) if front.settings.debug && path.starts_with("/debug/") => {
            debug::serve(front, request.method(), path)
        }
        (path, Side::Clients | Side::Http)
            if front.settings.gateway
                && (path == "/v3" || path.starts_with("/v3/") || path.starts_with("/v3beta/")) =>
        {
            gateway::serve(front, request).await
        }
        _ => not_found(),
    }
}

/// Whether a host name is one of those that may be asked for. Requests without one are admitted, as etcd admits them.
fn host_admitted(whitelist: &[String], headers: &HeaderMap, authority: Option<&str>) -> bool {
    if whitelist.is_empty() {
        return true;
    }
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(authority);
    let Some(named) = named.filter(|named| !named.is_empty()) else { return true };
    let host = match named.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or(address),
        None => named.split(':').next().unwrap_or(named),
    };
    whitelist.iter().any(|admitted| admitted == "*" || admitted.eq_ignore_ascii_case(host))
}

fn version(front: &Front) -> Response<Body> {
    let versions = &front.settings.versions;
    let body = format!(
        "{{\"etcdserver\":\"{}\",\"etcdcluster\":\"{}\",\"storage\":\"{}\"}}",
        versions.server, versions.cluster, versions.storage
    );
    json(StatusCode::OK, body)
}

fn exposition_of(front: &Front) -> Response<Body> {
    let mut response = Response::new(Body::from(exposition::render(front)));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn only_get(method: &Method, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
    if method == Method::GET { answer() } else { get_expected() }
}

fn get_expected() -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    response
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    typed(status, "application/json", body)
}

fn typed(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_without_port() {
        let whitelist = ["etcd.example".to_owned(), "::1".to_owned()];
        let admitted = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            host_admitted(&whitelist, &headers, None)
        };
        assert!(admitted("etcd.example") && admitted("Etcd.Example:2379") && admitted("[::1]:2379") && admitted(""));
        assert!(!admitted("evil.example") && !admitted("[::2]"));
        assert!(host_admitted(&[], &HeaderMap::new(), Some("anything")));
        assert!(!host_admitted(&whitelist, &HeaderMap::new(), Some("evil.example")));
    }
}
