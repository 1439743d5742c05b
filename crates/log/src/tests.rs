//! Tests of the log as a whole; a rig drives it as the engine does.
#![allow(clippy::unwrap_used)]

mod atlas;
mod behaviour;
mod crash;
mod damage;
mod decode;
mod fault;
mod golden;
mod loss;
mod model;
mod points;
mod space;
mod speed;
mod stalled;
mod table;
mod unknown;
mod unreadable;
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kontiki_raft::{GroupId, HardState, Index, LogPosition, NodeId, Term, Ticket};
use kontiki_world::{Disk, File, OpenMode, SimDisk};

use crate::*;

const IDENTITY: Identity = Identity { cluster_id: 0xc1, member_id: 0xa1 };
const G1: GroupId = GroupId(1);
const G2: GroupId = GroupId(2);

fn dir() -> PathBuf {
    PathBuf::from("/data/log")
}

fn small() -> Options {
    Options { segment_bytes: 4096, cache_bytes: 1024, spare_segments: 1, salt: Some(7), reserve: false }
}

fn open(disk: &Arc<SimDisk>, options: Options) -> Result<(Log, BTreeMap<GroupId, Recovered>), LogError> {
    Log::open(disk.clone(), &dir(), IDENTITY, options)
}

fn fresh(options: Options) -> (Arc<SimDisk>, Log) {
    let disk = Arc::new(SimDisk::new(1));
    let (log, groups) = open(&disk, options).unwrap();
    assert!(groups.is_empty());
    (disk, log)
}

fn entry(index: u64, term: u64, payload: impl Into<Vec<u8>>) -> Entry {
    Entry { index: Index(index), term: Term(term), payload: Bytes::from(payload.into()) }
}

/// Entries `first ..= last` of one term, each with `size` bytes that tell index and term.
fn entries(first: u64, last: u64, term: u64, size: usize) -> Vec<Entry> {
    let payload =
        |index: u64| format!("{index}@{term}-").into_bytes().into_iter().cycle().take(size).collect::<Vec<_>>();
    (first..=last).map(|index| entry(index, term, payload(index))).collect()
}

fn append(group: GroupId, entries: Vec<Entry>) -> Write {
    Write { group, ticket: Ticket(1), hard_state: None, entries }
}

fn vote(term: u64, node: u64) -> HardState {
    HardState { term: Term(term), voted_for: Some(NodeId(node)) }
}

fn position(index: u64, term: u64) -> LogPosition {
    LogPosition { term: Term(term), index: Index(index) }
}

fn flush(log: &mut Log) -> Vec<(GroupId, Ticket)> {
    let done = log.start_write().unwrap().run().unwrap();
    log.finish_write(done)
}

fn all(log: &Log, group: GroupId) -> Vec<Entry> {
    log.entries(group, log.first(group), log.last(group), u64::MAX).unwrap()
}

fn segment_path(number: u64) -> PathBuf {
    dir().join(names::FileKind::Segment.name(number))
}

fn ledger_path(number: u64) -> PathBuf {
    dir().join(names::FileKind::Ledger.name(number))
}

fn file(disk: &SimDisk, path: &Path) -> Arc<dyn File> {
    disk.open(path, OpenMode::Existing).unwrap()
}

fn read_file(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let file = file(disk, path);
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// All files of a log's directory.
type Image = BTreeMap<String, Vec<u8>>;

fn image(disk: &SimDisk) -> Image {
    disk.list(&dir()).unwrap().into_iter().map(|name| (name.clone(), read_file(disk, &dir().join(name)))).collect()
}

/// A disk with these files.
fn disk_of(image: &Image) -> Arc<SimDisk> {
    let disk = Arc::new(SimDisk::new(3));
    disk.create_dir_all(&dir()).unwrap();
    for (name, bytes) in image {
        let file = disk.open(&dir().join(name), OpenMode::New).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file.sync_data().unwrap();
    }
    disk.sync_dir(&dir()).unwrap();
    disk
}

fn segment_name(number: u64) -> String {
    names::FileKind::Segment.name(number)
}

fn ledger_name(number: u64) -> String {
    names::FileKind::Ledger.name(number)
}

/// All that a log says of its groups, with every entry that is not lost.
type State = BTreeMap<GroupId, (Recovered, Vec<Entry>)>;

fn state(log: &Log) -> State {
    let state = |group: &GroupId| {
        let found = log.recovered(*group).unwrap();
        let mut held = Vec::new();
        let mut next = found.compacted.index.next();
        for gap in &found.gaps {
            if next < gap.first {
                held.extend(log.entries(*group, next, gap.first.previous(), u64::MAX).unwrap());
            }
            let lost = log.entries(*group, gap.first, gap.last, u64::MAX).unwrap_err();
            assert!(
                matches!(lost, LogError::Lost { first, last, .. } if (first, last) == (gap.first, gap.last)),
                "{lost}"
            );
            next = gap.last.next();
        }
        held.extend(log.entries(*group, next, found.last, u64::MAX).unwrap());
        let indexes = found.compacted.index.next().0..=found.last.0;
        let lost = |index: &u64| found.gaps.iter().any(|gap| (gap.first.0..=gap.last.0).contains(index));
        let expected: Vec<u64> = indexes.filter(|index| !lost(index)).collect();
        assert_eq!(held.iter().map(|entry| entry.index.0).collect::<Vec<_>>(), expected);
        for entry in &held {
            assert_eq!(log.term_at(*group, entry.index), Some(entry.term));
        }
        (*group, (found, held))
    };
    log.groups.keys().map(state).collect()
}
