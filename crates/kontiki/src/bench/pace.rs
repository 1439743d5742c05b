//! Who may send the next operation, and when: the loop around the clients.
//!
//! In a *closed loop* a client sends when its last operation was answered. A server that stalls is then asked less, and
//! the operations that would have suffered are never sent: the percentiles look better than what users would have seen
//! (coordinated omission). In an *open loop* operations are due at times that were set before; one that finds all clients
//! busy waits in a queue, and its latency counts from when it was due.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::arrivals::Arrivals;

/// Leave to send one operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// Different for each operation of a run; chooses the key.
    pub number: u64,
    /// When it was due, in an open loop.
    pub due: Option<Instant>,
    /// Whether it counts; else it warms up.
    pub measured: bool,
}

/// When a run begins to count and when it ends.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The load begins.
    pub start: Instant,
    /// Operations count from here on.
    pub measure_from: Instant,
    /// No operation is sent after this.
    pub end: Option<Instant>,
    /// Nor more measured ones than this.
    pub total: Option<u64>,
}

impl Limits {
    /// From now on.
    pub fn starting_now(warmup: Duration, seconds: Option<Duration>, total: Option<u64>) -> Limits {
        let start = Instant::now();
        let measure_from = start + warmup;
        Limits { start, measure_from, end: seconds.map(|seconds| measure_from + seconds), total }
    }
}

/// The loop of a run.
#[derive(Debug)]
pub enum Pace {
    /// Clients send when they can.
    Closed(Closed),
    /// Operations are due.
    Open(Open),
}

impl Pace {
    /// Waits for the next turn; none when the run is over.
    pub async fn next(&self) -> Option<Turn> {
        match self {
            Pace::Closed(closed) => closed.next(),
            Pace::Open(open) => open.next().await,
        }
    }

    /// Gives out no further turn.
    pub fn stop(&self) {
        match self {
            Pace::Closed(closed) => closed.stopped.store(true, Relaxed),
            Pace::Open(open) => open.cut(),
        }
    }
}

/// As fast as the clients are answered.
#[derive(Debug)]
pub struct Closed {
    limits: Limits,
    stopped: AtomicBool,
    given: AtomicU64,
    measured: AtomicU64,
}

impl Closed {
    /// Within these limits.
    pub fn new(limits: Limits) -> Closed {
        Closed { limits, stopped: AtomicBool::new(false), given: AtomicU64::new(0), measured: AtomicU64::new(0) }
    }

    fn next(&self) -> Option<Turn> {
        let now = Instant::now();
        if self.stopped.load(Relaxed) || self.limits.end.is_some_and(|end| now >= end) {
            return None;
        }
        let measured = now >= self.limits.measure_from;
        if measured && self.limits.total.is_some_and(|total| self.measured.fetch_add(1, Relaxed) >= total) {
            return None;
        }
        Some(Turn { number: self.given.fetch_add(1, Relaxed), due: None, measured })
    }
}

/// Most operations that wait for a client; more are only counted. A server that stands still must not eat the memory.
const BACKLOG_MAX: usize = 1_000_000;
/// How long the clock sleeps at most before it looks whether it shall stop.
const NAP: Duration = Duration::from_millis(50);

/// Operations that are due at their times. [`Open::keep_time`] must run on a thread of its own: the runtime's timers have
/// steps of a millisecond, which is longer than many an operation takes.
#[derive(Debug)]
pub struct Open {
    limits: Limits,
    clients: usize,
    queue: Mutex<VecDeque<Turn>>,
    /// One leave at least for each operation in the queue.
    ready: Semaphore,
    /// Whether all operations of the run were let go.
    complete: AtomicBool,
    due: AtomicU64,
    dropped: AtomicU64,
}

impl Open {
    /// Within these limits, for so many clients.
    pub fn new(limits: Limits, clients: usize) -> Open {
        Open {
            limits,
            clients,
            queue: Mutex::default(),
            ready: Semaphore::new(0),
            complete: AtomicBool::new(false),
            due: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Measured operations that were due so far.
    pub fn due(&self) -> u64 {
        self.due.load(Relaxed)
    }

    /// Those of them that no client was free to send.
    pub fn not_sent(&self) -> u64 {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.iter().filter(|turn| turn.measured).count() as u64 + self.dropped.load(Relaxed)
    }

    async fn next(&self) -> Option<Turn> {
        loop {
            self.ready.acquire().await.ok()?.forget();
            if let Some(turn) = self.take() {
                return Some(turn);
            }
            if self.complete.load(Relaxed) {
                return None;
            }
        }
    }

    /// The first of the queue. What is left of the warm-up when the measurement begins is not sent any more: a rate that is far
    /// too high would else be told from nothing but a warm-up.
    fn take(&self) -> Option<Turn> {
        let measuring = Instant::now() >= self.limits.measure_from;
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(turn) = queue.pop_front() {
            if turn.measured || !measuring {
                return Some(turn);
            }
        }
        None
    }

    /// Ends the run with whatever waits.
    fn cut(&self) {
        self.ready.close();
    }

    /// Lets each operation go when it is due, until the run is over. Blocks.
    pub fn keep_time(&self, arrivals: Arrivals) {
        for (number, offset) in (0..).zip(arrivals) {
            let due = self.limits.start + offset;
            let measured = due >= self.limits.measure_from;
            if measured && self.limits.total.is_some_and(|total| self.due() >= total) {
                // What waits is still sent; then each client finds a leave, and an empty queue.
                self.complete.store(true, Relaxed);
                return self.ready.add_permits(self.clients);
            }
            if self.limits.end.is_some_and(|end| due >= end) {
                self.wait_until(self.limits.end.unwrap_or(due));
                return self.cut();
            }
            self.wait_until(due);
            if self.ready.is_closed() {
                return;
            }
            self.let_go(Turn { number, due: Some(due), measured });
        }
    }

    fn let_go(&self, turn: Turn) {
        self.due.fetch_add(u64::from(turn.measured), Relaxed);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() < BACKLOG_MAX {
            queue.push_back(turn);
            self.ready.add_permits(1);
        } else {
            self.dropped.fetch_add(u64::from(turn.measured), Relaxed);
        }
    }

    fn wait_until(&self, due: Instant) {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || self.ready.is_closed() {
                return;
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}
