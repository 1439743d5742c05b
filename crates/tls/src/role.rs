//! Whose TLS it is, and what the flags are called there.

/// One side's set of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A member towards its clients.
    Client,
    /// A member towards its peers.
    Peer,
    /// The command line towards members.
    CommandLine,
}

impl Role {
    pub(crate) fn cert_flag(self) -> &'static str {
        match self {
            Role::Client => "cert-file",
            Role::Peer => "peer-cert-file",
            Role::CommandLine => "cert",
        }
    }

    pub(crate) fn key_flag(self) -> &'static str {
        match self {
            Role::Client => "key-file",
            Role::Peer => "peer-key-file",
            Role::CommandLine => "key",
        }
    }

    pub(crate) fn client_cert_flag(self) -> &'static str {
        match self {
            Role::Client => "client-cert-file",
            Role::Peer => "peer-client-cert-file",
            Role::CommandLine => "cert",
        }
    }

    pub(crate) fn client_key_flag(self) -> &'static str {
        match self {
            Role::Client => "client-key-file",
            Role::Peer => "peer-client-key-file",
            Role::CommandLine => "key",
        }
    }

    pub(crate) fn ca_flag(self) -> &'static str {
        match self {
            Role::Client => "trusted-ca-file",
            Role::Peer => "peer-trusted-ca-file",
            Role::CommandLine => "cacert",
        }
    }

    pub(crate) fn crl_flag(self) -> &'static str {
        match self {
            Role::Client | Role::CommandLine => "client-crl-file",
            Role::Peer => "peer-crl-file",
        }
    }

    pub(crate) fn cert_auth_flag(self) -> &'static str {
        match self {
            Role::Client | Role::CommandLine => "client-cert-auth",
            Role::Peer => "peer-client-cert-auth",
        }
    }

    pub(crate) fn hostname_flag(self) -> &'static str {
        match self {
            Role::Client | Role::CommandLine => "client-cert-allowed-hostname",
            Role::Peer => "peer-cert-allowed-hostname",
        }
    }

    pub(crate) fn auto_flag(self) -> &'static str {
        match self {
            Role::Client | Role::CommandLine => "auto-tls",
            Role::Peer => "peer-auto-tls",
        }
    }
}
