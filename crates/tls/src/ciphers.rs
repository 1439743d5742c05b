//! Versions and cipher suites, by the names that etcd's flags give them (those of Go).

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{CipherSuite, SupportedProtocolVersion, version};

use crate::{TlsError, TlsFiles, TlsVersion};

/// The suites of TLS 1.2 that can be chosen.
const CHOICE: [(&str, CipherSuite); 6] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Those of TLS 1.3: always on, and not for a list to choose.
const ALWAYS: [&str; 3] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Those that Go knows and that are no longer good enough. Lists in the field contain them beside good ones.
const WEAK: [&str; 17] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_FALLBACK_SCSV",
];

const FLAG: &str = "cipher-suites";

/// The cryptography that the settings allow.
pub(crate) fn provider(files: &TlsFiles) -> Result<Arc<CryptoProvider>, TlsError> {
    let mut provider = ring::default_provider();
    if files.cipher_suites.is_empty() {
        return Ok(Arc::new(provider));
    }
    if files.min_version == Some(TlsVersion::Tls13) {
        return Err(TlsError::new(FLAG, "cannot be chosen where --tls-min-version leaves TLS 1.3 only"));
    }
    let mut chosen = Vec::new();
    for name in &files.cipher_suites {
        // The name of before Go 1.14.
        let full = format!("{name}_SHA256");
        let known = CHOICE.iter().find(|(known, _)| known == name || *known == full);
        match known {
            Some((_, suite)) => chosen.push(*suite),
            None if ALWAYS.contains(&name.as_str()) => {}
            None if WEAK.contains(&name.as_str()) => tracing::warn!(suite = name, "a weak cipher suite is not offered"),
            None => return Err(unknown(name)),
        }
    }
    if chosen.is_empty() && files.max_version == Some(TlsVersion::Tls12) {
        return Err(TlsError::new(FLAG, format!("leaves nothing: choose among {}", choice())));
    }
    provider.cipher_suites.retain(|suite| match suite {
        rustls::SupportedCipherSuite::Tls12(_) => chosen.contains(&suite.suite()),
        rustls::SupportedCipherSuite::Tls13(_) => true,
    });
    // The first in the list is the one that is liked best.
    provider.cipher_suites.sort_by_key(|suite| chosen.iter().position(|wanted| *wanted == suite.suite()));
    Ok(Arc::new(provider))
}

fn unknown(name: &str) -> TlsError {
    TlsError::new(FLAG, format!("{name:?} is not known: choose among {}", choice()))
}

fn choice() -> String {
    CHOICE.map(|(name, _)| name).join(", ")
}

/// The versions that the settings allow.
pub(crate) fn versions(files: &TlsFiles) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let least = files.min_version.unwrap_or(TlsVersion::Tls12);
    let most = files.max_version.unwrap_or(TlsVersion::Tls13);
    if least > most {
        return Err(TlsError::new("tls-max-version", "is lower than --tls-min-version"));
    }
    let all = [(TlsVersion::Tls13, &version::TLS13), (TlsVersion::Tls12, &version::TLS12)];
    Ok(all.into_iter().filter(|(known, _)| (least..=most).contains(known)).map(|(_, found)| found).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn chosen(names: &[&str]) -> Result<Vec<CipherSuite>, TlsError> {
        let files = TlsFiles {
            cipher_suites: names.iter().map(|name| (*name).to_owned()).collect(),
            max_version: Some(TlsVersion::Tls12),
            ..TlsFiles::default()
        };
        let provider = provider(&files)?;
        let of_12 = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_none());
        Ok(of_12.map(rustls::SupportedCipherSuite::suite).collect())
    }

    #[test]
    fn suites_are_chosen_by_gos_names_in_the_lists_order() {
        let both = ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];
        let found = chosen(&both).unwrap();
        assert_eq!(found[0], CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256);
        assert_eq!(found.len(), 2);
        assert_eq!(chosen(&[]).unwrap().len(), CHOICE.len());
        let mixed = ["TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"];
        assert_eq!(chosen(&mixed).unwrap().len(), 1);
    }

    #[test]
    fn unknown_and_empty_lists_are_refused() {
        let error = chosen(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA1"]).unwrap_err().to_string();
        assert!(
            error.contains("--cipher-suites") && error.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            "{error}"
        );
        assert!(chosen(&["TLS_RSA_WITH_RC4_128_SHA"]).is_err(), "nothing is left");
    }

    #[test]
    fn versions_have_an_order() {
        let versions = |min_version, max_version| {
            versions(&TlsFiles { min_version, max_version, ..TlsFiles::default() }).map(|all| all.len())
        };
        assert_eq!(versions(None, None), Ok(2));
        assert_eq!(versions(Some(TlsVersion::Tls13), None), Ok(1));
        assert_eq!(versions(None, Some(TlsVersion::Tls12)), Ok(1));
        assert!(versions(Some(TlsVersion::Tls13), Some(TlsVersion::Tls12)).is_err());
    }
}
