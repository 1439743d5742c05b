//! The demo's members: started, stopped and asked how they are.

use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use super::DemoError;
use super::plan::Plan;
use crate::config::ServerConfig;
use crate::flags::{self, Request};
use crate::member::Member;
use crate::ports::Ports;

/// All members, running or not.
pub struct Cluster {
    seats: Vec<Occupied>,
}

/// A seat and who sits there.
struct Occupied {
    config: ServerConfig,
    member: Option<Member>,
}

/// A member's row in the table.
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it does in the cluster, in a word.
    pub role: &'static str,
    /// Its term.
    pub term: u64,
    /// Its client URL.
    pub client_url: String,
    /// Its data directory.
    pub data_dir: PathBuf,
}

/// The cluster in a line.
pub struct Summary {
    /// The leader's name, if the members that run know one.
    pub leader: Option<String>,
    /// Highest term that a running member knows.
    pub term: u64,
    /// Highest committed index.
    pub commit: u64,
    /// Lowest applied index of the running members.
    pub applied: u64,
    /// How many run.
    pub running: usize,
    /// How many there are.
    pub members: usize,
}

impl Summary {
    /// Who leads, in words.
    pub fn leader_line(&self) -> String {
        match &self.leader {
            Some(name) => format!("{name} leads in term {}", self.term),
            None => format!("nobody leads: {} of {} members run, a majority is needed", self.running, self.members),
        }
    }
}

impl Cluster {
    /// Starts every member of the plan.
    pub async fn start(directory: &Path, plan: &Plan) -> Result<Cluster, DemoError> {
        let peers: Vec<String> = plan.seats.iter().map(|seat| format!("{}={}", seat.name, seat.peer_url())).collect();
        let mut seats = Vec::new();
        for seat in &plan.seats {
            let words = [
                format!("--name={}", seat.name),
                format!("--data-dir={}", seat.data_dir(directory).display()),
                format!("--listen-client-urls={}", seat.client_url()),
                format!("--advertise-client-urls={}", seat.client_url()),
                format!("--listen-peer-urls={}", seat.peer_url()),
                format!("--initial-advertise-peer-urls={}", seat.peer_url()),
                format!("--initial-cluster={}", peers.join(",")),
                "--initial-cluster-token=kontiki-demo".to_owned(),
            ];
            let failed = |problem: String| DemoError::Member { name: seat.name.clone(), problem };
            let settings = match flags::read(&words, &[]).map_err(|error| failed(error.to_string()))? {
                Request::Serve(settings) => settings,
                Request::Help | Request::Version => unreachable!("the words above ask for neither"),
            };
            let config = ServerConfig::settle(&settings).map_err(|error| failed(error.to_string()))?;
            seats.push(Occupied { config, member: None });
        }
        let started = join_all(seats.iter().map(|seat| begin(&seat.config))).await;
        for (seat, started) in seats.iter_mut().zip(started) {
            let name = &seat.config.name;
            seat.member = Some(started.map_err(|problem| DemoError::Member { name: name.clone(), problem })?);
        }
        Ok(Cluster { seats })
    }

    /// Waits until every running member knows a leader.
    pub async fn until_led(&self) {
        join_all(self.running().map(|(_, member)| member.until_led())).await;
    }

    /// Waits until a running member fails, and says which and why.
    pub async fn failed(&self) -> String {
        let mut failures: FuturesUnordered<_> = self
            .running()
            .map(|(config, member)| async { format!("{}: {}", config.name, member.failed().await) })
            .collect();
        match failures.next().await {
            Some(failure) => failure,
            None => std::future::pending().await, // nobody runs
        }
    }

    /// Client URLs of all members.
    pub fn endpoints(&self) -> Vec<String> {
        self.seats.iter().map(|seat| client_url(&seat.config)).collect()
    }

    /// The member that someone means by `2`, `m2` or `leader`.
    pub fn find(&self, which: &str) -> Result<usize, String> {
        if which == "leader" {
            let leader = self.summary().leader.ok_or("nobody leads at the moment")?;
            return self.find(&leader);
        }
        let named = |config: &ServerConfig| config.name == which || config.name.strip_prefix('m') == Some(which);
        self.seats
            .iter()
            .position(|seat| named(&seat.config))
            .ok_or_else(|| format!("there is no member {which:?}: it is m1 … m{}, or leader", self.seats.len()))
    }

    /// Stops a member in good order.
    pub async fn stop(&mut self, index: usize) -> Result<String, String> {
        let seat = &mut self.seats[index];
        let name = &seat.config.name;
        let member = seat.member.take().ok_or_else(|| format!("{name} is stopped already"))?;
        member.stop().await;
        Ok(format!("{name} is stopped"))
    }

    /// Starts a stopped member again, on its data.
    pub async fn restart(&mut self, index: usize) -> Result<String, String> {
        let seat = &mut self.seats[index];
        let name = &seat.config.name;
        if seat.member.is_some() {
            return Err(format!("{name} runs already"));
        }
        seat.member = Some(begin(&seat.config).await?);
        Ok(format!("{name} runs again"))
    }

    /// Stops every member, all at once.
    pub async fn stop_all(&mut self) {
        join_all(self.seats.iter_mut().filter_map(|seat| seat.member.take()).map(Member::stop)).await;
    }

    /// Every member's state.
    pub fn rows(&self) -> Vec<Row> {
        let row = |seat: &Occupied| {
            let status = seat.member.as_ref().map(|member| member.store().status());
            Row {
                name: seat.config.name.clone(),
                role: match &status {
                    None => "stopped",
                    Some(status) if status.is_leader => "leader",
                    Some(status) if status.is_learner => "learner",
                    Some(status) if status.leader.is_some() => "follower",
                    Some(_) => "leaderless",
                },
                term: status.as_ref().map_or(0, |status| status.term),
                client_url: client_url(&seat.config),
                data_dir: seat.config.data_dir.clone(),
            }
        };
        self.seats.iter().map(row).collect()
    }

    /// The state of all in a line.
    pub fn summary(&self) -> Summary {
        let statuses: Vec<_> = self.running().map(|(config, member)| (&config.name, member.store().status())).collect();
        let newest = statuses.iter().max_by_key(|(_, status)| status.term);
        let leader = newest.and_then(|(_, status)| status.leader);
        Summary {
            leader: leader.and_then(|id| {
                statuses.iter().find(|(_, status)| status.member_id == id).map(|(name, _)| (*name).clone())
            }),
            term: newest.map_or(0, |(_, status)| status.term),
            commit: statuses.iter().map(|(_, status)| status.raft_index).max().unwrap_or(0),
            applied: statuses.iter().map(|(_, status)| status.applied_index).min().unwrap_or(0),
            running: statuses.len(),
            members: self.seats.len(),
        }
    }

    fn running(&self) -> impl Iterator<Item = (&ServerConfig, &Member)> {
        self.seats.iter().filter_map(|seat| seat.member.as_ref().map(|member| (&seat.config, member)))
    }
}

async fn begin(config: &ServerConfig) -> Result<Member, String> {
    let ports = Ports::open(config).map_err(|error| error.to_string())?;
    Member::start(config, ports).await.map_err(|error| error.to_string())
}

fn client_url(config: &ServerConfig) -> String {
    config.advertise_client.first().map(ToString::to_string).unwrap_or_default()
}
