//! One replica of one group: every input enters here, and this file reads as the table of contents of the rest.

use crate::durability::Durability;
use crate::election::ElectionTimer;
use crate::interface::{Append, Content, Effect, EntrySizes, Input, Leadership, Persist, RoleKind, Settings, Start};
use crate::invariants::Moment;
use crate::log_view::LogView;
use crate::membership::Membership;
use crate::message::{Body, Message};
use crate::read_index::ForwardedRead;
use crate::role::{Follower, Role};
use crate::types::{Configuration, HardState, Index, LogPosition, NodeId, Term, TermRun, Ticket};

/// One replica of one group.
///
/// The driver's contract, for one *turn*:
///
/// 1. call [`Node::step`] with each input and carry out the effects of each before the next step, staging writes so
///    that [`EntrySizes`] knows their entries;
/// 2. when no input is left, call [`Node::flush`] once and carry out its effects.
///
/// Appends, acknowledgements, commitment and read rounds come out of `flush`, so that any number of inputs in a turn
/// costs one message to each peer.
///
/// ```
/// use kontiki_raft::*;
///
/// struct OneByteEach;
/// impl EntrySizes for OneByteEach {
///     fn fit(&self, first: Index, last: Index, bytes_max: u64) -> (Index, u64) {
///         let last = last.min(Index(first.0 + bytes_max.max(1) - 1));
///         (last, last.0 + 1 - first.0)
///     }
/// }
///
/// let mut node = Node::new(Start {
///     id: NodeId(1),
///     hard_state: HardState::default(),
///     compacted: LogPosition::START,
///     runs: vec![],
///     last: Index(0),
///     configuration: Configuration::of([NodeId(1)]),
///     configurations: vec![],
///     applied: Index(0),
///     seed: 7,
///     settings: Settings::default(),
/// });
/// let mut effects = Vec::new();
/// node.step(Input::Tick, &mut effects); // alone in its group: stands at once
/// let Some(Effect::Persist(vote)) = effects.pop() else { panic!("the own vote is written first") };
/// node.step(Input::Persisted(vote.ticket), &mut effects); // leads, and writes a blank entry
/// let Some(Effect::Persist(blank)) = effects.pop() else { panic!("the blank entry is written") };
/// node.step(Input::Persisted(blank.ticket), &mut effects);
/// node.flush(&OneByteEach, &mut effects);
/// assert!(effects.contains(&Effect::Committed(Index(1))));
/// ```
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) id: NodeId,
    pub(crate) settings: Settings,
    /// Persistent state of Figure 3.1, with its durability in `durability`.
    pub(crate) current_term: Term,
    pub(crate) voted_for: Option<NodeId>,
    pub(crate) log: LogView,
    pub(crate) membership: Membership,
    pub(crate) durability: Durability,
    /// Volatile state of Figure 3.1.
    pub(crate) commit_index: Index,
    pub(crate) applied: Index,
    /// Who leads, as far as this replica believes at present.
    pub(crate) leader: Option<NodeId>,
    /// Who was ever seen to lead the current term: at most one (Election Safety).
    pub(crate) term_leader: Option<NodeId>,
    /// Assigned by the transitions in `role.rs` only.
    pub(crate) role: Role,
    pub(crate) timer: ElectionTimer,
    /// Batches of reads that the leader was asked about.
    pub(crate) forwarded: Vec<ForwardedRead>,
    /// What the present step must write; one record when it ends.
    pub(crate) unsaved: Unsaved,
    /// Messages that rest on writes under way, oldest first.
    pub(crate) withheld: Vec<Withheld>,
    /// The commit index that the driver knows.
    pub(crate) announced_commit: Index,
    /// What the driver knows of roles.
    announced: Leadership,
}

/// What a step must write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsaved {
    pub(crate) hard_state: bool,
    pub(crate) append: Option<Append>,
}

/// A message that may be sent once its ticket is durable.
#[derive(Clone, Debug)]
pub(crate) struct Withheld {
    ticket: Ticket,
    to: NodeId,
    message: Message,
}

