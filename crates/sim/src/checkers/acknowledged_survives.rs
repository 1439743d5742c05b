//! What is committed stays: the same entry, with the same bytes, on whoever has it, for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kontiki_raft::{Configuration, GroupId, Index, LogPosition, NodeId, RoleKind, Term};

use super::committed::{AllCommitted, Committed};
use super::ensure;
use super::model::{Fingerprint, Log, Replicas};
use crate::observation::{Checker, CoreView, LogEntry, Observation, Violation};

const PROPERTY: &str = "what is committed survives";

/// Knows all logs, and what is committed.
#[derive(Debug, Default)]
pub(super) struct AcknowledgedSurvives {
    replicas: Replicas<Fingerprint>,
    committed: AllCommitted<Fingerprint>,
    /// Of each group, the members as the newest leader has them.
    members: BTreeMap<GroupId, (Term, Arc<Configuration>)>,
}

/// The first committed entry from `from` on that stood durably in a log and does not stand in what became of it.
fn first_lost(
    committed: &Committed<Fingerprint>,
    (former, durable): (&Log<Fingerprint>, Index),
    log: &Log<Fingerprint>,
    from: Index,
) -> Option<(Index, Fingerprint)> {
    let first = from.max(committed.first()).max(log.compacted().index.next());
    let last = former.last().min(committed.last()).min(durable);
    let mut known =
        (first.0..=last.0).map(Index).filter_map(|index| committed.get(index).map(|known| (index, known.0)));
    known.find(|(index, entry)| former.get(*index) == Some(*entry) && log.get(*index) != Some(*entry))
}

impl AcknowledgedSurvives {
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
        // Where entries are taken away, or a core is born, what was there is compared with what is.
        let cut = match before {
            None => Some(Index(0)),
            Some(_) => replica.log.cut_by(now, appended),
        };
        let durable = if before.is_none() { replica.durable } else { replica.log.last() };
        let known = self.committed.get(group).map_or(Index(0), Committed::last);
        let former = cut.filter(|cut| *cut <= known).map(|cut| (cut, replica.log.clone()));
        replica.turn(before.is_none(), Some(now), appended);
        let log = &replica.log;
        let committed = self.committed.of(group, log, now);
        if let Some((cut, former)) = former
            && let Some((index, lost)) = first_lost(committed, (&former, durable), log, cut)
        {
            let what = format!(
                "{group}: {member} had {lost} at index {index}, which is committed; now it has {:?} there, and its log ends at {}",
                log.get(index),
                now.last
            );
            return Err(Violation { property: PROPERTY, at, what });
        }
        committed.advance(log, now);
        agrees(at, (group, member), committed, log, before.map_or(now.compacted.index, |before| before.commit), now)?;
        if now.compacted != compacted {
            committed.forget(self.replicas.compacted_everywhere(group));
        }
        if now.role == RoleKind::Leader {
            let known = self.members.entry(group).or_insert_with(|| (now.term, Arc::clone(&now.configuration)));
            if now.term >= known.0 && !Arc::ptr_eq(&known.1, &now.configuration) {
                *known = (now.term, Arc::clone(&now.configuration));
            }
        }
        Ok(())
    }
}

/// What a member calls committed since `from` is what is committed, and so is the end of what it compacted.
fn agrees(
    at: Duration,
    (group, member): (GroupId, NodeId),
    committed: &Committed<Fingerprint>,
    log: &Log<Fingerprint>,
    from: Index,
    now: &CoreView,
) -> Result<(), Violation> {
    let first = from.max(now.compacted.index).next().max(committed.first());
    for index in (first.0..=now.commit.0).map(Index) {
        let (Some(held), Some((known, _))) = (log.get(index), committed.get(index)) else { continue };
        ensure(held == known, PROPERTY, at, || {
            format!("{group}: {member} calls {held} at index {index} committed, where {known} is")
        })?;
    }
    let Some((known, _)) = committed.get(now.compacted.index) else { return Ok(()) };
    ensure(known.term == now.compacted.term, PROPERTY, at, || {
        let entry = LogPosition { term: known.term, index: now.compacted.index };
        format!("{group}: the log of {member} begins behind {}, where {entry} is committed", now.compacted)
    })
}

impl Checker for AcknowledgedSurvives {
    fn property(&self) -> &'static str {
        PROPERTY
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        self.replicas.note_end(what);
        match *what {
            Observation::Turned { member, group, before, now: Some(now), appended, .. } => {
                self.turned(at, (group, member), before, now, appended)
            }
            Observation::Turned { member, group, now: None, .. } => {
                self.replicas.of(group, member).whole = false;
                Ok(())
            }
            Observation::Forced { .. } => {
                *self = AcknowledgedSurvives::default();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, at: Duration, live: &[NodeId]) -> Result<(), Violation> {
        for (group, committed) in self.committed.iter() {
            let is_member = |id: &NodeId| self.members.get(&group).is_some_and(|(_, members)| members.is_member(*id));
            for member in live.iter().copied().filter(is_member) {
                let replica = self.replicas.get(group, member).filter(|replica| replica.whole);
                let Some(replica) = replica else {
                    let what = format!("{group}: {member} lives, and has no replica that is whole");
                    return Err(Violation { property: PROPERTY, at, what });
                };
                let log = &replica.log;
                let first = committed.first().max(log.compacted().index.next());
                for index in (first.0..=committed.last().0).map(Index) {
                    let (Some((known, _)), held) = (committed.get(index), log.get(index)) else { continue };
                    ensure(held == Some(known), PROPERTY, at, || {
                        format!(
                            "{group}: at the end {member} has {held:?} at index {index}, where {known} is committed"
                        )
                    })?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;

    const PROPERTY: &str = super::PROPERTY;

    fn committed() -> Script {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.replicate(1, &["a", "b"], &[2]);
        script.commit(1, 3);
        script
    }

    #[test]
    fn a_committed_entry_that_is_replaced_is_found() {
        let mut script = committed();
        script.turn(2, |core| core.term(2).cut(2).append(2, "c"));
        script.expect(PROPERTY, "n2 had an entry of term 1");
    }

    #[test]
    fn a_durable_entry_that_was_counted_and_is_lost_in_a_crash_is_found() {
        let mut script = committed();
        script.crash(1);
        script.start(1);
        script.turn(1, |core| core.cut(3));
        script.expect(PROPERTY, "at index 3, which is committed; now it has None there");
    }

    #[test]
    fn two_entries_committed_at_one_index_are_found() {
        let mut script = committed();
        script.elect(3, 2, &[3]);
        script.turn(3, |core| core.commit(1));
        script.expect(PROPERTY, "n3 calls an entry of term 2");
    }

    #[test]
    fn a_snapshot_of_another_history_is_found() {
        let mut script = committed();
        script.turn(3, |core| core.snapshot(2, 3));
        script.expect(PROPERTY, "the log of n3 begins behind 3@2, where 3@1 is committed");
    }

    #[test]
    fn who_lacks_something_at_the_end_is_found() {
        let mut script = committed();
        script.finish(&[1, 2]);
        script.expect_none();
        script.finish(&[1, 2, 3]);
        script.expect(PROPERTY, "at the end n3 has None at index 1");
    }
}
