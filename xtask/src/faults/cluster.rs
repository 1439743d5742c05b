//! Real members whose data lie where a scenario wants them.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use kontiki_api::rpc::maintenance_client::MaintenanceClient;
use kontiki_api::rpc::{HashKvRequest, StatusRequest, StatusResponse};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};

use super::Bench;
use super::ledger::Ledger;
use super::tally::Tally;

/// How long a member may take to start, to be led or to agree.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Members' election timeout, the default.
pub const ELECTION: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);
/// How much of a member's log a failure shows.
const TAIL: usize = 12;

/// Members of one cluster.
pub struct Cluster {
    binary: PathBuf,
    members: Vec<Member>,
}

struct Member {
    arguments: Vec<String>,
    url: String,
    data: PathBuf,
    log: PathBuf,
    process: Option<Child>,
}

impl Cluster {
    /// Members with their data in these directories; none is started.
    pub fn new(bench: &Bench, data: &[PathBuf], extra: &[&str]) -> Result<Cluster, String> {
        let ports = free_ports(2 * data.len())?;
        let peer = |index: usize| format!("http://127.0.0.1:{}", ports[2 * index + 1]);
        let names: Vec<String> = (0..data.len()).map(|index| format!("m{index}={}", peer(index))).collect();
        let member = |(index, data): (usize, &PathBuf)| {
            let url = format!("http://127.0.0.1:{}", ports[2 * index]);
            let mut arguments = vec![
                "server".to_owned(),
                format!("--name=m{index}"),
                format!("--data-dir={}", data.display()),
                format!("--listen-client-urls={url}"),
                format!("--advertise-client-urls={url}"),
                format!("--listen-peer-urls={}", peer(index)),
                format!("--initial-advertise-peer-urls={}", peer(index)),
                format!("--initial-cluster={}", names.join(",")),
                "--initial-cluster-token=faults".to_owned(),
            ];
            arguments.extend(extra.iter().map(|flag| (*flag).to_owned()));
            let log = bench.directory.join(format!("m{index}.log"));
            Member { arguments, url, data: data.clone(), log, process: None }
        };
        let members = data.iter().enumerate().map(member).collect();
        Ok(Cluster { binary: bench.binary.clone(), members })
    }

    /// Starts all members and waits until each is healthy.
    pub async fn start(bench: &Bench, data: &[PathBuf], extra: &[&str]) -> Result<Cluster, String> {
        let mut cluster = Cluster::new(bench, data, extra)?;
        cluster.start_all().await?;
        Ok(cluster)
    }

    /// Starts all members that do not run and waits until each is healthy.
    pub async fn start_all(&mut self) -> Result<(), String> {
        for index in 0..self.size() {
            if self.members[index].process.is_none() {
                self.spawn(index)?;
            }
        }
        for index in 0..self.size() {
            self.ready(index, PATIENCE).await?;
        }
        Ok(())
    }

