//! What the handle (any task) and the state machine (the engine's turn) share: who waits for what.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use kontiki_engine::ChangeOutcome;
use kontiki_kv::{Reader, Reply, SnapshotSource};
use kontiki_raft::{Configuration, ReadId};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::auth::{AuthOptions, TokenClock};
use crate::error::{StopReason, StoreError};
use crate::leases::renewals::Renewals;
use crate::membership::Orders;
use crate::saves::SAVES_MAX;
use crate::status::{Counters, Leadership};
use crate::watch::Hub;

/// The answer to a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What applying it gave.
    pub reply: Reply,
    /// The store's revision afterwards.
    pub revision: i64,
    /// Term of the entry.
    pub term: u64,
}

/// Somebody who waits, since when, and in which term that began.
#[derive(Debug)]
pub struct Waiter<T> {
    pub sender: oneshot::Sender<T>,
    pub since: Duration,
    pub term: u64,
}

/// Who waits for reads.
#[derive(Debug, Default)]
pub struct WaitingReads {
    /// Not in a batch yet.
    pub gathering: Vec<Waiter<Result<(), StoreError>>>,
    /// In batches that are being confirmed or applied. Looked up by identity only.
    pub batches: HashMap<ReadId, Vec<Waiter<Result<(), StoreError>>>>,
    /// The engine has stopped: nobody confirms reads any more.
    pub stopped: bool,
}

/// The shared part. Maps here are looked up by random tokens only; their order never matters.
#[derive(Debug)]
pub struct Link {
    proposals: Mutex<HashMap<u64, Waiter<Result<Applied, StoreError>>>>,
    reads: Mutex<WaitingReads>,
    calls: Mutex<HashMap<u64, Waiter<Option<Bytes>>>>,
    /// Who has asked for a snapshot to save; none once the engine has stopped.
    saves: Mutex<Option<Vec<oneshot::Sender<SnapshotSource>>>>,
    /// Bounds the snapshots that are being saved.
    pub saves_allowed: Arc<Semaphore>,
    reader: RwLock<Reader>,
    readers: AtomicU64,
    next_token: AtomicU64,
    /// Bytes of the proposals that wait.
    pub pending_bytes: AtomicU64,
    pub leadership: watch::Sender<Leadership>,
    /// The group's membership, as far as it is applied here.
    pub configuration: watch::Sender<Arc<Configuration>>,
    /// Why the member has to stop, once it has to.
    pub stop_reason: watch::Sender<Option<StopReason>>,
    /// The state file is to be made as small as what is in it.
    pub shrink_wanted: AtomicBool,
    /// The state could not be read at the start and is not back: what readers see is empty, or in part.
    pub stateless: AtomicBool,
    /// A compaction up to this revision waits until nothing of it is left in the file.
    pub sweep_wanted: AtomicI64,
    /// Renewals that wait to be asked of the leader together.
    pub renewals: Renewals,
    /// Authentication is on in the state that readers see.
    pub auth_enabled: AtomicBool,
    /// How old simple tokens are.
    pub tokens: TokenClock,
    /// What the leader is to do to the configuration.
    orders: Mutex<Orders>,
    /// Who waits for the end of a change of the configuration.
    changes: Mutex<BTreeMap<u64, oneshot::Sender<ChangeOutcome>>>,
    /// Grows whenever what the state says of members may be another.
    pub members_changed: watch::Sender<u64>,
    /// This member only learns.
    pub learner: AtomicBool,
    /// This member was taken out, for this reason.
    pub removed: watch::Sender<Option<StopReason>>,
    /// Clients that wait here to hear that this very member is taken out.
    pub farewells: AtomicUsize,
    pub hub: Hub,
    pub counters: Counters,
}

