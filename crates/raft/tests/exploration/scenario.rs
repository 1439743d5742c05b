//! What is explored: who begins with what, and how often each thing may happen.

use std::sync::Arc;

use kontiki_raft::{Configuration, HardState, LogPosition, MemberChange, NodeId, Settings, Term};

use super::disk::{Command, Disk, Entry, Log};
use super::fault::Fault;
use super::member::{Member, Rules};
use super::projection::{IDENTITY, Renaming};
use super::sights::Sight;

/// How often something may happen in one run, all members together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    pub proposals: u8,
    pub crashes: u8,
    pub changes: u8,
    pub ticks: u8,
    pub suspicions: u8,
    pub compactions: u8,
}

impl Budget {
    pub fn numbers(self) -> [u64; 6] {
        let Budget { proposals, crashes, changes, ticks, suspicions, compactions } = self;
        [proposals, crashes, changes, ticks, suspicions, compactions].map(u64::from)
    }
}

#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub rules: Rules,
    /// No member enters a term beyond this one.
    pub terms: u64,
    pub budget: Budget,
    pub changes: Vec<Vec<MemberChange>>,
    /// A leader of term 1 has committed its first entry everywhere when the exploration begins.
    pub led: bool,
    pub members: Vec<Member>,
    /// Renamings of members that make no difference, the identity first.
    pub symmetry: Vec<Renaming>,
    /// How deep the run in CI goes.
    pub depth: usize,
    /// What the run in CI must come across.
    pub expected: &'static [Sight],
}

fn settings() -> Settings {
    Settings {
        // No clock but a leader's ticks, and those are few.
        election_timeout_ticks: 1_000_000,
        heartbeat_interval_ticks: 1,
        pre_vote: false,
        check_quorum: false,
        ..Settings::default()
    }
}

/// Every renaming of the three voters.
fn alike() -> Vec<Renaming> {
    vec![IDENTITY, [0, 1, 3, 2, 4], [0, 2, 1, 3, 4], [0, 2, 3, 1, 4], [0, 3, 1, 2, 4], [0, 3, 2, 1, 4]]
}

impl Scenario {
    fn new(
        name: &'static str,
        configuration: &Configuration,
        members: u64,
        instant_disks: bool,
        settings: Settings,
    ) -> Scenario {
        let rules = Rules { settings: Arc::new(settings), instant_disks, fault: None };
        Scenario {
            name,
            terms: 2,
            budget: Budget::default(),
            changes: Vec::new(),
            led: false,
            members: (1..=members).map(|id| Member::fresh(NodeId(id), configuration, &rules)).collect(),
            symmetry: vec![IDENTITY],
            depth: 8,
            expected: &[],
            rules,
        }
    }

    pub fn with(mut self, fault: Fault) -> Scenario {
        self.rules.fault = Some(fault);
        self
    }
}

fn voters(ids: &[u64]) -> Configuration {
    Configuration::of(ids.iter().copied().map(NodeId))
}

/// Elections from nothing, slow disks, crashes that lose votes under way.
pub fn elections() -> Scenario {
    Scenario {
        terms: 3,
        budget: Budget { crashes: 1, ..Budget::default() },
        symmetry: alike(),
        depth: 14,
        expected: &[
            Sight::Leader,
            Sight::LaterLeader,
            Sight::WriteLost,
            Sight::VoteRefused,
            Sight::CommittedWithoutOwnDisk,
        ],
        ..Scenario::new("elections", &voters(&[1, 2, 3]), 3, false, settings())
    }
}

/// A leader of term 1 works, others depose it; slow disks, crashes.
pub fn replication() -> Scenario {
    Scenario {
        led: true,
        terms: 2,
        budget: Budget { proposals: 1, crashes: 1, ticks: 1, ..Budget::default() },
        symmetry: vec![IDENTITY, [0, 1, 3, 2, 4]],
        depth: 12,
        expected: &[Sight::Committed, Sight::LaterLeader, Sight::TwoLeaders, Sight::WriteLost],
        ..Scenario::new("replication", &voters(&[1, 2, 3]), 3, false, settings())
    }
}

