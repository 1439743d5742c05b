//! Where peers connect, and how the addresses of peers say whether they do so in TLS.

use std::net::TcpListener;
use std::sync::Arc;

use kontiki_tls::Acceptor;

/// A bound socket; with TLS, if there is someone who does its handshakes.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Does the handshakes.
    pub tls: Option<Arc<Acceptor>>,
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Listener {
        Listener { socket, tls: None }
    }
}

/// An address of a peer: `host:port`, `http://host:port`, or with TLS `https://host:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) secure: bool,
    /// `host:port`.
    pub(crate) authority: &'a str,
}

impl<'a> Address<'a> {
    pub(crate) fn of(text: &'a str) -> Address<'a> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        Address { secure: scheme == "https", authority: rest.trim_end_matches('/') }
    }

    /// The host alone, an IPv6 address without its brackets.
    pub(crate) fn host(&self) -> &'a str {
        let host = self.authority.rsplit_once(':').map_or(self.authority, |(host, _)| host);
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_decides() {
        let plain = Address { secure: false, authority: "a:1" };
        assert_eq!([Address::of("a:1"), Address::of("http://a:1"), Address::of("http://a:1/")], [plain; 3]);
        let secure = Address::of("https://[::1]:2380");
        assert!(secure.secure);
        assert_eq!((secure.authority, secure.host()), ("[::1]:2380", "::1"));
    }
}
