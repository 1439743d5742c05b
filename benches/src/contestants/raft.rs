//! Crate `raft` (TiKV's), driven by [`RawNode`].

use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType, Snapshot};
use raft::storage::{GetEntriesContext, RaftState, Storage};
use raft::{Config, RawNode, StateRole, StorageError};

use crate::batch::{Batch, Entries};
use crate::cluster::{Context, MEMBERS, Replica};
use crate::machine::Machine;
use crate::memory_log::{MemoryLog, Retention};

/// A replica driven by [`RawNode`].
pub struct RaftReplica {
    node: RawNode<Store>,
    machine: Machine,
}

fn id_of(place: usize) -> u64 {
    place as u64 + 1
}

fn place_of(id: u64) -> usize {
    id as usize - 1
}

/// As Kontiki's settings, as far as both have them; what is bounded there and does not bind is not bounded here, which
/// spares `raft` the measuring of every entry.
fn config(place: usize) -> Config {
    Config {
        id: id_of(place),
        election_tick: 10,
        heartbeat_tick: 1,
        max_size_per_msg: raft::NO_LIMIT,
        max_inflight_msgs: 64,
        check_quorum: true,
        pre_vote: true,
        // Followers learn what is committed from the next message instead of one of its own.
        skip_bcast_commit: true,
        ..Config::default()
    }
}

impl Replica for RaftReplica {
    type Message = Message;
    type Scratch = ();

    fn new(place: usize, retention: Retention) -> RaftReplica {
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config(place), Store::new(retention), &silent).expect("the configuration is valid");
        RaftReplica { node, machine: Machine::default() }
    }

    fn campaign(&mut self, _: &mut Context<'_, Self>) {
        self.node.campaign().expect("a follower may stand");
    }

    /// All commands of a turn in one message: proposed one by one, each would be sent by itself.
    fn propose(&mut self, commands: &Batch, _: &mut Context<'_, Self>) {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.node.raft.id;
        message.entries =
            commands.as_slice().map(|command| Entry { data: command.to_vec(), ..Entry::default() }).collect();
        self.node.step(message).expect("the leader takes proposals");
    }

    fn receive(&mut self, _: usize, message: Message, _: &mut Entries<'_>, _: &mut Context<'_, Self>) {
        self.node.step(message).expect("messages between members are valid");
    }

    fn flush(&mut self, context: &mut Context<'_, Self>) {
        if !self.node.has_ready() {
            return;
        }
        let mut ready = self.node.ready();
        send(ready.take_messages(), context);
        self.apply(ready.committed_entries());
        let store = self.node.mut_store();
        store.append(ready.entries());
        if let Some(hard_state) = ready.hs() {
            store.hard_state = hard_state.clone();
        }
        send(ready.take_persisted_messages(), context);
        // The write is durable: what rests on it may be done now.
        let mut light = self.node.advance_append(ready);
        if let Some(commit) = light.commit_index() {
            self.node.mut_store().hard_state.commit = commit;
        }
        send(light.take_messages(), context);
        self.apply(light.committed_entries());
        self.node.advance_apply();
        let applied = self.node.raft.raft_log.applied;
        let store = self.node.mut_store();
        if let Some(cut) = store.log.cut(applied) {
            store.cut = cut;
        }
    }

    fn conclude(&mut self, _: &mut Context<'_, Self>) {
        self.node.ping();
    }

    fn machine(&self) -> Machine {
        self.machine
    }

    fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader && self.node.raft.commit_to_current_term()
    }
}

impl RaftReplica {
    fn apply(&mut self, entries: &[Entry]) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        self.node.raft.raft_log.store.log.iter(first.index, last.index).for_each(|entry| self.machine.apply(entry));
    }
}

fn send(messages: Vec<Message>, context: &mut Context<'_, RaftReplica>) {
    for message in messages {
        context.send(place_of(message.to), message);
    }
}

/// The log in memory, behind the trait through which `raft` reads it.
struct Store {
    hard_state: HardState,
    log: MemoryLog,
    /// Where each term begins, oldest first: index and term.
    terms: Vec<(u64, u64)>,
    /// The last entry that was cut off.
    cut: u64,
}

impl Store {
    fn new(retention: Retention) -> Store {
        Store { hard_state: HardState::default(), log: MemoryLog::new(retention), terms: Vec::new(), cut: 0 }
    }

    fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        self.log.write_all(first.index, entries.iter().map(|entry| entry.data.as_slice()));
        while self.terms.last().is_some_and(|(begin, _)| *begin >= first.index) {
            self.terms.pop();
        }
        for entry in entries {
            if self.terms.last().is_none_or(|(_, term)| *term != entry.term) {
                self.terms.push((entry.index, entry.term));
            }
        }
    }

    fn term_of(&self, index: u64) -> u64 {
        self.terms.iter().rev().find(|(begin, _)| *begin <= index).map_or(0, |(_, term)| *term)
    }
}

impl Storage for Store {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let voters: Vec<u64> = (0..MEMBERS).map(id_of).collect();
        Ok(RaftState::new(self.hard_state.clone(), ConfState::from((voters, Vec::new()))))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.cut {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let entry = |index, data| Entry { index, term: self.term_of(index), data, ..Entry::default() };
        if !context.can_async() {
            // Asked for what is committed. The driver has it in this log, and applies it from there.
            return Ok((low..high).map(|index| entry(index, Vec::new())).collect());
        }
        let payloads = self.log.iter(low, high - 1).map(<[u8]>::to_vec);
        let mut entries = (low..high).zip(payloads).map(|(index, data)| entry(index, data)).collect();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.cut {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if index > self.log.last() {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        Ok(self.term_of(index))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.cut + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.log.last())
    }

    fn snapshot(&self, _: u64, _: u64) -> raft::Result<Snapshot> {
        Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
