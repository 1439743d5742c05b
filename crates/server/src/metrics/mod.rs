//! What is counted here: calls, messages, probes. What the store counts is asked for when `/metrics` is.

pub(crate) mod exposition;
pub(crate) mod process;
pub(crate) mod registry;
mod text;
mod timed;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use tonic::Code;

use crate::methods::{Kind, METHOD_COUNT, Method};
use timed::Timed;

/// gRPC codes, 0 to 16.
const CODES: usize = 17;
/// Client versions that are counted apart; what comes after them is counted together.
const CLIENT_VERSIONS_MAX: usize = 64;
/// Handling times are counted by so many bounds, and beyond them.
const HANDLING_BUCKETS: usize = 12;
/// Upper bounds of the handling times in seconds, as in the Go client library for Prometheus.
static HANDLING_BOUNDS: [f64; HANDLING_BUCKETS - 1] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The counters of the front door.
pub(crate) struct Metrics {
    calls: [Call; METHOD_COUNT],
    /// Requests and streams by the version that clients say they have.
    clients: RwLock<BTreeMap<String, [AtomicU64; 2]>>,
    clients_unknown: [AtomicU64; 2],
    health: [AtomicU64; 2],
    checks: [[CheckCount; 4]; 2],
    timed: Timed,
    /// How often `/metrics` was asked for.
    scrapes: AtomicU64,
    extensive: bool,
}

/// The counters of one method.
#[derive(Debug)]
pub(crate) struct Call {
    started: AtomicU64,
    handled: [AtomicU64; CODES],
    messages_received: AtomicU64,
    messages_sent: AtomicU64,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    handling: [AtomicU64; HANDLING_BUCKETS],
    handling_nanoseconds: AtomicU64,
}

/// A check of `/livez` or `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// No alarm of corruption.
    DataCorruption,
    /// This member's state can be read.
    SerializableRead,
    /// A quorum answers.
    LinearizableRead,
    /// This member votes.
    NonLearner,
}

#[derive(Debug, Default)]
struct CheckCount {
    passed: AtomicU64,
    failed: AtomicU64,
    last_passed: AtomicBool,
}

impl Metrics {
    pub(crate) fn new(extensive: bool) -> Metrics {
        Metrics {
            calls: std::array::from_fn(|_| Call::new()),
            clients: RwLock::default(),
            clients_unknown: Default::default(),
            health: Default::default(),
            checks: Default::default(),
            timed: Timed::new(),
            scrapes: AtomicU64::new(0),
            extensive,
        }
    }

    /// The counters of a method.
    pub(crate) fn call(&self, method: Method) -> &Call {
        &self.calls[method as usize]
    }

    /// Whether times are measured.
    pub(crate) fn extensive(&self) -> bool {
        self.extensive
    }

    /// Counts a request or stream by the client's version.
    pub(crate) fn count_client(&self, kind: Kind, version: Option<&str>) {
        let kind = usize::from(kind != Kind::Unary);
        let Some(version) = version else {
            self.clients_unknown[kind].fetch_add(1, Relaxed);
            return;
        };
        if let Some(counts) = self.clients.read().unwrap_or_else(PoisonError::into_inner).get(version) {
            counts[kind].fetch_add(1, Relaxed);
            return;
        }
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        if clients.len() < CLIENT_VERSIONS_MAX {
            clients.entry(version.to_owned()).or_default()[kind].fetch_add(1, Relaxed);
        } else {
            self.clients_unknown[kind].fetch_add(1, Relaxed);
        }
    }

    /// Ranges asked for.
    fn ranges(&self) -> u64 {
        [Method::Range, Method::RangeStream].iter().map(|method| self.call(*method).started.load(Relaxed)).sum()
    }

    /// Bytes of all messages, sent and received.
    fn bytes(&self) -> (u64, u64) {
        let sum = |count: fn(&Call) -> &AtomicU64| self.calls.iter().map(|call| count(call).load(Relaxed)).sum();
        (sum(|call| &call.bytes_sent), sum(|call| &call.bytes_received))
    }

    /// Counts an answer of `/health`.
    pub(crate) fn count_health(&self, healthy: bool) {
        self.health[usize::from(!healthy)].fetch_add(1, Relaxed);
    }

    /// Counts a check of `/livez` or `/readyz`.
    pub(crate) fn count_check(&self, live: bool, check: Check, passed: bool) {
        let count = &self.checks[usize::from(!live)][check as usize];
        if passed { &count.passed } else { &count.failed }.fetch_add(1, Relaxed);
        count.last_passed.store(passed, Relaxed);
    }

    /// A unary call is done.
    pub(crate) fn observe(&self, method: Method, code: Code, took: Duration) {
        self.timed.observe(method, code == Code::Ok, took);
    }
}

impl Call {
    fn new() -> Call {
        Call {
            started: AtomicU64::new(0),
            handled: Default::default(),
            messages_received: AtomicU64::new(0),
            messages_sent: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            handling: Default::default(),
            handling_nanoseconds: AtomicU64::new(0),
        }
    }

    /// A call begins.
    pub(crate) fn start(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    /// A message of so many bytes came in.
    pub(crate) fn received(&self, bytes: usize) {
        self.messages_received.fetch_add(1, Relaxed);
        self.bytes_received.fetch_add(bytes as u64, Relaxed);
    }

    /// Messages of so many bytes went out.
    pub(crate) fn sent(&self, messages: u64, bytes: usize) {
        self.messages_sent.fetch_add(messages, Relaxed);
        self.bytes_sent.fetch_add(bytes as u64, Relaxed);
    }

    /// A call ends; it began then, where times are measured.
    pub(crate) fn finish(&self, code: Code, began: Option<Instant>) {
        self.handled[code as usize].fetch_add(1, Relaxed);
        if let Some(began) = began {
            let took = began.elapsed();
            let seconds = took.as_secs_f64();
            let bucket = HANDLING_BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(HANDLING_BOUNDS.len());
            self.handling[bucket].fetch_add(1, Relaxed);
            self.handling_nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        }
    }
}

impl Check {
    /// Those of `/livez`.
    pub(crate) const LIVE: [Check; 1] = [Check::SerializableRead];
    /// Those of `/readyz`.
    pub(crate) const READY: [Check; 4] =
        [Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

    /// As in paths and labels.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }
}
