//! A replica that was found damaged: it has no core, so that it neither votes nor acknowledges nor leads nor serves, until it
//! holds again everything that it ever acknowledged.
//!
//! What is lost comes, in this order, from a checkpoint (entries that the state holds are not needed), from the other members'
//! logs ([`accept`]), or from another member's state. Members that are damaged themselves answer like all others, so that two
//! of them with different losses mend each other. Once nothing is missing, everything staged is made durable behind a fence, and
//! a core is born from what the log holds, as after a start of the process.

pub mod accept;
pub mod answer;
pub mod asking;
mod giving;
mod receiving;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_log::{Log, Write};
use kontiki_raft::{Configuration, Index, LogPosition, NodeId, Ticket};
use kontiki_transport::{Frame, Held};

use self::answer::{Question, answer};
use self::asking::{Asking, Missing};
use self::giving::Giving;
use crate::error::EngineError;
use crate::group::{Checkpointing, Shared};
use crate::machine::{CheckpointJob, Mend, Progress, StateMachine};
use crate::replica::Replica;
use crate::transfer::Incoming;

/// The ticket of the fence: above every ticket of the core that is gone, so that none of these can end it early, and the
/// newest that its batch can report.
const FENCE: Ticket = Ticket(u64::MAX);

/// The first pause between two warnings that a replica still waits; each is twice as long as the one before.
const WARN_FIRST: Duration = Duration::from_secs(1);
const WARN_LAST: Duration = Duration::from_secs(60);

/// A stopped replica asks so many times less often.
const STOPPED_PAUSES: u32 = 25;

/// A damaged replica.
pub(crate) struct Mending<S: StateMachine> {
    pub replica: Replica<S>,
    /// The newest membership known: whom to ask.
    members: Arc<Configuration>,
    /// The membership at what the machine holds: for a checkpoint of it.
    applied_members: Arc<Configuration>,
    /// Nobody is to be asked: the operator has decided that this replica goes on alone.
    alone: bool,
    asking: Asking,
    receiving: Option<(Incoming, Duration)>,
    giving: Giving,
    /// The fence is on its way to the disk.
    fenced: bool,
    since: Duration,
    mend: Mend,
    /// When to say next that it takes long, and how long to wait after that.
    warn: (Duration, Duration),
    /// What nobody has, once that was said.
    stopped: Option<Missing>,
}

/// What to do for a damaged replica.
pub(crate) enum Next<S: StateMachine> {
    /// Nothing now.
    Wait,
    /// Write this checkpoint, which holds what the log lost.
    Checkpoint(CheckpointJob<S::CheckpointDone>),
    /// It is whole.
    Whole,
}

impl<S: StateMachine> Mending<S> {
    pub fn new(
        replica: Replica<S>,
        members: Arc<Configuration>,
        applied_members: Arc<Configuration>,
        alone: bool,
        shared: &Shared,
    ) -> Mending<S> {
        let mut mending = Mending {
            replica,
            members,
            applied_members,
            alone,
            asking: Asking::default(),
            receiving: None,
            giving: Giving::default(),
            fenced: false,
            since: shared.now,
            mend: Mend::default(),
            warn: (shared.now + WARN_FIRST, WARN_FIRST),
            stopped: None,
        };
        mending.ask_members(shared.id);
        mending
    }

    /// The newest membership known, and the one at what the machine holds.
    pub fn memberships(&self) -> (Arc<Configuration>, Arc<Configuration>) {
        (Arc::clone(&self.members), Arc::clone(&self.applied_members))
    }

    /// The membership, as far as it is known.
    pub fn members(&self) -> &Arc<Configuration> {
        &self.members
    }

    fn ask_members(&mut self, own: NodeId) {
        if !self.alone {
            self.asking.ask_members(self.members.members().into_iter().filter(|id| *id != own));
        }
    }

    /// What is missing first. None where everything is here.
    fn missing(&self, log: &Log) -> Option<Missing> {
        let compacted = log.first(self.replica.id).previous();
        if compacted > self.replica.applied.index {
            return Some(Missing::State(compacted));
        }
        log.gaps(self.replica.id).first().map(|gap| Missing::Entries(gap.first, gap.last))
    }

