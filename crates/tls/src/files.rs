//! Certificates, keys and revocation lists from files.

use std::path::Path;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::TlsError;

/// Where systems keep the authorities that they trust.
const SYSTEM_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// No file of these is larger.
const FILE_BYTES_MAX: u64 = 16 << 20;

fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let fail = |error: std::io::Error| TlsError::file(flag, path, format!("cannot be read: {error}"));
    let length = std::fs::metadata(path).map_err(fail)?.len();
    if length > FILE_BYTES_MAX {
        return Err(TlsError::file(flag, path, format!("has {length} bytes, which is no certificate")));
    }
    std::fs::read(path).map_err(fail)
}

/// All certificates of a PEM file, in order; at least one.
pub(crate) fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(flag, path)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| TlsError::file(flag, path, format!("is not PEM: {error}")))?;
    if found.is_empty() {
        return Err(TlsError::file(flag, path, "has no certificate in PEM (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(found)
}

/// The first private key of a PEM file.
pub(crate) fn private_key(flag: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(flag, path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        TlsError::file(flag, path, format!("has no private key in PEM that can be used without a password: {error}"))
    })
}

/// The authorities of a PEM file.
pub(crate) fn authorities(flag: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(flag, path)? {
        roots.add(certificate).map_err(|error| TlsError::file(flag, path, format!("an authority in it: {error}")))?;
    }
    Ok(roots)
}

/// The authorities that the system trusts.
pub(crate) fn system_authorities(flag: &'static str) -> Result<RootCertStore, TlsError> {
    let bundle = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists());
    let Some(bundle) = bundle else {
        return Err(TlsError::new(flag, "is needed: this system has no list of authorities of its own"));
    };
    let mut roots = RootCertStore::empty();
    // A list of this size has a few that are too odd; they are passed over, as everywhere.
    roots.add_parsable_certificates(certificates(flag, bundle)?);
    Ok(roots)
}

/// The revocation lists of a file: PEM, or one list as it is (DER).
pub(crate) fn revocation_lists(
    flag: &'static str,
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let text = read(flag, path)?;
    let found = CertificateRevocationListDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| TlsError::file(flag, path, format!("is not PEM: {error}")))?;
    match text.first() {
        _ if !found.is_empty() => Ok(found),
        Some(0x30) => Ok(vec![CertificateRevocationListDer::from(text)]),
        _ => Err(TlsError::file(flag, path, "has no revocation list, neither PEM (-----BEGIN X509 CRL-----) nor DER")),
    }
}
