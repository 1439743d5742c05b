//! One member: a replica with its disk, and what a turn of its driver makes of an event.
//!
//! Turns are functions: the same member and event give the same outcome, which is what lets the search remember them.

use std::collections::VecDeque;
use std::sync::Arc;

use kontiki_raft::{
    Body, Configuration, Content, Effect, HardState, Index, Input, LogPosition, MemberChange, Message, Node, NodeId,
    Persist, RoleKind, Settings, SnapshotMeta, Start, Term, Ticket,
};

use super::disk::{Command, Disk, Entry, Log, Write};
use super::fault::Fault;
use super::quorums;
use super::sights::{Sight, Sights};

/// What travels between members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    pub from: NodeId,
    pub to: NodeId,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A message of the core, with the entries that it names.
    Message(Message, Vec<Entry>),
    /// A whole snapshot.
    Snapshot(SnapshotMeta),
    /// The receiver of a snapshot has it.
    Arrived(LogPosition),
}

/// What the driver of a member is given.
#[derive(Clone, Debug)]
pub enum Happening {
    Receive(Parcel),
    Input(Input),
    /// A client's entry.
    Propose(u8),
    Change(Vec<MemberChange>),
    /// The oldest write reaches the disk.
    WriteDone,
    /// The process ends and begins anew; so many of the writes under way reach the disk.
    Crash(usize),
    /// A checkpoint of all that is applied and durable; the log behind it is cut.
    Compact,
}

/// Rules of a scenario that every driver follows.
#[derive(Clone, Debug)]
pub struct Rules {
    pub settings: Arc<Settings>,
    /// Writes are durable as soon as they are asked for.
    pub instant_disks: bool,
    pub fault: Option<Fault>,
}

/// What a turn did besides changing the member.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub sent: Vec<Parcel>,
    pub sights: Sights,
    pub violation: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Member {
    pub id: NodeId,
    pub node: Node,
    pub disk: Disk,
    /// Writes under way, oldest first.
    pub writes: VecDeque<Write>,
    /// The log with everything staged.
    pub log: Log,
}

impl Member {
    /// A member with this on its disk.
    pub fn new(id: NodeId, disk: Disk, rules: &Rules) -> Member {
        let log = disk.log.clone();
        let node = Node::new(Start {
            id,
            incarnation: None,
            hard_state: disk.hard_state,
            compacted: log.compacted,
            runs: log.runs().into(),
            last: log.last(),
            configuration: Arc::clone(&log.base),
            configurations: log.configurations(),
            applied: log.compacted.index,
            seed: 1,
            settings: Arc::clone(&rules.settings),
        });
        Member { id, node, disk, writes: VecDeque::new(), log }
    }

    /// A member of a group that begins with `base`.
    pub fn fresh(id: NodeId, base: &Configuration, rules: &Rules) -> Member {
        // Who is no member yet waits to be told of a membership.
        let base = if base.is_member(id) { base.clone() } else { Configuration::default() };
        let log = Log { compacted: LogPosition::START, base: Arc::new(base), entries: Vec::new() };
        Member::new(id, Disk { hard_state: HardState::default(), log }, rules)
    }

    /// What this member becomes by `happening`, in one turn of its driver.
    pub fn turn(&self, happening: &Happening, rules: &Rules) -> (Member, Outcome) {
        let mut turn = Turn { member: self.clone(), rules, outcome: Outcome::default(), inputs: VecDeque::new() };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            turn.take(happening);
            turn.finish();
            if !matches!(happening, Happening::Crash(_)) {
                turn.check_against(self);
            }
            turn.check_alone();
        }));
        if let Err(panic) = result {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
            turn.outcome.violation = Some(format!("{} halts: {text}", self.id));
        }
        (turn.member, turn.outcome)
    }

    /// What a peer is known to hold, by this leader.
    pub fn matches(&self) -> Vec<(NodeId, Index)> {
        self.node.peers().map(|peer| (peer.id, peer.match_index)).collect()
    }

    pub fn leads(&self) -> bool {
        self.node.role() == RoleKind::Leader
    }

    /// Whether a message to this member can never matter again, in this life or a later one: an answer to a candidacy or
    /// a leadership that is over for good, since the disk has the term and no term is stood for twice.
    pub fn is_done_with(&self, message: &Message) -> bool {
        let (term, durable) = (message.term, self.disk.hard_state.term);
        let over = durable > term || (durable == term && self.node.term() > term);
        let present = durable == term && self.node.term() == term;
        let role = self.node.role();
        match &message.body {
            Body::RequestVoteReply(reply) if reply.pre_vote => durable > term,
            Body::RequestVoteReply(_) => over || (present && role != RoleKind::Candidate),
            Body::AppendAccepted(_) | Body::AppendRejected(_) | Body::HeartbeatReply(_) => {
                over || (present && role != RoleKind::Leader && role != RoleKind::Candidate)
            }
            Body::TimeoutNow | Body::Resigned => durable > term,
            _ => false,
        }
    }
}