    /// Does what can be done now.
    pub fn tend(&mut self, shared: &mut Shared) -> Result<Next<S>, EngineError> {
        if self.fenced {
            return Ok(Next::Wait);
        }
        self.replica.drop_what_is_saved(&mut shared.log);
        let Some(missing) = self.missing(&shared.log) else {
            self.fence(shared);
            return Ok(Next::Wait);
        };
        if let Missing::Entries(first, _) = missing {
            if self.replica.checkpointing.is_some_and(|writing| first <= writing.at.index) {
                return Ok(Next::Wait);
            }
            if let Some(job) = self.begin_checkpoint(first) {
                return Ok(Next::Checkpoint(job));
            }
        }
        self.ask(shared, missing);
        Ok(Next::Wait)
    }

    /// A checkpoint of what the machine holds, where that makes a lost entry needless.
    fn begin_checkpoint(&mut self, lost: Index) -> Option<CheckpointJob<S::CheckpointDone>> {
        let at = self.replica.applied;
        if self.replica.checkpointing.is_some() || lost > at.index || self.applied_members.voters.is_empty() {
            return None;
        }
        let job = self.replica.machine.begin_checkpoint(at, &self.applied_members)?;
        self.replica.checkpointing = Some(Checkpointing { at, entry_bytes: 1 });
        self.replica.replay_bytes = 0;
        Some(job)
    }

    fn ask(&mut self, shared: &mut Shared, missing: Missing) {
        let settings = shared.settings;
        if self.is_receiving(shared.now) {
            return;
        }
        let retry = settings.repair_retry * if self.stopped.is_some() { STOPPED_PAUSES } else { 1 };
        for (to, question) in self.asking.questions(shared.now, retry, settings.repair_bytes_max, missing) {
            let Question { first, last, bytes_max, state } = question;
            shared.send(to, Frame::Repair { group: self.replica.id, first, last, bytes_max, state });
        }
        let hopeless = self.alone || self.asking.is_hopeless(shared.id, &self.members, missing);
        if !hopeless {
            self.stopped = None;
        } else if self.stopped != Some(missing) {
            self.stopped = Some(missing);
            let reason = self.lost_everywhere(&shared.log, missing);
            tracing::error!(group = self.replica.id.0, %reason, "a group stops");
            self.replica.machine.stopped(&reason);
        }
        if shared.now >= self.warn.0 {
            let (waits, said) = (shared.now.saturating_sub(self.since), self.asking.said(missing.first()));
            tracing::warn!(group = self.replica.id.0, ?missing, said, ?waits, "a damaged replica is not whole yet");
            let pause = (self.warn.1 * 2).min(WARN_LAST);
            self.warn = (shared.now + pause, pause);
        }
    }

    fn lost_everywhere(&self, log: &Log, missing: Missing) -> EngineError {
        let index = missing.first();
        let term = log.term_at(self.replica.id, index).unwrap_or_default();
        let what = match missing {
            Missing::Entries(..) => format!("entry {index} of term {term}"),
            Missing::State(_) => format!("the state up to entry {index} of term {term}"),
        };
        let said = self.asking.said(index);
        EngineError::LostEverywhere { group: self.replica.id.0, index: index.0, term: term.0, what, said }
    }

    /// Puts a write behind everything that is staged: term and vote once more.
    fn fence(&mut self, shared: &mut Shared) {
        let hard_state = shared.log.recovered(self.replica.id).map(|known| known.hard_state);
        let write = Write {
            group: self.replica.id,
            ticket: FENCE,
            hard_state: Some(hard_state.unwrap_or_default()),
            entries: Vec::new(),
        };
        shared.log.save(write);
        self.fenced = true;
    }

    /// Everything up to a ticket is durable. `Whole` where that ends the mending.
    pub fn persisted(&mut self, log: &Log, ticket: Ticket) -> Next<S> {
        if !self.fenced || ticket != FENCE {
            return Next::Wait; // of the core that is gone
        }
        self.fenced = false;
        if self.missing(log).is_some() { Next::Wait } else { Next::Whole }
    }

    /// The replica, to be given a core, and what was done for it.
    pub fn end(mut self, now: Duration) -> (Replica<S>, Mend) {
        self.mend.took = now.saturating_sub(self.since);
        (self.replica, self.mend)
    }

