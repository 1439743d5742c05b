//! Whether TLS is spoken with an endpoint, and how.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kontiki_tls::{Connector, ConnectorFiles};

use super::dial::{Address, Wire};
use super::failure::Failure;
use super::settings::TlsSettings;

/// How long a handshake may take; the time to dial usually ends it before.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What an endpoint says about TLS.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Secure {
    /// Plain text.
    Never,
    /// TLS.
    Always,
    /// TLS where the flags ask for it.
    IfAsked,
}

/// What the flags say about TLS.
pub struct TlsChoice {
    asked: bool,
    files: ConnectorFiles,
    connector: OnceLock<ClientTls>,
}

/// Speaks TLS.
#[derive(Clone, Debug)]
pub struct ClientTls(Arc<Connector>);

impl TlsChoice {
    /// Reads the files that the flags name, if any.
    pub fn of(settings: &TlsSettings) -> Result<TlsChoice, Failure> {
        let path = |file: &Option<String>| file.as_ref().filter(|file| !file.is_empty()).map(Into::into);
        let files = ConnectorFiles {
            ca_file: path(&settings.cacert),
            cert_file: path(&settings.cert),
            key_file: path(&settings.key),
            insecure_skip_verify: settings.insecure_skip_tls_verify,
            server_name: None,
        };
        let named = files.ca_file.is_some() || files.cert_file.is_some() || files.key_file.is_some();
        let choice = TlsChoice { asked: named || !settings.insecure_transport, files, connector: OnceLock::new() };
        if named {
            choice.connector().map_err(Failure::arguments)?;
        }
        Ok(choice)
    }

    /// What is spoken with this address.
    pub fn for_address(&self, address: &Address) -> Result<Option<ClientTls>, String> {
        match address.secure {
            Secure::Never => Ok(None),
            Secure::IfAsked if !self.asked => Ok(None),
            Secure::IfAsked | Secure::Always => self.connector().map(Some),
        }
    }

    /// The authorities of the system are read only when they are needed.
    fn connector(&self) -> Result<ClientTls, String> {
        if let Some(connector) = self.connector.get() {
            return Ok(connector.clone());
        }
        let connector = Connector::for_command_line(self.files.clone()).map_err(|error| error.to_string())?;
        Ok(self.connector.get_or_init(|| ClientTls(Arc::new(connector))).clone())
    }
}

impl ClientTls {
    /// Speaks TLS over a connection.
    pub async fn wrap(&self, host: &str, wire: Box<dyn Wire>) -> io::Result<Box<dyn Wire>> {
        let secure = self.0.connect(host, wire, HANDSHAKE).await;
        secure.map(|secure| Box::new(secure) as Box<dyn Wire>).map_err(io::Error::other)
    }
}
