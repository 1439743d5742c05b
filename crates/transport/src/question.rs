//! A question on the peer port: who are the members? Asked by a process that is to become one and belongs nowhere yet.
//!
//! The answer is the layer above's, in bytes that mean nothing here, behind the answer to the handshake: their length, their
//! checksum, they themselves. Then the connection ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_tls::Connector;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::handshake::{self, Answer, HandshakeError};
use crate::listener::Address;
use crate::stream::Stream;
use crate::transport::Shared;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Tells what this member knows of the membership.
pub type Tell = Arc<dyn Fn() -> Bytes + Send + Sync>;

/// Why nobody could be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The name has no address.
    #[error("cannot resolve the name: {0}")]
    Resolve(io::Error),
    /// Nobody answers there.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The address is `https`, and there is nobody to do the handshake.
    #[error(
        "its URL is https, but this member has no TLS for peers: give it --peer-cert-file and --peer-trusted-ca-file"
    )]
    NoTls,
    /// TLS found a reason.
    #[error(transparent)]
    Tls(#[from] kontiki_tls::HandshakeError),
    /// Whoever answers is no member of this release.
    #[error("{0}")]
    Handshake(String),
    /// The answer is not whole.
    #[error("the answer is damaged")]
    Damaged,
    /// No answer came.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl From<HandshakeError> for AskError {
    fn from(error: HandshakeError) -> AskError {
        AskError::Handshake(error.to_string())
    }
}

/// Asks the member at an address, `host:port` or a URL, for its answer to the question. With `https` a connector is needed.
///
/// # Errors
/// Where nobody answers there in time, or nobody of this protocol.
pub async fn ask(address: &str, connector: Option<&Connector>, patience: Duration) -> Result<Bytes, AskError> {
    timeout(patience, ask_patiently(Address::of(address), connector, patience))
        .await
        .unwrap_or(Err(AskError::Timeout(patience)))
}

async fn ask_patiently(
    address: Address<'_>,
    connector: Option<&Connector>,
    patience: Duration,
) -> Result<Bytes, AskError> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for target in tokio::net::lookup_host(address.authority).await.map_err(AskError::Resolve)? {
        match TcpStream::connect(target).await {
            Ok(stream) if address.secure => {
                let connector = connector.ok_or(AskError::NoTls)?;
                let mut stream = connector.connect(address.host(), stream, patience).await?;
                handshake::ask(&mut stream).await?;
                return read(&mut stream).await;
            }
            Ok(mut stream) => {
                handshake::ask(&mut stream).await?;
                return read(&mut stream).await;
            }
            Err(error) => last = error,
        }
    }
    Err(AskError::Connect(last))
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, AskError> {
    let lost = |error| AskError::from(HandshakeError::Io(error));
    let length = stream.read_u32_le().await.map_err(lost)? as usize;
    let checksum = stream.read_u32_le().await.map_err(lost)?;
    if length > ANSWER_BYTES_MAX {
        return Err(AskError::Damaged);
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map_err(lost)?;
    if crc32c::crc32c(&bytes) == checksum { Ok(bytes.into()) } else { Err(AskError::Damaged) }
}

/// Answers the question on an accepted connection.
pub(crate) async fn answer(shared: &Shared, stream: Stream, address: SocketAddr) {
    let told = shared.tell();
    let refusal = told.is_none().then(|| "this member is just starting; ask again shortly".to_owned());
    let mut bytes = Answer { identity: shared.identity, refusal, removed: false }.encode();
    if let Some(told) = told {
        bytes.extend((told.len() as u32).to_le_bytes());
        bytes.extend(crc32c::crc32c(&told).to_le_bytes());
        bytes.extend(told);
    }
    tracing::info!(%address, "asked for the members by a process that is to become one");
    // If the other side is gone already, nobody misses the answer.
    let _ = timeout(shared.options.handshake_timeout, stream.write_all(&bytes)).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn an_answer_that_is_not_whole_is_told() {
        let told = b"members";
        let mut bytes = (told.len() as u32).to_le_bytes().to_vec();
        bytes.extend(crc32c::crc32c(told).to_le_bytes());
        bytes.extend(told);
        assert_eq!(read(&mut &bytes[..]).await.unwrap(), &told[..]);
        for cut in 0..bytes.len() {
            assert!(read(&mut &bytes[..cut]).await.is_err(), "{cut} bytes");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x11;
            assert!(read(&mut &changed[..]).await.is_err(), "byte {at}");
        }
    }
}
