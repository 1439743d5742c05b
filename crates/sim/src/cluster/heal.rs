//! The end of faults: for a quorum, or for all; and whether the members agree then.

use std::sync::Arc;
use std::time::Duration;

use kontiki_raft::{Configuration, GroupId, NodeId};
use kontiki_world::Random;

use super::Cluster;
use crate::observation::Violation;
use crate::subject::Subject;

impl<S: Subject> Cluster<S> {
    /// Nothing of the script is left to happen.
    pub fn stop_script(&mut self) {
        self.next_line = self.plan.script.lines.len();
        self.stop_orders();
        self.snapshots_to_damage = 0;
    }

    /// Ends all faults for these members and what is between them, and starts those that are down. The others stay as they
    /// are, slow or dead; who of them is cut off from one of these members is cut off from all. (A leader whom only some of
    /// them hear is none that Raft would replace.)
    ///
    /// # Errors
    /// Where something that must hold no longer does.
    pub fn heal(&mut self, core: &[NodeId]) -> Result<(), Violation> {
        self.trace.say(self.now, None, "heal", &format!("{core:?}"));
        self.stop_script();
        self.network.restore();
        for from in core {
            core.iter().filter(|to| *to != from).for_each(|to| self.join(*from, *to));
        }
        self.cut_off_outsiders(core);
        for place in core.iter().filter_map(|id| self.place_of(*id)).collect::<Vec<_>>() {
            self.withdraw_faults(place);
            self.restore_format(place);
            let member = &mut self.members[place];
            member.disk.keep_power();
            member.clock.drift(0);
            member.clock.set_wall(0);
            member.health.hangs = false;
            self.slow_down(place, 1);
            self.resume(place);
            self.let_work_end(place);
            self.start(place)?;
        }
        Ok(())
    }

    fn cut_off_outsiders(&mut self, core: &[NodeId]) {
        for outsider in self.ids().into_iter().filter(|id| !core.contains(id)) {
            if !core.iter().all(|id| self.network.can_connect(outsider, *id)) {
                for id in core {
                    self.network.cut(outsider, *id, self.now);
                    self.network.cut(*id, outsider, self.now);
                }
            }
        }
    }

    /// Ends all faults for all members that ever ran.
    ///
    /// # Errors
    /// As [`Cluster::heal`].
    pub fn heal_all(&mut self) -> Result<(), Violation> {
        let all: Vec<NodeId> = self.members.iter().filter(|member| member.life > 0).map(|member| member.id).collect();
        self.heal_network();
        self.heal(&all)
    }

    /// The members of a group whose disks are those that the group knows, and not damaged beyond help.
    #[must_use]
    pub fn fit_members(&self, group: GroupId) -> Vec<NodeId> {
        let configuration = self.newest_configuration(group);
        configuration.members().into_iter().filter(|id| self.is_known(*id, &configuration)).collect()
    }

    /// A quorum of a group, drawn at random from the members whose disks are those that the group knows; none where no such
    /// quorum is left.
    #[must_use]
    pub fn draw_core(&self, group: GroupId, random: &mut Random) -> Option<Vec<NodeId>> {
        let configuration = self.newest_configuration(group);
        let mut fit = self.fit_members(group);
        for last in (1..fit.len()).rev() {
            fit.swap(last, random.below(last as u64 + 1) as usize);
        }
        // Who was damaged may need what only an outsider holds: such members come in where it does not do without them.
        fit.sort_by_key(|id| self.place_of(*id).is_some_and(|place| self.members[place].damaged));
        // One with a newer membership in its log, committed or not, goes by that.
        let suffices = |core: &[NodeId]| {
            let places = core.iter().filter_map(|id| self.place_of(*id));
            let own = places.filter_map(|place| self.members[place].memberships.get(&group));
            is_quorum(&configuration, core) && own.filter(|own| !own.voters.is_empty()).all(|own| is_quorum(own, core))
        };
        let size = (1..=fit.len()).find(|size| suffices(&fit[..*size]))?;
        fit.truncate(size);
        fit.sort_unstable();
        Some(fit)
    }

