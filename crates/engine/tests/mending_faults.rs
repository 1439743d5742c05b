//! Damage beside crashes, cuts and lost messages, in one thread, from seeds: as long as one copy of everything committed is
//! left, nothing that was acknowledged is lost, and every member is whole again in the end.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use kontiki_engine::Settings;
use kontiki_raft::{GroupId, NodeId};
use support::Cluster;

const GROUP: GroupId = GroupId(1);
const SECOND: Duration = Duration::from_secs(1);

/// Checkpoints often and keeps little, so that snapshots are needed as well; the scrub goes round quickly.
fn small() -> Settings {
    Settings {
        checkpoint_bytes: 8_000,
        trailing_entries: 40,
        snapshot_chunk_bytes: 1_000,
        scrub_round: SECOND,
        scrub_bytes: 64 << 10,
        ..Settings::default()
    }
}

/// A cluster and those who harm it.
struct Harm {
    cluster: Cluster,
    groups: Vec<GroupId>,
    /// The member whose disk is not to be trusted at present.
    damaged: Option<NodeId>,
    entries: u64,
    states: u64,
}

impl Harm {
    fn new(seed: u64, groups: u64) -> Harm {
        let mut cluster = Cluster::new(seed, 3, groups, small());
        cluster.run(2 * SECOND);
        let groups = (1..=groups).map(GroupId).collect();
        Harm { cluster, groups, damaged: None, entries: 0, states: 0 }
    }

    fn any(&mut self) -> NodeId {
        let ids = self.cluster.ids();
        ids[self.cluster.random.below(ids.len() as u64) as usize]
    }

    fn fault(&mut self) {
        let (victim, other) = (self.any(), self.any());
        let cluster = &mut self.cluster;
        match cluster.random.below(8) {
            0 | 1 if cluster.is_up(victim) => cluster.crash(victim),
            2 => cluster.ids().into_iter().for_each(|id| {
                if cluster.is_up(id) {
                    cluster.crash(id);
                }
            }),
            3 if victim != other => drop(cluster.cut.insert((victim, other))),
            4 | 5 => cluster.cut.clear(),
            _ => cluster.loss = [0, 10, 30][cluster.random.below(3) as usize],
        }
    }

    fn start_some(&mut self) {
        for id in self.cluster.ids() {
            if !self.cluster.is_up(id) && self.cluster.random.one_in(2) {
                self.cluster.start(id);
            }
        }
    }

    fn work(&mut self) {
        for id in self.cluster.ids() {
            if self.cluster.is_up(id) {
                for group in &self.groups {
                    self.cluster.propose(id, *group);
                    self.cluster.read(id, *group);
                }
            }
        }
        self.cluster.run(SECOND / 2);
    }

    /// Entries get lost of which each member keeps its own two thirds: one copy in any two members is whole.
    fn lose_entries(&mut self) {
        for id in self.cluster.ids() {
            if self.cluster.is_up(id) || self.cluster.random.one_in(2) {
                continue;
            }
            let (first, last) = self.cluster.disk_log(id, GROUP);
            let first = first + self.cluster.random.below((last + 1).saturating_sub(first).max(1));
            for index in (first..=last.min(first + 20)).filter(|index| index % 3 == id.0 % 3) {
                self.cluster.lose(id, GROUP, index, index);
                self.entries += 1;
            }
        }
    }

    /// The disk of one member changes some bits. It stays the same one until all of them are whole for certain.
    fn flip_bits(&mut self) {
        let any = self.any();
        let victim = *self.damaged.get_or_insert(any);
        let group = self.groups[self.cluster.random.below(self.groups.len() as u64) as usize];
        let (first, last) = match self.cluster.engine(victim) {
            Some(engine) => (engine.log().first(group).0, engine.log().last(group).0),
            None => self.cluster.disk_log(victim, group),
        };
        if self.cluster.random.one_in(3) {
            self.states += u64::from(self.cluster.damage_state(victim, group));
        }
        // Not the newest: of a write that nothing shows to have been durable nobody can tell that it is not torn.
        let many = last.saturating_sub(first + 30);
        for _ in 0..self.cluster.random.below(4) {
            if many > 0 {
                let index = first + self.cluster.random.below(many);
                self.entries += self.cluster.damage_entry(victim, group, index) as u64;
            }
        }
    }

