//! Roles, what each of them knows, and the only places where one becomes another (Figure 3.3).

use std::collections::VecDeque;

use crate::decision::{Decision, StepDown};
use crate::interface::{Content, Effect, RoleKind};
use crate::lease::Rounds;
use crate::message::Body;
use crate::node::Node;
use crate::progress::Progress;
use crate::rare::Optional;
use crate::read_index::Reads;
use crate::transfer::Transfer;
use crate::types::{Index, LogPosition, NodeId, Term};

/// The role of a replica with the data that only this role has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Follower(Follower),
    PreCandidate(Votes),
    Candidate(Votes),
    Leader(Box<Leader>),
}

/// What a follower knows of its term's leader's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Follower {
    /// Everything up to here is known to equal the leader's log: the leader's own messages of this term have said so.
    /// Commit never follows the leader beyond it (bugs C02, C04).
    pub(crate) verified: Index,
    /// What the leader was last told is durable here.
    pub(crate) acknowledged: Index,
    /// The leader's heartbeats count on everything up to here: this or an earlier life told it that it is durable.
    pub(crate) counted_on: Index,
    /// The membership session that the leader last named; repeated in every answer (bug M30).
    pub(crate) session: Index,
    /// A request waits for an answer, even if nothing more has become durable.
    pub(crate) answer_due: bool,
}

/// Answers to a request for votes, the own one among them: at most one for each voter (bug V16).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Votes(Vec<Vote>);

/// What a voter answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Vote {
    pub(crate) voter: NodeId,
    pub(crate) granted: bool,
    /// Where the voter's log ends.
    pub(crate) last: LogPosition,
}

impl Votes {
    /// Notes the first answer of a voter.
    pub(crate) fn record(&mut self, vote: Vote) {
        if self.of(vote.voter).is_none() {
            self.0.push(vote);
        }
    }

    /// What a voter answered, if it did.
    pub(crate) fn of(&self, voter: NodeId) -> Option<bool> {
        self.0.iter().find(|vote| vote.voter == voter).map(|vote| vote.granted)
    }

    /// The voter with the most complete log.
    pub(crate) fn best(&self) -> Option<Vote> {
        self.0.iter().max_by_key(|vote| (vote.last, vote.voter)).copied()
    }
}

