//! Questions that only the leader can answer, and their answers, as bytes.
//!
//! A question is a kind and a lease identity; an answer two numbers, never empty (an empty one is the engine's "I do not
//! lead"). All numbers are 64-bit little-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A question about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Renew it.
    KeepAlive(i64),
    /// How long will it live?
    TimeToLive(i64),
}

/// The leader's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseAnswer {
    /// Seconds left; of a renewal the granted time, zero where there is nothing to renew; otherwise −1 for an unknown lease.
    pub ttl: i64,
    /// Seconds granted, zero for an unknown lease.
    pub granted_ttl: i64,
}

impl Call {
    /// The bytes of the question.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let (kind, id) = match self {
            Call::KeepAlive(id) => (1, id),
            Call::TimeToLive(id) => (2, id),
        };
        let mut out = BytesMut::with_capacity(9);
        out.put_u8(kind);
        out.put_i64_le(id);
        out.freeze()
    }

    /// Reads a question; none where it is malformed.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<Call> {
        let kind = bytes.try_get_u8().ok()?;
        let id = bytes.try_get_i64_le().ok()?;
        match kind {
            1 => Some(Call::KeepAlive(id)),
            2 => Some(Call::TimeToLive(id)),
            _ => None,
        }
    }
}

impl LeaseAnswer {
    /// The bytes of the answer.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(16);
        out.put_i64_le(self.ttl);
        out.put_i64_le(self.granted_ttl);
        out.freeze()
    }

    /// Reads an answer; none where it is malformed.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<LeaseAnswer> {
        Some(LeaseAnswer { ttl: bytes.try_get_i64_le().ok()?, granted_ttl: bytes.try_get_i64_le().ok()? })
    }
}
