//! Proposals that wait for a leader.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

/// Proposals in the order they came in, bounded in bytes. None of them has been sent anywhere, so that proposing them
/// later cannot apply one twice.
#[derive(Debug, Default)]
pub struct Parked {
    payloads: VecDeque<(Duration, Bytes)>,
    bytes: u64,
}

impl Parked {
    /// Keeps a proposal, or gives it back where that would be more than `bytes_max`.
    pub fn push(&mut self, now: Duration, payload: Bytes, bytes_max: u64) -> Option<Bytes> {
        let bytes = payload.len() as u64;
        if self.bytes + bytes > bytes_max {
            return Some(payload);
        }
        self.bytes += bytes;
        self.payloads.push_back((now, payload));
        None
    }

    /// Drops what was kept before `time`.
    pub fn forget_older(&mut self, time: Duration) {
        while let Some((since, payload)) = self.payloads.front()
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
    pub fn take(&mut self) -> Vec<Bytes> {
        self.bytes = 0;
        self.payloads.drain(..).map(|(_, payload)| payload).collect()
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
        assert_eq!(parked.push(SECOND, proposal.clone(), 8), None);
        assert_eq!(parked.push(SECOND, proposal.clone(), 8), None);
        assert_eq!(parked.push(SECOND, proposal.clone(), 8), Some(proposal.clone()), "the third does not fit");
        assert_eq!(parked.take().len(), 2);
        assert!(parked.is_empty());
        assert_eq!(parked.push(SECOND, proposal, 8), None);
    }

    #[test]
    fn what_waits_too_long_is_dropped() {
        let mut parked = Parked::default();
        parked.push(SECOND, Bytes::from_static(b"old"), 8);
        parked.push(2 * SECOND, Bytes::from_static(b"new"), 8);
        parked.forget_older(2 * SECOND);
        assert_eq!(parked.take(), vec![Bytes::from_static(b"new")]);
    }
}
