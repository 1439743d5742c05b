//! What etcd's clients say beside the request, in headers.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use kontiki_store::TokenText;
use tonic::Status;

static ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
static HAS_LEADER: HeaderName = HeaderName::from_static("hasleader");
static TOKEN: HeaderName = HeaderName::from_static("token");
static CLIENT_VERSION: HeaderName = HeaderName::from_static("client-api-version");

/// Settings of one call.
#[derive(Debug, Default)]
pub(crate) struct Metadata<'h> {
    /// Fail at once where this member knows no leader.
    pub(crate) needs_leader: bool,
    /// After how long the client gives up.
    pub(crate) timeout: Option<Duration>,
    /// The client's version; only counted.
    pub(crate) client_version: Option<&'h str>,
}

impl<'h> Metadata<'h> {
    /// Reads the headers, but for the token, which is looked at only where it means something.
    ///
    /// # Errors
    /// Where the client's version is not UTF-8 (etcd's rule) or the request is compressed.
    pub(crate) fn read(headers: &'h HeaderMap) -> Result<Metadata<'h>, Status> {
        if headers.get(&ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(Status::unimplemented("grpc: the server takes no compressed messages"));
        }
        let client_version = match headers.get(&CLIENT_VERSION) {
            None => None,
            Some(version) => Some(
                std::str::from_utf8(version.as_bytes())
                    .map_err(|_| Status::invalid_argument("etcdserver: invalid client api version"))?,
            ),
        };
        Ok(Metadata {
            needs_leader: headers.get(&HAS_LEADER).is_some_and(|value| value == "true"),
            timeout: headers.get(&TIMEOUT).and_then(|value| parse_timeout(value.as_bytes())),
            client_version,
        })
    }
}

/// The caller's token. An empty one is a token, too: one that is not valid.
pub(crate) fn token(headers: &HeaderMap) -> Option<TokenText> {
    let value = headers.get(&TOKEN).or_else(|| headers.get(&header::AUTHORIZATION))?;
    let text = String::from_utf8_lossy(value.as_bytes());
    let text = text.strip_prefix("Bearer ").unwrap_or(&text);
    Some(TokenText::new(text))
}

/// Up to eight digits and a unit. What is not understood is no limit.
fn parse_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderValue;

    #[test]
    fn timeouts_have_a_unit() {
        assert_eq!(parse_timeout(b"5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout(b"1999999u"), Some(Duration::from_micros(1_999_999)));
        assert_eq!(parse_timeout(b"2H"), Some(Duration::from_secs(7200)));
        for strange in [b"".as_slice(), b"S", b"5", b"5x", b"-5S", b"999999999S"] {
            assert_eq!(parse_timeout(strange), None);
        }
    }

    #[test]
    fn tokens_come_in_two_headers() {
        let given = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            token(&headers).map(|token| token.reveal().to_owned())
        };
        assert_eq!(given("token", "abc.1").as_deref(), Some("abc.1"));
        assert_eq!(given("authorization", "abc.1").as_deref(), Some("abc.1"));
        assert_eq!(given("authorization", "Bearer abc.1").as_deref(), Some("abc.1"));
        assert_eq!((given("token", "").as_deref(), given("authorization", "Bearer ").as_deref()), (Some(""), Some("")));
        assert_eq!(given("other", "abc.1"), None);
    }

    #[test]
    fn a_version_that_is_not_text_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert("client-api-version", HeaderValue::from_bytes(b"3.\xff").unwrap());
        let status = Metadata::read(&headers).unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(status.message(), "etcdserver: invalid client api version");
        headers.insert("client-api-version", HeaderValue::from_static("3.7"));
        headers.insert("hasleader", HeaderValue::from_static("true"));
        let metadata = Metadata::read(&headers).unwrap();
        assert_eq!(metadata.client_version, Some("3.7"));
        assert!(metadata.needs_leader);
    }
}
