//! The committed log, carried out once more by the [`Model`]: what every answer should have been, and from when on.

use std::time::Duration;

use kontiki_kv::{Command, OperationError, Reply};
use kontiki_raft::{Index, NodeId, Term};
use kontiki_store::decode_entry;

use super::history::History;
use super::matching::Matching;
use super::model::Model;
use crate::observation::Violation;

/// A command of the log, and what it should have given.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its place in the log.
    pub index: Index,
    /// Its leader's term.
    pub term: Term,
    /// When the first member applied it.
    pub at: Duration,
    /// The member that proposed it.
    pub proposer: NodeId,
    /// The command.
    pub command: Command,
    /// The answer to it.
    pub result: Result<Reply, OperationError>,
    /// The store's revision afterwards.
    pub revision: i64,
}

/// All of the log.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Commands in the order of the log. Entries of Raft's own are left out.
    pub steps: Vec<Step>,
    /// The state behind the last one.
    pub model: Model,
    /// Which call of the history is which step.
    pub matching: Matching,
    /// When revision 1, 2, and so on was first there.
    revisions: Vec<Duration>,
    /// When which revision was first compacted.
    compactions: Vec<(Duration, i64)>,
}

impl Replay {
    /// Carries out a history's log.
    ///
    /// # Errors
    /// Where the log itself is out of order, or holds what is no command.
    pub fn of(history: &History) -> Result<Replay, Violation> {
        let mut model = Model::default();
        let mut steps = Vec::with_capacity(history.applied.len());
        let (mut revisions, mut compactions) = (vec![Duration::ZERO], Vec::new());
        let (mut last, mut term, mut now) = (Index(0), Term(0), Duration::ZERO);
        for entry in &history.applied {
            let violation = |what: String| Violation { property: "committed log", at: entry.at, what };
            if entry.index.0 != last.0 + 1 || entry.term < term || entry.at < now {
                let (index, found) = (entry.index, entry.term);
                return Err(violation(format!(
                    "entry {index} of term {found} was applied after entry {last} of term {term} at {now:?}"
                )));
            }
            (last, term, now) = (entry.index, entry.term, entry.at);
            let decoded = decode_entry(&entry.payload);
            let Some((proposer, _, command)) =
                decoded.map_err(|error| violation(format!("entry {}: {error}", entry.index)))?
            else {
                continue;
            };
            model.index = entry.index.0;
            let outcome = model.apply(&command);
            if !outcome.events.is_empty() {
                revisions.push(entry.at);
            }
            if let (Command::Compact { revision }, Ok(_)) = (&command, &outcome.result) {
                compactions.push((entry.at, *revision));
            }
            steps.push(Step {
                index: entry.index,
                term: entry.term,
                at: entry.at,
                proposer: NodeId(proposer),
                command,
                result: outcome.result,
                revision: outcome.revision,
            });
        }
        let matching = Matching::of(history, &steps);
        Ok(Replay { steps, model, matching, revisions, compactions })
    }

    /// The newest revision that was there at a time, anywhere.
    #[must_use]
    pub fn revision_at(&self, time: Duration) -> i64 {
        i64::try_from(self.revisions.partition_point(|at| *at <= time)).unwrap_or(i64::MAX)
    }

    /// The newest revision that was compacted at a time, anywhere; −1 for none.
    #[must_use]
    pub fn compacted_at(&self, time: Duration) -> i64 {
        let count = self.compactions.partition_point(|(at, _)| *at <= time);
        count.checked_sub(1).and_then(|last| self.compactions.get(last)).map_or(-1, |(_, revision)| *revision)
    }

    /// The step that a call is.
    #[must_use]
    pub fn step_of(&self, call: usize) -> Option<&Step> {
        self.matching.step_of.get(call).copied().flatten().and_then(|step| self.steps.get(step))
    }
}
