//! Proposals on their way to the leader's log, with who sent them here.

use std::collections::BTreeMap;

use bytes::Bytes;
use kontiki_raft::{GroupId, NodeId};
use kontiki_transport::{Frame, REFUSED_HEAD_BYTES};

use crate::group::Shared;
use crate::machine::StateMachine;

/// Most proposals that one frame names.
const NAMED_MAX: usize = 10_000;

/// Why a proposal was refused before it entered any log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Too much waits already.
    TooMuch,
    /// The leader's disk is full, and the proposal takes space.
    NoSpace,
}

impl NotTaken {
    /// As on the wire, see `docs/formats/peer.md`.
    pub(crate) const fn code(self) -> u8 {
        match self {
            NotTaken::TooMuch => 1,
            NotTaken::NoSpace => 2,
        }
    }

    /// A reason that this version does not know counts as the mildest.
    pub(crate) const fn of_code(code: u8) -> NotTaken {
        match code {
            2 => NotTaken::NoSpace,
            _ => NotTaken::TooMuch,
        }
    }
}

/// Proposals in order, each with the member that forwarded it; none for this one's own.
#[derive(Debug, Default)]
pub(crate) struct Proposals {
    payloads: Vec<Bytes>,
    from: Vec<Option<NodeId>>,
}

impl Proposals {
    /// Adds one.
    pub fn push(&mut self, from: Option<NodeId>, payload: Bytes) {
        self.payloads.push(payload);
        self.from.push(from);
    }

    /// Adds what a member forwarded.
    pub fn extend(&mut self, from: NodeId, payloads: Vec<Bytes>) {
        payloads.into_iter().for_each(|payload| self.push(Some(from), payload));
    }

    /// The proposals themselves.
    #[must_use]
    pub fn payloads(&self) -> &[Bytes] {
        &self.payloads
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.payloads.iter().map(|payload| payload.len() as u64).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payloads.is_empty()
    }

    /// Takes those out that `wanted` names.
    #[must_use]
    pub fn split_off(&mut self, wanted: impl Fn(&Bytes) -> bool) -> Proposals {
        let (mut out, mut kept) = (Proposals::default(), Proposals::default());
        for (from, payload) in std::mem::take(self) {
            let side = if wanted(&payload) { &mut out } else { &mut kept };
            side.push(from, payload);
        }
        *self = kept;
        out
    }
}

/// Tells the state machine, or the member that forwarded them, that these proposals are in no log.
pub(crate) fn refuse<S: StateMachine>(
    machine: &mut S,
    group: GroupId,
    shared: &mut Shared,
    proposals: Proposals,
    why: NotTaken,
) {
    let mut heads: BTreeMap<NodeId, Vec<Bytes>> = BTreeMap::new();
    for (from, payload) in proposals {
        match from {
            None => machine.refused(payload, why),
            // A copy: the head must not hold what the proposal came in with.
            Some(member) => heads.entry(member).or_default().push(head(&payload)),
        }
    }
    for (member, heads) in heads {
        for named in heads.chunks(NAMED_MAX) {
            shared.send(member, Frame::Refused { group, reason: why.code(), payloads: named.to_vec() });
        }
    }
}

fn head(payload: &Bytes) -> Bytes {
    Bytes::copy_from_slice(&payload[..payload.len().min(REFUSED_HEAD_BYTES)])
}

impl IntoIterator for Proposals {
    type Item = (Option<NodeId>, Bytes);
    type IntoIter = std::iter::Zip<std::vec::IntoIter<Option<NodeId>>, std::vec::IntoIter<Bytes>>;

    fn into_iter(self) -> Self::IntoIter {
        self.from.into_iter().zip(self.payloads)
    }
}
