//! One replica of one group: every input enters here, and this file reads as the table of contents of the rest.

use std::sync::Arc;

use crate::aside::{Aside, Withheld};
use crate::configuration::Configuration;
use crate::decision::{Decision, Ignored, StepDown};
use crate::durability::Durability;
use crate::interface::{Append, Content, Effect, EntrySizes, Input, Leadership, Persist, RoleKind, Settings, Start};
use crate::invariants::Moment;
use crate::log_view::LogView;
use crate::membership::Membership;
use crate::message::{Body, Message, RequestVoteReply};
use crate::planted::planted;
use crate::rare::{Optional, Rare};
use crate::role::{Follower, Role};
use crate::timer::ElectionTimer;
use crate::types::{HardState, Index, LogPosition, NodeId, Term, TermRun, TermRuns, Ticket};

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
///     incarnation: None,
///     hard_state: HardState::default(),
///     compacted: LogPosition::START,
///     runs: TermRuns::None,
///     last: Index(0),
///     configuration: Configuration::of([NodeId(1)]).into(),
///     configurations: vec![],
///     applied: Index(0),
///     seed: 7,
///     settings: Settings::default().into(),
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub(crate) id: NodeId,
    pub(crate) incarnation: Optional,
    pub(crate) settings: Arc<Settings>,
    /// Persistent state of Figure 3.1, with its durability in `durability`.
    pub(crate) current_term: Term,
    pub(crate) voted_for: Optional,
    pub(crate) log: LogView,
    pub(crate) membership: Membership,
    pub(crate) durability: Durability,
    /// Volatile state of Figure 3.1.
    pub(crate) commit_index: Index,
    pub(crate) applied: Index,
    /// Who was ever seen to lead the current term: at most one (Election Safety).
    pub(crate) term_leader: Optional,
    /// Assigned by the transitions in `role.rs` only.
    pub(crate) role: Role,
    pub(crate) timer: ElectionTimer,
    /// Ticks for which a leader was promised that nobody else gets this replica's vote (§6.4.1).
    pub(crate) promise_left: u32,
    /// Believes that `term_leader` leads at present.
    pub(crate) follows: bool,
    /// Was told that it does not count as a member.
    pub(crate) excluded: bool,
    /// Term or vote changed in the present step.
    pub(crate) unsaved_hard_state: bool,
    /// The present step appends to the log.
    pub(crate) staged: bool,
    /// The driver does not know the commit index yet.
    pub(crate) commit_moved: bool,
    /// Somebody wants to know what is decided.
    pub(crate) listening: bool,
    pub(crate) aside: Rare<Aside>,
}

