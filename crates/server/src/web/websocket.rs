//! WebSockets on the gateway's paths: what a browser sends as messages is the body of a request, one JSON object each, and
//! each line of the answer comes back as a message. So a page can watch, and keep a lease alive, on one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Method as Verb, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::gateway::json_bytes_max;
use super::{Body, gateway, text};
use crate::front::Front;
use crate::methods::{Kind, MethodInfo};

/// Most WebSockets at a time.
const SOCKETS_MAX: usize = 4096;
/// Messages that wait for a slow call.
const WAITING_MESSAGES: usize = 16;
/// The name under which a browser, which cannot send headers, hands over its token.
const BEARER: &str = "Bearer";

/// Whether a request asks for a WebSocket.
pub(crate) fn is_asked_for(headers: &HeaderMap) -> bool {
    let names = |header: header::HeaderName, word: &str| {
        let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    names(header::CONNECTION, "upgrade") && names(header::UPGRADE, "websocket")
}

/// Answers the request for a WebSocket, and serves the call over it on a task of its own.
pub(crate) fn serve<B>(front: &Arc<Front>, info: &'static MethodInfo, mut request: Request<B>) -> Response<Body> {
    let (Some(key), Some("13")) = (
        request.headers().get(header::SEC_WEBSOCKET_KEY).cloned(),
        request.headers().get(header::SEC_WEBSOCKET_VERSION).and_then(|version| version.to_str().ok()),
    ) else {
        return text(StatusCode::BAD_REQUEST, "a WebSocket needs Sec-WebSocket-Key, and Sec-WebSocket-Version: 13\n");
    };
    let Some(place) = Place::take(front) else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many WebSockets are open\n");
    };
    let upgrading = hyper::upgrade::on(&mut request);
    let (mut head, _) = request.into_parts();
    let token = token(&head.headers);
    let carries_token = token.is_some();
    if let Some(token) = token {
        head.headers.insert(header::AUTHORIZATION, token);
    }
    head.method = Verb::POST;
    head.headers.remove(header::UPGRADE); // what goes on is an ordinary call
    let (messages, received) = mpsc::channel(WAITING_MESSAGES);
    let call = Request::from_parts(head, Body::Pieces(received));
    tokio::spawn(run(Arc::clone(front), info, call, upgrading, messages, place));

    let mut response = Response::new(Body::from(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 is a valid header");
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if carries_token {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(BEARER));
    }
    response
}

/// The token of `Sec-WebSocket-Protocol: Bearer, TOKEN`, as the header that other clients send.
fn token(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let (name, token) = protocols.split_once(',')?;
    (name.trim() == BEARER).then(|| HeaderValue::try_from(format!("{BEARER} {}", token.trim())).ok())?
}

/// A place among the open WebSockets.
struct Place(Arc<Front>);

impl Place {
    fn take(front: &Arc<Front>) -> Option<Place> {
        let place = Place(Arc::clone(front)); // gives its place back even where there was none
        (sockets(front).fetch_add(1, Relaxed) < SOCKETS_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        sockets(&self.0).fetch_sub(1, Relaxed);
    }
}

fn sockets(front: &Front) -> &AtomicUsize {
    &front.websockets
}

async fn run(
    front: Arc<Front>,
    info: &'static MethodInfo,
    call: Request<Body>,
    upgrading: OnUpgrade,
    messages: mpsc::Sender<Bytes>,
    place: Place,
) {
    let Ok(io) = upgrading.await else { return }; // the client has gone
    let bytes_max = json_bytes_max(&front);
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(bytes_max);
    config.max_frame_size = Some(bytes_max);
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, Some(config)).await;
    let (mut sink, stream) = socket.split();
    // Whoever ends first ends both: the client by going, the call by its last line.
    tokio::select! {
        () = read(stream, messages, info.kind) => {}
        () = write(&front, call, &mut sink) => {}
    }
    drop(sink.close().await); // the client may have gone
    drop(place);
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Hands messages to the call until the client goes. A unary call gets the first one only.
async fn read(mut stream: futures_util::stream::SplitStream<Socket>, messages: mpsc::Sender<Bytes>, kind: Kind) {
    let mut messages = Some(messages);
    while let Some(Ok(message)) = stream.next().await {
        let piece = match message {
            Message::Text(text) => Bytes::from(format!("{text}\n")),
            Message::Binary(bytes) => [bytes, Bytes::from_static(b"\n")].concat().into(),
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        if let Some(sender) = &messages
            && (sender.send(piece).await.is_err() || kind == Kind::Unary)
        {
            messages = None;
        }
    }
}

/// Makes the call, and sends each line of its answer.
async fn write(front: &Arc<Front>, call: Request<Body>, sink: &mut futures_util::stream::SplitSink<Socket, Message>) {
    let mut body = Box::pin(gateway::serve(front, call)).await.into_body();
    let mut rest = BytesMut::new();
    let mut searched = 0; // a line may come in very many pieces
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        rest.extend_from_slice(&data);
        while let Some(behind) = rest[searched..].iter().position(|byte| *byte == b'\n') {
            let end = searched + behind;
            let line = rest.split_to(end + 1);
            searched = 0;
            if sink.send(message(&line[..end])).await.is_err() {
                return;
            }
        }
        searched = rest.len();
    }
    if !rest.is_empty() {
        drop(sink.send(message(&rest)).await); // nobody else is told where the client has gone
    }
}

fn message(line: &[u8]) -> Message {
    Message::text(String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_whoever_asks_gets_a_websocket() {
        assert!(is_asked_for(&headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")])));
        assert!(!is_asked_for(&headers(&[("upgrade", "websocket")])));
        assert!(!is_asked_for(&headers(&[("connection", "upgrade"), ("upgrade", "h2c")])));
    }

    #[test]
    fn a_token_may_come_as_a_protocol() {
        let of = |value| token(&headers(&[("sec-websocket-protocol", value)]));
        assert_eq!(of("Bearer, abc.7"), Some(HeaderValue::from_static("Bearer abc.7")));
        assert_eq!(of("chat, abc"), None);
        assert_eq!(of("Bearer"), None);
    }
}
