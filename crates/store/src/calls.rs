//! Questions that only the leader can answer, and their answers, as bytes.
//!
//! A question is a kind (one byte) and numbers: lease identities, a member and its marks, each an index and a digest, or a
//! member and the number of an order. An answer is two numbers, for renewals two for each, never empty (an empty one is the
//! engine's "I do not lead"). All numbers are 64-bit little-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::leases::pace::RENEWALS_PER_CALL;
use crate::marks::Mark;
use crate::membership::Order;

/// Most marks in a report.
const MARKS_MAX: usize = 1_000;

/// A question about a lease, or news of a member's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Renew them.
    KeepAlive(Vec<i64>),
    /// How long will it live?
    TimeToLive(i64),
    /// Where a member's state stood. The answer says nothing.
    Report(Report),
    /// Do this to the configuration; the number tells orders apart. The answer is an [`crate::membership::OrderState`].
    Order(u64, Order),
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
    /// Seconds left; of a renewal the granted time, zero where there is nothing to renew, [`LeaseAnswer::AGAIN`] where it is
    /// to be asked again; otherwise −1 for an unknown lease.
    pub ttl: i64,
    /// Seconds granted, zero for an unknown lease. Of a renewal that came too late for a lease that is still there, also those.
    pub granted_ttl: i64,
}

impl LeaseAnswer {
    /// The renewal is on its way into the log: it holds once the same question is answered otherwise.
    pub const AGAIN: i64 = -2;
    /// A renewal of what is not there.
    pub const NONE: LeaseAnswer = LeaseAnswer { ttl: 0, granted_ttl: 0 };
}

impl Call {
    /// The bytes of the question.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(9);
        match self {
            Call::KeepAlive(ids) => {
                out.put_u8(1);
                ids.iter().for_each(|id| out.put_i64_le(*id));
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
            Call::Order(number, order) => {
                let (kind, member) = match order {
                    Order::Remove(member) => (40, member),
                    Order::Promote(member) => (41, member),
                };
                out.put_u8(kind);
                out.put_u64_le(*member);
                out.put_u64_le(*number);
            }
        }
        out.freeze()
    }

    /// Reads a question; none where it is malformed.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<Call> {
        let kind = bytes.try_get_u8().ok()?;
        if kind == 1 && !bytes.is_empty() && bytes.len().is_multiple_of(8) && bytes.len() <= 8 * RENEWALS_PER_CALL {
            return Some(Call::KeepAlive(bytes.chunks_exact(8).map(|mut id| id.get_i64_le()).collect()));
        }
        let id = bytes.try_get_u64_le().ok()?;
        match kind {
            2 => Some(Call::TimeToLive(id.cast_signed())),
            3 if bytes.len().is_multiple_of(16) && bytes.len() <= 16 * MARKS_MAX => {
                let mark = |mut bytes: &[u8]| Mark { index: bytes.get_u64_le(), digest: bytes.get_u64_le() };
                Some(Call::Report(Report { member: id, marks: bytes.chunks_exact(16).map(mark).collect() }))
            }
            40 | 41 => {
                let number = bytes.try_get_u64_le().ok()?;
                let order = if kind == 40 { Order::Remove(id) } else { Order::Promote(id) };
                bytes.is_empty().then_some(Call::Order(number, order))
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

    /// The bytes of answers to many renewals.
    #[must_use]
    pub fn encode_all(answers: &[LeaseAnswer]) -> Bytes {
        let mut out = BytesMut::with_capacity(16 * answers.len());
        for answer in answers {
            out.put_i64_le(answer.ttl);
            out.put_i64_le(answer.granted_ttl);
        }
        out.freeze()
    }

    /// Reads them back; none where they are not so many.
    #[must_use]
    pub fn decode_all(bytes: &[u8], count: usize) -> Option<Vec<LeaseAnswer>> {
        let answers = bytes.chunks_exact(16).map(LeaseAnswer::decode);
        if bytes.len() == 16 * count { answers.collect() } else { None }
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
        for call in [
            Call::KeepAlive(vec![-7]),
            Call::KeepAlive(vec![1, 2, i64::MIN]),
            Call::TimeToLive(i64::MAX),
            Call::Report(Report { member: 9, marks }),
            Call::Order(5, Order::Remove(7)),
            Call::Order(6, Order::Promote(8)),
        ] {
            assert_eq!(Call::decode(&call.encode()), Some(call));
        }
        assert_eq!(Call::decode(&[3, 1, 0, 0, 0, 0, 0, 0, 0, 5]), None, "half a mark");
        assert_eq!(Call::decode(&[9, 1, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Call::decode(&[1, 1]), None);
        assert_eq!(Call::decode(&[1]), None, "no lease at all");
        let answers = [LeaseAnswer::NONE, LeaseAnswer { ttl: LeaseAnswer::AGAIN, granted_ttl: 60 }];
        assert_eq!(LeaseAnswer::decode_all(&LeaseAnswer::encode_all(&answers), 2), Some(answers.to_vec()));
        assert_eq!(LeaseAnswer::decode_all(&LeaseAnswer::encode_all(&answers), 3), None);
    }
}
