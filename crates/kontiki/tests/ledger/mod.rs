//! Load with a ledger: writers that put keys under their own names, each key once, and remember which of them were
//! acknowledged. Whatever is done to the members meanwhile, each of these must be there afterwards.
//!
//! Now and then a writer reads back, from another member, what was acknowledged a moment ago: an answer without it is a
//! stale read. Used by the tests of this package and by the task `faults`.
#![allow(clippy::unwrap_used, dead_code, reason = "each test file compiles this module and uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kontiki_api::rpc::kv_client::KvClient;
use kontiki_api::rpc::{PutRequest, RangeRequest};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};

/// How long a writer waits for an answer before it tries another member.
const ANSWER: Duration = Duration::from_millis(700);
/// How long a writer waits after a refusal.
const PAUSE: Duration = Duration::from_millis(10);
/// How many keys one answer holds at most when the ledger is compared.
const PAGE: i64 = 200;
/// Refused writes carry this text where the disk or the quota is full, as etcd's do.
pub const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// Writers under way.
pub struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
}

/// What the writers of a load tell while they run.
struct Shared {
    prefix: String,
    width: usize,
    stop: AtomicBool,
    acked: AtomicU64,
    keys: Mutex<BTreeSet<String>>,
    pace: Mutex<Pace>,
    refusals: Mutex<BTreeMap<String, u64>>,
    violations: Mutex<Vec<String>>,
}

/// When writes were acknowledged.
struct Pace {
    last: Instant,
    longest_gap: Duration,
    latencies: Vec<Duration>,
}

/// What was acknowledged in one load.
pub struct Ledger {
    prefix: String,
    width: usize,
    /// All keys of which a put was acknowledged.
    pub keys: BTreeSet<String>,
    /// The longest time without an acknowledged write.
    pub longest_gap: Duration,
    /// How often a write was refused with which text.
    pub refusals: BTreeMap<String, u64>,
    /// Reads that did not see what was acknowledged before them.
    pub violations: Vec<String>,
    latencies: Vec<Duration>,
}

impl Load {
    /// Starts `writers` of them at `urls`. Their keys begin with `prefix`, which no other load may use; values have about
    /// `width` bytes.
    pub fn start(prefix: &str, urls: &[String], writers: usize, width: usize) -> Load {
        let shared = Arc::new(Shared {
            prefix: prefix.to_owned(),
            width,
            stop: AtomicBool::new(false),
            acked: AtomicU64::new(0),
            keys: Mutex::default(),
            pace: Mutex::new(Pace { last: Instant::now(), longest_gap: Duration::ZERO, latencies: Vec::new() }),
            refusals: Mutex::default(),
            violations: Mutex::default(),
        });
        let clients: Vec<KvClient<Channel>> = urls.iter().map(|url| client(url)).collect();
        let writer = |at| tokio::spawn(write(at, clients.clone(), shared.clone()));
        Load { writers: (0..writers).map(writer).collect(), shared }
    }

    /// How many writes were acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.shared.acked.load(SeqCst)
    }

    /// How often writes were refused so far with a text that contains `part`.
    pub fn refused(&self, part: &str) -> u64 {
        let refusals = self.shared.refusals.lock().unwrap();
        refusals.iter().filter(|(text, _)| text.contains(part)).map(|(_, count)| count).sum()
    }

    /// Waits until that many further writes are acknowledged; how long it took, or none where it took longer than `limit`.
    pub async fn more(&self, count: u64, limit: Duration) -> Option<Duration> {
        let (begin, before) = (Instant::now(), self.acked());
        while self.acked() < before + count {
            if begin.elapsed() > limit {
                return None;
            }
            sleep(Duration::from_millis(5)).await;
        }
        Some(begin.elapsed())
    }

    /// The longest gap from here on; what was measured before is forgotten.
    pub fn forget_pace(&self) {
        let mut pace = self.shared.pace.lock().unwrap();
        *pace = Pace { last: Instant::now(), longest_gap: Duration::ZERO, latencies: Vec::new() };
    }

    /// The longest time without an acknowledged write, the current one included.
    pub fn longest_gap(&self) -> Duration {
        let pace = self.shared.pace.lock().unwrap();
        pace.longest_gap.max(pace.last.elapsed())
    }

    /// The latency that one write in a hundred exceeded.
    pub fn p99(&self) -> Duration {
        percentile(&self.shared.pace.lock().unwrap().latencies, 99)
    }

    /// What was acknowledged up to now.
    pub fn so_far(&self) -> Ledger {
        let (longest_gap, latencies) = {
            let pace = self.shared.pace.lock().unwrap();
            (pace.longest_gap.max(pace.last.elapsed()), pace.latencies.clone())
        };
        Ledger {
            prefix: self.shared.prefix.clone(),
            width: self.shared.width,
            keys: self.shared.keys.lock().unwrap().clone(),
            longest_gap,
            refusals: self.shared.refusals.lock().unwrap().clone(),
            violations: self.shared.violations.lock().unwrap().clone(),
            latencies,
        }
    }

    /// Ends the writers.
    pub async fn stop(mut self) -> Ledger {
        self.shared.stop.store(true, SeqCst);
        for writer in std::mem::take(&mut self.writers) {
            writer.await.unwrap();
        }
        self.so_far()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
    }
}

