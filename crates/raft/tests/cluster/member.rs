//! One member: a replica, the log as its driver sees it, and what of it would survive a crash.

use std::collections::VecDeque;

use kontiki_raft::{
    Configuration, Content, EntrySizes, HardState, Index, LogPosition, Node, NodeId, Persist, Settings, SnapshotMeta,
    Start, Term, TermRun, Ticket,
};

use super::facts::Facts;

/// An entry: its term and a number that no other proposal has; zero for a blank one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub term: Term,
    pub number: u64,
}

/// Entries behind a compacted position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub compacted: LogPosition,
    pub entries: Vec<Entry>,
}

impl Log {
    pub fn last(&self) -> Index {
        Index(self.compacted.index.0 + self.entries.len() as u64)
    }

    pub fn entry(&self, index: Index) -> Option<Entry> {
        let place = index.0.checked_sub(self.compacted.index.0 + 1)?;
        self.entries.get(place as usize).copied()
    }

    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.compacted.index {
            return Some(self.compacted.term);
        }
        self.entry(index).map(|entry| entry.term)
    }

    pub fn read(&self, first: Index, last: Index) -> Vec<Entry> {
        (first.0..=last.0).map(|index| self.entry(Index(index)).expect("entries to send are held")).collect()
    }

    pub fn positions(&self) -> impl Iterator<Item = LogPosition> + '_ {
        let first = self.compacted.index.next().0;
        self.entries
            .iter()
            .enumerate()
            .map(move |(place, entry)| LogPosition { term: entry.term, index: Index(first + place as u64) })
    }

    /// Replaces everything from `first` on.
    pub fn write(&mut self, first: Index, entries: &[Entry]) {
        assert!(first <= self.last().next(), "a write leaves a gap (bug L14)");
        assert!(first > self.compacted.index, "a write reaches into the compacted part (bug L20)");
        self.entries.truncate((first.0 - self.compacted.index.0 - 1) as usize);
        self.entries.extend_from_slice(entries);
    }

    fn compact(&mut self, position: LogPosition) {
        if position.index <= self.compacted.index {
            return;
        }
        self.entries.drain(..(position.index.0 - self.compacted.index.0) as usize);
        self.compacted = position;
    }

    fn runs(&self) -> Vec<TermRun> {
        let mut runs: Vec<TermRun> = Vec::new();
        for position in self.positions() {
            if runs.last().is_none_or(|run| run.term != position.term) {
                runs.push(TermRun { term: position.term, first: position.index });
            }
        }
        runs
    }
}

/// One byte for each entry.
impl EntrySizes for Log {
    fn fit(&self, first: Index, last: Index, bytes_max: u64) -> (Index, u64) {
        assert!(first > self.compacted.index && last <= self.last(), "sizes of entries that are not held");
        let last = last.min(Index(first.0 + bytes_max.max(1) - 1));
        (last, last.0 + 1 - first.0)
    }
}

/// What survives a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
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
    /// The log with everything staged.
    pub log: Log,
    pub stored: Stored,
    /// What the driver was told is committed.
    pub committed: Index,
    writes: VecDeque<Write>,
    configuration: Configuration,
    settings: Settings,
}

impl Member {
    pub fn new(id: NodeId, configuration: Configuration, settings: Settings, seed: u64) -> Member {
        let mut member = Member {
            id,
            node: None,
            log: Log::default(),
            stored: Stored::default(),
            committed: Index(0),
            writes: VecDeque::new(),
            configuration,
            settings,
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

    /// Takes a write over, with the entries that it names.
    pub fn stage(
        &mut self,
        persist: Persist,
        received: &[Entry],
        mut proposed: impl FnMut() -> u64,
        facts: &mut Facts,
    ) {
        let append = persist.append.map(|append| {
            let count = (append.last.0 + 1 - append.first.0) as usize;
            let term_of = |index: Index| append.runs.iter().rev().find(|run| run.first <= index).unwrap().term;
            let entries: Vec<Entry> = match append.content {
                Content::Received => received[received.len() - count..].to_vec(),
                Content::Proposals => {
                    (0..count).map(|_| Entry { term: term_of(append.first), number: proposed() }).collect()
                }
                Content::Blank | Content::Configuration(_) => vec![Entry { term: term_of(append.first), number: 0 }],
            };
            let mut before = self.log.term_at(append.first.previous()).expect("an append continues the log");
            for (index, entry) in (append.first.0..).map(Index).zip(&entries) {
                assert_eq!(entry.term, term_of(index), "the append names the entries' terms");
                facts.entry(LogPosition { term: entry.term, index }, *entry, before);
                before = entry.term;
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
        let node = self.node();
        let index = node.applied();
        let term = self.log.term_at(index).expect("the applied entry's term is known");
        SnapshotMeta { position: LogPosition { term, index }, configuration: node.configuration_at(index).clone() }
    }

    pub fn install(&mut self, meta: SnapshotMeta) {
        self.log = Log { compacted: meta.position, entries: Vec::new() };
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
        if applied <= self.stored.applied {
            return None;
        }
        self.stored.applied = applied;
        let cut = Index(applied.0.saturating_sub(keep));
        if cut <= self.log.compacted.index {
            return None;
        }
        let position = LogPosition { term: self.log.term_at(cut)?, index: cut };
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
    }

    pub fn restart(&mut self, seed: u64) {
        self.log = self.stored.log.clone();
        self.committed = self.stored.applied;
        self.node = Some(Node::new(Start {
            id: self.id,
            hard_state: self.stored.hard_state,
            compacted: self.log.compacted,
            runs: self.log.runs(),
            last: self.log.last(),
            configuration: self.configuration.clone(),
            configurations: Vec::new(),
            applied: self.stored.applied,
            seed,
            settings: self.settings,
        }));
    }

    /// The core's picture of the log is the log.
    pub fn check_view(&self) {
        let Some(node) = &self.node else { return };
        assert_eq!(node.last_index(), self.log.last(), "{}: the core's log ends elsewhere", self.id);
        assert_eq!(node.compacted(), self.log.compacted, "{}: the core's log begins elsewhere", self.id);
        for index in self.log.compacted.index.0..=self.log.last().0 {
            assert_eq!(node.term_at(Index(index)), self.log.term_at(Index(index)), "{}: term of {index}", self.id);
        }
    }
}
