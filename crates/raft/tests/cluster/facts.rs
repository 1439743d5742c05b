//! What may never happen in any run: the properties of the dissertation's Figure 3.2, those of chapter 4, and the promises
//! behind them. Everything is computed from what members have on their disks and in their logs; of the cores only what
//! they claim is taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use kontiki_raft::{
    Body, Configuration, Index, Leadership, LogPosition, Message, NodeId, ReadId, RoleKind, SnapshotMeta, Term,
};

use super::log::{Entry, Log};
use super::majority;
use super::member::{Member, Stored};

/// Everything that a run has established.
#[derive(Default)]
pub struct Facts {
    leaders: BTreeMap<Term, NodeId>,
    /// The terms along the log of each term's leader, and the index before them.
    leader_logs: BTreeMap<Term, (Index, Vec<Term>)>,
    votes: BTreeMap<(Term, NodeId, u64), NodeId>,
    entries: BTreeMap<LogPosition, (Entry, Term)>,
    /// What was committed first at an index, and in which term.
    committed: BTreeMap<Index, (LogPosition, Term)>,
    /// The newest term in which anything was committed.
    newest_commit_term: Term,
    /// Configurations that were committed, the first at index zero.
    configurations: BTreeMap<Index, Arc<Configuration>>,
    reads: BTreeMap<ReadId, Index>,
    pub answered: BTreeMap<ReadId, Option<Index>>,
    /// An operator has broken the rules on purpose: nothing can be held against the core from here on.
    suspended: bool,
}

impl Facts {
    pub fn new(initial: Arc<Configuration>) -> Facts {
        Facts { configurations: [(Index(0), initial)].into(), ..Facts::default() }
    }

    /// A member goes on alone by force.
    pub fn suspend(&mut self) {
        self.suspended = true;
    }

    /// Log Matching, by induction: an index and term name one entry, and one term of the entry before it.
    pub fn entry(&mut self, position: LogPosition, entry: &Entry, before: Term) {
        if self.suspended {
            return;
        }
        if let Some(known) = self.entries.get(&position) {
            assert!(known.0 == *entry && known.1 == before, "Log Matching is violated at {position}");
            return;
        }
        self.entries.insert(position, (entry.clone(), before));
        if let Some((begin, terms)) = self.leader_logs.get_mut(&position.term) {
            assert_eq!(position.index.0, begin.0 + terms.len() as u64 + 1, "Leader Append-Only is violated");
            terms.push(position.term);
        }
    }

    /// Election Safety and Leader Completeness.
    pub fn leadership(&mut self, member: &Member, leadership: Leadership) {
        if self.suspended {
            return;
        }
        // Only voters stand (bug M24).
        let stands = matches!(leadership.role, RoleKind::PreCandidate | RoleKind::Candidate);
        let votes = member.log.configuration().is_voter(member.id);
        assert!(!stands || votes, "{} stands without a vote", member.id);
        if leadership.role != RoleKind::Leader {
            return;
        }
        let leader = *self.leaders.entry(leadership.term).or_insert(member.id);
        assert_eq!(leader, member.id, "Election Safety is violated in term {}", leadership.term);
        assert_eq!(member.stored.hard_state.term, leadership.term, "a leader of a term that is not durable");
        let terms = member.log.entries.iter().map(|entry| entry.term).collect();
        self.leader_logs.insert(leadership.term, (member.log.compacted.index, terms));
        let committed = self.committed.range(member.log.compacted.index..);
        // A leader of an earlier term may be elected late, and need not have what later ones have committed.
        for (index, (position, _)) in committed.filter(|(_, (_, term))| *term < leadership.term) {
            let held = member.log.term_at(*index);
            assert_eq!(held, Some(position.term), "Leader Completeness: {} lacks {position}", member.id);
        }
    }

