//! The TLS flags of both sides, as the crate `kontiki-tls` takes them, and what does not fit together among them.

use std::path::PathBuf;

use kontiki_tls::{TlsFiles, TlsVersion};

use super::url::Url;
use super::{ConfigError, joined, value_error};
use crate::flags::Settings;

/// The names of one side's flags.
struct Names {
    cert: &'static str,
    key: &'static str,
    client_cert: &'static str,
    client_key: &'static str,
    client_auth: &'static str,
    trusted_ca: &'static str,
    crl: &'static str,
    allowed_cn: Option<&'static str>,
    allowed_hostname: &'static str,
    auto: &'static str,
    skip_san: Option<&'static str>,
}

const CLIENT: Names = Names {
    cert: "cert-file",
    key: "key-file",
    client_cert: "client-cert-file",
    client_key: "client-key-file",
    client_auth: "client-cert-auth",
    trusted_ca: "trusted-ca-file",
    crl: "client-crl-file",
    allowed_cn: None,
    allowed_hostname: "client-cert-allowed-hostname",
    auto: "auto-tls",
    skip_san: None,
};

const PEER: Names = Names {
    cert: "peer-cert-file",
    key: "peer-key-file",
    client_cert: "peer-client-cert-file",
    client_key: "peer-client-key-file",
    client_auth: "peer-client-cert-auth",
    trusted_ca: "peer-trusted-ca-file",
    crl: "peer-crl-file",
    allowed_cn: Some("peer-cert-allowed-cn"),
    allowed_hostname: "peer-cert-allowed-hostname",
    auto: "peer-auto-tls",
    skip_san: Some("peer-skip-client-san-verification"),
};

/// TLS towards clients.
pub fn client(settings: &Settings) -> Result<TlsFiles, ConfigError> {
    files(settings, &CLIENT)
}

/// TLS between members.
pub fn peer(settings: &Settings) -> Result<TlsFiles, ConfigError> {
    files(settings, &PEER)
}

/// A certificate, or one of one's own making, is at hand.
fn has_identity(tls: &TlsFiles) -> bool {
    tls.cert_file.is_some() || tls.auto_tls
}

/// Whether a URL asks for encryption.
fn is_secure(url: &Url) -> bool {
    let text = url.to_string();
    text.starts_with("https:") || text.starts_with("unixs:")
}

/// URLs and certificates of a side must fit together: `https` needs a certificate, and a certificate that no URL uses is
/// told, because somebody may believe that it protects.
pub fn check_urls(
    tls: &TlsFiles,
    flag: &'static str,
    cert_flag: &'static str,
    urls: &[Url],
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let (secure, plain): (Vec<Url>, Vec<Url>) = urls.iter().cloned().partition(is_secure);
    if let Some(url) = secure.first().filter(|_| !has_identity(tls)) {
        let problem = format!("{url} needs a certificate: give --{cert_flag} and its key, or a flag of automatic TLS");
        return Err(value_error(flag, problem));
    }
    if !plain.is_empty() && (has_identity(tls) || tls.client_cert_auth) {
        warnings.push(format!(
            "--{flag}: {} is served in plain text although TLS flags are given: they hold for https:// and unixs:// only",
            joined(&plain)
        ));
    }
    Ok(())
}

fn files(settings: &Settings, names: &Names) -> Result<TlsFiles, ConfigError> {
    let path = |flag| Some(settings.text(flag)).filter(|path| !path.is_empty()).map(PathBuf::from);
    let list = |flag: Option<&'static str>| flag.map(|flag| settings.list(flag).to_vec()).unwrap_or_default();
    let (min_version, max_version) = versions(settings)?;
    let years = super::bounded(settings, "self-signed-cert-validity", 0, 1000)?;
    let tls = TlsFiles {
        cert_file: path(names.cert),
        key_file: path(names.key),
        client_cert_file: path(names.client_cert),
        client_key_file: path(names.client_key),
        client_cert_auth: settings.switch(names.client_auth),
        trusted_ca_file: path(names.trusted_ca),
        crl_file: path(names.crl),
        allowed_cn: list(names.allowed_cn),
        allowed_hostname: list(Some(names.allowed_hostname)),
        auto_tls: settings.switch(names.auto),
        skip_client_san_verification: names.skip_san.is_some_and(|flag| settings.switch(flag)),
        self_signed_validity_years: u32::try_from(years.max(1)).expect("the bound is far lower"),
        cipher_suites: settings.list("cipher-suites").to_vec(),
        min_version,
        max_version,
    };
    pair(names.cert, &tls.cert_file, names.key, &tls.key_file)?;
    pair(names.client_cert, &tls.client_cert_file, names.client_key, &tls.client_key_file)?;
    if !tls.allowed_cn.is_empty() && !tls.allowed_hostname.is_empty() {
        let problem = format!("cannot be given beside --{}: choose one", names.allowed_cn.unwrap_or_default());
        return Err(value_error(names.allowed_hostname, problem));
    }
    Ok(tls)
}

/// A certificate is of no use without its key, nor the key without it.
fn pair(
    cert: &'static str,
    cert_file: &Option<PathBuf>,
    key: &'static str,
    key_file: &Option<PathBuf>,
) -> Result<(), ConfigError> {
    match (cert_file, key_file) {
        (Some(_), None) => Err(value_error(key, format!("must be given when --{cert} is"))),
        (None, Some(_)) => Err(value_error(cert, format!("must be given when --{key} is"))),
        (Some(_), Some(_)) | (None, None) => Ok(()),
    }
}

fn versions(settings: &Settings) -> Result<(Option<TlsVersion>, Option<TlsVersion>), ConfigError> {
    let version = |flag| match settings.text(flag) {
        "" => Ok(None),
        "TLS1.2" => Ok(Some(TlsVersion::Tls12)),
        "TLS1.3" => Ok(Some(TlsVersion::Tls13)),
        other => Err(value_error(flag, format!("{other:?} is not known: it must be TLS1.2 or TLS1.3"))),
    };
    let (least, most) = (version("tls-min-version")?, version("tls-max-version")?);
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        return Err(value_error("tls-max-version", "is lower than --tls-min-version"));
    }
    if least == Some(TlsVersion::Tls13) && !settings.list("cipher-suites").is_empty() {
        let problem = "cannot be chosen where --tls-min-version is TLS1.3, which has ciphers of its own";
        return Err(value_error("cipher-suites", problem));
    }
    Ok((least, most))
}
