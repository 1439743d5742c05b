//! Keys of rows, made so that their byte order is the order that reads want.
//!
//! - A user key is escaped (`00` becomes `00 FF`) and ended with `00 01`, so that no key's rows fall among another's and
//!   the order of keys is kept. The result is called the key's *prefix*.
//! - An old version is filed under prefix, then main and sub revision inverted: the newest version of a key comes first,
//!   and the version of a revision is the first one at or after that revision's place: one seek.
//! - A revision is filed under main and sub, big endian: the order of history.

use crate::error::KvError;
use crate::layers::Table;
use crate::request::KeyRange;

/// Bytes of the inverted revision behind a prefix.
pub(crate) const SUFFIX_BYTES: usize = 12;

/// Appends a user key's prefix.
pub(crate) fn put_prefix(out: &mut Vec<u8>, key: &[u8]) {
    let mut rest = key;
    while let Some(zero) = rest.iter().position(|&byte| byte == 0) {
        out.extend_from_slice(&rest[..=zero]);
        out.push(0xff);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0, 1]);
}

/// A user key's prefix.
pub(crate) fn prefix(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 2 + SUFFIX_BYTES);
    put_prefix(&mut out, key);
    out
}

/// The user key of a prefix.
pub(crate) fn user_key(prefix: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(prefix.len());
    put_user_key(&mut key, prefix);
    key
}

/// Appends the user key of a prefix.
pub(crate) fn put_user_key(key: &mut Vec<u8>, prefix: &[u8]) {
    let escaped = &prefix[..prefix.len().saturating_sub(2)];
    let mut rest = escaped;
    while let Some(zero) = rest.iter().position(|&byte| byte == 0) {
        key.extend_from_slice(&rest[..=zero]);
        rest = rest.get(zero + 2..).unwrap_or_default();
    }
    key.extend_from_slice(rest);
}

/// The first place behind all versions of a prefix's key.
pub(crate) fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut next = prefix.to_vec();
    if let Some(last) = next.last_mut() {
        *last = last.saturating_add(1); // the terminator's 01
    }
    next
}

/// Appends the inverted revision.
pub(crate) fn put_suffix(out: &mut Vec<u8>, main: i64, sub: u32) {
    out.extend_from_slice(&(!(main as u64)).to_be_bytes());
    out.extend_from_slice(&(!sub).to_be_bytes());
}

/// Key of a version.
pub(crate) fn version(prefix: &[u8], main: i64, sub: u32) -> Box<[u8]> {
    let mut out = Vec::with_capacity(prefix.len() + SUFFIX_BYTES);
    out.extend_from_slice(prefix);
    put_suffix(&mut out, main, sub);
    out.into_boxed_slice()
}

/// Takes the key of a version apart: prefix, main, sub.
pub(crate) fn split_version(row: &[u8]) -> Result<(&[u8], i64, u32), KvError> {
    let damaged = KvError::Damaged { table: Table::History, what: "key too short" };
    let Some((rest, sub)) = row.split_last_chunk::<4>() else { return Err(damaged) };
    let Some((prefix, main)) = rest.split_last_chunk::<8>() else { return Err(damaged) };
    if prefix.len() < 2 {
        return Err(damaged);
    }
    Ok((prefix, !u64::from_be_bytes(*main) as i64, !u32::from_be_bytes(*sub)))
}

/// Key of a revision.
pub(crate) fn revision(main: i64, sub: u32) -> [u8; 12] {
    let mut out = [0; 12];
    out[..8].copy_from_slice(&(main as u64).to_be_bytes());
    out[8..].copy_from_slice(&sub.to_be_bytes());
    out
}

/// Takes the key of a revision apart.
pub(crate) fn split_revision(row: &[u8]) -> Result<(i64, u32), KvError> {
    let damaged = || KvError::Damaged { table: Table::Revisions, what: "key of wrong length" };
    let row: &[u8; 12] = row.try_into().map_err(|_| damaged())?;
    let (main, sub) = row.split_first_chunk::<8>().ok_or_else(damaged)?;
    let sub: [u8; 4] = sub.try_into().map_err(|_| damaged())?;
    Ok((u64::from_be_bytes(*main) as i64, u32::from_be_bytes(sub)))
}

/// Key of a lease, in the order of identities.
pub(crate) fn lease(id: i64) -> [u8; 8] {
    ((id as u64) ^ (1 << 63)).to_be_bytes()
}

/// The lease that a row's key starts with.
pub(crate) fn split_lease(table: Table, row: &[u8]) -> Result<(i64, &[u8]), KvError> {
    let (id, rest) = row.split_first_chunk::<8>().ok_or(KvError::Damaged { table, what: "key too short" })?;
    Ok(((u64::from_be_bytes(*id) ^ (1 << 63)) as i64, rest))
}

/// Key of a key's attachment to a lease.
pub(crate) fn lease_key(id: i64, key: &[u8]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(8 + key.len());
    out.extend_from_slice(&lease(id));
    out.extend_from_slice(key);
    out.into_boxed_slice()
}

/// Where a range lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Span<'a> {
    /// One key.
    One(&'a [u8]),
    /// From a key on; up to, but without, another one if there is one.
    Many(&'a [u8], Option<&'a [u8]>),
}

/// Reads etcd's way of writing ranges.
pub(crate) fn span(range: &KeyRange) -> Span<'_> {
    match &range.range_end[..] {
        [] => Span::One(&range.key),
        [0] => Span::Many(&range.key, None),
        end => Span::Many(&range.key, Some(end)),
    }
}

impl Span<'_> {
    /// Whether a key lies in it.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        match *self {
            Span::One(one) => one == key,
            Span::Many(start, end) => key >= start && end.is_none_or(|end| key < end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&[u8]; 9] = [b"\0", b"\0\0", b"\0\xff", b"a", b"a\0", b"a\0b", b"a\x01", b"ab", b"\xff\xff"];

    #[test]
    fn prefixes_keep_order_and_come_back() {
        for pair in KEYS.windows(2) {
            assert!(prefix(pair[0]) < prefix(pair[1]), "{pair:?}");
            assert!(successor(&prefix(pair[0])) <= prefix(pair[1]), "{pair:?}");
        }
        for key in KEYS {
            assert_eq!(user_key(&prefix(key)), key);
        }
    }

    #[test]
    fn the_newest_version_comes_first_and_within_its_keys_rows() {
        for key in KEYS {
            let prefix = prefix(key);
            let rows = [version(&prefix, 9, 1), version(&prefix, 9, 0), version(&prefix, 2, 7), version(&prefix, 1, 0)];
            assert!(rows.is_sorted());
            assert!(rows.iter().all(|row| row[..] > prefix[..] && row[..] < successor(&prefix)[..]));
            assert_eq!(split_version(&rows[2]).unwrap(), (&prefix[..], 2, 7));
        }
    }

    #[test]
    fn leases_sort_by_identity() {
        let ids = [i64::MIN, -1, 0, 1, i64::MAX];
        assert!(ids.map(lease).is_sorted());
        assert!(ids.iter().all(|&id| split_lease(Table::Leases, &lease(id)).unwrap().0 == id));
    }
}
