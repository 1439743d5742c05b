//! What a member that has lost entries is told: everything that stands in this member's log, whether it is damaged itself or not.

use bytes::Bytes;
use kontiki_log::{Gap, Log, LogError};
use kontiki_raft::{GroupId, Index, TermRuns};
use kontiki_transport::Held;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// First entry wanted; of a state that is wanted, the least that it must hold.
    pub first: Index,
    /// Last entry wanted.
    pub last: Index,
    /// Most bytes of entries in the answer.
    pub bytes_max: u64,
    /// A snapshot is wanted.
    pub state: bool,
}

/// What this member holds of a group, and the entries that are wanted as far as they are whole. `commit` is known to be
/// committed; `stateless` says that the own state is lost.
///
/// # Errors
/// Where reading entries shows that they are lost here as well.
pub fn answer(
    log: &Log,
    group: GroupId,
    commit: Index,
    stateless: bool,
    question: &Question,
    bytes_max: u64,
) -> Result<(Held, Vec<Bytes>), LogError> {
    let asked = question.first;
    let Some(known) = log.recovered(group) else {
        return Ok((Held { asked, stateless, ..Held::default() }, Vec::new()));
    };
    let gap = known.gaps.iter().find(|gap| gap.last >= asked).map(|Gap { first, last }| (*first, *last));
    let newest = known.runs.len().saturating_sub(Held::RUNS_MAX);
    let held = Held {
        asked,
        compacted: known.compacted,
        commit: commit.max(known.compacted.index),
        last: known.last,
        runs: TermRuns::from(&known.runs[newest..]),
        gap,
        stateless,
    };
    let known_from = held.runs.first().map_or(known.last.next(), |run| run.first);
    let whole_until = gap.map_or(known.last, |(first, _)| first.previous());
    let last = question.last.min(whole_until);
    let bytes_max = question.bytes_max.min(bytes_max);
    if question.state || bytes_max == 0 || asked < known_from || asked > last {
        return Ok((held, Vec::new()));
    }
    let entries = log.entries(group, asked, last, bytes_max)?;
    Ok((held, entries.into_iter().map(|entry| entry.payload).collect()))
}
