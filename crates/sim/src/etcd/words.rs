//! Calls and answers in few words, for the trace of a run.

use kontiki_kv::{Command, KeyRange, Reply, RequestOp, TxnRequest};

use super::{Answer, Request, Told};

/// What a client asked.
pub(crate) fn request(request: &Request) -> String {
    match request {
        Request::Range { range, serializable } => {
            let how = if *serializable { "serializable " } else { "" };
            let at = if range.revision > 0 { format!(" at {}", range.revision) } else { String::new() };
            format!("{how}range {}{at}", keys(&range.range))
        }
        Request::TxnRead(txn) => format!("read {}", transaction(txn)),
        Request::Write(command) => self::command(command),
        Request::KeepAlive(id) => format!("keep lease {id:x} alive"),
        Request::TimeToLive(id) => format!("look at lease {id:x}"),
    }
}

/// What it was told.
pub(crate) fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Range(result, revision) => format!("{} of {} keys at {revision}", result.kvs.len(), result.count),
        Answer::TxnRead(reply, revision) => format!("succeeded {} at {revision}", reply.succeeded),
        Answer::Written(Reply::Txn(reply), revision) => format!("succeeded {} at {revision}", reply.succeeded),
        Answer::Written(Reply::DeleteRange(reply), revision) => format!("{} deleted at {revision}", reply.deleted),
        Answer::Written(Reply::LeaseGrant { id, ttl }, _) => format!("lease {id:x} for {ttl} s"),
        Answer::Written(_, revision) => format!("done at {revision}"),
        Answer::KeepAlive(seconds) => format!("{seconds} s"),
        Answer::TimeToLive(lease) => format!("{} of {} s", lease.ttl, lease.granted_ttl),
        Answer::Refused(refusal) => format!("refused: {refusal}"),
        Answer::NotDone(why) => format!("not done: {why}"),
        Answer::Unknown(why) => format!("unknown: {why}"),
    }
}

/// What a watch was told.
pub(crate) fn told(told: &Told) -> String {
    match told {
        Told::Created(revision) => format!("created at {revision}"),
        Told::Events(events) => {
            let revision = |event: Option<&kontiki_kv::Event>| event.map_or(0, |event| event.kv.mod_revision);
            format!("{} events from {} to {}", events.len(), revision(events.first()), revision(events.last()))
        }
        Told::Progress(revision) => format!("progress to {revision}"),
        Told::Canceled(0) => "over".to_owned(),
        Told::Canceled(revision) => format!("over: compacted at {revision}"),
    }
}

fn command(command: &Command) -> String {
    match command {
        Command::Put(put) => {
            let value = String::from_utf8_lossy(&put.value);
            let unique = value.split(' ').next().unwrap_or_default();
            format!("put {} {unique}", String::from_utf8_lossy(&put.key))
        }
        Command::DeleteRange(delete) => format!("delete {}", keys(&delete.range)),
        Command::Txn(txn) => transaction(txn),
        Command::Compact { revision } => format!("compact {revision}"),
        Command::LeaseGrant { id, ttl } => format!("grant lease {id:x} for {ttl} s"),
        Command::LeaseRevoke { id } => format!("revoke lease {id:x}"),
        Command::Alarm { raise, member, alarm } => {
            format!("{} {alarm:?} of {member}", if *raise { "raise" } else { "clear" })
        }
        Command::MemberAttributes(member) => format!("describe {}", member.name),
        Command::LeaseExpire { id, .. } => format!("expire lease {id:x}"),
        Command::LeaseCheckpoint { leases, .. } => format!("note the time of {} leases", leases.len()),
        Command::ClusterVersion(level) => format!("be of version {level}"),
        Command::Downgrade(Some(level)) => format!("allow a downgrade to {level}"),
        Command::Downgrade(None) => "allow no downgrade".to_owned(),
        Command::Auth(command) => command.kind().to_owned(),
        Command::Membership(command) => format!("{command:?}"),
    }
}

fn transaction(txn: &TxnRequest) -> String {
    let branch = |operations: &[RequestOp]| operations.iter().map(operation).collect::<Vec<_>>().join(", ");
    let (success, failure) = (branch(&txn.success), branch(&txn.failure));
    format!("txn of {} conditions: [{success}] else [{failure}]", txn.compare.len())
}

fn operation(operation: &RequestOp) -> String {
    match operation {
        RequestOp::Range(range) => format!("range {}", keys(&range.range)),
        RequestOp::Put(put) => command(&Command::Put(put.clone())),
        RequestOp::DeleteRange(delete) => format!("delete {}", keys(&delete.range)),
        RequestOp::Txn(txn) => transaction(txn),
    }
}

fn keys(range: &KeyRange) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', "0");
    match range.range_end.is_empty() {
        true => text(&range.key),
        false => format!("{}..{}", text(&range.key), text(&range.range_end)),
    }
}