impl Node {
    /// A replica at its start, a follower of nobody.
    ///
    /// # Panics
    /// Where the recovered pieces contradict each other, or the state machine is ahead of the log.
    #[must_use]
    pub fn new(start: Start) -> Node {
        let Start { id, hard_state, compacted, runs, last, configuration, configurations, applied, seed, settings } =
            start;
        assert!(compacted.index <= applied, "{id}: entries up to {compacted} are gone, only {applied} are applied");
        assert!(applied <= last, "{id}: the state machine holds {applied}, the log ends at {last}");
        let log = LogView::new(compacted, runs, last);
        let mut node = Node {
            id,
            settings,
            current_term: hard_state.term,
            voted_for: hard_state.voted_for,
            log,
            membership: Membership::new(configuration, configurations),
            durability: Durability::new(last),
            commit_index: applied,
            applied,
            leader: None,
            term_leader: None,
            role: Role::Follower(Follower::default()),
            timer: ElectionTimer::new(&settings, seed, id),
            forwarded: Vec::new(),
            unsaved: Unsaved::default(),
            withheld: Vec::new(),
            announced_commit: applied,
            announced: Leadership { term: hard_state.term, leader: None, role: RoleKind::Follower },
        };
        // A snapshot may have become durable and the term that it proves not yet, when the last life ended.
        let newest = node.log.last_position().term;
        if newest > node.current_term {
            node.adopt_term(newest);
        }
        node
    }

