#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kontiki_kv::{Command, Kv, Options as KvOptions, Proposer, PutRequest, Subject};
use kontiki_log::{Entry, Log, Options as LogOptions, Write};
use kontiki_raft::{GroupId, HardState, Incarnation, Index, LogPosition, Term, Ticket};
use kontiki_world::{Disk, RealDisk};

use super::*;
use crate::claim::log_identity;
use crate::machine::{GROUP, payload};
use crate::options::InitialMember;
use crate::state_file::StateDir;

/// A member's directory: the state holds `state` entries, the log those from `first` to `last`.
struct Made(tempfile::TempDir);

impl Made {
    fn dir(&self) -> &Path {
        self.0.path()
    }

    fn of(state: u64, first: u64, last: u64) -> Made {
        let made = Made(tempfile::tempdir().unwrap());
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let places = Places::at(made.dir().join("member"), None);
        disk.create_dir_all(&places.log).unwrap();
        let member = InitialMember { name: "m0".into(), peer_urls: vec!["http://127.0.0.1:1".into()] };
        let identity = Identity::founded("m0", &[member], "t", Incarnation(5)).unwrap();
        identity.write(&*disk, &places.member, &places.identity).unwrap();
        std::fs::write(&places.started, "").unwrap();
        if state > 0 {
            let lock = Arc::new(DirectoryLock::acquire(&places.member).unwrap());
            let file = StateDir::open(disk.clone(), &places.state, lock).unwrap().open_current().unwrap();
            let mut kv = Kv::open(file, KvOptions::default()).unwrap();
            for index in 1..=state {
                kv.batch().apply(index, 1, &put(index)).unwrap();
            }
            let done = kv.begin_checkpoint("members".into()).unwrap().run().unwrap();
            drop(kv.finish_checkpoint(done));
        }
        if last > 0 {
            let (mut log, _) = Log::open(disk, &places.log, log_identity(&identity), LogOptions::default()).unwrap();
            if first > 1 {
                log.reset(GROUP, LogPosition { term: Term(1), index: Index(first - 1) });
            }
            let entry = |index: u64| Entry {
                index: Index(index),
                term: Term(1),
                payload: payload(identity.member_id, index, &proposer(index), &put(index).encode()),
            };
            log.save(Write {
                group: GROUP,
                ticket: Ticket(1),
                hard_state: Some(HardState { term: Term(1), voted_for: None }),
                entries: (first..=last).map(entry).collect(),
            });
            while let Some(job) = log.start_write() {
                log.finish_write(job.run().unwrap());
            }
        }
        made
    }

    fn check(&self) -> CheckReport {
        check(self.dir(), None, &mut |_| ()).unwrap()
    }

    fn severities(&self) -> Vec<Severity> {
        self.check().findings.iter().map(|finding| finding.severity).collect()
    }
}

/// Each kind in turn.
fn proposer(index: u64) -> Proposer {
    match index % 3 {
        0 => Proposer::Anonymous,
        1 => Proposer::Member,
        _ => Proposer::User(Subject { user: "alice".into(), revision: 3 }),
    }
}

fn put(index: u64) -> Command {
    let key = format!("key/{index}").into();
    Command::Put(PutRequest { key, value: "value".into(), ..PutRequest::default() })
}

