//! What the layer above hears from the connections, and how often the operator hears of trouble.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use kontiki_raft::NodeId;
use tokio::time::Instant;

use crate::frame::Frame;

/// Something that came from the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A peer says something.
    Frame {
        /// Who says it, as its handshake told.
        from: NodeId,
        /// What it says.
        frame: Frame,
    },
    /// What is sent to the peer from now on leaves: the connection for consensus traffic is established.
    Connected(NodeId),
    /// The peer's process is probably gone: a connection was reset or closed, or a dial refused. Once per outage.
    Suspect(NodeId),
    /// A peer that we dialed does not let us in. Told anew with every redial.
    Refused {
        /// The address that we dialed.
        address: String,
        /// Why, in the peer's words for an operator.
        reason: String,
        /// This member was taken out of the cluster: nobody will let it in any more.
        removed: bool,
    },
}

/// Takes what came in, several at a time where several came at once. It is called on the runtime's threads, must neither
/// block nor call [`crate::Transport::set_peers`] or [`crate::Transport::shutdown`], and sees each peer's frames of a
/// class in order.
pub type Deliver = Arc<dyn Fn(Vec<Received>) + Send + Sync>;

/// Sees to what was delivered. Called without any lock held, on the thread that delivered frames, right after it did.
pub type Tend = Arc<dyn Fn() + Send + Sync>;

/// Hands over to the layer above until the transport is shut down.
pub(crate) struct Reporter {
    deliver: Deliver,
    tend: OnceLock<Tend>,
    closed: AtomicBool,
}

impl Reporter {
    pub(crate) fn new(deliver: Deliver) -> Reporter {
        Reporter { deliver, tend: OnceLock::new(), closed: AtomicBool::new(false) }
    }

    pub(crate) fn deliver(&self, batch: Vec<Received>) {
        if !self.closed.load(Ordering::Acquire) {
            (self.deliver)(batch);
        }
    }

    /// The first one counts.
    pub(crate) fn tend_with(&self, tend: Tend) {
        let _ = self.tend.set(tend);
    }

    /// Frames were delivered, and no lock is held.
    pub(crate) fn tend(&self) {
        if let Some(tend) = self.tend.get() {
            tend();
        }
    }

    /// Whether nothing is handed over any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Nothing is handed over any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// Lets a repeated warning through once, then at most each ten seconds.
#[derive(Default)]
pub(crate) struct WarnLimit(Mutex<Option<Instant>>);

impl WarnLimit {
    const PAUSE: Duration = Duration::from_secs(10);

    /// Whether it is time for a warning; if so, it counts as given.
    pub(crate) fn is_due(&self) -> bool {
        let mut last = lock(&self.0);
        let due = last.is_none_or(|last| last.elapsed() >= WarnLimit::PAUSE);
        if due {
            *last = Some(Instant::now());
        }
        due
    }

    /// The trouble is over: the next one is told at once.
    pub(crate) fn reset(&self) {
        *lock(&self.0) = None;
    }
}

/// Locks a mutex. What our mutexes guard is whole after every statement, so a panic of another holder spoils nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
