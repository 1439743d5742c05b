//! How a replica gets its core: at the start of the process, and again whenever it was damaged and is whole.

use std::sync::Arc;

use kontiki_log::Recovered;
use kontiki_raft::planted::planted;
use kontiki_raft::{Configuration, GroupId, HardState, Index, Input, LogPosition, Node, Start, Term};

use super::{Engine, GroupStart};
use crate::entry::{self, Payload};
use crate::error::{Damage, EngineError};
use crate::group::Group;
use crate::machine::StateMachine;
use crate::mending::Mending;
use crate::mending::accept::term_at;
use crate::replica::{Birth, Replica};

/// What the log knows of a group that it has never seen.
const NOTHING: Recovered = Recovered {
    hard_state: HardState { term: Term(0), voted_for: None },
    compacted: LogPosition::START,
    runs: Vec::new(),
    last: Index(0),
    gaps: Vec::new(),
};

/// The configurations of a log by index, oldest first.
type Configurations = Vec<(Index, Arc<Configuration>)>;

impl<S: StateMachine> Engine<S> {
    /// Adds a replica, from what the log recovered of it and its state machine's checkpoint. One that is damaged takes no part
    /// in its group until it is mended ([`Engine::is_mending`]).
    ///
    /// # Errors
    /// Where the log does not belong to the checkpoint, or cannot be read.
    ///
    /// # Panics
    /// Where the group is there already.
    pub fn add_group(
        &mut self,
        start: GroupStart,
        recovered: Option<Recovered>,
        machine: S,
    ) -> Result<(), EngineError> {
        let GroupStart { group, configuration, incarnation, seed, force_new_cluster } = start;
        assert!(!self.groups.contains_key(&group) && !self.is_mending(group), "group {group} is there already");
        let checkpoint = machine.checkpointed();
        if recovered.is_none() && (checkpoint.position.index > Index(0) || machine.state_lost()) {
            return Err(EngineError::LogLost { group: group.0, checkpoint: checkpoint.position.index.0 });
        }
        if let Some(recovered) = recovered {
            self.connect(group, &recovered, checkpoint.position);
        }
        let replica = Replica::new(group, Birth { configuration, incarnation, seed }, machine);
        replica.drop_what_is_saved(&mut self.shared.log);
        let at_checkpoint = checkpoint.configuration;
        let at_applied =
            if at_checkpoint.voters.is_empty() { Arc::clone(&replica.birth.configuration) } else { at_checkpoint };
        if let Err(damage) = self.give_birth(replica)? {
            let (mut replica, damage) = *damage;
            if damage == Damage::State {
                replica.lose_state()?;
            }
            let newest = self.newest_configuration(group).unwrap_or_else(|| Arc::clone(&at_applied));
            let mending = Mending::new(replica, newest, at_applied, force_new_cluster, &self.shared);
            tracing::warn!(group = group.0, "a replica is damaged and takes no part in its group until it is mended");
            self.mending.insert(group, mending);
        } else if force_new_cluster {
            self.with(group, |group, shared| group.input(shared, Input::ForceNewCluster))?;
        }
        Ok(())
    }

    /// Makes the recovered log fit the checkpoint: a crash between installing a snapshot and resetting the log leaves a
    /// checkpoint that the log does not contain; the log then begins anew behind it.
    fn connect(&mut self, group: GroupId, recovered: &Recovered, checkpoint: LogPosition) {
        let begins_behind = recovered.compacted.index > checkpoint.index;
        if !begins_behind && term_at(recovered, checkpoint.index) != Some(checkpoint.term) {
            self.shared.log.reset(group, checkpoint);
        }
    }

    /// Gives a replica its core from what the log holds. It comes back where it is damaged: entries are lost, or those between
    /// its state and the log are missing.
    #[allow(clippy::type_complexity, reason = "done, or the replica with its damage, or a reason to stop")]
    pub(super) fn give_birth(
        &mut self,
        mut replica: Replica<S>,
    ) -> Result<Result<(), Box<(Replica<S>, Damage)>>, EngineError> {
        let id = replica.id;
        let recovered = self.shared.log.recovered(id).unwrap_or(NOTHING);
        let missing = (recovered.compacted.index > replica.applied.index)
            .then_some((recovered.compacted.index, recovered.compacted.index))
            .or_else(|| recovered.gaps.first().map(|gap| (gap.first, gap.last)));
        if let Some((first, last)) = missing {
            return Ok(Err(Box::new((replica, Damage::Entries(first, last)))));
        }
        let before = replica.applied.index.previous();
        if planted(54)
            && let Some(term) = term_at(&recovered, before)
        {
            replica.applied = LogPosition { term, index: before };
        }
        let configurations = match self.configurations_behind(id, recovered.compacted.index, recovered.last) {
            Ok(configurations) => configurations,
            Err(error) => {
                let damage = error.damage().ok_or(error)?;
                if let Damage::Entries(first, last) = damage {
                    self.shared.log.lose(id, first, last);
                }
                return Ok(Err(Box::new((replica, damage))));
            }
        };
        let applied = replica.applied.index;
        let in_force = configurations.iter().rev().find(|(index, _)| *index <= applied);
        let checkpoint = replica.machine.checkpointed().configuration;
        let configuration = match in_force {
            Some((_, configuration)) => Arc::clone(configuration),
            None if checkpoint.voters.is_empty() => Arc::clone(&replica.birth.configuration),
            None => checkpoint,
        };
        let node = Node::new(Start {
            id: self.shared.id,
            incarnation: replica.birth.incarnation,
            hard_state: recovered.hard_state,
            compacted: recovered.compacted,
            configuration,
            configurations,
            runs: recovered.runs.into(),
            last: recovered.last,
            applied,
            seed: replica.birth.next_seed(),
            settings: Arc::clone(&self.shared.raft),
        });
        self.groups.insert(id, Group::new(replica, node));
        self.touched.insert(id);
        Ok(Ok(()))
    }

    fn configurations_behind(
        &self,
        group: GroupId,
        compacted: Index,
        last: Index,
    ) -> Result<Configurations, EngineError> {
        let mut found = Vec::new();
        let mut next = compacted.next();
        while next <= last {
            for entry in self.shared.log.entries(group, next, last, self.shared.settings.apply_bytes_max)? {
                next = entry.index.next();
                if let Ok(Payload::Configuration(configuration)) = entry::decode(&entry.payload) {
                    found.push((entry.index, Arc::new(configuration)));
                }
            }
        }
        Ok(found)
    }

    /// The newest configuration among the entries of a log that can be read.
    fn newest_configuration(&self, group: GroupId) -> Option<Arc<Configuration>> {
        let log = &self.shared.log;
        let whole_until = |index| log.gaps(group).iter().find(|gap| gap.last >= index).map(|gap| (gap.first, gap.last));
        let (mut next, last, mut newest) = (log.first(group), log.last(group), None);
        while next <= last {
            let until = match whole_until(next) {
                Some((first, last)) if first <= next => {
                    next = last.next();
                    continue;
                }
                Some((first, _)) => first.previous(),
                None => last,
            };
            match self.configurations_behind(group, next.previous(), until) {
                Ok(found) => newest = found.into_iter().next_back().map(|(_, configuration)| configuration).or(newest),
                Err(error) => tracing::debug!(group = group.0, %error, "some configurations cannot be read"),
            }
            next = until.next();
        }
        newest
    }
}
