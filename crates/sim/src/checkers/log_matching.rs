//! Log Matching (dissertation Figure 3.2): if two logs hold an entry with the same index and term, they are the same up to it.
//!
//! That follows from two things for each entry, which are compared over all logs that were ever seen: its bytes, and the term
//! of the entry before it.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_raft::{GroupId, Index, LogPosition, NodeId, Term};

use super::ensure;
use super::model::{Kept, Replicas, digest};
use crate::observation::{Checker, CoreView, LogEntry, Observation, Violation};

const PROPERTY: &str = "Log Matching";

/// All entries of all logs, but for those that are compacted everywhere.
#[derive(Debug, Default)]
pub(super) struct LogMatching {
    replicas: Replicas<Term>,
    entries: BTreeMap<GroupId, Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    known: BTreeMap<(Index, Term), Known>,
    forgotten: Index,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    digest: u64,
    previous: Option<Term>,
    /// In whose log it was first seen.
    first: NodeId,
}

/// Entries are forgotten so many at a time.
const FORGET_AT_ONCE: u64 = 256;

impl LogMatching {
    fn compare(&mut self, at: Duration, (group, member): (GroupId, NodeId), entry: &LogEntry) -> Result<(), Violation> {
        let LogEntry { index, term, payload } = entry;
        let replica = self.replicas.of(group, member);
        if replica.log.get(*index).is_none_or(|kept| kept.term() != *term) {
            return Ok(()); // replaced again, or compacted, in the same turn
        }
        let previous = replica.log.term_at(index.previous());
        let seen = Known { digest: digest(payload), previous, first: member };
        let entries = self.entries.entry(group).or_default();
        let known = entries.known.entry((*index, *term)).or_insert(seen);
        let place = LogPosition { term: *term, index: *index };
        ensure(known.digest == seen.digest, PROPERTY, at, || {
            format!("{group}: entry {place} has other bytes at {member} than at {}", known.first)
        })?;
        let (Some(here), Some(there)) = (seen.previous, known.previous) else {
            known.previous = known.previous.or(seen.previous);
            return Ok(());
        };
        ensure(here == there, PROPERTY, at, || {
            let first = known.first;
            format!("{group}: entry {place} follows one of term {here} at {member}, and one of term {there} at {first}")
        })
    }

    /// What the core says of its log is what is known of it.
    fn fits(&mut self, at: Duration, group: GroupId, member: NodeId, now: &CoreView) -> Result<(), Violation> {
        let log = &self.replicas.of(group, member).log;
        let end = (log.last(), log.term_at(log.last()));
        ensure(end == (now.last.index, Some(now.last.term)), PROPERTY, at, || {
            let (index, term) = end;
            format!(
                "{group}: {member} says that its log ends at {}; what it appended ends at {index} of {term:?}",
                now.last
            )
        })
    }

    fn forget(&mut self, group: GroupId) {
        let Some(entries) = self.entries.get_mut(&group) else { return };
        let up_to = self.replicas.compacted_everywhere(group);
        if up_to.0 >= entries.forgotten.0 + FORGET_AT_ONCE {
            entries.known = entries.known.split_off(&(up_to, Term(0)));
            entries.forgotten = up_to;
        }
    }
}

impl Checker for LogMatching {
    fn property(&self) -> &'static str {
        PROPERTY
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        self.replicas.note_end(what);
        match *what {
            Observation::Turned { member, group, before, now, appended, .. } => {
                let replica = self.replicas.of(group, member);
                let compacted = replica.log.compacted();
                replica.turn(before.is_none(), now, appended);
                let Some(now) = now else { return Ok(()) };
                for entry in appended {
                    self.compare(at, (group, member), entry)?;
                }
                if now.compacted != compacted {
                    self.forget(group);
                }
                self.fits(at, group, member, now)
            }
            Observation::Forced { .. } => {
                *self = LogMatching::default();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;

    #[test]
    fn other_bytes_at_the_same_place_are_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.turn(1, |core| core.append(1, "a"));
        script.turn(2, |core| core.append(1, "").append(1, "b"));
        script.expect("Log Matching", "entry 2@1 has other bytes at n2 than at n1");
    }

    #[test]
    fn another_predecessor_is_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.turn(1, |core| core.append(1, "a"));
        script.elect(2, 2, &[2, 3]);
        script.turn(2, |core| core.append(2, "b"));
        script.turn(3, |core| core.term(2).append(1, "").append(2, "b"));
        script.expect("Log Matching", "entry 2@2 follows one of term 1 at n3, and one of term 2 at n2");
    }

    #[test]
    fn a_log_that_is_not_what_the_core_says_is_found() {
        let mut script = Script::begin(3);
        script.turn(1, |core| core.term(1).append(1, "a").forget_appended());
        script.expect("Log Matching", "n1 says that its log ends at 1@1; what it appended ends at 0");
    }
}
