//! What all calls share: the store, the settings, the counters.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use kontiki_api::rpc::ResponseHeader;
use kontiki_kv::Failure;
use kontiki_store::{Caller, Leadership, Store};
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::access;
use crate::doors::DoorCounters;
use crate::errors;
use crate::grpc::Metadata;
use crate::methods::{METHODS, Method, MethodInfo};
use crate::metrics::Metrics;
use crate::options::{Feature, Limits, Versions};
use crate::origins::Origins;
use crate::services::turns::Turns;

/// The front door's state. Each caller that is somebody has a copy of its own.
#[derive(Clone)]
pub(crate) struct Front {
    /// Proposes in the name of the caller; in nobody's before one is let in.
    pub(crate) store: Store,
    /// Who is calling, as far as that one says so.
    pub(crate) caller: Caller,
    pub(crate) settings: Arc<Settings>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) doors: Arc<DoorCounters>,
    /// How many WebSockets are open.
    pub(crate) websockets: Arc<AtomicUsize>,
    /// Of answers that are too large to be held.
    pub(crate) turns: Arc<Turns>,
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
    pub(crate) limits: Limits,
    pub(crate) keepalive_min: Duration,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) election_timeout: Duration,
    pub(crate) versions: Versions,
    /// Lower case; empty for "all".
    pub(crate) host_whitelist: Vec<String>,
    pub(crate) origins: Origins,
    pub(crate) gateway: bool,
    /// Serve `/debug/…`.
    pub(crate) debug: bool,
    /// A unary call that takes longer is logged; zero logs none.
    pub(crate) slow_request: Duration,
    /// Features by name and stage, and whether they are on: for `/metrics`.
    pub(crate) features: Vec<Feature>,
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
        let (settings, metrics) = (Arc::new(settings), Arc::new(metrics));
        let (doors, websockets, turns) = (Arc::default(), Arc::default(), Arc::default());
        let (store, caller) = (access::nobodys(&store), Caller::default());
        Front {
            store,
            caller,
            settings,
            metrics,
            doors,
            websockets,
            turns,
            stopping,
            leadership,
            cluster_id,
            member_id,
        }
    }

    /// For a caller.
    pub(crate) fn called(&self, caller: Caller) -> Arc<Front> {
        Arc::new(Front { caller, ..self.clone() })
    }

    /// With a store that acts for the caller.
    pub(crate) fn acting(&self, store: Store) -> Arc<Front> {
        Arc::new(Front { store, ..self.clone() })
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

    /// A unary call that began then is done: measured, and told where it took long.
    pub(crate) fn done(&self, method: Method, code: Code, began: Instant) {
        let took = began.elapsed();
        self.metrics.observe(method, code, took);
        if took > self.settings.slow_request && !self.settings.slow_request.is_zero() {
            let path = METHODS[method as usize].path;
            let expected = self.settings.slow_request.as_secs_f64();
            tracing::warn!(method = path, seconds = took.as_secs_f64(), expected, "a request took long");
        }
    }

    /// Lets a call in, or says at once why not.
    pub(crate) fn admit(&self, info: &MethodInfo, metadata: &Metadata<'_>) -> Result<Terms, Status> {
        self.metrics.count_client(info.kind, metadata.client_version);
        if self.store.is_learner() && !info.method.is_for_learners() {
            return Err(errors::learner());
        }
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
