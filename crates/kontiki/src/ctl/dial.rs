//! The way to a member: what an endpoint names, and the connection under the calls. Plain or TLS, over TCP or a socket in the
//! file system.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::codegen::Service;
use tonic::codegen::http::Uri;

use super::secure::{ClientTls, Secure};

/// The port of an endpoint that names none.
const PORT: u16 = 2379;

/// What an endpoint names.
#[derive(Clone, Debug, PartialEq)]
pub struct Address {
    pub place: Place,
    pub secure: Secure,
}

/// Where a member listens.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// A host by name or number, and a port.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A connection, whatever it is made of.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Address {
    /// Reads `host:port` or a URL: `http`, `https`, `unix` or `unixs`.
    pub fn parse(endpoint: &str) -> Result<Address, String> {
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
        let secure = match scheme {
            "" | "unix" => Secure::IfAsked,
            "http" => Secure::Never,
            "https" | "unixs" => Secure::Always,
            other => return Err(format!("unknown scheme {other}://; use http, https, unix or unixs")),
        };
        if scheme.starts_with("unix") {
            let place = Place::Unix(rest.into());
            return if rest.is_empty() {
                Err("no path follows the scheme".into())
            } else {
                Ok(Address { place, secure })
            };
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
                (host, port)
            }
            _ => (authority, PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err("no host is named".into());
        }
        Ok(Address { place: Place::Tcp(host.into(), port), secure })
    }

    /// The name that a certificate there must be for, if TLS is spoken.
    pub fn host(&self) -> &str {
        match &self.place {
            Place::Tcp(host, _) => host,
            Place::Unix(_) => "localhost",
        }
    }

    /// The same as an URL that HTTP understands.
    pub fn uri(&self, tls: bool) -> String {
        let scheme = if tls { "https" } else { "http" };
        match &self.place {
            Place::Tcp(host, port) if host.contains(':') => format!("{scheme}://[{host}]:{port}"),
            Place::Tcp(host, port) => format!("{scheme}://{host}:{port}"),
            Place::Unix(_) => format!("{scheme}://localhost"),
        }
    }

    /// Opens a connection.
    pub async fn open(&self, tls: Option<&ClientTls>) -> io::Result<Box<dyn Wire>> {
        let wire: Box<dyn Wire> = match &self.place {
            Place::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
        };
        match tls {
            Some(tls) => tls.wrap(self.host(), wire).await,
            None => Ok(wire),
        }
    }
}

/// Opens connections to one address, for the client of calls.
#[derive(Clone)]
pub struct Connector {
    pub address: Address,
    pub tls: Option<ClientTls>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Wire>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Connector { address, tls } = self.clone();
        Box::pin(async move { address.open(tls.as_ref()).await.map(TokioIo::new) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn endpoints() {
        let tcp = |host: &str, port| Place::Tcp(host.into(), port);
        let cases = [
            ("127.0.0.1:2379", tcp("127.0.0.1", 2379), Secure::IfAsked),
            ("http://a.b:1", tcp("a.b", 1), Secure::Never),
            ("https://a.b/", tcp("a.b", 2379), Secure::Always),
            ("https://[::1]:5/", tcp("::1", 5), Secure::Always),
            ("[::1]", tcp("::1", 2379), Secure::IfAsked),
            ("unix:///run/k.sock", Place::Unix("/run/k.sock".into()), Secure::IfAsked),
            ("unixs://k.sock:2", Place::Unix("k.sock:2".into()), Secure::Always),
        ];
        for (endpoint, place, secure) in cases {
            assert_eq!(Address::parse(endpoint).unwrap(), Address { place, secure }, "{endpoint}");
        }
        for wrong in ["", ":2379", "a:b", "ftp://a:1", "unix://", "a:99999"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Address::parse("https://[::1]:5").unwrap().uri(true), "https://[::1]:5");
    }
}
