//! The handle: what the front door calls.

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kontiki_engine::{Event, Inbox, Runtime, Timings};
use kontiki_kv::{Alarm, Command, KvError, Member, OperationError, Proposer, Reader, Reply};
use kontiki_raft::{Configuration, NodeId};
use kontiki_world::{DirectoryLock, before};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::auth::Settings;
use crate::calls::{Call, LeaseAnswer};
use crate::error::{StopReason, StoreError};
use crate::identity::Identity;
use crate::link::{Applied, Link, Waiter};
use crate::machine::{GROUP, StoreMachine, payload};
use crate::membership::{Directory, MembershipOptions};
use crate::space::takes_space;
use crate::state_file::StateDir;
use crate::status::{HistogramSnapshot, Leadership, PeerStatistics, Statistics, Status};
use crate::surroundings::{Peers, Surroundings};
use crate::watch::{Failed, WatchStream};

/// Longest time to live of a lease in seconds, as etcd has it.
const LEASE_TTL_MAX: i64 = 9_000_000_000;
/// Most proposals that may wait here.
const PENDING_MAX: usize = 50_000;
/// Most bytes of proposals that may wait here.
const PENDING_BYTES_MAX: u64 = 256 << 20;
/// So many calls may be under way where the engine is turned by the one who makes the last of them (decision 30).
const TURNED_BY_CLIENTS_MAX: usize = 2;
/// How often a member that stops looks whether anyone is left to hand over to.
const HAND_OVER_POLL: Duration = Duration::from_millis(20);
/// How often a question is put again while no leader answers.
const CALL_AGAIN: Duration = Duration::from_millis(100);
/// How often a renewal is asked for again while the lease is on its way into or out of the log.
const RENEW_AGAIN: Duration = Duration::from_millis(20);
/// How often it is looked whether what was compacted is gone.
const SWEPT_POLL: Duration = Duration::from_millis(10);

/// What a store is made of; the handle shares it.
#[derive(Debug)]
pub(crate) struct Parts {
    pub identity: Identity,
    pub data_dir: PathBuf,
    pub link: Arc<Link>,
    pub inbox: Arc<Inbox<StoreMachine>>,
    pub surroundings: Surroundings,
    pub peers: Arc<dyn Peers>,
    pub timings: Arc<Timings>,
    pub election_timeout: Duration,
    pub request_timeout: Duration,
    pub request_bytes_max: usize,
    pub quota: i64,
    pub auth: Settings,
    pub progress_interval: Duration,
    pub membership: MembershipOptions,
    /// The newest configuration that the log held at the start.
    pub logged: Option<Arc<Configuration>>,
    pub running: Mutex<Option<Running>>,
}

impl Parts {
    /// The time, since some moment of this process's.
    pub fn now(&self) -> Duration {
        self.surroundings.clock.now()
    }

    /// Waits for so long.
    pub async fn sleep(&self, time: Duration) {
        self.surroundings.clock.sleep_until(self.now() + time).await;
    }

    /// Waits for a future, but only for so long.
    pub async fn within<F: Future>(&self, patience: Duration, future: F) -> Option<F::Output> {
        before(&*self.surroundings.clock, self.now() + patience, future).await
    }
}

/// What ends with the store.
#[derive(Debug)]
pub(crate) struct Running {
    /// Goes before the threads are waited for.
    pub waits: Waits,
    pub runtime: Runtime<StoreMachine>,
    pub tasks: Vec<JoinHandle<()>>,
    /// Held as long as the store may write.
    pub _lock: Arc<DirectoryLock>,
}

/// When it goes, nothing waits for space on a full disk any more: a thread that does could not be ended.
#[derive(Debug)]
pub(crate) struct Waits(pub StateDir);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A member's store. Cheap to clone; all clones are the same store, and propose in the same name.
#[derive(Clone, Debug)]
pub struct Store(pub(crate) Arc<Parts>, pub(crate) Proposer);

