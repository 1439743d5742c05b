//! How a process becomes a member of a cluster that runs: it asks the members that its flags name who belongs to the cluster,
//! finds itself among them by its peer URLs, and begins with nothing; the leader sends it the rest.

use std::fmt::Write as _;
use std::time::Duration;

use kontiki_raft::Incarnation;
use kontiki_transport::ask;
use tokio::time::{Instant, sleep};

use super::directory::{Told, ToldMember};
use crate::error::StartError;
use crate::identity::{FirstMember, Identity};
use crate::options::{InitialMember, Options};
use crate::start::address;

/// How long one member may take to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// How long to go on asking: the member may have been added a moment ago, and who is asked may not know it yet.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two rounds.
const AGAIN: Duration = Duration::from_millis(250);

/// What a process learned about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    cluster_id: u64,
    member_id: u64,
    members: Vec<FirstMember>,
}

impl Joined {
    /// The identity of a member that joins with this disk.
    pub fn identity(self, options: &Options, incarnation: Incarnation) -> Identity {
        Identity {
            cluster_id: self.cluster_id,
            member_id: self.member_id,
            incarnation,
            name: options.name.clone(),
            token: options.initial_cluster_token.clone(),
            joined: true,
            heard: Vec::new(),
            members: self.members,
        }
    }
}

/// Asks the other members of `--initial-cluster` until one of them knows this process.
pub(crate) async fn join(options: &Options) -> Result<Joined, StartError> {
    let own = own(options)?;
    if options.initial_cluster.len() < 2 {
        return Err(StartError::Configuration(
            "--initial-cluster-state is \"existing\", but --initial-cluster names no other member: give the list that \
             `member add` printed, or --initial-cluster-state new to start a new cluster"
                .to_owned(),
        ));
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let (told, silent) = ask_all(options).await;
        let found = newest(&told, options).and_then(|told| match told {
            Some(told) => place(told, own, options),
            None => Err(Refusal::Later(unreachable_text(&silent))),
        });
        match found {
            Ok(joined) => {
                tracing::info!(
                    member = format_args!("{:x}", joined.member_id),
                    cluster = format_args!("{:x}", joined.cluster_id),
                    "joining a running cluster"
                );
                return Ok(joined);
            }
            Err(Refusal::Later(why)) if Instant::now() < end => tracing::warn!("{why}; asking again"),
            Err(Refusal::Later(why) | Refusal::Final(why)) => return Err(StartError::Configuration(why)),
        }
        sleep(AGAIN).await;
    }
}

/// Why nothing came of it: for good, or perhaps not if it is tried again.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Later(String),
    Final(String),
}

/// This process in its own flags.
fn own(options: &Options) -> Result<&InitialMember, StartError> {
    options.initial_cluster.iter().find(|member| member.name == options.name).ok_or_else(|| {
        StartError::Configuration(format!(
            "--initial-cluster does not name this member: --name is {:?}; add {}=<its peer URL> to the list or correct --name",
            options.name, options.name
        ))
    })
}

/// The answers, and why others gave none.
async fn ask_all(options: &Options) -> (Vec<Told>, Vec<String>) {
    let others = options.initial_cluster.iter().filter(|member| member.name != options.name);
    let asked = others.flat_map(|member| &member.peer_urls).map(|url| {
        let (url, at, connector) = (url.clone(), address(url), options.peer_connector.clone());
        tokio::spawn(async move {
            match ask(&at, connector.as_deref(), ANSWER_PATIENCE).await {
                Ok(bytes) => Told::decode(&bytes).ok_or_else(|| format!("{url}: its answer is of another version")),
                Err(error) => Err(format!("{url}: {error}")),
            }
        })
    });
    let (mut told, mut silent) = (Vec::new(), Vec::new());
    for answer in asked.collect::<Vec<_>>() {
        match answer.await {
            Ok(Ok(answer)) => told.push(answer),
            Ok(Err(why)) => silent.push(why),
            Err(error) => silent.push(error.to_string()),
        }
    }
    (told, silent)
}

fn unreachable_text(silent: &[String]) -> String {
    format!(
        "no member of --initial-cluster could be asked for the cluster's members ({}); check the peer URLs and that the \
         cluster runs",
        silent.join("; ")
    )
}

