//! What can go wrong with files, and with connections.

use std::io;
use std::path::Path;
use std::time::Duration;

/// Settings that cannot be used: which flag, which file, what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{flag}: {problem}")]
pub struct TlsError {
    /// The flag, without its dashes.
    pub flag: &'static str,
    /// What is wrong.
    pub problem: String,
}

impl TlsError {
    pub(crate) fn new(flag: &'static str, problem: impl Into<String>) -> TlsError {
        TlsError { flag, problem: problem.into() }
    }

    pub(crate) fn file(flag: &'static str, path: &Path, problem: impl std::fmt::Display) -> TlsError {
        TlsError::new(flag, format!("{}: {problem}", path.display()))
    }
}

/// Why a connection is not let in, or could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It took too long.
    #[error("no TLS handshake within {0:?}")]
    Timeout(Duration),
    /// The other side speaks something else.
    #[error("the other side does not speak TLS; are the URLs http where they should be https?")]
    NotTls,
    /// The other side went away before the handshake was done: often because it expects no TLS at all.
    #[error(
        "the other side closed the connection in the TLS handshake; does it listen with https, and want a certificate?"
    )]
    Closed,
    /// TLS found a reason.
    #[error("the TLS handshake failed: {0}")]
    Failed(String),
    /// The certificate is valid, but not for where the other side connects from.
    #[error("the certificate does not fit the address: {0}")]
    Address(String),
    /// The name that is dialed is none.
    #[error("{0:?} is not a name that a certificate can be made out to")]
    Name(String),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] TlsError),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> HandshakeError {
        let reason = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match reason {
            Some(rustls::Error::InvalidMessage(
                rustls::InvalidMessage::InvalidContentType | rustls::InvalidMessage::UnknownProtocolVersion,
            )) => HandshakeError::NotTls,
            Some(reason) => HandshakeError::Failed(reason.to_string()),
            None if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ) =>
            {
                HandshakeError::Closed
            }
            None => HandshakeError::Failed(error.to_string()),
        }
    }
}