/// How long a lease has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseTimeToLive {
    /// Seconds left; −1 for an unknown lease.
    pub ttl: i64,
    /// Seconds granted; zero for an unknown lease.
    pub granted_ttl: i64,
    /// Keys attached, where asked for.
    pub keys: Vec<Bytes>,
}

impl Store {
    /// Replicates a command, in this handle's name, and waits until this member has applied it.
    ///
    /// # Errors
    /// Where the command is refused by the store's rules, too large, or not committed in time; in the last case it may
    /// still be committed later.
    pub async fn propose(&self, command: Command) -> Result<Applied, StoreError> {
        let parts = &*self.0;
        if parts.link.counters.low_space.load(Relaxed) && takes_space(&command) {
            return Err(StoreError::Operation(OperationError::NoSpace));
        }
        self.check_quota(&command).await?;
        let encoded = command.encode();
        if encoded.len() > parts.request_bytes_max {
            return Err(StoreError::RequestTooLarge);
        }
        let waiting = Waiting::begin(&parts.link.pending_bytes, encoded.len() as u64);
        if parts.link.pending() >= PENDING_MAX || waiting.total > PENDING_BYTES_MAX {
            return Err(StoreError::TooManyRequests);
        }
        let token = parts.link.token();
        let (sender, answer) = oneshot::channel();
        parts.link.expect_proposal(token, self.waiter(sender));
        let payload = payload(parts.identity.member_id, token, &self.1, &encoded);
        if !self.bring(Event::Propose { group: GROUP, payload }, parts.link.pending()) {
            return Err(StoreError::Stopped);
        }
        answer.await.unwrap_or(Err(StoreError::Stopped))
    }

    /// Brings a call to the engine: where few are under way, with this one, on this thread; many are better taken together.
    fn bring(&self, event: Event<StoreMachine>, under_way: usize) -> bool {
        let inbox = &self.0.inbox;
        if under_way <= TURNED_BY_CLIENTS_MAX { inbox.post_and_turn(event) } else { inbox.post(event) }
    }

    pub(crate) fn waiter<T>(&self, sender: oneshot::Sender<T>) -> Waiter<T> {
        Waiter { sender, since: self.0.now(), term: self.0.link.counters.term.load(Relaxed) }
    }

    /// Raises the alarm where a command that takes space would go beyond the quota. Whether it is then refused, the state
    /// machine decides, the same on every member.
    async fn check_quota(&self, command: &Command) -> Result<(), StoreError> {
        let parts = &*self.0;
        if parts.quota <= 0 || !takes_space(command) {
            return Ok(());
        }
        let reader = parts.link.reader();
        let cost = i64::try_from(kontiki_kv::cost(command)).unwrap_or(i64::MAX);
        if i64::try_from(reader.size().0).unwrap_or(i64::MAX).saturating_add(cost) < parts.quota {
            return Ok(());
        }
        let member = parts.identity.member_id;
        if !reader.alarms()?.contains(&(member, Alarm::NoSpace)) {
            tracing::warn!(quota = parts.quota, "the database has reached its quota; raising the alarm NOSPACE");
            let own = self.acting_for(Proposer::Member);
            Box::pin(own.propose(Command::Alarm { raise: true, member, alarm: Alarm::NoSpace })).await?;
        }
        Err(StoreError::Operation(OperationError::NoSpace))
    }

    /// Waits until this member's state holds everything that was committed before the call (ReadIndex).
    ///
    /// # Errors
    /// Where no leader confirms in time.
    pub async fn read_barrier(&self) -> Result<(), StoreError> {
        let (sender, answer) = oneshot::channel();
        if self.0.link.expect_read(self.waiter(sender)) && !self.bring(Event::Read(GROUP), self.0.link.reads_waiting())
        {
            return Err(StoreError::Stopped);
        }
        answer.await.unwrap_or(Err(StoreError::Stopped))
    }

