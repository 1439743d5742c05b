//! Leader Append-Only (dissertation Figure 3.2): a leader never overwrites or deletes entries of its log.
//!
//! Nor does who led a term, as long as it stays in it: only another leader could make it, and there is none.

use std::time::Duration;

use kontiki_raft::RoleKind;

use super::ensure;
use crate::observation::{Checker, Observation, Violation};

const PROPERTY: &str = "Leader Append-Only";

/// Compares two moments of one replica, and remembers nothing.
#[derive(Debug, Default)]
pub(super) struct LeaderAppendOnly;

impl Checker for LeaderAppendOnly {
    fn property(&self) -> &'static str {
        PROPERTY
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        let Observation::Turned { member, group, before: Some(before), now: Some(now), appended, .. } = what else {
            return Ok(());
        };
        if before.role != RoleKind::Leader || before.term != now.term {
            return Ok(());
        }
        let (term, end) = (now.term, before.last);
        ensure(now.last.index >= end.index, PROPERTY, at, || {
            format!(
                "{group}: {member}, leader of term {term}, had a log that ended at {end}; now it ends at {}",
                now.last
            )
        })?;
        if let Some(first) = appended.first() {
            ensure(first.index > end.index, PROPERTY, at, || {
                let (index, of) = (first.index, first.term);
                format!(
                    "{group}: {member}, leader of term {term}, replaced entry {index} by one of term {of}; its log ended at {end}"
                )
            })?;
        }
        let foreign = appended.iter().find(|entry| now.role == RoleKind::Leader && entry.term != term);
        ensure(foreign.is_none(), PROPERTY, at, || {
            format!("{group}: {member}, leader of term {term}, appended an entry of another term: {foreign:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;

    #[test]
    fn a_leader_that_shortens_its_log_is_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.turn(1, |core| core.append(1, "a").append(1, "b"));
        script.turn(1, |core| core.cut(3));
        script.expect("Leader Append-Only", "had a log that ended at 3@1; now it ends at 2@1");
    }

    #[test]
    fn a_leader_that_replaces_an_entry_is_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.turn(1, |core| core.append(1, "a"));
        script.turn(1, |core| core.cut(2).append(1, "b"));
        script.expect("Leader Append-Only", "n1, leader of term 1, replaced entry 2");
    }
}
