//! What a replica knows to be committed, and what it has applied, only grows, and the parts of its state stand in order.
//!
//! That is so within a life of its core. The next one begins at a checkpoint, and what was compacted is in that.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_raft::{GroupId, Index, NodeId};

use super::ensure;
use crate::observation::{Checker, CoreView, End, Observation, Violation};

const PROPERTY: &str = "commit and applied never fall";

/// Remembers one number of each replica.
#[derive(Debug, Default)]
pub(super) struct CommitAndAppliedNeverFall {
    /// What each log has compacted; none where that may be lost.
    compacted: BTreeMap<(GroupId, NodeId), Index>,
}

/// `compacted ≤ applied ≤ commit ≤ last`, and nothing from a time to come.
fn in_order(now: &CoreView) -> bool {
    now.compacted.index <= now.applied
        && now.applied <= now.commit
        && now.commit <= now.last.index
        && now.durable <= now.last.index
        && now.last.term <= now.term
}

impl CommitAndAppliedNeverFall {
    fn begins(&self, at: Duration, group: GroupId, member: NodeId, now: &CoreView) -> Result<(), Violation> {
        let compacted = self.compacted.get(&(group, member)).copied().unwrap_or_default();
        ensure(now.applied >= compacted, PROPERTY, at, || {
            let applied = now.applied;
            format!(
                "{group}: {member} begins with {applied} applied, and had compacted its log up to {compacted} before"
            )
        })
    }
}

impl Checker for CommitAndAppliedNeverFall {
    fn property(&self) -> &'static str {
        PROPERTY
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        match *what {
            Observation::Turned { member, group, before, now: Some(now), .. } => {
                ensure(in_order(now), PROPERTY, at, || {
                    format!("{group}: the parts of {member} are out of order: {now:?}")
                })?;
                match before {
                    None => self.begins(at, group, member, now)?,
                    Some(before) => {
                        let grows = before.commit <= now.commit
                            && before.applied <= now.applied
                            && before.term <= now.term
                            && before.compacted.index <= now.compacted.index;
                        ensure(grows, PROPERTY, at, || {
                            format!("{group}: something fell at {member}: before {before:?}, now {now:?}")
                        })?;
                    }
                }
                if before.is_none_or(|before| before.compacted != now.compacted) {
                    self.compacted.insert((group, member), now.compacted.index);
                }
                Ok(())
            }
            Observation::Turned { member, group, now: None, .. } => {
                self.compacted.remove(&(group, member));
                Ok(())
            }
            Observation::Ended { member, end: End::Wiped, .. } => {
                self.compacted.retain(|(_, id), _| *id != member);
                Ok(())
            }
            Observation::Forced { member } => {
                self.compacted.retain(|(_, id), _| *id == member);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kontiki_raft::Index;

    use super::super::script::Script;

    const PROPERTY: &str = super::PROPERTY;

    fn compacted() -> Script {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.replicate(1, &["a", "b"], &[2]);
        script.turn(1, |core| core.commit(3).apply(3));
        script.turn(1, |core| core.compact(2));
        script
    }

    #[test]
    fn a_commit_index_that_falls_is_found() {
        let mut script = compacted();
        script.turn(2, |core| core.commit(3));
        script.turn(2, |core| core.alter(|view| view.commit = Index(2)));
        script.expect(PROPERTY, "something fell at n2");
    }

    #[test]
    fn a_state_that_lacks_what_was_compacted_is_found() {
        let mut script = compacted();
        script.crash(1);
        script.start(1);
        script.turn(1, |core| core.alter(|view| (view.applied, view.compacted.index) = (Index(1), Index(1))));
        script.expect(PROPERTY, "n1 begins with 1 applied, and had compacted its log up to 2 before");
    }

    #[test]
    fn parts_out_of_order_are_found() {
        let mut script = compacted();
        script.turn(1, |core| core.alter(|view| view.applied = Index(9)));
        script.expect(PROPERTY, "the parts of n1 are out of order");
    }
}
