//! What the cluster committed, gathered from whichever member applies it first, and whether all who applied as much are at
//! the same state.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_engine::Engine;
use kontiki_raft::{Index, NodeId, RoleKind};
use kontiki_store::{GROUP, StoreMachine};

use super::{Applied, Recorder, Reign};
use crate::observation::Violation;

/// Most bytes of entries that are fetched in one go.
const FETCH_BYTES: u64 = 4 << 20;

/// Follows the members' progress.
#[derive(Debug)]
pub(crate) struct Committed {
    recorder: Recorder,
    /// How far each member is, in its present life.
    reached: BTreeMap<NodeId, Index>,
    /// When each entry was first applied; the first stands for index 1.
    times: Vec<Duration>,
    /// Who first showed which digest at which index.
    digests: BTreeMap<u64, (u64, NodeId)>,
    /// A member was told to go on alone: history forks, and what others had applied proves nothing any more.
    forked: bool,
}

impl Committed {
    pub(crate) fn new(recorder: Recorder) -> Committed {
        Committed { recorder, reached: BTreeMap::new(), times: Vec::new(), digests: BTreeMap::new(), forked: false }
    }

    /// A member goes on alone, with whatever it has.
    pub(crate) fn fork(&mut self) {
        self.forked = true;
    }

    /// Whether the history is that of one cluster.
    pub(crate) fn is_whole(&self) -> bool {
        !self.forked
    }

    /// A process ended: its next life begins wherever its disk is.
    pub(crate) fn ended(&mut self, member: NodeId) {
        self.reached.remove(&member);
    }

    /// A turn of a member has ended.
    pub(crate) fn turned(
        &mut self,
        at: Duration,
        member: NodeId,
        engine: &Engine<StoreMachine>,
    ) -> Result<(), Violation> {
        let (Some(node), Some(machine)) = (engine.node(GROUP), engine.machine(GROUP)) else { return Ok(()) };
        if self.forked {
            return Ok(());
        }
        if node.role() == RoleKind::Leader {
            let reign = Reign { term: node.term(), leader: member, from: at };
            let mut history = self.recorder.history();
            if history.reigns.last().is_none_or(|last| last.term < reign.term) {
                history.reigns.push(reign);
            }
        }
        let (index, digest) = machine.digest();
        if self.reached.insert(member, Index(index)) == Some(Index(index)) {
            return Ok(());
        }
        let known = usize::try_from(index).unwrap_or(usize::MAX);
        if known > self.times.len() {
            self.times.resize(known, at);
        }
        self.fetch(engine);
        self.compare(at, member, index, digest)
    }

    /// Copies what was applied out of a member's log, as far as it stands there. What a fault took from this log comes from
    /// another one.
    fn fetch(&mut self, engine: &Engine<StoreMachine>) {
        let applied = engine.machine(GROUP).map_or(0, |machine| machine.digest().0);
        let mut history = self.recorder.history();
        loop {
            let first = history.applied.len() as u64 + 1;
            if first > applied {
                return;
            }
            let Ok(entries) = engine.log().entries(GROUP, Index(first), Index(applied), FETCH_BYTES) else { return };
            if entries.is_empty() {
                return;
            }
            for entry in entries {
                let at = self.times[history.applied.len()];
                history.applied.push(Applied { index: entry.index, term: entry.term, at, payload: entry.payload });
            }
        }
    }

    fn compare(&mut self, at: Duration, member: NodeId, index: u64, digest: u64) -> Result<(), Violation> {
        let (first, witness) = *self.digests.entry(index).or_insert((digest, member));
        if first == digest {
            return Ok(());
        }
        let what = format!(
            "at applied index {index} member {member} has the digest {digest:016x}, member {witness} had {first:016x}"
        );
        Err(Violation { property: "state machine safety", at, what })
    }

    /// Whether all that was applied is known.
    pub(crate) fn check_complete(&self, at: Duration) -> Result<(), Violation> {
        let known = self.recorder.history().applied.len();
        if known == self.times.len() {
            return Ok(());
        }
        let what =
            format!("{} entries were applied, of which only the first {known} were found in any log", self.times.len());
        Err(Violation { property: "the applied log is known", at, what })
    }
}
