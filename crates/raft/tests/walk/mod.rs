//! A walk: a cluster to which a long list of actions happens, and then calm, in which everything that was begun must end.

pub mod action;
pub mod chance;
pub mod choose;
pub mod plan;
pub mod shrink;

use std::collections::BTreeMap;

use kontiki_raft::{Configuration, Input, LogPosition, MemberChange, NodeId, ReadId};

use crate::cluster::member::Member;
use crate::cluster::network::Choice;
use crate::cluster::{Cluster, majority, network};
use action::Action;
use plan::{MEMBERS, Plan};

/// A cluster under way.
pub struct Walk {
    pub plan: Plan,
    pub cluster: Cluster,
    /// What has happened, as commands of a script.
    pub script: Vec<String>,
    /// How far each clock is into its next tick, in thousandths.
    clocks: Vec<u64>,
    /// Reads that nobody has answered yet, and where they were asked.
    asked: BTreeMap<ReadId, NodeId>,
    /// A fault of the test's own making, to see that it is found and shrunk.
    pub planted: bool,
}

impl Walk {
    pub fn new(plan: Plan) -> Walk {
        let mut cluster = Cluster::new(plan.beginning());
        cluster.trace.heartbeats = true;
        cluster.trace.writes = true;
        cluster.applies_at_once = plan.applies_at_once;
        for id in (1..=MEMBERS).map(NodeId) {
            if !plan.configuration.is_member(id) {
                cluster.join(id, plan.seed);
            }
        }
        if let Some((id, settings)) = &plan.other_settings {
            cluster.crash(*id, usize::MAX);
            cluster.member_mut(*id).settings = (*settings).into();
            cluster.restart(*id, 2);
        }
        let clocks = plan.rates.iter().map(|rate| rate * 7 % 1000).collect();
        Walk { plan, cluster, script: Vec::new(), clocks, asked: BTreeMap::new(), planted: false }
    }

    /// Lets one action happen.
    pub fn perform(&mut self, action: &Action) {
        let leader = self.cluster.leader();
        let text = action.to_string();
        let led = |at: &Option<NodeId>| at.or(leader);
        match action {
            Action::Time => return self.pass_time(),
            Action::Tick(id) => self.cluster.turn(*id, Input::Tick),
            Action::Deliver { ends, count, one_turn } => {
                let (from, to) = (ends.map(|ends| ends.0), ends.map(|ends| ends.1));
                self.cluster.deliver_chosen(Choice { from, to, kind: None, count: Some(*count) }, *one_turn);
            }
            Action::Lose { ends, count } => drop(self.cluster.network.take(between(*ends, *count))),
            Action::Repeat { ends, count, late } => self.cluster.repeat(between(*ends, *count), *late),
            Action::Hold { ends, count } => self.cluster.network.hold(between(*ends, *count)),
            Action::Release => self.cluster.network.release(),
            Action::Propose { at, count } => {
                if let Some(at) = led(at) {
                    self.cluster.propose(at, *count);
                }
            }
            Action::Change { at, changes } => {
                if let Some(at) = led(at).filter(|at| self.leaves_a_quorum(*at, changes)) {
                    self.cluster.change(at, changes.clone());
                }
            }
            Action::Transfer { at, to } => {
                if let Some(at) = led(at) {
                    self.cluster.turn(at, Input::TransferLeadership(*to));
                }
            }
            Action::Read(id) => self.read(*id),
            Action::Campaign(id) => self.cluster.turn(*id, Input::Campaign),
            Action::Suspect { at, peer } => self.cluster.turn(*at, Input::Suspect(*peer)),
            Action::SnapshotFailed { at, to } => {
                self.cluster.turn(*at, Input::SnapshotSent { to: *to, installed: None });
            }
            Action::Apply(id) => {
                self.cluster.apply(*id);
                self.cluster.flush(*id);
            }
            Action::Compact { at, keep } => {
                self.cluster.compact(*at, *keep);
                self.cluster.flush(*at);
            }
            _ => self.perform_on_world(action),
        }
        self.script.push(leader.map_or(text.clone(), |leader| text.replace("LEADER", &leader.0.to_string())));
        self.after();
    }

