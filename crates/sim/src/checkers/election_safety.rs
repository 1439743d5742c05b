//! Election Safety (dissertation Figure 3.2): at most one leader in a term.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_raft::{Body, GroupId, NodeId, RoleKind, Term};
use kontiki_transport::Frame;

use super::ensure;
use crate::observation::{Checker, Observation, Violation};

const PROPERTY: &str = "Election Safety";

/// Remembers who leads each term: who says so of itself, and who speaks as a leader does.
#[derive(Debug, Default)]
pub(super) struct ElectionSafety {
    leaders: BTreeMap<(GroupId, Term), Leader>,
}

#[derive(Debug)]
struct Leader {
    id: NodeId,
    /// In which life it led, once that is known: a process that starts anew leads no more.
    life: Option<u64>,
}

impl ElectionSafety {
    fn leads(
        &mut self,
        at: Duration,
        (group, term): (GroupId, Term),
        id: NodeId,
        life: Option<u64>,
        how: &str,
    ) -> Result<(), Violation> {
        let known = self.leaders.entry((group, term)).or_insert(Leader { id, life });
        ensure(known.id == id, PROPERTY, at, || {
            format!("{group}: {id} {how} in term {term}, which {} led already", known.id)
        })?;
        let Some(life) = life else { return Ok(()) }; // a frame does not tell it
        let first = *known.life.get_or_insert(life);
        ensure(first == life, PROPERTY, at, || {
            format!("{group}: {id} {how} in term {term} in life {life}, and led it in life {first} before")
        })
    }
}

impl Checker for ElectionSafety {
    fn property(&self) -> &'static str {
        PROPERTY
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        match what {
            Observation::Turned { member, life, group, now: Some(now), .. } if now.role == RoleKind::Leader => {
                self.leads(at, (*group, now.term), *member, Some(*life), "leads")
            }
            Observation::Sent { from, frame: Frame::Raft { group, message, .. }, .. } => match message.body {
                Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_) => {
                    self.leads(at, (*group, message.term), *from, None, "speaks as the leader")
                }
                _ => Ok(()),
            },
            Observation::Forced { .. } => {
                *self = ElectionSafety::default();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kontiki_raft::{Body, Heartbeat, Index};

    use super::super::script::Script;

    #[test]
    fn two_leaders_of_a_term_are_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.turn(3, |core| core.lead(1));
        script.expect("Election Safety", "n3 leads in term 1, which n1 led already");
    }

    #[test]
    fn a_leader_that_comes_back_into_its_term_is_found() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.crash(1);
        script.start(1);
        script.turn(1, |core| core.lead(1));
        script.expect("Election Safety", "in life 1 before");
    }

    #[test]
    fn who_only_speaks_as_a_leader_is_found() {
        let mut script = Script::begin(3);
        script.elect(1, 2, &[1, 2]);
        script.say(2, 3, 2, Body::Heartbeat(Heartbeat { round: 1, commit: Index(0), session: Index(0) }));
        script.expect("Election Safety", "n2 speaks as the leader in term 2");
    }
}
