//! Which entries of another member's log may take the place of lost ones.
//!
//! Two rules of Raft decide. An index and a term name one entry: what the other member holds under both is what was lost here
//! (Log Matching, dissertation §3.5). And what is committed stays: where the other member knows a committed entry of another
//! term at an index, the own one was never committed, and neither was anything behind it; it is replaced, but only together
//! with everything from the first difference on, so that the own log matches the other one up to there. An entry that is
//! neither the same nor committed is never taken.

use bytes::Bytes;
use kontiki_log::{Entry, Log, Recovered, Write};
use kontiki_raft::{GroupId, Index, LogPosition, Term, TermRun, Ticket};
use kontiki_transport::Held;

/// The ticket of what is put into the log while a replica is mended: nobody waits for it.
const NOBODYS: Ticket = Ticket(0);

/// What came of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Lost entries that are here again.
    pub entries: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Entries of other terms that were committed in the place of own ones.
    pub replaced: u64,
    /// The answering member can help further, if it is asked from here on.
    pub ask_from: Option<Index>,
    /// The own log parts from what is committed before the other's log begins: only a state that holds this entry helps.
    pub state_at_least: Option<Index>,
    /// The other member holds something else as committed than what is applied here: it is not to be believed.
    pub contradicts: Option<Index>,
}

impl Accepted {
    /// Whether it brought anything.
    #[must_use]
    pub fn helped(&self) -> bool {
        self.entries + self.replaced > 0
    }
}

/// Takes what may be taken of an answer into the log. `applied` is what the state machine holds.
pub fn accept(log: &mut Log, group: GroupId, applied: Index, held: &Held, payloads: Vec<Bytes>) -> Accepted {
    let mut accepted = Accepted::default();
    let Some(own) = log.recovered(group) else { return accepted };
    let parts = first_difference(&own, held);
    if parts.is_some_and(|parts| parts <= applied.max(own.compacted.index)) {
        accepted.contradicts = parts;
        return accepted;
    }
    if parts.is_some_and(|parts| parts <= known_from(held)) {
        accepted.state_at_least = parts; // the first difference may lie before it
        return accepted;
    }
    let entries = entries_of(held, payloads);
    let (same, other): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| parts.is_none_or(|parts| entry.index < parts));
    mend(log, group, &own, same, &mut accepted);
    let Some(parts) = parts.filter(|parts| own.gaps.iter().any(|gap| gap.last >= *parts)) else { return accepted };
    let committed: Vec<Entry> = other.into_iter().take_while(|entry| entry.index <= held.commit).collect();
    if committed.first().is_some_and(|entry| entry.index == parts) {
        accepted.replaced = committed.len() as u64;
        accepted.bytes += committed.iter().map(|entry| entry.payload.len() as u64).sum::<u64>();
        log.save(Write { group, ticket: NOBODYS, hard_state: None, entries: committed });
    } else if held.asked != parts && own.gaps.first().is_some_and(|gap| gap.first >= parts) {
        accepted.ask_from = Some(parts);
    }
    accepted
}

/// Puts the same entries into the gaps that they were lost from.
fn mend(log: &mut Log, group: GroupId, own: &Recovered, same: Vec<Entry>, accepted: &mut Accepted) {
    for gap in &own.gaps {
        let lost: Vec<Entry> = same
            .iter()
            .filter(|entry| entry.index >= gap.first && entry.index <= gap.last)
            .filter(|entry| term_at(own, entry.index) == Some(entry.term))
            .cloned()
            .collect();
        for lost in lost.chunk_by(|a, b| a.index.next() == b.index) {
            let bytes: u64 = lost.iter().map(|entry| entry.payload.len() as u64).sum();
            match log.mend(group, NOBODYS, lost.to_vec()) {
                Ok(()) => {
                    accepted.entries += lost.len() as u64;
                    accepted.bytes += bytes;
                }
                Err(misfit) => tracing::warn!(group = group.0, %misfit, "did not take entries that do not fit the log"),
            }
        }
    }
}

/// The entries that came with an answer, with their terms.
fn entries_of(held: &Held, payloads: Vec<Bytes>) -> Vec<Entry> {
    let mut runs = held.runs.iter().peekable();
    let mut term = None;
    let mut entries = Vec::with_capacity(payloads.len());
    for (index, payload) in (held.asked.0..).map(Index).zip(payloads) {
        while let Some(run) = runs.next_if(|run| run.first <= index) {
            term = Some(run.term);
        }
        let Some(term) = term else { return entries }; // the codec has refused such an answer
        entries.push(Entry { index, term, payload });
    }
    entries
}