    /// A message that promises something rests on what is durable (votes: bugs V05 to V08; entries: C16 to C18), and
    /// what is said in the name of a leader is said by it.
    pub fn check_message(&mut self, member: &Member, to: NodeId, message: &Message) {
        if self.suspended {
            return;
        }
        let durable = member.stored.hard_state.term == message.term;
        match &message.body {
            Body::RequestVote(request) => {
                self.check_candidacy(member);
                if !request.pre_vote {
                    self.check_vote(member, message.term, member.id);
                }
            }
            Body::RequestVoteReply(reply) if reply.granted && !reply.pre_vote => {
                self.check_vote(member, message.term, to);
            }
            Body::AppendAccepted(answer) => {
                assert!(durable, "accepted in a term that is not durable");
                self.check_acceptance(member, message.term, answer.matched);
            }
            Body::HeartbeatReply(_) | Body::AppendRejected(_) => {
                assert!(durable, "answered in a term that is not durable");
            }
            Body::AppendEntries(_)
            | Body::Heartbeat(_)
            | Body::InstallSnapshot(_)
            | Body::TimeoutNow
            | Body::Resigned => {
                let leader = self.leaders.get(&message.term);
                assert_eq!(leader, Some(&member.id), "{} speaks as the leader of {}", member.id, message.term);
            }
            Body::RequestVoteReply(_)
            | Body::Excluded(_)
            | Body::Pull(_)
            | Body::Pulled(_)
            | Body::ReadIndex(_)
            | Body::ReadIndexReply { .. } => {}
        }
        if let Body::AppendEntries(kontiki_raft::AppendEntries { entries, .. }) | Body::Pulled(entries) = &message.body
        {
            let inside =
                member.log.configurations().filter(|(index, _)| *index > entries.prev.index && *index <= entries.last);
            let inside: Vec<_> = inside.map(|(index, brought)| (index, Arc::clone(brought))).collect();
            assert_eq!(
                entries.configurations,
                inside.into(),
                "{} sends entries without their configurations",
                member.id
            );
        }
    }

    /// Nobody stands who was told that it is out, until it knows a newer configuration.
    fn check_candidacy(&self, member: &Member) {
        let (place, configuration) = member.log.configuration_at(member.log.last());
        if let Some((exclusion, then)) = &member.excluded {
            let newer = configuration != then || place > exclusion.at();
            assert!(newer, "{} stands although it was told: {exclusion}", member.id);
        }
    }

    fn check_vote(&mut self, member: &Member, term: Term, candidate: NodeId) {
        let Stored { hard_state, incarnation, .. } = &member.stored;
        assert_eq!(hard_state.term, term, "{} votes in a term that is not durable", member.id);
        assert_eq!(hard_state.voted_for, Some(candidate), "{} gives a vote not durable", member.id);
        let life = incarnation.map_or(0, |incarnation| incarnation.0);
        let given = *self.votes.entry((term, member.id, life)).or_insert(candidate);
        assert_eq!(given, candidate, "{} votes twice in term {term}", member.id);
    }

    /// What is acknowledged is durable, and is what this term's leader has (bugs C03, C05): nothing that was fetched from
    /// others, or left over, without the leader's word.
    fn check_acceptance(&self, member: &Member, term: Term, matched: Index) {
        let durable = &member.stored.log;
        assert!(matched <= durable.last(), "{} accepts what is not durable", member.id);
        for index in durable.compacted.index.0..=matched.0 {
            let index = Index(index);
            assert_eq!(durable.entry(index), member.log.entry(index), "{} accepts stale bytes", member.id);
        }
        let Some((begin, terms)) = self.leader_logs.get(&term) else { return };
        let place = matched.0.checked_sub(begin.0 + 1);
        if let (Some(place), Some(held)) = (place, durable.entry(matched)) {
            let leaders = terms.get(place as usize);
            assert_eq!(leaders, Some(&held.term), "{} accepts {matched}, which the leader of {term} lacks", member.id);
        }
    }

    /// A leader writes a configuration: the one before is committed, and an entry of its own term is (bugs M01, M02); and
    /// no quorum of the one can decide without the other.
    pub fn appends_configuration(&self, leader: &Member, next: &Arc<Configuration>) {
        if self.suspended {
            return;
        }
        let node = leader.node();
        let commit = node.commit_index();
        let (before, present) = leader.log.configuration_at(leader.log.last());
        assert!(before <= commit, "{} changes the membership while {before} is not committed", leader.id);
        let term = leader.log.term_at(commit);
        assert_eq!(term, Some(node.term()), "{} changes the membership before it commits in its term", leader.id);
        assert!(!majority::can_decide_apart(present, next), "{present:?} and {next:?} can decide apart");
    }

