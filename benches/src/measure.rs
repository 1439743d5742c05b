//! What a run costs.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use crate::allocations;

/// The cost of one run, per commit.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// How many commits the run had.
    pub commits: u64,
    /// CPU time of the whole process, in microseconds.
    pub cpu_us: f64,
    /// Time that passed, in microseconds.
    pub wall_us: f64,
    /// Allocations; zero unless they are counted.
    pub allocations: f64,
}

/// Runs from here.
pub struct Stopwatch {
    cpu_us: f64,
    wall: Instant,
    allocations: u64,
}

impl Stopwatch {
    /// Starts.
    pub fn start() -> Stopwatch {
        Stopwatch { cpu_us: cpu_us(), wall: Instant::now(), allocations: allocations::count() }
    }

    /// Time that has passed, in milliseconds.
    pub fn milliseconds(&self) -> f64 {
        self.wall.elapsed().as_secs_f64() * 1e3
    }

    /// Stops after so many commits.
    pub fn stop(self, commits: u64) -> Cost {
        let per_commit = |total: f64| total / commits as f64;
        Cost {
            commits,
            wall_us: per_commit(self.wall.elapsed().as_secs_f64() * 1e6),
            cpu_us: per_commit(cpu_us() - self.cpu_us),
            allocations: per_commit((allocations::count() - self.allocations) as f64),
        }
    }
}

fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
