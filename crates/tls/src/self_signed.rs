//! Certificates of a member's own making (`--auto-tls`): they keep listeners on the wire out, and prove nothing.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use crate::{Role, TlsError};

/// So long before its end a certificate is made anew at the next start.
const MARGIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The certificate and key in a directory: those that are there, or new ones for these hosts, valid for so many years.
///
/// # Errors
/// If the directory cannot be written.
pub fn self_signed(role: Role, dir: &Path, hosts: &[String], years: u32) -> Result<(PathBuf, PathBuf), TlsError> {
    if years == 0 {
        return Err(TlsError::new("self-signed-cert-validity", "must be one year or more"));
    }
    let (cert_file, key_file) = (dir.join("cert.pem"), dir.join("key.pem"));
    let validity = DAY * 365 * years;
    if is_young(&cert_file, validity.saturating_sub(MARGIN)) && key_file.exists() {
        return Ok((cert_file, key_file));
    }
    let (certificate, key) = make(hosts, validity)
        .map_err(|error| TlsError::file(role.auto_flag(), dir, format!("no certificate: {error}")))?;
    let written = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .and_then(|()| write(&key_file, "PRIVATE KEY", &key))
        .and_then(|()| write(&cert_file, "CERTIFICATE", &certificate));
    written.map_err(|error| TlsError::file(role.auto_flag(), dir, format!("cannot be written: {error}")))?;
    Ok((cert_file, key_file))
}

fn is_young(path: &Path, most: Duration) -> bool {
    let age = std::fs::metadata(path).and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
    age.is_some_and(|age| age < most)
}

fn make(hosts: &[String], validity: Duration) -> Result<(Vec<u8>, Vec<u8>), rcgen::Error> {
    let mut parameters = CertificateParams::new(hosts.to_vec())?;
    let now = time::OffsetDateTime::now_utc();
    parameters.not_before = now - DAY; // clocks differ
    parameters.not_after = now + validity;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, "kontiki");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    Ok((certificate.der().to_vec(), key.serialize_der()))
}

/// Replaces a file, never readable for others.
fn write(path: &Path, label: &str, der: &[u8]) -> io::Result<()> {
    let mut text = format!("-----BEGIN {label}-----\n");
    let encoded = BASE64_STANDARD.encode(der);
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}