    /// State Machine Safety, and that a quorum holds durably what is committed.
    pub fn committed(&mut self, member: &Member, index: Index, members: &BTreeMap<NodeId, Member>) {
        if self.suspended {
            return;
        }
        for index in (member.committed.0 + 1..=index.0).map(Index) {
            let position = member.log.position_at(index).expect("committed entries are held");
            if let Some((known, _)) = self.committed.get(&index) {
                assert_eq!(*known, position, "State Machine Safety is violated by {}", member.id);
                continue;
            }
            self.check_quorum(member.log.configuration(), position, members);
            let term = member.node().term();
            self.newest_commit_term = self.newest_commit_term.max(term);
            self.committed.insert(index, (position, term));
            if let Some(next) = &member.log.entry(index).expect("held").configuration {
                let (_, before) = self.configurations.last_key_value().expect("the first is known");
                assert!(!majority::can_decide_apart(before, next), "{before:?} and {next:?} can decide apart");
                self.configurations.insert(index, Arc::clone(next));
            }
        }
    }

    /// Whoever counts for `configuration` by the life that it names, or by any where it names none.
    fn check_quorum(&self, configuration: &Configuration, position: LogPosition, members: &BTreeMap<NodeId, Member>) {
        let holds = |disk: &Stored| {
            disk.log.term_at(position.index) == Some(position.term) || disk.log.compacted.index > position.index
        };
        let has = |voter: NodeId| {
            let life = configuration.attributes(voter).incarnation;
            members.get(&voter).is_some_and(|member| member.disks(life).any(holds))
        };
        let holders: Vec<NodeId> = configuration.members().into_iter().filter(|id| has(*id)).collect();
        assert!(
            majority::decides(configuration, has),
            "{position} is committed and durable on {holders:?} of {}",
            super::trace::members(configuration)
        );
    }

    /// A snapshot takes the place of a log: it says what was committed, and what was in force there.
    pub fn installs(&self, member: &Member, meta: &SnapshotMeta) {
        if self.suspended {
            return;
        }
        let index = meta.position.index;
        if let Some((known, _)) = self.committed.get(&index) {
            assert_eq!(*known, meta.position, "State Machine Safety is violated by {}", member.id);
        }
        let (_, in_force) = self.configurations.range(..=index).next_back().expect("the first is known");
        assert_eq!(meta.configuration, *in_force, "{} installs another configuration than was committed", member.id);
    }

    /// What a leader believes of the others' logs is true, for the life and the session that it believes it of
    /// (the acknowledgement of another life or session shows here).
    pub fn check_beliefs(&self, leader: &Member, members: &BTreeMap<NodeId, Member>) {
        let Some(node) = leader.node.as_ref().filter(|_| !self.suspended) else { return };
        for peer in node.peers().filter(|peer| peer.match_index > Index(0)) {
            let matched = peer.match_index;
            let agrees = |disk: &Stored| {
                let newer = disk.hard_state.term > node.term();
                newer || disk.log.compacted.index > matched || equal_at(&disk.log, &leader.log, matched)
            };
            let true_of = members.get(&peer.id).is_some_and(|other| other.disks(peer.incarnation).any(agrees));
            assert!(true_of, "{} believes that {} holds everything up to {matched}", leader.id, peer.id);
        }
    }

    /// A leader may read by itself now: nobody has committed anything in a newer term.
    pub fn check_lease(&self, leader: &Member) {
        let term = leader.node().term();
        assert!(
            self.suspended || self.newest_commit_term <= term,
            "{} may read by its lease in term {term}, and {} was committed in",
            leader.id,
            self.newest_commit_term
        );
    }

    pub fn newest_committed(&self) -> LogPosition {
        self.committed.last_key_value().map_or(LogPosition::START, |(_, (position, _))| *position)
    }

    /// The newest configuration that was committed.
    pub fn newest_configuration(&self) -> &Arc<Configuration> {
        self.configurations.last_key_value().expect("the first is known").1
    }

    /// A read begins: whatever is committed now must be visible to it.
    pub fn read_asked(&mut self, read: ReadId) {
        self.reads.insert(read, self.newest_committed().index);
    }

    pub fn read_ready(&mut self, read: ReadId, index: Index) {
        let bound = self.reads.remove(&read).expect("a read is answered once");
        assert!(self.suspended || index >= bound, "{read} would miss {bound}, it is served at {index}");
        self.answered.insert(read, Some(index));
    }

    pub fn read_refused(&mut self, read: ReadId) {
        self.reads.remove(&read).expect("a read is answered once");
        self.answered.insert(read, None);
    }
}

/// By Log Matching, logs that hold the same entry at an index hold the same up to there.
fn equal_at(one: &Log, other: &Log, index: Index) -> bool {
    match (one.term_at(index), other.term_at(index)) {
        (Some(one), Some(other)) => one == other,
        (Some(_), None) => index < other.compacted.index,
        (None, _) => false,
    }
}