    fn settle(&mut self) {
        if let Some(damaged) = self.damaged.take().filter(|id| self.cluster.is_up(*id)) {
            self.cluster.crash(damaged); // reads everything anew, and what it holds without having needed it
        }
        self.cluster.converge();
        for group in &self.groups {
            let applied = self.cluster.applied_commands(*group);
            for id in self.cluster.ids() {
                let content = &self.cluster.ledger(id, *group).content;
                assert_eq!(content.commands.len(), applied.len(), "{id} holds all that was applied anywhere, once");
            }
        }
    }

    fn mends(&self) -> u64 {
        self.cluster.mends
    }
}

fn seeds(many: u64) -> std::ops::RangeInclusive<u64> {
    std::env::var("SEED").map_or(1..=many, |seed| seed.parse().unwrap()..=seed.parse().unwrap())
}

#[test]
fn losses_that_leave_one_copy_of_everything_are_made_good() {
    let (mut mends, mut entries) = (0, 0);
    for seed in seeds(12) {
        let mut harm = Harm::new(seed, 1);
        for _ in 0..3 {
            for _ in 0..15 {
                harm.fault();
                harm.lose_entries();
                harm.start_some();
                harm.work();
                harm.work();
            }
            harm.settle();
        }
        println!("seed {seed}: {} entries lost, mended {} times", harm.entries, harm.mends());
        (mends, entries) = (mends + harm.mends(), entries + harm.entries);
    }
    assert!(mends > 0 && entries > 0);
}

#[test]
fn flipped_bits_at_rest_and_in_use_are_made_good() {
    let (mut mends, mut states) = (0, 0);
    for seed in seeds(8) {
        let mut harm = Harm::new(seed, 1 + seed % 3);
        for _ in 0..6 {
            for _ in 0..8 {
                harm.fault();
                harm.flip_bits();
                harm.start_some();
                harm.work();
                harm.work();
            }
            harm.settle();
        }
        println!("seed {seed}: {} entries, {} states, mended {} times", harm.entries, harm.states, harm.mends());
        (mends, states) = (mends + harm.mends(), states + harm.states);
    }
    assert!(mends > 0 && states > 0);
}

/// Power fails at the damaged member, at one that helps, or at all, at every moment of mending.
#[test]
fn a_crash_at_any_moment_of_mending_is_survived() {
    for (who, name) in ["the damaged one", "a helper", "all"].into_iter().enumerate() {
        let mut crashes = 0;
        for moment in 0..40 {
            let mut harm = Harm::new(77, 1);
            let cluster = &mut harm.cluster;
            for _ in 0..60 {
                cluster.propose(NodeId(1), GROUP);
                cluster.run(SECOND / 50);
            }
            cluster.converge();
            let applied = cluster.applied_commands(GROUP).len();
            let damaged = NodeId(1 + moment % 3);
            cluster.crash(damaged);
            let (first, last) = cluster.disk_log(damaged, GROUP);
            let hurt: usize =
                (first..last - 5).step_by(4).map(|index| cluster.damage_entry(damaged, GROUP, index)).sum();
            assert!(hurt > 0, "nothing was there to be damaged");
            if moment % 2 == 1 {
                cluster.damage_state(damaged, GROUP);
            }
            cluster.start(damaged);
            cluster.run(Duration::from_millis(moment));
            crashes += u32::from(cluster.engine(damaged).unwrap().is_mending(GROUP));
            let victims = match who {
                0 => vec![damaged],
                1 => vec![NodeId(1 + (moment + 1) % 3)],
                _ => cluster.ids(),
            };
            victims.iter().for_each(|id| cluster.crash(*id));
            cluster.run(SECOND / 20);
            cluster.converge();
            assert_eq!(cluster.applied_commands(GROUP).len(), applied, "{name}, moment {moment}");
            for id in cluster.ids() {
                assert_eq!(cluster.ledger(id, GROUP).content.commands.len(), applied, "{id}, {name}, moment {moment}");
            }
        }
        println!("{name}: {crashes} crashes while mending");
        assert!(crashes > 10, "{name}: only {crashes} crashes came while mending");
    }
}
