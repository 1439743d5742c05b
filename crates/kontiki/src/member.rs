//! A running member: its store, and the front door on it. Conversions from settings to both live here.

use kontiki_server::{Feature, Listener, ServerOptions};
use kontiki_store::{
    AuthOptions, InitialMember, MembershipOptions, Options, PeerListener, StartError, Store, Tuning, Upkeep,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::ServerConfig;
use crate::config::compaction::AutoCompaction;
use crate::config::url::Url;
use crate::ports::Ports;

/// A running member. Dropping it without [`Member::stop`] leaves the work to the process's end.
pub struct Member {
    store: Store,
    door: JoinHandle<()>,
    close_door: oneshot::Sender<()>,
    door_failed: watch::Receiver<Option<String>>,
}

impl Member {
    /// Opens the data and serves it. A leader may not be known yet.
    pub async fn start(config: &ServerConfig, ports: Ports) -> Result<Member, StartError> {
        let Ports { client, http, metrics, peer, connector } = ports;
        let options = Options { peer_connector: connector, ..store_options(config, peer) };
        let store = Store::start(options).await?;
        let (close_door, closing) = oneshot::channel();
        let (report, door_failed) = watch::channel(None);
        let serving = kontiki_server::serve(store.clone(), server_options(config, client, http, metrics), async {
            let _ = closing.await; // a member that is dropped closes its door too
        });
        let door = tokio::spawn(async move {
            if let Err(error) = serving.await {
                report.send_replace(Some(format!("clients can no longer be served: {error}")));
            }
        });
        Ok(Member { store, door, close_door, door_failed })
    }

    /// The member's store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Waits until a leader is known: from then on requests can be answered.
    pub async fn until_led(&self) {
        // An error means that the store has stopped; `failed` tells why.
        let _ = self.store.leadership().wait_for(|leadership| leadership.leader.is_some()).await;
    }

    /// Waits until store or door fail, and says why. Never ends while they do not.
    pub async fn failed(&self) -> String {
        tokio::select! {
            reason = reason(self.store.failed()) => reason,
            reason = reason(self.door_failed.clone()) => reason,
        }
    }

    /// Ends in good order: calls in flight are answered, leadership is handed over, the state is saved.
    pub async fn stop(self) {
        let _ = self.close_door.send(()); // a door that failed is closed already
        let _ = self.door.await;
        self.store.stop().await;
    }
}

/// Waits for the reason of a failure.
async fn reason<R: ToString>(mut failed: watch::Receiver<Option<R>>) -> String {
    match failed.wait_for(Option::is_some).await {
        Ok(reason) => reason.as_ref().map(R::to_string).unwrap_or_default(),
        Err(_) => std::future::pending().await, // ended without failing
    }
}

fn store_options(config: &ServerConfig, peer_listeners: Vec<PeerListener>) -> Options {
    let texts = |urls: &[Url]| urls.iter().map(Url::to_string).collect::<Vec<_>>();
    let initial = |member: &crate::config::InitialMember| InitialMember {
        name: member.name.clone(),
        peer_urls: texts(&member.peer_urls),
    };
    Options {
        name: config.name.clone(),
        given: config.given,
        data_dir: config.data_dir.clone(),
        wal_dir: config.wal_dir.clone(),
        initial_cluster: config.initial_cluster.iter().map(initial).collect(),
        initial_cluster_token: config.initial_cluster_token.clone(),
        new_cluster: config.new_cluster,
        force_new_cluster: config.force_new_cluster,
        advertise_peer_urls: texts(&config.advertise_peer),
        advertise_client_urls: texts(&config.advertise_client),
        peer_listeners,
        peer_connector: None,
        heartbeat_interval: config.heartbeat_interval,
        election_timeout: config.election_timeout,
        pre_vote: config.pre_vote,
        quota_bytes: config.quota_bytes,
        trailing_entries: config.trailing_entries,
        progress_notify_interval: config.progress_notify_interval,
        request_bytes_max: config.request_bytes_max,
        upkeep: Upkeep { auto_compaction: auto_compaction(config.auto_compaction), ..Upkeep::default() },
        auth: AuthOptions {
            token: config.auth.token.clone(),
            token_ttl: config.auth.token_ttl,
            bcrypt_cost: config.auth.bcrypt_cost,
        },
        membership: MembershipOptions {
            learners_max: u32::try_from(config.learners_max).unwrap_or(u32::MAX),
            strict: config.strict_reconfig_check,
            ..MembershipOptions::default()
        },
        tuning: Tuning::default(),
    }
}

fn auto_compaction(settings: AutoCompaction) -> Option<kontiki_store::AutoCompaction> {
    match settings {
        AutoCompaction::Off => None,
        AutoCompaction::Periodic(age) => Some(kontiki_store::AutoCompaction::Periodic(age)),
        AutoCompaction::Revision(revisions) => Some(kontiki_store::AutoCompaction::Revisions(revisions)),
    }
}

fn server_options(
    config: &ServerConfig,
    client: Vec<Listener>,
    http: Vec<Listener>,
    metrics: Vec<Listener>,
) -> ServerOptions {
    let features = config.gates.all.iter().map(|(name, stage, on)| Feature { name, stage, on: *on });
    ServerOptions {
        listeners: client,
        http_listeners: http,
        metrics_listeners: metrics,
        request_bytes_max: config.request_bytes_max,
        txn_ops_max: config.txn_operations_max,
        // More than this is never met by a client that means well, and costs memory (docs/decisions/0024).
        streams_max: config.concurrent_streams_max.min(ServerOptions::default().streams_max),
        keepalive_interval: config.keepalive_interval,
        keepalive_timeout: config.keepalive_timeout,
        keepalive_min: config.keepalive_min,
        election_timeout: config.election_timeout,
        extensive_metrics: config.metrics_extensive,
        host_whitelist: config.host_whitelist.clone(),
        cors: config.cors.clone(),
        gateway: config.gateway,
        debug: config.profiles,
        slow_request: config.slow_request,
        features: features.collect(),
        ..ServerOptions::default()
    }
}
