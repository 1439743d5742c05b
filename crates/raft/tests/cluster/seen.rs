//! What a run has come across, so that a test that exercises nothing is noticed.

use kontiki_raft::{Body, Content, Effect, Exclusion, RoleKind};

use super::log::Log;

/// Counters of what happened.
#[derive(Clone, Copy, Default, Debug)]
pub struct Seen {
    pub elections: u64,
    pub committed: u64,
    pub joint_changes: u64,
    pub changes: u64,
    pub changes_refused: u64,
    pub rollbacks: u64,
    pub truncations: u64,
    pub reads_served: u64,
    pub reads_refused: u64,
    pub lease_reads: u64,
    pub snapshots: u64,
    pub pulls: u64,
    pub transfers: u64,
    pub resignations: u64,
    pub exclusions: u64,
    pub strangers: u64,
    pub wipes: u64,
    pub crashes: u64,
    pub pauses: u64,
}

impl Seen {
    /// Counts an effect of a member whose log is `log`, before it is carried out.
    pub fn effect(&mut self, effect: &Effect, log: &Log) {
        match effect {
            Effect::LeadershipChanged(leadership) if leadership.role == RoleKind::Leader => self.elections += 1,
            Effect::ReadReady { .. } => self.reads_served += 1,
            Effect::ReadRefused(_) => self.reads_refused += 1,
            Effect::ChangeRefused(_) => self.changes_refused += 1,
            Effect::InstallSnapshot(_) => self.snapshots += 1,
            Effect::Excluded(_) => self.exclusions += 1,
            Effect::Send { message, .. } => match &message.body {
                Body::Pulled(entries) if entries.last > entries.prev.index => self.pulls += 1,
                Body::TimeoutNow => self.transfers += 1,
                Body::Resigned => self.resignations += 1,
                Body::Excluded(Exclusion::Stranger { .. }) => self.strangers += 1,
                _ => {}
            },
            Effect::Persist(persist) => {
                let Some(append) = &persist.append else { return };
                let replaced = append.first <= log.last();
                self.truncations += u64::from(replaced);
                let lost = log.configurations().any(|(index, _)| index >= append.first);
                self.rollbacks += u64::from(lost);
                if let Content::Configuration(next) = &append.content {
                    self.changes += 1;
                    self.joint_changes += u64::from(log.configuration().is_joint() && !next.is_joint());
                }
            }
            Effect::Committed(_)
            | Effect::ProposalRefused(_)
            | Effect::SendSnapshot { .. }
            | Effect::LeadershipChanged(_) => {}
        }
    }

    /// Adds what another run has seen.
    pub fn add(&mut self, other: &Seen) {
        for (sum, (_, number)) in self.numbers_mut().into_iter().zip(other.numbers()) {
            *sum += number;
        }
    }

    /// Every counter with its name.
    pub fn numbers(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("elections", self.elections),
            ("committed", self.committed),
            ("joint changes", self.joint_changes),
            ("changes", self.changes),
            ("changes refused", self.changes_refused),
            ("rollbacks", self.rollbacks),
            ("truncations", self.truncations),
            ("reads served", self.reads_served),
            ("reads refused", self.reads_refused),
            ("lease reads", self.lease_reads),
            ("snapshots", self.snapshots),
            ("pulls", self.pulls),
            ("transfers", self.transfers),
            ("resignations", self.resignations),
            ("exclusions", self.exclusions),
            ("strangers", self.strangers),
            ("wipes", self.wipes),
            ("crashes", self.crashes),
            ("pauses", self.pauses),
        ]
    }

    fn numbers_mut(&mut self) -> [&mut u64; 19] {
        [
            &mut self.elections,
            &mut self.committed,
            &mut self.joint_changes,
            &mut self.changes,
            &mut self.changes_refused,
            &mut self.rollbacks,
            &mut self.truncations,
            &mut self.reads_served,
            &mut self.reads_refused,
            &mut self.lease_reads,
            &mut self.snapshots,
            &mut self.pulls,
            &mut self.transfers,
            &mut self.resignations,
            &mut self.exclusions,
            &mut self.strangers,
            &mut self.wipes,
            &mut self.crashes,
            &mut self.pauses,
        ]
    }
}
