//! The scripts under `scripts/`: one situation each, told by the messages that real replicas exchange.
//!
//! `UPDATE_GOLDENFILES=1 cargo test -p kontiki-raft --test stories` rewrites them; the difference is read like prose.
//!
//! | command | meaning |
//! |---|---|
//! | `cluster nodes=3 leader=1` | members with empty disks; the election of `leader` is not told. `prevote=no`, `quorumcheck=no`, `delivery=manual`, `inflight=`, `batch=` |
//! | `log 1 1 1 4 term=6 vote=2` | restarts n1 with entries of these terms on its disk |
//! | `tick 2 count=3 settle=yes`, `tick` | time passes for n2, for all |
//! | `campaign 1`, `put 1 count=3`, `read 2`, `transfer 1 2`, `suspect 2 1` | inputs |
//! | `isolate 1`, `cut 1 2`, `heal`, `deliver from= to= count= turn=one`, `lose from= to= count=`, `settle` | the network |
//! | `disk 1 slow`, `disk 1 fast`, `persist 1 count=1`, `crash 1 survive=1`, `restart 1`, `compact 1` | disks |
//! | `tell heartbeats=yes writes=yes`, `logs`, `progress 1` | what is shown |

#![allow(clippy::unwrap_used)]

mod cluster;

use std::error::Error;

use cluster::Cluster;
use cluster::member::{Entry, Log, Stored};
use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use kontiki_raft::{HardState, Input, LogPosition, NodeId, Settings, Term};

macro_rules! stories {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() -> std::io::Result<()> {
            goldenscript::run(&mut Story::default(), concat!("tests/scripts/", stringify!($name), ".txt"))
        })*

        #[test]
        fn every_script_is_run() {
            let listed = [$(concat!(stringify!($name), ".txt")),*];
            for file in std::fs::read_dir("tests/scripts").unwrap() {
                let name = file.unwrap().file_name().into_string().unwrap();
                assert!(listed.contains(&name.as_str()), "{name} is not listed in stories.rs");
            }
        }
    };
}

stories! {
    commit_figure_8
    commit_without_the_leaders_disk
    election_by_timeout
    election_candidate_lacks_committed_entry
    election_check_quorum
    election_pre_vote_does_not_disturb
    election_split_vote
    election_stickiness
    election_suspicion
    election_vote_survives_restart
    election_vote_waits_for_disk
    reads_are_batched
    reads_need_a_quorum
    reads_wait_for_own_term
    replication_figure_7
    replication_pipeline
    replication_restarted_follower_learns_commit
    snapshot_to_a_straggler
    sole_voter
    transfer_of_leadership
}

type Outcome = Result<String, Box<dyn Error>>;

/// Runs one script.
#[derive(Default)]
struct Story {
    cluster: Option<Cluster>,
    /// Packets wait for `deliver` and `settle`.
    manual: bool,
}

impl Runner for Story {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Outcome {
        let mut args = command.consume_args();
        if command.name == "cluster" {
            self.start(&mut args)?;
            args.reject_next()?;
            return Ok(String::new());
        }
        let shown = self.run_on_cluster(&command.name, &mut args)?;
        args.reject_next()?;
        let cluster = self.cluster()?;
        Ok(cluster.trace.take() + &shown)
    }
}

impl Story {
    fn cluster(&mut self) -> Result<&mut Cluster, Box<dyn Error>> {
        self.cluster.as_mut().ok_or_else(|| "a story begins with `cluster`".into())
    }

    fn start(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
        let nodes = number(args, "nodes")?.unwrap_or(3);
        let settings = Settings {
            pre_vote: args.take_key("prevote") != Some("no"),
            check_quorum: args.take_key("quorumcheck") != Some("no"),
            inflight_messages_max: number(args, "inflight")?.unwrap_or(64) as usize,
            append_bytes_max: number(args, "batch")?.unwrap_or(1000),
            heartbeat_interval_ticks: 2,
            ..Settings::default()
        };
        let leader = number(args, "leader")?;
        self.manual = args.take_key("delivery") == Some("manual");
        let mut cluster = Cluster::new(nodes, settings, number(args, "seed")?.unwrap_or(1));
        if let Some(leader) = leader {
            cluster.turn(NodeId(leader), Input::Campaign);
            cluster.settle();
            cluster.trace.take();
        }
        self.cluster = Some(cluster);
        Ok(())
    }