#[test]
fn log_and_state_that_fit_are_whole() {
    for (state, first, last) in [(0, 1, 9), (5, 1, 9), (5, 4, 9), (5, 6, 9), (9, 1, 9)] {
        let made = Made::of(state, first, last);
        let report = made.check();
        assert!(report.is_whole() && report.findings.is_empty(), "{state} {first} {last}: {:?}", report.findings);
        assert_eq!(report.identity.as_ref().unwrap().0, "m0");
        assert_eq!(report.log.unwrap().last, 9);
        assert_eq!(report.state.as_ref().map_or(0, |state| state.keys), state);
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let hole = Made::of(5, 8, 9);
    assert_eq!(hole.severities(), [Severity::Repairable]);
    assert!(hole.check().findings[0].what.contains("entries 6 to 7 are neither"), "{:?}", hole.check().findings);
    assert_eq!(Made::of(9, 1, 5).severities(), [Severity::Note], "a snapshot was installed, the log not yet reset");
    assert_eq!(Made::of(5, 1, 0).severities(), [Severity::Fatal], "no log");
}

#[test]
fn an_identity_that_is_gone_or_of_another_member_is_told() {
    let made = Made::of(5, 1, 9);
    let identity = made.dir().join("member/identity");
    let text = std::fs::read_to_string(&identity).unwrap();
    std::fs::remove_file(&identity).unwrap();
    assert_eq!(made.severities(), [Severity::Fatal]);
    std::fs::write(&identity, text.replace("m0", "m1")).unwrap();
    assert_eq!(made.severities(), [Severity::Fatal]);
    let other = Made::of(1, 1, 2);
    let member = InitialMember { name: "x".into(), peer_urls: vec!["http://127.0.0.1:9".into()] };
    let stranger = Identity::founded("x", &[member], "t", Incarnation(5)).unwrap();
    let places = Places::at(other.dir().join("member"), None);
    stranger.write(&RealDisk, &places.member, &places.identity).unwrap();
    let report = other.check();
    assert!(report.findings[0].what.contains("the identity says member"), "{:?}", report.findings);
}

/// Every block of the state and every sector of the log's used part, one after the other.
#[test]
fn no_flip_goes_unnoticed_where_something_stands() {
    let made = Made::of(40, 30, 60);
    let state = made.dir().join("member/state/state.redb");
    let whole = std::fs::read(&state).unwrap();
    let mut noticed = 0;
    for at in (100..whole.len()).step_by(4096) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&state, &damaged).unwrap();
        let report = made.check();
        if report.is_whole() {
            let state = report.state.unwrap();
            assert_eq!((state.keys, state.applied.0), (40, 40), "byte {at}: a block in use was damaged");
        } else {
            noticed += 1;
        }
    }
    assert!(noticed >= 10, "only {noticed} blocks were noticed");
    std::fs::write(&state, &whole).unwrap();
    let segment = only_segment(made.dir());
    let whole = std::fs::read(&segment).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for at in (0..used).step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&segment, &damaged).unwrap();
        let report = made.check();
        let last = report.log.map_or(0, |log| log.last);
        assert!(!report.is_whole() || last == 60, "byte {at}: {:?}", report.findings);
    }
}

fn only_segment(dir: &Path) -> PathBuf {
    let names = std::fs::read_dir(dir.join("member/wal")).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.extension().is_some_and(|end| end == "log")).min().unwrap()
}

#[test]
fn records_are_dumped_in_order_and_filtered() {
    let made = Made::of(5, 3, 9);
    let lines = |filter: LogFilter, most: usize| {
        let mut lines = Vec::new();
        dump_log(made.dir(), None, &filter, &mut |record| {
            lines.push(record);
            lines.len() < most
        })
        .unwrap();
        lines
    };
    let all = lines(LogFilter { indexes: 0..=u64::MAX, group: None }, usize::MAX);
    assert_eq!(all.iter().filter(|record| record.kind == "entry").count(), 7);
    assert!(all.iter().any(|record| record.kind == "reset") && all.iter().any(|record| record.kind == "hard_state"));
    let some = lines(LogFilter { indexes: 4..=5, group: Some(GROUP.0) }, usize::MAX);
    let index = |record: &DumpRecord| record.fields.iter().find(|(name, _)| *name == "index").unwrap().1.clone();
    assert_eq!(some.iter().map(index).collect::<Vec<_>>(), [DumpValue::Count(4), DumpValue::Count(5)]);
    assert!(some[0].fields.contains(&("key", DumpValue::Bytes(Bytes::from("key/4")))), "{:?}", some[0]);
    assert_eq!(lines(LogFilter { indexes: 0..=u64::MAX, group: Some(GroupId(8).0) }, usize::MAX), []);
    assert_eq!(lines(LogFilter { indexes: 0..=u64::MAX, group: None }, 2).len(), 2, "who has enough is left alone");

    let mut keys = Vec::new();
    let filter = KeyFilter { prefix: "key/".into(), revisions: 3..=4 };
    dump_keys(made.dir(), &filter, &mut |record| {
        keys.push(record.fields[0].1.clone());
        true
    })
    .unwrap();
    assert_eq!(keys, [DumpValue::Bytes("key/2".into()), DumpValue::Bytes("key/3".into())]);
}
