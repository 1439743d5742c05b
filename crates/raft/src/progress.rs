//! What a leader knows of one follower, and how it may send to it: probe, replicate, or wait for a snapshot.
//!
//! ```text
//!                accepted                      needs compacted entries
//!   probe ───────────────────▶ replicate ───────────────────────────────▶ snapshot
//!     ▲                            │                                         │
//!     ├── rejected, silent, reset ─┘          accepted, connecting to the log│──▶ replicate
//!     └── installed, failed, silent ─────────────────────────────────────────┘
//! ```
//!
//! A **probe** looks for the place where both logs agree, one message at a time. **Replicate** streams optimistically,
//! bounded by a window. **Snapshot** sends nothing; it always ends (bugs S01, S02).

use std::collections::VecDeque;

use crate::interface::Settings;
use crate::planted::planted;
use crate::types::{Incarnation, Index, NodeId};

/// A leader's view of one follower or learner. Times are in ticks of the leader's life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    pub(crate) id: NodeId,
    /// Since which of this leader's configuration entries it is a member; zero for since the election. Only answers that
    /// name it count (bug M30).
    pub(crate) session: Index,
    /// The life of its disk that has answered in this session.
    pub(crate) incarnation: Option<Incarnation>,
    /// Durable at the follower and equal to the leader's log. Within the leader's life only the follower itself takes it
    /// back, where its disk has lost something; nothing that comes late does (bug C06).
    pub(crate) match_index: Index,
    /// The next entry to send. Always above `match_index` (bug L09).
    pub(crate) next_index: Index,
    pub(crate) pace: Pace,
    /// Entries on their way.
    pub(crate) window: Window,
    /// When the window last began to wait for an answer.
    pub(crate) waiting_since: u64,
    /// When a message last came from the follower.
    pub(crate) last_contact: u64,
    /// Newest heartbeat round that the follower has acknowledged.
    pub(crate) round: u64,
    /// The commit index that the follower can know, if nothing was lost.
    pub(crate) commit_told: Index,
    /// Until when the follower votes for nobody else, by its answers: counted from when it was asked.
    pub(crate) promised_since: Option<u64>,
    pub(crate) catch_up: CatchUp,
}

/// Rounds of catching up (§4.2.1, Figure 4.5): each replicates what the log held when the round began. A round that
/// takes no longer than an election timeout says that the next one will be as short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CatchUp {
    /// The log's end when the round began.
    target: Index,
    began: u64,
    /// The last whole round was short.
    short: bool,
}

impl CatchUp {
    fn on_accepted(&mut self, matched: Index, last: Index, now: u64, timeout: u64) {
        if matched >= self.target {
            self.short = now.saturating_sub(self.began) <= timeout;
            (self.target, self.began) = (last, now);
        }
    }
}

/// How entries are sent to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pace {
    /// One message, then wait for its answer.
    Probe(Option<Probe>),
    /// A stream within the window.
    Replicate,
    /// Nothing until the snapshot is in place; since when.
    Snapshot { since: u64 },
}

/// The message that a probing leader waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Probe {
    /// Its `prev.index`.
    pub(crate) prev: Index,
    /// When it was sent.
    pub(crate) at: u64,
}

impl Progress {
    /// A follower of which nothing is known but that it may hold everything before `next`.
    pub(crate) fn new(id: NodeId, session: Index, next: Index, now: u64) -> Progress {
        Progress {
            id,
            session,
            incarnation: None,
            match_index: Index(0),
            next_index: next,
            pace: Pace::Probe(None),
            window: Window::default(),
            waiting_since: now,
            last_contact: now,
            round: 0,
            commit_told: Index(0),
            promised_since: None,
            catch_up: CatchUp { target: next.previous(), began: now, short: false },
        }
    }

    /// A leader's log ends at `last`, and `matched` of it is held there: what that says about catching up.
    pub(crate) fn note_round(&mut self, last: Index, now: u64, timeout: u64) {
        self.catch_up.on_accepted(self.match_index, last, now, timeout);
    }

