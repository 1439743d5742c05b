//! Numbers and byte strings as they stand in commands, rows and snapshots: varints, zigzag, length before content.

use bytes::Bytes;

/// Appends an unsigned number, seven bits a byte, least significant first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed number so that small ones of either sign are short.
pub(crate) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_varint(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// Bytes that [`put_varint`] takes.
pub(crate) fn varint_len(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// Bytes that [`put_signed`] takes.
pub(crate) fn signed_len(number: i64) -> usize {
    varint_len(((number << 1) ^ (number >> 63)) as u64)
}

/// Appends a byte string with its length before it.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what the functions above wrote. Answers none past the end and on numbers that are too long; the position then
/// tells where.
#[derive(Debug)]
pub(crate) struct Wire<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Wire<'a> {
        Wire { bytes, position: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.position)?;
        self.position += 1;
        Some(byte)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some(((number >> 1) as i64) ^ -((number & 1) as i64))
    }

    pub(crate) fn slice(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        if len > self.remaining() {
            return None;
        }
        let start = self.position;
        self.position += len;
        Some(&self.bytes[start..self.position])
    }

    /// A byte string as a slice of `whole`, which must be what this reads. No copy.
    pub(crate) fn shared(&mut self, whole: &Bytes) -> Option<Bytes> {
        Some(whole.slice_ref(self.slice()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_the_edges_come_back() {
        let mut out = Vec::new();
        let unsigned = [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX];
        let signed = [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN];
        unsigned.iter().for_each(|&n| put_varint(&mut out, n));
        signed.iter().for_each(|&n| put_signed(&mut out, n));
        let mut wire = Wire::new(&out);
        assert!(unsigned.iter().all(|&n| wire.varint() == Some(n)));
        assert!(signed.iter().all(|&n| wire.signed() == Some(n)));
        assert_eq!(wire.byte(), None);
    }

    #[test]
    fn a_number_over_64_bits_is_none() {
        assert_eq!(Wire::new(&[0xff; 11]).varint(), None);
        assert_eq!(Wire::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint(), None);
    }

    #[test]
    fn a_length_beyond_the_end_is_none() {
        assert_eq!(Wire::new(&[3, 1, 2]).slice(), None);
        assert_eq!(Wire::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).slice(), None);
    }
}
