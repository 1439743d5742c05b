//! One member: a replica, the log as its driver sees it, and what of it would survive a crash.

use std::collections::VecDeque;
use std::sync::Arc;

use kontiki_raft::{
    Append, Configuration, Content, Decision, Exclusion, HardState, Incarnation, Index, LogPosition, Node, NodeId,
    Persist, Settings, SnapshotMeta, Start, Ticket,
};

use super::facts::Facts;
use super::log::{Entry, Log};

/// What survives a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The life of this disk.
    pub incarnation: Option<Incarnation>,
    pub hard_state: HardState,
    pub log: Log,
    /// What the checkpoint of the state machine holds.
    pub applied: Index,
}

/// A write under way.
#[derive(Clone, Debug)]
struct Write {
    ticket: Ticket,
    hard_state: Option<HardState>,
    append: Option<(Index, Vec<Entry>)>,
}

/// One member of a cluster.
pub struct Member {
    pub id: NodeId,
    /// None while the process is down.
    pub node: Option<Node>,
    /// The process stands still: it hears nothing and its clock does not run.
    pub paused: bool,
    /// The log with everything staged.
    pub log: Log,
    pub stored: Stored,
    /// Disks that this member had before: what they acknowledged counted when it was counted.
    pub former: Vec<Stored>,
    /// The log as it was once, to which a broken disk goes back.
    pub remembered: Option<Log>,
    /// What the driver was told is committed.
    pub committed: Index,
    /// Was told that it does not count, while this was its newest configuration.
    pub excluded: Option<(Exclusion, Arc<Configuration>)>,
    /// Its decisions are told.
    pub listens: bool,
    pub settings: Arc<Settings>,
    writes: VecDeque<Write>,
    initial: Arc<Configuration>,
}

impl Member {
    /// A member with an empty disk. It starts with the configuration `initial`; where that is empty, it waits to join.
    pub fn new(
        id: NodeId,
        incarnation: Option<Incarnation>,
        initial: Arc<Configuration>,
        settings: Arc<Settings>,
        seed: u64,
    ) -> Member {
        let log = Log::of(Arc::clone(&initial));
        let mut member = Member {
            id,
            node: None,
            paused: false,
            log: log.clone(),
            stored: Stored { incarnation, log, ..Stored::default() },
            former: Vec::new(),
            remembered: None,
            committed: Index(0),
            excluded: None,
            listens: false,
            settings,
            writes: VecDeque::new(),
            initial,
        };
        member.restart(seed);
        member
    }

    pub fn node(&self) -> &Node {
        self.node.as_ref().expect("the member runs")
    }

    /// How many writes are under way.
    pub fn writes(&self) -> usize {
        self.writes.len()
    }

    /// The disk of one life of this member, of any where the life is not told: the present one or a former.
    pub fn disks(&self, life: Option<Incarnation>) -> impl Iterator<Item = &Stored> {
        let all = self.former.iter().chain([&self.stored]);
        all.filter(move |disk| life.is_none() || disk.incarnation == life)
    }

    /// What the replica has decided since this was last asked.
    pub fn take_decisions(&mut self) -> Vec<Decision> {
        self.node.as_mut().map_or_else(Vec::new, Node::take_decisions)
    }

    /// Begins or ends to tell decisions.
    pub fn listen(&mut self, listens: bool) {
        self.listens = listens;
        if let Some(node) = &mut self.node {
            node.listen(listens);
        }
    }

    /// Takes a write over, with the entries that it names.
    pub fn stage(&mut self, persist: Persist, received: &[Entry], proposed: impl FnMut() -> u64, facts: &mut Facts) {
        let append = persist.append.map(|append| {
            let entries = entries_of(&append, received, proposed);
            let mut before = self.log.term_at(append.first.previous()).expect("an append continues the log");
            for (index, entry) in (append.first.0..).map(Index).zip(&entries) {
                facts.entry(LogPosition { term: entry.term, index }, entry, before);
                before = entry.term;
            }
            if let Content::Configuration(next) = &append.content {
                facts.appends_configuration(self, next);
            }
            self.log.write(append.first, &entries);
            (append.first, entries)
        });
        self.writes.push_back(Write { ticket: persist.ticket, hard_state: persist.hard_state, append });
    }

    /// The oldest write reaches the disk.
    pub fn complete_write(&mut self) -> Option<Ticket> {
        let write = self.writes.pop_front()?;
        if let Some(hard_state) = write.hard_state {
            self.stored.hard_state = hard_state;
        }
        if let Some((first, entries)) = write.append {
            // A snapshot may have replaced the log since; then the write is void, as it is in the real log.
            if first > self.stored.log.compacted.index && first <= self.stored.log.last().next() {
                self.stored.log.write(first, &entries);
            }
        }
        Some(write.ticket)
    }

