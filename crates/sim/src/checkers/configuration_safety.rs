//! Memberships change so that no two of them could decide apart (dissertation §4): of every two that are committed one after the
//! other, any two quorums have somebody in common; in force is the newest in the log or in the snapshot before it; and a leader
//! begins a change only when the one before it, and an entry of its own term, are committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kontiki_engine::{Payload, decode_payload};
use kontiki_raft::{Configuration, GroupId, Index, NodeId, RoleKind, Term};

use super::ensure;
use super::majorities::apart;
use crate::observation::{Checker, CoreView, LogEntry, Observation, Violation};

const PROPERTY: &str = "configuration safety";

/// The configurations in all logs, and those that are committed.
#[derive(Debug, Default)]
pub(super) struct ConfigurationSafety {
    logs: BTreeMap<(GroupId, NodeId), InLog>,
    /// Of each leader, its term and the first entry that it wrote in it.
    reigns: BTreeMap<(GroupId, NodeId), (Term, Index)>,
    committed: BTreeMap<GroupId, Committed>,
}

/// The configurations of one log.
#[derive(Debug, Default)]
struct InLog {
    /// In force at the log's beginning, as far as that was seen.
    base: Option<Arc<Configuration>>,
    /// Those in the log.
    placed: Vec<(Index, Arc<Configuration>)>,
}

/// The committed configurations of a group.
#[derive(Debug)]
struct Committed {
    /// Entries up to here have been looked at.
    up_to: Index,
    placed: Vec<(Index, Arc<Configuration>)>,
}

impl InLog {
    /// Says whether anything changed.
    fn take(&mut self, before: Option<&CoreView>, now: &CoreView, appended: &[LogEntry]) -> bool {
        if before.is_none() {
            *self = InLog::default();
        }
        let cut = appended.first().map_or(now.last.index.next(), |entry| entry.index.min(now.last.index.next()));
        let length = self.placed.len();
        self.placed.truncate(self.placed.partition_point(|(index, _)| *index < cut));
        let mut changed = before.is_none() || self.placed.len() < length;
        for entry in appended {
            if let Ok(Payload::Configuration(configuration)) = decode_payload(&entry.payload) {
                self.placed.truncate(self.placed.partition_point(|(index, _)| *index < entry.index));
                self.placed.push((entry.index, Arc::new(configuration)));
                changed = true;
            }
        }
        changed
    }

    /// The log begins later.
    fn compact(&mut self, before: Option<&CoreView>, now: &CoreView) {
        let settled = self.placed.partition_point(|(index, _)| *index <= now.compacted.index);
        // A snapshot takes the place of entries that may have been others than those before its end.
        if before.is_some_and(|before| before.commit < now.compacted.index) {
            self.base = None;
            self.placed.drain(..settled);
        } else if let Some((_, newest)) = self.placed.drain(..settled).next_back() {
            self.base = Some(newest);
        }
    }
}

impl ConfigurationSafety {
    fn turned(
        &mut self,
        at: Duration,
        (group, member): (GroupId, NodeId),
        before: Option<&CoreView>,
        now: &CoreView,
        appended: &[LogEntry],
    ) -> Result<(), Violation> {
        let log = self.logs.entry((group, member)).or_default();
        let changed = log.take(before, now, appended);
        if before.is_some() && now.role == RoleKind::Leader {
            one_at_a_time(at, (group, member), log, now, appended)?;
            let written = appended.iter().find(|entry| entry.term == now.term).map(|entry| entry.index);
            let reign = self.reigns.entry((group, member)).or_default();
            if reign.0 != now.term {
                *reign = (now.term, written.unwrap_or_default());
            }
            not_too_early(at, (group, member), reign.1, log, now, appended)?;
        }
        let committed = self.committed.entry(group).or_insert(Committed { up_to: now.commit, placed: Vec::new() });
        if now.commit > committed.up_to {
            let from = committed.up_to;
            committed.up_to = now.commit;
            for (index, next) in log.placed.iter().filter(|(index, _)| *index > from && *index <= now.commit) {
                let known = committed.placed.last().map(|(_, known)| known).or(log.base.as_ref());
                quorums_meet(at, group, known, (*index, next))?;
                committed.placed.push((*index, Arc::clone(next)));
            }
        }
        let compacted = before.is_none_or(|before| before.compacted != now.compacted);
        if compacted {
            log.compact(before, now);
        }
        if changed || compacted || before.is_some_and(|before| !Arc::ptr_eq(&before.configuration, &now.configuration))
        {
            in_force(at, (group, member), committed, log, now)?;
        }
        Ok(())
    }
}

/// A leader's new configuration follows on committed ones only.
fn one_at_a_time(
    at: Duration,
    (group, member): (GroupId, NodeId),
    log: &InLog,
    now: &CoreView,
    appended: &[LogEntry],
) -> Result<(), Violation> {
    let Some(first) = appended.first().map(|entry| entry.index) else { return Ok(()) };
    let unfinished = log.placed.windows(2).find(|pair| pair[1].0 >= first && pair[0].0 > now.commit);
    ensure(unfinished.is_none(), PROPERTY, at, || {
        let places: Vec<Index> = unfinished.into_iter().flatten().map(|(index, _)| *index).collect();
        let (term, commit) = (now.term, now.commit);
        format!(
            "{group}: {member}, leader of term {term}, changes the membership while a change is not committed: at {places:?}, commit is {commit}"
        )
    })
}

