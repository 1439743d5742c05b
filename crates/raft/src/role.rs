//! Roles, what each of them knows, and the only places where one becomes another (Figure 3.3).

use std::collections::VecDeque;

use crate::interface::{Content, Effect, RoleKind};
use crate::node::Node;
use crate::progress::Progress;
use crate::read_index::Reads;
use crate::transfer::Transfer;
use crate::types::{Index, NodeId, Term};

/// The role of a replica with the data that only this role has.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    Follower(Follower),
    PreCandidate(Votes),
    Candidate(Votes),
    Leader(Box<Leader>),
}

/// What a follower knows of its term's leader's log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Follower {
    /// Everything up to here is known to equal the leader's log: the leader's own messages of this term have said so.
    /// Commit never follows the leader beyond it (bugs C02, C04).
    pub(crate) verified: Index,
    /// What the leader was last told is durable here.
    pub(crate) acknowledged: Index,
    /// A request waits for an answer, even if nothing more has become durable.
    pub(crate) answer_due: bool,
}

/// Answers to a request for votes, the own one among them: at most one for each voter (bug V16).
#[derive(Clone, Debug, Default)]
pub(crate) struct Votes(Vec<(NodeId, bool)>);

impl Votes {
    /// Notes the first answer of a voter.
    pub(crate) fn record(&mut self, voter: NodeId, granted: bool) {
        if self.of(voter).is_none() {
            self.0.push((voter, granted));
        }
    }

    /// What a voter answered, if it did.
    pub(crate) fn of(&self, voter: NodeId) -> Option<bool> {
        self.0.iter().find(|(from, _)| *from == voter).map(|(_, granted)| *granted)
    }
}

/// What a leader knows.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    /// Everybody else in the configuration, in order of identity.
    pub(crate) peers: Vec<Progress>,
    /// Ticks since the election.
    pub(crate) clock: u64,
    /// Ticks since the last heartbeat.
    pub(crate) heartbeat_elapsed: u32,
    /// Newest heartbeat round.
    pub(crate) round: u64,
    pub(crate) reads: Reads,
    pub(crate) transfer: Option<Transfer>,
    /// Last index and bytes of proposals that are not committed.
    pub(crate) uncommitted: VecDeque<(Index, u64)>,
    pub(crate) uncommitted_bytes: u64,
    /// An entry of this term is committed: the commit index covers everything that earlier leaders acknowledged.
    pub(crate) committed_in_own_term: bool,
    /// Something happened since the last flush that may allow more to be sent or committed.
    pub(crate) has_news: bool,
}

impl Leader {
    pub(crate) fn peer(&self, id: NodeId) -> Option<&Progress> {
        self.peers.iter().find(|peer| peer.id == id)
    }

    pub(crate) fn peer_mut(&mut self, id: NodeId) -> Option<&mut Progress> {
        self.peers.iter_mut().find(|peer| peer.id == id)
    }
}

impl Role {
    pub(crate) fn kind(&self) -> RoleKind {
        match self {
            Role::Follower(_) => RoleKind::Follower,
            Role::PreCandidate(_) => RoleKind::PreCandidate,
            Role::Candidate(_) => RoleKind::Candidate,
            Role::Leader(_) => RoleKind::Leader,
        }
    }
}

impl Node {
    /// Follows `leader`, or nobody yet, in `term`. Nothing changes where this is so already.
    pub(crate) fn become_follower(&mut self, term: Term, leader: Option<NodeId>, effects: &mut Vec<Effect>) {
        if term == self.current_term && self.leader == leader && matches!(self.role, Role::Follower(_)) {
            return;
        }
        if term > self.current_term {
            self.adopt_term(term);
        }
        self.set_leader(leader, effects);
        let former = std::mem::replace(&mut self.role, Role::Follower(Follower::default()));
        if let Role::Leader(leader) = former {
            self.refuse_reads(leader.reads, effects);
        }
        self.reset_election_timer();
    }

    /// Asks whether an election could be won. Touches nothing that is stored (bugs V01, V02, V03).
    pub(crate) fn become_pre_candidate(&mut self, effects: &mut Vec<Effect>) {
        assert!(!matches!(self.role, Role::Leader(_)), "a leader does not stand for election");
        self.set_leader(None, effects);
        let mut votes = Votes::default();
        votes.record(self.id, true);
        self.role = Role::PreCandidate(votes);
        self.reset_election_timer();
    }

    /// Stands for election in a new term, with the own vote given.
    pub(crate) fn become_candidate(&mut self, effects: &mut Vec<Effect>) {
        assert!(!matches!(self.role, Role::Leader(_)), "a leader does not stand for election");
        self.adopt_term(Term(self.current_term.0 + 1));
        self.voted_for = Some(self.id);
        self.set_leader(None, effects);
        self.role = Role::Candidate(Votes::default()); // the own one counts once it is durable
        self.reset_election_timer();
    }

    /// Leads the term that it was elected for.
    pub(crate) fn become_leader(&mut self, effects: &mut Vec<Effect>) {
        assert!(matches!(self.role, Role::Candidate(_)), "only candidates become leaders");
        assert_eq!(self.voted_for, Some(self.id), "a leader has its own vote");
        assert!(self.hard_state_is_durable(), "a leader's own vote is durable");
        self.set_leader(Some(self.id), effects);
        self.timer.suspicion = None;
        let next = self.log.last_index().next();
        let mut others = self.membership.current().members();
        others.retain(|member| *member != self.id);
        self.role = Role::Leader(Box::new(Leader {
            peers: others.into_iter().map(|id| Progress::new(id, next, 0)).collect(),
            clock: 0,
            heartbeat_elapsed: 0,
            round: 0,
            reads: Reads::default(),
            transfer: None,
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
            committed_in_own_term: false,
            has_news: true,
        }));
        // §3.6.2: entries of earlier terms are committed by committing one of this term behind them.
        self.append_own(1, 0, Content::Blank);
    }

    /// Enters a newer term, in which nobody has this replica's vote yet.
    pub(crate) fn adopt_term(&mut self, term: Term) {
        assert!(term > self.current_term, "terms only grow");
        self.current_term = term;
        self.voted_for = None;
        self.term_leader = None;
        self.durability.hard_state_changed();
        self.unsaved.hard_state = true;
    }

    /// Notes who leads the current term, as far as this replica can tell.
    fn set_leader(&mut self, leader: Option<NodeId>, effects: &mut Vec<Effect>) {
        if let Some(leader) = leader {
            assert!(
                self.term_leader.is_none_or(|known| known == leader),
                "Election Safety: {leader} and {:?} both lead term {}",
                self.term_leader,
                self.current_term,
            );
            self.term_leader = Some(leader);
        }
        if self.leader != leader {
            self.leader = leader;
            self.refuse_forwarded_reads(effects);
        }
    }
}
