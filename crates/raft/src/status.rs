//! A replica's state for people and metrics: complete, cheap, and with the reason where something does not go on.

use std::fmt;
use std::sync::Arc;

use crate::configuration::Configuration;
use crate::interface::Leadership;
use crate::node::Node;
use crate::progress::{Pace, Progress};
use crate::quorum;
use crate::role::{Leader, Role};
use crate::types::{Incarnation, Index, NodeId};

/// What a replica knows, copied out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This replica.
    pub id: NodeId,
    /// Term, leader and role.
    pub leadership: Leadership,
    /// Who has this replica's vote in the current term.
    pub voted_for: Option<NodeId>,
    /// Last index known to be committed.
    pub commit_index: Index,
    /// Last index that the state machine holds.
    pub applied: Index,
    /// First index in the log.
    pub first_index: Index,
    /// Last index in the log.
    pub last_index: Index,
    /// Last index of the log's durable prefix.
    pub durable_index: Index,
    /// The configuration in force.
    pub configuration: Arc<Configuration>,
    /// Where its entry stands. Not committed while this is beyond `commit_index`.
    pub configuration_index: Index,
    /// Why this replica knows no leader, where it does not.
    pub no_leader: Option<NoLeader>,
    /// On a leader, why entries are not committed, where some are not.
    pub not_committed: Option<NotCommitted>,
    /// On a leader that hands over, to whom.
    pub handing_over_to: Option<NodeId>,
    /// On a leader, whether it may serve reads by its lease now.
    pub holds_lease: bool,
    /// On a leader, the others as it sees them.
    pub peers: Vec<PeerStatus>,
}

/// One peer as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The peer.
    pub id: NodeId,
    /// Durable there and equal to the leader's log.
    pub match_index: Index,
    /// The next entry to send.
    pub next_index: Index,
    /// How entries are sent.
    pub pace: PaceKind,
    /// Messages with entries on their way.
    pub inflight: usize,
    /// Whether it was heard within an election timeout.
    pub active: bool,
    /// Ticks since it was heard.
    pub silent_ticks: u64,
    /// Since which of this leader's configuration entries it is a member; zero for since the election.
    pub session: Index,
    /// The life of its disk that answers.
    pub incarnation: Option<Incarnation>,
    /// Whether it would not hold up commitment if it voted (§4.2.1).
    pub caught_up: bool,
}

/// How a leader sends to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaceKind {
    /// Looks for the place where both logs agree.
    Probe,
    /// Streams.
    Replicate,
    /// Waits until a snapshot is in place.
    Snapshot,
}

/// Why a replica knows no leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoLeader {
    /// It is no member any more, or was told so.
    Excluded,
    /// It waits to be added to a group.
    WaitsToJoin,
    /// It has no vote and waits to hear one.
    Waits,
    /// It waits for its election timeout, of which so many ticks are left.
    TimerRuns {
        /// Ticks left.
        ticks_left: u32,
    },
    /// It asks whether it could win; so many voters have answered, of so many.
    Asks {
        /// Voters that would vote for it.
        granted: usize,
        /// Voters that would not.
        refused: usize,
        /// All voters.
        voters: usize,
    },
    /// It stands for election; so many voters have answered, of so many.
    Stands {
        /// Voters that voted for it.
        granted: usize,
        /// Voters that did not.
        refused: usize,
        /// All voters.
        voters: usize,
    },
    /// It stands for election, but its own disk has not taken its vote yet.
    WaitsForDisk,
}

/// Why a leader's entries are not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotCommitted {
    /// No quorum was heard within half an election timeout.
    NoQuorumHeard {
        /// Voters heard, this leader among them if it votes.
        heard: usize,
        /// All voters.
        voters: usize,
    },
    /// A quorum holds only entries of earlier terms (§3.6.2); one of this term is on its way.
    EarlierTerm,
    /// On its way: a quorum is heard, and has acknowledged this much.
    InFlight {
        /// What a quorum holds durably.
        held: Index,
    },
}

impl Node {
    /// Copies out what this replica knows.
    #[must_use]
    pub fn status(&self) -> Status {
        let leader = self.as_leader();
        Status {
            id: self.id(),
            leadership: self.leadership(),
            voted_for: self.voted_for(),
            commit_index: self.commit_index(),
            applied: self.applied(),
            first_index: self.first_index(),
            last_index: self.last_index(),
            durable_index: self.durable_index(),
            configuration: Arc::clone(self.configuration()),
            configuration_index: self.membership.index(),
            no_leader: self.why_no_leader(),
            not_committed: leader.and_then(|leader| self.why_not_committed(leader)),
            handing_over_to: leader.and_then(|leader| leader.transfer).map(|transfer| transfer.target),
            holds_lease: self.holds_lease(),
            peers: self.peers().collect(),
        }
    }

