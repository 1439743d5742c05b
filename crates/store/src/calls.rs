//! Questions that only the leader can answer, and their answers, as bytes.
//!
//! A question is a kind (one byte) and numbers: a lease identity, or a member and its marks, each an index and a digest. An
//! answer is two numbers, never empty (an empty one is the engine's "I do not lead"). All numbers are 64-bit
//! little-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::marks::Mark;

/// Most marks in a report.
const MARKS_MAX: usize = 1_000;

/// A question about a lease, or news of a member's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Renew it.
    KeepAlive(i64),
    /// How long will it live?
    TimeToLive(i64),
    /// Where a member's state stood. The answer says nothing.
    Report(Report),
}

/// What a member's state was like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The member.
    pub member: u64,
    /// Its marks, in any order.
    pub marks: Vec<Mark>,
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
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(9);
        match self {
            Call::KeepAlive(id) => {
                out.put_u8(1);
                out.put_i64_le(*id);
            }
            Call::TimeToLive(id) => {
                out.put_u8(2);
                out.put_i64_le(*id);
            }
            Call::Report(Report { member, marks }) => {
                out.put_u8(3);
                out.put_u64_le(*member);
                for mark in marks {
                    out.put_u64_le(mark.index);
                    out.put_u64_le(mark.digest);
                }
            }
        }
        out.freeze()
    }

    /// Reads a question; none where it is malformed.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<Call> {
        let kind = bytes.try_get_u8().ok()?;
        let id = bytes.try_get_u64_le().ok()?;
        match kind {
            1 => Some(Call::KeepAlive(id.cast_signed())),
            2 => Some(Call::TimeToLive(id.cast_signed())),
            3 if bytes.len().is_multiple_of(16) && bytes.len() <= 16 * MARKS_MAX => {
                let mark = |mut bytes: &[u8]| Mark { index: bytes.get_u64_le(), digest: bytes.get_u64_le() };
                Some(Call::Report(Report { member: id, marks: bytes.chunks_exact(16).map(mark).collect() }))
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_survive_the_wire_and_garbage_is_told() {
        let marks = vec![Mark { index: 256, digest: u64::MAX }, Mark { index: 300, digest: 1 }];
        for call in [Call::KeepAlive(-7), Call::TimeToLive(i64::MAX), Call::Report(Report { member: 9, marks })] {
            assert_eq!(Call::decode(&call.encode()), Some(call));
        }
        assert_eq!(Call::decode(&[3, 1, 0, 0, 0, 0, 0, 0, 0, 5]), None, "half a mark");
        assert_eq!(Call::decode(&[9, 1, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Call::decode(&[1, 1]), None);
    }
}
