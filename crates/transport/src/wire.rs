//! Numbers on the wire: writers for them, and a reader that never trusts what it reads.
//!
//! Counts and positions are varints (seven bits per byte, least significant first, shortest form only). Member identities
//! are hashes that use all 64 bits, so they travel as eight bytes, least significant first.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::FrameError;

/// No list in a frame is longer. Together with [`crate::FRAME_BYTES_MAX`] it bounds what one frame can make us allocate:
/// a list item in memory is larger than its shortest form on the wire.
pub(crate) const COUNT_MAX: usize = 1 << 20;

/// Appends a number as varint.
pub(crate) fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Reads the fields of one frame from front to back. Offsets in errors count from the frame's first byte.
pub(crate) struct Reader {
    frame: Bytes,
    at: usize,
}

impl Reader {
    /// Starts at offset `at`.
    pub(crate) fn new(frame: Bytes, at: usize) -> Reader {
        Reader { frame, at }
    }

    /// The offset of the next byte.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub(crate) fn remaining(&self) -> usize {
        self.frame.len() - self.at
    }

    /// One byte.
    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, FrameError> {
        let value = *self.frame.get(self.at).ok_or(FrameError::Truncated { what, offset: self.at })?;
        self.at += 1;
        Ok(value)
    }

    /// A byte of which only the bits in `known` may be set.
    pub(crate) fn flags(&mut self, what: &'static str, known: u8) -> Result<u8, FrameError> {
        let offset = self.at;
        let value = self.byte(what)?;
        if value & !known != 0 {
            return Err(FrameError::Invalid { what, offset, value: u64::from(value) });
        }
        Ok(value)
    }

    /// A varint in its shortest form.
    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, FrameError> {
        let offset = self.at;
        let mut value = 0_u64;
        for shift in (0..).step_by(7) {
            let byte = *self.frame.get(self.at).ok_or(FrameError::Truncated { what, offset })?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds the 64th bit and nothing else; a zero byte at the end says nothing.
            if (shift == 63 && byte > 1) || (shift > 0 && byte == 0) {
                return Err(FrameError::Invalid { what, offset, value });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    /// A varint of at most 32 bits.
    pub(crate) fn small(&mut self, what: &'static str) -> Result<u32, FrameError> {
        let offset = self.at;
        let value = self.varint(what)?;
        u32::try_from(value).map_err(|_| FrameError::Invalid { what, offset, value })
    }

    /// Eight bytes.
    pub(crate) fn fixed(&mut self, what: &'static str) -> Result<u64, FrameError> {
        let bytes = self.frame[self.at..].first_chunk::<8>().ok_or(FrameError::Truncated { what, offset: self.at })?;
        self.at += 8;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// The length of a list whose items take at least `item_bytes` each: never more than can follow.
    pub(crate) fn count(&mut self, what: &'static str, item_bytes: usize) -> Result<usize, FrameError> {
        let offset = self.at;
        let value = self.varint(what)?;
        let most = COUNT_MAX.min(self.remaining() / item_bytes);
        usize::try_from(value).ok().filter(|count| *count <= most).ok_or(FrameError::Invalid { what, offset, value })
    }

    /// The payloads at the frame's end: their number, their lengths, then their bytes up to the frame's last. The bytes
    /// are slices of the frame, not copies.
    pub(crate) fn payloads(&mut self) -> Result<Vec<Bytes>, FrameError> {
        let count = self.count("payload count", 1)?;
        let mut lengths = Reader::new(self.frame.clone(), self.at);
        for _ in 0..count {
            self.varint("payload length")?;
        }
        let mut payloads = Vec::with_capacity(count);
        for _ in 0..count {
            let offset = lengths.offset();
            let value = lengths.varint("payload length")?;
            let length = usize::try_from(value)
                .ok()
                .filter(|length| *length <= self.remaining())
                .ok_or(FrameError::Invalid { what: "payload length", offset, value })?;
            payloads.push(self.frame.slice(self.at..self.at + length));
            self.at += length;
        }
        Ok(payloads)
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<(), FrameError> {
        match self.remaining() {
            0 => Ok(()),
            extra => Err(FrameError::Trailing { offset: self.at, extra }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn varint(bytes: &[u8]) -> Result<u64, FrameError> {
        Reader::new(Bytes::copy_from_slice(bytes), 0).varint("n")
    }

    #[test]
    fn varints_have_one_form() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (1, &[0x01]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (300, &[0xac, 0x02]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            assert_eq!(&out[..], bytes);
            assert_eq!(varint(bytes).unwrap(), value);
        }
    }

    #[test]
    fn odd_varints_are_refused() {
        let longer_than_needed = [0x80, 0x00];
        let beyond_64_bits = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        let eleven_bytes = [0xff; 11];
        for bytes in [&longer_than_needed[..], &beyond_64_bits, &eleven_bytes] {
            assert!(matches!(varint(bytes), Err(FrameError::Invalid { what: "n", offset: 0, .. })), "{bytes:x?}");
        }
        assert_eq!(varint(&[0x80]), Err(FrameError::Truncated { what: "n", offset: 0 }));
        assert_eq!(varint(&[]), Err(FrameError::Truncated { what: "n", offset: 0 }));
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused_before_anything_is_allocated() {
        let mut reader = Reader::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]), 0);
        assert!(matches!(reader.count("list", 1), Err(FrameError::Invalid { what: "list", offset: 0, .. })));
    }
}
