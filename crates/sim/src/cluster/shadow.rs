//! What checkers know of a replica, so that they are told exactly what each turn changed.

use kontiki_raft::{Index, LogPosition, Node, Term};

use crate::observation::CoreView;

/// A replica as it stood after the turn before.
#[derive(Default)]
pub(super) struct Shadow {
    pub view: Option<CoreView>,
    /// It was told of in this life.
    pub known: bool,
    /// Terms of its log, each from an index on.
    runs: Vec<(Index, Term)>,
}

/// Runs that may pile up before those of compacted entries are dropped.
const RUNS_KEPT: usize = 64;

impl Shadow {
    /// How a core stands.
    pub fn view_of(node: &Node) -> CoreView {
        CoreView {
            term: node.term(),
            voted_for: node.voted_for(),
            role: node.role(),
            leader: node.leader(),
            commit: node.commit_index(),
            applied: node.applied(),
            compacted: node.compacted(),
            last: node.last_position(),
            durable: node.durable_index(),
            configuration: node.configuration().clone(),
        }
    }

    /// Whether a core stands as it did.
    pub fn is_same(&self, node: &Node) -> bool {
        self.view.as_ref().is_some_and(|view| {
            view.last == node.last_position()
                && view.commit == node.commit_index()
                && view.applied == node.applied()
                && view.durable == node.durable_index()
                && view.term == node.term()
                && view.role == node.role()
                && view.leader == node.leader()
                && view.voted_for == node.voted_for()
                && view.compacted == node.compacted()
                && std::sync::Arc::ptr_eq(&view.configuration, node.configuration())
        })
    }

    fn term_at(&self, index: Index) -> Option<Term> {
        let behind = self.runs.partition_point(|(first, _)| *first <= index);
        self.runs.get(behind.checked_sub(1)?).map(|(_, term)| *term)
    }

    /// The first entry that was appended since, given how the core stands now.
    pub fn first_appended(&self, node: &Node, now: &CoreView) -> Index {
        let Some(before) = &self.view else { return now.compacted.index.next() };
        if before.last == now.last {
            return now.last.index.next();
        }
        let mut common = before.last.index.min(now.last.index);
        while common > now.compacted.index && self.term_at(common) != node.term_at(common) {
            common = common.previous();
        }
        common.max(now.compacted.index).next()
    }

    /// Takes over how the core stands, whose log is another from `first` on.
    pub fn take(&mut self, node: &Node, now: CoreView, first: Index) {
        if self.view.is_none() || self.view.as_ref().is_some_and(|view| view.compacted.index < now.compacted.index) {
            self.compact(now.compacted);
        }
        if self.view.as_ref().is_none_or(|view| view.last != now.last) {
            self.runs.truncate(self.runs.partition_point(|(start, _)| *start < first));
            for index in (first.0..=now.last.index.0).map(Index) {
                let Some(term) = node.term_at(index) else { continue };
                if self.runs.last().is_none_or(|(_, last)| *last != term) {
                    self.runs.push((index, term));
                }
            }
        }
        self.view = Some(now);
    }

    fn compact(&mut self, at: LogPosition) {
        if self.view.is_none() {
            self.runs.clear();
        }
        if self.runs.is_empty() {
            self.runs.push((at.index, at.term));
        } else if self.runs.len() > RUNS_KEPT {
            let dead = self.runs.partition_point(|(first, _)| *first <= at.index).saturating_sub(1);
            self.runs.drain(..dead);
        }
    }

    /// The core is gone.
    pub fn lose(&mut self) {
        self.view = None;
        self.runs.clear();
    }
}