impl Ledger {
    /// The acknowledged keys that a member does not have, by linearizable reads.
    pub async fn missing(&self, url: &str) -> Result<Vec<String>, String> {
        let found = self.read(url).await?;
        Ok(self.keys.iter().filter(|key| found.get(*key) != Some(&value(key, self.width))).cloned().collect())
    }

    /// The latency that one write in a hundred exceeded.
    pub fn p99(&self) -> Duration {
        percentile(&self.latencies, 99)
    }

    /// All that a member has under the load's prefix.
    async fn read(&self, url: &str) -> Result<BTreeMap<String, String>, String> {
        let mut client = client(url);
        let mut found = BTreeMap::new();
        let mut from = self.prefix.clone().into_bytes();
        let mut end = from.clone();
        *end.last_mut().unwrap() += 1;
        loop {
            let request = RangeRequest {
                key: from.clone().into(),
                range_end: end.clone().into(),
                limit: PAGE,
                ..RangeRequest::default()
            };
            let answer = match timeout(Duration::from_secs(10), client.range(request)).await {
                Ok(Ok(answer)) => answer.into_inner(),
                Ok(Err(status)) => return Err(format!("{url} does not answer: {status}")),
                Err(_) => return Err(format!("{url} does not answer in time")),
            };
            for kv in answer.kvs {
                from = [&kv.key[..], b"\0"].concat();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                found.insert(text(&kv.key), text(&kv.value));
            }
            if !answer.more {
                return Ok(found);
            }
        }
    }
}

/// A client that connects with its first call.
pub fn client(url: &str) -> KvClient<Channel> {
    KvClient::new(Endpoint::from_shared(url.to_owned()).unwrap().connect_timeout(ANSWER).connect_lazy())
        .max_decoding_message_size(64 << 20)
}

/// What a load puts under a key: the key, so that the value is found again in a file, and something to fill it up.
pub fn value(key: &str, width: usize) -> String {
    format!("{key}={}", "v".repeat(width.saturating_sub(key.len() + 1)))
}

/// Puts values of a megabyte at a member, so many that a checkpoint is due on all; their keys begin with `prefix`.
pub async fn fill(url: &str, prefix: &str) -> Result<(), String> {
    const MEBIBYTES: u64 = 56;
    let mut client = client(url);
    for number in 0..MEBIBYTES {
        let key = format!("{prefix}{number:04}");
        let value = value(&key, 1 << 20).into();
        let put = client.put(PutRequest { key: key.into(), value, ..PutRequest::default() }).await;
        put.map_err(|status| format!("{url} takes no large values: {status}"))?;
    }
    Ok(())
}

/// The latency that `percent` of the writes kept to.
fn percentile(latencies: &[Duration], percent: usize) -> Duration {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Puts keys one after the other, each until it is acknowledged, until told to stop.
async fn write(at: usize, mut clients: Vec<KvClient<Channel>>, shared: Arc<Shared>) {
    let mut turn = at;
    for number in 0_u64.. {
        let key = format!("{}{at:03}/{number:07}", shared.prefix);
        loop {
            if shared.stop.load(SeqCst) {
                return;
            }
            let member = turn % clients.len();
            let request = PutRequest {
                key: key.clone().into(),
                value: value(&key, shared.width).into(),
                ..PutRequest::default()
            };
            let begin = Instant::now();
            let text = match timeout(ANSWER, clients[member].put(request)).await {
                Ok(Ok(_)) => break shared.note(&key, begin),
                Ok(Err(status)) => status.message().to_owned(),
                Err(_) => "no answer in time".to_owned(),
            };
            *shared.refusals.lock().unwrap().entry(text).or_default() += 1;
            turn += 1;
            sleep(PAUSE).await;
        }
        if number % 8 == 7 {
            turn += 1;
            let member = turn % clients.len();
            read_back(&mut clients[member], &key, member, &shared).await;
        }
    }
}

/// A linearizable read of a key that was acknowledged before: an answer without it is wrong, no answer is not.
async fn read_back(client: &mut KvClient<Channel>, key: &str, member: usize, shared: &Shared) {
    let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    if let Ok(Ok(answer)) = timeout(ANSWER, client.range(request)).await
        && answer.get_ref().kvs.first().is_none_or(|kv| kv.value != value(key, shared.width).as_bytes())
    {
        let text = format!("member {member} answered without {key}, which was acknowledged before");
        shared.violations.lock().unwrap().push(text);
    }
}

impl Shared {
    /// The write of a key that began then is acknowledged now.
    fn note(&self, key: &str, begin: Instant) {
        self.keys.lock().unwrap().insert(key.to_owned());
        self.acked.fetch_add(1, SeqCst);
        let now = Instant::now();
        let mut pace = self.pace.lock().unwrap();
        pace.longest_gap = pace.longest_gap.max(now.duration_since(pace.last));
        pace.last = now;
        pace.latencies.push(now.duration_since(begin));
    }
}
