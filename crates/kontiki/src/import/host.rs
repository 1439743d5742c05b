//! A member of its own for `--data-dir`: this program once more, on loopback, for as long as the import takes.

use std::net::TcpListener;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::args::ImportArgs;
use crate::ctl::failure::Failure;

/// How long the member may take to start and to stop.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// The member.
pub struct Host {
    process: Child,
    /// Where it listens.
    pub endpoint: String,
}

impl Host {
    /// Starts it on free ports and waits until it serves.
    pub async fn start(args: &ImportArgs) -> Result<Host, Failure> {
        let failed = |what: &str, error: std::io::Error| Failure::io(format!("cannot {what}: {error}"));
        let directory = args.data_dir.as_ref().expect("called for a directory");
        let port = || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            listener.local_addr().map(|address| address.port())
        };
        let client = port().map_err(|error| failed("find a free port", error))?;
        let peer = port().map_err(|error| failed("find a free port", error))?;
        let endpoint = format!("http://127.0.0.1:{client}");
        let program = std::env::current_exe().map_err(|error| failed("find this program", error))?;
        let process = Command::new(program)
            .arg("server")
            .arg(format!("--name={}", args.name))
            .arg(format!("--data-dir={}", directory.display()))
            .arg(format!("--listen-client-urls={endpoint}"))
            .arg(format!("--advertise-client-urls={endpoint}"))
            .arg(format!("--listen-peer-urls=http://127.0.0.1:{peer}"))
            .arg(format!("--initial-advertise-peer-urls={}", args.initial_advertise_peer_urls))
            .arg(format!("--initial-cluster={}={}", args.name, args.initial_advertise_peer_urls))
            .arg(format!("--initial-cluster-token={}", args.initial_cluster_token))
            .arg("--log-level=warn")
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed("start a member", error))?;
        let mut host = Host { process, endpoint };
        let deadline = Instant::now() + PATIENCE;
        while !healthy(client).await {
            let ended = host.process.try_wait().map_err(|error| failed("watch the member", error))?;
            if let Some(status) = ended {
                return Err(Failure::error(format!("the member for {} ended ({status})", directory.display())));
            }
            if Instant::now() >= deadline {
                return Err(Failure::error(format!("the member for {} does not serve", directory.display())));
            }
            sleep(POLL).await;
        }
        Ok(host)
    }

    /// Asks it to stop and waits until everything is on disk.
    pub async fn stop(mut self) -> Result<(), Failure> {
        if let Some(pid) = self.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            let _ = kill_process(pid, Signal::TERM); // it may have ended by itself: that is looked at next
        }
        match timeout(PATIENCE, self.process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(Failure::error(format!("the member did not end in good order ({status})"))),
            Ok(Err(error)) => Err(Failure::io(format!("cannot wait for the member: {error}"))),
            Err(_) => Err(Failure::error("the member does not stop")),
        }
    }
}

/// Whether the member says that it can write.
async fn healthy(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    matches!(timeout(Duration::from_secs(1), ask).await, Ok(Ok(true)))
}