    /// A read of this member's state failed. Where that shows damage, the member is mended; readers need not wait for it. Where
    /// the disk did not answer, the member stops: the storage library answers nothing any more after that.
    pub fn read_failed(&self, error: &KvError) {
        if error.is_damage() {
            self.0.inbox.post(Event::Damaged(GROUP));
        } else if error.is_io() {
            self.0.link.fail(StopReason::Engine(error.to_string()));
        }
    }

    /// Makes this member's state file as small as what is in it, in the background and with the next checkpoint. Space that
    /// deletions and compactions freed is used again without it.
    pub fn defragment(&self) {
        self.0.link.shrink_wanted.store(true, Relaxed);
    }

    /// Whether this member has a state that may be read without asking the leader: not where its own could not be read at the
    /// start and has not come back yet.
    ///
    /// # Errors
    /// Where it has none.
    pub fn check_state(&self) -> Result<(), StoreError> {
        if !self.0.link.stateless.load(Relaxed) {
            return Ok(());
        }
        let what = "this member's state was damaged and is being fetched from another member; ask that one meanwhile";
        Err(StoreError::Storage(what.to_owned()))
    }

    /// This member's state. Linearizable after [`Store::read_barrier`]. Whoever meets an error in it should say so to
    /// [`Store::read_failed`].
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.0.link.reader()
    }

    /// Grants a lease. `id` zero: one is chosen. A time to live below the minimum (one and a half election timeouts) is
    /// raised to it.
    ///
    /// # Errors
    /// Where the time is too long, the lease exists, or the grant is not committed in time.
    pub async fn lease_grant(&self, id: i64, ttl: i64) -> Result<Applied, StoreError> {
        if ttl > LEASE_TTL_MAX {
            return Err(StoreError::Operation(OperationError::LeaseTtlTooLarge));
        }
        #[allow(clippy::cast_possible_truncation, reason = "at most 75 seconds")]
        let least = (self.0.election_timeout.as_secs_f64() * 1.5).ceil() as i64;
        let ttl = ttl.max(least);
        if id != 0 {
            return self.propose(Command::LeaseGrant { id, ttl }).await;
        }
        loop {
            let id = i64::try_from(self.0.surroundings.entropy.draw() >> 1).unwrap_or(1).max(1);
            match self.propose(Command::LeaseGrant { id, ttl }).await {
                Err(StoreError::Operation(OperationError::LeaseExists)) => {}
                answer => return answer,
            }
        }
    }

    /// Gives a lease its full time again. Zero where there is none or its time is over.
    ///
    /// # Errors
    /// Where no leader answers in time.
    pub async fn lease_keep_alive(&self, id: i64) -> Result<i64, StoreError> {
        let begin = self.0.now();
        loop {
            let answer = self.0.link.renewals.add(id).await.unwrap_or(Err(StoreError::Stopped))?;
            match answer {
                LeaseAnswer { ttl: LeaseAnswer::AGAIN, .. } => {}
                // Its time is over, and it is still there: nobody is told that it is gone before it is.
                LeaseAnswer { ttl: 0, granted_ttl } if granted_ttl > 0 => {}
                answer => return Ok(answer.ttl),
            }
            self.0.sleep(RENEW_AGAIN).await;
            if self.0.now().saturating_sub(begin) > self.0.request_timeout {
                return Err(StoreError::Timeout);
            }
        }
    }

    /// Makes history below a revision unreadable, on all members. `physical`: waits until it is also gone from this member's
    /// file, which otherwise happens in the background, with the checkpoints.
    ///
    /// # Errors
    /// Where the revision is compacted already or not there yet, or nothing came of it in time.
    pub async fn compact(&self, revision: i64, physical: bool) -> Result<Applied, StoreError> {
        let applied = self.propose(Command::Compact { revision }).await?;
        if physical {
            let link = &self.0.link;
            link.sweep_wanted.fetch_max(revision, Relaxed);
            while self.reader().swept() < revision {
                if link.has_stopped() {
                    return Err(StoreError::Stopped);
                }
                self.0.sleep(SWEPT_POLL).await;
            }
        }
        Ok(applied)
    }

    /// How long a lease has left, and its keys.
    ///
    /// # Errors
    /// Where no leader answers in time.
    pub async fn lease_time_to_live(&self, id: i64, keys: bool) -> Result<LeaseTimeToLive, StoreError> {
        let question = |_: &mut ()| Some(Call::TimeToLive(id));
        let answer = self.ask_leader(&mut (), question, |(), bytes| LeaseAnswer::decode(bytes)).await?;
        let mut found = Vec::new();
        if keys && answer.granted_ttl > 0 {
            self.read_barrier().await?;
            found = self.reader().lease_keys(id)?;
        }
        Ok(LeaseTimeToLive { ttl: answer.ttl, granted_ttl: answer.granted_ttl, keys: found })
    }

    /// Asks the leader, again and again until one answers what can be read. `question` is made anew of what is `asked` each
    /// time, and none once nobody waits for the answer: what is put to a leader is done, however long ago it was wanted.
    pub(crate) async fn ask_leader<Q, A>(
        &self,
        asked: &mut Q,
        question: impl Fn(&mut Q) -> Option<Call>,
        read: impl Fn(&Q, &[u8]) -> Option<A>,
    ) -> Result<A, StoreError> {
        let parts = &*self.0;
        let begin = parts.now();
        while let Some(call) = question(asked) {
            let token = parts.link.token();
            let (sender, answer) = oneshot::channel();
            parts.link.expect_call(token, self.waiter(sender));
            if !parts.inbox.post(Event::Call { group: GROUP, id: token, body: call.encode() }) {
                return Err(StoreError::Stopped);
            }
            let wait = parts.within(parts.election_timeout, answer).await;
            if let Some(Ok(Some(bytes))) = wait
                && let Some(answer) = read(asked, &bytes)
            {
                return Ok(answer);
            }
            parts.sleep(CALL_AGAIN).await;
            // Behind the pause: if the process was stopped meanwhile, the time may be over long since.
            if parts.now().saturating_sub(begin) > parts.request_timeout {
                break;
            }
        }
        let leader = parts.link.leadership.borrow().leader;
        Err(if leader.is_none() { StoreError::NoLeader } else { StoreError::Timeout })
    }

    /// A stream for a client's watches.
    #[must_use]
    pub fn watch_stream(&self) -> WatchStream {
        let (parts, store) = (&self.0, self.clone());
        let failed = Failed(Arc::new(move |error| store.read_failed(error)));
        WatchStream::new(parts.link.clone(), parts.surroundings.clock.clone(), parts.progress_interval, failed)
    }

    /// Hands leadership to a voter, or to the one that is furthest. Must be asked of the leader.
    ///
    /// # Errors
    /// Where this member does not lead, the target is no other voter, or nothing came of it in time.
    pub async fn move_leader(&self, to: Option<u64>) -> Result<(), StoreError> {
        let parts = &*self.0;
        let mut leadership = parts.link.leadership.subscribe();
        if !leadership.borrow_and_update().is_leader {
            return Err(StoreError::NotLeader);
        }
        let own = parts.identity.member_id;
        if to == Some(own) {
            return Ok(());
        }
        if to.is_some_and(|to| !parts.link.configuration.borrow().is_voter(NodeId(to))) {
            return Err(StoreError::BadTransferee);
        }
        if !parts.inbox.post(Event::Transfer(GROUP, to.map(NodeId))) {
            return Err(StoreError::Stopped);
        }
        let moved = leadership.wait_for(|now| !now.is_leader && now.leader.is_some_and(|leader| leader != own));
        match parts.within(2 * parts.election_timeout, moved).await {
            Some(Ok(_)) => Ok(()),
            _ => Err(StoreError::TransferTimeout),
        }
    }

    /// Who leads, and every change of it.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.0.link.leadership.subscribe()
    }

    /// Becomes a reason when the store has to stop; the process must end with it.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<Option<StopReason>> {
        self.0.link.stop_reason.subscribe()
    }

    /// The cluster's members as its configuration has them, sorted by identity. One that has not started yet has no name.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let directory = self.directory().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read the members");
            Directory::default()
        });
        directory.members
    }

    /// Where this member stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let parts = &*self.0;
        let leadership = *parts.link.leadership.borrow();
        let reader = parts.link.reader();
        let (size, in_use) = reader.size();
        let mut errors: Vec<String> = Vec::new();
        if leadership.leader.is_none() {
            errors.push(StoreError::NoLeader.to_string());
        }
        if parts.link.counters.low_space.load(Relaxed) {
            errors.push("kontiki: a disk of this member is full".to_owned());
        }
        if parts.link.counters.disk_stalled.load(Relaxed) {
            errors.push("kontiki: the disk of this member's log does not answer".to_owned());
        }
        if parts.link.counters.mending.load(Relaxed) {
            errors.push(
                "kontiki: this member was found damaged and takes part again once the others have mended it".into(),
            );
        }
        match reader.alarms() {
            Ok(alarms) => errors.extend(alarms.into_iter().map(|(member, alarm)| {
                let name = match alarm {
                    Alarm::NoSpace => "NOSPACE",
                    Alarm::Corrupt => "CORRUPT",
                };
                format!("memberID:{member} alarm:{name} ")
            })),
            Err(error) => errors.push(error.to_string()),
        }
        Status {
            cluster_id: parts.identity.cluster_id,
            member_id: parts.identity.member_id,
            leader: leadership.leader,
            term: leadership.term,
            is_leader: leadership.is_leader,
            is_learner: self.is_learner(),
            raft_index: parts.link.counters.commit.load(Relaxed),
            applied_index: parts.link.counters.applied.load(Relaxed),
            db_size: i64::try_from(size).unwrap_or(i64::MAX),
            db_size_in_use: i64::try_from(in_use).unwrap_or(i64::MAX),
            quota: parts.quota.max(0),
            errors,
        }
    }

    /// This member's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.identity.name
    }

    /// This member's data directory.
    #[must_use]
    pub fn data_dir(&self) -> &std::path::Path {
        &self.0.data_dir
    }

    /// Numbers for metrics.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let parts = &*self.0;
        let counters = &parts.link.counters;
        Statistics {
            leader_changes: counters.leader_changes.load(Relaxed),
            low_space: counters.low_space.load(Relaxed),
            disk_stalled: counters.disk_stalled.load(Relaxed),
            proposals_committed: counters.commit.load(Relaxed),
            proposals_applied: counters.applied.load(Relaxed),
            proposals_pending: parts.link.pending() as u64,
            proposals_failed: counters.proposals_failed.load(Relaxed),
            read_indexes_failed: counters.read_indexes_failed.load(Relaxed),
            log_sync: parts.timings.log_write.snapshot(),
            log_bytes: parts.timings.log_bytes.load(Relaxed),
            checkpoint: parts.timings.checkpoint.snapshot(),
            put_total: counters.puts.load(Relaxed),
            delete_total: counters.deletes.load(Relaxed),
            txn_total: counters.txns.load(Relaxed),
            events_total: counters.events.load(Relaxed),
            watchers: counters.watchers.load(Relaxed),
            slow_watchers: counters.slow_watchers.load(Relaxed),
            watch_streams: counters.watch_streams.load(Relaxed),
            leases_granted: counters.leases_granted.load(Relaxed),
            leases_revoked: counters.leases_revoked.load(Relaxed),
            leases_renewed: counters.leases_renewed.load(Relaxed),
            leases_expired: counters.leases_expired.load(Relaxed),
            snapshots_sent: counters.snapshots_sent.load(Relaxed),
            snapshots_installed: counters.snapshots_installed.load(Relaxed),
            mended: counters.mended.load(Relaxed),
            peers: parts.peers.statistics().iter().map(peer_statistics).collect(),
        }
    }

    /// Tells the cluster this member's name and client URLs, until it knows.
    pub(crate) async fn publish(self, client_urls: Vec<String>) {
        let identity = &self.0.identity;
        let peer_urls = identity
            .members
            .iter()
            .find(|member| member.id == identity.member_id)
            .map(|member| member.peer_urls.clone())
            .unwrap_or_default();
        let own =
            Member { id: identity.member_id, name: identity.name.clone(), peer_urls, client_urls, is_learner: false };
        while self.read_barrier().await != Err(StoreError::Stopped) {
            if !self.reader().members().is_ok_and(|known| known.iter().any(|member| has_said(member, &own))) {
                match self.propose(Command::MemberAttributes(own.clone())).await {
                    Ok(Applied { reply: Reply::MemberAttributes, .. }) => {}
                    Err(StoreError::Stopped) => return,
                    other => {
                        tracing::debug!(?other, "could not publish this member's attributes; trying again");
                        continue;
                    }
                }
            }
            match self.publish_version().await {
                Ok(()) | Err(StoreError::Stopped) => return,
                Err(error) => tracing::debug!(%error, "could not publish the cluster's version; trying again"),
            }
        }
    }

    /// Gives leadership to another member, unless there is none that could take it.
    async fn hand_over(&self) {
        let alone = async {
            while self.0.peers.statistics().values().any(|peer| peer.connected) {
                self.0.sleep(HAND_OVER_POLL).await;
            }
        };
        tokio::select! {
            biased;
            () = alone => {}
            moved = self.move_leader(None) => if let Err(error) = moved {
                tracing::warn!(%error, "could not hand leadership over before stopping");
            },
        }
    }

    /// Stops: hands leadership over if this member leads, then ends threads and connections. Everything acknowledged is
    /// durable already.
    pub async fn stop(&self) {
        if self.0.link.leadership.borrow().is_leader {
            self.hand_over().await;
        }
        self.0.inbox.close();
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { waits, runtime, tasks, _lock }) = running {
            drop(waits);
            tasks.iter().for_each(JoinHandle::abort);
            // Joining threads blocks: not on a thread of the runtime that may have to answer them.
            let ended = tokio::task::spawn_blocking(move || drop(runtime)).await;
            if let Err(error) = ended {
                tracing::error!(%error, "a thread of the engine did not end well");
            }
            drop(_lock);
        }
        self.0.link.stop();
        self.0.peers.shutdown();
    }
}

