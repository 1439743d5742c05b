//! What a member acknowledged is on its disk, and what is called committed is on the disks of a quorum.
//!
//! Acknowledged entries are there in the member's next life as well. One that was not committed may have been replaced by a later
//! leader's meanwhile, and a replica that was found damaged may come back without it; a committed one never.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_engine::{Payload, decode_payload};
use kontiki_raft::{Body, GroupId, Index, LogPosition, NodeId, RoleKind, Term};
use kontiki_transport::Frame;

use super::committed::AllCommitted;
use super::ensure;
use super::majorities::is_quorum;
use super::model::{Log, Replicas};
use crate::observation::{Checker, CoreView, End, LogEntry, Observation, Violation};

const PROPERTY: &str = "durable before told";

/// Knows all logs, how far each is durable, and what each member said of that.
#[derive(Debug, Default)]
pub(super) struct DurableBeforeTold {
    replicas: Replicas<Term>,
    committed: AllCommitted<Term>,
    told: BTreeMap<(GroupId, NodeId), Told>,
    /// The last joint configuration in each log.
    joint: BTreeMap<(GroupId, NodeId), Index>,
}

#[derive(Debug, Default)]
struct Told {
    /// Acknowledged up to here, as the log is now.
    up_to: Index,
    /// Told in a turn whose end was not seen yet: the process may have ended before.
    in_this_turn: Option<Index>,
    /// Told so by an earlier life of its disk, which is lost.
    by_lost_disk: Option<Index>,
    /// The replica lost its core to damage.
    damaged: bool,
}

impl DurableBeforeTold {
    fn acknowledged(&mut self, group: GroupId, member: NodeId, matched: Index) {
        let told = self.told.entry((group, member)).or_default();
        let durable = self.replicas.get(group, member).filter(|replica| replica.whole).map(|replica| replica.durable);
        if durable.is_some_and(|durable| durable >= matched) {
            told.up_to = told.up_to.max(matched);
        } else {
            told.in_this_turn = told.in_this_turn.max(Some(matched));
        }
    }

    fn turned(
        &mut self,
        at: Duration,
        (group, member): (GroupId, NodeId),
        before: Option<&CoreView>,
        now: &CoreView,
        appended: &[LogEntry],
    ) -> Result<(), Violation> {
        let replica = self.replicas.of(group, member);
        let compacted = replica.log.compacted();
        let told = self.told.entry((group, member)).or_default();
        let damaged = std::mem::take(&mut told.damaged);
        if before.is_none() {
            let former = std::mem::take(&mut replica.log);
            replica.turn(true, Some(now), appended);
            let lost = first_lost(&former, &replica.log, told.up_to);
            if let Some(lost) = lost {
                let committed = self.committed.get(group).and_then(|known| known.get(lost.index));
                let is_committed = committed.is_some_and(|(term, _)| term == lost.term);
                let held = replica.log.term_at(lost.index);
                let replaced = held.is_some_and(|held| held > lost.term);
                ensure(!is_committed && (replaced || damaged), PROPERTY, at, || {
                    let (up_to, end) = (told.up_to, now.last);
                    let what = if is_committed { "committed" } else { "not committed" };
                    format!(
                        "{group}: {member} acknowledged everything up to {up_to}; in its next life {lost}, which is {what}, is not there: it has {held:?}, and its log ends at {end}"
                    )
                })?;
                told.up_to = lost.index.previous();
            }
        } else {
            if let Some(cut) = replica.log.cut_by(now, appended) {
                told.up_to = told.up_to.min(cut.previous());
            }
            replica.turn(false, Some(now), appended);
        }
        if let Some(matched) = told.in_this_turn.take() {
            ensure(now.durable >= matched || damaged, PROPERTY, at, || {
                format!(
                    "{group}: {member} acknowledged everything up to {matched}, and its log is durable up to {} only",
                    now.durable
                )
            })?;
            told.up_to = told.up_to.max(matched.min(now.durable));
        }
        let joint = |entry: &&LogEntry| matches!(decode_payload(&entry.payload), Ok(Payload::Configuration(next)) if next.is_joint());
        if now.configuration.is_joint()
            && let Some(entry) = appended.iter().rev().find(joint)
        {
            self.joint.insert((group, member), entry.index);
        }
        self.counted(at, (group, member), before, now, appended)?;
        if now.compacted != compacted {
            let up_to = self.replicas.compacted_everywhere(group);
            self.committed.of(group, &self.replicas.of(group, member).log, now).forget(up_to);
        }
        Ok(())
    }