struct Turn<'a> {
    member: Member,
    rules: &'a Rules,
    outcome: Outcome,
    inputs: VecDeque<Input>,
}

impl Turn<'_> {
    fn take(&mut self, happening: &Happening) {
        match happening {
            Happening::Receive(parcel) => self.receive(parcel),
            Happening::Input(input) => self.step(input.clone(), &[]),
            Happening::Propose(number) => {
                let proposal = Entry { term: self.member.node.term(), command: Command::Proposal(*number) };
                self.step(Input::Propose { count: 1, bytes: 1 }, &[proposal]);
            }
            Happening::Change(changes) => self.step(Input::ChangeMembership(changes.clone()), &[]),
            Happening::WriteDone => {
                if let Some(ticket) = self.complete_write() {
                    self.step(Input::Persisted(ticket), &[]);
                }
            }
            Happening::Crash(survivors) => self.crash(*survivors),
            Happening::Compact => self.compact(),
        }
    }

    fn receive(&mut self, parcel: &Parcel) {
        let from = parcel.from;
        match &parcel.what {
            What::Message(message, entries) => {
                let mut message = message.clone();
                if let (Some(Fault::RefusalCountsAsVote), Body::RequestVoteReply(reply)) =
                    (self.rules.fault, &mut message.body)
                {
                    reply.granted = true;
                }
                self.step(Input::Receive { from, message }, entries);
            }
            What::Snapshot(meta) => {
                self.step(Input::SnapshotReceived(meta.clone()), &[]);
                self.send(from, What::Arrived(meta.position));
            }
            What::Arrived(position) => {
                self.step(Input::SnapshotSent { to: from, installed: Some(*position) }, &[]);
            }
        }
    }

    /// Until nothing is left to do at once.
    fn finish(&mut self) {
        loop {
            while let Some(input) = self.inputs.pop_front() {
                self.step(input, &[]);
            }
            let mut effects = Vec::new();
            self.member.node.flush(&self.member.log, &mut effects);
            self.carry_out(effects, &[]);
            if self.inputs.is_empty() {
                return;
            }
        }
    }

    /// `entries` are the bytes that came with the input.
    fn step(&mut self, input: Input, entries: &[Entry]) {
        let mut effects = Vec::new();
        self.member.node.step(input, &mut effects);
        self.carry_out(effects, entries);
    }

    fn carry_out(&mut self, effects: Vec<Effect>, entries: &[Entry]) {
        for effect in effects {
            match effect {
                Effect::Persist(persist) => self.persist(persist, entries),
                Effect::Send { to, message } => self.send_message(to, message),
                Effect::Committed(index) => self.inputs.push_back(Input::Applied(index)),
                Effect::SendSnapshot { to, .. } => {
                    let index = self.member.node.applied();
                    let term = self.member.log.term_at(index).expect("what is applied is held");
                    let configuration = Arc::clone(self.member.node.configuration_at(index));
                    let meta = SnapshotMeta { position: LogPosition { term, index }, configuration };
                    self.send(to, What::Snapshot(meta));
                }
                Effect::InstallSnapshot(meta) => self.install(&meta),
                Effect::Excluded(_) => self.outcome.sights.note(Sight::Excluded),
                Effect::ReadReady { .. }
                | Effect::ReadRefused(_)
                | Effect::ProposalRefused(_)
                | Effect::ChangeRefused(_)
                | Effect::LeadershipChanged(_) => {}
            }
        }
    }

    fn persist(&mut self, persist: Persist, received: &[Entry]) {
        let append = persist.append.map(|append| {
            let count = usize::try_from(append.last.0 + 1 - append.first.0).expect("few entries");
            let entries = match append.content {
                Content::Received | Content::Proposals => received[received.len() - count..].to_vec(),
                Content::Blank => vec![Entry { term: append.runs[0].term, command: Command::Blank }],
                Content::Configuration(configuration) => {
                    vec![Entry { term: append.runs[0].term, command: Command::Configuration(configuration) }]
                }
            };
            if append.first <= self.member.log.last() {
                self.outcome.sights.note(Sight::ConflictReplaced);
                if self.member.log.configurations().iter().any(|(index, _)| *index >= append.first) {
                    self.outcome.sights.note(Sight::ConfigurationRolledBack);
                }
            }
            self.member.log.write(append.first, &entries);
            (append.first, entries)
        });
        self.member.writes.push_back(Write { ticket: persist.ticket, hard_state: persist.hard_state, append });
        if self.rules.fault == Some(Fault::DurableTooEarly) {
            self.inputs.push_back(Input::Persisted(persist.ticket));
        } else if self.rules.instant_disks {
            let ticket = self.complete_write().expect("just begun");
            self.inputs.push_back(Input::Persisted(ticket));
        }
    }

    fn complete_write(&mut self) -> Option<Ticket> {
        let write = self.member.writes.pop_front()?;
        let disk = &mut self.member.disk;
        if let Some(hard_state) = write.hard_state {
            let (old, new) = (disk.hard_state, hard_state);
            let kept = old.term < new.term
                || old.term == new.term && (old.voted_for.is_none() || old.voted_for == new.voted_for);
            assert!(kept || self.rules.fault.is_some(), "term and vote go from {old:?} to {new:?}");
            disk.hard_state = hard_state;
        }
        if let Some((first, entries)) = write.append {
            // A snapshot may have replaced the log since; then the write is void.
            if first > disk.log.compacted.index && first <= disk.log.last().next() {
                if self.rules.fault == Some(Fault::TruncationForgotten) {
                    disk.log.overwrite(first, &entries);
                } else {
                    disk.log.write(first, &entries);
                }
            }
        }
        Some(write.ticket)
    }

    fn crash(&mut self, survivors: usize) {
        if self.rules.fault == Some(Fault::VoteForgotten) {
            self.member.disk.hard_state.voted_for = None;
        }
        if self.rules.fault == Some(Fault::EntryForgotten) {
            self.member.disk.log.entries.pop();
        }
        for _ in 0..survivors {
            self.complete_write();
        }
        if !self.member.writes.is_empty() {
            self.outcome.sights.note(Sight::WriteLost);
        }
        self.member = Member::new(self.member.id, self.member.disk.clone(), self.rules);
    }

    fn compact(&mut self) {
        let to = self.member.node.applied().min(self.member.node.durable_index());
        if to > self.member.log.compacted.index {
            self.member.log.compact(to);
            self.member.disk.log.compact(to);
            self.step(Input::Compacted(to), &[]);
        }
    }

    fn install(&mut self, meta: &SnapshotMeta) {
        self.outcome.sights.note(Sight::SnapshotInstalled);
        let base = Arc::clone(&meta.configuration);
        self.member.log = Log { compacted: meta.position, base, entries: Vec::new() };
        self.member.disk.log = self.member.log.clone();
        for write in &mut self.member.writes {
            write.append = None;
        }
    }

    fn send_message(&mut self, to: NodeId, mut message: Message) {
        self.check_promise(to, &message);
        self.note_message(&message);
        let entries = match &mut message.body {
            Body::AppendEntries(request) => Some(&mut request.entries),
            Body::Pulled(entries) => Some(entries),
            _ => None,
        };
        let mut bytes = Vec::new();
        if let Some(entries) = entries {
            bytes = self.member.log.read(entries.prev.index.next(), entries.last);
            if self.rules.fault == Some(Fault::JointHalfForgotten) {
                let plain = entries.configurations.iter().map(|(index, joint)| (*index, Arc::new(joint.left())));
                entries.configurations = plain.collect();
                for entry in &mut bytes {
                    if let Command::Configuration(configuration) = &mut entry.command {
                        *configuration = Arc::new(configuration.left());
                    }
                }
            }
        }
        self.send(to, What::Message(message, bytes));
    }

    fn send(&mut self, to: NodeId, what: What) {
        self.outcome.sent.push(Parcel { from: self.member.id, to, what });
    }

    fn note_message(&mut self, message: &Message) {
        let sight = match &message.body {
            Body::RequestVoteReply(reply) if !reply.granted && message.term == self.member.node.term() => {
                Sight::VoteRefused
            }
            Body::AppendRejected(_) => Sight::AppendRejected,
            Body::Pulled(_) => Sight::EntriesPulled,
            Body::TimeoutNow => Sight::HandedOver,
            Body::Resigned => Sight::Resigned,
            _ => return,
        };
        self.outcome.sights.note(sight);
    }

    /// I6 and I8: whatever is said rests on what is durable (bugs V05 to V08, C16 to C18).
    fn check_promise(&self, to: NodeId, message: &Message) {
        let (id, disk, term) = (self.member.id, &self.member.disk, message.term);
        let voted = disk.hard_state.voted_for;
        match &message.body {
            // These name a term that nobody has entered.
            Body::RequestVote(request) if request.pre_vote => return,
            Body::RequestVoteReply(reply) if reply.pre_vote => return,
            Body::RequestVote(_) => assert_eq!(voted, Some(id), "{id} stands without a durable vote for itself"),
            Body::RequestVoteReply(reply) if reply.granted => {
                assert_eq!((disk.hard_state.term, voted), (term, Some(to)), "{id} gives a vote that is not durable");
            }
            Body::AppendAccepted(answer) => {
                let held = disk.log.common(&self.member.log);
                assert!(answer.matched <= held, "{id} accepts {} and holds {held}", answer.matched);
            }
            _ => {}
        }
        assert!(term <= disk.hard_state.term, "{id} speaks in term {term}, which is not durable");
    }

    /// What must not change within one life: I2, I6, I7.
    fn check_against(&mut self, before: &Member) {
        let (old, new, id) = (&before.node, &self.member.node, self.member.id);
        assert!(new.term() >= old.term(), "{id}: the term falls");
        assert!(new.commit_index() >= old.commit_index(), "{id}: the commit index falls");
        assert!(new.applied() >= old.applied(), "{id}: the applied index falls");
        if new.term() == old.term() {
            assert!(old.voted_for().is_none() || old.voted_for() == new.voted_for(), "{id}: the vote changes");
            if before.leads() && self.member.leads() {
                let kept = before.log.common(&self.member.log) == before.log.last();
                assert!(kept, "Leader Append-Only: {id} loses entries");
            }
        }
        let (joint, now) = (old.configuration(), new.configuration());
        if joint.is_joint() && now.voters == joint.voters && !now.is_joint() {
            self.outcome.sights.note(Sight::JointLeft);
        }
        if now.voters.iter().any(|voter| joint.is_learner(*voter)) {
            self.outcome.sights.note(Sight::LearnerPromoted);
        }
    }

    /// What must hold of every member at every moment.
    fn check_alone(&mut self) {
        let Member { id, node, disk, log, .. } = &self.member;
        assert_eq!(node.last_index(), log.last(), "{id}: the core's log ends elsewhere");
        assert_eq!(node.compacted(), log.compacted, "{id}: the core's log begins elsewhere");
        let terms = log.indexed().all(|(index, entry)| node.term_at(index) == Some(entry.term));
        assert!(terms, "{id}: the core has other terms than the log");
        let held = disk.log.common(log);
        assert!(node.durable_index() <= held, "{id} takes {} for durable and holds {held}", node.durable_index());
        // I9: in force is the newest in the log, and neighbours share every two of their quorums.
        let mut configurations = vec![Arc::clone(&log.base)];
        configurations.extend(log.configurations().into_iter().map(|(_, configuration)| configuration));
        assert_eq!(Some(node.configuration()), configurations.last(), "{id}: another configuration is in force");
        for pair in configurations.windows(2).filter(|pair| !pair[0].voters.is_empty()) {
            assert!(quorums::share(&pair[0], &pair[1]), "{id}: quorums of {:?} and {:?} are apart", pair[0], pair[1]);
        }
        self.note_state();
    }

    fn note_state(&mut self) {
        let Member { node, .. } = &self.member;
        let sights = &mut self.outcome.sights;
        if node.configuration().is_joint() {
            sights.note(Sight::Joint);
        }
        if self.member.leads() {
            sights.note(if node.term() == Term(1) { Sight::Leader } else { Sight::LaterLeader });
            if node.commit_index() > node.durable_index() {
                sights.note(Sight::CommittedWithoutOwnDisk);
            }
            if !node.configuration().is_voter(node.id()) {
                sights.note(Sight::LeadsWithoutVote);
            }
        }
    }
}