    /// Whether it would not hold up commitment if it had a vote: the last round was short, and so is the present one.
    pub(crate) fn has_caught_up(&self, last: Index, now: u64, timeout: u64) -> bool {
        let lively = now.saturating_sub(self.last_contact) <= timeout;
        let short = self.catch_up.short && now.saturating_sub(self.catch_up.began) <= timeout;
        lively && self.match_index > Index(0) && (self.match_index == last || short)
    }

    /// Whether nothing may be sent now.
    pub(crate) fn is_paused(&self, settings: &Settings) -> bool {
        match self.pace {
            Pace::Probe(outstanding) => outstanding.is_some(),
            Pace::Replicate => self.window.is_full(settings),
            Pace::Snapshot { .. } => true,
        }
    }

    /// Entries `next_index ..= last`, of `bytes`, were sent; none where `last` is before `next_index`.
    pub(crate) fn on_sent(&mut self, last: Index, bytes: u64, now: u64) {
        if last >= self.next_index {
            if self.window.is_empty() {
                self.waiting_since = now;
            }
            self.window.push(last, bytes);
        }
        match self.pace {
            // `next_index` stays until the answer says whether the place was right.
            Pace::Probe(_) => self.pace = Pace::Probe(Some(Probe { prev: self.next_index.previous(), at: now })),
            Pace::Replicate => self.next_index = self.next_index.max(last.next()),
            Pace::Snapshot { .. } => unreachable!("nothing is sent to a follower that waits for a snapshot"),
        }
    }

    /// Everything up to `matched` is durable at the follower. `held` is the first entry that the leader still has.
    pub(crate) fn on_accepted(&mut self, matched: Index, held: Index, now: u64) {
        if matched < self.match_index {
            // A late answer, or the first one of a follower that has restarted: it does not know what is committed, and
            // what was on its way is lost.
            self.on_reset();
        }
        if matched > self.match_index || planted(25) {
            self.match_index = matched;
            self.waiting_since = now;
        }
        self.next_index = self.next_index.max(self.match_index.next());
        match self.pace {
            Pace::Probe(outstanding) => {
                self.pace = Pace::Replicate;
                match outstanding {
                    // The probe's place was right, so the entries behind it will be accepted too: they stay counted.
                    Some(probe) if matched >= probe.prev => {
                        let sent = self.window.last().unwrap_or(probe.prev);
                        self.next_index = self.match_index.max(sent).next();
                    }
                    Some(_) | None => {
                        self.window.clear();
                        self.next_index = self.match_index.next();
                    }
                }
                self.window.free_up_to(self.match_index);
            }
            Pace::Replicate => self.window.free_up_to(self.match_index),
            // Bug S01: whatever connects to the log ends the wait, be it this snapshot or another one.
            Pace::Snapshot { .. } if self.match_index.next() >= held => {
                self.pace = Pace::Replicate;
                self.next_index = self.match_index.next();
            }
            Pace::Snapshot { .. } => {}
        }
    }

    /// The follower refused the entry at `rejected`; the logs can agree at `candidate` at best. Says whether the refusal
    /// was news; late ones change nothing (bugs L10, C05).
    pub(crate) fn on_rejected(&mut self, rejected: Index, candidate: Index) -> bool {
        let fresh = match self.pace {
            Pace::Probe(Some(probe)) => probe.prev == rejected,
            Pace::Replicate => rejected > self.match_index && rejected < self.next_index,
            Pace::Probe(None) | Pace::Snapshot { .. } => false,
        };
        if fresh {
            // Strictly lower than before, so that every round makes headway (bug L03), yet above what is known to match.
            self.restart_probe(candidate.next().min(rejected));
        }
        fresh
    }