/// A leader's new configuration comes behind a committed entry of its term.
fn not_too_early(
    at: Duration,
    (group, member): (GroupId, NodeId),
    own: Index,
    log: &InLog,
    now: &CoreView,
    appended: &[LogEntry],
) -> Result<(), Violation> {
    let is_new = |index: Index| appended.iter().any(|entry| entry.index == index && entry.term == now.term);
    let early = log.placed.iter().map(|(index, _)| *index).find(|index| is_new(*index) && now.commit < own);
    ensure(early.is_none(), PROPERTY, at, || {
        let (term, commit) = (now.term, now.commit);
        format!(
            "{group}: {member} changes the membership at {early:?} before an entry of its term {term} is committed: its first is {own}, commit is {commit}"
        )
    })
}

/// Any quorum of one configuration has somebody in common with any quorum of the next.
fn quorums_meet(
    at: Duration,
    group: GroupId,
    known: Option<&Arc<Configuration>>,
    (index, next): (Index, &Arc<Configuration>),
) -> Result<(), Violation> {
    let Some(known) = known.filter(|known| !known.voters.is_empty()) else { return Ok(()) };
    if (&known.voters, &known.outgoing) == (&next.voters, &next.outgoing) {
        return Ok(());
    }
    // The operator asks for one thing at a time.
    let preferred = next
        .members()
        .into_iter()
        .find(|id| known.is_member(*id) && known.attributes(*id).priority != next.attributes(*id).priority);
    ensure(preferred.is_none(), PROPERTY, at, || {
        format!(
            "{group}: the configuration at {index}, {next:?}, changes the priority of {preferred:?}, and votes as well: before it was {known:?}"
        )
    })?;
    let apart = apart(known, next);
    ensure(apart.is_none(), PROPERTY, at, || {
        format!(
            "{group}: the configuration at {index}, {next:?}, follows {known:?}; these quorums have nobody in common: {apart:?}"
        )
    })
}

/// What is in force at a member is the newest in its log, or what the snapshot before it says.
fn in_force(
    at: Duration,
    (group, member): (GroupId, NodeId),
    committed: &Committed,
    log: &mut InLog,
    now: &CoreView,
) -> Result<(), Violation> {
    let begins = now.compacted.index;
    let newest = log.placed.last().map(|(_, newest)| newest);
    let agreed = || committed.placed.iter().rev().find(|(index, _)| *index <= begins).map(|(_, agreed)| agreed);
    // A leader takes no snapshot: what it compacted in the turn that committed it is not among those that were seen.
    let follows = now.role != RoleKind::Leader;
    let expected = newest.or(log.base.as_ref()).or_else(|| agreed().filter(|_| follows));
    ensure(expected.is_none_or(|expected| *expected == now.configuration), PROPERTY, at, || {
        let (here, place) = (&now.configuration, log.placed.last().map_or(begins, |(index, _)| *index));
        format!("{group}: in force at {member} is {here:?}; its log, up to {}, has at {place} {expected:?}", now.last)
    })?;
    if newest.is_none() && log.base.is_none() {
        log.base = Some(Arc::clone(&now.configuration));
    }
    Ok(())
}

impl Checker for ConfigurationSafety {
    fn property(&self) -> &'static str {
        PROPERTY
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        match *what {
            Observation::Turned { member, group, before, now: Some(now), appended, .. } => {
                self.turned(at, (group, member), before, now, appended)
            }
            Observation::Forced { .. } => {
                *self = ConfigurationSafety::default();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kontiki_raft::{Configuration, NodeId};

    use super::super::script::Script;

    const PROPERTY: &str = super::PROPERTY;

    fn led() -> Script {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.replicate(1, &[], &[2, 3]);
        script.commit(1, 1);
        script
    }

    #[test]
    fn a_change_before_the_own_term_is_committed_is_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.turn(1, |core| core.configure(1, &[1, 2], &[]));
        script.expect("configuration safety", "n1 changes the membership at");
    }

    #[test]
    fn quorums_that_could_decide_apart_are_found() {
        let mut script = led();
        script.turn(1, |core| core.configure(1, &[1, 4, 5, 6, 7], &[]));
        for member in 4..=6 {
            script.join(member);
        }
        script.replicate(1, &[], &[4, 5, 6]);
        script.commit(1, 2);
        script.expect(PROPERTY, "these quorums have nobody in common");
    }

    #[test]
    fn two_changes_at_once_are_found() {
        let mut script = led();
        script.turn(1, |core| core.configure(1, &[1, 2, 3, 4], &[]));
        script.turn(1, |core| core.configure(1, &[1, 2, 3, 4, 5], &[]));
        script.expect(PROPERTY, "changes the membership while a change is not committed: at [Index(2), Index(3)]");
    }

    #[test]
    fn another_configuration_than_the_newest_is_found() {
        let mut script = led();
        script.turn(1, |core| core.configure(1, &[1, 2, 3, 4], &[]));
        script.replicate(1, &[], &[2]);
        script
            .turn(2, |core| core.alter(|view| view.configuration = Arc::new(Configuration::of([1, 2, 3].map(NodeId)))));
        script.expect(PROPERTY, "in force at n2 is");
    }

    #[test]
    fn a_truncated_configuration_that_stays_in_force_is_found() {
        let mut script = led();
        script.turn(2, |core| core.configure(1, &[1, 2, 3, 4], &[]));
        script.turn(2, |core| core.cut(2).alter(|view| view.configuration = of_four()));
        script.expect(PROPERTY, "in force at n2 is");
    }

    fn of_four() -> Arc<Configuration> {
        Arc::new(Configuration::of([1, 2, 3, 4].map(NodeId)))
    }
}