    /// Where the commit index moves on, a quorum holds everything durably.
    fn counted(
        &mut self,
        at: Duration,
        (group, member): (GroupId, NodeId),
        before: Option<&CoreView>,
        now: &CoreView,
        appended: &[LogEntry],
    ) -> Result<(), Violation> {
        let Some(replica) = self.replicas.get(group, member) else { return Ok(()) };
        if !self.committed.of(group, &replica.log, now).advance(&replica.log, now) {
            return Ok(());
        }
        let index = now.commit;
        // Compacted in the same turn, by a checkpoint or a snapshot, it is the last that is.
        let term = replica.log.term_at(index).unwrap_or(now.compacted.term);
        ensure(now.role != RoleKind::Leader || term == now.term, PROPERTY, at, || {
            format!(
                "{group}: {member}, leader of term {}, committed entry {index} of term {term} by counting",
                now.term
            )
        })?;
        let leads = now.role == RoleKind::Leader;
        let holds = |voter| {
            let replica = self.replicas.get(group, voter);
            let told = self.told.get(&(group, voter));
            replica.is_some_and(|replica| replica.held_durably(index, term))
                || told.is_some_and(|told| told.in_this_turn.max(told.by_lost_disk) >= Some(index))
                // Whoever hears of it first may hear it from a leader whose process ended in the turn that it committed in.
                || (!leads && replica.is_some_and(|replica| !replica.whole))
        };
        // What is committed may bring another configuration into force in the same turn, and that be committed as well.
        let mut views = [Some(now), before].into_iter().flatten();
        let mut brought = appended.iter().filter_map(|entry| match decode_payload(&entry.payload) {
            Ok(Payload::Configuration(configuration)) => Some(configuration),
            _ => None,
        });
        // A joint configuration is in force until it is committed, by both of its halves.
        let joint = before.filter(|before| leads && before.role == now.role && before.term == now.term);
        let joint = joint.filter(|before| before.configuration.is_joint());
        let entry = self.joint.get(&(group, member)).copied().unwrap_or_default();
        let by_both = joint
            .is_none_or(|before| before.commit >= entry || index < entry || is_quorum(&before.configuration, holds));
        let counted = by_both && views.any(|view| is_quorum(&view.configuration, holds))
            || brought.any(|configuration| is_quorum(&configuration, holds));
        ensure(counted, PROPERTY, at, || {
            let (voters, outgoing) = (&now.configuration.voters, &now.configuration.outgoing);
            let holders: Vec<NodeId> = now.configuration.members().into_iter().filter(|voter| holds(*voter)).collect();
            let entry = LogPosition { term, index };
            format!(
                "{group}: {member} committed {entry} in term {}; only {holders:?} hold it durably, of the voters {voters:?} and {outgoing:?}",
                now.term
            )
        })
    }
}

/// The first of the entries up to `up_to` that stood in one log and does not stand in the other.
fn first_lost(former: &Log<Term>, log: &Log<Term>, up_to: Index) -> Option<LogPosition> {
    let first = log.compacted().index.max(former.compacted().index).next();
    let acknowledged = (first.0..=up_to.0).map(Index);
    let mut known = acknowledged.filter_map(|index| former.get(index).map(|term| LogPosition { term, index }));
    known.find(|entry| log.get(entry.index) != Some(entry.term))
}

