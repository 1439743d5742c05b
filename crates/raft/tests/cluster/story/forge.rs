//! Messages that nobody has sent, or not now: what a broken, late or hostile peer may say.

use std::error::Error;

use goldenscript::ArgumentConsumer;
use kontiki_raft::{
    AppendAccepted, AppendEntries, AppendRejected, Body, Entries, Exclusion, Heartbeat, HeartbeatReply, Incarnation,
    Index, LogPosition, Message, NodeId, ReadId, RequestVote, RequestVoteReply, Term, TermRun,
};

use super::arguments::{flag, number, position};
use crate::cluster::Cluster;
use crate::cluster::log::Entry;

/// `forge from=2 to=1 kind=Heartbeat term=3 …`
pub fn forge(cluster: &mut Cluster, args: &mut ArgumentConsumer<'_>) -> Result<(), Box<dyn Error>> {
    let from = NodeId(number(args, "from")?.ok_or("forge needs from=")?);
    let to = NodeId(number(args, "to")?.ok_or("forge needs to=")?);
    let term = Term(number(args, "term")?.ok_or("forge needs term=")?);
    let kind = args.take_key("kind").ok_or("forge needs kind=")?;
    let own = cluster.members.get(&from).and_then(|member| member.stored.incarnation);
    let incarnation = number(args, "life")?.map(|life| Incarnation(from.0 * 0x100 + life)).or(own);
    let entries: Vec<Entry> = match args.take_key("entries") {
        Some(terms) => terms
            .split('/')
            .map(|term| Ok(Entry::of_term(Term(term.parse()?))))
            .collect::<Result<_, _>>()
            .map_err(|error: std::num::ParseIntError| error)?,
        None => Vec::new(),
    };
    let body = body(kind, &entries, args)?;
    let message = Message { term, incarnation, body };
    cluster.trace.say(crate::cluster::trace::send(from, to, &message) + " (forged)");
    cluster.forge(from, to, message, entries);
    Ok(())
}

fn body(kind: &str, entries: &[Entry], args: &mut ArgumentConsumer<'_>) -> Result<Body, Box<dyn Error>> {
    let session = Index(number(args, "session")?.unwrap_or(0));
    let round = number(args, "round")?.unwrap_or(1);
    let place = |text: Option<&str>| text.map_or(Ok(LogPosition::START), position);
    let last = place(args.take_key("last"))?;
    let granted = flag(args, "granted");
    let pre_vote = kind.starts_with("PreVote");
    let commit = Index(number(args, "commit")?.unwrap_or(0));
    Ok(match kind {
        "RequestVote" | "PreVote" => {
            Body::RequestVote(RequestVote { last, pre_vote, transfer: flag(args, "transfer") })
        }
        "RequestVoteReply" | "PreVoteReply" => Body::RequestVoteReply(RequestVoteReply { granted, pre_vote, last }),
        "AppendEntries" => {
            let prev = place(args.take_key("prev"))?;
            Body::AppendEntries(AppendEntries { entries: described(prev, entries), leader_commit: commit, session })
        }
        "Pulled" => Body::Pulled(described(place(args.take_key("prev"))?, entries)),
        "AppendAccepted" => {
            let matched = Index(number(args, "matched")?.ok_or("matched=?")?);
            Body::AppendAccepted(AppendAccepted { matched, session })
        }
        "AppendRejected" => {
            let rejected = Index(number(args, "prev")?.ok_or("prev=?")?);
            Body::AppendRejected(AppendRejected { rejected, hint: place(args.take_key("hint"))?, session })
        }
        "Heartbeat" => Body::Heartbeat(Heartbeat { round, commit, session }),
        "HeartbeatReply" => {
            let promise_ticks = u32::try_from(number(args, "promise")?.unwrap_or(0))?;
            Body::HeartbeatReply(HeartbeatReply { round, session, promise_ticks })
        }
        "TimeoutNow" => Body::TimeoutNow,
        "Resigned" => Body::Resigned,
        "Excluded" => {
            let at = Index(number(args, "at")?.ok_or("at=?")?);
            let member = number(args, "member")?.map(Incarnation);
            Body::Excluded(member.map_or(Exclusion::Removed { at }, |member| Exclusion::Stranger { at, member }))
        }
        "ReadIndexReply" => {
            let id = ReadId(number(args, "read")?.ok_or("read=?")?);
            Body::ReadIndexReply { id, index: number(args, "index")?.map(Index) }
        }
        _ => return Err(format!("{kind} cannot be forged").into()),
    })
}

/// Entries behind `prev` as a message names them.
fn described(prev: LogPosition, entries: &[Entry]) -> Entries {
    let mut runs: Vec<TermRun> = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        if runs.last().is_none_or(|run| run.term != entry.term) {
            runs.push(TermRun { term: entry.term, first: Index(prev.index.0 + 1 + place as u64) });
        }
    }
    let last = Index(prev.index.0 + entries.len() as u64);
    Entries { prev, last, runs: runs.into(), configurations: Vec::new().into() }
}
