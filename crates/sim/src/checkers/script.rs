//! Made-up runs: what members do, in a line each, told to all checkers.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kontiki_engine::{COMMAND, Payload, decode_payload, encode_configuration};
use kontiki_raft::{
    AppendAccepted, Body, Configuration, Decision, GroupId, Index, LogPosition, Message, NodeId, PaceKind, PeerStatus,
    RequestVote, RequestVoteReply, RoleKind, Term,
};
use kontiki_transport::Frame;

use crate::marks::Marks;
use crate::observation::{Checker, CoreView, End, LogEntry, Observation, Violation};

pub(crate) const GROUP: GroupId = GroupId(1);

/// A core that has seen nothing.
pub(crate) fn view() -> CoreView {
    CoreView {
        term: Term(0),
        voted_for: None,
        role: RoleKind::Follower,
        leader: None,
        commit: Index(0),
        applied: Index(0),
        compacted: LogPosition::START,
        last: LogPosition::START,
        durable: Index(0),
        configuration: Arc::default(),
    }
}

/// A member, and what it does in the present turn.
pub(crate) struct Core {
    id: NodeId,
    view: CoreView,
    /// What a log without entries leads back to.
    base: Arc<Configuration>,
    log: Vec<LogEntry>,
    appended: Vec<LogEntry>,
    applied: Vec<LogEntry>,
    decisions: Vec<Decision>,
    peers: Vec<PeerStatus>,
}

impl Core {
    pub fn term(&mut self, term: u64) -> &mut Core {
        if Term(term) > self.view.term {
            self.view.term = Term(term);
            (self.view.voted_for, self.view.role, self.view.leader) = (None, RoleKind::Follower, None);
        }
        self
    }

    pub fn fall_to_term(&mut self, term: u64) -> &mut Core {
        self.alter(|view| view.term = Term(term))
    }

    pub fn vote(&mut self, term: u64, candidate: u64) -> &mut Core {
        self.term(term).alter(|view| view.voted_for = Some(NodeId(candidate)))
    }

    pub fn forget_vote(&mut self) -> &mut Core {
        self.alter(|view| view.voted_for = None)
    }

    pub fn stand(&mut self, term: u64) -> &mut Core {
        let id = self.id.0;
        self.vote(term, id).alter(|view| view.role = RoleKind::Candidate)
    }

    pub fn lead(&mut self, term: u64) -> &mut Core {
        let id = self.id;
        self.stand(term).alter(|view| (view.role, view.leader) = (RoleKind::Leader, Some(id)))
    }

    pub fn append(&mut self, term: u64, text: &str) -> &mut Core {
        let mut payload = BytesMut::new();
        if !text.is_empty() {
            payload.put_u8(COMMAND);
            payload.put_slice(text.as_bytes());
        }
        self.push(term, payload.freeze())
    }

    pub fn configure(&mut self, term: u64, voters: &[u64], outgoing: &[u64]) -> &mut Core {
        let list = |list: &[u64]| list.iter().copied().map(NodeId).collect::<Vec<_>>();
        let configuration = Configuration { outgoing: list(outgoing), ..Configuration::of(list(voters)) };
        let mut payload = BytesMut::from(&[2][..]);
        encode_configuration(&configuration, &mut payload);
        self.push(term, payload.freeze())
    }

    fn push(&mut self, term: u64, payload: Bytes) -> &mut Core {
        let entry = LogEntry { index: self.view.last.index.next(), term: Term(term), payload };
        self.log.push(entry.clone());
        self.appended.push(entry);
        self.term(term).log_changed();
        self.view.durable = self.view.last.index;
        self
    }

    /// Takes away everything from an entry on.
    pub fn cut(&mut self, first: u64) -> &mut Core {
        self.log.retain(|entry| entry.index < Index(first));
        self.appended.retain(|entry| entry.index < Index(first));
        self.log_changed();
        self
    }

    fn log_changed(&mut self) {
        let last = self.log.last().map(|entry| LogPosition { term: entry.term, index: entry.index });
        self.view.last = last.unwrap_or(self.view.compacted);
        self.view.durable = self.view.durable.min(self.view.last.index);
        let newest = self.log.iter().rev().find_map(|entry| match decode_payload(&entry.payload) {
            Ok(Payload::Configuration(configuration)) => Some(Arc::new(configuration)),
            _ => None,
        });
        self.view.configuration = newest.unwrap_or_else(|| Arc::clone(&self.base));
    }

    /// The disk lags behind: only so much is durable.
    pub fn lag(&mut self, durable: u64) -> &mut Core {
        self.alter(|view| view.durable = Index(durable))
    }

    pub fn commit(&mut self, index: u64) -> &mut Core {
        self.alter(|view| view.commit = Index(index))
    }

    pub fn apply(&mut self, up_to: u64) -> &mut Core {
        let wanted = self.view.applied.next()..=Index(up_to);
        self.applied.extend(self.log.iter().filter(|entry| wanted.contains(&entry.index)).cloned());
        self.skip_to(up_to)
    }