impl Checker for DurableBeforeTold {
    fn property(&self) -> &'static str {
        PROPERTY
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        self.replicas.note_end(what);
        match *what {
            Observation::Sent { from, frame: Frame::Raft { group, message, .. }, .. } => {
                if let Body::AppendAccepted(answer) = &message.body {
                    self.acknowledged(*group, from, answer.matched);
                }
                Ok(())
            }
            Observation::Turned { member, group, before, now: Some(now), appended, .. } => {
                self.turned(at, (group, member), before, now, appended)
            }
            Observation::Turned { member, group, now: None, .. } => {
                let told = self.told.entry((group, member)).or_default();
                told.damaged = true;
                self.replicas.of(group, member).whole = false;
                Ok(())
            }
            Observation::Ended { member, end: End::Wiped | End::Struck, .. } => {
                for (_, told) in self.told.iter_mut().filter(|((_, id), _)| *id == member) {
                    let by_lost_disk = told.in_this_turn.max(told.by_lost_disk);
                    *told = Told { by_lost_disk, ..Told::default() };
                }
                Ok(())
            }
            Observation::Forced { .. } => {
                *self = DurableBeforeTold::default();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;

    const PROPERTY: &str = super::PROPERTY;

    fn with_one_entry() -> Script {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.replicate(1, &["a"], &[2]);
        script
    }

    #[test]
    fn what_is_told_before_it_is_durable_is_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.acknowledge(2, 1, 1);
        script.turn(2, |core| core.term(1).append(1, "").lag(0));
        script.expect(PROPERTY, "n2 acknowledged everything up to 1, and its log is durable up to 0 only");
    }

    #[test]
    fn an_acknowledged_entry_that_the_next_life_lacks_is_found() {
        let mut script = with_one_entry();
        script.crash(2);
        script.start(2);
        script.turn(2, |core| core.cut(2));
        script.expect(PROPERTY, "in its next life 2@1, which is not committed, is not there: it has None");
    }

    #[test]
    fn damage_excuses_the_loss_of_what_is_not_committed_only() {
        let mut script = with_one_entry();
        script.damage(2);
        script.turn(2, |core| core.cut(2));
        script.expect_none();
        let mut script = with_one_entry();
        script.commit(1, 2);
        script.damage(2);
        script.turn(2, |core| core.cut(2));
        script.expect(PROPERTY, "2@1, which is committed, is not there");
    }

    #[test]
    fn a_commitment_without_a_quorum_is_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.turn(1, |core| core.append(1, "a").commit(2));
        script.expect(PROPERTY, "n1 committed 2@1 in term 1; only [NodeId(1)] hold it durably");
    }

    #[test]
    fn a_commitment_on_entries_that_are_not_durable_is_found() {
        let mut script = with_one_entry();
        script.turn(2, |core| core.append(1, "b").lag(2));
        script.turn(1, |core| core.append(1, "b").commit(3));
        script.expect(PROPERTY, "n1 committed 3@1");
    }

    #[test]
    fn a_follower_that_counts_more_than_anybody_is_found() {
        let mut script = with_one_entry();
        script.turn(3, |core| core.term(1).append(1, "").append(1, "a").append(1, "b").commit(3));
        script.expect(PROPERTY, "n3 committed 3@1 in term 1; only [NodeId(3)] hold it durably");
    }

    #[test]
    fn half_of_a_joint_quorum_is_not_enough() {
        let mut script = with_one_entry();
        script.turn(1, |core| core.configure(1, &[1, 4, 5], &[1, 2, 3]));
        script.replicate(1, &[], &[2]);
        script.commit(1, 3);
        script.expect(PROPERTY, "n1 committed 3@1");
    }

    #[test]
    fn a_turn_that_a_crash_ended_is_not_held_against_anybody() {
        let mut script = with_one_entry();
        script.acknowledge(3, 1, 2);
        script.crash(3);
        script.crash(2);
        script.replicate(1, &[], &[]);
        script.commit(1, 2);
        script.expect_none();
        script.start(3);
        script.turn(3, |core| core.term(1));
        script.expect(PROPERTY, "n3 acknowledged everything up to 2, and its log is durable up to 0 only");
    }

    #[test]
    fn an_old_entry_committed_by_counting_is_found() {
        let mut script = with_one_entry();
        script.turn(1, |core| core.lead(2).commit(2));
        script.expect(PROPERTY, "leader of term 2, committed entry 2 of term 1 by counting");
    }
}
