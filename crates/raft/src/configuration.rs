//! Who the members are, what part each plays, and how one membership becomes the next (dissertation §4).

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::planted::planted;
use crate::types::{Incarnation, Index, NodeId};

/// The members of a group and what they have agreed on. Replicated as entries of the log; passed by reference.
///
/// Joint while `outgoing` is not empty: then every decision needs a majority of both halves (§4.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Configuration {
    /// Voters of the configuration in force, or of the new half of a joint one. Sorted, without repetition.
    pub voters: Vec<NodeId>,
    /// Voters of the old half of a joint configuration; empty otherwise. Sorted, without repetition.
    pub outgoing: Vec<NodeId>,
    /// Members that receive the log and do not count (§4.2.1). Sorted, disjoint from `voters`. One that is in `outgoing`
    /// as well still votes, until the joint configuration is left.
    pub learners: Vec<NodeId>,
    /// What is to be known of single members. Sorted by identity; who has nothing but defaults does not appear.
    pub attributes: Vec<(NodeId, Attributes)>,
    /// Reads by lease (§6.4.1), where the group has agreed on them.
    pub lease: Option<Lease>,
}

/// What is to be known of a member besides its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// The life of the disk that is a member: bound when it first answered. What another life says does not count.
    pub incarnation: Option<Incarnation>,
    /// Who of several fit members should lead: the greatest. A member of priority zero leads only if it is told to.
    pub priority: u8,
    /// A learner that is to become a voter as soon as it has caught up.
    pub promote: bool,
}

impl Attributes {
    /// The priority of who was given none.
    pub const PRIORITY: u8 = 100;
}

impl Default for Attributes {
    fn default() -> Attributes {
        Attributes { incarnation: None, priority: Attributes::PRIORITY, promote: false }
    }
}

/// Terms of the promise that lets a leader serve reads without asking (§6.4.1).
///
/// Who hears a leader votes for nobody else for `ticks` ticks of its own clock; a leader whom a quorum has answered may
/// read locally for that long, counted from when it asked, less what clocks may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Length of the promise, in ticks. At least 3.
    pub ticks: u32,
    /// By how much the slowest clock of the group may lag behind the fastest, in thousandths. Below 1,000.
    pub drift_permille: u32,
}

impl Lease {
    /// How many ticks after the tick in which it asked a leader may still read: one less than the promise, since a
    /// follower's first tick may come at once, one less again, since the leader does not know how long ago its own last
    /// tick was, and less what clocks may differ.
    #[must_use]
    pub fn usable_ticks(&self) -> u64 {
        let certain = u64::from(self.ticks.saturating_sub(1)) * u64::from(1000_u32.saturating_sub(self.drift_permille));
        (certain / 1000).saturating_sub(1)
    }
}

/// One thing to change about a membership. Several make up one step from one configuration to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberChange {
    /// Somebody new who votes from the start, although it may hold nothing yet, and before anybody knows its disk: until
    /// that is bound, it must not be wiped. The way by a learner has neither weakness.
    AddVoter(NodeId),
    /// Somebody new who receives the log without a vote; with `promote`, until it has caught up.
    AddLearner {
        /// Who.
        id: NodeId,
        /// Becomes a voter by itself as soon as it has caught up.
        promote: bool,
    },
    /// A learner that has caught up votes from now on.
    Promote(NodeId),
    /// A voter becomes a learner.
    Demote(NodeId),
    /// A member is none any more.
    Remove(NodeId),
    /// See [`Attributes::priority`].
    SetPriority(NodeId, u8),
    /// See [`Configuration::lease`].
    SetLease(Option<Lease>),
}

/// Why a change of membership was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeRefusal {
    /// This replica does not lead; the leader it knows, if any.
    NotLeader(Option<NodeId>),
    /// Leadership is being handed over.
    Transferring,
    /// Nothing of this leader's term is committed yet (bug M01).
    TooEarly,
    /// The change before this one, the entry at this index, is not finished (bug M02).
    Unfinished(Index),
    /// Is a member already.
    Member(NodeId),
    /// Is not a member.
    NotMember(NodeId),
    /// Is not a learner, so that it cannot be promoted.
    NotLearner(NodeId),
    /// Is not a voter, so that it cannot be demoted.
    NotVoter(NodeId),
    /// The learner lags too far behind to vote: it would hold up commitment (§4.2.1).
    Behind {
        /// The learner.
        learner: NodeId,
        /// What it holds.
        matched: Index,
        /// What the leader holds.
        last: Index,
    },
    /// The life of the learner's disk is not known yet: it has not answered, or that is not committed. A vote for whom
    /// nobody could tell from another life of its disk would not be safe (bug M28).
    Unbound(NodeId),
    /// No voter would be left.
    NoVoter,
    /// A lease of these terms guards nothing: fewer than 3 ticks, or clocks that may stand still.
    BadLease(Lease),
    /// Changes nothing.
    Nothing,
}