/// Logs that three leaders have left apart (Figures 3.6 and 3.7); who leads next decides what stays.
pub fn divergence() -> Scenario {
    // One entry in a message, so that replication can stop between any two.
    let settings = Settings { append_bytes_max: 1, ..settings() };
    let mut scenario = Scenario::new("divergence", &voters(&[1, 2, 3]), 3, true, settings);
    // Term 2 was led by n1, term 3 by n3: each wrote what nobody else has.
    let logs: [(&[u64], u64, u64); 3] = [(&[1, 2, 2], 2, 1), (&[1], 3, 3), (&[1, 3], 3, 3)];
    scenario.members = (1..=3)
        .zip(logs)
        .map(|(id, (terms, term, vote))| {
            let entries = terms.iter().map(|term| {
                let command = if *term == 1 {
                    Command::Blank
                } else {
                    Command::Proposal(u8::try_from(10 + term).expect("small"))
                };
                Entry { term: Term(*term), command }
            });
            let base = Arc::new(voters(&[1, 2, 3]));
            let log = Log { compacted: LogPosition::START, base, entries: entries.collect() };
            let hard_state = HardState { term: Term(term), voted_for: Some(NodeId(vote)) };
            Member::new(NodeId(id), Disk { hard_state, log }, &scenario.rules)
        })
        .collect();
    Scenario {
        terms: 5,
        budget: Budget { crashes: 1, ..Budget::default() },
        depth: 13,
        expected: &[Sight::ConflictReplaced, Sight::AppendRejected, Sight::Committed, Sight::HeldButNotCommitted],
        ..scenario
    }
}

/// One of three members is replaced in one step, jointly, while others stand for election.
pub fn replacement() -> Scenario {
    Scenario {
        led: true,
        budget: Budget { changes: 1, crashes: 1, ..Budget::default() },
        changes: vec![vec![MemberChange::AddVoter(NodeId(4)), MemberChange::Remove(NodeId(3))]],
        depth: 11,
        expected: &[Sight::Joint, Sight::JointLeft, Sight::LaterLeader, Sight::ConfigurationRolledBack],
        ..Scenario::new("replacement", &voters(&[1, 2, 3]), 4, true, settings())
    }
}

/// The leader itself, or another, is removed; or a fourth voter comes.
pub fn removal() -> Scenario {
    let change = |change| vec![change];
    Scenario {
        led: true,
        budget: Budget { changes: 2, ..Budget::default() },
        changes: vec![
            change(MemberChange::Remove(NodeId(1))),
            change(MemberChange::Remove(NodeId(3))),
            change(MemberChange::AddVoter(NodeId(4))),
        ],
        depth: 13,
        expected: &[Sight::LeadsWithoutVote, Sight::HandedOver, Sight::Excluded, Sight::LaterLeader],
        ..Scenario::new("removal", &voters(&[1, 2, 3]), 4, true, settings())
    }
}

/// A learner catches up and is promoted.
pub fn learner() -> Scenario {
    Scenario {
        led: true,
        budget: Budget { changes: 2, crashes: 1, ..Budget::default() },
        changes: vec![
            vec![MemberChange::AddLearner { id: NodeId(4), promote: true }],
            vec![MemberChange::Demote(NodeId(3))],
        ],
        depth: 11,
        expected: &[Sight::LearnerPromoted, Sight::LaterLeader],
        ..Scenario::new("learner", &voters(&[1, 2, 3]), 4, true, settings())
    }
}

/// Pre-vote, stickiness and suspicion, with members that fetch what they lack.
pub fn suspicion() -> Scenario {
    let settings = Settings { pre_vote: true, check_quorum: true, ..settings() };
    Scenario {
        led: true,
        budget: Budget { suspicions: 2, proposals: 1, ..Budget::default() },
        depth: 11,
        expected: &[Sight::LaterLeader, Sight::EntriesPulled, Sight::VoteRefused],
        ..Scenario::new("suspicion", &voters(&[1, 2, 3]), 3, true, settings)
    }
}

/// Checkpoints cut the log, stragglers get snapshots.
pub fn snapshots() -> Scenario {
    Scenario {
        led: true,
        budget: Budget { proposals: 1, compactions: 2, crashes: 1, ..Budget::default() },
        symmetry: vec![IDENTITY, [0, 1, 3, 2, 4]],
        depth: 12,
        expected: &[Sight::SnapshotInstalled, Sight::LaterLeader, Sight::Committed],
        ..Scenario::new("snapshots", &voters(&[1, 2, 3]), 3, true, settings())
    }
}

pub fn all() -> Vec<Scenario> {
    vec![elections(), replication(), divergence(), replacement(), removal(), learner(), suspicion(), snapshots()]
}
