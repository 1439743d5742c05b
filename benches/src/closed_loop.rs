//! Clients in a closed loop, in the thread of the cluster: what `core` and `groups` measure.

use std::fmt;

use crate::batch::Batch;
use crate::cluster::{Cluster, Replica};
use crate::measure::{Cost, Stopwatch};
use crate::memory_log::Retention;

/// In which order replicas of many groups do their work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Member by member: each serves all of its groups in a turn, as a process does. Each visit finds a replica cold.
    ByMember,
    /// Group by group: its three replicas bring a command to its end before the next group begins.
    ByGroup,
}

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Groups of three replicas.
    pub groups: usize,
    /// Who takes turns where there are many groups.
    pub order: Order,
    /// Bytes of each command.
    pub command_bytes: usize,
    /// Clients, each with one command outstanding.
    pub outstanding: usize,
    /// Threads of the runtime behind handles; the cores' loop has one.
    pub threads: usize,
    /// How long to measure; a third as long is run before.
    pub milliseconds: f64,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.groups, self.order) {
            (1, _) => write!(f, "{} B, {} outstanding", self.command_bytes, self.outstanding),
            (groups, Order::ByGroup) => write!(f, "{groups} groups, by group"),
            (groups, Order::ByMember) => write!(f, "{groups} groups, by member"),
        }
    }
}

impl Load {
    /// Logs are cut often enough to stay in the processor's caches, where those of many groups do not fit anyway.
    pub fn retention(&self) -> Retention {
        if self.groups == 1 {
            Retention { entries_max: 4096, entries_kept: 1024 }
        } else {
            Retention { entries_max: 64, entries_kept: 16 }
        }
    }
}

/// Runs a contestant under a load.
///
/// # Panics
/// Where the replicas of a group end up different, or what was answered is not what was applied.
pub fn run<R: Replica>(load: &Load) -> Cost {
    let mut cluster = Cluster::<R>::new(load.groups, load.retention());
    let mut clients = Clients::new(load);
    run_for(&mut cluster, &mut clients, load.order, load.milliseconds / 3.0);
    let before = clients.answered;
    let stopwatch = Stopwatch::start();
    run_for(&mut cluster, &mut clients, load.order, load.milliseconds);
    let cost = stopwatch.stop(clients.answered - before);
    while clients.answered < clients.proposed {
        clients.answered += cluster.cycle();
    }
    assert_eq!(cluster.finish(), clients.answered, "what was answered is not what was applied");
    cost
}

fn run_for<R: Replica>(cluster: &mut Cluster<R>, clients: &mut Clients, order: Order, milliseconds: f64) {
    let stopwatch = Stopwatch::start();
    while stopwatch.milliseconds() < milliseconds {
        let goal = clients.answered + 20_000; // so that looking at the clock costs nothing
        while clients.answered < goal {
            let mut answered = 0;
            clients.propose(|group, commands| {
                cluster.propose(group, commands);
                if order == Order::ByGroup {
                    answered += cluster.cycle() + cluster.cycle();
                }
            });
            clients.answered += answered + cluster.cycle();
        }
    }
}

/// Each client has one command outstanding; when it has the answer, it sends the next one to a group drawn at random.
struct Clients {
    outstanding: u64,
    proposed: u64,
    answered: u64,
    /// How many commands go to each group now, and to which groups any.
    due: Vec<u32>,
    groups_due: Vec<u32>,
    /// A command; its first bytes number it.
    command: Vec<u8>,
    commands: Batch,
    random: u64,
}

impl Clients {
    fn new(load: &Load) -> Clients {
        assert!(load.command_bytes >= 8, "a command begins with its number");
        Clients {
            outstanding: load.outstanding as u64,
            proposed: 0,
            answered: 0,
            due: vec![0; load.groups],
            groups_due: Vec::new(),
            command: vec![0xa5; load.command_bytes],
            commands: Batch::default(),
            random: 0x2545_f491_4f6c_dd1d,
        }
    }

    fn propose(&mut self, mut deliver: impl FnMut(u32, &Batch)) {
        let idle = self.answered + self.outstanding - self.proposed;
        if self.due.len() == 1 {
            self.due[0] = idle as u32;
            self.groups_due.extend((idle > 0).then_some(0));
        } else {
            (0..idle).for_each(|_| self.choose_group());
        }
        for group in self.groups_due.drain(..) {
            self.commands.clear();
            for _ in 0..std::mem::take(&mut self.due[group as usize]) {
                self.proposed += 1;
                self.command[..8].copy_from_slice(&self.proposed.to_le_bytes());
                self.commands.push(&self.command);
            }
            deliver(group, &self.commands);
        }
    }

    fn choose_group(&mut self) {
        // xorshift; the high half scaled to the number of groups.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let group = (((self.random >> 32) * self.due.len() as u64) >> 32) as u32;
        let due = &mut self.due[group as usize];
        if *due == 0 {
            self.groups_due.push(group);
        }
        *due += 1;
    }
}
