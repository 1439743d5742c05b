//! Concurrent clients behind each contestant's handle: what `handle` measures.
//!
//! One tokio runtime of one thread serves everything, the clients too: with so little work per commit, waking another
//! thread costs more than it saves, for every contestant.

mod channel;
mod engines;
mod memory_disk;
mod openraft;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub use channel::Channel;
pub use engines::Engines;
pub use openraft::Openraft;

use crate::closed_loop::Load;
use crate::measure::{Cost, Stopwatch};

/// A replicated store as its clients see it.
pub trait Service: Sized {
    /// What a client holds.
    type Handle: Handle;

    /// Starts three replicas and waits for a leader.
    fn start(load: &Load) -> impl Future<Output = Self>;
    /// A handle at the leader.
    fn handle(&self) -> Self::Handle;
    /// Stops, and checks that the three replicas are equal. Returns how many commands they have applied.
    fn finish(self) -> impl Future<Output = u64>;
}

/// Where a client hands its commands over.
pub trait Handle: Send + 'static {
    /// Replicates a command; done when the leader has applied it.
    fn write(&self, command: &[u8]) -> impl Future<Output = ()> + Send;
}

/// What the clients have in common.
#[derive(Default)]
struct Shared {
    proposed: AtomicU64,
    answered: AtomicU64,
    stop: AtomicBool,
}

/// Runs a contestant under a load.
///
/// # Panics
/// Where the replicas end up different, or what was answered is not what was applied.
pub fn run<S: Service>(load: &Load) -> Cost {
    let load = *load;
    let mut builder = match load.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(load.threads).enable_time().build().expect("the system gives threads");
    runtime.block_on(async move {
        let service = S::start(&load).await;
        let shared = Arc::new(Shared::default());
        let clients: Vec<_> = (0..load.outstanding)
            .map(|_| tokio::spawn(client(service.handle(), shared.clone(), load.command_bytes)))
            .collect();
        tokio::time::sleep(Duration::from_secs_f64(load.milliseconds / 3e3)).await;
        let before = shared.answered.load(Relaxed);
        let stopwatch = Stopwatch::start();
        tokio::time::sleep(Duration::from_secs_f64(load.milliseconds / 1e3)).await;
        let cost = stopwatch.stop(shared.answered.load(Relaxed) - before);
        shared.stop.store(true, Relaxed);
        for client in clients {
            client.await.expect("no client fails");
        }
        assert_eq!(service.finish().await, shared.answered.load(Relaxed), "what was answered is not what was applied");
        cost
    })
}

/// One client: the next command when the last one is answered.
async fn client(handle: impl Handle, shared: Arc<Shared>, command_bytes: usize) {
    let mut command = vec![0xa5; command_bytes];
    while !shared.stop.load(Relaxed) {
        command[..8].copy_from_slice(&shared.proposed.fetch_add(1, Relaxed).to_le_bytes());
        handle.write(&command).await;
        shared.answered.fetch_add(1, Relaxed);
    }
}
