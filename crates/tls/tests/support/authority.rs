//! An authority for tests: issues and revokes certificates, in files as an operator has them.
#![allow(dead_code, reason = "each test program uses its part")]

use std::path::{Path, PathBuf};

use kontiki_tls::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// An authority and the files that it wrote.
pub struct Authority {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("ca.pem"), "CERTIFICATE", issuer.der());
        Authority { dir, issuer }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A certificate for a name and for where it may be used.
    pub fn issue(&self, name: &str, serial: u64, hosts: &[&str]) {
        self.issue_until(name, serial, hosts, 2099);
    }

    /// The same, up to a year.
    pub fn issue_until(&self, name: &str, serial: u64, hosts: &[&str], year: i32) {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
        let mut parameters = CertificateParams::new(hosts).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.serial_number = Some(SerialNumber::from(serial));
        parameters.not_before = date_time_ymd(2000, 1, 1);
        parameters.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        write(&self.path(&format!("{name}.pem")), "CERTIFICATE", certificate.der());
        write(&self.path(&format!("{name}.key")), "PRIVATE KEY", &key.serialize_der());
    }

    pub fn revoke(&self, serial: u64) {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        write(&self.path("crl.pem"), "X509 CRL", list.signed_by(&self.issuer).unwrap().der());
    }

    /// Settings of the member of that name, which demands certificates of this authority.
    pub fn files(&self, name: &str) -> TlsFiles {
        TlsFiles {
            cert_file: Some(self.path(&format!("{name}.pem"))),
            key_file: Some(self.path(&format!("{name}.key"))),
            trusted_ca_file: Some(self.path("ca.pem")),
            client_cert_auth: true,
            ..TlsFiles::default()
        }
    }
}

fn write(path: &Path, label: &str, der: &[u8]) {
    use base64::Engine;
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    std::fs::write(path, format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")).unwrap();
}
