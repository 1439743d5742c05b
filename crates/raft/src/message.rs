//! What members say to each other: the RPCs of the dissertation's Figure 3.1, as one-way messages.

use crate::types::{Configuration, Index, LogPosition, ReadId, SnapshotMeta, Term, TermRun};

/// A message between two replicas of one group. Sender, receiver and group travel in the transport's frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender's current term; for a pre-vote, the term that the sender would stand in.
    pub term: Term,
    /// What is said.
    pub body: Body,
}

impl Message {
    /// Whether the parts of a message fit together. A replica ignores one where they do not: it comes from a broken
    /// peer, and its term cannot be trusted either.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        if self.term.0 >= BOUND {
            return false;
        }
        match &self.body {
            Body::AppendEntries(request) => request.is_well_formed(self.term),
            Body::RequestVote(request) => request.last.term <= self.term && request.last.index.0 < BOUND,
            Body::AppendAccepted(answer) => answer.matched.0 < BOUND,
            Body::AppendRejected(answer) => {
                answer.hint.index <= answer.rejected && answer.rejected.0 < BOUND && answer.hint.term <= self.term
            }
            Body::Heartbeat(heartbeat) => heartbeat.round > 0 && heartbeat.commit.0 < BOUND,
            Body::InstallSnapshot(meta) => meta.position.term <= self.term && meta.position.index.0 < BOUND,
            Body::ReadIndexReply { index, .. } => index.is_none_or(|index| index.0 < BOUND),
            Body::RequestVoteReply(_) | Body::HeartbeatReply(_) | Body::TimeoutNow | Body::ReadIndex(_) => true,
        }
    }
}

/// No log and no term grows as far as this; near the end of the numbers, adding one could wrap around.
const BOUND: u64 = u64::MAX / 2;

impl AppendEntries {
    /// Whether the terms describe exactly the entries sent, grow as terms along a log do, and configurations lie among
    /// the entries.
    fn is_well_formed(&self, term: Term) -> bool {
        if self.last.0 >= BOUND || self.prev.index > self.last {
            return false;
        }
        let first = self.prev.index.next();
        let anchored = self.prev.term <= term && (self.prev.index.0 > 0 || self.prev == LogPosition::START);
        let begins = match self.runs.first() {
            None => self.last == self.prev.index,
            Some(run) => self.last > self.prev.index && run.first == first && run.term >= self.prev.term,
        };
        let grows = self.runs.windows(2).all(|pair| pair[0].term < pair[1].term && pair[0].first < pair[1].first);
        let ends = self.runs.last().is_none_or(|run| run.first <= self.last && run.term <= term);
        let ordered = self.configurations.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let inside = self.configurations.iter().all(|(index, _)| (first..=self.last).contains(index));
        anchored && begins && grows && ends && ordered && inside
    }
}

/// The kinds of message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Asks for a vote (§3.4), or whether one would be given (pre-vote, §9.6).
    RequestVote(RequestVote),
    /// Answers a request for a vote. A grant of a pre-vote carries the proposed term, a refusal the own term.
    RequestVoteReply(RequestVoteReply),
    /// Replicates entries (§3.5). The bytes of the entries travel beside the message.
    AppendEntries(AppendEntries),
    /// The entries up to `matched` are durable at the sender and equal to the leader's.
    AppendAccepted(AppendAccepted),
    /// The entry at `prev` is missing or another one.
    AppendRejected(AppendRejected),
    /// Leadership is claimed, commit advances, a read round is opened. Never waits for a disk.
    Heartbeat(Heartbeat),
    /// Acknowledges leadership as of round `round`.
    HeartbeatReply(HeartbeatReply),
    /// The entries that the receiver lacks are compacted; a snapshot follows on its own connection (§5).
    InstallSnapshot(SnapshotMeta),
    /// The receiver of this message should stand for election at once (§3.10).
    TimeoutNow,
    /// A follower asks the leader for a read index (§6.4).
    ReadIndex(ReadId),
    /// The leader's answer: reads of this batch may be served once `index` is applied. None: refused, ask again later.
    ReadIndexReply {
        /// The batch asked for.
        id: ReadId,
        /// The read index, or none where the asked replica does not lead.
        index: Option<Index>,
    },
}

/// Asks for a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestVote {
    /// The candidate's last entry.
    pub last: LogPosition,
    /// Only asks whether a vote would be granted; changes nothing at the receiver (§9.6).
    pub pre_vote: bool,
    /// The leader itself asked the candidate to stand (§3.10): stickiness does not apply.
    pub transfer: bool,
}

/// Answers a request for a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestVoteReply {
    /// Whether the vote was given, or would be.
    pub granted: bool,
    /// Answers a pre-vote.
    pub pre_vote: bool,
}

/// Replicates entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendEntries {
    /// The entry before the first one sent.
    pub prev: LogPosition,
    /// Last index sent; equal to `prev.index` when nothing is.
    pub last: Index,
    /// Terms of the entries `prev.index + 1 ..= last`, as runs. Empty when nothing is sent.
    pub runs: Vec<TermRun>,
    /// Configurations among the entries sent.
    pub configurations: Vec<(Index, Configuration)>,
    /// The leader's commit index.
    pub leader_commit: Index,
}

/// Accepts entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendAccepted {
    /// Everything up to here is durable and verified by the request that this answers, never more.
    pub matched: Index,
}

/// Refuses entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendRejected {
    /// The request's `prev.index`, so that the leader can tell a stale refusal.
    pub rejected: Index,
    /// The receiver's newest entry that can still match: at most `rejected`, and of a term at most the request's.
    pub hint: LogPosition,
}

/// Claims leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Names the round; grows within a leader's life and is never reused (bug R03).
    pub round: u64,
    /// The leader's commit index, cut to what it knows to match at the receiver.
    pub commit: Index,
}

/// Acknowledges leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// The round that is acknowledged.
    pub round: u64,
}
