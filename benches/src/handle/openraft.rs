//! openraft, with log, state machine and network in memory.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Cursor;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, RemoteError};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::storage::{LogFlushed, LogState, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{
    BasicNode, Config, EntryPayload, LogId, OptionalSend, Raft, Snapshot, SnapshotMeta, StorageError, StoredMembership,
    Vote,
};

use super::{Handle, Service};
use crate::closed_loop::Load;
use crate::cluster::MEMBERS;
use crate::machine::Machine;

openraft::declare_raft_types!(
    /// Commands are bytes, answers are empty.
    pub Types:
        D = Bytes,
        R = (),
);

type Entry = openraft::Entry<Types>;
type StorageResult<T> = Result<T, StorageError<u64>>;

/// Longest time that an election, or the rest of a run, may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Three instances.
pub struct Openraft {
    members: Vec<Raft<Types>>,
    machines: Vec<Store>,
    leader: usize,
}

impl Service for Openraft {
    type Handle = Raft<Types>;

    async fn start(_: &Load) -> Openraft {
        let config = Config {
            heartbeat_interval: 500,
            election_timeout_min: 1500,
            election_timeout_max: 3000,
            max_payload_entries: 4096,
            // Enough of the log stays for a follower that is behind: snapshots are not what is measured.
            max_in_snapshot_log_to_keep: 20_000,
            ..Config::default()
        };
        let config = Arc::new(config.validate().expect("the configuration is valid"));
        let network = Network::default();
        let (mut members, mut machines) = (Vec::new(), Vec::new());
        for place in 0..MEMBERS {
            let store = Store::default();
            let started = Raft::new(place as u64, config.clone(), network.clone(), store.clone(), store.clone()).await;
            members.push(started.expect("an empty store can be opened"));
            machines.push(store);
        }
        network.0.set(members.clone()).unwrap_or_else(|_| unreachable!("set once"));
        let voters: BTreeMap<u64, BasicNode> = (0..MEMBERS as u64).map(|id| (id, BasicNode::default())).collect();
        members[0].initialize(voters).await.expect("nobody has begun before");
        let wait = members[0].wait(Some(PATIENCE));
        let elected = wait.metrics(|metrics| metrics.current_leader.is_some(), "a leader is elected").await;
        let leader = elected.ok().and_then(|metrics| metrics.current_leader).expect("three members elect a leader");
        Openraft { members, machines, leader: leader as usize }
    }

    fn handle(&self) -> Raft<Types> {
        self.members[self.leader].clone()
    }

    async fn finish(self) -> u64 {
        let (index, machine) = {
            let leader = self.machines[self.leader].lock();
            (leader.applied.map(|applied| applied.index), leader.machine)
        };
        for (member, store) in self.members.iter().zip(&self.machines) {
            let wait = member.wait(Some(PATIENCE));
            wait.applied_index_at_least(index, "all is applied").await.expect("all replicas apply everything");
            assert_eq!(store.lock().machine, machine, "replicas differ");
        }
        for member in &self.members {
            member.shutdown().await.expect("an instance can be stopped");
        }
        machine.count
    }
}

impl Handle for Raft<Types> {
    async fn write(&self, command: &[u8]) {
        self.client_write(Bytes::copy_from_slice(command)).await.expect("the leader takes proposals");
    }
}

/// Calls the other instances directly. Every replica owns its bytes: a follower's are copied here, as a socket would.
#[derive(Clone, Default)]
pub struct Network(Arc<OnceLock<Vec<Raft<Types>>>>);

/// The way to one of them.
pub struct Connection {
    network: Network,
    target: u64,
}

impl Connection {
    fn target(&self) -> &Raft<Types> {
        &self.network.0.get().expect("nobody sends before all are started")[self.target as usize]
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, _: &BasicNode) -> Connection {
        Connection { network: self.clone(), target }
    }
}

type Rpc<T, E = openraft::error::Infallible> = Result<T, RPCError<u64, BasicNode, RaftError<u64, E>>>;