/// A poisoned lock means that a thread panicked, which ends the process in release builds; what it guarded is whole at every
/// step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// Nobody waits. Tokens start at a random place in each life, so that an entry of a former life answers nobody.
    pub fn new(reader: Reader, first_token: u64, hub: Hub, configuration: Arc<Configuration>) -> Link {
        let auth_enabled = AtomicBool::new(reader.auth_status().0);
        Link {
            proposals: Mutex::default(),
            reads: Mutex::default(),
            calls: Mutex::default(),
            saves: Mutex::new(Some(Vec::new())),
            saves_allowed: Arc::new(Semaphore::new(SAVES_MAX)),
            reader: RwLock::new(reader),
            readers: AtomicU64::new(0),
            next_token: AtomicU64::new(first_token),
            pending_bytes: AtomicU64::new(0),
            leadership: watch::Sender::new(Leadership::default()),
            configuration: watch::Sender::new(configuration),
            stop_reason: watch::Sender::new(None),
            shrink_wanted: AtomicBool::new(false),
            stateless: AtomicBool::new(false),
            sweep_wanted: AtomicI64::new(0),
            renewals: Renewals::default(),
            auth_enabled,
            tokens: TokenClock::new(AuthOptions::default().token_ttl),
            orders: Mutex::default(),
            changes: Mutex::default(),
            members_changed: watch::Sender::new(0),
            learner: AtomicBool::new(false),
            removed: watch::Sender::new(None),
            farewells: AtomicUsize::new(0),
            hub,
            counters: Counters::default(),
        }
    }

    /// The same, with simple tokens that live so long.
    pub fn with_token_ttl(self, ttl: Duration) -> Link {
        Link { tokens: TokenClock::new(ttl), ..self }
    }

    /// What readers see may have changed in whether authentication is on.
    pub fn follow_auth(&self) {
        self.auth_enabled.store(self.reader().auth_status().0, Relaxed);
    }

    /// The member has to stop. The first reason counts.
    pub fn fail(&self, reason: StopReason) {
        self.stop_reason.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(reason);
            first
        });
    }

    /// This member was taken out of the cluster, and has to stop: at once, unless a client waits here to hear of it.
    pub fn remove(&self, reason: StopReason) {
        self.removed.send_replace(Some(reason.clone()));
        if self.farewells.load(Relaxed) == 0 {
            self.fail(reason);
        }
    }

    /// Whether this member was taken out.
    pub fn is_removed(&self) -> bool {
        self.removed.borrow().is_some()
    }

    /// What the leader is to do to the configuration.
    pub fn orders(&self) -> MutexGuard<'_, Orders> {
        lock(&self.orders)
    }

    /// Waits for the end of a change of the configuration.
    pub fn expect_change(&self, id: u64, sender: oneshot::Sender<ChangeOutcome>) {
        lock(&self.changes).insert(id, sender);
    }

    /// Nobody waits for it any more.
    pub fn forget_change(&self, id: u64) {
        lock(&self.changes).remove(&id);
    }

    /// A change of the configuration ended. One of nobody here is skipped.
    pub fn answer_change(&self, id: u64, outcome: ChangeOutcome) {
        if let Some(sender) = lock(&self.changes).remove(&id) {
            let _ = sender.send(outcome);
        }
    }

    /// What the state says of members may be another.
    pub fn note_members(&self) {
        self.members_changed.send_modify(|count| *count += 1);
    }

    /// The state as it is now.
    pub fn reader(&self) -> Reader {
        self.reader.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another state took the place of the one that was read.
    pub fn replace_reader(&self, reader: Reader) {
        *self.reader.write().unwrap_or_else(PoisonError::into_inner) = reader;
        self.follow_auth();
        self.readers.fetch_add(1, Relaxed);
        self.note_members();
    }

    /// Counts the states that readers were given: of one that is damaged nothing more can be expected.
    pub fn readers(&self) -> u64 {
        self.readers.load(Relaxed)
    }

    /// A token for something to wait for.
    pub fn token(&self) -> u64 {
        self.next_token.fetch_add(1, Relaxed)
    }

    /// How many proposals wait.
    pub fn pending(&self) -> usize {
        lock(&self.proposals).len()
    }

    /// Waits for a proposal to be applied here.
    pub fn expect_proposal(&self, token: u64, waiter: Waiter<Result<Applied, StoreError>>) {
        lock(&self.proposals).insert(token, waiter);
    }

    /// Answers proposals. Those of nobody here are skipped.
    pub fn answer_proposals(&self, answers: impl Iterator<Item = (u64, Result<Applied, StoreError>)>) {
        // Who is answered wakes up, and may propose again: not while it would have to wait for this lock.
        let mut waiting = lock(&self.proposals);
        let answered: Vec<_> =
            answers.filter_map(|(token, answer)| waiting.remove(&token).map(|waiter| (waiter, answer))).collect();
        drop(waiting);
        for (waiter, answer) in answered {
            let _ = waiter.sender.send(answer); // the client may have gone
        }
    }

    /// Adds a read. True where it is the first of a batch: the engine must be told.
    pub fn expect_read(&self, waiter: Waiter<Result<(), StoreError>>) -> bool {
        let mut reads = lock(&self.reads);
        if reads.stopped {
            return false; // the waiter ends with its sender
        }
        reads.gathering.push(waiter);
        reads.gathering.len() == 1
    }

    /// How many reads wait: to be in a batch, or in one.
    pub fn reads_waiting(&self) -> usize {
        let reads = lock(&self.reads);
        reads.gathering.len() + reads.batches.values().map(Vec::len).sum::<usize>()
    }

    /// The reads gathered so far become a batch. False where there are none.
    pub fn begin_reads(&self, id: ReadId) -> bool {
        let mut reads = lock(&self.reads);
        let batch = std::mem::take(&mut reads.gathering);
        let any = !batch.is_empty();
        if any {
            reads.batches.insert(id, batch);
        }
        any
    }

    /// A batch may read.
    pub fn finish_reads(&self, id: ReadId) {
        let batch = lock(&self.reads).batches.remove(&id);
        for waiter in batch.into_iter().flatten() {
            let _ = waiter.sender.send(Ok(()));
        }
    }

    /// A batch joins the next one.
    pub fn return_reads(&self, id: ReadId) {
        let mut reads = lock(&self.reads);
        if let Some(batch) = reads.batches.remove(&id) {
            reads.gathering.extend(batch);
        }
    }

    /// Waits for a snapshot to save.
    pub fn expect_save(&self, sender: oneshot::Sender<SnapshotSource>) {
        if let Some(saves) = &mut *lock(&self.saves) {
            saves.push(sender);
        }
    }

    /// Who has asked for one since the last time.
    pub fn take_saves(&self) -> Vec<oneshot::Sender<SnapshotSource>> {
        lock(&self.saves).as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Waits for the leader's answer.
    pub fn expect_call(&self, token: u64, waiter: Waiter<Option<Bytes>>) {
        lock(&self.calls).insert(token, waiter);
    }

    /// The leader's answer; none where no leader answered.
    pub fn answer_call(&self, token: u64, answer: Option<Bytes>) {
        if let Some(waiter) = lock(&self.calls).remove(&token) {
            let _ = waiter.sender.send(answer);
        }
    }

    /// Tells everyone who has waited longer than `patience` that it took too long.
    pub fn expire(&self, now: Duration, patience: Duration) {
        let over = |since: Duration| now.saturating_sub(since) > patience;
        let term = self.leadership.borrow().term;
        let too_long =
            |began: u64| if began == term { StoreError::Timeout } else { StoreError::TimeoutDueToLeaderFail };
        let late: Vec<_> = lock(&self.proposals).extract_if(|_, waiter| over(waiter.since)).collect();
        for (_, waiter) in late {
            self.counters.proposals_failed.fetch_add(1, Relaxed);
            let _ = waiter.sender.send(Err(too_long(waiter.term)));
        }
        let mut reads = lock(&self.reads);
        let WaitingReads { gathering, batches, .. } = &mut *reads;
        for waiting in batches.values_mut().chain([gathering]) {
            for waiter in waiting.extract_if(.., |waiter| over(waiter.since)) {
                self.counters.read_indexes_failed.fetch_add(1, Relaxed);
                let _ = waiter.sender.send(Err(too_long(waiter.term)));
            }
        }
        drop(reads);
        lock(&self.calls).retain(|_, waiter| !over(waiter.since));
    }

    /// Whether the engine has stopped.
    pub fn has_stopped(&self) -> bool {
        lock(&self.reads).stopped
    }

    /// The engine stopped: nobody will be answered.
    pub fn stop(&self) {
        for (_, waiter) in lock(&self.proposals).drain() {
            let _ = waiter.sender.send(Err(StoreError::Stopped));
        }
        *lock(&self.reads) = WaitingReads { stopped: true, ..WaitingReads::default() };
        lock(&self.calls).clear();
        lock(&self.changes).clear();
        *lock(&self.saves) = None;
        self.renewals.stop();
    }
}
