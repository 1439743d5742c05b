//! Proposals that wait for a leader.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use kontiki_raft::NodeId;

use crate::group::Shared;
use crate::proposals::Proposals;

/// Proposals in the order they came in, bounded in bytes. None of them has been sent anywhere, so that proposing them
/// later cannot apply one twice.
#[derive(Debug, Default)]
pub struct Parked {
    payloads: VecDeque<(Duration, Option<NodeId>, Bytes)>,
    bytes: u64,
}

impl Parked {
    /// Keeps a proposal, or gives it back where that would be more than `bytes_max`.
    fn push(&mut self, now: Duration, from: Option<NodeId>, payload: Bytes, bytes_max: u64) -> Option<Bytes> {
        let bytes = payload.len() as u64;
        if self.bytes + bytes > bytes_max {
            return Some(payload);
        }
        self.bytes += bytes;
        self.payloads.push_back((now, from, payload));
        None
    }

    /// Keeps all that fit. Returns the others.
    pub fn keep(&mut self, shared: &Shared, proposals: Proposals) -> Proposals {
        let mut left = Proposals::default();
        for (from, payload) in proposals {
            if let Some(back) = self.push(shared.now, from, payload, shared.settings.parked_bytes_max) {
                left.push(from, back);
            }
        }
        left
    }

    /// Drops what was kept before `time`.
    pub fn forget_older(&mut self, time: Duration) {
        while let Some((since, _, payload)) = self.payloads.front()
            && *since < time
        {
            self.bytes -= payload.len() as u64;
            self.payloads.pop_front();
        }
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payloads.is_empty()
    }

    /// Takes all.
    pub fn take(&mut self) -> Proposals {
        self.bytes = 0;
        let mut taken = Proposals::default();
        self.payloads.drain(..).for_each(|(_, from, payload)| taken.push(from, payload));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_bound_is_in_bytes_and_taking_frees_it() {
        let mut parked = Parked::default();
        let proposal = Bytes::from_static(b"1234");
        assert_eq!(parked.push(SECOND, None, proposal.clone(), 8), None);
        assert_eq!(parked.push(SECOND, None, proposal.clone(), 8), None);
        assert_eq!(parked.push(SECOND, None, proposal.clone(), 8), Some(proposal.clone()), "the third does not fit");
        assert_eq!(parked.take().payloads().len(), 2);
        assert!(parked.is_empty());
        assert_eq!(parked.push(SECOND, None, proposal, 8), None);
    }

    #[test]
    fn what_waits_too_long_is_dropped() {
        let mut parked = Parked::default();
        parked.push(SECOND, None, Bytes::from_static(b"old"), 8);
        parked.push(2 * SECOND, None, Bytes::from_static(b"new"), 8);
        parked.forget_older(2 * SECOND);
        assert_eq!(parked.take().payloads(), [Bytes::from_static(b"new")]);
    }
}