    /// A member answered.
    pub fn answered(&mut self, shared: &mut Shared, from: NodeId, held: Held, payloads: Vec<Bytes>) {
        if self.fenced || self.missing(&shared.log).is_none() {
            return;
        }
        let group = self.replica.id;
        let accepted = accept::accept(&mut shared.log, group, self.replica.applied.index, &held, payloads);
        if let Some(at) = accepted.contradicts {
            let applied = self.replica.applied;
            tracing::error!(group = group.0, %from, %at, %applied, "a member's log disagrees with what is applied here: not used");
            return;
        }
        if accepted.helped() {
            tracing::debug!(group = group.0, %from, ?accepted, "took entries");
            self.mend.entries += accepted.entries;
            self.mend.bytes += accepted.bytes;
            self.mend.replaced += accepted.replaced;
        }
        let helped = accepted.helped();
        self.asking.answered(from, held, helped, accepted.ask_from, accepted.state_at_least);
    }

    /// A member asks for what it has lost.
    pub fn asked(&mut self, shared: &mut Shared, from: NodeId, question: &Question) -> Result<(), EngineError> {
        let known = self.missing(&shared.log);
        let stateless = matches!(known, Some(Missing::State(_)));
        let commit = self.replica.applied.index;
        let bytes_max = shared.settings.repair_bytes_max;
        let (held, payloads) = answer(&shared.log, self.replica.id, commit, stateless, question, bytes_max)?;
        shared.send(from, Frame::Repaired { group: self.replica.id, held, payloads });
        if question.state {
            let giver = (self.replica.id, &mut self.replica.machine);
            self.giving.begin(shared, giver, from, question.first)?;
        }
        Ok(())
    }

    /// A member to which the state is being sent answered.
    pub fn snapshot_answer(
        &mut self,
        shared: &mut Shared,
        from: NodeId,
        answer: (LogPosition, u64, bool),
    ) -> Result<(), EngineError> {
        self.giving.answered(shared, self.replica.id, from, answer)
    }

    /// A member can be reached (again).
    pub fn connected(&mut self, shared: &Shared, peer: NodeId) {
        self.giving.connected(shared.now, peer);
        self.asking.connected(peer);
    }

    /// A member says something to the core that is not there: it can be asked, even where it is none in the membership that is
    /// known here.
    pub fn heard(&mut self, from: NodeId) {
        if !self.alone {
            self.asking.ask_also(from);
        }
    }

    /// A checkpoint ended.
    pub fn finish_checkpoint(&mut self, done: S::CheckpointDone) -> Result<(), EngineError> {
        if self.replica.abandoned > 0 {
            self.replica.abandoned -= 1;
            return Ok(());
        }
        if self.replica.checkpointing.take().is_some() {
            self.replica.machine.finish_checkpoint(done)?;
        }
        Ok(())
    }

    /// The state is damaged, beside the rest or as it comes in.
    pub fn lose_state(&mut self) -> Result<(), EngineError> {
        self.receiving = None;
        self.giving.end();
        self.applied_members = Arc::clone(&self.replica.birth.configuration);
        self.replica.lose_state()
    }

    /// Time passes.
    pub fn tick(&mut self, shared: &mut Shared) -> Result<(), EngineError> {
        self.giving.tick(shared, self.replica.id)?;
        let patience = shared.settings.parked_patience;
        self.replica.parked.forget_older(shared.now.saturating_sub(patience));
        // Those who wait are told when it took too long; a replica that does not lead proposes nothing.
        let _ = self.replica.machine.tick(shared.now, false);
        let known = shared.log.recovered(self.replica.id);
        let applied = self.replica.applied.index;
        self.replica.machine.observe(Progress {
            term: known.as_ref().map(|known| known.hard_state.term).unwrap_or_default(),
            commit: applied,
            applied,
            last: shared.log.last(self.replica.id),
            leader: None,
            disk_stalled: shared.stall.hangs(),
            low_space: shared.room.is_low() || self.replica.machine.is_low_on_space(),
            mending: true,
        });
        Ok(())
    }
}

impl<S: StateMachine> Replica<S> {
    /// Entries up to the durable state are not needed: the log gives up those that are lost, and what is before them.
    pub fn drop_what_is_saved(&self, log: &mut Log) {
        let saved = self.machine.checkpointed().position.index;
        let Some(cut) = log.gaps(self.id).iter().rev().find(|gap| gap.first <= saved).map(|gap| gap.last.min(saved))
        else {
            return;
        };
        if let Some(term) = log.term_at(self.id, cut) {
            log.compact(self.id, LogPosition { term, index: cut });
        }
    }
}
