//! Real members as real processes, for tests that end them, stop them and start them again. Every wait is bounded; what
//! still runs when a [`Cluster`] is dropped is ended by its process id.
#![allow(clippy::unwrap_used, dead_code, reason = "each test file compiles this module and uses a part of it")]

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kontiki_api::rpc::kv_client::KvClient;
use kontiki_api::rpc::maintenance_client::MaintenanceClient;
use kontiki_api::rpc::{HashKvRequest, HashKvResponse, StatusRequest, StatusResponse};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};

/// How long a member may take to start, to be led, or to stop before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long one question to a member may take.
pub const REQUEST_PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// Members of one cluster, in a directory that ends with the test.
pub struct Cluster {
    directory: TempDir,
    members: Vec<Member>,
}

/// A member's place, and its process while it runs.
struct Member {
    arguments: Vec<String>,
    client_port: u16,
    log: PathBuf,
    process: Option<Child>,
}

impl Cluster {
    /// Starts members on free ports and waits until each is healthy. `extra` are further flags for all of them.
    pub async fn start(members: usize, extra: &[&str]) -> Cluster {
        let mut cluster = Cluster::prepare(members, extra);
        for index in 0..members {
            cluster.spawn(index);
        }
        for index in 0..members {
            cluster.wait_ready(index).await;
        }
        cluster
    }

    /// Chooses ports and directories without starting anything.
    pub fn prepare(members: usize, extra: &[&str]) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let ports = free_ports(2 * members);
        let peers: Vec<String> =
            (0..members).map(|index| format!("m{index}=http://127.0.0.1:{}", ports[2 * index + 1])).collect();
        let member = |index: usize| {
            let (client_port, peer_port) = (ports[2 * index], ports[2 * index + 1]);
            let mut arguments = vec![
                "server".to_owned(),
                format!("--name=m{index}"),
                format!("--data-dir={}", directory.path().join(format!("m{index}")).display()),
                format!("--listen-client-urls=http://127.0.0.1:{client_port}"),
                format!("--advertise-client-urls=http://127.0.0.1:{client_port}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"),
                format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}"),
                format!("--initial-cluster={}", peers.join(",")),
                "--initial-cluster-token=test".to_owned(),
            ];
            arguments.extend(extra.iter().map(|flag| (*flag).to_owned()));
            Member { arguments, client_port, log: directory.path().join(format!("m{index}.log")), process: None }
        };
        let members = (0..members).map(member).collect();
        Cluster { directory, members }
    }

    /// A member's flags.
    pub fn flags(&self, index: usize) -> Vec<String> {
        self.members[index].arguments.clone()
    }

    /// Gives a member other flags for its next start.
    pub fn set_flags(&mut self, index: usize, flags: Vec<String>) {
        self.members[index].arguments = flags;
    }

    /// Gives a member a further flag, which wins over an earlier one of the same name.
    pub fn add_flag(&mut self, index: usize, flag: String) {
        self.members[index].arguments.push(flag);
    }

    /// How many members there are, running or not.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Starts a member's process; see [`Cluster::wait_ready`].
    pub fn spawn(&mut self, index: usize) {
        let member = &mut self.members[index];
        assert!(member.process.is_none(), "member {index} runs already");
        let log = File::options().create(true).append(true).open(&member.log).unwrap();
        let mut command = kontiki();
        command.args(&member.arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        member.process = Some(command.spawn().unwrap());
    }

    /// Waits until `/health` says that a member can write, which needs a leader.
    pub async fn wait_ready(&mut self, index: usize) {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_healthy(index).await {
            if let Some(status) = self.exited(index) {
                panic!("member {index} ended with {status}:\n{}", self.log(index));
            }
            assert!(Instant::now() < deadline, "member {index} did not become healthy:\n{}", self.log(index));
            sleep(POLL).await;
        }
    }

    /// Whether `/health` answers 200 now.
    pub async fn is_healthy(&self, index: usize) -> bool {
        let port = self.members[index].client_port;
        matches!(timeout(REQUEST_PATIENCE, http_get(port, "/health")).await, Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200"))
    }

    /// Ends a member at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.members[index].process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Asks a member to stop (SIGTERM) and waits for its end.
    pub async fn terminate(&mut self, index: usize) -> ExitStatus {
        self.signal(index, Signal::TERM);
        self.ended(index).await
    }

    /// Waits until a member ends.
    pub async fn ended(&mut self, index: usize) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.exited(index) {
                self.members[index].process = None;
                return status;
            }
            assert!(Instant::now() < deadline, "member {index} does not end:\n{}", self.log(index));
            sleep(POLL).await;
        }
    }

    /// Halts a member's process without ending it.
    pub fn pause(&self, index: usize) {
        self.signal(index, Signal::STOP);
    }

    /// Lets a halted process go on.
    pub fn resume(&self, index: usize) {
        self.signal(index, Signal::CONT);
    }

    fn signal(&self, index: usize, signal: Signal) {
        let process = self.members[index].process.as_ref().expect("the member runs");
        kill_process(Pid::from_child(process), signal).unwrap();
    }

    /// How a member's process ended, if it did.
    pub fn exited(&mut self, index: usize) -> Option<ExitStatus> {
        self.members[index].process.as_mut().and_then(|process| process.try_wait().unwrap())
    }

    /// A member's URL for clients.
    pub fn client_url(&self, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.members[index].client_port)
    }

    /// All members' URLs for clients.
    pub fn endpoints(&self) -> Vec<String> {
        (0..self.size()).map(|index| self.client_url(index)).collect()
    }

    /// A member's data directory.
    pub fn data_dir(&self, index: usize) -> PathBuf {
        self.directory.path().join(format!("m{index}"))
    }

    /// A member's flags, for a test that starts it in another way.
    pub fn arguments(&self, index: usize) -> &[String] {
        &self.members[index].arguments
    }

    /// What a member has logged, over all its lives.
    pub fn log(&self, index: usize) -> String {
        std::fs::read_to_string(&self.members[index].log).unwrap_or_default()
    }

    /// A connection to a member that is opened with the first call.
    pub fn channel(&self, index: usize) -> Channel {
        let endpoint = Endpoint::from_shared(self.client_url(index)).unwrap();
        endpoint.connect_timeout(REQUEST_PATIENCE).connect_lazy()
    }

    /// A client of a member's key-value service.
    pub fn kv(&self, index: usize) -> KvClient<Channel> {
        KvClient::new(self.channel(index))
    }

    /// A member's own view of the cluster; none if it does not answer.
    pub async fn status(&self, index: usize) -> Option<StatusResponse> {
        let mut maintenance = MaintenanceClient::new(self.channel(index));
        let answer = timeout(REQUEST_PATIENCE, maintenance.status(StatusRequest::default())).await;
        answer.ok()?.ok().map(tonic::Response::into_inner)
    }

    /// A member's hash of everything up to a revision (0: the newest).
    pub async fn hash_kv(&self, index: usize, revision: i64) -> Option<HashKvResponse> {
        let mut maintenance = MaintenanceClient::new(self.channel(index));
        let answer = timeout(PATIENCE, maintenance.hash_kv(HashKvRequest { revision })).await;
        answer.ok()?.ok().map(tonic::Response::into_inner)
    }

    /// The member that says of itself that it leads, in the newest term that anyone knows.
    pub async fn leader(&self) -> Option<usize> {
        let mut newest = None;
        for index in (0..self.size()).filter(|index| self.members[*index].process.is_some()) {
            let Some(status) = self.status(index).await else { continue };
            let own = status.header.as_ref().map_or(0, |header| header.member_id);
            if status.leader == own && own != 0 {
                newest = newest.max(Some((status.raft_term, index)));
            }
        }
        newest.map(|(_, index)| index)
    }

    /// Waits until somebody leads.
    pub async fn wait_leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(leader) = self.leader().await {
                return leader;
            }
            assert!(Instant::now() < deadline, "nobody leads:\n{}", self.log(0));
            sleep(POLL).await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(process) = &mut member.process {
                let _ = process.kill(); // ends a halted process too
                let _ = process.wait();
            }
        }
    }
}

