//! So many revisions are kept: every five minutes, what is older is compacted.

use std::time::Duration;

/// How often.
pub const PAUSE: Duration = Duration::from_secs(5 * 60);

/// The rule, and where it compacted to last.
#[derive(Debug)]
pub struct Revisions {
    kept: i64,
    compacted: i64,
}

impl Revisions {
    /// Keeps so many.
    pub fn new(kept: i64) -> Revisions {
        Revisions { kept, compacted: 0 }
    }

    /// Where to compact to now, if at all.
    pub fn due(&self, revision: i64) -> Option<i64> {
        let to = revision.saturating_sub(self.kept);
        (to > 0 && to != self.compacted).then_some(to)
    }

    /// It was compacted to there.
    pub fn done(&mut self, revision: i64) {
        self.compacted = revision;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_compacted_before_there_is_more_than_is_kept_nor_twice() {
        let mut rule = Revisions::new(100);
        assert_eq!(rule.due(1), None);
        assert_eq!(rule.due(100), None);
        assert_eq!(rule.due(101), Some(1));
        rule.done(1);
        assert_eq!(rule.due(101), None);
        assert_eq!(rule.due(1_000), Some(900));
    }
}