/// Whether the cluster knows what a member says of itself.
fn has_said(known: &Member, own: &Member) -> bool {
    known.id == own.id && known.name == own.name && known.client_urls == own.client_urls
}

/// A proposal's bytes, counted as long as somebody waits for it.
struct Waiting<'a> {
    counter: &'a AtomicU64,
    bytes: u64,
    /// With those of all others that wait.
    total: u64,
}

impl Waiting<'_> {
    fn begin(counter: &AtomicU64, bytes: u64) -> Waiting<'_> {
        Waiting { counter, bytes, total: counter.fetch_add(bytes, Relaxed) + bytes }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(self.bytes, Relaxed);
    }
}

fn peer_statistics((id, peer): (&NodeId, &kontiki_transport::PeerStatistics)) -> PeerStatistics {
    PeerStatistics {
        id: id.0,
        connected: peer.connected,
        sent_bytes: peer.bytes_sent,
        received_bytes: peer.bytes_received,
        sent_failures: peer.frames_dropped,
        disconnects: peer.disconnects,
        rtt_seconds: peer.rtt_us.map(|us| Duration::from_micros(us).as_secs_f64()),
        rtt: HistogramSnapshot {
            bounds: (0..peer.rtt_counts.len() - 1).map(|doublings| 1e-4 * f64::from(1 << doublings)).collect(),
            counts: peer.rtt_counts.to_vec(),
            sum: Duration::from_micros(peer.rtt_sum_us).as_secs_f64(),
        },
    }
}
