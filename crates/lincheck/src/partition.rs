//! The operations of one key, laid out for the search.
//!
//! Answered operations are numbered by the order of their returns, so "the next return" is a number that only grows. At each
//! return the search asks which operations were open then: each open operation occupies a *slot*, the lowest free one, and
//! a slot's operations follow each other in time, so the question is one binary search per slot.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::history::{Operation, Span};
use crate::model::Model;

/// An operation of a model.
pub(crate) type OperationOf<M> = Operation<<M as Model>::Input, <M as Model>::Output>;

/// An operation whose answer is known.
pub(crate) struct Known<'a, M: Model> {
    pub(crate) operation: &'a OperationOf<M>,
    pub(crate) output: &'a M::Output,
    pub(crate) read_only: bool,
    pub(crate) overwrites: bool,
    pub(crate) slot: u32,
    /// How many unknown operations had been invoked when this one returned.
    pub(crate) unknowns: u32,
    /// Nothing was open just after the return before this one, but unknown operations.
    quiet: bool,
    start: usize,
    end: usize,
}

/// An operation whose outcome was never learned.
pub(crate) struct Unknown<'a, M: Model> {
    pub(crate) operation: &'a OperationOf<M>,
    pub(crate) overwrites: bool,
    /// The one before it with the same input. Both can do the same, so this one is only used after that one.
    pub(crate) twin: Option<u32>,
    start: usize,
}

/// An operation that the search puts in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Choice {
    Known(u32),
    Unknown(u32),
}

/// All operations of a key.
pub(crate) struct Partition<'a, M: Model> {
    /// In the order of their returns.
    pub(crate) known: Vec<Known<'a, M>>,
    /// In the order of their invocations.
    pub(crate) unknown: Vec<Unknown<'a, M>>,
    /// Which known operations each slot served, in order.
    slots: Vec<Vec<u32>>,
}

impl<'a, M: Model> Partition<'a, M> {
    /// Lays out operations that come in the order of their invocations.
    pub(crate) fn new(model: &M, operations: impl Iterator<Item = (&'a OperationOf<M>, Span)>) -> Self {
        let mut known = Vec::new();
        let mut unknown: Vec<Unknown<'a, M>> = Vec::new();
        for (operation, Span { start, end }) in operations {
            let read_only = model.read_only(&operation.input, operation.output());
            let overwrites = model.overwrites(&operation.input);
            match (operation.output(), end) {
                (Some(output), Some(end)) => {
                    let (slot, unknowns, quiet) = (0, 0, false); // until all operations are here
                    known.push(Known { operation, output, read_only, overwrites, slot, unknowns, quiet, start, end });
                }
                // An unknown operation that changes nothing explains nothing.
                _ if read_only => {}
                _ => unknown.push(Unknown { operation, overwrites, twin: None, start }),
            }
        }
        known.sort_unstable_by_key(|operation| operation.end);
        for operation in &mut known {
            operation.unknowns = number(unknown.partition_point(|unknown| unknown.start < operation.end));
        }
        find_twins(&mut unknown);
        mark_quiet(&mut known);
        let slots = assign_slots(&mut known);
        Self { known, unknown, slots }
    }

    /// The next place after `position` where the history is quiet, or its end.
    pub(crate) fn next_cut(&self, position: usize) -> usize {
        let later = self.known.iter().skip(position + 1);
        later.take_while(|operation| !operation.quiet).count() + (position + 1).min(self.known.len())
    }

    /// The unknown operations that explain this one.
    pub(crate) fn explaining(&self, model: &M, choice: Choice) -> Vec<u32> {
        let (operation, overwrites, before) = match choice {
            Choice::Known(index) => {
                let known = &self.known[index as usize];
                (known.operation, known.overwrites, known.unknowns as usize)
            }
            Choice::Unknown(index) => {
                let unknown = &self.unknown[index as usize];
                (unknown.operation, unknown.overwrites, self.unknown.len())
            }
        };
        if overwrites {
            return Vec::new();
        }
        let explains = |&index: &u32| {
            let earlier = &self.unknown[index as usize].operation.input;
            choice != Choice::Unknown(index) && model.explains(earlier, &operation.input, operation.output())
        };
        (0..number(before)).filter(explains).collect()
    }

    /// The known operations that were open at the return of `position`, itself among them, by the order of their returns.
    pub(crate) fn open_at(&self, position: u32) -> Vec<u32> {
        let end = self.known[position as usize].end;
        let mut open: Vec<u32> = self
            .slots
            .iter()
            .filter_map(|served| served.get(served.partition_point(|&operation| operation < position)).copied())
            .filter(|&operation| self.known[operation as usize].start < end)
            .collect();
        open.sort_unstable();
        open
    }
}

fn find_twins<M: Model>(unknown: &mut [Unknown<'_, M>]) {
    let mut last_of_each: Vec<usize> = Vec::new();
    for index in 0..unknown.len() {
        let same = |&other: &usize| unknown[other].operation.input == unknown[index].operation.input;
        match last_of_each.iter().position(same) {
            Some(place) => unknown[index].twin = Some(number(std::mem::replace(&mut last_of_each[place], index))),
            None => last_of_each.push(index),
        }
    }
}

/// Marks the operations before which the history can be cut: all later ones began after all earlier ones had returned.
fn mark_quiet<M: Model>(known: &mut [Known<'_, M>]) {
    let mut earliest_start = usize::MAX;
    for index in (1..known.len()).rev() {
        earliest_start = earliest_start.min(known[index].start);
        known[index].quiet = earliest_start > known[index - 1].end;
    }
}

fn assign_slots<M: Model>(known: &mut [Known<'_, M>]) -> Vec<Vec<u32>> {
    let mut by_start: Vec<usize> = (0..known.len()).collect();
    by_start.sort_unstable_by_key(|&index| known[index].start);
    let mut slots: Vec<Vec<u32>> = Vec::new();
    let mut free: BTreeSet<u32> = BTreeSet::new();
    let mut busy: BinaryHeap<Reverse<(usize, u32)>> = BinaryHeap::new();
    for index in by_start {
        while let Some(&Reverse((end, slot))) = busy.peek()
            && end < known[index].start
        {
            busy.pop();
            free.insert(slot);
        }
        let slot = free.pop_first().unwrap_or_else(|| {
            slots.push(Vec::new());
            number(slots.len() - 1)
        });
        known[index].slot = slot;
        slots[slot as usize].push(number(index));
        busy.push(Reverse((known[index].end, slot)));
    }
    slots
}

/// Positions are kept in 32 bits: a history of four thousand million operations does not fit into memory.
pub(crate) fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 operations of one key")
}
