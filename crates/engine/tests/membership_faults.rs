//! Members come and go while others crash, are cut off and lose messages, in one thread, from a seed: in the end all
//! members hold everything that anyone ever applied.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use kontiki_engine::{ChangeOutcome, Settings};
use kontiki_raft::{GroupId, MemberChange, NodeId};
use support::Cluster;

const GROUP: GroupId = GroupId(1);
const SECOND: Duration = Duration::from_secs(1);

/// A cluster and its operator.
struct Operator {
    cluster: Cluster,
    /// Who is certainly in no configuration that is or can still be in force: may be given an empty disk.
    out: BTreeSet<NodeId>,
    asked: u64,
    done: BTreeSet<&'static str>,
}

impl Operator {
    /// Three founders and three more machines.
    fn new(seed: u64) -> Operator {
        // Checkpoints often and keeps little, so that newcomers need snapshots.
        let settings = Settings {
            checkpoint_bytes: 4_000,
            trailing_entries: 20,
            snapshot_chunk_bytes: 1_000,
            ..Settings::default()
        };
        let cluster = Cluster::founded(seed, 6, 3, settings);
        Operator { cluster, out: (4..=6).map(NodeId).collect(), asked: 0, done: BTreeSet::new() }
    }

    fn fault(&mut self) {
        let cluster = &mut self.cluster;
        let ids = cluster.ids();
        let victim = ids[cluster.random.below(ids.len() as u64) as usize];
        let other = ids[cluster.random.below(ids.len() as u64) as usize];
        match cluster.random.below(7) {
            0 | 1 if cluster.is_up(victim) => cluster.crash(victim),
            2 if victim != other => drop(cluster.cut.insert((victim, other))),
            3 => ids.iter().filter(|id| **id != victim).for_each(|id| {
                cluster.cut.insert((victim, *id));
                cluster.cut.insert((*id, victim));
            }),
            4 | 5 => cluster.cut.clear(),
            _ => cluster.loss = [0, 10, 30][cluster.random.below(3) as usize],
        }
        for id in ids {
            if !cluster.is_up(id) && cluster.random.one_in(2) {
                cluster.start(id);
            }
        }
    }

    fn work(&mut self) {
        for id in self.cluster.ids() {
            if self.cluster.is_up(id) {
                self.cluster.propose(id, GROUP);
                self.cluster.read(id, GROUP);
            }
        }
        self.cluster.run(SECOND);
    }

    /// One change that makes sense as the leader sees it.
    fn change(&mut self) {
        let Some(leader) = self.cluster.leader(GROUP) else { return };
        let configuration = self.cluster.engine(leader).unwrap().node(GROUP).unwrap().configuration().clone();
        let absent: Vec<NodeId> = self.cluster.ids().into_iter().filter(|id| !configuration.is_member(*id)).collect();
        let others: Vec<NodeId> = configuration.voters.iter().copied().filter(|id| *id != leader).collect();
        let (what, changes) = match self.cluster.random.below(4) {
            0 | 1 if configuration.members().len() < 5 && !absent.is_empty() => {
                ("add", vec![MemberChange::AddLearner { id: absent[0], promote: true }])
            }
            2 if configuration.voters.len() > 3 => ("remove the leader", vec![MemberChange::Remove(leader)]),
            3 if others.len() >= 2 && absent.len() >= 2 => {
                let leave = [others[0], *others.last().unwrap()].map(MemberChange::Remove);
                (
                    "replace two",
                    leave.into_iter().chain(absent[..2].iter().copied().map(MemberChange::AddVoter)).collect(),
                )
            }
            _ if configuration.voters.len() > 3 => ("remove", vec![MemberChange::Remove(others[0])]),
            _ => return,
        };
        for change in &changes {
            if let MemberChange::AddVoter(id) | MemberChange::AddLearner { id, .. } = change {
                // Half of those that left for good come back with an empty disk, the others as they are.
                if self.out.remove(id) && self.cluster.is_up(*id) && self.cluster.random.one_in(2) {
                    self.cluster.renew(*id);
                }
            }
        }
        self.ask(leader, what, &changes);
    }

    /// Asks for a change and waits a while for what comes of it.
    fn ask(&mut self, leader: NodeId, what: &'static str, changes: &[MemberChange]) {
        self.asked += 1;
        let name = self.asked;
        self.cluster.change(leader, GROUP, name, changes.to_vec());
        for _ in 0..30 {
            self.cluster.run(SECOND / 10);
            let machine = self.cluster.engine(leader).unwrap().machine(GROUP).unwrap();
            match machine.changes.get(&name) {
                None => {}
                Some(ChangeOutcome::Done) => {
                    self.done.insert(what);
                    self.out.extend(changes.iter().filter_map(|change| match change {
                        MemberChange::Remove(id) => Some(*id),
                        _ => None,
                    }));
                    return;
                }
                Some(ChangeOutcome::Refused(_) | ChangeOutcome::Unknown) => return,
            }
        }
    }

    /// All faults end; the members must agree on everything that was ever applied anywhere.
    fn settle(&mut self) {
        self.cluster.cut.clear();
        self.cluster.loss = 0;
        for id in self.cluster.ids() {
            if !self.cluster.is_up(id) {
                self.cluster.start(id);
            }
        }
        for _ in 0..120 {
            self.cluster.run(SECOND);
            if self.agree() {
                return;
            }
        }
        for id in self.cluster.ids() {
            eprintln!("{id}: {:?}", self.cluster.engine(id).unwrap().node(GROUP).unwrap().status());
        }
        panic!("no agreement within two minutes after all faults ended");
    }

    fn agree(&self) -> bool {
        let Some(leader) = self.cluster.leader(GROUP) else { return false };
        let node = self.cluster.engine(leader).unwrap().node(GROUP).unwrap();
        let applied = self.cluster.applied_commands(GROUP);
        node.commit_index() == node.last_index()
            && !node.configuration().is_joint()
            && node.configuration().members().into_iter().all(|id| {
                let content = &self.cluster.engine(id).unwrap().machine(GROUP).unwrap().content;
                content.meta.position.index == node.last_index() && content.commands.len() == applied.len()
            })
    }
}

fn churn(seed: u64) -> Operator {
    let mut operator = Operator::new(seed);
    operator.cluster.run(3 * SECOND);
    for _ in 0..4 {
        for _ in 0..15 {
            operator.fault();
            operator.work();
            operator.work();
            operator.change();
        }
        operator.settle();
    }
    operator
}

#[test]
fn changes_under_faults_lose_nothing() {
    let mut done = BTreeSet::new();
    let seeds = std::env::var("SEED").map_or(1..=8, |seed| seed.parse().unwrap()..=seed.parse().unwrap());
    for seed in seeds {
        let operator = churn(seed);
        let applied = operator.cluster.applied_commands(GROUP).len();
        println!("seed {seed}: {} changes asked for, {:?} done, {applied} commands", operator.asked, operator.done);
        done.extend(operator.done);
    }
    if std::env::var("SEED").is_err() {
        assert_eq!(done.into_iter().collect::<Vec<_>>(), ["add", "remove", "remove the leader", "replace two"]);
    }
}
