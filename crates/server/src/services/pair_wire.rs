//! Key-value pairs as the wire has them, written from where the bytes lie: no message tree is made of a pair that is only
//! passed on. Also how long one is before it is read, so that an answer's length is known ahead of its bytes.

use bytes::BytesMut;
use kontiki_kv::{Found, KeyValue};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// A pair, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair<'a> {
    key: &'a [u8],
    /// With their tags: create revision, mod revision, version, and the lease behind the value.
    numbers: [(u32, i64); 3],
    lease: i64,
    value: &'a [u8],
    /// Of the value, which may not be there yet.
    value_len: usize,
}

const KEY: u32 = 1;
const VALUE: u32 = 5;
const LEASE: u32 = 6;

impl<'a> From<&'a KeyValue> for Pair<'a> {
    fn from(kv: &'a KeyValue) -> Pair<'a> {
        Pair {
            key: &kv.key,
            numbers: [(2, kv.create_revision), (3, kv.mod_revision), (4, kv.version)],
            lease: kv.lease,
            value: &kv.value,
            value_len: kv.value.len(),
        }
    }
}

impl<'a> From<Found<'a>> for Pair<'a> {
    fn from(found: Found<'a>) -> Pair<'a> {
        Pair {
            key: found.key,
            numbers: [(2, found.create_revision), (3, found.mod_revision), (4, found.version)],
            lease: found.lease,
            value: found.value,
            value_len: found.value_len,
        }
    }
}

impl Pair<'_> {
    /// Its bytes as a message.
    pub(crate) fn encoded_len(&self) -> usize {
        let bytes = |tag, length| if length == 0 { 0 } else { field_len(tag, length) };
        let number =
            |(tag, value): (u32, i64)| if value == 0 { 0 } else { key_len(tag) + encoded_len_varint(value as u64) };
        let numbers: usize = self.numbers.into_iter().map(number).sum();
        bytes(KEY, self.key.len()) + numbers + bytes(VALUE, self.value_len) + number((LEASE, self.lease))
    }

    /// Appends it as a field.
    ///
    /// # Panics
    /// Where its value was not read.
    pub(crate) fn write(&self, tag: u32, buffer: &mut BytesMut) {
        assert_eq!(self.value.len(), self.value_len, "a pair is written with its value");
        open(tag, self.encoded_len(), buffer);
        bytes(KEY, self.key, buffer);
        for (tag, value) in self.numbers {
            number(tag, value, buffer);
        }
        bytes(VALUE, self.value, buffer);
        number(LEASE, self.lease, buffer);
    }
}

/// Bytes of a field of `length` bytes, with its key.
pub(crate) fn field_len(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64) + length
}

/// Appends what stands before a field of `length` bytes.
pub(crate) fn open(tag: u32, length: usize, buffer: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(length as u64, buffer);
}

fn bytes(tag: u32, value: &[u8], buffer: &mut BytesMut) {
    if !value.is_empty() {
        open(tag, value.len(), buffer);
        buffer.extend_from_slice(value);
    }
}

fn number(tag: u32, value: i64, buffer: &mut BytesMut) {
    if value != 0 {
        encode_key(tag, WireType::Varint, buffer);
        encode_varint(value as u64, buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert;
    use prost::Message;

    #[test]
    fn bytes_are_those_of_the_message() {
        for (key, value, number) in [("k", "", 0), ("key", "value", 1), ("longer", "v", i64::MAX), ("k", "x", -7)] {
            let kv = KeyValue {
                key: key.into(),
                value: value.into(),
                create_revision: number,
                mod_revision: number,
                version: 3,
                lease: number,
            };
            let mut buffer = BytesMut::new();
            Pair::from(&kv).write(2, &mut buffer);
            let message = convert::key_value(kv.clone()).encode_to_vec();
            assert_eq!(Pair::from(&kv).encoded_len(), message.len());
            assert_eq!(buffer.len(), field_len(2, message.len()));
            assert_eq!(buffer[2..], message[..]);
        }
    }
}
