//! What a certificate says of its owner: the common name, and the names and addresses that it is made out to.
//!
//! Only certificates that were verified are read, so this takes DER apart without checking more than that nothing lies
//! outside. What does not look as expected counts as not there.

use std::net::IpAddr;

/// `2.5.4.3`.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// `2.5.29.17`.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// A certificate's owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) common_name: Option<String>,
    pub(crate) dns_names: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
}

impl Owner {
    pub(crate) fn of(certificate: &[u8]) -> Owner {
        read(certificate).unwrap_or_default()
    }
}

fn read(certificate: &[u8]) -> Option<Owner> {
    let mut fields = Der(Der(Der(certificate).expect(SEQUENCE)?).expect(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.next()?;
    }
    for _serial_signature_issuer_validity in 0..4 {
        fields.next()?;
    }
    let mut owner = Owner { common_name: common_name(fields.expect(SEQUENCE)?), ..Owner::default() };
    while let Some((tag, content)) = fields.next() {
        if tag == EXTENSIONS {
            alternative_names(Der(content).expect(SEQUENCE)?, &mut owner);
        }
    }
    Some(owner)
}

/// The last one, should there be several: as Go reads it.
fn common_name(subject: &[u8]) -> Option<String> {
    let mut found = None;
    let mut sets = Der(subject);
    while let Some(set) = sets.expect(SET) {
        let mut attributes = Der(set);
        while let Some(attribute) = attributes.expect(SEQUENCE) {
            let mut attribute = Der(attribute);
            if attribute.expect(OBJECT_ID)? == COMMON_NAME {
                let (_, text) = attribute.next()?;
                found = String::from_utf8(text.to_vec()).ok();
            }
        }
    }
    found
}

fn alternative_names(extensions: &[u8], owner: &mut Owner) {
    let mut extensions = Der(extensions);
    while let Some(extension) = extensions.expect(SEQUENCE) {
        let mut extension = Der(extension);
        if extension.expect(OBJECT_ID) != Some(SUBJECT_ALT_NAME) {
            continue;
        }
        if extension.0.first() == Some(&BOOLEAN) {
            extension.next();
        }
        let names = extension.expect(OCTETS).and_then(|octets| Der(octets).expect(SEQUENCE));
        let mut names = Der(names.unwrap_or_default());
        while let Some((tag, name)) = names.next() {
            match tag {
                DNS_NAME => owner.dns_names.extend(String::from_utf8(name.to_vec())),
                IP_ADDRESS => owner.addresses.extend(address(name)),
                _ => {}
            }
        }
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// Values one behind the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next value, if it has this tag.
    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn certificate() -> Vec<u8> {
        let mut parameters =
            rcgen::CertificateParams::new(["a.example".to_owned(), "10.0.0.7".into(), "::1".into()]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::OrganizationName, "kontiki");
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "alice");
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_owner_is_read() {
        let owner = Owner::of(&certificate());
        assert_eq!(owner.common_name.as_deref(), Some("alice"));
        assert_eq!(owner.dns_names, ["a.example"]);
        assert_eq!(owner.addresses, ["10.0.0.7".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
    }

    /// Whatever the bytes are, nothing panics.
    #[test]
    fn damage_is_harmless() {
        let good = certificate();
        for at in 0..good.len() {
            Owner::of(&good[..at]);
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                Owner::of(&bad);
            }
        }
        assert_eq!(Owner::of(&[]), Owner::default());
    }
}
