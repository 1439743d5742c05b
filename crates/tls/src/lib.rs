//! TLS as etcd's flags describe it: which files, who is let in, which versions and ciphers.
//!
//! An [`Acceptor`] takes connections on a port: the one for clients, or the one for peers ([`Role`]). A [`Connector`]
//! dials, for a member towards its peers and for the command line towards members. Both read their files again when these
//! change, so that a certificate is renewed without a restart; a new file that cannot be used is reported, and the old
//! ones stay. Sessions are never resumed: each connection's certificate is looked at afresh, against the revocation list
//! of the day.

mod acceptor;
mod certificate;
mod ciphers;
mod connector;
mod error;
mod files;
mod reload;
mod role;
mod rules;
mod san;
mod self_signed;
mod socket;

use std::path::PathBuf;

pub use acceptor::{Accepted, Acceptor};
pub use connector::{Connector, ConnectorFiles};
pub use error::{HandshakeError, TlsError};
pub use role::Role;
pub use self_signed::self_signed;
pub use socket::TlsSocket;

/// The TLS flags of one side of a member: of its client port, or of its peer port (etcd's `--…` and `--peer-…`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// `--cert-file`: the certificate, with its chain, in PEM.
    pub cert_file: Option<PathBuf>,
    /// `--key-file`: its private key in PEM.
    pub key_file: Option<PathBuf>,
    /// `--client-cert-file`: the certificate for connections that this member opens; the one above where none is given.
    pub client_cert_file: Option<PathBuf>,
    /// `--client-key-file`.
    pub client_key_file: Option<PathBuf>,
    /// `--client-cert-auth`: whoever connects must show a certificate of the trusted authority.
    pub client_cert_auth: bool,
    /// `--trusted-ca-file`.
    pub trusted_ca_file: Option<PathBuf>,
    /// `--client-crl-file`, `--peer-crl-file`.
    pub crl_file: Option<PathBuf>,
    /// `--peer-cert-allowed-cn`: common names let in; empty for all.
    pub allowed_cn: Vec<String>,
    /// `--client-cert-allowed-hostname`, `--peer-cert-allowed-hostname`: names let in; empty for all.
    pub allowed_hostname: Vec<String>,
    /// `--auto-tls`, `--peer-auto-tls`: a certificate of one's own making.
    pub auto_tls: bool,
    /// `--peer-skip-client-san-verification`.
    pub skip_client_san_verification: bool,
    /// `--self-signed-cert-validity` in years.
    pub self_signed_validity_years: u32,
    /// `--cipher-suites`, by their Go names; empty for the library's choice.
    pub cipher_suites: Vec<String>,
    /// `--tls-min-version`.
    pub min_version: Option<TlsVersion>,
    /// `--tls-max-version`.
    pub max_version: Option<TlsVersion>,
}

/// A version of TLS. Older ones than these are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}