impl fmt::Display for ChangeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangeRefusal::NotLeader(None) => write!(f, "not the leader, and none is known; ask again later"),
            ChangeRefusal::NotLeader(Some(leader)) => write!(f, "not the leader; ask {leader}"),
            ChangeRefusal::Transferring => write!(f, "leadership is being handed over; ask the next leader"),
            ChangeRefusal::TooEarly => {
                write!(f, "this leader has committed nothing in its term yet; ask again shortly")
            }
            ChangeRefusal::Unfinished(index) => {
                write!(f, "the change at entry {index} is not finished; one change at a time")
            }
            ChangeRefusal::Member(id) => write!(f, "{id} is a member already"),
            ChangeRefusal::NotMember(id) => write!(f, "{id} is not a member"),
            ChangeRefusal::NotLearner(id) => write!(f, "{id} is not a learner"),
            ChangeRefusal::NotVoter(id) => write!(f, "{id} is not a voter"),
            ChangeRefusal::Behind { learner, matched, last } => {
                write!(f, "learner {learner} holds {matched} of {last} entries; promote it when it has caught up")
            }
            ChangeRefusal::Unbound(id) => write!(f, "the disk of learner {id} is not known yet; promote it when it is"),
            ChangeRefusal::NoVoter => write!(f, "no voter would be left"),
            ChangeRefusal::BadLease(lease) => write!(
                f,
                "a lease needs at least 3 ticks and a drift below 1000 permille, not {} and {}",
                lease.ticks, lease.drift_permille
            ),
            ChangeRefusal::Nothing => write!(f, "this changes nothing"),
        }
    }
}

impl Error for ChangeRefusal {}

/// Why somebody does not count as a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exclusion {
    /// The configuration committed at this index does not have it.
    Removed {
        /// Where the configuration stands.
        at: Index,
    },
    /// The configuration at this index has another life of its disk: it was wiped, or belongs to somebody else.
    Stranger {
        /// Where the configuration stands.
        at: Index,
        /// The life that is a member.
        member: Incarnation,
    },
}

impl Exclusion {
    /// Where the configuration that excludes stands.
    #[must_use]
    pub fn at(&self) -> Index {
        match self {
            Exclusion::Removed { at } | Exclusion::Stranger { at, .. } => *at,
        }
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exclusion::Removed { at } => write!(f, "removed by the configuration at {at}"),
            Exclusion::Stranger { at, member } => {
                write!(f, "not the member: the configuration at {at} knows it with the disk {member}")
            }
        }
    }
}

impl Configuration {
    /// A plain configuration of these voters.
    #[must_use]
    pub fn of(voters: impl IntoIterator<Item = NodeId>) -> Configuration {
        let mut voters: Vec<NodeId> = voters.into_iter().collect();
        voters.sort_unstable();
        voters.dedup();
        Configuration { voters, ..Configuration::default() }
    }

