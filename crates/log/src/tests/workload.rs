//! A workload that uses every kind of record, with the files and the state after each of its steps.

use super::*;

pub(super) struct Step {
    /// All files after the step.
    pub(super) files: Image,
    /// What the log says after it.
    pub(super) state: State,
    /// Whether the step began a segment or removed one.
    pub(super) moved_files: bool,
}

/// Runs the workload on a disk; `flush` may end it.
pub(super) fn work(log: &mut Log, mut flush: impl FnMut(&mut Log) -> bool) {
    let mut next = [1u64; 2];
    for round in 0..5u64 {
        let size = 60 + 40 * round as usize;
        let add = |log: &mut Log, group: usize, count: u64, next: &mut [u64; 2]| {
            let first = next[group];
            log.save(append(GroupId(group as u64 + 1), entries(first, first + count - 1, 3 * round + 1, size)));
            next[group] += count;
        };
        log.save(Write { hard_state: Some(vote(3 * round + 1, round)), ..append(G1, vec![]) });
        add(log, 0, 3, &mut next);
        if !flush(log) {
            return;
        }
        add(log, 0, 1, &mut next);
        add(log, 1, 2, &mut next);
        if !flush(log) {
            return;
        }
        let first = next[0] - 2; // replaces two entries by three
        log.save(Write {
            hard_state: Some(vote(3 * round + 2, 7)),
            ..append(G1, entries(first, first + 2, 3 * round + 2, 30))
        });
        next[0] = first + 3;
        if !flush(log) {
            return;
        }
        match round {
            1 => log.compact(G1, LogPosition { term: log.term_at(G1, Index(2)).unwrap(), index: Index(2) }),
            2 => {
                log.reset(G2, position(next[1] + 4, 3 * round + 1));
                next[1] += 5;
            }
            _ => add(log, 1, 2, &mut next),
        }
        if !flush(log) {
            return;
        }
        // Two entries are lost and mended.
        let first = log.first(G1).0 + 1;
        let lost = log.entries(G1, Index(first), Index(first + 1), u64::MAX).unwrap();
        log.lose(G1, Index(first), Index(first + 1));
        assert_eq!(log.gaps(G1), [Gap { first: Index(first), last: Index(first + 1) }]);
        log.mend(G1, Ticket(9), lost.clone()).unwrap();
        assert_eq!(log.gaps(G1), []);
        assert_eq!(log.entries(G1, Index(first), Index(first + 1), u64::MAX).unwrap(), lost, "at once");
        if !flush(log) {
            return;
        }
    }
}

pub(super) fn steps() -> Vec<Step> {
    let (disk, mut log) = fresh(small());
    let mut steps: Vec<Step> = Vec::new();
    work(&mut log, |log| {
        flush(log);
        let files = image(&disk);
        let moved_files = steps.last().is_none_or(|before| before.files.keys().ne(files.keys()));
        steps.push(Step { files, state: state(log), moved_files });
        true
    });
    assert!(steps.iter().filter(|step| step.moved_files).count() >= 3, "the workload has several segments");
    steps
}
