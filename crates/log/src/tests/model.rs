//! Random operations on several groups, with crashes anywhere, against the simplest log there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use kontiki_raft::{GroupId, HardState, Index, LogPosition, Ticket};
use kontiki_world::SimDisk;
use proptest::prelude::*;

use super::fault::FragileDisk;
use super::{IDENTITY, dir, entry, position, vote};
use crate::*;

#[derive(Clone, Debug)]
enum Op {
    Save {
        group: u64,
        back: u64,
        count: u64,
        size: usize,
        terms: u64,
        hard_state: bool,
    },
    Compact {
        group: u64,
        keep: u64,
    },
    Reset {
        group: u64,
        ahead: u64,
    },
    Start,
    Finish,
    /// The process ends; what it wrote stays in the operating system's memory.
    Kill,
    /// Power is lost, in the midst of a job where there is one.
    Crash {
        changes: i64,
    },
    Check {
        group: u64,
        skip: u64,
        bytes_max: u64,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let group = 1..4u64;
    let op = prop_oneof![
        8 => (group.clone(), 0..6u64, 0..8u64, 0..300usize, 0..3u64, any::<bool>()).prop_map(
            |(group, back, count, size, terms, hard_state)| Op::Save { group, back, count, size, terms, hard_state }
        ),
        3 => (group.clone(), 0..12u64).prop_map(|(group, keep)| Op::Compact { group, keep }),
        1 => (group.clone(), 0..20u64).prop_map(|(group, ahead)| Op::Reset { group, ahead }),
        6 => Just(Op::Start),
        6 => Just(Op::Finish),
        1 => Just(Op::Kill),
        1 => (0..14i64).prop_map(|changes| Op::Crash { changes }),
        3 => (group, 0..20u64, 0..2000u64).prop_map(|(group, skip, bytes_max)| Op::Check { group, skip, bytes_max }),
    ];
    proptest::collection::vec(op, 1..120)
}

/// A group as it should be.
#[derive(Clone, Debug, Default, PartialEq)]
struct ModelGroup {
    hard_state: HardState,
    compacted: LogPosition,
    entries: Vec<Entry>,
    ticket: Ticket,
}

type Model = BTreeMap<GroupId, ModelGroup>;

struct Rig {
    disk: FragileDisk,
    log: Log,
    job: Option<WriteJob>,
    now: Model,
    /// As of the last batch that was started.
    started: Model,
    /// As of the last batch that is durable.
    durable: Model,
    tickets: u64,
}

impl ModelGroup {
    fn last(&self) -> u64 {
        self.compacted.index.0 + self.entries.len() as u64
    }

