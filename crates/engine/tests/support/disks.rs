//! Disks that hang or are slow, and links that lose, double or hold back the parts of snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kontiki_engine::Event;
use kontiki_raft::{GroupId, NodeId};
use kontiki_transport::{Frame, Received, decode};

use super::ledger::Ledger;
use super::{Cluster, Happening};

/// What is wrong with disks.
#[derive(Default)]
pub(super) struct Disks {
    hung: BTreeSet<NodeId>,
    slow: BTreeMap<NodeId, u32>,
    held: Vec<(NodeId, Happening)>,
}

impl Disks {
    pub fn hangs(&self, id: NodeId) -> bool {
        self.hung.contains(&id)
    }

    pub fn hold(&mut self, id: NodeId, what: Happening) {
        self.held.push((id, what));
    }

    pub fn slower(&self, id: NodeId) -> u32 {
        self.slow.get(&id).copied().unwrap_or(1)
    }
}

/// What happens to the parts of snapshots and the answers to them.
#[derive(Default)]
pub(super) struct Links {
    /// The connections break when this many more of them have passed.
    break_in: Option<u64>,
    /// One in so many comes twice, the second time late.
    pub doubled: u64,
    pub passed: u64,
    pub broken: u64,
}

impl Cluster {
    /// A member's log writes do not end until [`Cluster::unhang`].
    pub fn hang(&mut self, id: NodeId) {
        self.disks.hung.insert(id);
    }

    /// A member's disk answers again.
    pub fn unhang(&mut self, id: NodeId) {
        self.disks.hung.remove(&id);
        let (of, others) = std::mem::take(&mut self.disks.held).into_iter().partition(|(node, _)| *node == id);
        self.disks.held = others;
        let now = self.now;
        let of: Vec<(NodeId, Happening)> = of;
        of.into_iter().for_each(|(_, what)| self.schedule(now, what));
    }

    /// A member's disk takes so many times as long for its log.
    pub fn slow_down(&mut self, id: NodeId, times: u32) {
        self.disks.slow.insert(id, times);
    }

    /// The members' connections break once so many more parts of snapshots, or answers to them, have passed; what is on
    /// its way then is lost. Broken connections come back after some time.
    pub fn break_snapshots_after(&mut self, frames: u64) {
        self.links.break_in = Some(frames);
    }

    /// One in so many parts of snapshots comes twice.
    pub fn double_snapshots(&mut self, one_in: u64) {
        self.links.doubled = one_in;
    }

    /// Parts of snapshots, and answers to them, that came through.
    pub fn snapshot_frames(&self) -> u64 {
        self.links.passed
    }

    /// Connections that [`Cluster::break_snapshots_after`] broke.
    pub fn breaks(&self) -> u64 {
        self.links.broken
    }

    /// Looks at a frame that arrives. Says whether it is lost.
    pub(super) fn meddle(&mut self, from: NodeId, to: NodeId, bytes: &Bytes) -> bool {
        let frame = decode(bytes.clone()).unwrap();
        if !matches!(frame, Frame::SnapshotChunk { .. } | Frame::SnapshotAck { .. }) {
            return false;
        }
        match &mut self.links.break_in {
            Some(0) => {
                self.links.break_in = None;
                self.links.broken += 1;
                self.break_link(from, to);
                return true;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.links.passed += 1;
        if self.links.doubled > 0 && self.random.one_in(self.links.doubled) {
            let at = self.now + Duration::from_micros(self.random.below(200_000));
            self.schedule(at, Happening::Frame { from, to, bytes: bytes.clone() });
        }
        false
    }

    /// The connections between two members break: frames on their way are lost, both are told, and are told again when
    /// the connections are back.
    fn break_link(&mut self, one: NodeId, other: NodeId) {
        let between = |from: NodeId, to: NodeId| (from, to) == (one, other) || (from, to) == (other, one);
        self.happenings.retain(|_, what| !matches!(what, Happening::Frame { from, to, .. } if between(*from, *to)));
        let back = self.now + Duration::from_millis(5 + self.random.below(50));
        for (node, peer) in [(one, other), (other, one)] {
            self.schedule(self.now, Happening::Suspect { node, peer });
            self.schedule(back, Happening::Connected { node, peer });
        }
    }

    pub(super) fn connect(&mut self, node: NodeId, peer: NodeId) {
        self.members.get_mut(&node).unwrap().inbox.push(Event::Received(vec![Received::Connected(peer)]));
    }

    /// Asks a leader to hand over.
    pub fn hand_over(&mut self, id: NodeId, group: GroupId) {
        self.members.get_mut(&id).unwrap().inbox.push(Event::Transfer(group, None));
    }

    /// A member's state machine.
    pub fn machine_mut(&mut self, id: NodeId, group: GroupId) -> &mut Ledger {
        self.members.get_mut(&id).unwrap().engine.as_mut().unwrap().machine_mut(group).unwrap()
    }

    /// Lets time pass until a member leads a group, and says how long that took; fails after `patience`.
    pub fn await_leader(
        &mut self,
        group: GroupId,
        patience: Duration,
        fit: impl Fn(NodeId) -> bool,
    ) -> (NodeId, Duration) {
        let begin = self.now;
        loop {
            if let Some(leader) = self.leader(group).filter(|id| fit(*id)) {
                return (leader, self.now - begin);
            }
            assert!(self.now - begin < patience, "nobody leads after {patience:?}");
            self.run(Duration::from_millis(5));
        }
    }
}
