//! A connection to a peer: plain, or in TLS. Both are written without waiting, by whichever thread has something to send.

use std::io::{self, ErrorKind, IoSlice};

use bytes::BytesMut;
use kontiki_tls::TlsSocket;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// An open connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsSocket>),
}

impl Stream {
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.try_write_vectored(slices),
            Stream::Tls(tls) => tls.try_write_vectored(slices),
        }
    }

    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.try_write(bytes),
            Stream::Tls(tls) => tls.try_write_vectored(&[IoSlice::new(bytes)]),
        }
    }

    /// Whether all that was written has left; hands on what has not.
    pub(crate) fn try_flush(&self) -> io::Result<bool> {
        match self {
            Stream::Plain(_) => Ok(true),
            Stream::Tls(tls) => tls.try_flush(),
        }
    }

    pub(crate) fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.try_read_buf(buffer),
            Stream::Tls(tls) => tls.try_read_buf(buffer),
        }
    }

    /// Waits for bytes; zero is the end.
    pub(crate) async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let tls = match self {
            Stream::Plain(tcp) => return tcp.read_buf(buffer).await,
            Stream::Tls(tls) => tls,
        };
        loop {
            match tls.try_read_buf(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => tls.readable().await?,
                done => return done,
            }
        }
    }

    /// Writes all, waiting for room.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
            }
        }
        while !self.try_flush()? {
            self.writable().await?;
        }
        Ok(())
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Stream::Plain(tcp) => tcp.readable().await,
            Stream::Tls(tls) => tls.readable().await,
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Stream::Plain(tcp) => tcp.writable().await,
            Stream::Tls(tls) => tls.writable().await,
        }
    }
}