impl RaftNetwork<Types> for Connection {
    async fn append_entries(
        &mut self,
        mut request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Rpc<AppendEntriesResponse<u64>> {
        for entry in &mut request.entries {
            if let EntryPayload::Normal(command) = &mut entry.payload {
                *command = Bytes::copy_from_slice(command);
            }
        }
        self.target().append_entries(request).await.map_err(|error| RemoteError::new(self.target, error).into())
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        _: RPCOption,
    ) -> Rpc<InstallSnapshotResponse<u64>, InstallSnapshotError> {
        self.target().install_snapshot(request).await.map_err(|error| RemoteError::new(self.target, error).into())
    }

    async fn vote(&mut self, request: VoteRequest<u64>, _: RPCOption) -> Rpc<VoteResponse<u64>> {
        self.target().vote(request).await.map_err(|error| RemoteError::new(self.target, error).into())
    }
}

/// One instance's log and state machine.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    vote: Option<Vote<u64>>,
    purged: Option<LogId<u64>>,
    log: std::collections::VecDeque<Entry>,
    machine: Machine,
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
    snapshot: Option<Snapshot<Types>>,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    /// Where in the queue the entry at `index` is, or would be.
    fn place(&self, index: u64) -> usize {
        let first = self.log.front().map_or(index, |entry| entry.log_id.index);
        (index.saturating_sub(first) as usize).min(self.log.len())
    }
}

impl RaftLogReader<Types> for Store {
    async fn try_get_log_entries<B: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: B,
    ) -> StorageResult<Vec<Entry>> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let stored = self.lock();
        let first = match range.start_bound() {
            Included(first) => stored.place(*first),
            Excluded(before) => stored.place(before + 1),
            Unbounded => 0,
        };
        let end = match range.end_bound() {
            Included(last) => stored.place(last + 1),
            Excluded(end) => stored.place(*end),
            Unbounded => stored.log.len(),
        };
        Ok(stored.log.range(first..end).cloned().collect())
    }
}

impl RaftLogStorage<Types> for Store {
    type LogReader = Store;

    async fn get_log_state(&mut self) -> StorageResult<LogState<Types>> {
        let stored = self.lock();
        let last = stored.log.back().map(|entry| entry.log_id).or(stored.purged);
        Ok(LogState { last_purged_log_id: stored.purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Store {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> StorageResult<()> {
        self.lock().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> StorageResult<Option<Vote<u64>>> {
        Ok(self.lock().vote)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> StorageResult<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.lock().log.extend(entries);
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, from: LogId<u64>) -> StorageResult<()> {
        let mut stored = self.lock();
        let place = stored.place(from.index);
        stored.log.truncate(place);
        Ok(())
    }

    async fn purge(&mut self, up_to: LogId<u64>) -> StorageResult<()> {
        let mut stored = self.lock();
        let end = stored.place(up_to.index + 1);
        stored.log.drain(..end);
        stored.purged = Some(up_to);
        Ok(())
    }
}

impl RaftStateMachine<Types> for Store {
    type SnapshotBuilder = Store;

    async fn applied_state(&mut self) -> StorageResult<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>)> {
        let stored = self.lock();
        Ok((stored.applied, stored.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> StorageResult<Vec<()>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut stored = self.lock();
        let mut answers = Vec::new();
        for entry in entries {
            stored.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(command) => stored.machine.apply(&command),
                EntryPayload::Membership(membership) => {
                    stored.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
            answers.push(());
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Store {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> StorageResult<Box<Cursor<Vec<u8>>>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> StorageResult<()> {
        let mut stored = self.lock();
        let (words, _) = snapshot.get_ref().as_chunks::<8>();
        stored.machine = Machine { count: u64::from_le_bytes(words[0]), checksum: u64::from_le_bytes(words[1]) };
        stored.applied = meta.last_log_id;
        stored.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> StorageResult<Option<Snapshot<Types>>> {
        Ok(self.lock().snapshot.clone())
    }
}

impl RaftSnapshotBuilder<Types> for Store {
    /// Sixteen bytes: what lets the log be cut is as cheap as it can be.
    async fn build_snapshot(&mut self) -> StorageResult<Snapshot<Types>> {
        let mut stored = self.lock();
        let meta = SnapshotMeta {
            last_log_id: stored.applied,
            last_membership: stored.membership.clone(),
            snapshot_id: stored.machine.count.to_string(),
        };
        let state = [stored.machine.count.to_le_bytes(), stored.machine.checksum.to_le_bytes()].concat();
        let snapshot = Snapshot { meta, snapshot: Box::new(Cursor::new(state)) };
        stored.snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }
}
