//! The same loop without consensus: the leader appends, sends, applies and answers; the others append and apply. What is
//! left is the cost of the harness, which every contestant pays.

use crate::batch::{Batch, Entries};
use crate::cluster::{Context, MEMBERS, Replica};
use crate::machine::Machine;
use crate::memory_log::{MemoryLog, Retention};

/// A replica that believes whatever it is told.
pub struct BareReplica {
    place: usize,
    leads: bool,
    log: MemoryLog,
    machine: Machine,
    applied: u64,
}

impl Replica for BareReplica {
    /// How many entries there are.
    type Message = usize;
    type Scratch = ();

    fn new(place: usize, retention: Retention) -> BareReplica {
        BareReplica { place, leads: false, log: MemoryLog::new(retention), machine: Machine::default(), applied: 0 }
    }

    fn campaign(&mut self, _: &mut Context<'_, Self>) {
        self.leads = true;
    }

    fn propose(&mut self, commands: &Batch, _: &mut Context<'_, Self>) {
        self.log.write(self.log.last() + 1, commands.as_slice());
    }

    fn receive(&mut self, _: usize, count: usize, entries: &mut Entries<'_>, _: &mut Context<'_, Self>) {
        self.log.write(self.log.last() + 1, entries.split(count));
    }

    fn flush(&mut self, context: &mut Context<'_, Self>) {
        let (first, last) = (self.applied + 1, self.log.last());
        if first > last {
            return;
        }
        if self.leads {
            for to in (0..MEMBERS).filter(|to| *to != self.place) {
                self.log.copy_to(first, last, context.entries_to(to));
                context.send(to, (last + 1 - first) as usize);
            }
        }
        self.log.iter(first, last).for_each(|entry| self.machine.apply(entry));
        self.applied = last;
        self.log.cut(last);
    }

    fn conclude(&mut self, _: &mut Context<'_, Self>) {}

    fn machine(&self) -> Machine {
        self.machine
    }

    fn leads(&self) -> bool {
        self.leads
    }
}