    /// What happens to disks, processes and connections.
    fn perform_on_world(&mut self, action: &Action) {
        match action {
            Action::Slow(id) => drop(self.cluster.slow_disks.insert(*id)),
            Action::Fast(id) => {
                self.cluster.slow_disks.remove(id);
                self.cluster.complete_writes(*id, usize::MAX);
            }
            Action::Persist { at, count } => self.cluster.complete_writes(*at, *count),
            Action::Crash { at, survive } => {
                self.cluster.crash(*at, *survive);
                self.asked.retain(|_, asked_at| asked_at != at);
            }
            Action::Restart { at, seed } => {
                if !self.cluster.runs(*at) {
                    self.cluster.restart(*at, *seed);
                }
            }
            Action::Wipe { at, joins } => {
                if self.may_be_wiped(*at, *joins) {
                    self.cluster.wipe(*at, *joins);
                    self.cluster.restart(*at, 2);
                    self.asked.retain(|_, asked_at| asked_at != at);
                }
            }
            Action::Sleep(id) => {
                if self.cluster.runs(*id) {
                    self.cluster.sleep(*id);
                }
            }
            Action::Wake(id) => self.cluster.wake(*id),
            Action::Cut { from, to, one_way: true } => self.cluster.network.cut(*from, *to),
            Action::Cut { from, to, one_way: false } => self.cluster.cut_pair(*from, *to),
            Action::Isolate(id) => self.cluster.isolate(*id),
            Action::Heal => self.cluster.heal(),
            other => unreachable!("{other} is not done to the world"),
        }
    }

    fn read(&mut self, id: NodeId) {
        let runs = self.cluster.runs(id) && !self.cluster.member(id).paused;
        if runs {
            let read = self.cluster.read(id);
            self.asked.insert(read, id);
        }
    }

    /// A unit of time: whoever's clock completes a tick by it, ticks.
    fn pass_time(&mut self) {
        for id in self.cluster.ids() {
            let place = id.0 as usize - 1;
            self.clocks[place] += self.plan.rates[place];
            if self.clocks[place] >= 1000 {
                self.clocks[place] -= 1000;
                self.script.push(format!("tick {}", id.0));
                self.cluster.turn(id, Input::Tick);
            }
        }
        self.check_leases();
        self.after();
    }

    /// Whoever holds a lease is the only one who can have committed anything lately.
    fn check_leases(&self) {
        for member in self.cluster.members.values().filter(|member| member.node.is_some() && !member.paused) {
            if member.log.configuration().lease.is_some() && member.node().status().holds_lease {
                self.cluster.facts.check_lease(member);
            }
        }
    }

    fn after(&mut self) {
        self.cluster.trace.keep(60);
        let answered = &self.cluster.facts.answered;
        self.asked.retain(|read, _| !answered.contains_key(read));
        if self.planted {
            let down = self.cluster.members.values().filter(|member| member.node.is_none()).count();
            assert!(down < 2, "planted: two members are down");
        }
    }

    /// Who may lose its disk without harm that no rule could keep off: wherever anybody counts it as a voter the life is
    /// known, and the voters that are left are a quorum.
    fn may_be_wiped(&self, id: NodeId, joins: bool) -> bool {
        let all = || self.cluster.members.values();
        let logs = all().flat_map(|member| [&member.log, &member.stored.log]);
        let mut known: Vec<&Configuration> = Vec::new();
        if !joins {
            known.push(&self.plan.configuration); // it starts with this again
        }
        for log in logs {
            known.push(&log.base);
            known.extend(log.configurations().map(|(_, configuration)| &**configuration));
        }
        for packet in self.cluster.network.packets.iter().chain(&self.cluster.network.held) {
            match &packet.content {
                network::Content::Message(_, entries) => {
                    known.extend(entries.iter().filter_map(|entry| entry.configuration.as_deref()));
                }
                network::Content::Snapshot(meta) => known.push(&meta.configuration),
            }
        }
        known.into_iter().filter(|configuration| configuration.is_member(id)).all(|configuration| {
            // A learner may just be about to be promoted, by what it acknowledged before.
            let mut promoted = configuration.clone();
            if !promoted.voters.contains(&id) {
                promoted.voters.push(id);
            }
            configuration.attributes(id).incarnation.is_some()
                && majority::decides(&promoted, |voter| voter != id && self.is_itself(configuration, voter))
        })
    }

    /// Whether the voters after a change are alive in the lives that count. No core could go on if they were not.
    fn leaves_a_quorum(&self, at: NodeId, changes: &[MemberChange]) -> bool {
        let present = self.cluster.member(at).log.configuration();
        if present.is_joint() {
            return true; // refused anyway
        }
        match present.changed(changes) {
            Ok(next) => majority::decides(&next, |voter| self.is_itself(&next, voter)),
            Err(_) => true,
        }
    }