/// The program under test, without the environment's own settings.
pub fn kontiki() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontiki"));
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("ETCD") || key == "NOTIFY_SOCKET" {
            command.env_remove(key);
        }
    }
    command
}

/// Runs the program to its end, in `directory`, at most [`PATIENCE`] long. Gives its status, output and errors.
pub fn run(directory: &Path, arguments: &[&str]) -> (ExitStatus, String, String) {
    let (out, err) = (directory.join("stdout"), directory.join("stderr"));
    let mut command = kontiki();
    command.current_dir(directory).args(arguments).stdin(Stdio::null());
    let mut process = command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap()).spawn().unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return (status, read(&out), read(&err));
        }
        if std::time::Instant::now() > deadline {
            process.kill().unwrap();
            process.wait().unwrap();
            panic!("kontiki {arguments:?} does not end: {}", read(&err));
        }
        std::thread::sleep(POLL);
    }
}

/// Ports that were free a moment ago, none given twice by this process. They lie below the range from which systems take
/// ports for outgoing connections, so that no such connection occupies one before a member does.
pub fn free_ports(count: usize) -> Vec<u16> {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97); // test programs that run at once begin at different places
    let mut ports = Vec::new();
    while ports.len() < count {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(number < COUNT, "no ports are left");
        let port = u16::try_from(FIRST + start.wrapping_add(number) % COUNT).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.push(port);
        }
    }
    ports
}

/// The whole answer to a GET, head and body.
pub async fn http_get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