    fn run_on_cluster(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let manual = self.manual;
        let cluster = self.cluster()?;
        match name {
            "tick" => {
                let count = number(args, "count")?.unwrap_or(1);
                let manual = manual && args.take_key("settle") != Some("yes");
                let who = members(cluster, args)?;
                for _ in 0..count {
                    for id in &who {
                        cluster.turn(*id, Input::Tick);
                        settle_unless(manual, cluster);
                    }
                }
                return Ok(String::new());
            }
            "campaign" => cluster.turn(member(args)?, Input::Campaign),
            "put" => {
                let id = member(args)?;
                let count = number(args, "count")?.unwrap_or(1);
                cluster.propose(id, count);
            }
            "read" => {
                // Several members in one command are several batches in one turn each.
                for id in members(cluster, args)? {
                    cluster.read(id);
                }
            }
            "transfer" => {
                let id = member(args)?;
                let target = args.next_pos().map(|text| text.parse().map(NodeId)).transpose()?;
                cluster.turn(id, Input::TransferLeadership(target));
            }
            "suspect" => {
                let id = member(args)?;
                let peer = member(args)?;
                cluster.turn(id, Input::Suspect(peer));
            }
            "apply" => cluster.apply(member(args)?),
            "compact" => {
                let id = member(args)?;
                let keep = number(args, "keep")?.unwrap_or(0);
                cluster.compact(id, keep);
            }
            _ => return self.run_on_world(name, args),
        }
        settle_unless(manual, cluster);
        Ok(String::new())
    }

    /// Commands to network and disks, and those that only show.
    fn run_on_world(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let manual = self.manual;
        let cluster = self.cluster()?;
        match name {
            "isolate" => {
                for id in members(cluster, args)? {
                    cluster.isolate(id);
                }
            }
            "cut" => {
                let one = member(args)?;
                let two = member(args)?;
                cluster.cut_pair(one, two);
            }
            "heal" => cluster.heal(),
            "settle" => cluster.settle(),
            "deliver" => deliver(cluster, args)?,
            "lose" => lose(cluster, args)?,
            "disk" => {
                let id = member(args)?;
                match args.next_pos() {
                    Some("slow") => drop(cluster.slow_disks.insert(id)),
                    Some("fast") => {
                        cluster.slow_disks.remove(&id);
                        cluster.complete_writes(id, usize::MAX);
                        settle_unless(manual, cluster);
                    }
                    _ => return Err("a disk is slow or fast".into()),
                }
            }
            "persist" => {
                let id = member(args)?;
                let count = number(args, "count")?.unwrap_or(1);
                cluster.complete_writes(id, count as usize);
                settle_unless(manual, cluster);
            }
            "crash" => {
                let id = member(args)?;
                let survive = number(args, "survive")?.unwrap_or(0);
                cluster.crash(id, survive as usize);
            }
            "restart" => {
                let id = member(args)?;
                restart(cluster, id);
            }
            "log" => write_log(cluster, args)?,
            "tell" => {
                cluster.trace.heartbeats = args.take_key("heartbeats") == Some("yes");
                cluster.trace.writes = args.take_key("writes") == Some("yes");
            }
            "logs" => return Ok(logs(cluster)),
            "progress" => {
                let id = member(args)?;
                return Ok(progress(cluster, id));
            }
            _ => return Err(format!("no command is called {name}").into()),
        }
        Ok(String::new())
    }
}

fn settle_unless(manual: bool, cluster: &mut Cluster) {
    if !manual {
        cluster.settle();
    }
}

fn restart(cluster: &mut Cluster, id: NodeId) {
    cluster.restart(id, 2);
    let term = cluster.member(id).stored.hard_state.term;
    cluster.trace.restarted(id, term);
}

