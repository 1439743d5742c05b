//! Addresses as etcd writes them: `http://host:port`, `https://host:port`, `unix://path`, `unixs://path`.

use std::fmt;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::str::FromStr;

use super::ConfigError;

mod unix;

/// What is spoken at an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// Over a port, without encryption.
    #[default]
    Http,
    /// Over a port, in TLS.
    Https,
    /// Over a path, without encryption.
    Unix,
    /// Over a path, in TLS.
    Unixs,
}

impl Scheme {
    const ALL: [Scheme; 4] = [Scheme::Http, Scheme::Https, Scheme::Unix, Scheme::Unixs];

    fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Unix => "unix",
            Scheme::Unixs => "unixs",
        }
    }
}

/// A URL of a client or peer address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    /// What is spoken there.
    pub scheme: Scheme,
    /// A name or an address; an IPv6 address without brackets. Of a Unix socket, its path.
    pub host: String,
    /// Port; zero asks the system for a free one when listening. Zero for a Unix socket.
    pub port: u16,
}

/// A socket that was opened for a URL.
#[derive(Debug)]
pub enum Opened {
    /// A port.
    Tcp(TcpListener),
    /// A path.
    Unix(UnixListener),
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Url, String> {
        const FORM: &str = "it must be http://host:port, https://host:port or unix://path";
        let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
        let known = Scheme::ALL.into_iter().find(|known| known.name() == scheme);
        let scheme = known.ok_or_else(|| format!("scheme {scheme:?} is unknown: {FORM}"))?;
        match scheme {
            Scheme::Http | Scheme::Https => network(scheme, rest),
            Scheme::Unix | Scheme::Unixs if rest.is_empty() => Err("the path is missing: unix://path".into()),
            Scheme::Unix | Scheme::Unixs if rest.contains(['?', '#', '\0', ',']) => {
                Err("it must be unix://path and nothing behind that".into())
            }
            Scheme::Unix | Scheme::Unixs => Ok(Url { scheme, host: rest.to_owned(), port: 0 }),
        }
    }
}

fn network(scheme: Scheme, rest: &str) -> Result<Url, String> {
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
    Ok(Url { scheme, host: host.to_ascii_lowercase(), port })
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.name();
        if self.is_path() {
            write!(f, "{scheme}://{}", self.host)
        } else if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl Url {
    /// TLS is spoken there.
    pub fn is_secure(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Unixs)
    }

    /// It is a Unix socket.
    pub fn is_path(&self) -> bool {
        matches!(self.scheme, Scheme::Unix | Scheme::Unixs)
    }

    /// Every address that the host stands for; none for a path.
    pub fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        if self.is_path() {
            return Ok(Vec::new());
        }
        Ok((self.host.as_str(), self.port).to_socket_addrs()?.collect())
    }

    /// Whether both stand for an address in common, by name or after asking the resolver, and the same is spoken there.
    pub fn is_same_place(&self, other: &Url) -> bool {
        let resolved = |url: &Url| url.addresses().unwrap_or_default();
        self == other
            || self.scheme == other.scheme && resolved(self).iter().any(|address| resolved(other).contains(address))
    }

    /// Opens the port or the path.
    pub fn open(&self, flag: &'static str) -> Result<Opened, ConfigError> {
        if self.is_path() {
            let opened = unix::listen(&PathBuf::from(&self.host));
            return opened.map(Opened::Unix).map_err(|problem| self.failed(flag, problem));
        }
        self.listen(flag).map(Opened::Tcp)
    }

    /// Opens the port. Of a name with several addresses the first IPv4 one is taken, so that a port in use on it is an
    /// error rather than a member that listens somewhere else.
    pub fn listen(&self, flag: &'static str) -> Result<TcpListener, ConfigError> {
        let fail = |problem: String| self.failed(flag, problem);
        if self.is_path() {
            return Err(fail("members are heard on ports only: use https://host:port or http://host:port".to_owned()));
        }
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

    fn failed(&self, flag: &'static str, problem: String) -> ConfigError {
        ConfigError::Listen { flag, url: self.to_string(), problem }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_are_read_and_written_as_etcd_does() {
        for text in [
            "http://localhost:2379",
            "http://10.0.0.1:80",
            "http://[::1]:2379",
            "https://a.example:2379",
            "https://[::1]:1",
            "unix:///run/kontiki.sock",
            "unixs://relative:1",
        ] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), text);
        }
        assert_eq!("http://Host.Example:1/".parse::<Url>().unwrap().to_string(), "http://host.example:1");
        let path: Url = "unix://Dir/Name".parse().unwrap();
        assert_eq!((path.host.as_str(), path.is_secure(), path.is_path()), ("Dir/Name", false, true));
    }

    #[test]
    fn malformed_addresses_are_refused_with_a_reason() {
        let cases = [
            ("localhost:2379", "must be http://"),
            ("unix://", "path is missing"),
            ("unix://a?b", "nothing behind"),
            ("ftp://a:1", "scheme"),
            ("http://a", "port is missing"),
            ("https://a", "port is missing"),
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
        let url = Url { scheme: Scheme::Http, host: "127.0.0.1".into(), port: held.local_addr().unwrap().port() };
        let error = url.listen("listen-client-urls").unwrap_err().to_string();
        assert!(error.contains("--listen-client-urls") && error.contains("in use"), "{error}");
    }

    #[test]
    fn a_name_and_its_address_are_the_same_place() {
        let name: Url = "http://localhost:2380".parse().unwrap();
        let address: Url = "http://127.0.0.1:2380".parse().unwrap();
        assert!(name.is_same_place(&address));
        assert!(!name.is_same_place(&Url { scheme: Scheme::Https, ..address.clone() }));
        assert!(!name.is_same_place(&Url { port: 2381, ..address }));
    }
}