/// What a leader knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// When the last handover by priority began, so that a hopeless one is not tried all the time.
    pub(crate) handover_at: u64,
    /// Whom a configuration that is not committed yet leaves out: they are told once it is.
    pub(crate) departing: Vec<NodeId>,
    pub(crate) rounds: Rounds,
    /// Last index and bytes of proposals that are not committed, or not durable here yet.
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
        if term == self.current_term && self.leader() == leader && matches!(self.role, Role::Follower(_)) {
            return;
        }
        if term > self.current_term {
            if matches!(self.role, Role::Leader(_)) {
                self.decide(|| Decision::StepsDown(StepDown::NewerTerm(term)));
            }
            self.adopt_term(term);
        }
        self.set_leader(leader, effects);
        let former = std::mem::replace(&mut self.role, Role::Follower(Follower::default()));
        if let Role::Leader(leader) = former {
            self.leave_transfer(leader.transfer);
            self.refuse_reads(leader.reads, effects);
        }
        self.reset_election_timer();
    }

    /// Gives leadership up and says so, so that nobody waits for a leader that there is not any more.
    pub(crate) fn resign(&mut self, why: StepDown, effects: &mut Vec<Effect>) {
        self.decide(|| Decision::StepsDown(why));
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader resigns") };
        let peers: Vec<NodeId> = leader.peers.iter().map(|peer| peer.id).collect();
        let departing = std::mem::take(&mut leader.departing);
        let tells = self.membership.index() <= self.commit_index;
        self.become_follower(self.current_term, None, effects);
        for peer in peers {
            self.send(peer, Body::Resigned, effects);
        }
        if tells {
            self.tell_removed(&departing, effects);
        }
    }

    /// Asks whether an election could be won. Touches nothing that is stored (bugs V01, V02, V03).
    pub(crate) fn become_pre_candidate(&mut self, effects: &mut Vec<Effect>) {
        assert!(!matches!(self.role, Role::Leader(_)), "a leader does not stand for election");
        self.set_leader(None, effects);
        let mut votes = Votes::default();
        votes.record(self.own_vote());
        self.role = Role::PreCandidate(votes);
        self.reset_election_timer();
    }

    /// Stands for election in a new term, with the own vote given.
    pub(crate) fn become_candidate(&mut self, effects: &mut Vec<Effect>) {
        assert!(!matches!(self.role, Role::Leader(_)), "a leader does not stand for election");
        self.adopt_term(Term(self.current_term.0 + 1));
        self.vote_for(self.id);
        self.set_leader(None, effects);
        self.role = Role::Candidate(Votes::default()); // the own one counts once it is durable
        self.reset_election_timer();
    }

    /// Leads the term that it was elected for.
    pub(crate) fn become_leader(&mut self, effects: &mut Vec<Effect>) {
        assert!(matches!(self.role, Role::Candidate(_)), "only candidates become leaders");
        assert_eq!(self.voted_for(), Some(self.id), "a leader has its own vote");
        assert!(self.hard_state_is_durable(), "a leader's own vote is durable");
        self.set_leader(Some(self.id), effects);
        self.forget_suspicion();
        let next = self.log.last_index().next();
        let others = self.membership.current().members().into_iter().filter(|member| *member != self.id);
        self.role = Role::Leader(Box::new(Leader {
            peers: others.map(|id| Progress::new(id, Index(0), next, 0)).collect(),
            clock: 0,
            heartbeat_elapsed: 0,
            round: 0,
            reads: Reads::default(),
            transfer: self.left_transfer(),
            handover_at: 0,
            departing: Vec::new(),
            rounds: Rounds::default(),
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
            committed_in_own_term: false,
            has_news: true,
        }));
        // §3.6.2: entries of earlier terms are committed by committing one of this term behind them.
        self.append_own(1, 0, Content::Blank, effects);
    }

    /// Enters a newer term, in which nobody has this replica's vote yet.
    pub(crate) fn adopt_term(&mut self, term: Term) {
        assert!(term > self.current_term, "terms only grow");
        self.current_term = term;
        self.voted_for = Optional::default();
        self.term_leader = Optional::default();
        self.follows = false;
        self.durability.hard_state_changed();
        self.unsaved_hard_state = true;
    }

    /// Gives this term's vote away: once.
    pub(crate) fn vote_for(&mut self, candidate: NodeId) {
        assert!(self.voted_for().is_none_or(|given| given == candidate), "a vote is given once in a term");
        if self.voted_for().is_none() {
            self.voted_for = Optional::new(Some(candidate.0));
            self.durability.hard_state_changed();
            self.unsaved_hard_state = true;
        }
    }

    pub(crate) fn own_vote(&self) -> Vote {
        Vote { voter: self.id, granted: true, last: self.log.last_position() }
    }

    /// Notes who leads the current term, as far as this replica can tell.
    pub(crate) fn set_leader(&mut self, leader: Option<NodeId>, effects: &mut Vec<Effect>) {
        let before = self.leader();
        if let Some(leader) = leader {
            let known = self.term_leader.get().map(NodeId);
            assert!(
                known.is_none_or(|known| known == leader),
                "Election Safety: {leader} and {known:?} both lead term {}",
                self.current_term,
            );
            self.term_leader = Optional::new(Some(leader.0));
        }
        self.follows = leader.is_some();
        // A new term has forgotten its predecessor's leader already (bug R04).
        if before != leader || leader.is_none() {
            self.refuse_forwarded_reads(effects);
        }
    }
}
