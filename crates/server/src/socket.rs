//! A client's connection as bytes: plain or in TLS, over a port or a path, with the first bytes looked at beforehand.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::path_names::PathNames;
use crate::pings::PingGuard;

/// What an HTTP/2 client says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the system gives.
pub(crate) enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Bytes without encryption.
enum Kind {
    Plain(Raw),
    Tls(Box<TlsStream<Raw>>),
}

/// A connection.
pub(crate) struct Socket {
    kind: Kind,
    /// Read already, and not yet taken.
    ahead: Vec<u8>,
    /// Looks for clients that ping too often.
    guard: Option<PingGuard>,
    /// Exchanges the names that clients over a path give.
    names: Option<PathNames>,
    /// Something was written.
    written: bool,
}

impl From<Raw> for Socket {
    fn from(raw: Raw) -> Socket {
        Socket { kind: Kind::Plain(raw), ahead: Vec::new(), guard: None, names: None, written: false }
    }
}

impl From<TlsStream<Raw>> for Socket {
    fn from(stream: TlsStream<Raw>) -> Socket {
        Socket { kind: Kind::Tls(Box::new(stream)), ahead: Vec::new(), guard: None, names: None, written: false }
    }
}

impl Socket {
    /// Reads no further than it takes to know; what was read is kept for whoever serves the connection.
    pub(crate) async fn speaks_http2(&mut self) -> io::Result<bool> {
        let mut first = [0; PREFACE.len()];
        let mut seen = 0;
        while seen < PREFACE.len() && first[..seen] == PREFACE[..seen] {
            let read = self.read(&mut first[seen..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            seen += read;
        }
        self.ahead = first[..seen].to_vec();
        Ok(first == *PREFACE)
    }

    /// From now on frames are looked at. Only for HTTP/2, and before the preface is taken.
    pub(crate) fn guard(&mut self, guard: PingGuard) {
        self.guard = Some(guard);
        self.names = self.is_path().then(PathNames::default);
    }

    /// It came over a path, not a port.
    pub(crate) fn is_path(&self) -> bool {
        let raw = match &self.kind {
            Kind::Plain(raw) => raw,
            Kind::Tls(stream) => stream.get_ref().0,
        };
        matches!(raw, Raw::Unix(_))
    }

    /// Reads into `ahead` what is to be taken instead of what came. False at the connection's end.
    fn poll_names(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut bytes = [0; 4096];
        while self.ahead.is_empty() {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(self.poll_frames(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(false));
            }
            let Some(names) = &mut self.names else { break };
            names.pass(buffer.filled(), &mut self.ahead);
        }
        Poll::Ready(Ok(true))
    }

    /// Reads what came, and looks whether it was too much.
    fn poll_frames(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.kind).poll_read(context, buffer))?;
        if let Some(guard) = &mut self.guard
            && guard.has_enough_of(&buffer.filled()[before..])
        {
            if let Some(farewell) = guard.farewell() {
                // If it does not fit, the client learns less.
                let _ = Pin::new(&mut self.kind).poll_write(context, farewell);
                let _ = Pin::new(&mut self.kind).poll_flush(context);
            }
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        if socket.ahead.is_empty() {
            if socket.names.is_none() {
                return socket.poll_frames(context, buffer);
            }
            if !ready!(socket.poll_names(context))? {
                return Poll::Ready(Ok(()));
            }
        }
        let taken = socket.ahead.len().min(buffer.remaining());
        buffer.put_slice(&socket.ahead[..taken]);
        socket.ahead.drain(..taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let written = ready!(Pin::new(&mut socket.kind).poll_write(context, bytes))?;
        socket.written = true;
        if let Some(guard) = &mut socket.guard {
            guard.sent(&bytes[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let written = ready!(Pin::new(&mut socket.kind).poll_write_vectored(context, slices))?;
        if let Some(guard) = &mut socket.guard {
            let mut left = written;
            for slice in slices {
                let sent = left.min(slice.len());
                guard.sent(&slice[..sent]);
                left -= sent;
            }
        }
        Poll::Ready(Ok(written))
    }

    /// HTTP/2's library asks when it begins, and takes from the answer from how many bytes on it does not gather an answer
    /// with others but writes it by itself: 256 if yes, 1024 if no. What takes a system call each is dearer than what is
    /// copied, so it is told no at first; once it writes, what it did not gather leaves without a copy all the same.
    fn is_write_vectored(&self) -> bool {
        if self.guard.is_some() && !self.written {
            return false;
        }
        match &self.kind {
            Kind::Plain(raw) => raw.is_write_vectored(),
            Kind::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().kind).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().kind).poll_shutdown(context)
    }
}

/// Both kinds lead each call to what they hold.
macro_rules! leads_on {
    ($kind:ident, $($variant:ident),+) => {
        impl AsyncRead for $kind {
            fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($kind::$variant(io) => Pin::new(io).poll_read(context, buffer),)+
                }
            }
        }

        impl AsyncWrite for $kind {
            fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $($kind::$variant(io) => Pin::new(io).poll_write(context, bytes),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $($kind::$variant(io) => Pin::new(io).poll_write_vectored(context, slices),)+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $($kind::$variant(io) => io.is_write_vectored(),)+
                }
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($kind::$variant(io) => Pin::new(io).poll_flush(context),)+
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $($kind::$variant(io) => Pin::new(io).poll_shutdown(context),)+
                }
            }
        }
    };
}

leads_on!(Raw, Tcp, Unix);
leads_on!(Kind, Plain, Tls);

impl Raw {
    /// Whether the client begins with the name of an HTTP method, where TLS is expected. Nothing is taken off. Over a path
    /// there is no look without taking; TLS itself finds out.
    pub(crate) async fn begins_in_plain(&self, limit: std::time::Duration) -> bool {
        let Raw::Tcp(tcp) = self else { return false };
        let mut first = [0];
        let seen = tokio::time::timeout(limit, tcp.peek(&mut first)).await;
        matches!(seen, Ok(Ok(1..))) && first[0].is_ascii_uppercase()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn http2_is_told_to_gather_and_writes_large_answers_without_a_copy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::from(Raw::Tcp(listener.accept().await.unwrap().0));
        assert!(socket.is_write_vectored(), "HTTP/1 does not gather by it");
        socket.guard(PingGuard::new(Duration::from_secs(5), Arc::default()));
        assert!(!socket.is_write_vectored(), "asked at the beginning");
        socket.write_all(b"settings").await.unwrap();
        assert!(socket.is_write_vectored(), "asked before each write");
    }
}
