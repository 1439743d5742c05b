//! State Machine Safety (dissertation Figure 3.2): what one replica applied at an index, no other applies differently there.
//!
//! And each applies in order, leaving nothing out, but for what a snapshot holds.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kontiki_raft::{GroupId, Index, NodeId};

use super::ensure;
use super::model::{Fingerprint, Kept};
use crate::observation::{Checker, CoreView, End, LogEntry, Observation, Violation};

const PROPERTY: &str = "State Machine Safety";

/// What was applied at each index, and by whom first.
#[derive(Debug, Default)]
pub(super) struct StateMachineSafety {
    groups: BTreeMap<GroupId, Group>,
}

#[derive(Debug, Default)]
struct Group {
    /// Nothing is remembered up to here.
    base: Index,
    applied: VecDeque<Option<(Fingerprint, NodeId)>>,
    /// Up to where each log is compacted: what all have behind them is forgotten.
    compacted: BTreeMap<NodeId, Index>,
}

impl Group {
    fn compare(&mut self, at: Duration, group: GroupId, member: NodeId, entry: &LogEntry) -> Result<(), Violation> {
        let Some(place) = entry.index.0.checked_sub(self.base.0 + 1) else { return Ok(()) };
        let place = usize::try_from(place).expect("as many entries as memory holds");
        if place >= self.applied.len() {
            self.applied.resize(place + 1, None);
        }
        let seen = Fingerprint::of(entry);
        let (known, first) = *self.applied[place].get_or_insert((seen, member));
        ensure(known == seen, PROPERTY, at, || {
            format!("{group}: at index {}, {member} applied {seen}, and {first} applied {known}", entry.index)
        })
    }

    fn forget(&mut self, member: NodeId, compacted: Index) {
        if self.compacted.insert(member, compacted) == Some(compacted) {
            return;
        }
        let up_to = self.compacted.values().min().copied().unwrap_or_default();
        let gone = up_to.0.saturating_sub(self.base.0).min(self.applied.len() as u64);
        self.applied.drain(..usize::try_from(gone).unwrap_or(0));
        self.base.0 += gone;
    }
}

/// Whether the entries applied are all between the two moments, in order, without a gap.
fn without_gap(before: Option<&CoreView>, now: &CoreView, applied: &[LogEntry]) -> Result<(), String> {
    let mut done = before.map(|before| before.applied);
    for entry in applied {
        if let Some(done) = done
            && entry.index != done.next()
            && !(entry.index > done && entry.index.previous() <= now.compacted.index)
        {
            return Err(format!("applied {} after {done}", entry.index));
        }
        done = Some(entry.index);
    }
    match done {
        Some(done) if done < now.applied && now.applied > now.compacted.index => {
            Err(format!("counts everything up to {} as applied, and applied only up to {done}", now.applied))
        }
        Some(done) if done > now.applied => Err(format!("applied {done}, and counts only {} as applied", now.applied)),
        _ => Ok(()),
    }
}

impl Checker for StateMachineSafety {
    fn property(&self) -> &'static str {
        PROPERTY
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        match *what {
            Observation::Turned { member, group, before, now: Some(now), applied, .. } => {
                if !applied.is_empty() || before.is_none_or(|before| before.applied != now.applied) {
                    without_gap(before, now, applied).map_err(|what| Violation {
                        property: PROPERTY,
                        at,
                        what: format!("{group}: {member} {what}; its log begins behind {}", now.compacted),
                    })?;
                }
                let known = self.groups.entry(group).or_default();
                for entry in applied {
                    known.compare(at, group, member, entry)?;
                }
                known.forget(member, now.compacted.index);
                Ok(())
            }
            Observation::Ended { member, end: End::Wiped, .. } => {
                for group in self.groups.values_mut() {
                    group.compacted.insert(member, Index(0));
                }
                Ok(())
            }
            Observation::Forced { .. } => {
                *self = StateMachineSafety::default();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;

    fn replicated() -> Script {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.replicate(1, &["a", "b"], &[2]);
        script.commit(1, 3);
        script.commit(2, 3);
        script
    }

    #[test]
    fn another_entry_at_the_same_index_is_found() {
        let mut script = replicated();
        script.turn(1, |core| core.apply(3));
        script.turn(2, |core| core.apply(1).apply_other(2, 1, "c"));
        script.expect("State Machine Safety", "at index 2, n2 applied an entry of term 1");
    }

    #[test]
    fn a_gap_is_found() {
        let mut script = replicated();
        script.turn(1, |core| core.apply(1));
        script.turn(1, |core| core.skip_to(2).apply(3));
        script.expect("State Machine Safety", "n1 applied 3 after 1");
    }

    #[test]
    fn what_is_counted_but_was_not_applied_is_found() {
        let mut script = replicated();
        script.turn(1, |core| core.skip_to(3));
        script.expect("State Machine Safety", "counts everything up to 3 as applied, and applied only up to 0");
    }
}
