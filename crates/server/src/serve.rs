//! Start and end of the front door.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use kontiki_store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::accept::{Side, accept};
use crate::front::{Front, Settings};
use crate::metrics::Metrics;
use crate::options::ServerOptions;

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
    let settings = Settings {
        request_bytes_max: options.request_bytes_max,
        txn_ops_max: options.txn_ops_max,
        streams_max: options.streams_max,
        keepalive_interval: options.keepalive_interval,
        keepalive_timeout: options.keepalive_timeout,
        election_timeout: options.election_timeout,
        versions: options.versions,
        host_whitelist: options.host_whitelist.into_iter().filter(|host| !host.is_empty()).collect(),
        gateway: options.gateway,
    };
    let front = Arc::new(Front::new(store, settings, Metrics::new(options.extensive_metrics), stopping));
    let mut loops = Vec::new();
    for (side, listeners) in [(Side::Clients, options.listeners), (Side::Metrics, options.metrics_listeners)] {
        let open = Arc::new(AtomicUsize::new(0));
        for listener in listeners {
            let listener = asynchronous(listener)?;
            loops.push(tokio::spawn(accept(
                listener,
                Arc::clone(&front),
                side,
                Arc::clone(&open),
                options.connections_max,
            )));
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

fn asynchronous(listener: std::net::TcpListener) -> Result<TcpListener, ServeError> {
    let address = listener.local_addr().map_or_else(|_| "an unknown address".to_owned(), |address| address.to_string());
    listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener))
        .map_err(|source| ServeError::Listen { address, source })
}