    pub fn apply_other(&mut self, index: u64, term: u64, text: &'static str) -> &mut Core {
        let payload = Bytes::from_static(text.as_bytes());
        self.applied.push(LogEntry { index: Index(index), term: Term(term), payload });
        self.skip_to(index)
    }

    pub fn skip_to(&mut self, applied: u64) -> &mut Core {
        self.alter(|view| view.applied = Index(applied))
    }

    pub fn compact(&mut self, up_to: u64) -> &mut Core {
        let last = self.log.iter().find(|entry| entry.index == Index(up_to)).unwrap();
        self.view.compacted = LogPosition { term: last.term, index: last.index };
        let gone = self.log.iter().filter(|entry| entry.index <= Index(up_to));
        if let Some(configuration) = gone.rev().find_map(|entry| match decode_payload(&entry.payload) {
            Ok(Payload::Configuration(configuration)) => Some(configuration),
            _ => None,
        }) {
            self.base = Arc::new(configuration);
        }
        self.log.retain(|entry| entry.index > Index(up_to));
        self
    }

    /// A snapshot takes the place of the log.
    pub fn snapshot(&mut self, term: u64, index: u64) -> &mut Core {
        self.log.clear();
        self.term(term).alter(|view| {
            view.compacted = LogPosition { term: Term(term), index: Index(index) };
            (view.last, view.commit, view.applied) = (view.compacted, Index(index), Index(index));
            view.durable = Index(index);
        })
    }

    /// The membership that a snapshot brought.
    pub fn members(&mut self, voters: &[u64]) -> &mut Core {
        self.base = Arc::new(Configuration::of(voters.iter().copied().map(NodeId)));
        self.log_changed();
        self
    }

    pub fn believe(&mut self, peer: u64, matched: u64) -> &mut Core {
        self.peers.push(PeerStatus {
            id: NodeId(peer),
            match_index: Index(matched),
            next_index: Index(matched + 1),
            pace: PaceKind::Replicate,
            inflight: 0,
            active: true,
            silent_ticks: 0,
            session: Index(0),
            incarnation: None,
            caught_up: true,
        });
        self
    }

    pub fn decide(&mut self, decision: Decision) -> &mut Core {
        self.decisions.push(decision);
        self
    }

    pub fn forget_appended(&mut self) -> &mut Core {
        self.appended.clear();
        self
    }

    pub fn alter(&mut self, change: impl FnOnce(&mut CoreView)) -> &mut Core {
        change(&mut self.view);
        self
    }
}

struct Member {
    core: Core,
    life: u64,
    /// How it stood at the end of the last turn.
    before: Option<CoreView>,
}

/// A made-up run.
pub(crate) struct Script {
    members: BTreeMap<u64, Member>,
    checkers: Vec<Box<dyn Checker>>,
    pub marks: Marks,
    at: Duration,
    found: Vec<Violation>,
}

impl Script {
    /// Members from one on, of whom nobody leads.
    pub fn begin(members: u64) -> Script {
        let mut script = Script {
            members: BTreeMap::new(),
            checkers: super::all(),
            marks: Marks::default(),
            at: Duration::ZERO,
            found: Vec::new(),
        };
        let founders = Arc::new(Configuration::of((1..=members).map(NodeId)));
        for member in 1..=members {
            script.add(member, &founders);
        }
        script
    }

    /// Somebody new, who waits to be told the membership.
    pub fn join(&mut self, member: u64) {
        self.add(member, &Arc::default());
    }

    fn add(&mut self, member: u64, configuration: &Arc<Configuration>) {
        let core = Core {
            id: NodeId(member),
            view: CoreView { configuration: Arc::clone(configuration), ..view() },
            base: Arc::clone(configuration),
            log: Vec::new(),
            appended: Vec::new(),
            applied: Vec::new(),
            decisions: Vec::new(),
            peers: Vec::new(),
        };
        let life = self.members.get(&member).map_or(0, |known| known.life);
        self.members.insert(member, Member { core, life, before: None });
        self.start(member);
        self.turn(member, |core| core);
    }

    fn tell(&mut self, what: &Observation<'_>) {
        self.at += Duration::from_millis(1);
        self.found.extend(self.checkers.iter_mut().filter_map(|checker| checker.observe(self.at, what).err()));
        self.marks.observe(self.at, what);
    }

    /// A turn of a member, in which it does this.
    pub fn turn(&mut self, member: u64, act: impl FnOnce(&mut Core) -> &mut Core) {
        let mut of = self.members.remove(&member).unwrap();
        let core = &mut of.core;
        act(core);
        let log = core.log.clone();
        let appended = if of.before.is_none() { &log } else { &core.appended };
        self.tell(&Observation::Turned {
            member: NodeId(member),
            life: of.life,
            group: GROUP,
            before: of.before.as_ref(),
            now: Some(&core.view),
            appended,
            applied: &core.applied,
            decisions: &core.decisions,
            peers: &core.peers,
        });
        of.before = Some(core.view.clone());
        core.appended.clear();
        core.applied.clear();
        core.decisions.clear();
        core.peers.clear();
        self.members.insert(member, of);
    }

