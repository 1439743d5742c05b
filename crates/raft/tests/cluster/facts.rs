//! What may never happen in any run: the properties of the dissertation's Figure 3.2, and the promises behind them.

use std::collections::BTreeMap;

use kontiki_raft::{Body, Index, Leadership, LogPosition, Message, NodeId, ReadId, RoleKind, Term};

use super::member::{Entry, Member};

/// Everything that a run has established.
#[derive(Default)]
pub struct Facts {
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(Term, NodeId), NodeId>,
    entries: BTreeMap<LogPosition, (Entry, Term)>,
    /// What was committed first at an index, and in which term.
    committed: BTreeMap<Index, (LogPosition, Term)>,
    reads: BTreeMap<ReadId, Index>,
    pub answered: BTreeMap<ReadId, Option<Index>>,
}

impl Facts {
    /// Log Matching, by induction: an index and term name one entry, and one term of the entry before it.
    pub fn entry(&mut self, position: LogPosition, entry: Entry, before: Term) {
        let known = self.entries.entry(position).or_insert((entry, before));
        assert_eq!(*known, (entry, before), "Log Matching is violated at {position}");
    }

    /// Election Safety and Leader Completeness.
    pub fn leadership(&mut self, member: &Member, leadership: Leadership) {
        if leadership.role != RoleKind::Leader {
            return;
        }
        let leader = *self.leaders.entry(leadership.term).or_insert(member.id);
        assert_eq!(leader, member.id, "Election Safety is violated in term {}", leadership.term);
        assert_eq!(member.stored.hard_state.term, leadership.term, "a leader of a term that is not durable");
        let committed = self.committed.range(member.log.compacted.index..);
        // A leader of an earlier term may be elected late, and need not have what later ones have committed.
        for (index, (position, _)) in committed.filter(|(_, (_, term))| *term < leadership.term) {
            let held = member.node().term_at(*index);
            assert_eq!(held, Some(position.term), "Leader Completeness: {} lacks {position}", member.id);
        }
    }

    /// A message that promises something rests on what is durable (votes: bugs V05 to V08; entries: C16 to C18).
    pub fn check_promise(&mut self, member: &Member, to: NodeId, message: &Message) {
        let stored = &member.stored;
        match &message.body {
            Body::RequestVote(request) if !request.pre_vote => {
                self.check_vote(member, message.term, member.id);
            }
            Body::RequestVoteReply(reply) if reply.granted && !reply.pre_vote => {
                self.check_vote(member, message.term, to);
            }
            Body::RequestVote(_) | Body::RequestVoteReply(_) => {}
            Body::AppendAccepted(answer) => {
                assert!(answer.matched <= stored.log.last(), "{} accepts what is not durable", member.id);
                for index in stored.log.compacted.index.0..=answer.matched.0 {
                    let index = Index(index);
                    assert_eq!(stored.log.entry(index), member.log.entry(index), "{} accepts stale bytes", member.id);
                }
                assert_eq!(stored.hard_state.term, message.term, "accepted in a term that is not durable");
            }
            Body::HeartbeatReply(_) | Body::AppendRejected(_) => {
                assert_eq!(stored.hard_state.term, message.term, "answered in a term that is not durable");
            }
            Body::AppendEntries(_)
            | Body::Heartbeat(_)
            | Body::InstallSnapshot(_)
            | Body::TimeoutNow
            | Body::ReadIndex(_)
            | Body::ReadIndexReply { .. } => {}
        }
    }

    fn check_vote(&mut self, member: &Member, term: Term, candidate: NodeId) {
        assert_eq!(member.stored.hard_state.term, term, "{} votes in a term that is not durable", member.id);
        assert_eq!(member.stored.hard_state.voted_for, Some(candidate), "{} gives a vote not durable", member.id);
        let given = *self.votes.entry((term, member.id)).or_insert(candidate);
        assert_eq!(given, candidate, "{} votes twice in term {term}", member.id);
    }

    /// State Machine Safety, and that a quorum holds durably what is committed.
    pub fn committed(&mut self, member: &Member, index: Index, members: &BTreeMap<NodeId, Member>) {
        for index in (member.committed.0 + 1..=index.0).map(Index) {
            let position = LogPosition { term: member.log.term_at(index).expect("committed entries are held"), index };
            if let Some((known, _)) = self.committed.get(&index) {
                assert_eq!(*known, position, "State Machine Safety is violated by {}", member.id);
                continue;
            }
            let holds = |other: &&Member| {
                other.stored.log.term_at(index) == Some(position.term) || other.stored.log.compacted.index > index
            };
            let configuration = member.node().configuration();
            for half in [&configuration.voters, &configuration.outgoing].into_iter().filter(|half| !half.is_empty()) {
                let durable = half.iter().map(|voter| &members[voter]).filter(holds).count();
                assert!(durable * 2 > half.len(), "{position} is committed and durable on {durable} of {half:?}");
            }
            self.committed.insert(index, (position, member.node().term()));
        }
    }

    pub fn newest_committed(&self) -> LogPosition {
        self.committed.last_key_value().map_or(LogPosition::START, |(_, (position, _))| *position)
    }

    /// A read begins: whatever is committed now must be visible to it.
    pub fn read_asked(&mut self, read: ReadId) {
        self.reads.insert(read, self.newest_committed().index);
    }

    pub fn read_ready(&mut self, read: ReadId, index: Index) {
        let bound = self.reads.remove(&read).expect("a read is answered once");
        assert!(index >= bound, "{read} would miss {bound}, it is served at {index}");
        self.answered.insert(read, Some(index));
    }

    pub fn read_refused(&mut self, read: ReadId) {
        self.reads.remove(&read).expect("a read is answered once");
        self.answered.insert(read, None);
    }
}
