//! Addresses as etcd writes them: `http://host:port`.

use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::str::FromStr;

use super::ConfigError;

/// A URL of a client or peer address. The scheme is always `http` in this version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// Port; zero asks the system for a free one when listening.
    pub port: u16,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Url, String> {
        let (scheme, rest) = text.split_once("://").ok_or("it must begin with http://")?;
        match scheme {
            "http" => {}
            "https" => {
                return Err(
                    "it asks for TLS, which is not in this version: use http:// inside a network that you trust".into(),
                );
            }
            "unix" | "unixs" => return Err("Unix sockets are not in this version: use http://host:port".into()),
            _ => return Err(format!("scheme {scheme:?} is unknown: it must begin with http://")),
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@', ' ']) {
            return Err("it must be http://host:port and nothing behind that".into());
        }
        let (host, port) = authority.rsplit_once(':').ok_or("the port is missing: http://host:port")?;
        let port = port.parse().map_err(|_| format!("{port:?} is not a port (0 to 65535)"))?;
        let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let host = match bare {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            Some(_) => return Err(format!("{host} is not an IPv6 address")),
            None if host.contains(':') => return Err("an IPv6 address stands in brackets: http://[::1]:2379".into()),
            None => host,
        };
        if host.is_empty() {
            return Err("the host is missing: http://host:port".into());
        }
        Ok(Url { host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "http://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "http://{}:{}", self.host, self.port)
        }
    }
}

impl Url {
    /// Every address that the host stands for.
    pub fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        Ok((self.host.as_str(), self.port).to_socket_addrs()?.collect())
    }

    /// Whether both stand for an address in common, by name or after asking the resolver.
    pub fn is_same_place(&self, other: &Url) -> bool {
        let resolved = |url: &Url| url.addresses().unwrap_or_default();
        self == other || resolved(self).iter().any(|address| resolved(other).contains(address))
    }

    /// Opens the port. Of a name with several addresses the first IPv4 one is taken, so that a port in use on it is an
    /// error rather than a member that listens somewhere else.
    pub fn listen(&self, flag: &'static str) -> Result<TcpListener, ConfigError> {
        let fail = |problem: String| ConfigError::Listen { flag, url: self.to_string(), problem };
        let addresses = self.addresses().map_err(|error| fail(format!("the host cannot be resolved ({error})")))?;
        let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        let address = address.ok_or_else(|| fail("the host stands for no address".to_owned()))?;
        TcpListener::bind(address).map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => fail(format!(
                "{address} is in use by another process: stop that one (perhaps an etcd or a Kontiki that still runs), \
                 or choose another port"
            )),
            std::io::ErrorKind::AddrNotAvailable => {
                fail(format!("{address} is not an address of this machine: use one that is, or 0.0.0.0 for all"))
            }
            std::io::ErrorKind::PermissionDenied => {
                fail(format!("this user may not open {address}: choose a port above 1023"))
            }
            _ => fail(format!("{address} cannot be opened: {error}")),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_are_read_and_written_as_etcd_does() {
        for text in ["http://localhost:2379", "http://10.0.0.1:80", "http://[::1]:2379"] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), text);
        }
        assert_eq!("http://Host.Example:1/".parse::<Url>().unwrap().to_string(), "http://host.example:1");
    }

    #[test]
    fn malformed_addresses_are_refused_with_a_reason() {
        let cases = [
            ("localhost:2379", "begin with http://"),
            ("https://a:1", "TLS"),
            ("unix:///tmp/x", "Unix sockets"),
            ("ftp://a:1", "scheme"),
            ("http://a", "port is missing"),
            ("http://a:99999", "not a port"),
            ("http://:1", "host is missing"),
            ("http://a:1/x", "nothing behind"),
            ("http://::1:1", "brackets"),
        ];
        for (text, reason) in cases {
            let error = text.parse::<Url>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_port_in_use_names_flag_and_address() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url { host: "127.0.0.1".into(), port: held.local_addr().unwrap().port() };
        let error = url.listen("listen-client-urls").unwrap_err().to_string();
        assert!(error.contains("--listen-client-urls") && error.contains("in use"), "{error}");
    }

    #[test]
    fn a_name_and_its_address_are_the_same_place() {
        let name: Url = "http://localhost:2380".parse().unwrap();
        let address: Url = "http://127.0.0.1:2380".parse().unwrap();
        assert!(name.is_same_place(&address));
        assert!(!name.is_same_place(&Url { port: 2381, ..address }));
    }
}