impl Node {
    /// A replica at its start, a follower of nobody.
    ///
    /// # Panics
    /// Where the recovered pieces contradict each other, or the state machine is ahead of the log.
    #[must_use]
    pub fn new(start: Start) -> Node {
        let Start { id, incarnation, hard_state, compacted, runs, last, applied, seed, settings, .. } = start;
        assert!(compacted.index <= applied, "{id}: entries up to {compacted} are gone, only {applied} are applied");
        assert!(applied <= last, "{id}: the state machine holds {applied}, the log ends at {last}");
        let timer = ElectionTimer::new(&settings, seed, id);
        let mut node = Node {
            id,
            incarnation: Optional::new(incarnation.map(|incarnation| incarnation.0)),
            settings,
            current_term: hard_state.term,
            voted_for: Optional::new(hard_state.voted_for.filter(|_| !planted(4)).map(|candidate| candidate.0)),
            log: LogView::new(compacted, runs, last),
            membership: Membership::new(compacted.index, applied, start.configuration, start.configurations),
            durability: Durability::new(last),
            commit_index: applied,
            applied,
            term_leader: Optional::default(),
            role: Role::Follower(Follower::default()),
            timer,
            promise_left: 0,
            follows: false,
            excluded: false,
            unsaved_hard_state: false,
            staged: false,
            commit_moved: false,
            listening: false,
            aside: Rare::default(),
        };
        let ticks = node.voters_to_go_first() * node.settings.election_timeout_ticks / 2;
        node.timer.wait_longer(ticks);
        // Bug R08: what the former life promised a leader is kept, as if it had been heard just now.
        node.promise_left = node.promise_ticks();
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
            Input::Applied(index) => self.on_applied(index, effects),
            Input::Compacted(index) => self.on_compacted(index),
            Input::SnapshotSent { to, installed } => self.on_snapshot_sent(to, installed),
            Input::SnapshotReceived(meta) => self.on_snapshot_received(meta, effects),
            Input::Suspect(peer) => self.on_suspect(peer, effects),
            Input::TransferLeadership(target) => self.on_transfer_leadership(target),
            Input::Campaign => self.campaign(effects),
            Input::ChangeMembership(changes) => self.on_change_membership(&changes, effects),
            Input::Paused => self.on_paused(effects),
            Input::ForceNewCluster => self.on_force_new_cluster(effects),
        }
        self.persist_unsaved(first_effect, effects);
        let present = self.leadership();
        if present != before.leadership {
            effects.insert(first_effect, Effect::LeadershipChanged(present));
        }
        before.check_against(self);
    }

    /// Ends a turn: sends what its steps made possible.
    ///
    /// The effects of all steps so far must have been carried out, so that `sizes` knows every entry of the log.
    pub fn flush(&mut self, sizes: &dyn EntrySizes, effects: &mut Vec<Effect>) {
        let (before, first_effect) = (self.leadership(), effects.len());
        match &self.role {
            Role::Leader(_) => self.flush_leader(sizes, effects),
            Role::Follower(_) => self.acknowledge(effects),
            Role::PreCandidate(_) | Role::Candidate(_) => {}
        }
        if !self.aside.pulls.is_empty() {
            self.answer_pulls(sizes, effects);
        }
        if std::mem::take(&mut self.commit_moved) {
            effects.push(Effect::Committed(self.commit_index));
        }
        let present = self.leadership();
        if present != before {
            effects.insert(first_effect, Effect::LeadershipChanged(present)); // a leader that was voted out
        }
    }

    fn on_receive(&mut self, from: NodeId, message: Message, effects: &mut Vec<Effect>) {
        if from == self.id || !message.is_well_formed() {
            // Not something that a replica of this program says.
            return self.decide(|| Decision::Ignores { from, why: Ignored::Malformed });
        }
        if self.is_from_outside(from, &message, effects) {
            return;
        }
        if let Body::Excluded(exclusion) = message.body {
            return self.on_excluded(exclusion, effects); // from whatever term
        }
        if message.term > self.current_term {
            let term = message.term;
            if !self.meets_newer_term(from, &message, effects) {
                return;
            }
            self.decide(|| Decision::TermAdopted { term, from });
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
                self.on_pre_vote_granted(from, message.term, reply.last, effects);
                false
            }
            Body::RequestVoteReply(reply) if reply.pre_vote => {
                self.ask_in_newer_term(message.term, effects);
                false
            }
            Body::RequestVoteReply(reply) if planted(5) && self.is_candidate() => {
                self.on_vote(from, RequestVoteReply { granted: true, ..*reply }, effects);
                false
            }
            // §4.2.3: who hears a leader does not help to depose it. Not even the term is taken over.
            Body::RequestVote(request) if !request.transfer && self.stands_by_leader(from).is_some() => {
                let (term, why) = (message.term, self.stands_by_leader(from).expect("just seen"));
                self.decide(|| Decision::VoteRefused { to: from, term, pre_vote: false, why });
                false
            }
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
            | Body::Resigned
            | Body::Excluded(_)
            | Body::Pull(_)
            | Body::Pulled(_)
            | Body::ReadIndex(_)
            | Body::ReadIndexReply { .. } => {
                self.adopt_term_of_others(message.term, effects);
                true
            }
        }
    }

    /// Every role and every message of the current term.
    fn dispatch(&mut self, from: NodeId, message: Message, effects: &mut Vec<Effect>) {
        use RoleKind::{Candidate, Follower, Leader, PreCandidate};
        let (term, incarnation) = (message.term, message.incarnation);
        match (self.role.kind(), message.body) {
            (Follower | PreCandidate | Candidate | Leader, Body::RequestVote(request)) if request.pre_vote => {
                self.on_pre_vote(from, term, request, effects);
            }
            (Follower | PreCandidate | Candidate | Leader, Body::RequestVote(request)) => {
                self.on_request_vote(from, request, effects);
            }
            // A grant carries the proposed term; one that comes here is of a question asked before this term began.
            (PreCandidate, Body::RequestVoteReply(reply)) if reply.pre_vote && !reply.granted => {
                self.on_pre_vote_refused(from, reply.last, effects);
            }
            (Candidate, Body::RequestVoteReply(reply)) if !reply.pre_vote || planted(6) => {
                self.on_vote(from, reply, effects);
            }
            // Answers to a candidacy that is over (bug V22), or to the other kind of question (bug V17).
            (Follower | PreCandidate | Candidate | Leader, Body::RequestVoteReply(_)) => {}

            // On a leader these three prove a second leader of the term: `hear_leader` halts.
            (Follower | PreCandidate | Candidate | Leader, Body::AppendEntries(request)) => {
                self.hear_leader(from, request.session, effects);
                self.on_append_entries(from, request, effects);
            }
            (Follower | PreCandidate | Candidate | Leader, Body::Heartbeat(heartbeat)) => {
                self.hear_leader(from, heartbeat.session, effects);
                self.on_heartbeat(from, heartbeat, effects);
            }
            (Follower | PreCandidate | Candidate | Leader, Body::InstallSnapshot(_)) => {
                self.hear_leader(from, Index(0), effects); // the snapshot itself comes on its own connection
            }

            (Leader, Body::AppendAccepted(answer)) => {
                if self.answers_session(from, answer.session, incarnation) {
                    self.on_append_accepted(from, answer);
                }
            }
            (Leader, Body::AppendRejected(answer)) => {
                if self.answers_session(from, answer.session, incarnation) {
                    self.on_append_rejected(from, answer);
                }
            }
            (Leader, Body::HeartbeatReply(reply)) => {
                if self.answers_session(from, reply.session, incarnation) {
                    self.on_heartbeat_reply(from, reply, effects);
                }
            }
            // Answers a leadership now lost (bug C12).
            (
                Follower | PreCandidate | Candidate,
                Body::AppendAccepted(_) | Body::AppendRejected(_) | Body::HeartbeatReply(_),
            ) => {}

            (Follower, Body::TimeoutNow) => self.on_timeout_now(from, effects),
            (PreCandidate | Candidate | Leader, Body::TimeoutNow) => {} // stands already, or won already
            (Follower, Body::Resigned) => self.on_resigned(from, effects),
            (PreCandidate | Candidate | Leader, Body::Resigned) => {} // found out already

            (Follower | PreCandidate | Candidate | Leader, Body::Pull(pull)) => self.on_pull(from, pull),
            (Follower | PreCandidate | Candidate, Body::Pulled(entries)) => self.on_pulled(from, entries, effects),
            (Leader, Body::Pulled(_)) => {} // has won without them
            (Follower | PreCandidate | Candidate | Leader, Body::Excluded(_)) => {} // taken before terms are compared

            (Follower | PreCandidate | Candidate | Leader, Body::ReadIndex(id)) => {
                self.on_read_index(from, id, effects);
            }
            (Follower | PreCandidate | Candidate | Leader, Body::ReadIndexReply { id, index }) => {
                self.on_read_index_reply(from, id, index, effects);
            }
        }
    }

    fn on_applied(&mut self, index: Index, effects: &mut Vec<Effect>) {
        assert!(index <= self.commit_index, "{index} is reported applied, only {} is committed", self.commit_index);
        self.applied = self.applied.max(index);
        self.tend_membership(effects);
    }

    /// Time has passed that nobody counted (bug G11).
    fn on_paused(&mut self, effects: &mut Vec<Effect>) {
        if matches!(self.role, Role::Leader(_)) {
            self.resign(StepDown::Paused, effects);
        }
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
        let message = Message { term, incarnation: self.incarnation(), body };
        let early = planted(1) && matches!(message.body, Body::RequestVoteReply(reply) if reply.granted);
        if early || self.hard_state_is_durable() {
            effects.push(Effect::Send { to, message });
            return;
        }
        // So that a slow disk cannot make the queue grow.
        self.aside.withheld.retain(|older| older.to != to || !supersedes(&message.body, &older.message.body));
        self.aside.withheld.push(Withheld { ticket: self.durability.hard_state(), to, message });
    }

    fn release_withheld(&mut self, effects: &mut Vec<Effect>) {
        if self.aside.withheld.is_empty() {
            return;
        }
        for held in self.aside.withheld.extract_if(.., |held| self.durability.is_durable(held.ticket)) {
            // What was said in a term that has passed meanwhile concerns nobody any more.
            if held.message.term >= self.current_term {
                effects.push(Effect::Send { to: held.to, message: held.message });
            }
        }
    }

    pub(crate) fn hard_state_is_durable(&self) -> bool {
        self.durability.is_durable(self.durability.hard_state())
    }

    /// Appends to the log: the step's one write, to which its end adds term and vote where they changed.
    pub(crate) fn stage(&mut self, append: Append, effects: &mut Vec<Effect>) {
        assert!(!self.staged, "a step appends once");
        self.staged = true;
        let ticket = self.durability.upcoming();
        effects.push(Effect::Persist(Persist { ticket, hard_state: None, append: Some(append) }));
    }

    fn persist_unsaved(&mut self, first_effect: usize, effects: &mut Vec<Effect>) {
        let hard_state = std::mem::take(&mut self.unsaved_hard_state)
            .then(|| HardState { term: self.current_term, voted_for: self.voted_for() });
        if std::mem::take(&mut self.staged) {
            self.durability.issue();
            if hard_state.is_some() {
                let write = effects[first_effect..].iter_mut().find_map(|effect| match effect {
                    Effect::Persist(persist) => Some(persist),
                    _ => None,
                });
                write.expect("the append was staged in this step").hard_state = hard_state;
            }
        } else if hard_state.is_some() {
            let hard_state = hard_state.filter(|_| !(planted(2) && self.is_candidate()));
            effects.push(Effect::Persist(Persist { ticket: self.durability.issue(), hard_state, append: None }));
        }
    }

    /// Appends `count` entries of this leader's term.
    pub(crate) fn append_own(&mut self, count: u64, bytes: u64, content: Content, effects: &mut Vec<Effect>) {
        let Role::Leader(leader) = &mut self.role else { unreachable!("only leaders append entries of their own") };
        let first = self.log.last_index().next();
        let last = Index(self.log.last_index().0 + count);
        let runs = TermRuns::One([TermRun { term: self.current_term, first }]);
        self.log.append(&runs, last);
        self.durability.appended(first, last);
        leader.uncommitted.push_back((last, bytes));
        leader.uncommitted_bytes += bytes;
        leader.has_news = true;
        self.stage(Append { first, last, runs, content }, effects);
    }

    /// Who leads, as this replica knows it.
    pub(crate) fn leadership(&self) -> Leadership {
        Leadership { term: self.current_term, leader: self.leader(), role: self.role.kind() }
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
        self.voted_for.get().map(NodeId)
    }

    /// This replica's role.
    #[must_use]
    pub fn role(&self) -> RoleKind {
        self.role.kind()
    }

    /// The leader, as far as this replica knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        if self.follows { self.term_leader.get().map(NodeId) } else { None }
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
    pub fn configuration(&self) -> &Arc<Configuration> {
        self.membership.current()
    }

    /// Membership in force at `index`, for the description of a snapshot taken there.
    #[must_use]
    pub fn configuration_at(&self, index: Index) -> &Arc<Configuration> {
        self.membership.at(if planted(29) { Index(0) } else { index })
    }

    /// Whether this replica leads and has committed an entry of its own term, so that its commit index covers
    /// everything that was ever acknowledged.
    #[must_use]
    pub fn committed_in_own_term(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.committed_in_own_term)
    }
}
