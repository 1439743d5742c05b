//! What etcd's clients say beside the request, in headers.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tonic::Status;

static ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
static HAS_LEADER: HeaderName = HeaderName::from_static("hasleader");
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
    /// Reads the headers. Tokens are not looked at: without authentication they mean nothing.
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
