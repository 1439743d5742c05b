//! Where clients connect: sockets of two kinds, each with TLS or without.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use kontiki_tls::Acceptor;

use crate::socket::Raw;

/// A bound and listening socket; with TLS, if there is someone who does its handshakes.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: ListenSocket,
    /// Does the handshakes.
    pub tls: Option<Arc<Acceptor>>,
}

/// Either kind of socket.
#[derive(Debug)]
pub enum ListenSocket {
    /// An address and a port.
    Tcp(std::net::TcpListener),
    /// A path.
    Unix(std::os::unix::net::UnixListener),
}

impl From<std::net::TcpListener> for Listener {
    fn from(socket: std::net::TcpListener) -> Listener {
        Listener { socket: ListenSocket::Tcp(socket), tls: None }
    }
}

impl From<std::os::unix::net::UnixListener> for Listener {
    fn from(socket: std::os::unix::net::UnixListener) -> Listener {
        Listener { socket: ListenSocket::Unix(socket), tls: None }
    }
}

/// The same, on the runtime.
pub(crate) enum Listening {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Listening {
    pub(crate) fn new(socket: ListenSocket) -> io::Result<Listening> {
        match socket {
            ListenSocket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(socket).map(Listening::Tcp)
            }
            ListenSocket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                tokio::net::UnixListener::from_std(socket).map(Listening::Unix)
            }
        }
    }

    /// The next connection, and where it comes from if that is a place in the network.
    pub(crate) async fn accept(&self) -> io::Result<(Raw, Option<SocketAddr>)> {
        match self {
            Listening::Tcp(socket) => {
                let (io, from) = socket.accept().await?;
                // Small answers must not wait for the client's acknowledgement of the last one. If that cannot be set,
                // the client has gone already, and reading tells.
                drop(io.set_nodelay(true));
                Ok((Raw::Tcp(io), Some(from)))
            }
            Listening::Unix(socket) => Ok((Raw::Unix(socket.accept().await?.0), None)),
        }
    }
}

/// Where a socket listens, for messages.
pub(crate) fn place(socket: &ListenSocket) -> String {
    match socket {
        ListenSocket::Tcp(socket) => socket.local_addr().map(|address| address.to_string()),
        ListenSocket::Unix(socket) => {
            socket.local_addr().map(|address| format!("{:?}", address.as_pathname().unwrap_or("a socket".as_ref())))
        }
    }
    .unwrap_or_else(|_| "an unknown address".to_owned())
}