    /// Takes one input and appends what must be done because of it to `effects`, to be carried out in order before the
    /// next step.
    pub fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        let before = Moment::of(self);
        let first_effect = effects.len();
        match input {
            Input::Tick => self.on_tick(effects),
            Input::Receive { from, message } => self.on_receive(from, message, effects),
            Input::Propose { count, bytes } => self.on_propose(count, bytes, effects),
            Input::Read(id) => self.on_read(id, effects),
            Input::Persisted(ticket) => self.on_persisted(ticket, effects),
            Input::Applied(index) => self.on_applied(index),
            Input::Compacted(index) => self.on_compacted(index),
            Input::SnapshotSent { to, installed } => self.on_snapshot_sent(to, installed),
            Input::SnapshotReceived(meta) => self.on_snapshot_received(meta, effects),
            Input::Suspect(peer) => self.on_suspect(peer, effects),
            Input::TransferLeadership(target) => self.on_transfer_leadership(target),
            Input::Campaign => self.campaign(effects),
        }
        self.announce_leadership(first_effect, effects);
        self.persist_unsaved(effects);
        before.check_against(self);
    }

    /// Ends a turn: sends what its steps made possible.
    ///
    /// The effects of all steps so far must have been carried out, so that `sizes` knows every entry of the log.
    pub fn flush(&mut self, sizes: &dyn EntrySizes, effects: &mut Vec<Effect>) {
        match &self.role {
            Role::Leader(_) => self.flush_leader(sizes, effects),
            Role::Follower(_) => self.acknowledge(effects),
            Role::PreCandidate(_) | Role::Candidate(_) => {}
        }
        if self.commit_index > self.announced_commit {
            self.announced_commit = self.commit_index;
            effects.push(Effect::Committed(self.commit_index));
        }
    }

    fn on_receive(&mut self, from: NodeId, message: Message, effects: &mut Vec<Effect>) {
        if from == self.id || !message.is_well_formed() {
            return; // not something that a replica of this program says
        }
        if message.term > self.current_term && !self.meets_newer_term(from, &message, effects) {
            return;
        }
        if message.term < self.current_term {
            return self.on_stale_message(from, &message, effects);
        }
        self.dispatch(from, message, effects);
    }

    /// Adopts the term of a message from the future, but for those that must not change anything here. Says whether the
    /// message is to be looked at.
    fn meets_newer_term(&mut self, from: NodeId, message: &Message, effects: &mut Vec<Effect>) -> bool {
        match &message.body {
            // §9.6: the proposed term is nobody's yet. Grants repeat it; refusals carry a real one (bug V19).
            Body::RequestVote(request) if request.pre_vote => {
                self.on_pre_vote(from, message.term, *request, effects);
                false
            }
            Body::RequestVoteReply(reply) if reply.pre_vote && reply.granted => {
                self.on_pre_vote_granted(from, message.term, effects);
                false
            }
            // §4.2.3: who hears a leader does not help to depose it. Not even the term is taken over.
            Body::RequestVote(request) if !request.transfer && self.is_sticky(from) => false,
            Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_) => {
                self.become_follower(message.term, Some(from), effects);
                true
            }
            Body::RequestVote(_)
            | Body::RequestVoteReply(_)
            | Body::AppendAccepted(_)
            | Body::AppendRejected(_)
            | Body::HeartbeatReply(_)
            | Body::TimeoutNow
            | Body::ReadIndex(_)
            | Body::ReadIndexReply { .. } => {
                self.become_follower(message.term, None, effects);
                true
            }
        }
    }

    /// Every role and every message of the current term.
    fn dispatch(&mut self, from: NodeId, message: Message, effects: &mut Vec<Effect>) {
        use RoleKind::{Candidate, Follower, Leader, PreCandidate};
        let term = message.term;
        match (self.role.kind(), message.body) {
            (Follower | PreCandidate | Candidate | Leader, Body::RequestVote(request)) if request.pre_vote => {
                self.on_pre_vote(from, term, request, effects);
            }
            (Follower | PreCandidate | Candidate | Leader, Body::RequestVote(request)) => {
                self.on_request_vote(from, request, effects);
            }
            (PreCandidate, Body::RequestVoteReply(reply)) if reply.pre_vote => {
                self.on_pre_vote_refused(from, effects); // a grant carries the proposed term and does not come here
            }
            (Candidate, Body::RequestVoteReply(reply)) if !reply.pre_vote => {
                self.on_vote(from, reply.granted, effects);
            }
            // Answers to a candidacy that is over (bug V22), or to the other kind of question (bug V17).
            (Follower | PreCandidate | Candidate | Leader, Body::RequestVoteReply(_)) => {}

            // On a leader these three prove a second leader of the term: `hear_leader` halts.
            (Follower | PreCandidate | Candidate | Leader, Body::AppendEntries(request)) => {
                self.hear_leader(from, effects);
                self.on_append_entries(from, request, effects);
            }
            (Follower | PreCandidate | Candidate | Leader, Body::Heartbeat(heartbeat)) => {
                self.hear_leader(from, effects);
                self.on_heartbeat(from, heartbeat, effects);
            }
            (Follower | PreCandidate | Candidate | Leader, Body::InstallSnapshot(_)) => {
                self.hear_leader(from, effects); // the snapshot itself comes on its own connection
            }

            (Leader, Body::AppendAccepted(answer)) => {
                self.hear_peer(from);
                self.on_append_accepted(from, answer);
            }
            (Leader, Body::AppendRejected(answer)) => {
                self.hear_peer(from);
                self.on_append_rejected(from, answer);
            }
            (Leader, Body::HeartbeatReply(reply)) => {
                self.hear_peer(from);
                self.on_heartbeat_reply(from, reply, effects);
            }
            // Answers a leadership now lost (bug C12).
            (
                Follower | PreCandidate | Candidate,
                Body::AppendAccepted(_) | Body::AppendRejected(_) | Body::HeartbeatReply(_),
            ) => {}

            (Follower, Body::TimeoutNow) => self.on_timeout_now(from, effects),
            (PreCandidate | Candidate | Leader, Body::TimeoutNow) => {} // stands already, or won already

            (Follower | PreCandidate | Candidate | Leader, Body::ReadIndex(id)) => {
                self.on_read_index(from, id, effects);
            }
            (Follower | PreCandidate | Candidate | Leader, Body::ReadIndexReply { id, index }) => {
                self.on_read_index_reply(from, id, index, effects);
            }
        }
    }

    fn on_applied(&mut self, index: Index) {
        assert!(index <= self.commit_index, "{index} is reported applied, only {} is committed", self.commit_index);
        self.applied = self.applied.max(index);
    }

    fn on_persisted(&mut self, ticket: Ticket, effects: &mut Vec<Effect>) {
        self.durability.persisted(ticket);
        self.release_withheld(effects);
        match &mut self.role {
            Role::Candidate(_) => self.count_own_vote(effects),
            Role::Leader(leader) => leader.has_news = true,
            Role::Follower(_) | Role::PreCandidate(_) => {}
        }
    }

    /// Sends a message of the current term as soon as that term, and the vote in it, are durable.
    pub(crate) fn send(&mut self, to: NodeId, body: Body, effects: &mut Vec<Effect>) {
        self.send_in_term(to, self.current_term, body, effects);
    }

    /// As [`Node::send`], for the messages of pre-vote, which name a term that nobody has entered.
    pub(crate) fn send_in_term(&mut self, to: NodeId, term: Term, body: Body, effects: &mut Vec<Effect>) {
        let message = Message { term, body };
        if self.hard_state_is_durable() {
            effects.push(Effect::Send { to, message });
            return;
        }
        // So that a slow disk cannot make the queue grow.
        self.withheld.retain(|older| older.to != to || !supersedes(&message.body, &older.message.body));
        self.withheld.push(Withheld { ticket: self.durability.hard_state(), to, message });
    }

    fn release_withheld(&mut self, effects: &mut Vec<Effect>) {
        if self.withheld.is_empty() {
            return;
        }
        for held in self.withheld.extract_if(.., |held| self.durability.is_durable(held.ticket)) {
            // What was said in a term that has passed meanwhile concerns nobody any more.
            if held.message.term >= self.current_term {
                effects.push(Effect::Send { to: held.to, message: held.message });
            }
        }
    }

    pub(crate) fn hard_state_is_durable(&self) -> bool {
        self.durability.is_durable(self.durability.hard_state())
    }

    fn persist_unsaved(&mut self, effects: &mut Vec<Effect>) {
        if !self.unsaved.hard_state && self.unsaved.append.is_none() {
            return;
        }
        let Unsaved { hard_state, append } = std::mem::take(&mut self.unsaved);
        let hard_state = hard_state.then_some(HardState { term: self.current_term, voted_for: self.voted_for });
        effects.push(Effect::Persist(Persist { ticket: self.durability.issue(), hard_state, append }));
    }

    /// Appends `count` entries of this leader's term.
    pub(crate) fn append_own(&mut self, count: u64, bytes: u64, content: Content) {
        let Role::Leader(leader) = &mut self.role else { unreachable!("only leaders append entries of their own") };
        let first = self.log.last_index().next();
        let last = Index(self.log.last_index().0 + count);
        let run = TermRun { term: self.current_term, first };
        self.log.append(&[run], last);
        self.durability.appended(first, last);
        leader.uncommitted.push_back((last, bytes));
        leader.uncommitted_bytes += bytes;
        leader.has_news = true;
        assert!(self.unsaved.append.is_none(), "a step appends once");
        self.unsaved.append = Some(Append { first, last, runs: vec![run], content });
    }

    /// Tells a change of role, term or leader before the effects that follow from it.
    fn announce_leadership(&mut self, first_effect: usize, effects: &mut Vec<Effect>) {
        let present = Leadership { term: self.current_term, leader: self.leader, role: self.role.kind() };
        if present != self.announced {
            self.announced = present;
            effects.insert(first_effect, Effect::LeadershipChanged(present));
        }
    }
}

