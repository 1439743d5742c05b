//! Questions that only a leader can answer, while it has not applied what it has committed.
//!
//! Another member may have applied, and acknowledged to a client, what this leader has committed and not applied yet. An
//! answer out of the older state would be wrong: a lease that was granted would be unknown. So a question waits until
//! everything that was committed when it came is applied, as a read does.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use kontiki_raft::{Index, NodeId};

/// Questions that may wait; more are answered as if nobody led.
const WAITING_MAX: usize = 10_000;

/// A question.
#[derive(Debug)]
pub(crate) struct Question {
    /// The member that asks; none for this one.
    pub from: Option<NodeId>,
    /// Names the question in the answer.
    pub id: u64,
    pub body: Bytes,
    /// When it came: who asked in time is not too late because the answer had to wait.
    pub at: Duration,
}

/// Questions that wait, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Questions(VecDeque<(Index, Question)>);

impl Questions {
    /// Adds one that is to be answered once `committed` is applied. It comes back where too many wait.
    pub fn add(&mut self, committed: Index, question: Question) -> Option<Question> {
        if self.0.len() >= WAITING_MAX {
            return Some(question);
        }
        self.0.push_back((committed, question));
        None
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next one that can be answered.
    pub fn next(&mut self, applied: Index) -> Option<Question> {
        let (committed, _) = self.0.front()?;
        if *committed <= applied { self.0.pop_front().map(|(_, question)| question) } else { None }
    }

    /// All that wait, to be told that this replica does not lead.
    pub fn take(&mut self) -> VecDeque<(Index, Question)> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_waits_for_what_was_committed_when_it_came() {
        let mut questions = Questions::default();
        let question = |id| Question { from: None, id, body: Bytes::new(), at: Duration::ZERO };
        for (committed, id) in [(5, 1), (7, 2)] {
            assert!(questions.add(Index(committed), question(id)).is_none());
        }
        assert!(questions.next(Index(4)).is_none());
        assert_eq!(questions.next(Index(6)).map(|question| question.id), Some(1));
        assert!(questions.next(Index(6)).is_none());
        assert_eq!(questions.take().len(), 1);
        assert!(questions.next(Index(9)).is_none());
    }

    #[test]
    fn only_so_many_wait() {
        let mut questions = Questions::default();
        let question = |id| Question { from: None, id, body: Bytes::new(), at: Duration::ZERO };
        assert!((0..WAITING_MAX as u64).all(|id| questions.add(Index(1), question(id)).is_none()));
        assert_eq!(questions.add(Index(1), question(77)).map(|question| question.id), Some(77));
    }
}