    /// How many members there are.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Where clients reach the members.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| member.url.clone()).collect()
    }

    /// A member's data directory.
    pub fn data(&self, index: usize) -> &Path {
        &self.members[index].data
    }

    /// Starts a member's process.
    pub fn spawn(&mut self, index: usize) -> Result<(), String> {
        let member = &mut self.members[index];
        let say = |error: std::io::Error| format!("member {index} cannot be started: {error}");
        let log = File::options().create(true).append(true).open(&member.log).map_err(say)?;
        let mut command = Command::new(&self.binary);
        command.args(&member.arguments).stdin(Stdio::null()).stdout(log.try_clone().map_err(say)?).stderr(log);
        member.process = Some(command.spawn().map_err(say)?);
        Ok(())
    }

    /// Ends a member at once and waits until it is gone.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.members[index].process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Ends all members at once.
    pub fn kill_all(&mut self) {
        for process in self.members.iter_mut().filter_map(|member| member.process.as_mut()) {
            let _ = process.kill();
        }
        (0..self.size()).for_each(|index| self.kill(index));
    }

    /// Sends a signal to a member.
    pub fn signal(&self, index: usize, signal: Signal) -> Result<(), String> {
        let process = self.members[index].process.as_ref().ok_or_else(|| format!("member {index} does not run"))?;
        kill_process(Pid::from_child(process), signal).map_err(|errno| format!("member {index}: {errno}"))
    }

    /// Halts a member and waits until every thread of it stands still, outside of any call to the disk.
    pub async fn halt(&self, index: usize) -> Result<(), String> {
        self.signal(index, Signal::STOP)?;
        let process = self.members[index].process.as_ref().ok_or_else(|| format!("member {index} does not run"))?;
        let begin = Instant::now();
        while !stands_still(process.id()) {
            if begin.elapsed() > PATIENCE {
                return Err(format!("member {index} cannot be halted"));
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// How a member ended, if it did.
    pub fn exited(&mut self, index: usize) -> Option<ExitStatus> {
        self.members[index].process.as_mut()?.try_wait().ok().flatten()
    }

    /// Waits until a member ends by itself; how long that took.
    pub async fn ended(&mut self, index: usize, limit: Duration) -> Result<(ExitStatus, Duration), String> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.exited(index) {
                self.members[index].process = None;
                return Ok((status, begin.elapsed()));
            }
            if begin.elapsed() > limit {
                return Err(format!("member {index} did not end within {limit:?}{}", self.tail(index)));
            }
            sleep(POLL).await;
        }
    }

    /// Waits until a member's `/health` says that it can write; how long that took.
    pub async fn ready(&mut self, index: usize, limit: Duration) -> Result<Duration, String> {
        let begin = Instant::now();
        while !self.healthy(index).await {
            if let Some(status) = self.exited(index) {
                return Err(format!("member {index} ended with {status}{}", self.tail(index)));
            }
            if begin.elapsed() > limit {
                let (views, tail) = (self.views().await, self.tail(index));
                return Err(format!("member {index} was not healthy within {limit:?}; {views}{tail}"));
            }
            sleep(POLL).await;
        }
        Ok(begin.elapsed())
    }

    /// How far each member is, as it says itself.
    pub async fn views(&self) -> String {
        let mut views = Vec::new();
        for index in 0..self.size() {
            views.push(match self.status(index).await {
                None => format!("member {index} does not answer"),
                Some(status) => format!(
                    "member {index}: term {}, leader {:x}, index {}, applied {}, errors {:?}",
                    status.raft_term, status.leader, status.raft_index, status.raft_applied_index, status.errors
                ),
            });
        }
        views.join("; ")
    }

    async fn healthy(&self, index: usize) -> bool {
        let url = self.members[index].url.clone();
        let Some(address) = url.strip_prefix("http://").map(str::to_owned) else { return false };
        let asked = async {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let mut stream = tokio::net::TcpStream::connect(&address).await.ok()?;
            let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.ok()?;
            Some(answer.starts_with(b"HTTP/1.1 200"))
        };
        timeout(Duration::from_secs(2), asked).await == Ok(Some(true))
    }

    /// What a member has logged.
    pub fn log(&self, index: usize) -> String {
        std::fs::read_to_string(&self.members[index].log).unwrap_or_default()
    }

    /// The last lines of a member's log that tell something, for a failure.
    pub fn tail(&self, index: usize) -> String {
        let log = self.log(index);
        let of_connections = |line: &&str| line.contains("\"caller\":\"src/dial.rs");
        let lines: Vec<&str> = log.lines().filter(|line| !of_connections(line)).collect();
        let shown = &lines[lines.len().saturating_sub(TAIL)..];
        format!("; its log ends with\n    {}", shown.join("\n    "))
    }

    fn maintenance(&self, index: usize) -> Result<MaintenanceClient<Channel>, String> {
        let endpoint = Endpoint::from_shared(self.members[index].url.clone()).map_err(|error| error.to_string())?;
        Ok(MaintenanceClient::new(endpoint.connect_timeout(Duration::from_secs(1)).connect_lazy()))
    }

    /// A member's own view of the cluster; none if it does not answer.
    pub async fn status(&self, index: usize) -> Option<StatusResponse> {
        let mut maintenance = self.maintenance(index).ok()?;
        let answer = timeout(Duration::from_secs(1), maintenance.status(StatusRequest::default())).await;
        answer.ok()?.ok().map(tonic::Response::into_inner)
    }

    /// Waits until one of some members says of itself that it leads.
    pub async fn leader_of(&self, members: &[usize], limit: Duration) -> Result<usize, String> {
        let begin = Instant::now();
        loop {
            let mut newest = None;
            for index in members {
                let Some(status) = self.status(*index).await else { continue };
                let own = status.header.as_ref().map_or(0, |header| header.member_id);
                if status.leader == own && own != 0 {
                    newest = newest.max(Some((status.raft_term, *index)));
                }
            }
            if let Some((_, index)) = newest {
                return Ok(index);
            }
            if begin.elapsed() > limit {
                return Err(format!("none of {members:?} leads within {limit:?}"));
            }
            sleep(POLL).await;
        }
    }

    /// Waits until somebody leads.
    pub async fn leader(&self) -> Result<usize, String> {
        self.leader_of(&(0..self.size()).collect::<Vec<_>>(), PATIENCE).await
    }

    /// A member's hash of everything up to a revision.
    async fn hash(&self, index: usize, revision: i64) -> Option<u32> {
        let mut maintenance = self.maintenance(index).ok()?;
        let answer = timeout(PATIENCE, maintenance.hash_kv(HashKvRequest { revision })).await;
        answer.ok()?.ok().map(|answer| answer.into_inner().hash)
    }

    /// Nothing of a load is lost on any member, nothing was read stale, and all members have the same.
    pub async fn whole(&self, ledger: &Ledger, tally: &mut Tally) -> Result<(), String> {
        if let Some(first) = ledger.violations.first() {
            return Err(format!("{} stale reads; the first: {first}", ledger.violations.len()));
        }
        for (index, url) in self.urls().iter().enumerate() {
            let begin = Instant::now();
            let missing = loop {
                match ledger.missing(url).await {
                    Ok(missing) => break missing,
                    Err(_) if begin.elapsed() < PATIENCE => sleep(POLL).await,
                    Err(error) => return Err(format!("{error}{}", self.tail(index))),
                }
            };
            if let Some(first) = missing.first() {
                tally.lost = tally.lost.max(missing.len() as u64);
                return Err(format!(
                    "member {index} lost {} writes; the first: {first}{}",
                    missing.len(),
                    self.tail(index)
                ));
            }
        }
        self.agree().await
    }

    /// All members have the same at the same revision.
    pub async fn agree(&self) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            let revision = self.status(0).await.and_then(|status| status.header).map_or(0, |header| header.revision);
            let mut hashes = Vec::new();
            for index in 0..self.size() {
                hashes.push(self.hash(index, revision).await);
            }
            if hashes.iter().all(|hash| hash.is_some() && *hash == hashes[0]) {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                let tails: Vec<String> = (0..self.size()).map(|index| self.tail(index)).collect();
                return Err(format!("members differ at revision {revision}: {hashes:?}{}", tails.concat()));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// Whether all threads of a process are stopped, as the kernel tells; one that has ended stands still too.
fn stands_still(process: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return true };
    threads.flatten().all(|thread| {
        let Ok(line) = std::fs::read_to_string(thread.path().join("stat")) else { return true };
        // The state is the first word behind the name, which stands in parentheses and may contain some.
        let state = line.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
        matches!(state, Some("T" | "t" | "Z" | "X"))
    })
}

/// Ports that were free a moment ago, below those from which systems take ports for outgoing connections.
fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let start = 12_000 + (kontiki_world::entropy() % 15_000) as u16;
    let ports: Vec<u16> =
        (start..start + 5_000).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).take(count).collect();
    if ports.len() == count { Ok(ports) } else { Err("no free ports".to_owned()) }
}
