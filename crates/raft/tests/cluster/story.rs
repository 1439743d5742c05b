//! Scripts' commands, performed on a cluster. The table of them is at the head of `stories.rs`.

mod arguments;
mod forge;
mod show;

use std::error::Error;

use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use kontiki_raft::{HardState, Index, Input, LogPosition, NodeId, Settings, SnapshotMeta, Term};

use super::log::{Entry, Log};
use super::member::Stored;
use super::network::Packet;
use super::{Beginning, Cluster};
use arguments::{changes, choice, configuration, flag, lease, list, member, members, number, position, settings};

type Outcome = Result<String, Box<dyn Error>>;

/// Runs one script.
#[derive(Default)]
pub struct Story {
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
        let shown = self.run_input(&command.name, &mut args)?;
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
        let mut first = match args.take_key("members") {
            Some(text) => configuration(text)?,
            None => kontiki_raft::Configuration::of((1..=nodes).map(NodeId)),
        };
        first.lease = args.take_key("lease").map(lease).transpose()?.flatten();
        for (id, priority) in list(args, "priorities", '@')? {
            let attributes = kontiki_raft::Attributes { priority: u8::try_from(priority)?, ..first.attributes(id) };
            first.set_attributes(id, attributes);
        }
        let lives = args.take_key("incarnations");
        if lives == Some("bound") {
            for id in first.members() {
                let incarnation = Some(super::life(id, 1));
                first.set_attributes(id, kontiki_raft::Attributes { incarnation, ..first.attributes(id) });
            }
        }
        let story = Settings {
            inflight_messages_max: 64,
            append_bytes_max: 1000,
            heartbeat_interval_ticks: 2,
            ..Settings::default()
        };
        let settings = settings(args, story)?;
        let seed = number(args, "seed")?.unwrap_or(1);
        let leader = number(args, "leader")?;
        self.manual = args.take_key("delivery") == Some("manual");
        let mut cluster = Cluster::new(Beginning { configuration: first, settings, seed, lives: lives.is_some() });
        cluster.applies_at_once = args.take_key("apply") != Some("manual");
        if let Some(leader) = leader {
            cluster.turn(NodeId(leader), Input::Campaign);
            cluster.settle();
            cluster.trace.take();
        }
        self.cluster = Some(cluster);
        Ok(())
    }

    /// Commands that are inputs of a replica.
    fn run_input(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let manual = self.manual;
        let cluster = self.cluster()?;
        match name {
            "tick" => {
                let count = number(args, "count")?.unwrap_or(1);
                let manual = manual && !flag(args, "settle");
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
            "change" => {
                let id = member(args)?;
                cluster.change(id, changes(args)?);
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
            "pause" => cluster.turn(member(args)?, Input::Paused),
            "force-new-cluster" => cluster.force_new_cluster(member(args)?),
            "apply" => {
                let id = member(args)?;
                cluster.apply(id);
                cluster.flush(id);
            }
            "compact" => {
                let id = member(args)?;
                let keep = number(args, "keep")?.unwrap_or(0);
                cluster.compact(id, keep);
                cluster.flush(id);
            }
            "report" => report(cluster, args)?,
            "snapshot" => snapshot(cluster, args)?,
            "forge" => forge::forge(cluster, args)?,
            _ => return self.run_world(name, args),
        }
        settle_unless(manual, cluster);
        Ok(String::new())
    }

    /// Commands to network, disks and processes.
    fn run_world(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let manual = self.manual;
        let cluster = self.cluster()?;
        match name {
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
            "restart" => restart(cluster, member(args)?, number(args, "seed")?),
            "settings" => {
                let id = member(args)?;
                let own = settings(args, *cluster.member(id).settings)?;
                cluster.crash(id, usize::MAX);
                cluster.member_mut(id).settings = own.into();
                restart(cluster, id, None);
            }
            "join" => cluster.join(member(args)?, number(args, "seed")?.unwrap_or(1)),
            "wipe" => {
                let id = member(args)?;
                cluster.wipe(id, flag(args, "joins"));
                restart(cluster, id, None);
            }
            "remember" => {
                let member = cluster.member_mut(member(args)?);
                member.remembered = Some(member.stored.log.clone());
            }
            "forget" => {
                let id = member(args)?;
                cluster.crash(id, 0);
                cluster.member_mut(id).forget();
                restart(cluster, id, None);
            }
            "sleep" => cluster.sleep(member(args)?),
            "wake" => {
                cluster.wake(member(args)?);
                settle_unless(manual, cluster);
            }
            "log" => write_log(cluster, args)?,
            _ => return self.run_network(name, args),
        }
        Ok(String::new())
    }

    fn run_network(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Outcome {
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
                if flag(args, "oneway") { cluster.network.cut(one, two) } else { cluster.cut_pair(one, two) }
            }
            "heal" => cluster.heal(),
            "settle" => cluster.settle(),
            "deliver" => deliver(cluster, args)?,
            "lose" => drop(cluster.network.take(choice(args)?)),
            "hold" => cluster.network.hold(choice(args)?),
            "release" => {
                cluster.network.release();
                settle_unless(manual, cluster);
            }
            "repeat" => repeat(cluster, args)?,
            _ => return show::show(cluster, name, args),
        }
        Ok(String::new())
    }
}