    /// Whether two halves are in force at once.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether `node` votes in either half (bugs M06, M07).
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }

    /// Whether `node` receives the log without a vote.
    #[must_use]
    pub fn is_learner(&self, node: NodeId) -> bool {
        self.learners.contains(&node) && !self.outgoing.contains(&node)
    }

    /// Whether `node` is a voter or a learner.
    #[must_use]
    pub fn is_member(&self, node: NodeId) -> bool {
        self.is_voter(node) || self.learners.contains(&node)
    }

    /// Every member once, voters of both halves and learners, in order of identity.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        let mut all: Vec<NodeId> = self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What is to be known of a member.
    #[must_use]
    pub fn attributes(&self, node: NodeId) -> Attributes {
        self.attributes
            .binary_search_by_key(&node, |(id, _)| *id)
            .map_or_else(|_| Attributes::default(), |place| self.attributes[place].1)
    }

    /// Sets what is to be known of a member.
    pub fn set_attributes(&mut self, node: NodeId, attributes: Attributes) {
        let place = self.attributes.binary_search_by_key(&node, |(id, _)| *id);
        match (place, attributes == Attributes::default()) {
            (Ok(place), true) => drop(self.attributes.remove(place)),
            (Ok(place), false) => self.attributes[place].1 = attributes,
            (Err(_), true) => {}
            (Err(place), false) => self.attributes.insert(place, (node, attributes)),
        }
    }

    /// Whether the parts fit together. Of one that came from outside and does not pass, nothing can be believed.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let sorted = |list: &[NodeId]| list.windows(2).all(|pair| pair[0] < pair[1]);
        let attributed = self.attributes.iter().all(|(id, _)| self.is_member(*id));
        !self.voters.is_empty()
            && [&self.voters, &self.outgoing, &self.learners].into_iter().all(|list| sorted(list))
            && self.learners.iter().all(|id| !self.voters.contains(id))
            && self.attributes.windows(2).all(|pair| pair[0].0 < pair[1].0)
            && attributed
            && self.lease.is_none_or(Lease::is_sound)
    }

    /// The configuration that follows from this one, which must not be joint, by `changes`. Joint if more than one vote
    /// is given or taken, since quorums of the two may then have nobody in common (§4.1, Figure 4.3).
    ///
    /// # Errors
    /// Where a change does not fit, or all of them together change nothing.
    pub fn changed(&self, changes: &[MemberChange]) -> Result<Configuration, ChangeRefusal> {
        assert!(!self.is_joint(), "a joint configuration is left before the next change begins");
        let mut next = self.clone();
        for change in changes {
            // Somebody who leaves and comes back within one step would come back as another life with the votes and
            // acknowledgements of the former (bug M30).
            if let MemberChange::AddVoter(id) | MemberChange::AddLearner { id, .. } = change
                && self.is_member(*id)
            {
                return Err(ChangeRefusal::Member(*id));
            }
            next.apply(change)?;
        }
        if next.voters.is_empty() {
            return Err(ChangeRefusal::NoVoter);
        }
        if next == *self {
            return Err(ChangeRefusal::Nothing);
        }
        if votes_changed(&self.voters, &next.voters) > 1 {
            next.outgoing.clone_from(&self.voters);
        }
        let members = next.members();
        next.attributes.retain(|(id, _)| members.contains(id));
        assert!(next.is_well_formed(), "a change makes a configuration whose parts do not fit");
        Ok(next)
    }

    /// What a joint configuration becomes when it is left: the new half alone.
    #[must_use]
    pub fn left(&self) -> Configuration {
        let mut next = Configuration { outgoing: Vec::new(), ..self.clone() };
        let members = next.members();
        next.attributes.retain(|(id, _)| members.contains(id));
        next
    }

    fn apply(&mut self, change: &MemberChange) -> Result<(), ChangeRefusal> {
        match *change {
            MemberChange::AddVoter(id) => self.add(id, true, false),
            MemberChange::AddLearner { id, promote } => self.add(id, false, promote),
            MemberChange::Promote(id) => {
                take(&mut self.learners, id).ok_or(ChangeRefusal::NotLearner(id))?;
                insert(&mut self.voters, id);
                self.set_attributes(id, Attributes { promote: false, ..self.attributes(id) });
                Ok(())
            }
            MemberChange::Demote(id) => {
                take(&mut self.voters, id).ok_or(ChangeRefusal::NotVoter(id))?;
                insert(&mut self.learners, id);
                Ok(())
            }
            MemberChange::Remove(id) => {
                let was = take(&mut self.voters, id).or_else(|| take(&mut self.learners, id));
                was.ok_or(ChangeRefusal::NotMember(id))
            }
            MemberChange::SetPriority(id, priority) => {
                self.is_member(id).then_some(()).ok_or(ChangeRefusal::NotMember(id))?;
                if planted(38) && take(&mut self.learners, id).is_some() {
                    insert(&mut self.voters, id);
                }
                self.set_attributes(id, Attributes { priority, ..self.attributes(id) });
                Ok(())
            }
            MemberChange::SetLease(lease) => {
                if let Some(lease) = lease.filter(|lease| !lease.is_sound()) {
                    return Err(ChangeRefusal::BadLease(lease));
                }
                self.lease = lease;
                Ok(())
            }
        }
    }

    fn add(&mut self, id: NodeId, voter: bool, promote: bool) -> Result<(), ChangeRefusal> {
        if self.is_member(id) {
            return Err(ChangeRefusal::Member(id));
        }
        insert(if voter { &mut self.voters } else { &mut self.learners }, id);
        self.set_attributes(id, Attributes { promote, ..Attributes::default() });
        Ok(())
    }
}

impl Lease {
    fn is_sound(self) -> bool {
        self.ticks >= 3 && self.drift_permille < 1000
    }
}

/// How many votes one configuration gives or takes that the other does not.
fn votes_changed(before: &[NodeId], after: &[NodeId]) -> usize {
    let only_in = |one: &[NodeId], other: &[NodeId]| one.iter().filter(|id| !other.contains(id)).count();
    only_in(before, after) + only_in(after, before)
}

fn insert(list: &mut Vec<NodeId>, id: NodeId) {
    if let Err(place) = list.binary_search(&id) {
        list.insert(place, id);
    }
}

fn take(list: &mut Vec<NodeId>, id: NodeId) -> Option<()> {
    list.binary_search(&id).ok().map(|place| _ = list.remove(place))
}

/// A configuration and the index of the entry that brought it; zero for the one at the log's beginning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Placed {
    pub(crate) index: Index,
    pub(crate) configuration: Arc<Configuration>,
}

#[cfg(test)]
mod tests;