/// Whether a message makes an older one to the same replica pointless.
fn supersedes(newer: &Body, older: &Body) -> bool {
    match (newer, older) {
        (Body::ReadIndex(_) | Body::ReadIndexReply { .. }, _) => false, // each names a batch of its own
        (Body::RequestVoteReply(newer), Body::RequestVoteReply(older)) => newer.pre_vote == older.pre_vote,
        (newer, older) => std::mem::discriminant(newer) == std::mem::discriminant(older),
    }
}

/// What a driver may look at between steps.
impl Node {
    /// This replica's identity.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Latest term that this replica has seen.
    #[must_use]
    pub fn term(&self) -> Term {
        self.current_term
    }

    /// Who has this replica's vote in the current term.
    #[must_use]
    pub fn voted_for(&self) -> Option<NodeId> {
        self.voted_for
    }

    /// This replica's role.
    #[must_use]
    pub fn role(&self) -> RoleKind {
        self.role.kind()
    }

    /// The leader, as far as this replica knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Last index known to be committed.
    #[must_use]
    pub fn commit_index(&self) -> Index {
        self.commit_index
    }

    /// Last index that the state machine holds.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// First index in the log; one beyond [`Node::last_index`] where the log is empty.
    #[must_use]
    pub fn first_index(&self) -> Index {
        self.log.compacted().index.next()
    }

    /// Last index in the log.
    #[must_use]
    pub fn last_index(&self) -> Index {
        self.log.last_index()
    }

    /// Last entry in the log.
    #[must_use]
    pub fn last_position(&self) -> LogPosition {
        self.log.last_position()
    }

    /// The entry before the first one in the log.
    #[must_use]
    pub fn compacted(&self) -> LogPosition {
        self.log.compacted()
    }

    /// Last index of the log that is durable here.
    #[must_use]
    pub fn durable_index(&self) -> Index {
        self.durability.index()
    }

    /// Term of an entry; none where it is compacted or not there yet.
    #[must_use]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.log.term_at(index)
    }

    /// Membership in force: the newest in the log, committed or not.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        self.membership.current()
    }

    /// Membership in force at `index`, for the description of a snapshot taken there.
    #[must_use]
    pub fn configuration_at(&self, index: Index) -> &Configuration {
        self.membership.at(index)
    }

    /// Whether this replica leads and has committed an entry of its own term, so that its commit index covers
    /// everything that was ever acknowledged.
    #[must_use]
    pub fn committed_in_own_term(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.committed_in_own_term)
    }
}
