//! Start and end of the front door.

use std::sync::Arc;

use kontiki_store::Store;
use tokio::sync::watch;

use crate::accept::{Door, Side, accept};
use crate::doors::Open;
use crate::front::{Front, Settings};
use crate::listener::{Listener, Listening, place};
use crate::metrics::Metrics;
use crate::options::ServerOptions;
use crate::origins::Origins;

/// Why the front door could not open.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listener cannot be used.
    #[error("cannot listen for clients on {address}: {source}; see that the address is valid and free")]
    Listen {
        /// Where, if that is known.
        address: String,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// Serves clients until `shutdown` is done, then ends streams, waits for calls in flight (for as long as the options say)
/// and returns. Must run inside a tokio runtime.
///
/// # Errors
/// Where a listener cannot be used. What goes wrong with a single connection ends that connection only.
pub async fn serve(store: Store, options: ServerOptions, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    let (stop, stopping) = watch::channel(false);
    let http_apart = !options.http_listeners.is_empty();
    let clients = if http_apart { Side::Grpc } else { Side::Clients };
    let front = Arc::new(Front::new(store, settings(&options), Metrics::new(options.extensive_metrics), stopping));
    let mut loops = Vec::new();
    let (for_clients, for_metrics) = (Arc::new(Open::default()), Arc::new(Open::default()));
    for (side, listeners, open) in [
        (clients, options.listeners, &for_clients),
        (Side::Http, options.http_listeners, &for_clients),
        (Side::Metrics, options.metrics_listeners, &for_metrics),
    ] {
        for listener in listeners {
            let door = door(listener, side, Arc::clone(open))?;
            loops.push(tokio::spawn(accept(door, Arc::clone(&front))));
        }
    }
    shutdown.await;
    stop.send_replace(true);
    let deadline = tokio::time::Instant::now() + options.shutdown_grace;
    for accepting in loops {
        let Ok(mut connections) = accepting.await else { continue };
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout_at(deadline, all).await.is_err() {
            tracing::warn!(open = connections.len(), "connections did not end in time and are cut");
            connections.shutdown().await;
        }
    }
    Ok(())
}

/// The part of the options that calls look at.
pub(crate) fn settings(options: &ServerOptions) -> Settings {
    Settings {
        request_bytes_max: options.request_bytes_max,
        txn_ops_max: options.txn_ops_max,
        streams_max: options.streams_max,
        limits: options.limits,
        keepalive_min: options.keepalive_min,
        keepalive_interval: options.keepalive_interval,
        keepalive_timeout: options.keepalive_timeout,
        election_timeout: options.election_timeout,
        versions: options.versions.clone(),
        host_whitelist: options.host_whitelist.iter().filter(|host| !host.is_empty()).cloned().collect(),
        origins: Origins::new(options.cors.clone()),
        gateway: options.gateway,
        debug: options.debug,
        slow_request: options.slow_request,
        features: options.features.clone(),
    }
}

fn door(listener: Listener, side: Side, open: Arc<Open>) -> Result<Door, ServeError> {
    let address = place(&listener.socket);
    let listening = Listening::new(listener.socket).map_err(|source| ServeError::Listen { address, source })?;
    Ok(Door { listening, tls: listener.tls, side, open })
}
