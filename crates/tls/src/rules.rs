//! Who is let in beyond what an authority has signed: allowed common names and host names. Part of the verification of a
//! certificate, so that the handshake itself fails.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificate::Owner;
use crate::{Role, TlsError, TlsFiles};

/// Names that are let in; no names of a kind for all.
#[derive(Debug)]
pub(crate) struct Rules {
    common_names: Vec<String>,
    hostnames: Vec<ServerName<'static>>,
}

impl Rules {
    pub(crate) fn new(role: Role, files: &TlsFiles) -> Result<Rules, TlsError> {
        if !files.allowed_cn.is_empty() && !files.allowed_hostname.is_empty() {
            return Err(TlsError::new(role.hostname_flag(), "common names and host names cannot both be demanded"));
        }
        let name = |text: &String| {
            ServerName::try_from(text.clone()).map_err(|_| {
                TlsError::new(role.hostname_flag(), format!("{text:?} is neither a host name nor an address"))
            })
        };
        let hostnames = files.allowed_hostname.iter().map(name).collect::<Result<_, _>>()?;
        Ok(Rules { common_names: files.allowed_cn.clone(), hostnames })
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if !self.common_names.is_empty() {
            let name = Owner::of(certificate).common_name.unwrap_or_default();
            if !self.common_names.contains(&name) {
                return Err(Error::General(format!(
                    "the certificate's common name {name:?} is not among the allowed ones"
                )));
            }
        }
        if !self.hostnames.is_empty() {
            let parsed = ParsedCertificate::try_from(certificate)?;
            let fits = |name: &ServerName<'_>| rustls::client::verify_server_name(&parsed, name).is_ok();
            if !self.hostnames.iter().any(fits) {
                return Err(Error::General("the certificate is made out to none of the allowed host names".to_owned()));
            }
        }
        Ok(())
    }
}

/// Verifies a client's certificate, then asks the rules.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) authorities: Arc<dyn ClientCertVerifier>,
    pub(crate) rules: Arc<Rules>,
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.authorities.verify_client_cert(end_entity, intermediates, now)?;
        self.rules.check(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Verifies a server's certificate, then asks the rules.
#[derive(Debug)]
pub(crate) struct Servers {
    /// None: any certificate will do, for the sake of certificates of one's own making.
    pub(crate) authorities: Option<Arc<dyn ServerCertVerifier>>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(authorities) = &self.authorities {
            authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        }
        self.rules.check(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
