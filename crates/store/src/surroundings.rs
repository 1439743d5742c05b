//! What a member stands on: the real world in a process of its own, a simulated one in a test of many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kontiki_raft::NodeId;
use kontiki_transport::{PeerStatistics, Transport};
use kontiki_world::{Clock, Disk, Entropy, RealClock, RealDisk, RealEntropy};

/// Work that would hold up whoever asks for it.
pub type Work = Box<dyn FnOnce() + Send>;

/// Disk, time, chance, and hands for slow work.
#[derive(Clone)]
pub struct Surroundings {
    /// Where the data directory is.
    pub disk: Arc<dyn Disk>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Identities and tokens.
    pub entropy: Arc<dyn Entropy>,
    /// Does work beside everything else; nobody waits for it.
    pub aside: Arc<dyn Fn(Work) + Send + Sync>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

impl Surroundings {
    /// The operating system's, within a tokio runtime.
    pub(crate) fn real() -> Surroundings {
        let blocking = tokio::runtime::Handle::current();
        Surroundings {
            disk: Arc::new(RealDisk),
            clock: Arc::new(RealClock::default()),
            entropy: Arc::new(RealEntropy),
            aside: Arc::new(move |work| drop(blocking.spawn_blocking(work))),
        }
    }
}

/// The connections to the other members, as far as the store looks at them.
pub trait Peers: Send + Sync + std::fmt::Debug {
    /// Figures per member.
    fn statistics(&self) -> BTreeMap<NodeId, PeerStatistics>;

    /// Who the others are from now on, with their addresses (`host:port`), and who was a member and never will be again. To
    /// be said again with every change.
    fn set_members(&self, others: Vec<(NodeId, Vec<String>)>, removed: BTreeSet<NodeId>);

    /// Closes them all.
    fn shutdown(&self);
}

impl Peers for Transport {
    fn statistics(&self) -> BTreeMap<NodeId, PeerStatistics> {
        Transport::statistics(self)
    }

    fn set_members(&self, others: Vec<(NodeId, Vec<String>)>, removed: BTreeSet<NodeId>) {
        self.set_removed(removed);
        self.set_peers(others);
    }

    fn shutdown(&self) {
        Transport::shutdown(self);
    }
}