/// The answer of the member that was furthest. All must be of one cluster.
fn newest<'a>(told: &'a [Told], options: &Options) -> Result<Option<&'a Told>, Refusal> {
    let newest = told.iter().max_by_key(|told| told.applied);
    match newest.and_then(|newest| told.iter().find(|other| other.cluster_id != newest.cluster_id).zip(Some(newest))) {
        Some((one, other)) => Err(Refusal::Final(format!(
            "cluster ID mismatch: --initial-cluster of {} names members of two clusters, {:x} and {:x}; correct the list",
            options.name, one.cluster_id, other.cluster_id
        ))),
        None => Ok(newest),
    }
}

/// Finds this process among the members by its URLs, and compares the rest with the flags.
fn place(told: &Told, own: &InitialMember, options: &Options) -> Result<Joined, Refusal> {
    let urls = sorted(&own.peer_urls);
    let Some(found) = told.members.iter().find(|member| sorted(&member.peer_urls) == urls) else {
        return Err(not_added(told, own, options));
    };
    if found.bound {
        return Err(Refusal::Final(format!(
            "member {id:x} has already been bootstrapped: the cluster knows it with another disk, and the data directory \
             {dir} is empty. A member that has lost what it promised must not take part under its old identity: put its \
             former data directory back, or remove the member and add it anew: etcdctl member remove {id:x}, then \
             etcdctl member add {name} --peer-urls={urls}",
            id = found.id,
            dir = options.data_dir.display(),
            name = own.name,
            urls = own.peer_urls.join(",")
        )));
    }
    if found.votes {
        return Err(Refusal::Final(format!(
            "member {} ({:x}) is one of those that founded this cluster and has not started yet: start it with \
             --initial-cluster-state new",
            own.name, found.id
        )));
    }
    compare(told, options)?;
    let members = told.members.iter().map(|member| FirstMember {
        id: member.id,
        name: if member.id == found.id { own.name.clone() } else { member.name.clone() },
        peer_urls: member.peer_urls.clone(),
    });
    let mut members: Vec<FirstMember> = members.collect();
    members.sort_by_key(|member| member.id);
    Ok(Joined { cluster_id: told.cluster_id, member_id: found.id, members })
}

fn sorted(urls: &[String]) -> Vec<&str> {
    let mut urls: Vec<&str> = urls.iter().map(|url| url.trim_end_matches('/')).collect();
    urls.sort_unstable();
    urls
}

/// Nobody has these URLs: not added yet, or added with others.
fn not_added(told: &Told, own: &InitialMember, options: &Options) -> Refusal {
    let unstarted: Vec<String> = told
        .members
        .iter()
        .filter(|member| member.name.is_empty() && !is_named(member, options))
        .map(|member| format!("{:x} at {}", member.id, member.peer_urls.join(",")))
        .collect();
    let urls = own.peer_urls.join(",");
    let mut why = format!("no member of cluster {:x} has the peer URLs {urls} of this member", told.cluster_id);
    if unstarted.is_empty() {
        let _ = write!(why, ": add it first, with: etcdctl member add {} --peer-urls={urls}", own.name);
    } else {
        let _ = write!(
            why,
            "; waiting to be started are {}: if that is this one, its URLs were registered otherwise: correct \
             --initial-advertise-peer-urls and --initial-cluster, or the cluster with etcdctl member update",
            unstarted.join("; ")
        );
    }
    Refusal::Later(why)
}

fn is_named(member: &ToldMember, options: &Options) -> bool {
    options.initial_cluster.iter().any(|initial| sorted(&initial.peer_urls) == sorted(&member.peer_urls))
}

/// The flags must name the members, all of them and no others: else this process might be meant for another cluster.
fn compare(told: &Told, options: &Options) -> Result<(), Refusal> {
    let unnamed = told.members.iter().find(|member| !is_named(member, options));
    if let Some(member) = unnamed {
        return Err(Refusal::Later(format!(
            "member {:x} ({}) at {} is missing in --initial-cluster: give the list that `member add` printed",
            member.id,
            if member.name.is_empty() { "not started" } else { &member.name },
            member.peer_urls.join(",")
        )));
    }
    let is_member = |initial: &InitialMember| {
        told.members.iter().any(|member| sorted(&member.peer_urls) == sorted(&initial.peer_urls))
    };
    match options.initial_cluster.iter().find(|initial| !is_member(initial)) {
        Some(stranger) => Err(Refusal::Later(format!(
            "--initial-cluster names {} at {}, which is no member of cluster {:x}: give the list that `member add` printed",
            stranger.name,
            stranger.peer_urls.join(","),
            told.cluster_id
        ))),
        None => Ok(()),
    }
}
