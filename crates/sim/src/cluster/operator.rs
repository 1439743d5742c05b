//! The operator: changes the membership step by step, hands leadership over, loses disks and replaces them.
//!
//! It sees everything, and does only what the documents allow: it never takes so many disks away that nobody is left who
//! knows what was acknowledged.

use std::time::Duration;

use kontiki_engine::Event;
use kontiki_raft::{Attributes, Configuration, GroupId, Incarnation, Lease, MemberChange, NodeId};

use super::{Cluster, Happening, purpose, stream};
use crate::observation::{End, Violation};
use crate::script::{MemberOrder, Target};
use crate::subject::Subject;

/// The operator looks again after so many milliseconds at least, and at most.
const LOOKS_AFTER_MS: (u64, u64) = (20, 500);
/// How long until it asks the same leader again.
const ASKS_AGAIN: Duration = Duration::from_secs(3);
/// How long until it gives up.
const PATIENCE: Duration = Duration::from_secs(90);
/// The priority of a member that is to lead.
const PREFERRED: u8 = 2 * Attributes::PRIORITY;
/// By how much clocks may differ where leaders answer reads by a lease: more than any drift of a script.
const LEASE_DRIFT_PERMILLE: u32 = 50;

/// What the operator is about.
#[derive(Debug, Default)]
pub(super) struct Operator {
    orders: Vec<Order>,
    asked: u64,
    looks: bool,
}

#[derive(Clone, Debug)]
struct Order {
    what: MemberOrder,
    id: NodeId,
    since: Duration,
    /// When it asked last, and whom.
    asked: Option<(Duration, NodeId)>,
    /// A replacement: the member has gone, and got its new disk.
    renewed: bool,
}

/// What is to be done next.
enum Step {
    Done,
    Wait,
    Ask(Vec<MemberChange>),
    Renew,
}

impl<S: Subject> Cluster<S> {
    pub(super) fn order(&mut self, what: MemberOrder) {
        let target = match what {
            MemberOrder::Add(target)
            | MemberOrder::AddLearner(target)
            | MemberOrder::Promote(target)
            | MemberOrder::Demote(target)
            | MemberOrder::Remove(target)
            | MemberOrder::Replace(target)
            | MemberOrder::Swap(target)
            | MemberOrder::Prefer(target) => target,
            MemberOrder::ReadLease(_) => Target::Member(1),
        };
        let Some(id) = self.resolve(target) else { return };
        self.counts.add("member-order", 1);
        let since = self.now;
        self.operator.orders.push(Order { what, id, since, asked: None, renewed: false });
    }

    /// Forgets all orders.
    pub(super) fn stop_orders(&mut self) {
        self.operator.orders.clear();
    }

    /// Looks how far the first order is.
    pub(super) fn operate(&mut self) -> Result<(), Violation> {
        self.operator.looks = false;
        let Some(mut order) = self.operator.orders.first().cloned() else { return Ok(()) };
        let done = self.now - order.since > PATIENCE || self.pursue(&mut order)?;
        if done {
            self.operator.orders.remove(0);
            if let Some(next) = self.operator.orders.first_mut() {
                next.since = self.now;
            }
        } else {
            self.operator.orders[0] = order;
        }
        if !self.operator.looks {
            self.operator.looks = true;
            let (least, most) = LOOKS_AFTER_MS;
            let wait = Duration::from_millis(least + self.random.below(most - least));
            self.schedule(self.now + wait, Happening::Operator);
        }
        Ok(())
    }

    /// Does the next step of an order. True where it is done.
    fn pursue(&mut self, order: &mut Order) -> Result<bool, Violation> {
        let mut done = true;
        for group in self.subject.groups() {
            let Some((leader, configuration)) = self.settled_configuration(group) else { return Ok(false) };
            match self.step_of(order, &configuration) {
                Step::Done => {}
                Step::Wait => done = false,
                Step::Renew => {
                    order.renewed = true;
                    self.renew(order.id)?;
                    return Ok(false);
                }
                Step::Ask(changes) => {
                    done = false;
                    if order.asked.is_none_or(|(at, whom)| self.now - at > ASKS_AGAIN || whom != leader) {
                        order.asked = Some((self.now, leader));
                        self.ask(leader, group, changes);
                    }
                }
            }
        }
        Ok(done)
    }