/// Where the own log first has another term than what the other member knows to be committed. What lies before both logs'
/// beginnings cannot be compared, and is the same: both were compacted behind a state of what is committed.
fn first_difference(own: &Recovered, held: &Held) -> Option<Index> {
    let theirs = |index| term_in(held.compacted, &held.runs, held.last, index);
    let begin = own.compacted.index.max(known_from(held));
    let end = own.last.min(held.commit).min(held.last);
    // Terms change only where a run begins, in either log; between two such places one look is enough.
    let starts = own.runs.iter().chain(held.runs.iter()).map(|run| run.first);
    let mut places: Vec<Index> = starts.filter(|first| *first > begin && *first <= end).chain([begin]).collect();
    places.sort_unstable();
    places.into_iter().find(|index| *index <= end && term_at(own, *index) != theirs(*index))
}

/// The first position of the other log whose term is known: the one that it begins behind, but where it left out runs.
fn known_from(held: &Held) -> Index {
    match held.runs.first() {
        Some(run) if run.first != held.compacted.index.next() => run.first,
        Some(_) | None => held.compacted.index,
    }
}

/// The term of an entry of the own log.
pub fn term_at(own: &Recovered, index: Index) -> Option<Term> {
    term_in(own.compacted, &own.runs, own.last, index)
}

