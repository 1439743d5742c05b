//! A running member: its store, and the front door on it. Conversions from settings to both live here.

use std::net::TcpListener;

use kontiki_server::ServerOptions;
use kontiki_store::{InitialMember, Options, StartError, Store, Tuning};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::url::Url;
use crate::config::{ConfigError, ServerConfig};

/// The ports of a member, opened before anything else is touched, so that one in use stops nothing half-way.
pub struct Ports {
    client: Vec<TcpListener>,
    peer: Vec<TcpListener>,
    metrics: Vec<TcpListener>,
}

impl Ports {
    /// Opens every port that the settings name.
    pub fn open(config: &ServerConfig) -> Result<Ports, ConfigError> {
        let open = |flag, urls: &[Url]| urls.iter().map(|url| url.listen(flag)).collect::<Result<Vec<_>, _>>();
        Ok(Ports {
            client: open("listen-client-urls", &config.listen_client)?,
            peer: open("listen-peer-urls", &config.listen_peer)?,
            metrics: open("listen-metrics-urls", &config.listen_metrics)?,
        })
    }
}

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
        let store = Store::start(store_options(config, ports.peer)).await?;
        let (close_door, closing) = oneshot::channel();
        let (report, door_failed) = watch::channel(None);
        let serving =
            kontiki_server::serve(store.clone(), server_options(config, ports.client, ports.metrics), async {
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

fn store_options(config: &ServerConfig, peer_listeners: Vec<TcpListener>) -> Options {
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
        heartbeat_interval: config.heartbeat_interval,
        election_timeout: config.election_timeout,
        pre_vote: config.pre_vote,
        quota_bytes: config.quota_bytes,
        trailing_entries: config.trailing_entries,
        progress_notify_interval: config.progress_notify_interval,
        request_bytes_max: config.request_bytes_max,
        tuning: Tuning::default(),
    }
}

fn server_options(config: &ServerConfig, client: Vec<TcpListener>, metrics: Vec<TcpListener>) -> ServerOptions {
    ServerOptions {
        listeners: client,
        metrics_listeners: metrics,
        request_bytes_max: config.request_bytes_max,
        txn_ops_max: config.txn_operations_max,
        streams_max: config.concurrent_streams_max,
        keepalive_interval: config.keepalive_interval,
        keepalive_timeout: config.keepalive_timeout,
        election_timeout: config.election_timeout,
        extensive_metrics: config.metrics_extensive,
        host_whitelist: config.host_whitelist.clone(),
        gateway: config.gateway,
        ..ServerOptions::default()
    }
}
