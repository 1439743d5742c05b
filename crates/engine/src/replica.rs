//! What of a replica outlives its core: the state machine, what waits, and the checkpoints under way.
//!
//! A core is made anew whenever the replica was damaged and is whole again. It begins like after a crash of the process, but
//! that the state machine has gone on.

use std::sync::Arc;

use kontiki_raft::{Configuration, GroupId, Incarnation, Leadership, LogPosition, RoleKind, Term};

use crate::error::EngineError;
use crate::group::{Checkpointing, Shared};
use crate::machine::StateMachine;
use crate::parked::Parked;
use crate::proposals::{NotTaken, Proposals, refuse};

/// What every core of a replica is born with.
#[derive(Clone, Debug)]
pub struct Birth {
    /// The first members; counts only where the state machine has no checkpoint.
    pub configuration: Arc<Configuration>,
    /// The life of this member's disk.
    pub incarnation: Option<Incarnation>,
    /// Chance; another for each core.
    pub seed: u64,
}

impl Birth {
    /// The seed of the next core.
    pub fn next_seed(&mut self) -> u64 {
        const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
        let seed = self.seed;
        self.seed = seed.wrapping_mul(MULTIPLIER).wrapping_add(1);
        seed
    }
}

/// A replica without its core.
pub struct Replica<S: StateMachine> {
    pub id: GroupId,
    pub birth: Birth,
    pub machine: S,
    /// What the machine holds.
    pub applied: LogPosition,
    pub parked: Parked,
    /// Identity of the next batch of reads.
    pub next_read: u64,
    /// The checkpoint that is being written.
    pub checkpointing: Option<Checkpointing>,
    /// Checkpoints still being written that mean nothing any more. They end in order, before any later one.
    pub abandoned: u32,
    /// Bytes of entries applied since the last checkpoint began.
    pub replay_bytes: u64,
}

impl<S: StateMachine> Replica<S> {
    /// A replica at its machine's checkpoint.
    pub fn new(id: GroupId, birth: Birth, machine: S) -> Replica<S> {
        Replica {
            id,
            applied: machine.checkpointed().position,
            next_read: birth.seed,
            birth,
            machine,
            parked: Parked::default(),
            checkpointing: None,
            abandoned: 0,
            replay_bytes: 0,
        }
    }

    /// The state is damaged: it is gone, and with it what was being written of it.
    pub fn lose_state(&mut self) -> Result<(), EngineError> {
        self.machine.lose_state()?;
        self.abandon_checkpoint();
        self.replay_bytes = 0;
        self.applied = LogPosition::START;
        Ok(())
    }

    /// Another state is here: the checkpoint that is being written, if any, means nothing.
    pub fn abandon_checkpoint(&mut self) {
        self.abandoned += u32::from(self.checkpointing.take().is_some());
    }

    /// A checkpoint met damage and is over. Whether it was one that means nothing any more.
    pub fn forget_abandoned(&mut self) -> bool {
        let abandoned = self.abandoned > 0;
        self.abandoned -= u32::from(abandoned);
        if !abandoned {
            self.checkpointing = None;
        }
        abandoned
    }

    /// Keeps proposals until there is a leader to give them to.
    pub fn park(&mut self, shared: &mut Shared, proposals: Proposals) {
        let left = self.parked.keep(shared, proposals);
        refuse(&mut self.machine, self.id, shared, left, NotTaken::TooMuch);
    }

    /// Whoever looks is told that there is no leader here.
    pub fn show_no_leader(&mut self, shared: &Shared, term: Term) -> Result<(), EngineError> {
        let shown = self.machine.leadership(shared.now, Leadership { term, leader: None, role: RoleKind::Follower });
        match shown.map_err(EngineError::from) {
            Err(error) if error.damage().is_none() => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