    /// Whether a member's disk is the one that a membership knows, and was not found damaged beyond help.
    fn is_known(&self, id: NodeId, configuration: &Configuration) -> bool {
        // A sound one that refuses to start has a disk that fails, which is over with the faults.
        let beyond_help = |place: &usize| self.members[*place].damaged && self.members[*place].refusals > 0;
        self.place_of(id).filter(|place| !beyond_help(place)).is_some_and(|place| {
            let bound = configuration.attributes(id).incarnation;
            bound.is_none_or(|incarnation| incarnation == self.incarnation(place))
        })
    }

    /// The newest membership of a group that anybody knows to be committed.
    fn newest_configuration(&self, group: GroupId) -> Arc<Configuration> {
        let known = self.committed.get(&group).map(|(_, configuration)| Arc::clone(configuration));
        let founders = || Arc::new(Configuration::of((1..=self.plan.founders).map(NodeId)));
        known.filter(|configuration| !configuration.voters.is_empty()).unwrap_or_else(founders)
    }

    /// Whether these members agree: all have the same leader, one of them or another, are whole, and have applied everything.
    #[must_use]
    pub fn converged(&self, core: &[NodeId]) -> bool {
        self.subject.groups().into_iter().all(|group| self.agrees(group, core))
    }

    fn agrees(&self, group: GroupId, core: &[NodeId]) -> bool {
        let Some(leader) = self.leader(group) else { return false };
        let Some(node) = self.engine(leader).and_then(|engine| engine.node(group)) else { return false };
        let (term, last) = (node.term(), node.last_position());
        let members = node.configuration();
        if members.is_joint() {
            return false;
        }
        core.iter().filter(|id| members.is_member(**id)).all(|id| {
            self.engine(*id).and_then(|engine| engine.node(group)).is_some_and(|node| {
                node.term() == term
                    && node.leader() == Some(leader)
                    && node.last_position() == last
                    && node.applied() == last.index
            })
        })
    }

    /// Lets time pass until these members agree and the subject has no work under way. False where that took longer than
    /// `patience`.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn converge(&mut self, core: &[NodeId], patience: Duration) -> Result<bool, Violation> {
        let until = self.now + patience;
        while !(self.converged(core) && self.subject.is_idle()) {
            if self.now >= until {
                return Ok(false);
            }
            self.run_for(Duration::from_millis(50))?;
        }
        Ok(true)
    }

    /// The subject's own check of these members, at the end of a run. Left out is who is no member any more: a change that was
    /// under way may have ended.
    ///
    /// # Errors
    /// Where the members do not hold what they must.
    pub fn check(&mut self, core: &[NodeId]) -> Result<(), Violation> {
        let memberships: Vec<_> =
            self.subject.groups().into_iter().map(|group| self.newest_configuration(group)).collect();
        let is_member = |id| memberships.iter().all(|membership| membership.is_member(id));
        let running = self.members.iter_mut().filter(|member| core.contains(&member.id) && is_member(member.id));
        let mut engines: Vec<_> =
            running.filter_map(|member| Some((member.id, &mut member.process.as_mut()?.engine))).collect();
        self.subject.check(self.now, &mut engines)?;
        let at = self.now;
        self.checkers.iter_mut().try_for_each(|checker| checker.finish(at, core))
    }

    /// How each member stands, in words, for whoever looks into a failure.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let groups = self.subject.groups();
        let lines = self.members.iter().flat_map(|member| groups.iter().map(move |group| (member, group)));
        lines
            .map(|(member, group)| match &member.process {
                None => format!("{}: down after life {}", member.id, member.life),
                Some(process) if process.engine.is_mending(*group) => format!("{}: mends {group}", member.id),
                Some(process) => {
                    format!("{} {group}: {:?}", member.id, process.engine.node(*group).map(kontiki_raft::Node::status))
                }
            })
            .collect()
    }
}

fn is_quorum(configuration: &Configuration, members: &[NodeId]) -> bool {
    let majority = |voters: &[NodeId]| {
        voters.is_empty() || 2 * voters.iter().filter(|voter| members.contains(voter)).count() > voters.len()
    };
    majority(&configuration.voters) && majority(&configuration.outgoing)
}
