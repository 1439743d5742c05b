//! Breadth first, level by level, on two threads: when a level is done, every state of that depth has been seen.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::group::{Action, State, Tables, Worker};
use super::projection::Fingerprint;
use super::scenario::Scenario;
use super::sights::Sights;
use super::tables::ByFingerprint;

/// Where a search ends at the latest.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub depth: usize,
    pub states: usize,
    pub time: Duration,
}

/// What a search found.
#[derive(Debug)]
pub struct Report {
    /// Transitions taken.
    pub transitions: usize,
    /// States that differ, up to symmetry.
    pub states: usize,
    /// Every state that so many events lead to was seen.
    pub depth: usize,
    /// There are no others.
    pub complete: bool,
    pub sights: Sights,
    pub violation: Option<Violation>,
}

/// What is violated and how it came to that.
#[derive(Clone, Debug)]
pub struct Violation {
    pub what: String,
    pub path: Vec<String>,
}

const SHARDS: usize = 64;

/// A state to go on from, with its place in the family tree.
type Open = (State, u32);

struct Level {
    next: Vec<(State, u32, Action)>,
    failed: Option<(String, u32, Action)>,
    transitions: usize,
}

struct Search {
    seen: Vec<Mutex<HashSet<Fingerprint, ByFingerprint>>>,
    found: AtomicUsize,
    stop: AtomicBool,
    ends: Instant,
    limits: Limits,
}

/// Explores a scenario and says what was found.
pub fn explore(scenario: &Scenario, limits: Limits, threads: usize) -> Report {
    let began = Instant::now();
    let tables = Tables::default();
    let mut workers: Vec<Worker<'_>> = (0..threads).map(|_| Worker::new(scenario, &tables)).collect();
    let seen = (0..SHARDS).map(|_| Mutex::default()).collect();
    let search =
        Search { seen, found: AtomicUsize::new(0), stop: AtomicBool::new(false), ends: began + limits.time, limits };
    let first = workers[0].first();
    search.is_new(workers[0].fingerprint(&first));
    let mut family: Vec<(u32, Action)> = Vec::new();
    let mut open: Vec<Open> = vec![(first, u32::MAX)];
    let (mut depth, mut transitions, mut violation) = (0, 0, None);
    while depth < limits.depth && !open.is_empty() && violation.is_none() {
        let levels = search.level(&open, &mut workers);
        open = Vec::new();
        for level in levels {
            transitions += level.transitions;
            if violation.is_none()
                && let Some((what, parent, action)) = level.failed
            {
                violation = Some(Violation { what, path: tell(&family, parent, action, &mut workers[0]) });
            }
            for (state, parent, action) in level.next {
                open.push((state, u32::try_from(family.len()).expect("fewer than 2^32 states")));
                family.push((parent, action));
            }
        }
        if search.stop.load(Ordering::Relaxed) {
            break;
        }
        depth += 1;
    }
    let mut sights = Sights::default();
    workers.iter().for_each(|worker| sights.add(worker.sights));
    let complete = open.is_empty() && violation.is_none() && !search.stop.load(Ordering::Relaxed);
    let states = search.found.load(Ordering::Relaxed);
    println!(
        "{:<12} {states:>10} states, {transitions:>11} transitions, depth {depth:>2}{}, {:>6.1} s; {} members, {} messages; {sights:?}",
        scenario.name,
        if complete { " (all there are)" } else { "" },
        began.elapsed().as_secs_f64(),
        tables.members.len(),
        tables.parcels.len(),
    );
    Report { transitions, states, depth, complete, sights, violation }
}

impl Search {
    fn is_new(&self, fingerprint: Fingerprint) -> bool {
        let shard = usize::try_from(fingerprint >> 64 & (SHARDS as u128 - 1)).expect("few shards");
        let new = self.seen[shard].lock().expect("no worker panics").insert(fingerprint);
        if new {
            self.found.fetch_add(1, Ordering::Relaxed);
        }
        new
    }

    fn level(&self, open: &[Open], workers: &mut [Worker<'_>]) -> Vec<Level> {
        let cursor = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let running: Vec<_> =
                workers.iter_mut().map(|worker| scope.spawn(|| self.work(open, &cursor, worker))).collect();
            running.into_iter().map(|thread| thread.join().expect("no worker panics")).collect()
        })
    }

    fn work(&self, open: &[Open], cursor: &AtomicUsize, worker: &mut Worker<'_>) -> Level {
        const BLOCK: usize = 64;
        let mut level = Level { next: Vec::new(), failed: None, transitions: 0 };
        let mut actions = Vec::new();
        loop {
            let from = cursor.fetch_add(BLOCK, Ordering::Relaxed);
            if from >= open.len() {
                return level;
            }
            let full = self.found.load(Ordering::Relaxed) >= self.limits.states;
            if full || Instant::now() >= self.ends {
                self.stop.store(true, Ordering::Relaxed);
            }
            if self.stop.load(Ordering::Relaxed) {
                return level;
            }
            for (state, place) in &open[from..open.len().min(from + BLOCK)] {
                worker.actions(state, &mut actions);
                for action in &actions {
                    level.transitions += 1;
                    match worker.after(state, *action) {
                        Err(what) => {
                            level.failed = Some((what, *place, *action));
                            self.stop.store(true, Ordering::Relaxed);
                            return level;
                        }
                        Ok(None) => {}
                        Ok(Some(next)) => {
                            if self.is_new(worker.fingerprint(&next)) {
                                level.next.push((next, *place, *action));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The way to a violation in words.
fn tell(family: &[(u32, Action)], parent: u32, last: Action, worker: &mut Worker<'_>) -> Vec<String> {
    let mut actions = vec![last];
    let mut place = parent;
    while place != u32::MAX {
        let (before, action) = family[place as usize];
        actions.push(action);
        place = before;
    }
    actions.reverse();
    actions.into_iter().map(|(place, event)| format!("n{}: {:?}", place + 1, worker.happening(event))).collect()
}
