//! The listening side: takes connections through their handshake.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::certificate::Owner;
use crate::reload::Reloading;
use crate::rules::{Clients, Rules};
use crate::{HandshakeError, Role, TlsError, TlsFiles, ciphers, files, san};

/// Takes connections on a port.
pub struct Acceptor {
    config: Reloading<Arc<ServerConfig>>,
    /// The certificates that are shown say who it is.
    identifies: bool,
    /// They must fit the address, too.
    checks_address: bool,
}

/// A connection whose handshake is done.
#[derive(Debug)]
pub struct Accepted<IO> {
    /// The plain side of it.
    pub stream: TlsStream<IO>,
    /// The common name in the verified certificate of the other side; only where `client_cert_auth` is set.
    pub common_name: Option<String>,
    /// HTTP/2 was agreed upon; without an agreement the first bytes tell.
    pub http2: bool,
}

impl Acceptor {
    /// Reads the files and checks that all fits together.
    ///
    /// # Errors
    /// What does not fit, by flag and file.
    pub fn new(role: Role, files: TlsFiles) -> Result<Acceptor, TlsError> {
        let protocols: &'static [&'static [u8]] = match role {
            Role::Client | Role::CommandLine => &[b"h2", b"http/1.1"],
            Role::Peer => &[],
        };
        Acceptor::speaking(protocols, role, files)
    }

    /// The same for a port on which no HTTP/2 is spoken.
    ///
    /// # Errors
    /// What does not fit, by flag and file.
    pub fn without_http2(role: Role, files: TlsFiles) -> Result<Acceptor, TlsError> {
        Acceptor::speaking(&[b"http/1.1"], role, files)
    }

    fn speaking(protocols: &'static [&'static [u8]], role: Role, files: TlsFiles) -> Result<Acceptor, TlsError> {
        if files.client_cert_auth && files.trusted_ca_file.is_none() {
            let problem = format!("needs --{}: whoever connects is verified against it", role.ca_flag());
            return Err(TlsError::new(role.cert_auth_flag(), problem));
        }
        if files.crl_file.is_some() && files.trusted_ca_file.is_none() {
            let problem = format!("needs --{}: without it nobody shows a certificate", role.ca_flag());
            return Err(TlsError::new(role.crl_flag(), problem));
        }
        let identifies = files.client_cert_auth;
        let checks_address = role == Role::Peer && !files.skip_client_san_verification;
        let watched = [&files.cert_file, &files.key_file, &files.trusted_ca_file, &files.crl_file];
        let watched: Vec<PathBuf> = watched.into_iter().flatten().cloned().collect();
        let config = Reloading::new(watched, move || config(protocols, role, &files).map(Arc::new))?;
        Ok(Acceptor { config, identifies, checks_address })
    }

    /// Takes a connection through its handshake.
    ///
    /// # Errors
    /// Why it is not let in. The other side has been told as far as TLS can tell.
    pub async fn accept<IO>(&self, io: IO, limit: Duration) -> Result<Accepted<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = TlsAcceptor::from(self.config.get()).accept(io);
        let stream = timeout(limit, handshake).await.map_err(|_| HandshakeError::Timeout(limit))??;
        let (_, connection) = stream.get_ref();
        let http2 = connection.alpn_protocol() == Some(b"h2");
        let shown = connection.peer_certificates().and_then(<[_]>::first).filter(|_| self.identifies);
        let common_name = shown.and_then(|certificate| Owner::of(certificate).common_name);
        let common_name = common_name.filter(|name| !name.is_empty());
        Ok(Accepted { stream, common_name, http2 })
    }

    /// Whether a peer's certificate fits the address that it connects from; `hosts` are the names of the peers that are
    /// known. Passed over for clients, and with `skip_client_san_verification`.
    ///
    /// # Errors
    /// If it does not.
    pub async fn check_address<IO>(
        &self,
        stream: &TlsStream<IO>,
        from: IpAddr,
        hosts: &[String],
    ) -> Result<(), HandshakeError> {
        match stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
            Some(certificate) if self.checks_address => san::check(certificate, from, hosts).await,
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("identifies", &self.identifies).finish_non_exhaustive()
    }
}

fn config(protocols: &[&[u8]], role: Role, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let Some(cert_file) = &files.cert_file else {
        let problem =
            format!("is needed for https, with --{}; or let --{} make one", role.key_flag(), role.auto_flag());
        return Err(TlsError::new(role.cert_flag(), problem));
    };
    let Some(key_file) = &files.key_file else {
        return Err(TlsError::new(role.key_flag(), format!("is needed with --{}", role.cert_flag())));
    };
    let provider = ciphers::provider(files)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&ciphers::versions(files)?)
        .map_err(|error| TlsError::new("cipher-suites", error.to_string()))?;
    // An authority alone is enough for etcd to ask for certificates.
    let builder = match &files.trusted_ca_file {
        None => builder.with_no_client_auth(),
        Some(ca_file) => {
            let roots = files::authorities(role.ca_flag(), ca_file)?;
            let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            if let Some(crl_file) = &files.crl_file {
                // Authorities in between rarely have a list; the one that is given counts for whom it is about.
                verifier = verifier
                    .with_crls(files::revocation_lists(role.crl_flag(), crl_file)?)
                    .allow_unknown_revocation_status();
            }
            let authorities = verifier.build().map_err(|error| {
                let blamed = files.crl_file.as_ref().map_or((role.ca_flag(), ca_file), |file| (role.crl_flag(), file));
                TlsError::file(blamed.0, blamed.1, error)
            })?;
            builder
                .with_client_cert_verifier(Arc::new(Clients { authorities, rules: Arc::new(Rules::new(role, files)?) }))
        }
    };
    let chain = files::certificates(role.cert_flag(), cert_file)?;
    let key = files::private_key(role.key_flag(), key_file)?;
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        TlsError::file(role.cert_flag(), cert_file, format!("cannot be used with --{}: {error}", role.key_flag()))
    })?;
    // A resumed session would not be verified again: neither against a revocation list nor against the clock.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}
