//! The dialing side: of a member towards its peers, and of the command line towards members.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::reload::Reloading;
use crate::rules::{Rules, Servers};
use crate::{HandshakeError, Role, TlsError, TlsFiles, ciphers, files};

/// Opens connections.
pub struct Connector {
    config: Reloading<Arc<ClientConfig>>,
    server_name: Option<ServerName<'static>>,
}

/// What the command line is given: etcdctl's flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectorFiles {
    /// `--cacert`; what the system trusts, where there is none.
    pub ca_file: Option<PathBuf>,
    /// `--cert`.
    pub cert_file: Option<PathBuf>,
    /// `--key`.
    pub key_file: Option<PathBuf>,
    /// `--insecure-skip-tls-verify`: take any certificate.
    pub insecure_skip_verify: bool,
    /// The name that the server's certificate must be made out to, instead of the one that is dialed.
    pub server_name: Option<String>,
}

impl Connector {
    /// For a member's connections to its peers.
    ///
    /// # Errors
    /// What does not fit, by flag and file.
    pub fn for_peers(files: &TlsFiles) -> Result<Connector, TlsError> {
        // Certificates of one's own making have no authority; they only keep listeners on the wire out.
        let insecure = files.auto_tls && files.trusted_ca_file.is_none();
        let given = ConnectorFiles {
            ca_file: files.trusted_ca_file.clone(),
            cert_file: files.client_cert_file.clone().or_else(|| files.cert_file.clone()),
            key_file: files.client_key_file.clone().or_else(|| files.key_file.clone()),
            insecure_skip_verify: insecure,
            server_name: None,
        };
        Connector::new(Role::Peer, given, files.clone())
    }

    /// For the command line.
    ///
    /// # Errors
    /// What does not fit, by flag and file.
    pub fn for_command_line(files: ConnectorFiles) -> Result<Connector, TlsError> {
        Connector::new(Role::CommandLine, files, TlsFiles::default())
    }

    fn new(role: Role, given: ConnectorFiles, files: TlsFiles) -> Result<Connector, TlsError> {
        let server_name = given.server_name.clone().map(ServerName::try_from).transpose();
        let server_name =
            server_name.map_err(|_| TlsError::new("server-name", "is neither a host name nor an address"))?;
        let watched = [&given.ca_file, &given.cert_file, &given.key_file, &files.crl_file];
        let watched: Vec<PathBuf> = watched.into_iter().flatten().cloned().collect();
        let config = Reloading::new(watched, move || config(role, &given, &files).map(Arc::new))?;
        Ok(Connector { config, server_name })
    }

    /// Takes a fresh connection to `host` (a name, or an address without brackets and port) through its handshake.
    ///
    /// # Errors
    /// Why not; a certificate that is not the host's is one reason.
    pub async fn connect<IO>(&self, host: &str, io: IO, limit: Duration) -> Result<TlsStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|_| HandshakeError::Name(host.to_owned()))?,
        };
        let handshake = TlsConnector::from(self.config.get()).connect(name, io);
        Ok(timeout(limit, handshake).await.map_err(|_| HandshakeError::Timeout(limit))??)
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

fn config(role: Role, given: &ConnectorFiles, files: &TlsFiles) -> Result<ClientConfig, TlsError> {
    let provider = ciphers::provider(files)?;
    let authorities: Option<Arc<dyn ServerCertVerifier>> = if given.insecure_skip_verify {
        None
    } else {
        let roots = match &given.ca_file {
            Some(path) => files::authorities(role.ca_flag(), path)?,
            None => files::system_authorities(role.ca_flag())?,
        };
        let mut verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        if let Some(crl_file) = &files.crl_file {
            verifier = verifier
                .with_crls(files::revocation_lists(role.crl_flag(), crl_file)?)
                .allow_unknown_revocation_status();
        }
        let built = verifier.build().map_err(|error| {
            let place = given.ca_file.as_deref().unwrap_or(Path::new("the system's authorities"));
            TlsError::file(role.ca_flag(), place, error)
        })?;
        Some(built)
    };
    let servers = Servers { authorities, rules: Arc::new(Rules::new(role, files)?), provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&ciphers::versions(files)?)
        .map_err(|error| TlsError::new("cipher-suites", error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(servers));
    let mut config = match (&given.cert_file, &given.key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert_file), Some(key_file)) => {
            let chain = files::certificates(role.client_cert_flag(), cert_file)?;
            let key = files::private_key(role.client_key_flag(), key_file)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let problem = format!("cannot be used with --{}: {error}", role.client_key_flag());
                TlsError::file(role.client_cert_flag(), cert_file, problem)
            })?
        }
        (Some(_), None) => {
            return Err(TlsError::new(role.client_key_flag(), format!("is needed with --{}", role.client_cert_flag())));
        }
        (None, Some(_)) => {
            return Err(TlsError::new(role.client_cert_flag(), format!("is needed with --{}", role.client_key_flag())));
        }
    };
    config.resumption = Resumption::disabled();
    if role == Role::CommandLine {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Ok(config)
}
