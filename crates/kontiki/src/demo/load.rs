//! The demo's sample workload: clients that write and read back, through the front door like any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kontiki_api::rpc::kv_client::KvClient;
use kontiki_api::rpc::{PutRequest, RangeRequest};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};

const CLIENTS: usize = 8;
const KEYS: u64 = 1_000;
/// A pause after each pair of operations, which keeps the machine free for what is typed beside it.
const PAUSE: Duration = Duration::from_millis(2);
/// A request that takes longer is given up and the next member is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running workload.
pub struct Load {
    operations: Arc<AtomicU64>,
    began: Instant,
    clients: Vec<JoinHandle<()>>,
    last: std::sync::Mutex<(Instant, u64)>,
}

impl Load {
    /// Starts the clients.
    pub fn start(endpoints: Vec<String>) -> Load {
        let operations = Arc::new(AtomicU64::new(0));
        let clients = (0..CLIENTS)
            .map(|number| tokio::spawn(client(number, endpoints.clone(), Arc::clone(&operations))))
            .collect();
        let began = Instant::now();
        Load { operations, began, clients, last: std::sync::Mutex::new((began, 0)) }
    }

    /// Operations per second since the last call.
    pub fn rate(&self) -> u64 {
        let now = Instant::now();
        let total = self.operations.load(Ordering::Relaxed);
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let seconds = (now - last.0).as_secs_f64();
        let rate = if seconds > 0.0 { (total - last.1) as f64 / seconds } else { 0.0 };
        *last = (now, total);
        rate as u64
    }

    /// Ends the clients.
    pub fn stop(&self) {
        for client in &self.clients {
            client.abort();
        }
        tracing::info!(
            operations = self.operations.load(Ordering::Relaxed),
            seconds = self.began.elapsed().as_secs(),
            "the sample workload ended"
        );
    }
}

async fn client(number: usize, endpoints: Vec<String>, operations: Arc<AtomicU64>) {
    let mut clients: Vec<KvClient<Channel>> = endpoints
        .into_iter()
        .filter_map(|url| Endpoint::from_shared(url).ok())
        .map(|endpoint| KvClient::new(endpoint.connect_timeout(PATIENCE).connect_lazy()))
        .collect();
    let mut at = number % clients.len().max(1);
    for round in 0_u64.. {
        let Some(kv) = clients.get_mut(at) else { return };
        let key = format!("demo/{:04}", (round * 7919 + number as u64 * 127) % KEYS);
        match timeout(PATIENCE, put_and_get(kv, &key, round)).await {
            Ok(Ok(())) => {
                operations.fetch_add(2, Ordering::Relaxed);
                sleep(PAUSE).await;
            }
            Ok(Err(_)) | Err(_) => {
                at = (at + 1) % clients.len(); // this member is down or has no leader: ask the next one
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn put_and_get(kv: &mut KvClient<Channel>, key: &str, round: u64) -> Result<(), tonic::Status> {
    let key = bytes::Bytes::copy_from_slice(key.as_bytes());
    kv.put(PutRequest { key: key.clone(), value: format!("round {round}").into(), ..PutRequest::default() }).await?;
    kv.range(RangeRequest { key, ..RangeRequest::default() }).await?;
    Ok(())
}
