//! What members say to each other: the RPCs of the dissertation's Figure 3.1, as one-way messages.

use std::ops::Deref;
use std::sync::Arc;

use crate::configuration::{Configuration, Exclusion};
use crate::types::{Incarnation, Index, LogPosition, ReadId, SnapshotMeta, Term, TermRuns};

/// A message between two replicas of one group. Sender, receiver and group travel in the transport's frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// The sender's current term; for a pre-vote, the term that the sender would stand in.
    pub term: Term,
    /// The life of the sender's disk; none where the driver does not tell lives apart.
    pub incarnation: Option<Incarnation>,
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
            Body::AppendEntries(request) => request.entries.is_well_formed(self.term),
            Body::Pulled(entries) => entries.is_well_formed(self.term),
            Body::RequestVote(request) => request.last.term <= self.term && request.last.index.0 < BOUND,
            Body::RequestVoteReply(reply) => reply.last.index.0 < BOUND && reply.last.term <= self.term,
            Body::Pull(pull) => pull.behind <= pull.last && pull.last.index.0 < BOUND && pull.last.term <= self.term,
            Body::AppendAccepted(answer) => answer.matched.0 < BOUND,
            Body::AppendRejected(AppendRejected { rejected, hint, .. }) => {
                let before = hint.index <= *rejected || *rejected == AppendRejected::FORGOTTEN;
                before && rejected.0.max(hint.index.0) < BOUND && hint.term <= self.term
            }
            Body::Heartbeat(heartbeat) => heartbeat.round > 0 && heartbeat.commit.0 < BOUND,
            Body::InstallSnapshot(meta) => meta.position.term <= self.term && meta.position.index.0 < BOUND,
            Body::Excluded(exclusion) => exclusion.at().0 < BOUND,
            Body::ReadIndexReply { index, .. } => index.is_none_or(|index| index.0 < BOUND),
            Body::HeartbeatReply(_) | Body::TimeoutNow | Body::Resigned | Body::ReadIndex(_) => true,
        }
    }
}

/// No log and no term grows as far as this; near the end of the numbers, adding one could wrap around.
const BOUND: u64 = u64::MAX / 2;

impl Entries {
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
        let inside = self
            .configurations
            .iter()
            .all(|(index, configuration)| (first..=self.last).contains(index) && configuration.is_well_formed());
        anchored && begins && grows && ends && ordered && inside
    }
}

/// The kinds of message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// The sender led this term and does so no more: whoever followed it may look for another leader at once.
    Resigned,
    /// The receiver of this message does not count as a member (§4.2.2, §4.2.3).
    Excluded(Exclusion),
    /// A replica whose log is too old to be elected, and that hears no leader, asks a voter with a newer one for what
    /// follows its own last entry.
    Pull(Pull),
    /// Answers with entries of the sender's log. They are not a leader's word: nothing is acknowledged or committed
    /// because of them.
    Pulled(Entries),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestVote {
    /// The candidate's last entry.
    pub last: LogPosition,
    /// Only asks whether a vote would be granted; changes nothing at the receiver (§9.6).
    pub pre_vote: bool,
    /// The leader itself asked the candidate to stand (§3.10): neither stickiness nor a lease's promise applies.
    pub transfer: bool,
}

/// Answers a request for a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestVoteReply {
    /// Whether the vote was given, or would be.
    pub granted: bool,
    /// Answers a pre-vote.
    pub pre_vote: bool,
    /// The voter's last entry: tells a candidate whose log is too old whom to ask for what it lacks.
    pub last: LogPosition,
}

/// Asks for entries that no leader sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pull {
    /// The sender's last entry: only a log that ends further is of use.
    pub last: LogPosition,
    /// The sender's newest entry that may be in the receiver's log.
    pub behind: LogPosition,
}

/// A stretch of a log: which entries, of which terms, behind which. Their bytes travel beside the message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entries {
    /// The entry before the first one sent.
    pub prev: LogPosition,
    /// Last index sent; equal to `prev.index` when nothing is.
    pub last: Index,
    /// Terms of the entries `prev.index + 1 ..= last`, as runs. Empty when nothing is sent.
    pub runs: TermRuns,
    /// Configurations among the entries sent, in order.
    pub configurations: Configurations,
}

/// Configurations among entries, in order of index. Nearly always none, and then a pointer's weight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::box_collection, clippy::type_complexity, reason = "every message has one, hardly any is not empty")]
pub struct Configurations(Option<Box<Vec<(Index, Arc<Configuration>)>>>);

impl Deref for Configurations {
    type Target = [(Index, Arc<Configuration>)];

    fn deref(&self) -> &Self::Target {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl From<Vec<(Index, Arc<Configuration>)>> for Configurations {
    fn from(configurations: Vec<(Index, Arc<Configuration>)>) -> Configurations {
        Configurations((!configurations.is_empty()).then(|| Box::new(configurations)))
    }
}

impl FromIterator<(Index, Arc<Configuration>)> for Configurations {
    fn from_iter<I: IntoIterator<Item = (Index, Arc<Configuration>)>>(configurations: I) -> Configurations {
        Configurations::from(configurations.into_iter().collect::<Vec<_>>())
    }
}

impl IntoIterator for Configurations {
    type Item = (Index, Arc<Configuration>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map(|held| *held).unwrap_or_default().into_iter()
    }
}

/// Replicates entries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppendEntries {
    /// What is sent.
    pub entries: Entries,
    /// The leader's commit index.
    pub leader_commit: Index,
    /// The receiver's membership session, which its answer repeats: the index of the configuration entry since which it
    /// is a member, as far as this leader appended it; zero if it was one when the leader was elected (bug M30).
    pub session: Index,
}

/// Accepts entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppendAccepted {
    /// Everything up to here is durable and verified by the request that this answers, never more.
    pub matched: Index,
    /// The session of the request.
    pub session: Index,
}

/// Refuses entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppendRejected {
    /// The request's `prev.index`, so that the leader can tell a stale refusal; or [`AppendRejected::FORGOTTEN`].
    pub rejected: Index,
    /// The receiver's newest entry that can still match: at most the request's `prev.index`, and of a term at most the
    /// request's.
    pub hint: LogPosition,
    /// The session of the request.
    pub session: Index,
}

impl AppendRejected {
    /// Stands in the place of `rejected` where the sender's disk has lost what it had acknowledged. All logs agree there,
    /// so that no request is refused for it.
    pub const FORGOTTEN: Index = Index(0);
}

/// Claims leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// Names the round; grows within a leader's life and is never reused (bug R03).
    pub round: u64,
    /// The leader's commit index, cut to what it knows to match at the receiver.
    pub commit: Index,
    /// The receiver's session, see [`AppendEntries::session`].
    pub session: Index,
}

/// Acknowledges leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeartbeatReply {
    /// The round that is acknowledged.
    pub round: u64,
    /// The session of the heartbeat.
    pub session: Index,
    /// For so many of its ticks, from when it heard the heartbeat, the sender votes for nobody else (§6.4.1). Zero where
    /// the group has no lease.
    pub promise_ticks: u32,
}
