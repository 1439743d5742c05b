//! The state machine as a whole: etcd's rules one by one, and random histories against a naive model.

mod checkpoints;
mod concurrency;
mod costs;
mod crash_points;
mod damage;
mod decoders;

mod digests;
mod equivalence;
mod inspecting;
mod membership;
mod model;
mod pages;
mod rules;
mod shrinking;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use redb::StorageBackend;

use crate::*;

/// A file in memory that can be opened again, and that can break.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    broken: Arc<AtomicBool>,
    sync_fails: Arc<AtomicBool>,
}

impl Disk {
    pub(crate) fn of(bytes: Vec<u8>) -> Disk {
        Disk { bytes: Arc::new(Mutex::new(bytes)), ..Disk::default() }
    }

    /// What a machine would find whose process died now.
    pub(crate) fn after_crash(&self) -> Disk {
        Disk::of(self.bytes.lock().unwrap().clone())
    }

    /// What lies in the file now.
    pub(crate) fn image(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    /// Changes what lies in the file, behind the back of who uses it.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.bytes.lock().unwrap());
    }

    /// From now on nothing works any more.
    pub(crate) fn break_down(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    /// The next sync fails; those behind it do not.
    pub(crate) fn fail_next_sync(&self) {
        self.sync_fails.store(true, Ordering::SeqCst);
    }

    fn bytes(&self) -> io::Result<MutexGuard<'_, Vec<u8>>> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("broken disk"));
        }
        Ok(self.bytes.lock().unwrap())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes()?.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes()?;
        let start = usize::try_from(offset).unwrap();
        out.copy_from_slice(bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes()?.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.sync_fails.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("failed sync"));
        }
        self.bytes().map(|_| ())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        self.bytes()?[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// A state machine that counts entries.
pub(crate) struct Machine {
    pub(crate) kv: Kv,
    pub(crate) disk: Disk,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        Machine::open(Disk::default())
    }

    pub(crate) fn open(disk: Disk) -> Machine {
        Machine { kv: Kv::open(disk.clone(), Options::default()).unwrap(), disk }
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Outcome {
        let index = self.kv.applied().0 + 1;
        self.kv.batch().apply(index, 1, command).unwrap()
    }

    /// Applies what must succeed.
    pub(crate) fn must(&mut self, command: &Command) -> Reply {
        self.apply(command).result.unwrap()
    }

    pub(crate) fn refusal(&mut self, command: &Command) -> OperationError {
        let before = (self.kv.revision(), self.kv.reader().hash().unwrap());
        let outcome = self.apply(command);
        assert_eq!((self.kv.revision(), self.kv.reader().hash().unwrap()), before, "a refusal changes nothing");
        assert!(outcome.events.is_empty());
        outcome.result.unwrap_err()
    }

    pub(crate) fn put(&mut self, key: &str, value: &str) {
        self.must(&put(key, value));
    }

    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeResult, OperationError> {
        operation(self.kv.reader().range(request)).map(|(result, _)| result)
    }

    pub(crate) fn checkpoint(&mut self) {
        if let Some(checkpoint) = self.kv.begin_checkpoint(Bytes::new()) {
            let done = checkpoint.run().unwrap();
            drop(self.kv.finish_checkpoint(done));
        }
    }

    /// Kills the process and opens what is on disk.
    pub(crate) fn crash(self) -> Machine {
        Machine::open(self.disk.after_crash())
    }
}

/// Refusals are expected, trouble with the disk is not.
pub(crate) fn operation<T>(result: Result<T, Failure>) -> Result<T, OperationError> {
    match result {
        Ok(value) => Ok(value),
        Err(Failure::Operation(refusal)) => Err(refusal),
        Err(Failure::Storage(error)) => panic!("{error}"),
    }
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn keys(key: &str, range_end: &str) -> KeyRange {
    KeyRange { key: bytes(key), range_end: bytes(range_end) }
}

pub(crate) fn put(key: &str, value: &str) -> Command {
    Command::Put(put_request(key, value))
}

pub(crate) fn put_request(key: &str, value: &str) -> PutRequest {
    PutRequest { key: bytes(key), value: bytes(value), ..PutRequest::default() }
}

pub(crate) fn put_leased(key: &str, lease: i64) -> Command {
    Command::Put(PutRequest { lease, ..put_request(key, "v") })
}

pub(crate) fn delete_request(key: &str, range_end: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { range: keys(key, range_end), prev_kv: false }
}

pub(crate) fn delete(key: &str, range_end: &str) -> Command {
    Command::DeleteRange(delete_request(key, range_end))
}

pub(crate) fn get(key: &str, range_end: &str) -> RangeRequest {
    RangeRequest { range: keys(key, range_end), ..RangeRequest::default() }
}

pub(crate) fn at(revision: i64, request: RangeRequest) -> RangeRequest {
    RangeRequest { revision, ..request }
}