fn term_in(compacted: LogPosition, runs: &[TermRun], last: Index, index: Index) -> Option<Term> {
    if index == compacted.index {
        return Some(compacted.term);
    }
    if index > last || index < compacted.index {
        return None;
    }
    runs.iter().rev().find(|run| run.first <= index).map(|run| run.term)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use kontiki_log::{Identity, Options};
    use kontiki_raft::HardState;
    use kontiki_world::{Random, SimDisk};

    use super::super::answer::{Question, answer};
    use super::*;

    const GROUP: GroupId = GroupId(1);

    fn at(term: u64, index: u64) -> LogPosition {
        LogPosition { term: Term(term), index: Index(index) }
    }

    fn runs(runs: &[(u64, u64)]) -> Vec<TermRun> {
        runs.iter().map(|(term, first)| TermRun { term: Term(*term), first: Index(*first) }).collect()
    }

    /// A log that begins behind `compacted`, has these runs, and ends at `last`.
    fn own(compacted: LogPosition, of: &[(u64, u64)], last: u64) -> Recovered {
        let hard_state = HardState::default();
        Recovered { hard_state, compacted, runs: runs(of), last: Index(last), gaps: Vec::new() }
    }

    fn held(compacted: LogPosition, of: &[(u64, u64)], last: u64, commit: u64) -> Held {
        Held { compacted, runs: runs(of).into(), last: Index(last), commit: Index(commit), ..Held::default() }
    }

    #[test]
    fn logs_part_where_a_committed_entry_has_another_term() {
        let mine = own(at(1, 4), &[(1, 5), (2, 8), (4, 12)], 20);
        let parts = |theirs: &Held| first_difference(&mine, theirs).map(|index| index.0);
        assert_eq!(parts(&held(at(0, 0), &[(1, 1), (2, 8), (4, 12)], 30, 30)), None, "the same, and longer");
        assert_eq!(parts(&held(at(0, 0), &[(1, 1), (2, 8)], 11, 11)), None, "the same, and shorter");
        assert_eq!(parts(&held(at(0, 0), &[(1, 1), (2, 8), (5, 10)], 30, 30)), Some(10));
        assert_eq!(parts(&held(at(0, 0), &[(1, 1), (2, 8), (5, 10)], 30, 9)), None, "nobody knows it to be committed");
        assert_eq!(parts(&held(at(0, 0), &[(1, 1), (3, 7)], 30, 30)), Some(7));
        assert_eq!(
            parts(&held(at(2, 9), &[(2, 10), (5, 14)], 30, 30)),
            Some(12),
            "what is compacted there is the same"
        );
        assert_eq!(parts(&held(at(3, 9), &[(3, 10)], 30, 30)), Some(9), "not even what it begins behind");
        assert_eq!(parts(&held(at(5, 25), &[(5, 26)], 30, 30)), None, "nothing to compare");
        assert_eq!(parts(&held(at(0, 0), &[(2, 1)], 30, 30)), Some(4), "not even what the own log begins behind");
    }

    #[test]
    fn where_runs_were_left_out_the_first_known_one_counts() {
        let mine = own(at(0, 0), &[(1, 1), (9_000, 5_000)], 6_000);
        let newest: Vec<(u64, u64)> = (0..Held::RUNS_MAX as u64).map(|run| (run + 2, run + 700)).collect();
        let theirs = held(at(0, 0), &newest, 6_000, 6_000);
        assert_eq!(known_from(&theirs), Index(700));
        assert_eq!(first_difference(&mine, &theirs), Some(Index(700)), "it may lie further back");
    }

    /// What an entry holds. Terms of the committed history are even; each log's own tail has odd terms of its own.
    fn payload(index: u64, term: u64) -> Bytes {
        Bytes::from(format!("{term}/{index}"))
    }

    /// A durable log of entries of these terms.
    fn log_of(terms: &[u64]) -> Log {
        let options = Options { cache_bytes: 0, salt: Some(1), ..Options::default() };
        let identity = Identity { cluster_id: 1, member_id: 1 };
        let (mut log, _) = Log::open(Arc::new(SimDisk::new(1)), Path::new("/log"), identity, options).unwrap();
        let entry = |(index, term): (u64, &u64)| Entry {
            index: Index(index),
            term: Term(*term),
            payload: payload(index, *term),
        };
        let entries = (1..).zip(terms).map(entry).collect();
        log.save(Write { group: GROUP, ticket: Ticket(1), hard_state: None, entries });
        let done = log.start_write().unwrap().run().unwrap();
        log.finish_write(done);
        log
    }

    /// A first part of the history, and a tail of terms that only this log has.
    fn with_tail(random: &mut Random, history: &[u64], residue: u64) -> Vec<u64> {
        let mut terms = history[..random.below(history.len() as u64 + 1) as usize].to_vec();
        let mut term = terms.last().copied().unwrap_or(0).next_multiple_of(4) + residue;
        for _ in 0..random.below(6) {
            terms.push(term);
            term += 4 * random.below(2);
        }
        terms
    }

    fn damage(random: &mut Random, log: &mut Log) {
        for _ in 0..random.below(4) {
            let first = Index(1 + random.below(log.last(GROUP).0.max(1)));
            log.lose(GROUP, first, Index(first.0 + random.below(3)));
        }
    }

    /// Asks until nothing more comes of it.
    fn ask(own: &mut Log, other: &Log, commit: Index) -> u64 {
        let (mut from, mut rounds) = (None, 0);
        while let Some(gap) = own.gaps(GROUP).first().copied() {
            let (first, last) = from.map_or((gap.first, gap.last), |from| (from, Index(u64::MAX)));
            let question = Question { first, last, bytes_max: 40, state: false };
            let (held, payloads) = answer(other, GROUP, commit, false, &question, 40).unwrap();
            let accepted = accept(own, GROUP, Index(0), &held, payloads);
            assert_eq!(accepted.contradicts, None);
            if !accepted.helped() && (accepted.ask_from.is_none() || accepted.ask_from == from) {
                break;
            }
            (from, rounds) = (accepted.ask_from, rounds + 1);
            assert!(rounds < 1_000, "it goes round in circles");
        }
        rounds
    }

    #[test]
    fn what_is_taken_is_the_same_or_committed_and_the_logs_still_match() {
        let (mut random, mut helped, mut whole) = (Random::new(3), 0, 0);
        for case in 0..2_000 {
            let mut term = 2;
            let history: Vec<u64> = (0..random.below(20))
                .map(|_| {
                    term += if random.one_in(4) { 2 } else { 0 };
                    term
                })
                .collect();
            let (mine, theirs) = (with_tail(&mut random, &history, 1), with_tail(&mut random, &history, 3));
            if mine.is_empty() || theirs.is_empty() {
                continue;
            }
            let common = |terms: &[u64]| terms.iter().zip(&history).take_while(|(a, b)| a == b).count() as u64;
            let commit = common(&theirs);
            let (mut own, mut other) = (log_of(&mine), log_of(&theirs));
            damage(&mut random, &mut own);
            damage(&mut random, &mut other);
            let before = own.gaps(GROUP).to_vec();
            helped += ask(&mut own, &other, Index(commit));
            let now: Vec<u64> =
                (1..=own.last(GROUP).0).map(|index| own.term_at(GROUP, Index(index)).unwrap().0).collect();
            // As it was, or as it was up to somewhere and then as it is committed.
            let same = now.iter().zip(&mine).take_while(|(a, b)| a == b).count();
            assert!(
                now == mine || (now[..] == history[..now.len()] && now.len() > same),
                "case {case}: {mine:?} {now:?}"
            );
            assert!(common(&now) >= common(&mine), "case {case}: something committed is gone");
            if other.gaps(GROUP).is_empty() && before.iter().all(|gap| gap.last.0 <= commit) {
                assert!(own.gaps(GROUP).is_empty(), "case {case}: {before:?} could be mended");
                whole += 1;
            }
            for index in (1..=now.len() as u64)
                .filter(|index| own.gaps(GROUP).iter().all(|gap| *index < gap.first.0 || *index > gap.last.0))
            {
                let entry = own.entries(GROUP, Index(index), Index(index), u64::MAX).unwrap().remove(0);
                assert_eq!(entry.payload, payload(index, now[index as usize - 1]), "case {case}");
            }
        }
        assert!(helped > 500 && whole > 100, "{helped} {whole}");
    }
}