    fn last_term(&self) -> u64 {
        self.entries.last().map_or(self.compacted.term, |entry| entry.term).0
    }
}

fn options() -> Options {
    Options { segment_bytes: 4096, cache_bytes: 2000, spare_segments: 1, salt: None, reserve: false }
}

impl Rig {
    fn new(seed: u64) -> Rig {
        let disk = FragileDisk::new(SimDisk::new(seed));
        let (log, _) = Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, options()).unwrap();
        let model = Model::new();
        Rig { disk, log, job: None, now: model.clone(), started: model.clone(), durable: model, tickets: 0 }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Save { group, back, count, size, terms, hard_state } => {
                self.save(GroupId(group), back, count, size, terms, hard_state);
            }
            Op::Compact { group, keep } => self.compact(GroupId(group), keep),
            Op::Reset { group, ahead } => {
                let model = self.now.entry(GroupId(group)).or_default();
                model.compacted = position(model.last() + ahead, model.last_term() + 1);
                model.entries.clear();
                self.log.reset(GroupId(group), model.compacted);
            }
            Op::Start => {
                if let Some(job) = self.log.start_write() {
                    assert!(self.job.is_none(), "one write is in flight");
                    self.job = Some(job);
                    self.started = self.now.clone();
                }
            }
            Op::Finish => self.finish(),
            Op::Kill => {
                if let Some(job) = self.job.take() {
                    let _written = job.run();
                }
                self.reopen();
            }
            Op::Crash { changes } => {
                self.disk.fail_after(changes);
                if let Some(job) = self.job.take() {
                    let _perhaps_written = job.run();
                }
                self.disk.crash();
                self.reopen();
            }
            Op::Check { group, skip, bytes_max } => self.check_part(GroupId(group), skip, bytes_max),
        }
    }

    fn save(&mut self, group: GroupId, back: u64, count: u64, size: usize, terms: u64, hard_state: bool) {
        let model = self.now.entry(group).or_default();
        self.tickets += 1;
        model.ticket = Ticket(self.tickets);
        let first = model.last().saturating_sub(back).max(model.compacted.index.0) + 1;
        if count > 0 {
            model.entries.truncate((first - model.compacted.index.0 - 1) as usize);
        }
        let term = model.last_term().max(1);
        let fill = self.tickets as u8;
        let entries: Vec<Entry> =
            (0..count).map(|n| entry(first + n, term + terms * n / 4, vec![fill; size])).collect();
        model.entries.extend(entries.iter().cloned());
        let hard_state = hard_state.then(|| vote(self.tickets, group.0));
        model.hard_state = hard_state.unwrap_or(model.hard_state);
        self.log.save(Write { group, ticket: Ticket(self.tickets), hard_state, entries });
    }

    fn compact(&mut self, group: GroupId, keep: u64) {
        let Some(model) = self.now.get_mut(&group) else { return };
        let gone = (model.entries.len() as u64).saturating_sub(keep) as usize;
        if let Some(last) = model.entries.drain(..gone).next_back() {
            model.compacted = LogPosition { term: last.term, index: last.index };
            self.log.compact(group, model.compacted);
        }
    }

    fn finish(&mut self) {
        let Some(job) = self.job.take() else { return };
        let done = job.run().unwrap();
        for (group, ticket) in self.log.finish_write(done) {
            assert_eq!(self.started[&group].ticket, ticket);
        }
        self.durable = self.started.clone();
    }

    /// Batches are whole or gone: what is found is as of the last durable batch or of the one that was started.
    fn reopen(&mut self) {
        let (log, recovered) = Log::open(Arc::new(self.disk.clone()), &dir(), IDENTITY, options()).unwrap();
        self.log = log;
        let found = self.found(&recovered);
        let model = [&self.started, &self.durable]
            .into_iter()
            .find(|model| same(model, &found))
            .unwrap_or_else(|| panic!("found {found:#?}\nneither {:#?}\nnor {:#?}", self.started, self.durable));
        self.now = model.clone();
        self.started = self.now.clone();
        self.durable = self.now.clone();
    }

    fn found(&self, recovered: &BTreeMap<GroupId, Recovered>) -> Model {
        let group = |(group, found): (&GroupId, &Recovered)| {
            let first = found.compacted.index.next();
            let entries = self.log.entries(*group, first, found.last, u64::MAX).unwrap();
            assert_eq!(entries.len() as u64, found.last.0 - found.compacted.index.0);
            for entry in &entries {
                let run = found.runs.iter().rfind(|run| run.first <= entry.index).unwrap();
                assert_eq!(run.term, entry.term);
            }
            assert_eq!(found.runs.first().map(|run| run.first), entries.first().map(|entry| entry.index));
            assert!(found.runs.is_sorted_by(|a, b| a.first < b.first && a.term < b.term));
            let (hard_state, compacted) = (found.hard_state, found.compacted);
            (*group, ModelGroup { hard_state, compacted, entries, ticket: Ticket(0) })
        };
        recovered.iter().map(group).collect()
    }

    fn check_part(&self, group: GroupId, skip: u64, bytes_max: u64) {
        let Some(model) = self.now.get(&group) else { return };
        let first = Index(model.compacted.index.0 + 1 + skip);
        let expected = model.entries.iter().skip(skip as usize);
        let mut bytes = 0;
        let expected: Vec<Entry> = expected
            .enumerate()
            .take_while(|(n, entry)| {
                bytes += entry.size();
                *n == 0 || bytes <= bytes_max
            })
            .map(|(_, entry)| entry.clone())
            .collect();
        let last = Index(model.last() + 3);
        assert_eq!(self.log.entries(group, first, last, bytes_max).unwrap(), expected);
        let (fit, _) = self.log.fit(group, first, last, bytes_max);
        assert_eq!(fit >= first, !expected.is_empty());
        assert!(fit.0 <= model.last().max(first.0 - 1));
        for entry in &expected {
            assert_eq!(self.log.term_at(group, entry.index), Some(entry.term));
        }
        assert_eq!(self.log.term_at(group, model.compacted.index), Some(model.compacted.term));
        assert_eq!((self.log.first(group).0, self.log.last(group).0), (model.compacted.index.0 + 1, model.last()));
        assert_eq!(self.log.term_at(group, Index(model.last() + 1)), None);
    }
}

fn same(model: &Model, found: &Model) -> bool {
    let clean = |model: &Model| -> Model {
        let group =
            |(group, state): (&GroupId, &ModelGroup)| (*group, ModelGroup { ticket: Ticket(0), ..state.clone() });
        // A group of which nothing was ever said need not be known.
        model.iter().map(group).filter(|(_, state)| *state != ModelGroup::default()).collect()
    };
    clean(model) == clean(found)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_log_is_what_was_saved(ops in ops(), seed in any::<u64>()) {
        let mut rig = Rig::new(seed);
        for op in ops {
            rig.step(op);
        }
        for group in 1..4 {
            rig.check_part(GroupId(group), 0, u64::MAX);
        }
        if rig.job.is_some() {
            rig.finish();
        }
        rig.step(Op::Start);
        rig.finish();
        rig.step(Op::Crash { changes: 0 });
        assert!(same(&rig.now, &rig.started));
    }
}