    /// The follower's disk has lost something that was known to match; the logs can agree at `candidate` at best. Says
    /// whether that was news.
    pub(crate) fn on_forgotten(&mut self, candidate: Index) -> bool {
        if candidate >= self.match_index {
            return false;
        }
        self.match_index = Index(0);
        self.commit_told = Index(0);
        self.catch_up.short = false;
        if !matches!(self.pace, Pace::Snapshot { .. }) {
            self.restart_probe(self.next_index.min(candidate.next()));
        }
        true
    }

    /// A heartbeat was answered, so the follower lives: what it left unanswered for long was lost.
    pub(crate) fn on_heartbeat_reply(&mut self, settings: &Settings, now: u64) {
        let age = |since: u64| now.saturating_sub(since);
        match self.pace {
            Pace::Probe(Some(probe)) if age(probe.at) >= u64::from(settings.heartbeat_interval_ticks) => {
                self.restart_probe(self.next_index);
            }
            Pace::Replicate if !self.window.is_empty() => {
                if age(self.waiting_since) * 2 > u64::from(settings.election_timeout_ticks) {
                    self.restart_probe(self.match_index.next());
                }
            }
            Pace::Probe(_) | Pace::Replicate | Pace::Snapshot { .. } => {}
        }
    }

    /// The connection broke: what was on its way is lost.
    pub(crate) fn on_reset(&mut self) {
        match self.pace {
            Pace::Probe(_) => self.restart_probe(self.next_index),
            Pace::Replicate if self.window.is_empty() => self.commit_told = Index(0),
            Pace::Replicate => self.restart_probe(self.match_index.next()),
            Pace::Snapshot { .. } => {} // the driver reports how the snapshot ended
        }
    }

    /// The entries that come next are compacted.
    pub(crate) fn become_snapshot(&mut self, now: u64) {
        self.window.clear();
        self.pace = Pace::Snapshot { since: now };
    }

    /// The snapshot arrived whole, standing for everything up to `installed`, or failed.
    pub(crate) fn on_snapshot_ended(&mut self, installed: Option<Index>, now: u64) {
        if !matches!(self.pace, Pace::Snapshot { .. }) {
            return;
        }
        match installed {
            // Bug S07: not taken as match; a probe behind it asks the follower itself.
            Some(index) => self.restart_probe(index.next().max(self.next_index)),
            None => {
                self.restart_probe(self.next_index);
                self.hold_probe(now);
            }
        }
    }

    /// Waits for the next heartbeat's answer before anything is tried again.
    pub(crate) fn hold_probe(&mut self, now: u64) {
        self.pace = Pace::Probe(Some(Probe { prev: self.next_index.previous(), at: now }));
    }

    fn restart_probe(&mut self, next: Index) {
        self.window.clear();
        self.next_index = next.max(self.match_index.next());
        self.pace = Pace::Probe(None);
    }
}

/// Messages with entries that are on their way to a follower.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    /// Last index and bytes of each message, oldest first.
    messages: VecDeque<(Index, u64)>,
    /// Sum of the messages' bytes (bug L11: kept by `push` and `free_up_to` alone).
    bytes: u64,
}

impl Window {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    fn is_full(&self, settings: &Settings) -> bool {
        self.messages.len() >= settings.inflight_messages_max || self.bytes >= settings.inflight_bytes_max
    }

    /// How many bytes may still be sent, for a window that is not full.
    pub(crate) fn bytes_left(&self, settings: &Settings) -> u64 {
        settings.inflight_bytes_max.saturating_sub(self.bytes)
    }

    fn last(&self) -> Option<Index> {
        self.messages.back().map(|(last, _)| *last)
    }

    fn push(&mut self, last: Index, bytes: u64) {
        self.messages.push_back((last, bytes));
        self.bytes += bytes;
    }

    fn free_up_to(&mut self, matched: Index) {
        while let Some((_, bytes)) = self.messages.front().filter(|(last, _)| *last <= matched) {
            self.bytes -= bytes;
            self.messages.pop_front();
        }
        if self.messages.is_empty() {
            assert_eq!(self.bytes, 0, "an empty window holds no bytes");
        }
    }

    fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests;