fn settle_unless(manual: bool, cluster: &mut Cluster) {
    if !manual {
        cluster.settle();
    }
}

fn restart(cluster: &mut Cluster, id: NodeId, seed: Option<u64>) {
    cluster.restart(id, seed.unwrap_or(2));
    let term = cluster.member(id).stored.hard_state.term;
    cluster.trace.restarted(id, term);
}

/// Delivers what is chosen, oldest first, but nothing that this causes.
fn deliver(cluster: &mut Cluster, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
    let one_turn = args.take_key("turn") == Some("one");
    let silent = args.take_key("report") == Some("no");
    let mut chosen = choice(args)?;
    chosen.count = Some(chosen.count.unwrap_or(cluster.network.packets.len() as u64));
    if !silent {
        cluster.deliver_chosen(chosen, one_turn);
        return Ok(());
    }
    for packet in cluster.network.take(chosen) {
        match packet {
            Packet { to, content: super::network::Content::Snapshot(meta), .. } => cluster.receive_snapshot(to, meta),
            packet => cluster.deliver(packet),
        }
    }
    Ok(())
}

/// Copies what is chosen: behind everything else, or held back until `release`.
fn repeat(cluster: &mut Cluster, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
    let late = flag(args, "late");
    cluster.repeat(choice(args)?, late);
    Ok(())
}

/// A stream's end is reported to its sender.
fn report(cluster: &mut Cluster, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
    let id = member(args)?;
    let to = member(args)?;
    let installed = match args.next_pos() {
        Some("failed") => None,
        Some(text) => Some(position(text)?),
        None => return Err("installed up to where, or failed?".into()),
    };
    cluster.turn(id, Input::SnapshotSent { to, installed });
    Ok(())
}

/// A snapshot arrives that nobody of the cluster has sent.
fn snapshot(cluster: &mut Cluster, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
    let id = member(args)?;
    let position = position(args.next_pos().ok_or("a snapshot of what position?")?)?;
    let present = std::sync::Arc::clone(cluster.facts.newest_configuration());
    let configuration = args.take_key("members").map(configuration).transpose()?.map_or(present, Into::into);
    cluster.receive_snapshot(id, SnapshotMeta { position, configuration });
    Ok(())
}

/// Restarts a member with a log of its own.
fn write_log(cluster: &mut Cluster, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
    let id = member(args)?;
    let term = Term(number(args, "term")?.ok_or("log needs term=")?);
    let voted_for = number(args, "vote")?.map(NodeId);
    let applied = Index(number(args, "applied")?.unwrap_or(0));
    let before = &cluster.member(id).stored;
    let (base, incarnation) = (std::sync::Arc::clone(&before.log.base), before.incarnation);
    let mut entries = Vec::new();
    while let Some(text) = args.next_pos() {
        entries.push(Entry::of_term(Term(text.parse()?)));
    }
    while let Some((key, text)) = args.next_key() {
        let index: usize = key.strip_prefix("at").ok_or_else(|| format!("log knows no {key}"))?.parse()?;
        let entry = entries.get_mut(index - 1).ok_or_else(|| format!("there is no entry {index}"))?;
        entry.configuration = Some(configuration(text)?.into());
    }
    cluster.crash(id, 0);
    let log = Log { compacted: LogPosition::START, base, entries };
    cluster.write_disk(id, Stored { incarnation, hard_state: HardState { term, voted_for }, log, applied });
    restart(cluster, id, None);
    Ok(())
}
