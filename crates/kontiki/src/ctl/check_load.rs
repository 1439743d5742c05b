//! The load of `check`: many clients at once, as fast as they can or at a rate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kontiki_api::rpc::PutRequest;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::client::{Connection, Context};
use super::failure::{Failure, describe};
use crate::progress::Progress;

/// Length of each value.
const VALUE: usize = 1024;
/// Clients share this many connections at most: a process may not have more than a thousand files open.
const CONNECTIONS: u64 = 100;

/// How much is written.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Writes per second; as many as possible where not given.
    pub rate: Option<u64>,
    pub writes: u64,
    pub clients: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Of each write that was acknowledged, in seconds.
    pub latencies: Vec<f64>,
    /// Errors and how often each came.
    pub errors: BTreeMap<String, u64>,
    pub took: Duration,
}

impl Outcome {
    /// Writes per second.
    pub fn throughput(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// The slowest write in seconds.
    pub fn slowest(&self) -> f64 {
        self.latencies.iter().copied().fold(0.0, f64::max)
    }

    /// The standard deviation of the writes' times in seconds.
    pub fn deviation(&self) -> f64 {
        let count = self.latencies.len().max(1) as f64;
        let mean = self.latencies.iter().sum::<f64>() / count;
        (self.latencies.iter().map(|seconds| (seconds - mean).powi(2)).sum::<f64>() / count).sqrt()
    }
}

/// Writes keys under the prefix. Every endpoint gets its share of the clients.
pub async fn run_load(context: &Context, prefix: &str, plan: Plan) -> Result<Outcome, Failure> {
    let mut connections = Vec::new();
    for position in 0..plan.clients.min(CONNECTIONS) {
        connections.push(Arc::new(context.connect(position as usize).await?));
    }
    let progress = Progress::of_steps("writes acknowledged");
    let start = Instant::now();
    let shared = Arc::new(Shared {
        start,
        plan,
        next: AtomicU64::new(0),
        prefix: prefix.to_string(),
        value: vec![b'v'; VALUE].into(),
        patience: context.settings.command_timeout,
        // Keys in an order that looks like none, so that the store cannot just append.
        seed: std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |age| age.as_nanos() as u64),
    });
    let mut clients = JoinSet::new();
    for client in 0..plan.clients {
        let connection = connections[client as usize % connections.len()].clone();
        clients.spawn(write(shared.clone(), connection));
    }
    let mut outcome = Outcome::default();
    while !clients.is_empty() {
        tokio::select! {
            Some(done) = clients.join_next() => {
                let done = done.map_err(|error| Failure::error(format!("a client ended: {error}")))?;
                outcome.latencies.extend(done.latencies);
                done.errors.into_iter().for_each(|(error, count)| *outcome.errors.entry(error).or_default() += count);
            }
            () = sleep(Duration::from_millis(200)) => {
                progress.reach(shared.next.load(Ordering::Relaxed).min(plan.writes));
            }
        }
    }
    outcome.took = start.elapsed();
    Ok(outcome)
}

struct Shared {
    start: Instant,
    plan: Plan,
    next: AtomicU64,
    prefix: String,
    value: Bytes,
    patience: Duration,
    seed: u64,
}

async fn write(shared: Arc<Shared>, connection: Arc<Connection>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut client = connection.kv();
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= shared.plan.writes {
            return outcome;
        }
        if let Some(rate) = shared.plan.rate {
            let due = shared.start + Duration::from_secs_f64(number as f64 / rate as f64);
            tokio::time::sleep_until(due).await;
        }
        let key = format!("{}{:016x}", shared.prefix, scramble(shared.seed.wrapping_add(number)));
        let request = PutRequest { key: key.into(), value: shared.value.clone(), ..Default::default() };
        let asked = Instant::now();
        let error = match timeout(shared.patience, client.put(request)).await {
            Ok(Ok(_)) => {
                outcome.latencies.push(asked.elapsed().as_secs_f64());
                continue;
            }
            Ok(Err(status)) => describe(&status, &connection.endpoint),
            Err(_) => "context deadline exceeded".to_string(),
        };
        *outcome.errors.entry(error).or_default() += 1;
    }
}

/// Different numbers for different numbers, spread over all of them (the finaliser of splitmix64).
fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
