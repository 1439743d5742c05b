//! The ports of a member: opened before anything else is touched, so that one in use stops nothing half-way, each with the
//! TLS that its URL asks for.

use std::sync::Arc;

use kontiki_server::{ListenSocket, Listener};
use kontiki_store::PeerListener;
use kontiki_tls::{Acceptor, Connector, Role, TlsError, TlsFiles};

use crate::config::url::{Opened, Url};
use crate::config::{ConfigError, ServerConfig};

/// Open ports.
pub struct Ports {
    /// For clients.
    pub client: Vec<Listener>,
    /// For clients' HTTP, if apart from their gRPC.
    pub http: Vec<Listener>,
    /// For health and metrics alone.
    pub metrics: Vec<Listener>,
    /// For members.
    pub peer: Vec<PeerListener>,
    /// Dials members whose URLs are `https`.
    pub connector: Option<Arc<Connector>>,
}

impl Ports {
    /// Opens every port that the settings name, and reads every file of TLS.
    pub fn open(config: &ServerConfig) -> Result<Ports, ConfigError> {
        let client_tls = with_own_certificate(config, Role::Client)?;
        let peer_tls = with_own_certificate(config, Role::Peer)?;
        let founders = config.initial_cluster.iter().flat_map(|member| &member.peer_urls);
        let peers: Vec<&Url> = config.listen_peer.iter().chain(&config.advertise_peer).chain(founders).collect();
        if let Some(path) = peers.iter().find(|url| url.is_path()) {
            let problem =
                format!("{path}: members are reached at ports only: use https://host:port or http://host:port");
            return Err(ConfigError::Value { flag: "initial-advertise-peer-urls", problem });
        }
        let dials_in_tls = peers.iter().any(|url| url.is_secure());
        let connector = dials_in_tls.then(|| Connector::for_peers(&peer_tls)).transpose();
        Ok(Ports {
            client: listeners("listen-client-urls", &config.listen_client, || {
                Acceptor::new(Role::Client, client_tls.clone())
            })?,
            http: listeners("listen-client-http-urls", &config.listen_client_http, || {
                Acceptor::new(Role::Client, client_tls.clone())
            })?,
            metrics: listeners("listen-metrics-urls", &config.listen_metrics, || {
                Acceptor::without_http2(Role::Client, client_tls.clone())
            })?,
            peer: peer_listeners(&config.listen_peer, &peer_tls)?,
            connector: connector.map_err(value)?.map(Arc::new),
        })
    }
}

fn value(error: TlsError) -> ConfigError {
    ConfigError::Value { flag: error.flag, problem: error.problem }
}

fn listeners(
    flag: &'static str,
    urls: &[Url],
    acceptor: impl Fn() -> Result<Acceptor, TlsError>,
) -> Result<Vec<Listener>, ConfigError> {
    let acceptor = shared(urls, acceptor)?;
    let open = |url: &Url| {
        let socket = match url.open(flag)? {
            Opened::Tcp(socket) => ListenSocket::Tcp(socket),
            Opened::Unix(socket) => ListenSocket::Unix(socket),
        };
        Ok(Listener { socket, tls: acceptor.clone().filter(|_| url.is_secure()) })
    };
    urls.iter().map(open).collect()
}

fn peer_listeners(urls: &[Url], tls: &TlsFiles) -> Result<Vec<PeerListener>, ConfigError> {
    let acceptor = shared(urls, || Acceptor::new(Role::Peer, tls.clone()))?;
    let open = |url: &Url| {
        let socket = url.listen("listen-peer-urls")?;
        Ok(PeerListener { socket, tls: acceptor.clone().filter(|_| url.is_secure()) })
    };
    urls.iter().map(open).collect()
}

/// One for all URLs that ask for TLS, if any does.
fn shared(
    urls: &[Url],
    acceptor: impl Fn() -> Result<Acceptor, TlsError>,
) -> Result<Option<Arc<Acceptor>>, ConfigError> {
    let wanted = urls.iter().any(Url::is_secure);
    Ok(wanted.then(acceptor).transpose().map_err(value)?.map(Arc::new))
}

/// The TLS settings of a side; with `--auto-tls`, and no certificate given, completed by one of the member's own making.
fn with_own_certificate(config: &ServerConfig, role: Role) -> Result<TlsFiles, ConfigError> {
    let (files, place, urls) = match role {
        Role::Client | Role::CommandLine => (
            &config.client_tls,
            "client",
            [&config.listen_client[..], &config.listen_client_http, &config.listen_metrics],
        ),
        Role::Peer => (&config.peer_tls, "peer", [&config.listen_peer[..], &config.advertise_peer, &[]]),
    };
    let secure = urls.into_iter().flatten().filter(|url| url.is_secure());
    let mut hosts: Vec<String> = secure.filter(|url| !url.is_path()).map(|url| url.host.clone()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    if !files.auto_tls || files.cert_file.is_some() || !urls.into_iter().flatten().any(Url::is_secure) {
        return Ok(files.clone());
    }
    let dir = config.data_dir.join("fixtures").join(place);
    let (cert_file, key_file) =
        kontiki_tls::self_signed(role, &dir, &hosts, files.self_signed_validity_years).map_err(value)?;
    Ok(TlsFiles { cert_file: Some(cert_file), key_file: Some(key_file), ..files.clone() })
}
