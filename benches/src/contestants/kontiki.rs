//! Kontiki's core in the loop of its documentation: step through the turn's inputs, report what is durable, flush once.

use std::sync::{Arc, LazyLock};

use kontiki_raft::{
    Append, Body, Configuration, Content, Effect, EntrySizes, HardState, Index, Input, LogPosition, Message, Node,
    NodeId, Persist, Settings, Start, TermRuns, Ticket,
};

use crate::batch::{Batch, Entries};
use crate::cluster::{Context, MEMBERS, Replica};
use crate::machine::Machine;
use crate::memory_log::{MemoryLog, Retention};

/// A replica driven by [`Node`].
pub struct KontikiReplica {
    node: Node,
    log: MemoryLog,
    machine: Machine,
    /// What was written since it was last reported: in memory, a write is durable at once.
    written: Option<Ticket>,
}

/// Shared by all groups. Followers learn what is committed from the next message instead of one of its own.
static SETTINGS: LazyLock<Arc<Settings>> =
    LazyLock::new(|| Arc::new(Settings { tell_commit_at_once: false, ..Settings::default() }));
static CONFIGURATION: LazyLock<Arc<Configuration>> =
    LazyLock::new(|| Arc::new(Configuration::of((0..MEMBERS).map(node_id))));

impl EntrySizes for MemoryLog {
    fn fit(&self, first: Index, last: Index, bytes_max: u64) -> (Index, u64) {
        let (last, bytes) = MemoryLog::fit(self, first.0, last.0, bytes_max);
        (Index(last), bytes)
    }
}

fn node_id(place: usize) -> NodeId {
    NodeId(place as u64 + 1)
}

fn place_of(id: NodeId) -> usize {
    id.0 as usize - 1
}

impl Replica for KontikiReplica {
    type Message = Message;
    type Scratch = Vec<Effect>;

    fn new(place: usize, retention: Retention) -> KontikiReplica {
        let node = Node::new(Start {
            id: node_id(place),
            incarnation: None,
            hard_state: HardState::default(),
            compacted: LogPosition::START,
            runs: TermRuns::default(),
            last: Index(0),
            configuration: CONFIGURATION.clone(),
            configurations: Vec::new(),
            applied: Index(0),
            seed: 42,
            settings: SETTINGS.clone(),
        });
        KontikiReplica { node, log: MemoryLog::new(retention), machine: Machine::default(), written: None }
    }

    fn campaign(&mut self, context: &mut Context<'_, Self>) {
        self.step(Input::Campaign, Entries::default(), context);
    }

    fn propose(&mut self, commands: &Batch, context: &mut Context<'_, Self>) {
        let input = Input::Propose { count: commands.len() as u64, bytes: commands.bytes() };
        self.step(input, commands.as_slice(), context);
    }

    fn receive(&mut self, from: usize, message: Message, entries: &mut Entries<'_>, context: &mut Context<'_, Self>) {
        let received = entries.split(entry_count(&message));
        self.step(Input::Receive { from: node_id(from), message }, received, context);
    }

    fn flush(&mut self, context: &mut Context<'_, Self>) {
        if let Some(ticket) = self.written.take() {
            self.step(Input::Persisted(ticket), Entries::default(), context);
        }
        self.node.flush(&self.log, context.scratch);
        self.carry_out(Entries::default(), context);
    }

    fn conclude(&mut self, context: &mut Context<'_, Self>) {
        self.step(Input::Tick, Entries::default(), context);
    }

    fn machine(&self) -> Machine {
        self.machine
    }

    fn leads(&self) -> bool {
        self.node.committed_in_own_term()
    }
}

impl KontikiReplica {
    /// Takes an input; `entries` are the bytes that came with it.
    fn step(&mut self, input: Input, entries: Entries<'_>, context: &mut Context<'_, Self>) {
        self.node.step(input, context.scratch);
        self.carry_out(entries, context);
    }

    fn carry_out(&mut self, entries: Entries<'_>, context: &mut Context<'_, Self>) {
        if context.scratch.is_empty() {
            return;
        }
        let mut effects = std::mem::take(context.scratch);
        for effect in effects.drain(..) {
            match effect {
                Effect::Persist(persist) => self.persist(persist, entries),
                Effect::Send { to, message } => self.send(place_of(to), message, context),
                Effect::Committed(index) => self.apply(index),
                Effect::LeadershipChanged(_) => {}
                other => unreachable!("nothing leads to {other:?} in steady state"),
            }
        }
        *context.scratch = effects;
    }

    fn persist(&mut self, persist: Persist, entries: Entries<'_>) {
        if let Some(Append { first, content, .. }) = persist.append {
            match content {
                Content::Proposals | Content::Received => self.log.write(first.0, entries),
                Content::Blank => self.log.write_all(first.0, [&[][..]].into_iter()),
                Content::Configuration(_) => unreachable!("the membership does not change"),
            }
        }
        self.written = Some(persist.ticket);
    }

    fn send(&self, to: usize, message: Message, context: &mut Context<'_, Self>) {
        if let Body::AppendEntries(request) = &message.body
            && entry_count(&message) > 0
        {
            let (first, last) = (request.entries.prev.index.0 + 1, request.entries.last.0);
            self.log.copy_to(first, last, context.entries_to(to));
        }
        context.send(to, message);
    }

    fn apply(&mut self, index: Index) {
        self.log.iter(self.node.applied().0 + 1, index.0).for_each(|entry| self.machine.apply(entry));
        let mut none = Vec::new();
        self.node.step(Input::Applied(index), &mut none);
        if let Some(gone) = self.log.cut(index.0) {
            self.node.step(Input::Compacted(Index(gone)), &mut none);
        }
        assert!(none.is_empty(), "applying and compacting have no effect in steady state");
    }
}

/// How many entries travel beside a message.
fn entry_count(message: &Message) -> usize {
    match &message.body {
        Body::AppendEntries(request) => (request.entries.last.0 - request.entries.prev.index.0) as usize,
        _ => 0,
    }
}