    /// Whether a member's present disk is the one that a configuration means.
    fn is_itself(&self, configuration: &Configuration, id: NodeId) -> bool {
        let life = configuration.attributes(id).incarnation;
        life.is_none() || life == self.cluster.member(id).stored.incarnation
    }

    /// All faults end. A leader emerges, a new entry is committed by all members of the final configuration, and every
    /// read is answered.
    pub fn calm(&mut self) {
        self.cluster.heal();
        self.cluster.network.release();
        self.cluster.applies_at_once = true;
        for id in self.cluster.ids() {
            self.cluster.wake(id);
            self.cluster.slow_disks.remove(&id);
            self.cluster.complete_writes(id, usize::MAX);
            if !self.cluster.runs(id) {
                self.cluster.restart(id, self.plan.seed);
            }
            self.cluster.apply(id);
            self.cluster.flush(id);
        }
        let rounds = 60 * self.plan.settings.election_timeout_ticks;
        let mut target: Option<LogPosition> = None;
        for _ in 0..rounds {
            for id in self.cluster.ids() {
                self.cluster.turn(id, Input::Tick);
            }
            self.cluster.settle();
            self.after();
            match target {
                Some(entry) if self.has_ended_with(entry) => return self.check_end(),
                // Its leader may yet have been deposed by what was still under way.
                Some(entry) if self.cluster.leader_term() == Some(entry.term) => {}
                Some(_) | None => target = self.propose_last(),
            }
        }
        panic!("no leader could commit everywhere: target {target:?}");
    }

    /// The members of the newest configuration, in the lives that it means.
    fn final_members(&self) -> Vec<&Member> {
        let last = self.cluster.facts.newest_configuration();
        let members = last.members().into_iter().filter(|id| self.is_itself(last, *id));
        members.map(|id| self.cluster.member(id)).collect()
    }

    fn has_ended_with(&self, entry: LogPosition) -> bool {
        let holds = |member: &&Member| {
            let node = member.node();
            node.commit_index() >= entry.index && node.term_at(entry.index).is_none_or(|term| term == entry.term)
        };
        let joint = self.cluster.facts.newest_configuration().is_joint();
        !joint && self.final_members().iter().all(holds) && self.asked.is_empty()
    }

    fn propose_last(&mut self) -> Option<LogPosition> {
        let leader = self.cluster.leader()?;
        if !self.cluster.member(leader).node().committed_in_own_term() {
            return None;
        }
        let refused = self.cluster.refusals.len();
        self.cluster.propose(leader, 1);
        if self.cluster.refusals.len() > refused {
            return None;
        }
        Some(self.cluster.member(leader).node().last_position())
    }

    fn check_end(&mut self) {
        let ends: Vec<_> = self.final_members().iter().map(|member| member.node().last_position()).collect();
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "logs end apart: {ends:?}");
        let leader = self.cluster.leader().expect("one was found");
        let ids: Vec<NodeId> = self.final_members().iter().map(|member| member.id).collect();
        for id in ids.clone() {
            let read = self.cluster.read(id);
            self.cluster.settle();
            assert!(matches!(self.cluster.facts.answered.get(&read), Some(Some(_))), "{id} cannot read");
        }
        self.check_restart_of_idle_member(leader, &ids);
        let peers: Vec<_> = self.cluster.member(leader).node().peers().collect();
        let counted = peers.iter().find(|peer| ids.contains(&peer.id) && peer.inflight > 0);
        assert!(counted.is_none(), "idle, yet counted: {counted:?}"); // bug L11
    }

    /// A follower that restarts in a group where nothing happens learns what is committed all the same.
    fn check_restart_of_idle_member(&mut self, leader: NodeId, ids: &[NodeId]) {
        let Some(id) = ids.iter().copied().find(|id| *id != leader) else { return };
        let commit = self.cluster.member(leader).node().commit_index();
        self.cluster.crash(id, usize::MAX);
        self.cluster.restart(id, self.plan.seed);
        for _ in 0..self.plan.settings.election_timeout_ticks / 2 {
            self.cluster.turn(leader, Input::Tick);
            self.cluster.settle();
        }
        assert!(self.cluster.member(id).node().commit_index() >= commit, "{id} does not learn what is committed");
    }
}

fn between(ends: (NodeId, NodeId), count: u64) -> Choice {
    Choice { from: Some(ends.0), to: Some(ends.1), kind: None, count: Some(count) }
}
