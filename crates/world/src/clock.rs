//! Time.

use std::time::{Duration, Instant};

/// A clock that never goes back.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Time since some moment before the process's first question.
    fn now(&self) -> Duration;
}

/// The operating system's monotonic clock.
#[derive(Debug)]
pub struct RealClock {
    born: Instant,
}

impl Default for RealClock {
    fn default() -> RealClock {
        RealClock { born: Instant::now() }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Duration {
        self.born.elapsed()
    }
}
