//! Whether a peer's certificate is made out to where the peer connects from.

use std::net::IpAddr;
use std::time::Duration;

use crate::HandshakeError;
use crate::certificate::Owner;

/// A resolver that does not answer is not waited for.
const RESOLVE: Duration = Duration::from_secs(3);

/// A certificate without names and addresses fits everywhere. One address that is the other side's is enough, or one name
/// that stands for it. A name with a wildcard is looked up by way of `hosts`, the names that peers are known under.
pub(crate) async fn check(certificate: &[u8], from: IpAddr, hosts: &[String]) -> Result<(), HandshakeError> {
    let owner = Owner::of(certificate);
    let from = from.to_canonical();
    if (owner.dns_names.is_empty() && owner.addresses.is_empty()) || owner.addresses.contains(&from) {
        return Ok(());
    }
    let names = owner.dns_names.iter().flat_map(|name| match name.strip_prefix('*') {
        None => vec![name.clone()],
        Some(suffix) => hosts.iter().filter(|host| is_below(host, suffix)).cloned().collect(),
    });
    for name in names {
        if let Ok(Ok(mut found)) = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((name.as_str(), 0))).await
            && found.any(|address| address.ip().to_canonical() == from)
        {
            return Ok(());
        }
    }
    Err(HandshakeError::Address(format!(
        "{from} is none of the addresses {:?} and no name among {:?} stands for it",
        owner.addresses, owner.dns_names
    )))
}

/// Whether a name is one label in front of a suffix that begins with a dot.
fn is_below(host: &str, suffix: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host.strip_suffix(&suffix.to_ascii_lowercase()).is_some_and(|label| !label.is_empty() && !label.contains('.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn made_out_to(names: &[&str]) -> Vec<u8> {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap().der().to_vec()
    }

    #[tokio::test]
    async fn addresses_and_names_count() {
        let here = "127.0.0.1".parse().unwrap();
        let elsewhere = "192.0.2.1".parse().unwrap();
        assert!(check(&made_out_to(&[]), elsewhere, &[]).await.is_ok());
        assert!(check(&made_out_to(&["127.0.0.1"]), here, &[]).await.is_ok());
        assert!(check(&made_out_to(&["10.0.0.1", "localhost"]), here, &[]).await.is_ok());
        assert!(check(&made_out_to(&["127.0.0.1"]), "::ffff:127.0.0.1".parse().unwrap(), &[]).await.is_ok());
        let error = check(&made_out_to(&["127.0.0.1", "localhost"]), elsewhere, &[]).await.unwrap_err();
        assert!(error.to_string().contains("192.0.2.1"), "{error}");
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert!(is_below("a.Example", ".example") && is_below("etcd-0.etcd.svc", ".etcd.svc"));
        assert!(
            !is_below("example", ".example")
                && !is_below("a.b.example", ".example")
                && !is_below(".example", ".example")
        );
    }
}
