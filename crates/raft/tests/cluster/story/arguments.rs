//! What commands are told, from text.

use std::error::Error;

use goldenscript::ArgumentConsumer;
use kontiki_raft::{Configuration, Index, Lease, LogPosition, MemberChange, NodeId, Settings, Term};

use crate::cluster::Cluster;
use crate::cluster::network::Choice;

type Parsed<T> = Result<T, Box<dyn Error>>;

pub fn number(args: &mut ArgumentConsumer<'_>, key: &str) -> Parsed<Option<u64>> {
    Ok(args.take_key(key).map(str::parse).transpose()?)
}

pub fn flag(args: &mut ArgumentConsumer<'_>, key: &str) -> bool {
    args.take_key(key) == Some("yes")
}

pub fn member(args: &mut ArgumentConsumer<'_>) -> Parsed<NodeId> {
    Ok(NodeId(args.next_pos().ok_or("which member?")?.parse()?))
}

/// The members named, or all.
pub fn members(cluster: &Cluster, args: &mut ArgumentConsumer<'_>) -> Parsed<Vec<NodeId>> {
    let mut named = Vec::new();
    while let Some(text) = args.next_pos() {
        named.push(NodeId(text.parse()?));
    }
    Ok(if named.is_empty() { cluster.ids() } else { named })
}

/// Packets by their ends, kind and number.
pub fn choice(args: &mut ArgumentConsumer<'_>) -> Parsed<Choice> {
    let (from, to) = (number(args, "from")?.map(NodeId), number(args, "to")?.map(NodeId));
    Ok(Choice { from, to, kind: args.take_key("kind").map(Into::into), count: number(args, "count")? })
}

/// `index@term`.
pub fn position(text: &str) -> Parsed<LogPosition> {
    let (index, term) = text.split_once('@').ok_or_else(|| format!("a position is index@term, not {text}"))?;
    Ok(LogPosition { term: Term(term.parse()?), index: Index(index.parse()?) })
}

/// `1/2/3`.
fn ids(text: &str) -> Parsed<Vec<NodeId>> {
    let numbers = text.split('/').filter(|part| !part.is_empty());
    Ok(numbers.map(|part| part.parse().map(NodeId)).collect::<Result<_, _>>()?)
}

/// Voters as `1/2/3`; of a joint configuration, old before new, as `1/2/3-3/4/5`; with learners as `1/2/3.4/5`.
pub fn configuration(text: &str) -> Parsed<Configuration> {
    let (all, learners) = text.split_once('.').unwrap_or((text, ""));
    let (outgoing, voters) = all.split_once('-').unwrap_or(("", all));
    let (voters, outgoing, learners) = (ids(voters)?, ids(outgoing)?, ids(learners)?);
    Ok(Configuration { voters, outgoing, learners, ..Configuration::default() })
}

/// Ticks and drift in permille as `10/100`; or `none`.
pub fn lease(text: &str) -> Parsed<Option<Lease>> {
    if text == "none" {
        return Ok(None);
    }
    let (ticks, drift) = text.split_once('/').ok_or("a lease is ticks/permille, or none")?;
    Ok(Some(Lease { ticks: ticks.parse()?, drift_permille: drift.parse()? }))
}

/// A list such as `1@200/2@5`: numbers by member.
pub fn list(args: &mut ArgumentConsumer<'_>, key: &str, between: char) -> Parsed<Vec<(NodeId, u64)>> {
    let parts = args.take_key(key).into_iter().flat_map(|text| text.split('/'));
    parts
        .map(|part| {
            let (id, value) = part.split_once(between).ok_or_else(|| format!("{key} is a list of n{between}number"))?;
            Ok((NodeId(id.parse()?), value.parse()?))
        })
        .collect()
}

/// Changes of membership, in order.
pub fn changes(args: &mut ArgumentConsumer<'_>) -> Parsed<Vec<MemberChange>> {
    let mut changes = Vec::new();
    while let Some((key, text)) = args.next_key() {
        let id = || Ok::<NodeId, Box<dyn Error>>(NodeId(text.parse()?));
        changes.push(match key {
            "add" => MemberChange::AddVoter(id()?),
            "learner" => MemberChange::AddLearner { id: id()?, promote: false },
            "candidate" => MemberChange::AddLearner { id: id()?, promote: true },
            "promote" => MemberChange::Promote(id()?),
            "demote" => MemberChange::Demote(id()?),
            "remove" => MemberChange::Remove(id()?),
            "priority" => {
                let (id, priority) = text.split_once('@').ok_or("a priority is member@priority")?;
                MemberChange::SetPriority(NodeId(id.parse()?), priority.parse()?)
            }
            "lease" => MemberChange::SetLease(lease(text)?),
            _ => return Err(format!("no change is called {key}").into()),
        });
    }
    Ok(changes)
}

/// Settings that are named, and the rest as before.
pub fn settings(args: &mut ArgumentConsumer<'_>, before: Settings) -> Parsed<Settings> {
    let yes = |text: Option<&str>, before: bool| text.map_or(before, |text| text == "yes");
    let pre_vote = yes(args.take_key("prevote"), before.pre_vote);
    let check_quorum = yes(args.take_key("quorumcheck"), before.check_quorum);
    let tell_commit_at_once = yes(args.take_key("atonce"), before.tell_commit_at_once);
    let ticks = |number: Option<u64>, before: u32| number.map_or(Ok(before), u32::try_from);
    Ok(Settings {
        tell_commit_at_once,
        election_timeout_ticks: ticks(number(args, "timeout")?, before.election_timeout_ticks)?,
        heartbeat_interval_ticks: ticks(number(args, "heartbeat")?, before.heartbeat_interval_ticks)?,
        pre_vote,
        check_quorum,
        append_bytes_max: number(args, "batch")?.unwrap_or(before.append_bytes_max),
        inflight_messages_max: number(args, "inflight")?.map_or(before.inflight_messages_max, |number| number as usize),
        inflight_bytes_max: number(args, "window")?.unwrap_or(before.inflight_bytes_max),
        uncommitted_bytes_max: number(args, "uncommitted")?.unwrap_or(before.uncommitted_bytes_max),
    })
}