    /// A description of everything applied.
    pub fn snapshot(&self) -> SnapshotMeta {
        let index = self.node().applied();
        let position = self.log.position_at(index).expect("the applied entry's term is known");
        SnapshotMeta { position, configuration: Arc::clone(self.log.configuration_at(index).1) }
    }

    pub fn install(&mut self, meta: SnapshotMeta) {
        self.log = Log { compacted: meta.position, base: meta.configuration, entries: Vec::new() };
        for write in &mut self.writes {
            write.append = None;
        }
        self.stored.log = self.log.clone();
        self.stored.applied = meta.position.index;
        self.committed = meta.position.index;
    }

    /// Takes a checkpoint and cuts the log, `keep` entries behind it.
    pub fn checkpoint(&mut self, keep: u64) -> Option<Index> {
        let node = self.node.as_ref()?;
        let applied = node.applied().min(node.durable_index()).min(self.stored.log.last());
        // Who joined by entries does not know the members before those that added it, and keeps them (bug M12).
        let known = !self.log.configuration_at(applied).1.voters.is_empty();
        if applied <= self.stored.applied || !known {
            return None;
        }
        self.stored.applied = applied;
        let cut = Index(applied.0.saturating_sub(keep));
        let known = !self.log.configuration_at(cut).1.voters.is_empty();
        if cut <= self.log.compacted.index || !known {
            return None;
        }
        let position = self.log.position_at(cut)?;
        self.log.compact(position);
        self.stored.log.compact(position);
        Some(cut)
    }

    pub fn crash(&mut self, survive: usize) {
        for _ in 0..survive.min(self.writes.len()) {
            self.complete_write();
        }
        self.writes.clear();
        self.node = None;
        self.paused = false;
        self.excluded = None;
    }

    /// The disk is lost while the process is down. The next life is another one, or cannot be told from this.
    pub fn wipe(&mut self, next: Option<Incarnation>, joins: bool) {
        let initial = if joins { Arc::default() } else { Arc::clone(&self.initial) };
        let empty = Stored { incarnation: next, log: Log::of(initial), ..Stored::default() };
        self.former.push(std::mem::replace(&mut self.stored, empty));
    }

    /// The disk loses, while the process is down, what was written to the log since it was remembered.
    pub fn forget(&mut self) {
        let log = self.remembered.take().expect("something is remembered");
        let stored = Stored { log, ..self.stored.clone() };
        self.former.push(std::mem::replace(&mut self.stored, stored));
    }

    pub fn restart(&mut self, seed: u64) {
        self.log = self.stored.log.clone();
        self.committed = self.stored.applied;
        let applied = self.stored.applied;
        let in_log = self.log.configurations();
        let mut node = Node::new(Start {
            id: self.id,
            incarnation: self.stored.incarnation,
            hard_state: self.stored.hard_state,
            compacted: self.log.compacted,
            runs: self.log.runs(),
            last: self.log.last(),
            configuration: Arc::clone(self.log.configuration_at(applied).1),
            configurations: in_log.map(|(index, configuration)| (index, Arc::clone(configuration))).collect(),
            applied,
            seed,
            settings: Arc::clone(&self.settings),
        });
        node.listen(self.listens);
        self.node = Some(node);
    }

    /// The core's picture of the log is the log.
    pub fn check_view(&self) {
        let Some(node) = &self.node else { return };
        assert_eq!(node.last_index(), self.log.last(), "{}: the core's log ends elsewhere", self.id);
        assert_eq!(node.compacted(), self.log.compacted, "{}: the core's log begins elsewhere", self.id);
        for index in self.log.compacted.index.0..=self.log.last().0 {
            assert_eq!(node.term_at(Index(index)), self.log.term_at(Index(index)), "{}: term of {index}", self.id);
        }
        assert_eq!(node.configuration(), self.log.configuration(), "{}: another configuration is in force", self.id);
    }
}

/// The entries that an append names, with their content.
fn entries_of(append: &Append, received: &[Entry], mut proposed: impl FnMut() -> u64) -> Vec<Entry> {
    let count = (append.last.0 + 1 - append.first.0) as usize;
    let term_of = |index: Index| append.runs.iter().rev().find(|run| run.first <= index).unwrap().term;
    let own = || Entry::of_term(term_of(append.first));
    let entries: Vec<Entry> = match &append.content {
        Content::Received => received[received.len() - count..].to_vec(),
        Content::Proposals => (0..count).map(|_| Entry { number: proposed(), ..own() }).collect(),
        Content::Blank => vec![own()],
        Content::Configuration(configuration) => {
            vec![Entry { configuration: Some(Arc::clone(configuration)), ..own() }]
        }
    };
    assert_eq!(entries.len(), count, "an append names as many entries as there are");
    for (index, entry) in (append.first.0..).map(Index).zip(&entries) {
        assert_eq!(entry.term, term_of(index), "the append names the entries' terms");
    }
    entries
}