/// Delivers packets between the ends that are named, oldest first, but none that this causes.
fn deliver(cluster: &mut Cluster, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
    let mut count = number(args, "count")?.unwrap_or(cluster.network.len() as u64);
    let (from, to) = ends(args)?;
    let one_turn = args.take_key("turn") == Some("one");
    let waiting = std::mem::take(&mut cluster.network);
    let mut kept = Vec::new();
    for packet in waiting {
        let chosen = from.is_none_or(|id| packet.from == id) && to.is_none_or(|id| packet.to == id);
        if chosen && count > 0 {
            count -= 1;
            if one_turn { cluster.arrive(packet) } else { cluster.deliver(packet) }
        } else {
            kept.push(packet);
        }
    }
    kept.append(&mut cluster.network);
    cluster.network = kept;
    for id in cluster.ids() {
        cluster.flush(id);
    }
    Ok(())
}

/// Loses packets between the ends that are named, oldest first.
fn lose(cluster: &mut Cluster, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
    let mut count = number(args, "count")?.unwrap_or(u64::MAX);
    let (from, to) = ends(args)?;
    cluster.network.retain(|packet| {
        let chosen = from.is_none_or(|id| packet.from == id) && to.is_none_or(|id| packet.to == id) && count > 0;
        count -= u64::from(chosen);
        !chosen
    });
    Ok(())
}

/// Restarts a member with a log of its own.
fn write_log(cluster: &mut Cluster, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
    let id = member(args)?;
    let term = Term(number(args, "term")?.ok_or("log needs term=")?);
    let voted_for = number(args, "vote")?.map(NodeId);
    let mut entries = Vec::new();
    while let Some(text) = args.next_pos() {
        entries.push(Entry { term: Term(text.parse()?), number: 0 });
    }
    cluster.crash(id, 0);
    let log = Log { compacted: LogPosition::START, entries };
    cluster.write_disk(id, Stored { hard_state: HardState { term, voted_for }, log, ..Stored::default() });
    restart(cluster, id);
    Ok(())
}

/// One line for each member: the terms of its entries, and how far they are committed.
fn logs(cluster: &Cluster) -> String {
    let mut text = String::new();
    for (id, member) in &cluster.members {
        let terms: Vec<String> = member.log.positions().map(|position| position.term.to_string()).collect();
        let begin = match member.log.compacted {
            LogPosition::START => String::new(),
            compacted => format!("…{compacted} "),
        };
        let end = match &member.node {
            Some(node) => format!("commit={}", node.commit_index()),
            None => "down".into(),
        };
        text += &format!("{id} {begin}[{}] {end}\n", terms.join(" "));
    }
    text
}

fn progress(cluster: &Cluster, id: NodeId) -> String {
    let status = cluster.member(id).node().status();
    let line = |peer: &kontiki_raft::PeerStatus| {
        let pace = format!("{:?}", peer.pace).to_lowercase();
        format!("{} {pace} match={} next={} inflight={}\n", peer.id, peer.match_index, peer.next_index, peer.inflight)
    };
    status.peers.iter().map(line).collect()
}

fn number(args: &mut ArgumentConsumer<'_>, key: &str) -> Result<Option<u64>, Box<dyn Error>> {
    Ok(args.take_key(key).map(str::parse).transpose()?)
}

fn ends(args: &mut ArgumentConsumer<'_>) -> Result<(Option<NodeId>, Option<NodeId>), Box<dyn Error>> {
    Ok((number(args, "from")?.map(NodeId), number(args, "to")?.map(NodeId)))
}

fn member(args: &mut ArgumentConsumer<'_>) -> Result<NodeId, Box<dyn Error>> {
    Ok(NodeId(args.next_pos().ok_or("which member?")?.parse()?))
}

/// The members named, or all.
fn members(cluster: &Cluster, args: &mut ArgumentConsumer<'_>) -> Result<Vec<NodeId>, Box<dyn Error>> {
    let mut named = Vec::new();
    while let Some(text) = args.next_pos() {
        named.push(NodeId(text.parse()?));
    }
    Ok(if named.is_empty() { cluster.ids() } else { named })
}
