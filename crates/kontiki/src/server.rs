//! `kontiki server`: one member as a process of its own.

use std::process::ExitCode;

use kontiki_store::StartError;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::report::report;
use crate::config::{ConfigError, ServerConfig, joined};
use crate::flags::{self, FlagError, Request};
use crate::logging::LogError;
use crate::member::Member;
use crate::ports::Ports;
use crate::{notify, panics, version};

/// Why a member does not run, or no longer.
#[derive(Debug, thiserror::Error)]
enum ServerError {
    #[error(transparent)]
    Flag(#[from] FlagError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Runs a member until a signal or a failure ends it.
pub fn run(words: &[String]) -> ExitCode {
    match start(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kontiki: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(words: &[String]) -> Result<(), ServerError> {
    let settings = match flags::read(words, &environment())? {
        Request::Serve(settings) => settings,
        Request::Help => {
            print!("{}", flags::help());
            return Ok(());
        }
        Request::Version => {
            print!("{}", version::text());
            return Ok(());
        }
    };
    panics::report();
    let config = ServerConfig::settle(&settings)?;
    config.log.start()?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    runtime()?.block_on(serve(&config))
}

/// The threads that serve sockets; the store brings its own for consensus and disk.
pub fn runtime() -> Result<tokio::runtime::Runtime, SystemError> {
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8));
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    built.map_err(|source| SystemError { what: "threads for the network", source })
}

/// The operating system refused something that no flag names.
#[derive(Debug, thiserror::Error)]
#[error("the operating system refused {what}: {source}")]
pub struct SystemError {
    what: &'static str,
    source: std::io::Error,
}

async fn serve(config: &ServerConfig) -> Result<(), ServerError> {
    let mut signals = Signals::listen()?;
    let ports = Ports::open(config)?;
    tracing::info!(
        name = config.name,
        data_dir = %config.data_dir.display(),
        listen_peer_urls = joined(&config.listen_peer),
        listen_client_urls = joined(&config.listen_client),
        advertise_client_urls = joined(&config.advertise_client),
        version = version::NUMBER,
        "starting a member"
    );
    report(config);
    let member = Member::start(config, ports).await?;
    let announced = async {
        member.until_led().await;
        tracing::info!(address = joined(&config.listen_client), "ready to serve client requests");
        notify::ready();
        std::future::pending::<()>().await;
    };
    let failure = tokio::select! {
        () = announced => None,
        reason = member.failed() => Some(reason),
        name = signals.next() => {
            tracing::info!(signal = name, "stopping");
            None
        }
    };
    if let Some(reason) = failure {
        return Err(ServerError::Failed(reason));
    }
    tokio::select! {
        () = member.stop() => tracing::info!("stopped"),
        name = signals.next() => {
            tracing::warn!(signal = name, "a second signal: stopping at once");
            std::process::exit(1); // what is durable is safe; the next start replays the rest
        }
    }
    Ok(())
}

/// The signals that end the process in good order.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on these signals are heard instead of ending the process.
    pub fn listen() -> Result<Signals, SystemError> {
        let hear = |kind| signal(kind).map_err(|source| SystemError { what: "to deliver signals", source });
        Ok(Signals { interrupt: hear(SignalKind::interrupt())?, terminate: hear(SignalKind::terminate())? })
    }

    /// Waits for the next one; cancel-safe.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(key, value)| (key.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .collect()
}
