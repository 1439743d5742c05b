//! Where the members can be reached: which process lives, and whom its end cuts off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kontiki_raft::NodeId;
use kontiki_store::{StopReason, Store};
use tokio::sync::watch;

/// Every member's present process, if it has one. Clones are the same directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory(Arc<Mutex<BTreeMap<NodeId, Option<Resident>>>>);

/// A process that lives.
#[derive(Debug)]
struct Resident {
    store: Store,
    failed: watch::Receiver<Option<StopReason>>,
    /// Dropped with the process.
    end: watch::Sender<()>,
}

/// A client's connection to a process.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) store: Store,
    end: watch::Receiver<()>,
}

impl Connection {
    /// Waits until the process has ended.
    pub(crate) async fn broken(&mut self) {
        while self.end.changed().await.is_ok() {}
    }
}

impl Directory {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Option<Resident>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process lives.
    pub(crate) fn began(&self, member: NodeId, store: Store) {
        let resident = Resident { failed: store.failed(), store, end: watch::Sender::new(()) };
        let former = self.lock().insert(member, Some(resident));
        drop(former); // of one that ended before it had begun nobody told
    }

    /// A process has ended: its connections break.
    pub(crate) fn ended(&self, member: NodeId) {
        let gone = self.lock().get_mut(&member).and_then(Option::take);
        drop(gone); // outside the lock: it wakes those who wait
    }

    /// Why a member's process has to stop, where it does.
    pub(crate) fn stop_reason(&self, member: NodeId) -> Option<String> {
        let directory = self.lock();
        let reason = directory.get(&member)?.as_ref()?.failed.borrow();
        reason.as_ref().map(ToString::to_string)
    }

    /// Connects to a member; none where it has no process.
    pub(crate) fn connect(&self, member: NodeId) -> Option<Connection> {
        let directory = self.lock();
        let resident = directory.get(&member)?.as_ref()?;
        Some(Connection { store: resident.store.clone(), end: resident.end.subscribe() })
    }

    /// All members that ever had a process, in order.
    pub(crate) fn members(&self) -> Vec<NodeId> {
        self.lock().keys().copied().collect()
    }
}
