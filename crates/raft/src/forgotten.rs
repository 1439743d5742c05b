//! A follower whose disk has lost entries that it had acknowledged, and does not know it.
//!
//! Raft takes for granted that what was durable stays so. A disk can break that in silence: a write that went elsewhere
//! and a power cut that took its row of the ledger leave a log that looks as if it had never been longer. The leader
//! then knows better than the follower what that held. It takes every refusal of such an entry for a late one, as it
//! must (bug C06), and would send what follows for ever.
//!
//! The follower finds it out. A heartbeat carries the commit index, cut to what the leader knows to match; whoever lacks
//! an entry up to there was counted for it in this term and session, and within a term nobody cuts off what it has
//! acknowledged. It says so with a refusal of its own kind, and the leader forgets what it believed of that log and
//! looks for the place where both agree as if it had just been elected. Nothing that is committed depends on what a
//! leader believes afterwards.

use crate::decision::Decision;
use crate::message::{AppendRejected, Heartbeat};
use crate::node::Node;
use crate::role::Role;
use crate::types::{Index, LogPosition, NodeId};

/// The follower's side.
impl Node {
    /// Notes what a leader counts on. One of an earlier session counts on a disk that may be another.
    pub(crate) fn note_counted_on(&mut self, heartbeat: Heartbeat) {
        if let Role::Follower(follower) = &mut self.role
            && follower.session == heartbeat.session
        {
            follower.counted_on = follower.counted_on.max(heartbeat.commit);
        }
    }

    /// How a request is refused whose entries follow one that is not held.
    pub(crate) fn refusal(&mut self, prev: LogPosition, session: Index) -> AppendRejected {
        let hint = self.log.newest_that_can_match(prev);
        self.decide(|| Decision::AppendRefused { prev, hint });
        let mut rejected = prev.index;
        if let Role::Follower(follower) = &mut self.role
            && follower.session == session
            && prev.index <= follower.counted_on
        {
            // Said once: what the leader counts on from here on, its next heartbeats tell.
            (follower.counted_on, follower.acknowledged) = (Index(0), Index(0));
            rejected = AppendRejected::FORGOTTEN;
        }
        AppendRejected { rejected, hint, session }
    }
}

/// The leader's side.
impl Node {
    /// A follower lacks what it had acknowledged, and can agree with this log at `hint` at best.
    pub(crate) fn on_forgotten(&mut self, from: NodeId, hint: LogPosition) {
        let candidate = self.log.newest_that_can_match(hint);
        let Role::Leader(leader) = &mut self.role else { unreachable!("dispatched to leaders only") };
        let Some(peer) = leader.peer_mut(from) else { return };
        let held = peer.match_index;
        if peer.on_forgotten(candidate.index) {
            leader.has_news = true;
            self.decide(|| Decision::Forgotten { peer: from, held });
        }
    }
}
