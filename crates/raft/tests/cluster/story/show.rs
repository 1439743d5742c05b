//! What a story shows of its members.

use std::error::Error;

use goldenscript::ArgumentConsumer;
use kontiki_raft::{Index, LogPosition, NodeId, PeerStatus};

use super::arguments::{flag, member, members};
use crate::cluster::Cluster;
use crate::cluster::member::Member;
use crate::cluster::trace;

/// Commands that change nothing but what is told.
pub fn show(cluster: &mut Cluster, name: &str, args: &mut ArgumentConsumer<'_>) -> Result<String, Box<dyn Error>> {
    match name {
        "tell" => {
            cluster.trace.heartbeats = flag(args, "heartbeats");
            cluster.trace.writes = flag(args, "writes");
            Ok(String::new())
        }
        "listen" => {
            let listens = args.next_pos() != Some("no");
            for id in members(cluster, args)? {
                cluster.member_mut(id).listen(listens);
            }
            Ok(String::new())
        }
        "logs" => Ok(members(cluster, args)?.into_iter().map(|id| log(cluster.member(id))).collect()),
        "configurations" => {
            Ok(members(cluster, args)?.into_iter().map(|id| configurations(cluster.member(id))).collect())
        }
        "progress" => {
            let id = member(args)?;
            Ok(cluster.member(id).node().peers().map(|peer| progress(&peer)).collect())
        }
        "status" => Ok(members(cluster, args)?.into_iter().map(|id| status(cluster, id)).collect()),
        "network" => {
            let packets = cluster.network.packets.iter().map(|packet| (packet, ""));
            let held = cluster.network.held.iter().map(|packet| (packet, " (held back)"));
            let line = |(packet, how): (&crate::cluster::network::Packet, &str)| {
                format!("{} → {} {}{how}\n", packet.from, packet.to, packet.kind())
            };
            Ok(packets.chain(held).map(line).collect())
        }
        _ => Err(format!("no command is called {name}").into()),
    }
}

/// The terms of a member's entries, and how far they are committed.
fn log(member: &Member) -> String {
    let terms: Vec<String> = member.log.positions().map(|position| position.term.to_string()).collect();
    let begin = match member.log.compacted {
        LogPosition::START => String::new(),
        compacted => format!("…{compacted} "),
    };
    let end = match &member.node {
        Some(node) => format!("commit={}", node.commit_index()),
        None => "down".into(),
    };
    format!("{} {begin}[{}] {end}\n", member.id, terms.join(" "))
}

/// The configurations that a member may return to, the last one in force.
fn configurations(member: &Member) -> String {
    let commit = member.node.as_ref().map_or(member.committed, |node| node.commit_index());
    let all: Vec<_> =
        [(member.log.compacted.index, &member.log.base)].into_iter().chain(member.log.configurations()).collect();
    let settled = all.iter().rposition(|(index, _)| *index <= commit).unwrap_or(0);
    let tell = |(index, configuration): &(Index, &std::sync::Arc<kontiki_raft::Configuration>)| {
        let open = if *index > commit { " (uncommitted)" } else { "" };
        format!("{} {index}: {}{open}\n", member.id, trace::members(configuration))
    };
    all[settled..].iter().map(tell).collect()
}

fn progress(peer: &PeerStatus) -> String {
    let pace = format!("{:?}", peer.pace).to_lowercase();
    let session = if peer.session.0 > 0 { format!(" session={}", peer.session) } else { String::new() };
    format!(
        "{} {pace} match={} next={} inflight={}{session}\n",
        peer.id, peer.match_index, peer.next_index, peer.inflight
    )
}

/// All that a replica says of itself.
fn status(cluster: &Cluster, id: NodeId) -> String {
    let Some(node) = &cluster.member(id).node else { return format!("{id} is down\n") };
    let status = node.status();
    let name = |id: Option<NodeId>| id.map_or("nobody".into(), |id| id.to_string());
    let leadership = status.leadership;
    let role = format!("{:?}", leadership.role).to_lowercase();
    let mut lines = vec![
        format!(
            "{id} {role} term={} leader={} vote={}",
            leadership.term,
            name(leadership.leader),
            name(status.voted_for)
        ),
        format!(
            "  log {}..{} durable={} commit={} applied={}",
            status.first_index, status.last_index, status.durable_index, status.commit_index, status.applied
        ),
        format!("  configuration {}: {}", status.configuration_index, trace::members(&status.configuration)),
    ];
    lines.extend(status.no_leader.map(|why| format!("  no leader: {why}")));
    lines.extend(status.not_committed.map(|why| format!("  not committed: {why}")));
    lines.extend(status.handing_over_to.map(|to| format!("  hands over to {to}")));
    lines.extend(status.holds_lease.then(|| "  may read by its lease".into()));
    for peer in &status.peers {
        let active = if peer.active { String::new() } else { format!(" silent for {} ticks", peer.silent_ticks) };
        let caught_up = if peer.caught_up { " caught up" } else { "" };
        lines.push(format!("  {}{caught_up}{active}", progress(peer).trim_end()));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}
