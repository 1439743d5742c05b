//! A candidate that lacks entries fetches them from a voter that has them.
//!
//! Raft as it stands stays without a leader where the only replica that a quorum can reach has an older log than the
//! rest (the constrained election of the OmniPaxos paper): the others refuse it their votes, and it cannot be elected
//! for them. It need not stay so. Whoever asked for votes and found a newer log asks its owner for the entries behind
//! its own, and asks for votes again.
//!
//! This is safe because nobody who was counted for a committed entry loses it so. Say a leader committed it in term t:
//! whoever was counted held an entry of term t behind it (§3.6.2), so its log ends in term t or later, and ever after
//! only grows or is replaced by one that ends further. If the newer log ends in term t as well, both came from the one
//! leader of t, and the shorter is part of the longer. If it ends in a later term, its last entry was created by a leader
//! of that term, who had the committed entry (Leader Completeness), and with Log Matching so has the log.
//!
//! Nothing is promised for what was fetched: only a leader's own messages verify entries, for commitment as for
//! acknowledgements. And what was promised to a leader of the present term, who may be alive out of reach, is not broken
//! within that term: where entries are replaced, a new term begins.

use crate::decision::Decision;
use crate::interface::{Effect, EntrySizes};
use crate::message::{Body, Configurations, Entries, Pull};
use crate::node::Node;
use crate::role::Votes;
use crate::types::{LogPosition, NodeId, Term, TermRuns};

impl Node {
    /// After a lost question for votes: where a voter's log is newer, that is what is missing.
    pub(crate) fn pull_from_best(&mut self, votes: &Votes, effects: &mut Vec<Effect>) {
        let own = self.log.last_position();
        let Some(best) = votes.best().filter(|vote| vote.last > own) else { return };
        let (from, last) = (best.voter, best.last);
        self.decide(|| Decision::Pulls { from, last });
        self.send(from, Body::Pull(Pull { last: own, behind: own }), effects);
    }

    /// Somebody without a leader asks for entries. Answered when the turn ends, which knows their sizes.
    pub(crate) fn on_pull(&mut self, from: NodeId, pull: Pull) {
        // A leader replicates by itself, and who follows one has nothing to add to it.
        if !self.hears_leader() && self.membership.current().is_voter(from) {
            self.aside.pulls.retain(|(waiting, _)| *waiting != from);
            self.aside.pulls.push((from, pull));
        }
    }

    /// Answers who asked for entries.
    pub(crate) fn answer_pulls(&mut self, sizes: &dyn EntrySizes, effects: &mut Vec<Effect>) {
        if !self.hard_state_is_durable() {
            return; // the answer would be held back, and its entries might not be the log's any more when it goes out
        }
        for (to, pull) in std::mem::take(&mut self.aside.pulls) {
            if let Some(entries) = self.entries_beyond(pull, sizes) {
                self.send(to, Body::Pulled(entries), effects);
            }
        }
    }

    /// Entries that make a log end further; no entries where this one is no newer; none at all where what is needed is
    /// compacted.
    fn entries_beyond(&self, pull: Pull, sizes: &dyn EntrySizes) -> Option<Entries> {
        let own = self.log.last_position();
        let prev = self.log.position_at(self.log.newest_that_can_match(pull.behind).index)?;
        if own <= pull.last {
            return Some(Entries {
                prev,
                last: prev.index,
                runs: TermRuns::None,
                configurations: Configurations::default(),
            });
        }
        let first = prev.index.next();
        let (fitting, _) = sizes.fit(first, own.index, self.settings.append_bytes_max);
        // A part that ends before the receiver's log does would make that log older for a while.
        let last = fitting.max(self.log.first_beyond(pull.last)?);
        let (runs, configurations) = (self.log.runs_between(first, last), self.membership.between(first, last));
        Some(Entries { prev, last, runs, configurations })
    }

    /// Entries that were asked for.
    pub(crate) fn on_pulled(&mut self, from: NodeId, entries: Entries, effects: &mut Vec<Effect>) {
        let Entries { prev, last, .. } = entries;
        let (own, compacted) = (self.log.last_position(), self.log.compacted().index);
        if self.leader().is_some() {
            return; // one was quicker
        }
        if last == prev.index {
            return self.campaign(effects); // nothing is missing any more
        }
        let end = LogPosition { term: entries.runs.last().map_or(prev.term, |run| run.term), index: last };
        if end <= own {
            return; // late, or of a log that is no newer
        }
        // A newer log has everything that is committed here, compacted entries among them.
        if prev.index >= compacted && self.log.position_at(prev.index) != Some(prev) {
            let behind = self.log.newest_that_can_match(prev);
            return self.send(from, Body::Pull(Pull { last: own, behind }), effects);
        }
        let first = self.log.first_difference(prev.index, &entries.runs, last);
        if first.is_some_and(|first| first > self.commit_index) {
            // A candidacy ends with the log that it began with: what the votes so far mean may have changed.
            self.become_follower(self.current_term, None, effects);
            if first.is_some_and(|first| first <= own.index) {
                // A leader of this term may have been told that what is cut now is held here. It will not hear more of
                // this replica in this term.
                self.become_follower(Term(self.current_term.0 + 1), None, effects);
            }
            self.take_entries(entries, effects);
            let own = self.log.last_position();
            self.send(from, Body::Pull(Pull { last: own, behind: own }), effects);
        }
    }
}
