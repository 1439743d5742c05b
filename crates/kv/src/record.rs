//! A version of a key as it stands in a row: flags, history marks as small differences, then the value.

use bytes::Bytes;

use crate::error::KvError;
use crate::layers::Table;
use crate::request::KeyValue;
use crate::wire::{Wire, put_signed, put_varint, signed_len, varint_len};

const TOMBSTONE: u8 = 1;
const LEASED: u8 = 2;

/// A put or deletion of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Revision that it was written at.
    pub main: i64,
    /// Place within that revision.
    pub sub: u32,
    /// Whether it is a deletion. The fields below are then zero.
    pub tombstone: bool,
    /// Revision of the put that created this incarnation.
    pub create_revision: i64,
    /// Number of puts in this incarnation.
    pub version: i64,
    /// Attached lease, zero for none.
    pub lease: i64,
    /// The value; empty where it was not asked for.
    pub value: Bytes,
    /// Bytes of the value, also where it was not asked for.
    pub value_len: usize,
}

impl Version {
    /// As clients see it.
    pub(crate) fn key_value(&self, key: Bytes) -> KeyValue {
        KeyValue {
            key,
            create_revision: self.create_revision,
            mod_revision: self.main,
            version: self.version,
            value: self.value.clone(),
            lease: self.lease,
        }
    }
}

/// The row of a put.
pub(crate) fn encode(main: i64, create_revision: i64, version: i64, lease: i64, value: &[u8]) -> Bytes {
    let age = (main - create_revision) as u64;
    let leased = if lease == 0 { 0 } else { signed_len(lease) };
    // Exactly as long as needed: the row is then shared later without a second allocation for the rest.
    let mut row = Vec::with_capacity(1 + varint_len(age) + varint_len(version as u64) + leased + value.len());
    row.push(if lease == 0 { 0 } else { LEASED });
    put_varint(&mut row, age);
    put_varint(&mut row, version as u64);
    if lease != 0 {
        put_signed(&mut row, lease);
    }
    row.extend_from_slice(value);
    Bytes::from(row)
}

/// The row of a deletion.
pub(crate) fn tombstone() -> Bytes {
    Bytes::from_static(&[TOMBSTONE])
}

/// Reads a row. `value` makes the value out of the row's bytes and the offset that it starts at.
pub(crate) fn decode(main: i64, sub: u32, row: &[u8], value: impl FnOnce(usize) -> Bytes) -> Result<Version, KvError> {
    let mut wire = Wire::new(row);
    let read = |wire: &mut Wire<'_>| {
        let flags = wire.byte()?;
        if flags & TOMBSTONE != 0 {
            return Some((true, 0, 0, 0));
        }
        let age = i64::try_from(wire.varint()?).ok()?;
        let version = i64::try_from(wire.varint()?).ok()?;
        let lease = if flags & LEASED == 0 { 0 } else { wire.signed()? };
        Some((false, main.checked_sub(age)?, version, lease))
    };
    let (tombstone, create_revision, version, lease) =
        read(&mut wire).ok_or(KvError::Damaged { table: Table::Keys, what: "marks cut short" })?;
    let at = if tombstone { row.len() } else { wire.position() };
    let (value, value_len) = (if tombstone { Bytes::new() } else { value(at) }, row.len() - at);
    Ok(Version { main, sub, tombstone, create_revision, version, lease, value, value_len })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_comes_back() {
        for (lease, value) in [(0, &b"v"[..]), (7, b""), (i64::MIN, b"\0\0"), (i64::MAX, b"long enough to see")] {
            let row = encode(90, 12, 3, lease, value);
            let version = decode(90, 4, &row, |at| row.slice(at..)).unwrap();
            assert_eq!((version.create_revision, version.version, version.lease), (12, 3, lease));
            assert_eq!((version.main, version.sub, &version.value[..]), (90, 4, value));
            assert_eq!(decode(90, 4, &row, |_| Bytes::new()).unwrap().value_len, value.len());
        }
    }

    #[test]
    fn damage_is_an_error() {
        assert!(decode(1, 0, &[], |_| Bytes::new()).is_err());
        assert!(decode(1, 0, &[0, 0x80], |_| Bytes::new()).is_err());
        assert!(decode(1, 0, &[2, 0, 1], |_| Bytes::new()).is_err());
    }
}
