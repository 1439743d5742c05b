//! Where the state stood at some entries: an index and the digest of everything applied up to it. Members that have
//! applied the same have the same digest at the same index.
//!
//! Two members can be compared at an index that both have a mark for, at no cost but keeping the marks. Under load all of
//! them have one at every 256th entry; where little happens, at each of the last few.

use std::collections::VecDeque;

/// Every so many entries there is a mark, on each member.
pub const GRID: u64 = 256;
/// Such marks that are kept: those of a quarter of a million entries.
const GRID_MAX: usize = 1_024;
/// Marks that are kept of the ends of what was applied in one go.
const RECENT_MAX: usize = 64;
/// Marks of the grid that a report has.
const REPORTED: usize = 16;

/// The digest at an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Everything up to this entry is applied.
    pub index: u64,
    /// The digest of all that.
    pub digest: u64,
}

/// The marks of a member.
#[derive(Debug, Default)]
pub struct Marks {
    grid: VecDeque<Mark>,
    recent: VecDeque<Mark>,
}

impl Marks {
    /// Keeps a mark, newer than those before.
    pub fn note(&mut self, mark: Mark) {
        if mark.index.is_multiple_of(GRID) {
            push(&mut self.grid, mark, GRID_MAX);
        }
        push(&mut self.recent, mark, RECENT_MAX);
    }

    /// The digest at an index, if there is a mark.
    #[must_use]
    pub fn at(&self, index: u64) -> Option<u64> {
        at(&self.grid, index).or_else(|| at(&self.recent, index))
    }

    /// What a leader is told: the newest marks of both kinds.
    #[must_use]
    pub fn report(&self) -> Vec<Mark> {
        let grid = self.grid.iter().rev().take(REPORTED);
        grid.chain(self.recent.iter().rev().filter(|mark| !mark.index.is_multiple_of(GRID))).copied().collect()
    }

    /// Another state took the place of the one that was marked.
    pub fn clear(&mut self) {
        *self = Marks::default();
    }
}

fn push(ring: &mut VecDeque<Mark>, mark: Mark, max: usize) {
    if ring.back().is_none_or(|newest| newest.index < mark.index) {
        if ring.len() == max {
            ring.pop_front();
        }
        ring.push_back(mark);
    }
}

fn at(ring: &VecDeque<Mark>, index: u64) -> Option<u64> {
    let at = ring.binary_search_by_key(&index, |mark| mark.index).ok()?;
    Some(ring[at].digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_reaches_far_back_and_the_newest_are_all_there() {
        let mut marks = Marks::default();
        for index in 1..=300_000 {
            marks.note(Mark { index, digest: index + 7 });
        }
        assert_eq!(marks.at(300_000), Some(300_007));
        assert_eq!(marks.at(300_000 - 63), Some(300_007 - 63));
        assert_eq!(marks.at(300_000 - 64), None);
        assert_eq!(marks.at(256 * 200), Some(256 * 200 + 7));
        assert_eq!(marks.at(256), None);
        let report = marks.report();
        assert!(report.len() <= REPORTED + RECENT_MAX);
        assert!(report.iter().all(|mark| mark.digest == mark.index + 7));
        marks.clear();
        assert!(marks.report().is_empty());
    }
}