    fn step_of(&self, order: &Order, configuration: &Configuration) -> Step {
        let id = order.id;
        let (member, voter) = (configuration.is_member(id), configuration.is_voter(id));
        let learner = |promote| MemberChange::AddLearner { id, promote };
        let ask = |change| Step::Ask(vec![change]);
        match order.what {
            MemberOrder::Add(_) if voter => Step::Done,
            MemberOrder::AddLearner(_) if member => Step::Done,
            MemberOrder::Add(_) if member => Step::Wait,
            MemberOrder::Add(_) if !self.can_vote(id, configuration) => Step::Done,
            MemberOrder::Add(_) | MemberOrder::AddLearner(_) if !order.renewed => Step::Renew,
            MemberOrder::Add(_) => ask(learner(true)),
            MemberOrder::AddLearner(_) => ask(learner(false)),
            MemberOrder::Promote(_) if member && !voter && self.can_vote(id, configuration) => {
                ask(MemberChange::Promote(id))
            }
            MemberOrder::Demote(_) if voter && self.can_do_without(id, configuration) => ask(MemberChange::Demote(id)),
            MemberOrder::Promote(_) | MemberOrder::Demote(_) => Step::Done,
            MemberOrder::Remove(_) | MemberOrder::Replace(_) if member && !order.renewed => {
                if self.can_do_without(id, configuration) { ask(MemberChange::Remove(id)) } else { Step::Done }
            }
            MemberOrder::Remove(_) => Step::Done,
            MemberOrder::Replace(_) if !order.renewed => Step::Renew,
            MemberOrder::Replace(_) if voter => Step::Done,
            MemberOrder::Replace(_) if member && configuration.attributes(id).promote => Step::Wait,
            MemberOrder::Replace(_) if member => Step::Done,
            // One that the voters became too few for meanwhile comes back without a vote.
            MemberOrder::Replace(_) => ask(learner(self.can_vote(id, configuration))),
            MemberOrder::Swap(_) if voter => self.swap(id, configuration).map_or(Step::Done, Step::Ask),
            MemberOrder::Swap(_) => Step::Done,
            MemberOrder::Prefer(_) if order.asked.is_some() || !member => Step::Done,
            MemberOrder::Prefer(_) => {
                let preferred = configuration.attributes(id).priority > Attributes::PRIORITY;
                ask(MemberChange::SetPriority(id, if preferred { Attributes::PRIORITY } else { PREFERRED }))
            }
            MemberOrder::ReadLease(ticks) => {
                let lease = Lease { ticks, drift_permille: LEASE_DRIFT_PERMILLE };
                if configuration.lease == Some(lease) { Step::Done } else { ask(MemberChange::SetLease(Some(lease))) }
            }
        }
    }

    /// Takes the vote of one member, and gives another the vote or takes it as well, where enough sound voters are left.
    fn swap(&self, id: NodeId, configuration: &Configuration) -> Option<Vec<MemberChange>> {
        let others = || configuration.voters.iter().copied().filter(move |voter| *voter != id);
        let learner = configuration.learners.first().copied();
        let (change, left): (MemberChange, Vec<NodeId>) = match (learner, others().next()) {
            (Some(learner), _) => (MemberChange::Promote(learner), others().chain([learner]).collect()),
            (None, Some(second)) => (MemberChange::Demote(second), others().skip(1).collect()),
            (None, None) => return None,
        };
        let enough = left.len() >= 2 && self.are_sound(left, configuration);
        enough.then(|| vec![MemberChange::Demote(id), change])
    }

    /// Whether enough sound voters are left without this one.
    fn can_do_without(&self, id: NodeId, configuration: &Configuration) -> bool {
        let left: Vec<NodeId> = configuration.voters.iter().copied().filter(|voter| *voter != id).collect();
        left.is_empty() || self.are_sound(left, configuration)
    }

