//! A connection in TLS that is written and read without waiting, by any thread: as a plain socket is.
//!
//! Whoever writes encrypts at once and hands the records to the system; no task and no copy stands between. What the
//! system does not take stays here, bounded, until [`TlsSocket::try_flush`].

use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use rustls::Connection;
use tokio::net::TcpStream;

/// Encrypted bytes that may wait for the system.
const UNSENT_BYTES_MAX: usize = 256 << 10;

/// An established connection.
pub struct TlsSocket {
    tcp: TcpStream,
    connection: Mutex<Connection>,
}

impl From<tokio_rustls::client::TlsStream<TcpStream>> for TlsSocket {
    fn from(stream: tokio_rustls::client::TlsStream<TcpStream>) -> TlsSocket {
        let (tcp, connection) = stream.into_inner();
        TlsSocket::new(tcp, connection.into())
    }
}

impl From<tokio_rustls::server::TlsStream<TcpStream>> for TlsSocket {
    fn from(stream: tokio_rustls::server::TlsStream<TcpStream>) -> TlsSocket {
        let (tcp, connection) = stream.into_inner();
        TlsSocket::new(tcp, connection.into())
    }
}

impl TlsSocket {
    fn new(tcp: TcpStream, mut connection: Connection) -> TlsSocket {
        connection.set_buffer_limit(Some(UNSENT_BYTES_MAX));
        TlsSocket { tcp, connection: Mutex::new(connection) }
    }

    /// Takes what there is room for. Taken bytes have been sent, or leave with the next write or flush.
    ///
    /// # Errors
    /// `WouldBlock` while earlier bytes wait for the system; otherwise the connection's end.
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut connection = self.lock();
        if !self.send(&mut connection)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = connection.writer().write_vectored(slices)?;
        self.send(&mut connection)?;
        Ok(taken)
    }

    /// Hands what is left to the system. False: it does not take all of it now.
    ///
    /// # Errors
    /// The connection's end.
    pub fn try_flush(&self) -> io::Result<bool> {
        self.send(&mut self.lock())
    }

    /// Reads what has come, as much as the buffer has room for; zero at the connection's end.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has come; otherwise the connection's end, or what is wrong with the bytes.
    pub fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut guard = self.lock();
        let connection = &mut *guard;
        let before = buffer.len();
        loop {
            let room = buffer.capacity() - buffer.len();
            let ended = match connection.reader().fill_buf() {
                Ok([]) => true,
                Ok(plain) if room > 0 => {
                    let taken = plain.len().min(room);
                    buffer.extend_from_slice(&plain[..taken]);
                    connection.reader().consume(taken);
                    continue;
                }
                Ok(_) => true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(_) if buffer.len() > before => true,
                Err(error) => return Err(error),
            };
            if ended {
                return Ok(buffer.len() - before);
            }
            match connection.read_tls(&mut Plain(&self.tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && buffer.len() > before => {
                    return Ok(buffer.len() - before);
                }
                Err(error) => return Err(error),
            }
            let processed = connection.process_new_packets();
            // A renewal of keys is answered, and the other side is told what it did wrong.
            if connection.wants_write() {
                self.send(connection)?;
            }
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }

    /// Returns once bytes may have come. [`TlsSocket::try_read_buf`] must have said `WouldBlock` before.
    ///
    /// # Errors
    /// The system's.
    pub async fn readable(&self) -> io::Result<()> {
        self.tcp.readable().await
    }

    /// Returns once the system may take bytes.
    ///
    /// # Errors
    /// The system's.
    pub async fn writable(&self) -> io::Result<()> {
        self.tcp.writable().await
    }

    fn send(&self, connection: &mut Connection) -> io::Result<bool> {
        while connection.wants_write() {
            match connection.write_tls(&mut Plain(&self.tcp)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for TlsSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSocket").field("tcp", &self.tcp).finish_non_exhaustive()
    }
}

/// The socket as rustls wants it.
struct Plain<'a>(&'a TcpStream);

impl Read for Plain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Plain<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
