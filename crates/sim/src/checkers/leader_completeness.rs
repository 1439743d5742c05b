//! Leader Completeness (dissertation Figure 3.2): what is committed in a term is in the logs of the leaders of all later terms.

use std::time::Duration;

use kontiki_raft::{LogPosition, RoleKind, Term};

use super::committed::AllCommitted;
use super::ensure;
use super::model::Replicas;
use crate::observation::{Checker, Observation, Violation};

const PROPERTY: &str = "Leader Completeness";

/// Knows all logs, and what is committed since which term.
#[derive(Debug, Default)]
pub(super) struct LeaderCompleteness {
    replicas: Replicas<Term>,
    committed: AllCommitted<Term>,
}

impl Checker for LeaderCompleteness {
    fn property(&self) -> &'static str {
        PROPERTY
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        self.replicas.note_end(what);
        if let Observation::Forced { .. } = what {
            *self = LeaderCompleteness::default();
        }
        let Observation::Turned { member, group, before, now, appended, .. } = *what else { return Ok(()) };
        let replica = self.replicas.of(group, member);
        let compacted = replica.log.compacted();
        replica.turn(before.is_none(), now, appended);
        let Some(now) = now else { return Ok(()) };
        let log = &replica.log;
        let committed = self.committed.of(group, log, now);
        let led = before.is_some_and(|before| before.role == RoleKind::Leader && before.term == now.term);
        if now.role == RoleKind::Leader && !led {
            for index in (committed.first().0..=committed.last().0).map(kontiki_raft::Index) {
                // A leader of an earlier term that hears of its election late need not have what a later one committed.
                let Some((term, _)) = committed.get(index).filter(|(_, since)| *since < now.term) else { break };
                ensure(log.holds(index, term), PROPERTY, at, || {
                    let (entry, held) = (LogPosition { term, index }, log.term_at(index));
                    let (leads, end) = (now.term, now.last);
                    format!(
                        "{group}: {member} leads term {leads} without the committed entry {entry}: it has {held:?} there, and its log ends at {end}"
                    )
                })?;
            }
        }
        committed.advance(log, now);
        if now.compacted != compacted {
            committed.forget(self.replicas.compacted_everywhere(group));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;

    #[test]
    fn a_leader_that_lacks_what_is_committed_is_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.replicate(1, &["a"], &[2]);
        script.commit(1, 2);
        script.elect(3, 2, &[3, 2]);
        script.expect("Leader Completeness", "n3 leads term 2 without the committed entry 1@1");
    }

    #[test]
    fn a_leader_of_the_past_may_lack_what_came_after_it() {
        let mut script = Script::begin(3);
        script.turn(3, |core| core.stand(1));
        script.grant(2, 3, 1);
        script.elect(1, 2, &[1, 2]);
        script.replicate(1, &["a"], &[2]);
        script.commit(1, 2);
        script.turn(3, |core| core.lead(1));
        script.expect_none();
    }
}