    /// Whether enough sound voters are there with this one as well.
    fn can_vote(&self, id: NodeId, configuration: &Configuration) -> bool {
        let with = configuration.voters.iter().copied().chain([id]).collect();
        self.are_sound(with, configuration)
    }

    /// Whether most of these voters have disks that nobody damages, also once those learners vote that are to.
    fn are_sound(&self, mut voters: Vec<NodeId>, configuration: &Configuration) -> bool {
        let is_sound = |voter: &NodeId| !self.plan.damageable.contains(&voter.0);
        let to_vote = |learner: &NodeId| configuration.attributes(*learner).promote && !voters.contains(learner);
        let coming: Vec<NodeId> = configuration.learners.iter().copied().filter(to_vote).collect();
        voters.extend(coming.into_iter().filter(|learner| !is_sound(learner)));
        let sound = voters.iter().filter(|voter| is_sound(voter)).count();
        2 * sound > voters.len()
    }

    /// Whether enough sound voters are left without this one to vote it out.
    fn can_replace(&self, id: NodeId, configuration: &Configuration) -> bool {
        let voters = &configuration.voters;
        let sound = voters.iter().filter(|voter| **voter != id && !self.plan.damageable.contains(&voter.0)).count();
        2 * sound > voters.len()
    }

    /// The leader of a group and the membership, where that is committed and not about to change.
    pub(super) fn settled_configuration(&self, group: GroupId) -> Option<(NodeId, Configuration)> {
        let leader = self.leader(group)?;
        let status = self.engine(leader)?.node(group)?.status();
        let settled = status.configuration_index <= status.commit_index && !status.configuration.is_joint();
        settled.then(|| (leader, (*status.configuration).clone()))
    }

    fn ask(&mut self, leader: NodeId, group: GroupId, changes: Vec<MemberChange>) {
        self.operator.asked += 1;
        let id = self.operator.asked;
        self.counts.add("member-change", 1);
        self.trace.say(self.now, Some(leader.0), "operator", &format!("{group} {changes:?}"));
        if let Some(process) = self.place_of(leader).and_then(|place| self.members[place].process.as_ref()) {
            process.inbox.post(Event::ChangeMembership { group, id, changes });
        }
    }

    /// Somebody who is no member gets an empty disk and waits to be added.
    fn renew(&mut self, id: NodeId) -> Result<(), Violation> {
        let Some(place) = self.place_of(id) else { return Ok(()) };
        self.counts.add("new-disk", 1);
        self.end(place, End::Wiped)?;
        self.members[place].waits_to_join = true;
        self.start(place)
    }

    /// A member loses its disk, where the others can do without it and know the life of the disk that is lost.
    pub(super) fn wipe(&mut self, place: usize) -> Result<(), Violation> {
        let id = self.members[place].id;
        let incarnation = self.incarnation(place);
        for group in self.subject.groups() {
            let known = self.settled_configuration(group).is_some_and(|(_, configuration)| {
                configuration.attributes(id).incarnation == Some(incarnation) && self.can_replace(id, &configuration)
            });
            if !known {
                return Ok(());
            }
        }
        self.counts.add("wipe", 1);
        self.end(place, End::Wiped)
    }

    /// The life of a member's disk.
    pub(super) fn incarnation(&self, place: usize) -> Incarnation {
        let member = &self.members[place];
        Incarnation(stream(self.plan.seed, purpose::INCARNATION, member.id.0 << 32 | member.disks).next_u64())
    }

    /// The leaders are asked to hand over.
    pub(super) fn transfer(&mut self, target: Target) {
        let Some(to) = self.resolve(target) else { return };
        for group in self.subject.groups() {
            let Some(place) = self.leader(group).and_then(|leader| self.place_of(leader)) else { continue };
            let to = Some(to).filter(|to| *to != self.members[place].id);
            self.counts.add("transfer", 1);
            if let Some(process) = &self.members[place].process {
                process.inbox.post(Event::Transfer(group, to));
            }
        }
    }
}