    /// On a leader, the others as it sees them, without copying all the rest.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> + '_ {
        let leader = self.as_leader();
        let clock = leader.map_or(0, |leader| leader.clock);
        leader.into_iter().flat_map(|leader| &leader.peers).map(move |peer| self.peer_status(peer, clock))
    }

    fn as_leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        }
    }

    fn peer_status(&self, peer: &Progress, clock: u64) -> PeerStatus {
        let timeout = u64::from(self.settings.election_timeout_ticks);
        let silent_ticks = clock.saturating_sub(peer.last_contact);
        PeerStatus {
            id: peer.id,
            match_index: peer.match_index,
            next_index: peer.next_index,
            pace: match peer.pace {
                Pace::Probe(_) => PaceKind::Probe,
                Pace::Replicate => PaceKind::Replicate,
                Pace::Snapshot { .. } => PaceKind::Snapshot,
            },
            inflight: peer.window.len(),
            active: silent_ticks < timeout,
            silent_ticks,
            session: peer.session,
            incarnation: peer.incarnation,
            caught_up: peer.has_caught_up(self.log.last_index(), clock, timeout),
        }
    }

    fn why_no_leader(&self) -> Option<NoLeader> {
        if self.leader().is_some() {
            return None;
        }
        let configuration = self.membership.current();
        let voters: Vec<NodeId> =
            configuration.members().into_iter().filter(|member| configuration.is_voter(*member)).collect();
        let count = |votes: &crate::role::Votes, granted| {
            voters.iter().filter(|voter| votes.of(**voter) == Some(granted)).count()
        };
        Some(match &self.role {
            _ if voters.is_empty() => NoLeader::WaitsToJoin,
            _ if self.excluded || !configuration.is_member(self.id) => NoLeader::Excluded,
            Role::Candidate(_) if !self.hard_state_is_durable() => NoLeader::WaitsForDisk,
            Role::PreCandidate(votes) => {
                NoLeader::Asks { granted: count(votes, true), refused: count(votes, false), voters: voters.len() }
            }
            Role::Candidate(votes) => {
                NoLeader::Stands { granted: count(votes, true), refused: count(votes, false), voters: voters.len() }
            }
            Role::Follower(_) | Role::Leader(_) if !configuration.is_voter(self.id) => NoLeader::Waits,
            Role::Follower(_) | Role::Leader(_) => NoLeader::TimerRuns { ticks_left: self.timer.ticks_left() },
        })
    }

    fn why_not_committed(&self, leader: &Leader) -> Option<NotCommitted> {
        if self.commit_index == self.log.last_index() {
            return None;
        }
        let configuration = self.membership.current();
        let recent = leader.clock.saturating_sub(u64::from(self.settings.election_timeout_ticks) / 2);
        let is_heard =
            |voter: NodeId| voter == self.id || leader.peer(voter).is_some_and(|peer| peer.last_contact >= recent);
        if quorum::reached(configuration, |voter| u64::from(is_heard(voter))) == 0 {
            let members = configuration.members();
            let voters = members.iter().filter(|member| configuration.is_voter(**member));
            let heard = voters.clone().filter(|voter| is_heard(**voter)).count();
            return Some(NotCommitted::NoQuorumHeard { heard, voters: voters.count() });
        }
        let held = self.held_by_quorum(leader);
        Some(match self.log.term_at(held) {
            Some(term) if held > self.commit_index && term < self.current_term => NotCommitted::EarlierTerm,
            _ => NotCommitted::InFlight { held },
        })
    }
}

impl fmt::Display for NoLeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoLeader::Excluded => write!(f, "this replica is not a member of its group"),
            NoLeader::WaitsToJoin => write!(f, "this replica waits to be added to a group"),
            NoLeader::Waits => write!(f, "this replica has no vote and waits to hear a leader"),
            NoLeader::TimerRuns { ticks_left } => write!(f, "the election timeout runs for {ticks_left} more ticks"),
            NoLeader::Asks { granted, refused, voters } => {
                write!(f, "asks whether it could be elected: {granted} yes and {refused} no of {voters}")
            }
            NoLeader::Stands { granted, refused, voters } => {
                write!(f, "stands for election: {granted} votes and {refused} refusals of {voters}")
            }
            NoLeader::WaitsForDisk => write!(f, "stands for election once its disk has taken its own vote"),
        }
    }
}

impl fmt::Display for NotCommitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotCommitted::NoQuorumHeard { heard, voters } => write!(f, "only {heard} of {voters} voters are heard"),
            NotCommitted::EarlierTerm => write!(f, "a quorum holds entries of earlier terms only"),
            NotCommitted::InFlight { held } => write!(f, "on its way: a quorum holds everything up to {held}"),
        }
    }
}