    /// A replica is found damaged: its core is gone.
    pub fn damage(&mut self, member: u64) {
        let of = self.members.get_mut(&member).unwrap();
        let (life, before) = (of.life, of.before.take());
        self.tell(&Observation::Turned {
            member: NodeId(member),
            life,
            group: GROUP,
            before: before.as_ref(),
            now: None,
            appended: &[],
            applied: &[],
            decisions: &[],
            peers: &[],
        });
    }

    pub fn crash(&mut self, member: u64) {
        let Member { core, life, before } = self.members.get_mut(&member).unwrap();
        core.view.role = RoleKind::Follower;
        core.view.leader = None;
        core.view.commit = core.view.applied;
        let durable = core.view.durable;
        core.log.retain(|entry| entry.index <= durable);
        core.log_changed();
        *before = None;
        let life = *life;
        self.tell(&Observation::Ended { member: NodeId(member), life, end: &End::Crash });
    }

    /// A member ends and loses its disk.
    pub fn wipe(&mut self, member: u64) {
        let Member { core, life, before } = self.members.get_mut(&member).unwrap();
        core.log.clear();
        core.view = CoreView { configuration: Arc::clone(&core.base), ..view() };
        *before = None;
        let life = *life;
        self.tell(&Observation::Ended { member: NodeId(member), life, end: &End::Wiped });
    }

    pub fn start(&mut self, member: u64) {
        let of = self.members.get_mut(&member).unwrap();
        of.life += 1;
        let life = of.life;
        self.tell(&Observation::Started { member: NodeId(member), life });
    }

    pub fn force(&mut self, member: u64) {
        self.tell(&Observation::Forced { member: NodeId(member) });
    }

    /// A member says something in a term.
    pub fn say(&mut self, from: u64, to: u64, term: u64, body: Body) {
        let message = Message { term: Term(term), incarnation: None, body };
        let frame = Frame::Raft { group: GROUP, message, payloads: Vec::new() };
        self.tell(&Observation::Sent { from: NodeId(from), to: NodeId(to), frame: &frame });
    }

    /// A member gives its vote, and says so.
    pub fn grant(&mut self, voter: u64, candidate: u64, term: u64) {
        self.turn(voter, |core| core.vote(term, candidate));
        let reply = RequestVoteReply { granted: true, pre_vote: false, last: LogPosition::START };
        self.say(voter, candidate, term, Body::RequestVoteReply(reply));
    }

    pub fn acknowledge(&mut self, from: u64, to: u64, matched: u64) {
        let term = self.members[&from].core.view.term.0;
        let answer = AppendAccepted { matched: Index(matched), session: Index(0) };
        self.say(from, to, term, Body::AppendAccepted(answer));
    }

    /// A member is elected by these, itself among them or not, and writes its blank entry.
    pub fn elect(&mut self, leader: u64, term: u64, voters: &[u64]) {
        self.turn(leader, |core| core.stand(term));
        for voter in voters.iter().copied().filter(|voter| *voter != leader) {
            let request = RequestVote { last: LogPosition::START, pre_vote: false, transfer: false };
            self.say(leader, voter, term, Body::RequestVote(request));
            self.grant(voter, leader, term);
        }
        self.turn(leader, |core| core.lead(term).append(term, ""));
    }

    /// A leader appends, and these followers take its log and acknowledge it.
    pub fn replicate(&mut self, leader: u64, texts: &[&str], followers: &[u64]) {
        let term = self.members[&leader].core.view.term.0;
        if !texts.is_empty() {
            self.turn(leader, |core| texts.iter().fold(core, |core, text| core.append(term, text)));
        }
        let log = self.members[&leader].core.log.clone();
        for follower in followers {
            self.turn(*follower, |core| {
                core.term(term).alter(|view| view.leader = Some(NodeId(leader)));
                let held = core.log.clone();
                let differs = |entry: &&LogEntry| {
                    entry.index > core.view.compacted.index && held.iter().all(|other| other != *entry)
                };
                if let Some(first) = log.iter().find(differs) {
                    core.cut(first.index.0);
                    for entry in log.iter().filter(|entry| entry.index >= first.index) {
                        core.push(entry.term.0, entry.payload.clone());
                    }
                }
                core
            });
            let last = self.members[follower].core.view.last.index.0;
            self.acknowledge(*follower, leader, last);
        }
    }

    pub fn commit(&mut self, member: u64, index: u64) {
        self.turn(member, |core| core.commit(index));
    }

    /// The run is over.
    pub fn finish(&mut self, live: &[u64]) {
        let live: Vec<NodeId> = live.iter().copied().map(NodeId).collect();
        let found = self.checkers.iter_mut().filter_map(|checker| checker.finish(self.at, &live).err());
        self.found.extend(found);
    }

    #[track_caller]
    pub fn expect(&self, property: &str, what: &str) {
        let found = self.found.iter().any(|violation| violation.property == property && violation.what.contains(what));
        assert!(found, "{property}: {what} was not found: {:#?}", self.found);
    }

    #[track_caller]
    pub fn expect_none(&self) {
        assert!(self.found.is_empty(), "{:#?}", self.found);
    }
}
