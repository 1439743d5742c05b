//! What all calls share: the store, the settings, the counters.

use std::time::Duration;

use kontiki_api::rpc::ResponseHeader;
use kontiki_kv::Failure;
use kontiki_store::{Leadership, Store};
use tokio::sync::watch;
use tonic::Status;

use crate::errors;
use crate::grpc::Metadata;
use crate::methods::Kind;
use crate::metrics::Metrics;
use crate::options::Versions;

/// The front door's state.
pub(crate) struct Front {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    /// True once the server stops: streams end.
    pub(crate) stopping: watch::Receiver<bool>,
    leadership: watch::Receiver<Leadership>,
    cluster_id: u64,
    member_id: u64,
}

/// On what terms a call was let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// A stream ends when there has been no leader for long.
    pub(crate) needs_leader: bool,
    /// After how long the client gives up.
    pub(crate) timeout: Option<Duration>,
}

/// The part of the options that calls look at.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) request_bytes_max: usize,
    pub(crate) txn_ops_max: usize,
    pub(crate) streams_max: u32,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) election_timeout: Duration,
    pub(crate) versions: Versions,
    /// Lower case; empty for "all".
    pub(crate) host_whitelist: Vec<String>,
    pub(crate) gateway: bool,
}

impl Settings {
    /// The largest message that is read at all: room for a command of the largest size and what goes around it.
    pub(crate) fn message_bytes_max(&self) -> usize {
        self.request_bytes_max + 512 * 1024
    }
}

impl Front {
    /// A read of the state failed. Where that shows damage, the member is mended.
    pub(crate) fn read_failed(&self, failure: Failure) -> Status {
        if let Failure::Storage(error) = &failure {
            self.store.read_failed(error);
        }
        errors::read(failure)
    }

    pub(crate) fn new(store: Store, settings: Settings, metrics: Metrics, stopping: watch::Receiver<bool>) -> Front {
        let status = store.status();
        let leadership = store.leadership();
        let (cluster_id, member_id) = (status.cluster_id, status.member_id);
        Front { store, settings, metrics, stopping, leadership, cluster_id, member_id }
    }

    /// The header of an answer.
    pub(crate) fn header(&self, revision: i64) -> ResponseHeader {
        self.header_at(revision, self.leadership.borrow().term)
    }

    /// The header of an answer whose term is known.
    pub(crate) fn header_at(&self, revision: i64, raft_term: u64) -> ResponseHeader {
        ResponseHeader { cluster_id: self.cluster_id, member_id: self.member_id, revision, raft_term }
    }

    /// The header of an answer to what has no revision of its own: that of the store.
    pub(crate) fn current_header(&self) -> ResponseHeader {
        self.header(self.store.reader().revision())
    }

    /// This member.
    pub(crate) fn member_id(&self) -> u64 {
        self.member_id
    }

    /// Whether a leader is known.
    pub(crate) fn has_leader(&self) -> bool {
        self.leadership.borrow().leader.is_some()
    }

    /// Lets a call in, or says at once why not.
    pub(crate) fn admit(&self, kind: Kind, metadata: &Metadata<'_>) -> Result<Terms, Status> {
        self.metrics.count_client(kind, metadata.client_version);
        if metadata.needs_leader && !self.has_leader() {
            return Err(no_leader());
        }
        Ok(Terms { needs_leader: metadata.needs_leader, timeout: metadata.timeout })
    }

    /// Returns once no leader has been known for three election timeouts in a row.
    pub(crate) async fn leaderless(&self) -> Status {
        let mut leadership = self.leadership.clone();
        let patience = self.settings.election_timeout * 3;
        loop {
            if leadership.wait_for(|now| now.leader.is_none()).await.is_err() {
                return stopped();
            }
            let elected = leadership.wait_for(|now| now.leader.is_some());
            match tokio::time::timeout(patience, elected).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return stopped(),
                Err(_) => return no_leader(),
            }
        }
    }

    /// Returns once the server stops.
    pub(crate) async fn stopped(&self) -> Status {
        let mut stopping = self.stopping.clone();
        // An error means that the sender is gone: stopped, too.
        drop(stopping.wait_for(|stopping| *stopping).await);
        stopped()
    }
}

fn no_leader() -> Status {
    Status::unavailable("etcdserver: no leader")
}

fn stopped() -> Status {
    Status::unavailable("etcdserver: server stopped")
}
